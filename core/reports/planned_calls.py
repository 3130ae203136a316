"""Planned calls: the lengths of a run's prompts and the calls of its stages, from the settings and the pack's prompts, before any call of a model."""

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
from core.rehearsal.simulator_inputs import brief_inputs, steering_inputs
from core.settings.pipeline import Settings

SAMPLE = 64
"""Number of personas over which the lengths of prompts are averaged."""

Count = Callable[[str], int]
"""A function that counts the tokens of a text."""


@dataclass(frozen=True)
class Assumptions:
    """What an estimate assumes because only real conversations can measure it.

    Args:
        user_tokens, answer_tokens: mean tokens of a simulated user's message and of an answer.
        thinking_tokens: tokens that a model thinks per call.
        verdict_tokens: tokens that a judge writes per criterion. In 34 real assessments (604 verdicts, with the
            prompt's current questions) the reasoning had 122 tokens on average. The JSON with the cited
            exchanges takes 42 more. A lapse for each exchange that a failed verdict cites, up to three,
            takes 20 on average.
        passing: share of transcripts that pass.
        reflection_tokens: tokens of a request for a better prompt, with the failed criteria and the cited words.
        verdict_line_tokens: tokens that a judge writes on one answer of the refusal suite: at most fifteen words and JSON.
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
    """Mean tokens of the pack's prompts, and lengths of a sample of conversations.

    Args:
        brief, steering: the user simulator's instructions, and its note for one message.
        guidance, note: the assistant's detailed instructions, and its note for one answer.
        short: the short system prompt.
        assessor: a judge's instructions without transcript and criteria.
        criteria: all criteria together.
        pairwise: the instructions for comparing two conversations.
        lengths: exchanges of each conversation of the sample.
    """

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
        """Mean exchanges of a conversation."""
        return mean(self.lengths)


def measure_prompts(pack: Pack, settings: Settings, count: Count) -> Sizes:
    """Return the lengths of the pack's prompts, averaged over the first personas of a batch."""
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
    """Return the tokens of the assistant's longest note, for a conversation in which all figures of speech are used up; 0 if the pack has no note."""
    if pack.note is None:
        return 0
    answer = " ".join(figure.example for figure in pack.tics.figures)
    exchanges = [Exchange(exchange_number=number, user="A message.", assistant=answer or "An answer.") for number in range(1, 5)]
    return count(pack.note.render(**note_inputs(pack, exchanges, "A message.")))


def assessor_tokens(pack: Pack, count: Count) -> int:
    """Return the tokens that a judge reads in addition to transcript and criteria."""
    exchanges = [Exchange(exchange_number=1, user="A message.", assistant="An answer.")]
    return count(pack.prompts["assessor"].render(exchanges=exchanges, facts=measure(exchanges, pack.tics)))


def rehearsal_calls(exchanges: float, assumed: Assumptions, stable: float, note: float, answer: float, simulated: bool) -> list[Usage]:
    """Return the calls of one side of a conversation. The prompt grows only at its end, so all but the new part is read from the cache.

    Args:
        exchanges: length of the conversation.
        assumed: assumed lengths of messages.
        stable: tokens of the instructions.
        note: tokens of the note, which is sent with one call only.
        answer: tokens of a message of this side.
        simulated: whether this side is the simulated user, which writes first.
    """
    exchange, cached, calls = assumed.user_tokens + assumed.answer_tokens, 0.0, []
    for number in range(round(exchanges)):
        prompt = stable + exchange * number + (0 if simulated else assumed.user_tokens)
        calls.append(Usage(round(prompt + note), round(answer + assumed.thinking_tokens), round(cached), round(prompt - cached)))
        cached = prompt
    return calls


def user_calls(sizes: Sizes, lengths: Sequence[int]) -> list[Usage]:
    """Return the simulated user's calls in conversations; `lengths` has the exchanges of each."""
    return [call for n in lengths for call in rehearsal_calls(n, ASSUMPTIONS, sizes.brief, sizes.steering, ASSUMPTIONS.user_tokens, simulated=True)]


def assistant_calls(lengths: Sequence[int], stable: float, note: float) -> list[Usage]:
    """Return the assistant's calls in conversations.

    Args:
        lengths: exchanges of each conversation.
        stable: tokens of the assistant's instructions.
        note: tokens of its note; 0 if it has none.
    """
    return [call for n in lengths for call in rehearsal_calls(n, ASSUMPTIONS, stable, note, ASSUMPTIONS.answer_tokens, simulated=False)]


def judge_calls(pack: Pack, settings: Settings, sizes: Sizes, lengths: Sequence[int]) -> list[Usage]:
    """Return the calls of one judge for conversations; lengths as for `user_calls`."""
    exchange, mode = ASSUMPTIONS.user_tokens + ASSUMPTIONS.answer_tokens, settings.assessment.judging.mode
    return [call for n in lengths for call in calls_of_mode(pack, mode, sizes.criteria, sizes.assessor + n * exchange)]


def calls_of_mode(pack: Pack, mode: str, criteria_tokens: float, shared_tokens: float) -> list[Usage]:
    """Return the calls of one judge for one transcript: the first writes the transcript to the cache, the others read it there.

    Args:
        mode: the mode of judging: single, category, compact or criterion.
        criteria_tokens: tokens of all criteria.
        shared_tokens: tokens that all calls share: the judge's instructions and the transcript.
    """
    assumed, criteria = ASSUMPTIONS, len(pack.rubric.criteria)
    categories = len(pack.rubric.numbers.categories) + 1
    count = {"single": 1, "category": categories, "compact": categories, "criterion": criteria}[mode]
    prompt, answer = round(shared_tokens + criteria_tokens / count), round(criteria / count * assumed.verdict_tokens + assumed.thinking_tokens)
    first = Usage(prompt, answer, 0, round(shared_tokens) if count > 1 else 0)
    return [first, *[Usage(prompt, answer, round(shared_tokens))] * (count - 1)]


def suite_calls(settings: Settings, count: Count) -> list[Usage]:
    """Return a model's calls for the general prompts and the refusal suite, each answer with the maximum length."""
    evaluation = settings.evaluation
    prompts = [item.prompt for item in general_questions(evaluation)] + [item.text for item in requests_of(evaluation)]
    return [Usage(count(text), evaluation.general_max_tokens + ASSUMPTIONS.thinking_tokens) for text in prompts]


def refusal_calls(settings: Settings, count: Count) -> list[Usage]:
    """Return the judge's calls for one model's answers to the refusal suite, each answer with the maximum length."""
    assumed, requests = ASSUMPTIONS, requests_of(settings.evaluation)
    instructions = count(load_shared("refusals").render(answers=[]))
    calls = [requests[start : start + ANSWERS_A_CALL] for start in range(0, len(requests), ANSWERS_A_CALL)]
    return [
        Usage(
            instructions + sum(count(item.text) + settings.evaluation.general_max_tokens for item in call),
            len(call) * assumed.verdict_line_tokens + assumed.thinking_tokens,
        )
        for call in calls
    ]


def pairwise_calls(sizes: Sizes, lengths: Sequence[int]) -> list[Usage]:
    """Return the calls in which a judge compares two conversations of equal length, in one order; `lengths` has the exchanges of each pair."""
    assumed = ASSUMPTIONS
    exchange, answer = assumed.user_tokens + assumed.answer_tokens, assumed.verdict_tokens + assumed.thinking_tokens
    return [Usage(round(sizes.pairwise + 2 * n * exchange), answer) for n in lengths]
