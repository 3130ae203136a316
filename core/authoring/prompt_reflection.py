"""A better system prompt by reflection on failed verdicts: the request to the model that writes it, and the check of what it proposes."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pydantic import Field

from core.authoring.design import TEXT, ask_until, json_object
from core.authoring.prompt_search import Proposal
from core.authoring.start_prompts import PLACEHOLDER, TEMPLATE_CODE
from core.fingerprint import seed_of
from core.llm.chat import ChatModel, ChatRequest, Message
from core.packs.prompts import load_shared
from core.packs.rubric import Rubric
from core.records import Answer, Assessment, Persona, Record, Transcript

MAX_VERDICTS, MAX_EXCHANGES, MAX_CHARACTERS = 3, 2, 700
"""What the request shows at most: verdicts of a failed criterion, cited exchanges of a verdict, characters of a message. Together a few thousand tokens."""
MAX_ATTEMPTS = 4
"""Number of the latest unsuccessful prompts whose changes the request lists."""
QUOTED_WORDS = 7
"""Consecutive words that count as a quotation if they occur in a conversation and in no earlier prompt; common phrases are shorter."""
MIN_NAME_LENGTH = 3
"""Characters of the shortest persona's name that a prompt is searched for."""
PROPOSAL_SCHEMA = json_object(changes={"type": "array", "items": TEXT}, text=TEXT)


class Example(Record):
    """A failed verdict.

    Args:
        cited: the exchanges that it cites, each with `number`, `user` and `assistant`.
    """

    reasoning: str
    cited: list[dict[str, Any]]


class Failure(Record):
    """A criterion that conversations failed.

    Args:
        asks: the criterion's text.
        conversations: number of conversations that failed it.
        examples: some of the failed verdicts.
    """

    id: str
    name: str
    gate: bool
    asks: str
    conversations: int
    examples: list[Example]


class Reflection(Record):
    """Everything that a better prompt is written from.

    Args:
        text: the present prompt, with placeholders in double braces.
        conversations: number of conversations with this prompt.
        failures: gates first, then the most frequent.
        passing: names of the criteria that no conversation failed.
        longest: tokens of the new prompt at most.
        tried: changes of earlier proposals from this prompt that were not better.
    """

    text: str
    conversations: int
    failures: list[Failure]
    passing: list[str]
    longest: int
    tried: list[str] = Field(default_factory=list)


def reflect_on(text: str, conversations: Sequence[tuple[Transcript, Assessment]], rubric: Rubric, longest: int, failed: Sequence[Proposal] = ()) -> Reflection:
    """Return the failed verdicts of conversations with a prompt: gates first, then the most frequent.

    Args:
        text: the prompt.
        longest: tokens of the new prompt at most.
        failed: earlier proposals from this prompt that were not better, the latest last.
    """
    by_criterion: dict[str, list[Example]] = {}
    answered: set[str] = set()
    for transcript, assessment in conversations:
        for verdict in assessment.verdicts:
            answered |= {verdict.criterion} if verdict.answer in (Answer.YES, Answer.NO) else set()
            if verdict.answer is Answer.NO:
                cited = [exchange for exchange in transcript.exchanges if exchange.exchange_number in verdict.cited][:MAX_EXCHANGES]
                excerpts = [{"number": exchange.exchange_number, "user": _cut(exchange.user), "assistant": _cut(exchange.assistant)} for exchange in cited]
                by_criterion.setdefault(verdict.criterion, []).append(Example(reasoning=verdict.reasoning, cited=excerpts))
    failures = [
        Failure(
            id=key,
            name=rubric.criteria[key].head.name,
            gate=rubric.criteria[key].head.gate,
            asks=rubric.criteria[key].text,
            conversations=len(examples),
            examples=examples[:MAX_VERDICTS],
        )
        for key, examples in by_criterion.items()
    ]
    failures.sort(key=lambda one: (not one.gate, -one.conversations, one.id))
    passing = [rubric.criteria[key].head.name for key in rubric.criteria if key in answered - by_criterion.keys()]
    tried = [change for proposal in failed[-MAX_ATTEMPTS:] for change in proposal.changes]
    return Reflection(text=text, conversations=len(conversations), failures=failures, passing=passing, longest=longest, tried=tried)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]} […]"


