"""A better system prompt, written by reflection on failed verdicts: what is shown to the writer, and which of its prompts can be used."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pydantic import Field

from core.authoring.design import TEXT, ask_until, json_object
from core.authoring.prompt_search import Proposal
from core.authoring.start_prompts import PLACEHOLDER, TEMPLATE_CODE
from core.fingerprint import seed_of
from core.llm.chat import ChatModel, ChatRequest, Message
from core.packs.pack import Rubric
from core.packs.prompts import load_shared
from core.records import Answer, Assessment, Persona, Record, Transcript

SHOWN_VERDICTS, SHOWN_EXCHANGES, SHOWN_CHARACTERS = 3, 2, 700
"""Of each failed criterion, verdicts; of each verdict, cited exchanges; of each message, characters. All of it is a few thousand tokens."""
SHOWN_ATTEMPTS = 4
"""Prompts that did no better whose changes are shown, the latest."""
QUOTED_WORDS = 7
"""Words in a row that are in a conversation and in no prompt before: a quotation. Common phrases are shorter."""
NAME_LENGTH = 3
"""Characters from which a persona's name is looked for."""
PROPOSAL_SCHEMA = json_object(changes={"type": "array", "items": TEXT}, text=TEXT)


class Example(Record):
    """A failed verdict with the words that it cites."""

    reasoning: str
    cited: list[dict[str, Any]]


class Failure(Record):
    """A criterion that conversations failed.

    Args:
        conversations: in which it failed.
        asks: the criterion's text.
    """

    id: str
    name: str
    gate: bool
    asks: str
    conversations: int
    examples: list[Example]


class Reflection(Record):
    """All that a better prompt is written from.

    Args:
        text: the prompt as it was; what stands in double braces is filled in later.
        passing: names of the criteria that no conversation failed.
        tried: changes that did no better, in other prompts made from this one.
        longest: tokens that the new prompt may have.
    """

    text: str
    conversations: int
    failures: list[Failure]
    passing: list[str]
    longest: int
    tried: list[str] = Field(default_factory=list)


def reflect_on(text: str, conversations: Sequence[tuple[Transcript, Assessment]], rubric: Rubric, longest: int, failed: Sequence[Proposal] = ()) -> Reflection:
    """Collect the failed verdicts of conversations under a prompt: gates first, then by how often.

    Args:
        longest: tokens that the new prompt may have.
        failed: prompts made from this one that did no better.
    """
    by_criterion: dict[str, list[Example]] = {}
    answered: set[str] = set()
    for transcript, assessment in conversations:
        for verdict in assessment.verdicts:
            answered |= {verdict.criterion} if verdict.answer in (Answer.YES, Answer.NO) else set()
            if verdict.answer is Answer.NO:
                cited = [one for one in transcript.exchanges if one.exchange_number in verdict.cited][:SHOWN_EXCHANGES]
                shown = [{"number": one.exchange_number, "user": _cut(one.user), "assistant": _cut(one.assistant)} for one in cited]
                by_criterion.setdefault(verdict.criterion, []).append(Example(reasoning=verdict.reasoning, cited=shown))
    failures = [
        Failure(
            id=key,
            name=rubric.criteria[key].head.name,
            gate=rubric.criteria[key].head.gate,
            asks=rubric.criteria[key].text,
            conversations=len(examples),
            examples=examples[:SHOWN_VERDICTS],
        )
        for key, examples in by_criterion.items()
    ]
    failures.sort(key=lambda one: (not one.gate, -one.conversations, one.id))
    passing = [rubric.criteria[key].head.name for key in rubric.criteria if key in answered - by_criterion.keys()]
    tried = [change for proposal in failed[-SHOWN_ATTEMPTS:] for change in proposal.changes]
    return Reflection(text=text, conversations=len(conversations), failures=failures, passing=passing, longest=longest, tried=tried)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} […]"


class ProposalCheck:
    """What a proposed prompt must meet to be played.

    Args:
        start: the prompt that the search began with; what stands in it may stand in the others.
        personas: whose names a prompt may not have.
        count: returns how many tokens a text has.
    """

    def __init__(self, start: str, personas: Iterable[Persona], longest: int, count: Callable[[str], int]) -> None:
        self._start, self._longest, self._count = start, longest, count
        self._names = {name for one in personas for name in one.name.split()[:1] if len(name) >= NAME_LENGTH}

    def check(self, reflection: Reflection, conversations: Sequence[Transcript], text: str) -> str:
        """Return a proposed prompt that can be played.

        Raises:
            ValueError: it cannot, with the reason for its writer.
        """
        text, known = text.strip(), f"{self._start}\n{reflection.text}"
        kept = set(PLACEHOLDER.findall(self._start))
        if set(PLACEHOLDER.findall(text)) != kept or TEMPLATE_CODE.search(PLACEHOLDER.sub("", text)):
            wanted = ", ".join(f"{{{{ {name} }}}}" for name in sorted(kept)) or "nothing"
            raise ValueError(f"in double braces the prompt must have {wanted} and nothing else, and no other template code")
        if not text:
            raise ValueError("the prompt is empty")
        if (tokens := self._count(text)) > self._longest:
            raise ValueError(f"the prompt has {tokens} tokens, and at most {self._longest} are allowed: say the same in fewer words")
        if text == reflection.text:
            raise ValueError("the prompt is the one that failed, unchanged")
        if named := sorted(name for name in self._names if _names(text, name) and not _names(known, name)):
            raise ValueError(f"the prompt names {named[0]}, a person of these conversations; it must hold for everybody")
        if quoted := quotation(text, [f"{said.user}\n{said.assistant}" for one in conversations for said in one.exchanges], known):
            raise ValueError(f"the prompt quotes a conversation ({quoted!r}); it must hold for other conversations, so say it in general words")
        return text


def _names(text: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", text) is not None


def quotation(text: str, said: Iterable[str], known: str = "") -> str | None:
    """Return the first words in a row that a prompt has from a conversation and that no prompt had before; none if there are none."""
    own, before = _runs(text), _runs(known)
    spoken = {run for message in said for run in _runs(message)}
    return next((" ".join(run) for run in own if run in spoken and run not in before), None)


def _runs(text: str) -> dict[tuple[str, ...], None]:
    words = re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.casefold())
    return dict.fromkeys(tuple(words[place : place + QUOTED_WORDS]) for place in range(len(words) - QUOTED_WORDS + 1))


def reflection_request(domain: str, reflection: Reflection, max_tokens: int) -> ChatRequest:
    """Return the request for a better prompt."""
    system = load_shared("optimise_prompt_system").render()
    prompt = load_shared("optimise_prompt").render(reflection=reflection.model_dump(mode="json"), kept=sorted(set(PLACEHOLDER.findall(reflection.text))))
    inputs, seed = {"what": "a better prompt", "text": reflection.text}, seed_of("prompt", domain, prompt)
    return ChatRequest("designer", system, (Message("user", prompt),), max_tokens, seed, PROPOSAL_SCHEMA, item=f"prompt-{domain}", inputs=inputs)


async def write_better(model: ChatModel, request: ChatRequest, attempts: int, valid: Callable[[str], str]) -> Proposal:
    """Have a better prompt written.

    Args:
        attempts: after one that cannot be used, the writer reads why.
        valid: returns a text that can be used, or raises `ValueError`.

    Raises:
        DesignError: no attempt could be used.
        ModelError, RunStoppedError: the model cannot be asked.
    """
    return await ask_until(
        model, request, attempts, lambda answer: Proposal(text=valid(str(answer["text"])), changes=tuple(str(change).strip() for change in answer["changes"]))
    )
