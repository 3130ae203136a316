"""Malformed answers: a good one with a replaced part, or arbitrary bytes."""

import json
from typing import Any

from tests.stub.wire import Json

PLACE = "the place of the part that is replaced"


def mutated(message: Json, fault: Json) -> bytes:
    """Return an answer in which a part is replaced.

    Args:
        message: the good answer.
        fault: `path` of the part, and `json`, the text that stands in its place; none takes it out.
    """
    copy: Any = json.loads(json.dumps({"answer": message}))
    *parents, last = ["answer", *fault["path"]]
    part = copy
    for step in parents:
        part = part[step]
    if fault["json"] is None:
        del part[last]
    else:
        part[last] = PLACE
    return json.dumps(copy["answer"]).encode().replace(json.dumps(PLACE).encode(), (fault["json"] or "").encode("utf-8", "surrogatepass"))


def raw(fault: Json) -> tuple[bytes, dict[str, str | None], int]:
    """Return bytes, headers and status as a fault asks for them.

    Args:
        fault: `body`, a text of which each character is a byte; `repeat`, how often it is sent; `headers`; `status`.
    """
    return fault["body"].encode("latin-1") * fault.get("repeat", 1), fault.get("headers", {}), fault.get("status", 200)
