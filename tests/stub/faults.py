"""Scripted faults: which call meets which fault."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.stub.wire import ApiError, Json

KINDS = frozenset(
    {
        "error",
        "hang",
        "drop",
        "drop_mid",
        "html",
        "not_json",
        "truncate",
        "refuse",
        "invalid",
        "empty",
        "fenced",
        "spend_limit",
        "context",
        "stop_reason",
        "usage",
        "raw",
        "mutate",
        "lost",
        "fails",
    }
)
REFUSING = frozenset({"error", "spend_limit", "context"})
"""Answered at once and not counted by any limit."""
FATES = frozenset({"lost", "fails"})
"""Of a batch that is made: a share of its requests expires or errs, or it fails as a whole."""
PLACES = frozenset({"live", "batched", "upload", "create", "retrieve", "list", "cancel", "results", "delete"})
"""Live calls, requests of batches, and the operations on batches; a rule that names none is for all requests, live and in batches."""
RULE_FIELDS = frozenset({"when", "protocol", "model", "times", "fault", "at"})
WHEN_FIELDS = frozenset({"contains", "calls", "from", "to"})


@dataclass(slots=True)
class Rule:
    """A fault and the calls that meet it."""

    fault: Json
    when: Json
    protocol: str | None
    model: str | None
    left: float
    """How often it is still met."""
    needles: tuple[bytes, ...]
    """What `contains` looks for, in each way JSON may write it."""
    places: frozenset[str]
    seen: int = 0
    """Calls of this protocol and model so far."""

    def holds(self, body: bytes, elapsed: float) -> bool:
        """Say whether the latest call meets the fault.

        Args:
            body: of the request.
            elapsed: seconds since the rules were set or the stub was reset.
        """
        when = self.when
        return (
            (not self.needles or any(needle in body for needle in self.needles))
            and ("calls" not in when or self.seen - 1 in when["calls"])
            and when.get("from", 0.0) <= elapsed < when.get("to", float("inf"))
        )


class Faults:
    """All rules, in their order."""

    def __init__(self, rules: Iterable[Json], now: float) -> None:
        self.rules, self.start = [_rule(rule) for rule in rules], now

    def pick(self, protocol: str, model: str, body: bytes, now: float, place: str) -> Rule | None:
        """Count a call or operation and return the first rule that it meets.

        Args:
            protocol: its name.
            model: its name.
            body: of the request.
            now: the time.
            place: where it comes from or what it does, one of `PLACES`.
        """
        found = None
        for rule in self.rules:
            if place in rule.places and rule.protocol in (None, protocol) and rule.model in (None, model):
                rule.seen += 1
                if found is None and rule.left > 0 and rule.holds(body, now - self.start):
                    found = rule
        return found


def error_of(fault: Json) -> ApiError:
    """Return the error that a fault with a status asks for.

    Args:
        fault: status and, if wanted, error, message, headers, details.
    """
    status, name = fault["status"], fault.get("error")
    message = fault.get("message", f"A fault asked for status {status}.")
    return ApiError(status, message, kind=name, code=name, details=fault.get("details"), headers=fault.get("headers"))


def _rule(rule: Json) -> Rule:
    unknown = sorted((rule.keys() - RULE_FIELDS) | (rule.get("when", {}).keys() - WHEN_FIELDS))
    if unknown:
        raise ValueError(f"Unknown fields {unknown} in the fault rule {rule!r}. Known: {sorted(RULE_FIELDS)}, in `when` {sorted(WHEN_FIELDS)}.")
    fault: Json = rule["fault"] | {"kind": rule["fault"].get("kind", "error")}
    if fault["kind"] not in KINDS or (fault["kind"] == "error" and "status" not in fault):
        raise ValueError(f"The fault {rule['fault']!r} needs a `status` or one of the kinds {sorted(KINDS)}.")
    place = rule.get("at")
    if (place and place not in PLACES) or (fault["kind"] in FATES and place != "create"):
        raise ValueError(f"The fault rule {rule!r} needs an `at` of {sorted(PLACES)}; {sorted(FATES)} are for `create`.")
    places = frozenset({place}) if place else frozenset({"live", "batched"})
    when, times = rule.get("when", {}), rule.get("times")
    return Rule(fault, when, rule.get("protocol"), rule.get("model"), float("inf") if times is None else times, _needles(when.get("contains")), places)


def _needles(text: Any) -> tuple[bytes, ...]:
    if text is None:
        return ()
    return tuple({json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode() for ascii_only in (True, False)})
