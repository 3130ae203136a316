"""The schema of `programs.yaml`: programs with a real fault that simulated users bring."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field

from core.errors import PackError
from core.packs.taxonomy import Taxonomy, Text
from core.text_files import read_text
from core.yaml_files import Strict, load_yaml

FOLDER = "programs"
LANGUAGE = "language"
"""Name of the dimension that decides which programs a persona may bring."""
MAX_CHARACTERS = 4000
"""Maximum length of a program, whose complete text is part of the simulated user's brief."""


def _plain(name: str) -> str:
    if name != PurePosixPath(name).name or name.startswith("."):
        raise ValueError(f"{name!r} is not a valid file name in {FOLDER}/")
    return name


class ProgramHead(Strict):
    """An entry of `programs.yaml`.

    Args:
        subtopic: the subtopic for which a persona brings the program.
        language: a value of the dimension `language`.
        file: the file's name in the pack's folder `programs/`.
        symptom: what its writer knows about the fault, in a sentence or two.
        fails_with: text in the program's output or error message when it runs.
        wanted: text that should be in the output instead; None for a program that ends with an error.
    """

    subtopic: Text
    language: Text
    file: Annotated[Text, AfterValidator(_plain)]
    symptom: Text
    fails_with: Text
    wanted: Text | None = None


class ProgramHeads(Strict):
    """`programs.yaml`."""

    programs: list[ProgramHead] = Field(default_factory=list)


@dataclass(frozen=True)
class Program:
    """A program: its entry in `programs.yaml` and its text."""

    head: ProgramHead
    text: str


def load_programs(config: Path, taxonomy: Taxonomy) -> tuple[Program, ...]:
    """Return the programs of a pack; an empty tuple if it has no `programs.yaml`.

    Args:
        config: the pack's folder below `config/domains/`.

    Raises:
        PackError: a program has an unknown subtopic or language, no persona can bring it, its file is missing or too long, or a subtopic with programs
            has none for a language of its personas.
    """
    path = config / "programs.yaml"
    heads = load_yaml(path, ProgramHeads, PackError).programs if path.exists() else []
    languages = taxonomy.dimensions.get(LANGUAGE, {})
    for head in heads:
        for what, name, allowed in (("subtopic", head.subtopic, taxonomy.subtopics), (LANGUAGE, head.language, languages)):
            if name not in allowed:
                raise PackError(f"{path}: {head.file} names the {what} {name!r}. Allowed: {', '.join(allowed) or f'nothing without a dimension `{what}`'}.")
        if head.language in taxonomy.subtopics[head.subtopic].not_with.get(LANGUAGE, []):
            raise PackError(f"{path}: nobody brings {head.file}, because {head.subtopic} excludes the language {head.language}. Change one of the two.")
    for name in {head.subtopic for head in heads}:
        covered, excluded = {head.language for head in heads if head.subtopic == name}, taxonomy.subtopics[name].not_with.get(LANGUAGE, [])
        if without := sorted(set(languages) - covered - set(excluded)):
            raise PackError(f"{path}: the subtopic {name} has no program in {', '.join(without)}. Add one, or write not_with: {{{LANGUAGE}: {without}}} there.")
    return tuple(Program(head, _text(config / FOLDER / head.file)) for head in heads)


def _text(path: Path) -> str:
    text = read_text(path, PackError, "Write it, or remove it from programs.yaml.").strip("\n")
    if not 1 <= len(text) <= MAX_CHARACTERS:
        raise PackError(f"{path} has {len(text)} characters. Allowed: 1 to {MAX_CHARACTERS}.")
    return text
