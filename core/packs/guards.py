"""The patterns and numbers by which guards find unusable messages: `config/guards.yaml` with a domain's `guards.yaml`."""

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
_OPTIONS.log_errors = False  # what is wrong is said in the error of the pack
_OPTIONS.max_mem = 64 * 2**20  # many patterns are compiled as one
_SAMPLES = ("", "Yes, a word.")
"""In which a pattern that matches no character finds something."""


def finder(*patterns: str, flags: str = "im") -> Any:
    """Return what finds any of some patterns, without regard to case; with the flag `m`, `^` is the beginning of a line."""
    return re2.compile("|".join(f"(?{flags}:{pattern})" for pattern in patterns), options=_OPTIONS)


def finder_of_each(patterns: Iterable[str], flags: str = "im") -> Any:
    """Return what says in one pass which of some patterns stand in a text: `Match` returns their places in the list, in any order, or none."""
    found = re2.Set.SearchSet(_OPTIONS)
    for pattern in patterns:
        found.Add(f"(?{flags}:{pattern})")
    found.Compile()
    return found


def _compiles(pattern: str) -> str:
    try:
        found = finder(pattern)
    except re2.error as broken:
        raise ValueError(f"not a regular expression of RE2: {broken.args[0].decode(errors='replace')}") from broken
    if found.groupindex:
        raise ValueError(f"it has the named group {next(iter(found.groupindex))!r}, which another pattern could also have; write the group without a name")
    if any(match and not match.group() for match in map(found.search, _SAMPLES)):
        raise ValueError("it also matches an empty text, and so every message; let it match at least one character")
    return pattern


def _is_script(name: str) -> str:
    if not any(unicodedata.name(chr(code), "").startswith(f"{name} ") for code in range(sys.maxunicode)):
        raise ValueError("no Unicode letter has a name that begins with it; write a script as Unicode does, such as LATIN, CYRILLIC or DEVANAGARI")
    return name


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_compiles)]
Script = Annotated[str, AfterValidator(_is_script)]


class Patterns(Strict):
    """Regular expressions (RE2's) for one kind of fault, searched in a message without regard to case; `^` is the beginning of a line."""

    both: tuple[Pattern, ...] = ()
    user: tuple[Pattern, ...] = ()
    assistant: tuple[Pattern, ...] = ()

    def of(self, side: Side) -> tuple[Pattern, ...]:
        """Return those that a side's messages are searched for."""
        return (*self.both, *(self.user if side == "user" else self.assistant))


class Repeats(Strict):
    """When a message repeats an earlier one of its side: this share of its runs of `run` words stands in that one, and it has at least `fewest_words`."""

    run: Words
    share: Part
    fewest_words: Words


class Persons(Strict):
    """Words by which one tells of oneself or speaks to the other, and how a few sentences in a row give away that they are the other side's.

    Args:
        sentences: how many in a row are looked at.
        user: least words of the second person, most of the first, and one of the domain's `answering` patterns.
        assistant: least words of the first person and most of the second.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    sentences: Words
    user: tuple[Whole, Whole]
    assistant: tuple[Whole, Whole]


class Guards(Strict):
    """`config/guards.yaml`, with what the domain's own `guards.yaml` adds.

    Args:
        script: Unicode's name of the script that messages are written in.
        foreign_share: share of a message's letters in other scripts from which it is refused; foreign_run: letters in a row.
        punctuated: words from which a message of whole sentences must end like one.
        verbatim: patterns that are searched in quotations, too.
        answering: what only the assistant's part says often; together with the persons of a few sentences it shows that a user plays it.
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
    """A domain's `guards.yaml`: patterns added to the general ones, and the script and the pronouns where its language has others."""

    script: Script | None = None
    persons: Persons | None = None
    answering: tuple[Pattern, ...] = ()
    leaked_reasoning: Patterns = Patterns()
    meta: Patterns = Patterns()
    role_inversion: Patterns = Patterns()


def merged(general: Guards, domain: DomainGuards) -> Guards:
    """Return the general guards with what a domain adds."""

    def both(name: str) -> Patterns:
        mine, more = getattr(general, name).model_dump(), getattr(domain, name).model_dump()
        return Patterns(**{side: (*mine[side], *more[side]) for side in mine})

    added = {name: both(name) for name in ("leaked_reasoning", "meta", "role_inversion")}
    own = {"script": domain.script or general.script, "persons": domain.persons or general.persons, "answering": domain.answering}
    return general.model_copy(update=own | added)
