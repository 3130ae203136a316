"""The schemas of `config/guards.yaml` and of a domain's `guards.yaml`: patterns and numbers with which guards find unusable messages."""

import sys
import unicodedata
from collections.abc import Iterable
from typing import Annotated, Any

import re2
from pydantic import AfterValidator, Field

from core.quantities import Part, Whole, Words
from core.records import Side
from core.yaml_files import Strict

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False  # the pack's error states the problem
_OPTIONS.max_mem = 64 * 2**20  # bytes; many patterns are compiled as one
_SAMPLES = ("", "Yes, a word.")
"""Texts in which a pattern that can match the empty string finds an empty match."""


def finder(*patterns: str, flags: str = "im") -> Any:
    """Return a compiled RE2 expression that finds any of the patterns.

    Args:
        flags: RE2's flags; by default case is ignored and `^` matches the beginning of a line.
    """
    return re2.compile("|".join(f"(?{flags}:{pattern})" for pattern in patterns), options=_OPTIONS)


def finder_of_each(patterns: Iterable[str], flags: str = "im") -> Any:
    """Return a compiled RE2 set; its `Match` returns the indices of the patterns that occur in a text, in any order, or None.

    Args:
        flags: as for `finder`.
    """
    pattern_set = re2.Set.SearchSet(_OPTIONS)
    for pattern in patterns:
        pattern_set.Add(f"(?{flags}:{pattern})")
    pattern_set.Compile()
    return pattern_set


def _compiles(pattern: str) -> str:
    try:
        compiled = finder(pattern)
    except re2.error as broken:
        raise ValueError(f"not a regular expression of RE2: {broken.args[0].decode(errors='replace')}") from broken
    if compiled.groupindex:
        raise ValueError(f"it has the named group {next(iter(compiled.groupindex))!r}, which another pattern could also have; write the group without a name")
    if any(match and not match.group() for match in map(compiled.search, _SAMPLES)):
        raise ValueError("it also matches an empty text, and so every message; let it match at least one character")
    return pattern


def _is_script(name: str) -> str:
    if not any(unicodedata.name(chr(code), "").startswith(f"{name} ") for code in range(sys.maxunicode)):
        raise ValueError("no Unicode letter has a name that begins with it; write a script as Unicode does, such as LATIN, CYRILLIC or DEVANAGARI")
    return name


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_compiles)]
Script = Annotated[str, AfterValidator(_is_script)]


class Patterns(Strict):
    """RE2 regular expressions for one kind of fault. Case is ignored, and `^` matches the beginning of a line."""

    both: tuple[Pattern, ...] = ()
    user: tuple[Pattern, ...] = ()
    assistant: tuple[Pattern, ...] = ()

    def of(self, side: Side) -> tuple[Pattern, ...]:
        """Return the patterns for a side's messages."""
        return (*self.both, *(self.user if side == "user" else self.assistant))


class Repeats(Strict):
    """When a message repeats an earlier one of its side.

    Args:
        run: words of a run.
        share: minimum share of the message's runs that occur in the earlier one.
        fewest_words: minimum words of the message; a shorter one is not compared this way.
    """

    run: Words
    share: Part
    fewest_words: Words


class Persons(Strict):
    """Words of the first and second person, and the counts that show that a few consecutive sentences belong to the other side.

    Args:
        first, second: lower-case words of the first and the second person.
        sentences: number of consecutive sentences in which words are counted.
        user: minimum words of the second person and maximum words of the first; a match of the domain's `answering` patterns is required too.
        assistant: minimum words of the first person and maximum words of the second.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    sentences: Words
    user: tuple[Whole, Whole]
    assistant: tuple[Whole, Whole]


class Guards(Strict):
    """`config/guards.yaml`, with what the domain's own `guards.yaml` adds.

    Args:
        script: Unicode's name of the script of the messages.
        foreign_share: share of letters in other scripts from which a message is refused.
        foreign_run: number of consecutive letters in other scripts from which a message is refused.
        repeats: when a message repeats an earlier one.
        punctuated: minimum words of a message that must end like a complete sentence.
        persons: how words of the first and second person show that a side plays the other's part.
        leaked_reasoning, meta, role_inversion: patterns of these faults.
        verbatim: patterns of the fault `meta` that are searched in quotations too.
        answering: patterns typical of an assistant; see `Persons.user`.
    """

    script: Script
    foreign_share: Part
    foreign_run: Annotated[Words, Field(ge=2)]
    repeats: Repeats
    punctuated: Words
    persons: Persons
    leaked_reasoning: Patterns
    verbatim: tuple[Pattern, ...]
    meta: Patterns
    role_inversion: Patterns = Patterns()
    answering: tuple[Pattern, ...] = ()


class DomainGuards(Strict):
    """A domain's `guards.yaml`: patterns added to the general ones, and the script and the pronouns if its language needs others."""

    script: Script | None = None
    persons: Persons | None = None
    answering: tuple[Pattern, ...] = ()
    leaked_reasoning: Patterns = Patterns()
    meta: Patterns = Patterns()
    role_inversion: Patterns = Patterns()


def merged(general: Guards, domain: DomainGuards) -> Guards:
    """Return the general guards with a domain's additions and replacements."""

    def both(name: str) -> Patterns:
        base, more = getattr(general, name).model_dump(), getattr(domain, name).model_dump()
        return Patterns(**{side: (*base[side], *more[side]) for side in base})

    added = {name: both(name) for name in ("leaked_reasoning", "meta", "role_inversion")}
    replaced = {"script": domain.script or general.script, "persons": domain.persons or general.persons, "answering": domain.answering}
    return general.model_copy(update=replaced | added)
