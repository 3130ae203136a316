"""What the stub says: sentences and instances of schemas, which follow from the request alone."""

import hashlib
import json
import random
from collections.abc import Sequence
from typing import Any

from tests.stub.phrases import CLAIMS, ENDINGS, OPENERS, QUESTIONS, SUBJECTS
from tests.stub.wire import Answer, Json

YES_SHARE = 0.85
VERDICTS = {"YES", "NO", "NA"}


def draw_for(model: str, texts: Sequence[str]) -> random.Random:
    """Return a source of chance that depends on a request's model and texts.

    Args:
        model: its name.
        texts: system and messages.
    """
    seed = hashlib.sha256("\0".join([model, *texts]).encode("utf-8", "surrogatepass")).digest()
    return random.Random(int.from_bytes(seed[:8], "big"))


def compose(draw: random.Random, schema: Json | None, characters: int | None) -> str:
    """Write an answer.

    Args:
        draw: decides on the words.
        schema: what the answer must be an instance of; prose if none.
        characters: whole sentences of prose are left out to stay below this.
    """
    if schema is not None:
        return json.dumps(instance(schema, schema, draw), ensure_ascii=False)
    return prose(draw, draw.randint(35, 66), characters)


def prose(draw: random.Random, words: int, characters: int | None = None) -> str:
    """Write sentences until there are this many words; the last one may go up to 29 words beyond.

    Args:
        draw: decides on the words.
        words: at least.
        characters: stop before there are more; one sentence is always written.
    """
    sentences: list[str] = []
    count = length = 0
    while count < words:
        new = draw.choice(QUESTIONS) if sentences and draw.random() < 0.15 else sentence(draw)
        if sentences and characters is not None and length + len(new) + 1 > characters:
            break
        sentences.append(new)
        count += new.count(" ") + 1
        length += len(new) + 1
    return " ".join(sentences)


def sentence(draw: random.Random) -> str:
    """Write one sentence of 10 to 30 words."""
    pick = draw.random
    opener, claim, subject, ending = (options[int(pick() * len(options))] for options in (OPENERS, CLAIMS, SUBJECTS, ENDINGS))
    return f"{opener} {claim} {subject}, {ending}."


def grounds(draw: random.Random) -> str:
    """Write a judge's reason, most of which no conversation of the stub's sentences has in these words."""
    pick = draw.random
    opener, heard, subject, ending = (options[int(pick() * len(options))] for options in (OPENERS, SUBJECTS, SUBJECTS, ENDINGS))
    return f"{opener}, the answer to what was said of {heard} takes up {subject} and leaves the choice to the person who asks, {ending}."


OWN: dict[str, list[int]] = {"cited": [1], "lapses": []}
"""Lists of a judge's answer: what is cited exists in every transcript, and nothing speaks against what the answer says."""


def instance(schema: Json, root: Json, draw: random.Random, name: str = "") -> Any:
    """Make an instance of a JSON schema, keys in its order.

    Args:
        schema: what to make.
        root: the whole schema, for references.
        draw: decides on words and choices.
        name: of the property; `message`, `reasoning`, `cited` and `lapses` have contents of their own.
    """
    schema = resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return _chosen(schema["enum"], draw)
    match _type_of(schema):
        case "object":
            properties = schema.get("properties") or {}
            return {key: instance(properties[key], root, draw, key) for key in schema.get("propertyOrdering") or properties}
        case "array":
            return OWN[name] if name in OWN else _items(schema, root, draw)
        case "string":
            text = prose(draw, draw.randint(35, 60)) if name == "message" else grounds(draw) if name == "reasoning" else sentence(draw)
            return text[: schema.get("maxLength", len(text))]
        case "integer":
            return int(min(max(draw.randint(1, 3), schema.get("minimum", 1)), schema.get("maximum", 3)))
        case "number":
            return min(max(0.5, schema.get("minimum", 0.5)), schema.get("maximum", 0.5))
        case "boolean":
            return False
    return None


def resolved(schema: Json, root: Json) -> Json:
    """Follow references and choices to a schema that says what to make.

    Args:
        schema: to follow.
        root: where its references point.
    """
    while True:
        options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
        if "$ref" in schema:
            target: Any = root
            for step in schema["$ref"].removeprefix("#/").split("/"):
                target = target[step]
            schema = target
        elif options:
            schema = next((option for option in options if option.get("type") != "null"), options[0])
        else:
            return schema


def spoilt(said: Answer, fault: Json) -> Answer:
    """Change an answer as a fault says.

    Args:
        said: the good answer.
        fault: its kind, and what that kind needs.
    """
    match fault["kind"]:
        case "truncate":
            return Answer(said.text[: len(said.text) // 2], "length")
        case "refuse":
            return Answer("", "refusal", fault.get("variant") or fault.get("category"))
        case "invalid":
            return Answer(_broken(said.text))
        case "empty":
            return Answer("")
        case "fenced":
            return Answer(f"Here is the result you asked for.\n\n```json\n{said.text}\n```")
        case "stop_reason":
            return Answer(said.text, stop_value=fault["value"])
    return said


def _broken(text: str) -> str:
    """Give the first value of an object a type that no schema of ours allows there."""
    try:
        whole = json.loads(text)
    except ValueError:
        return json.dumps({"unexpected": text})
    if not isinstance(whole, dict) or not whole:
        return json.dumps({"unexpected": text})
    first = next(iter(whole))
    return json.dumps(whole | {first: "wrong" if isinstance(whole[first], dict) else {"wrong": "type"}}, ensure_ascii=False)


def _chosen(options: Sequence[Any], draw: random.Random) -> Any:
    if VERDICTS.issubset(options):
        return "YES" if draw.random() < YES_SHARE else ("NO", "NA")[int(draw.random() * 2)]
    return options[int(draw.random() * len(options))]


def _items(schema: Json, root: Json, draw: random.Random) -> list[Any]:
    item = resolved(schema.get("items") or {"type": "string"}, root)
    for key, inner in (item.get("properties") or {}).items():
        options = resolved(inner, root).get("enum")
        if options:
            return [{**instance(item, root, draw), key: option} for option in options]
    count = min(max(schema.get("minItems", 1), 1), schema.get("maxItems", 2))
    return [instance(item, root, draw) for _ in range(count)]


def _type_of(schema: Json) -> str:
    kind = schema.get("type") or ("object" if "properties" in schema else "null")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    return kind.lower()
