"""The designer: a model that reads a brief and writes the files of a domain pack; it gets each file back with its faults until it is valid."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from core.errors import DamagedError, DesignError, PackError
from core.fingerprint import seed_of
from core.llm.chat import ChatModel, ChatRequest, Message
from core.packs.prompts import load_shared, shared_file
from core.paths import SHIPPED
from core.records import Record
from core.yaml_files import Strict, load_yaml

EXAMPLE = "coding-mentor"
"""The shipped pack whose files are the designer's examples."""
MIN_WORDS = 80
"""Words that a brief must have; from a shorter one the designer would invent most of the pack."""


Kept = TypeVar("Kept")


class DesignTexts(Strict):
    """The content of `prompts/shared/design.yaml`."""

    files: dict[str, str]


class Contradiction(Record):
    """Two passages of a brief that contradict each other, and why."""

    one: str
    other: str
    why: str


class BriefReading(Record):
    """What is unsettled in a brief: its contradictions, and the questions that it leaves open."""

    contradictions: list[Contradiction]
    open: list[str]


def json_object(**properties: Any) -> dict[str, Any]:
    """Return the JSON schema of an object that has exactly these properties."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


TEXT, TRUTH = {"type": "string"}, {"type": "boolean"}
FILE_SCHEMA = json_object(text=TEXT)
BRIEF_SCHEMA = json_object(contradictions={"type": "array", "items": json_object(one=TEXT, other=TEXT, why=TEXT)}, open={"type": "array", "items": TEXT})


@cache
def design_texts() -> DesignTexts:
    """Return the designer's instructions for each file, in the order in which the files are written."""
    return load_yaml(shared_file("design.yaml"), DesignTexts, PackError)


def check_brief(brief: str) -> str:
    """Return a brief without surrounding white space.

    Raises:
        DesignError: it is empty or too short.
    """
    count = len(brief.split())
    if count < MIN_WORDS:
        raise DesignError(
            f"The brief has {count} words; at least {MIN_WORDS} are needed. Say who talks to whom about what, what good looks like, what must never happen, "
            "and where it will run (docs/adapting.md)."
        )
    return brief.strip()


def check_reading(reading: BriefReading) -> None:
    """Check that a brief does not contradict itself.

    Raises:
        DesignError: the brief contradicts itself.
    """
    if reading.contradictions:
        conflicts = "; ".join(f"“{item.one}” against “{item.other}” ({item.why.rstrip('.')})" for item in reading.contradictions)
        raise DesignError(
            f"The brief contradicts itself: {conflicts}. A rubric made from both would fail everything. Nothing was drafted. Resolve it there and run it "
            "again, or set design.contradictions to tell."
        )


def place_of(file: str, domain: str) -> str:
    """Return the path of a file below a pack's root."""
    return f"prompts/{domain}/{file}" if file.endswith(".md") and file != "intended-use.md" else f"config/domains/{domain}/{file}"


class Designer:
    """A model that writes files; it gets each file back with its faults until the file is valid."""

    def __init__(self, model: ChatModel, brief: str, domain: str, attempts: int, max_tokens: int) -> None:
        """Store what all requests share.

        Args:
            attempts: for each file; after a failed attempt the designer reads the loader's error.
            max_tokens: tokens of one answer at most.
        """
        self.domain, self.model, self.attempts, self.brief, self.max_tokens = domain, model, attempts, brief, max_tokens
        self._system = load_shared("design_system").render(brief=brief, domain=domain)

    async def write(self, file: str, drafted: Sequence[Mapping[str, str]], valid: Callable[[str], None]) -> str:
        """Have a file written, and return its text.

        Args:
            drafted: the files so far, each with `name` and `text`, which this one must fit.
            valid: raises an error if a text cannot be used.

        Raises:
            DesignError: the file stays invalid.
        """
        prompt = load_shared("design_step").render(file=file, guidance=design_texts().files[file], example=example_of(file), drafted=drafted)

        def take(answer: dict[str, Any]) -> str:
            text = str(answer["text"]).strip() + "\n"
            valid(text)
            return text

        return await self.ask(file, prompt, FILE_SCHEMA, take)

    async def read_brief(self) -> BriefReading:
        """Have the brief read for contradictions and open questions."""
        return await self.ask("the reading of the brief", load_shared("design_brief").render(brief=self.brief), BRIEF_SCHEMA, BriefReading.model_validate)

    async def ask(self, what: str, prompt: str, schema: Mapping[str, Any], take: Callable[[dict[str, Any]], Any]) -> Any:
        """Ask until `take` accepts an answer; see `ask_until`."""
        request = design_request(self.domain, what, self._system, prompt, self.max_tokens, schema)
        return await ask_until(self.model, request, self.attempts, take)


def design_request(domain: str, what: str, system: str, prompt: str, max_tokens: int, schema: Mapping[str, Any]) -> ChatRequest:
    """Return a request to a designer or a reviewer.

    Args:
        what: the subject of the request, in a few words, for errors and for the seed.
    """
    inputs = {"what": what}
    return ChatRequest(
        "designer", system, (Message("user", prompt),), max_tokens, seed_of("design", domain, what), schema, item=f"design-{domain}", inputs=inputs
    )


async def ask_until(model: ChatModel, request: ChatRequest, attempts: int, take: Callable[[dict[str, Any]], Any]) -> Any:
    """Return what `take` makes of an answer; if it refuses one, the model is asked again and reads the reason.

    Args:
        attempts: requests at most.
        take: converts an answer's JSON object, or raises an error with the reason why it cannot be used.

    Raises:
        DesignError: no answer could be used; the message has the last reason.
    """
    messages, reason = list(request.messages), ""
    for attempt in range(attempts):
        reply = await model.complete(replace(request, messages=tuple(messages), seed=seed_of(str(request.seed), attempt)))
        try:
            return take(parsed_object(reply.text))
        except (PackError, ValueError, KeyError, TypeError) as wrong:
            reason = str(wrong) if not isinstance(wrong, KeyError) else f"{wrong} is missing"
            messages += [Message("assistant", reply.text), Message("user", load_shared("design_again").render(reason=reason))]
    raise DesignError(
        f"{request.inputs['what']} was still invalid after {attempts} attempts. The last reason: {reason} Everything made before it is kept; run it again."
    )


def example_of(file: str) -> str:
    """Return a file of the example pack; for `criteria`, two criteria."""
    if file != "criteria":
        return (SHIPPED / place_of(file, EXAMPLE)).read_text(encoding="utf-8")
    paths = sorted((SHIPPED / f"prompts/{EXAMPLE}/criteria").glob("*.md"))
    return "\n\n".join(path.read_text(encoding="utf-8") for path in (paths[0], paths[5]))


def kept_json(file: str, text: str, kind: TypeAdapter[Kept]) -> Kept:
    """Return the content of a file in which a designer's answers are stored.

    Args:
        file: its name, for the error message.
        text: its text.
        kind: its type.

    Raises:
        DamagedError: the text is not valid JSON of that type.
    """
    try:
        return kind.validate_json(text)
    except ValidationError as wrong:
        raise DamagedError(f"{file} is damaged or was changed. Remove it to request it again, which costs the same again.") from wrong


def parsed_object(text: str) -> dict[str, Any]:
    """Return an answer's JSON object.

    Raises:
        ValueError, TypeError: the answer is not a JSON object.
    """
    try:
        value = json.loads(text)
    except RecursionError as deep:
        raise ValueError("its brackets are nested too deeply") from deep
    if not isinstance(value, dict):
        raise TypeError("the answer is not a JSON object")
    return value
