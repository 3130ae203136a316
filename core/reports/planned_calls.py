"""How long the prompts of a run are, and which calls its stages make, as planned: from the settings and the pack's own prompts, before a model is asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean

from core.evaluation.general_prompts import general_questions
from core.evaluation.pairwise import pairwise_prompt
from core.evaluation.refusals import ANSWERS_A_CALL, requests_of
from core.judging.facts import measure
from core.llm.chat import Usage
from core.packs.pack import Pack
from core.packs.prompts import load_shared
from core.records import Exchange
from core.rehearsal.assistant_note import note_inputs
from core.rehearsal.course import steer
from core.rehearsal.lengths import ANSWER_TOKENS, USER_TOKENS
from core.rehearsal.personas import sample_persona
from core.rehearsal.turns import brief_inputs, steering_inputs
from core.settings.pipeline import Settings

SAMPLE = 64
"""Personas over which the prompts' lengths are averaged."""

Count = Callable[[str], int]


@dataclass(frozen=True)
class Assumptions:
    """What an estimate assumes, as only real conversations could measure it.

    Args:
        user_tokens, answer_tokens: mean length of a simulated user's message and of an answer.
        thinking_tokens: per call of a model that thinks.
        verdict_tokens: what a judge writes on one criterion. In 34 real assessments (604 verdicts, by the
            questions that the prompt still asks) the reasoning had 122 tokens in the mean. Its JSON with the
            exchanges cited takes 42 more, and a lapse for each exchange that a failed verdict cites, up to
            three, 20 in the mean.
        passing: share of transcripts that pass.
        reflection_tokens: of a request for a better prompt, with the failed criteria and the words that the verdicts cite.
        verdict_line_tokens: what a judge writes on one answer to a request of the refusal suite, at most fifteen words and their JSON.
    """

    user_tokens: int = USER_TOKENS
    answer_tokens: int = ANSWER_TOKENS
    thinking_tokens: int = 200
    verdict_tokens: int = 180
    passing: float = 0.5
    reflection_tokens: int = 8_000
    verdict_line_tokens: int = 40


ASSUMPTIONS = Assumptions()


@dataclass(frozen=True)
class Sizes:
    """Mean tokens of the pack's prompts, and how many exchanges the conversations of a sample have."""

    brief: float
    steering: float
    guidance: float
    note: float
    short: float
    assessor: float
    criteria: float
    pairwise: float
    lengths: list[int]

    @property
    def exchanges(self) -> float:
        """Of a conversation, in the mean."""
        return mean(self.lengths)


def measure_prompts(pack: Pack, settings: Settings, count: Count) -> Sizes:
    """Return how long the pack's prompts are, over the personas of a batch."""
    generation = settings.generation
    personas = [sample_persona(pack, generation.first_seed + number, generation.exchanges) for number in range(SAMPLE)]
    notes = [steering_inputs(pack, persona, steer(pack, persona, 2, generation.minimum_exchanges)) for persona in personas]
    return Sizes(
        brief=mean(count(pack.prompts["user_simulator"].render(**brief_inputs(pack, persona))) for persona in personas),
        steering=mean(count(pack.prompts["user_steering"].render(**note)) for note in notes),
        guidance=count(pack.instructions("assistant")),
        note=_note_tokens(pack, count),
        short=count(pack.system()),
        assessor=assessor_tokens(pack, count),
        criteria=sum(count(criterion.text) for criterion in pack.rubric.criteria.values()),
        pairwise=count(pairwise_prompt(pack, [])),
        lengths=[persona.exchanges for persona in personas],
    )


def _note_tokens(pack: Pack, count: Count) -> int:
    """Return how long the assistant's note gets: that of a conversation in which each figure of speech is used up."""
    if pack.note is None:
        return 0
    answer = " ".join(figure.example for figure in pack.tics.figures)
    said = [Exchange(exchange_number=number, user="A message.", assistant=answer or "An answer.") for number in range(1, 5)]
    return count(pack.note.render(**note_inputs(pack, said, "A message.")))


def assessor_tokens(pack: Pack, count: Count) -> int:
    """Return how long what a judge reads beside transcript and criteria is."""
    said = [Exchange(exchange_number=1, user="A message.", assistant="An answer.")]
    return count(pack.prompts["assessor"].render(exchanges=said, facts=measure(said, pack.tics)))


