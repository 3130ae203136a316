"""The designer: a model that reads a brief and writes files for a domain pack, each returned to it until it is valid."""

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
"""The shipped pack whose files show the form."""
LEAST_WORDS = 80
"""Of a brief; with fewer a pack would be made up."""


Kept = TypeVar("Kept")


class DesignTexts(Strict):
    """`prompts/shared/design.yaml`."""

    files: dict[str, str]


class Contradiction(Record):
    """Two passages of a brief that no answer can meet at once."""

    one: str
    other: str
    why: str


class BriefReading(Record):
    """What a brief leaves unsettled."""

    contradictions: list[Contradiction]
    open: list[str]


def json_object(**properties: Any) -> dict[str, Any]:
    """Return the schema of an object that has all of these."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


TEXT, TRUTH = {"type": "string"}, {"type": "boolean"}
FILE_SCHEMA = json_object(text=TEXT)
BRIEF_SCHEMA = json_object(contradictions={"type": "array", "items": json_object(one=TEXT, other=TEXT, why=TEXT)}, open={"type": "array", "items": TEXT})


@cache
def design_texts() -> DesignTexts:
    """Return the designer's instructions for each file, in the order in which the files are written."""
    return load_yaml(shared_file("design.yaml"), DesignTexts, PackError)


def check_brief(brief: str) -> str:
    """Return a brief that something can be made of.

    Raises:
        DesignError: it is empty or says too little.
    """
    count = len(brief.split())
    if count < LEAST_WORDS:
        raise DesignError(
            f"The brief has {count} words; at least {LEAST_WORDS} are needed. Say who talks to whom about what, what good looks like, what must never happen, "
            "and where it will run (docs/adapting.md)."
        )
    return brief.strip()


def check_reading(reading: BriefReading) -> None:
    """Check that a brief does not contradict itself.

    Raises:
        DesignError: it does.
    """
    if reading.contradictions:
        conflicts = "; ".join(f"“{item.one}” against “{item.other}” ({item.why.rstrip('.')})" for item in reading.contradictions)
        raise DesignError(
            f"The brief contradicts itself: {conflicts}. A rubric made from both would fail everything. Nothing was drafted. Resolve it there and run it "
            "again, or set design.contradictions to tell."
        )


def place_of(file: str, domain: str) -> str:
    """Return where a file stands below a pack's root."""
    return f"prompts/{domain}/{file}" if file.endswith(".md") and file != "intended-use.md" else f"config/domains/{domain}/{file}"


class Designer:
    """A model that writes files; each is returned to it with its errors until it is valid."""

    def __init__(self, model: ChatModel, brief: str, domain: str, attempts: int, max_tokens: int) -> None:
        """Take what all requests share.

        Args:
            attempts: at each file; after a failed one the designer is shown what the loader said.
        """
        self.domain, self.model, self.attempts, self.brief, self.max_tokens = domain, model, attempts, brief, max_tokens
        self._system = load_shared("design_system").render(brief=brief, domain=domain)

    async def write(self, file: str, drafted: Sequence[Mapping[str, str]], valid: Callable[[str], None]) -> str:
        """Have a file written."""
        prompt = load_shared("design_step").render(file=file, guidance=design_texts().files[file], example=example_of(file), drafted=drafted)

        def take(answer: dict[str, Any]) -> str:
            text = str(answer["text"]).strip() + "\n"
            valid(text)
            return text

        return await self.ask(file, prompt, FILE_SCHEMA, take)

    async def read_brief(self) -> BriefReading:
        """Look for what contradicts itself in the brief, and for what it leaves open."""
        return await self.ask("the reading of the brief", load_shared("design_brief").render(brief=self.brief), BRIEF_SCHEMA, BriefReading.model_validate)

    async def ask(self, what: str, prompt: str, schema: Mapping[str, Any], take: Callable[[dict[str, Any]], Any]) -> Any:
        """Ask until an answer can be taken.

        Raises:
            DesignError: none could, with the last reason.
        """
        request = design_request(self.domain, what, self._system, prompt, self.max_tokens, schema)
        return await ask_until(self.model, request, self.attempts, take)


def design_request(domain: str, what: str, system: str, prompt: str, max_tokens: int, schema: Mapping[str, Any]) -> ChatRequest:
    """Return a request to a designer or a reviewer.

    Args:
        what: is asked for, in a word or two.
    """
    inputs = {"what": what}
    return ChatRequest(
        "designer", system, (Message("user", prompt),), max_tokens, seed_of("design", domain, what), schema, item=f"design-{domain}", inputs=inputs
    )


async def ask_until(model: ChatModel, request: ChatRequest, attempts: int, take: Callable[[dict[str, Any]], Any]) -> Any:
    """Return what is taken of an answer; one that cannot be taken is asked for again with the reason.

    Raises:
        DesignError: none could, with the last reason.
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
        f"{request.inputs['what']} was still invalid after {attempts} attempts. The last reason: {reason} What was made before it is kept; run it again."
    )


def example_of(file: str) -> str:
    """Return the example's file; of the criteria two."""
    if file != "criteria":
        return (SHIPPED / place_of(file, EXAMPLE)).read_text(encoding="utf-8")
    paths = sorted((SHIPPED / f"prompts/{EXAMPLE}/criteria").glob("*.md"))
    return "\n\n".join(path.read_text(encoding="utf-8") for path in (paths[0], paths[5]))


def kept_json(file: str, text: str, kind: TypeAdapter[Kept]) -> Kept:
    """Return what a file that a designer's answers are kept in holds.

    Raises:
        DamagedError: it is not what was written there.
    """
    try:
        return kind.validate_json(text)
    except ValidationError as wrong:
        raise DamagedError(f"{file} is damaged, or was changed. Remove it to have it made again; that is paid for again.") from wrong


def parsed_object(text: str) -> dict[str, Any]:
    """Return an answer's JSON object.

    Raises:
        ValueError, TypeError: it is none.
    """
    try:
        found = json.loads(text)
    except RecursionError as deep:
        raise ValueError("its brackets are nested too deep") from deep
    if not isinstance(found, dict):
        raise TypeError("the answer is not a JSON object")
    return found