class ProposalCheck:
    """The rules that a proposed prompt must meet.

    Args:
        start: the prompt that the search began with; its words may occur in every proposal.
        personas: those whose names must not occur in a proposal.
        longest: tokens of a prompt at most.
        count: returns the number of tokens of a text.
    """

    def __init__(self, start: str, personas: Iterable[Persona], longest: int, count: Callable[[str], int]) -> None:
        self._start, self._longest, self._count = start, longest, count
        self._names = {name for persona in personas for name in persona.name.split()[:1] if len(name) >= MIN_NAME_LENGTH}

    def check(self, reflection: Reflection, conversations: Sequence[Transcript], text: str) -> str:
        """Return a proposed prompt that meets the rules, without surrounding white space.

        Args:
            reflection: what the proposal was written from.
            conversations: those that its writer has read.
            text: the proposal.

        Raises:
            ValueError: it breaks a rule; the message tells its writer which.
        """
        text, earlier = text.strip(), f"{self._start}\n{reflection.text}"
        placeholders = set(PLACEHOLDER.findall(self._start))
        if set(PLACEHOLDER.findall(text)) != placeholders or TEMPLATE_CODE.search(PLACEHOLDER.sub("", text)):
            needed = ", ".join(f"{{{{ {name} }}}}" for name in sorted(placeholders)) or "nothing"
            raise ValueError(f"in double braces the prompt must have {needed} and nothing else, and no other template code")
        if not text:
            raise ValueError("the prompt is empty")
        if (tokens := self._count(text)) > self._longest:
            raise ValueError(f"the prompt has {tokens} tokens, and at most {self._longest} are allowed: say the same in fewer words")
        if text == reflection.text:
            raise ValueError("the prompt is the one that failed, unchanged")
        if named := sorted(name for name in self._names if _names(text, name) and not _names(earlier, name)):
            raise ValueError(f"the prompt names {named[0]}, a person of these conversations; it must hold for everybody")
        if quoted := quotation(text, [f"{exchange.user}\n{exchange.assistant}" for one in conversations for exchange in one.exchanges], earlier):
            raise ValueError(f"the prompt quotes a conversation ({quoted!r}); it must hold for other conversations, so say it in general words")
        return text


def _names(text: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", text) is not None


def quotation(text: str, messages: Iterable[str], earlier: str = "") -> str | None:
    """Return the first quotation in a prompt: consecutive words that occur in a message and not in an earlier prompt; None if there is none.

    Args:
        earlier: the text of earlier prompts.
    """
    own, before = _runs(text), _runs(earlier)
    spoken = {run for message in messages for run in _runs(message)}
    return next((" ".join(run) for run in own if run in spoken and run not in before), None)


def _runs(text: str) -> dict[tuple[str, ...], None]:
    """Return the runs of `QUOTED_WORDS` words of a text, in order, each once."""
    words = re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.casefold())
    return dict.fromkeys(tuple(words[place : place + QUOTED_WORDS]) for place in range(len(words) - QUOTED_WORDS + 1))


def reflection_request(domain: str, reflection: Reflection, max_tokens: int) -> ChatRequest:
    """Return the request for a better prompt."""
    system = load_shared("optimise_prompt_system").render()
    prompt = load_shared("optimise_prompt").render(reflection=reflection.model_dump(mode="json"), kept=sorted(set(PLACEHOLDER.findall(reflection.text))))
    inputs, seed = {"what": "a better prompt", "text": reflection.text}, seed_of("prompt", domain, prompt)
    return ChatRequest("designer", system, (Message("user", prompt),), max_tokens, seed, PROPOSAL_SCHEMA, item=f"prompt-{domain}", inputs=inputs)


async def write_better(model: ChatModel, request: ChatRequest, attempts: int, valid: Callable[[str], str]) -> Proposal:
    """Have a better prompt written, and return the proposal.

    Args:
        attempts: requests at most; after an unusable proposal the model reads the reason.
        valid: returns a usable text, or raises `ValueError`.

    Raises:
        DesignError: no proposal could be used.
        ModelError, RunStoppedError: the model cannot be asked.
    """
    return await ask_until(
        model, request, attempts, lambda answer: Proposal(text=valid(str(answer["text"])), changes=tuple(str(change).strip() for change in answer["changes"]))
    )