def rehearsal_calls(exchanges: float, taken: Assumptions, stable: float, note: float, answer: float, simulated: bool) -> list[Usage]:
    """Return the calls of one side of a conversation, with a prompt that only grows at its end and is read from the cache but for what is new.

    Args:
        stable: tokens of the instructions; note: of what is sent and not kept; answer: of what the side writes.
        simulated: whether the side writes first.
    """
    exchange, kept, calls = taken.user_tokens + taken.answer_tokens, 0.0, []
    for number in range(round(exchanges)):
        prompt = stable + exchange * number + (0 if simulated else taken.user_tokens)
        calls.append(Usage(round(prompt + note), round(answer + taken.thinking_tokens), round(kept), round(prompt - kept)))
        kept = prompt
    return calls


def user_calls(sizes: Sizes, lengths: Sequence[int]) -> list[Usage]:
    """Return the simulated user's calls in conversations; lengths: how many exchanges each has."""
    return [call for n in lengths for call in rehearsal_calls(n, ASSUMPTIONS, sizes.brief, sizes.steering, ASSUMPTIONS.user_tokens, simulated=True)]


def assistant_calls(lengths: Sequence[int], stable: float, note: float) -> list[Usage]:
    """Return the assistant's calls in conversations; stable, note: tokens of its instructions and of its note, lengths as for `user_calls`."""
    return [call for n in lengths for call in rehearsal_calls(n, ASSUMPTIONS, stable, note, ASSUMPTIONS.answer_tokens, simulated=False)]


def judge_calls(pack: Pack, settings: Settings, sizes: Sizes, lengths: Sequence[int]) -> list[Usage]:
    """Return the calls of one judge for conversations; lengths as for `user_calls`."""
    return [call for n in lengths for call in judging_calls(pack, settings, sizes, n)]


def judging_calls(pack: Pack, settings: Settings, sizes: Sizes, exchanges: float) -> list[Usage]:
    """Return the calls of one judge for one transcript, by the settings' mode."""
    words = sizes.assessor + exchanges * (ASSUMPTIONS.user_tokens + ASSUMPTIONS.answer_tokens)
    return calls_of_mode(pack, settings.assessment.judging.mode, sizes.criteria, words)


def calls_of_mode(pack: Pack, mode: str, criteria_tokens: float, words: float) -> list[Usage]:
    """Return the calls of one judge for one transcript: the first puts the transcript into the cache, the others read it there.

    Args:
        criteria_tokens: of all criteria; words: tokens of the transcript and of what a judge reads beside both.
    """
    taken, criteria = ASSUMPTIONS, len(pack.rubric.criteria)
    categories = len(pack.rubric.numbers.categories) + 1
    count = {"single": 1, "category": categories, "compact": categories, "criterion": criteria}[mode]
    prompt, answer = round(words + criteria_tokens / count), round(criteria / count * taken.verdict_tokens + taken.thinking_tokens)
    first = Usage(prompt, answer, 0, round(words) if count > 1 else 0)
    return [first, *[Usage(prompt, answer, round(words))] * (count - 1)]


def suite_calls(settings: Settings, count: Count) -> list[Usage]:
    """Return the calls in which a model is asked the general prompts and the requests of the refusal suite, each answer as long as it may be."""
    numbers = settings.evaluation
    asked = [item.prompt for item in general_questions(numbers)] + [item.text for item in requests_of(numbers)]
    return [Usage(count(text), numbers.general_max_tokens + ASSUMPTIONS.thinking_tokens) for text in asked]


def refusal_calls(settings: Settings, count: Count) -> list[Usage]:
    """Return the calls of the judge on one model's answers to the refusal suite, each as long as it may be."""
    taken, requests = ASSUMPTIONS, requests_of(settings.evaluation)
    instructions = count(load_shared("refusals").render(answers=[]))
    calls = [requests[start : start + ANSWERS_A_CALL] for start in range(0, len(requests), ANSWERS_A_CALL)]
    return [
        Usage(
            instructions + sum(count(item.text) + settings.evaluation.general_max_tokens for item in call),
            len(call) * taken.verdict_line_tokens + taken.thinking_tokens,
        )
        for call in calls
    ]


def pairwise_calls(sizes: Sizes, lengths: Sequence[int]) -> list[Usage]:
    """Return the calls in which a judge compares two conversations of the same length, in one order; lengths as for `user_calls`."""
    taken = ASSUMPTIONS
    exchange, answer = taken.user_tokens + taken.answer_tokens, taken.verdict_tokens + taken.thinking_tokens
    return [Usage(round(sizes.pairwise + 2 * n * exchange), answer) for n in lengths]
