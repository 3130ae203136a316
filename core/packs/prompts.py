"""Prompt files: Markdown with front matter that declares their inputs, and a Jinja2 body."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.errors import PackError
from core.packs.templates import fill, inputs_of
from core.paths import find_data
from core.text_files import read_text
from core.yaml_files import parse_yaml

SUPPLIED = {
    "user_simulator": frozenset({"persona", "topics", "flaws", "dimensions", "trajectory", "life", "programs"}),
    "user_opening": frozenset[str](),
    "user_steering": frozenset(
        {"exchange_number", "target_exchanges", "flaws", "topics", "cooperation", "mood", "days", "date", "event", "episode", "may_end"}
    ),
    "assistant": frozenset({"services", "tics"}),
    "system": frozenset({"services"}),
    "assessor": frozenset({"exchanges", "facts"}),
    "assessor_question": frozenset({"exchanges", "criteria", "alone", "listed"}),
}
"""Inputs that the code supplies to each prompt of a pack; a prompt may use fewer."""

NOTE = "assistant_note"

SUPPLIED_IF_THERE = {
    "repair": frozenset({"exchanges", "answer", "findings", "next_message"}),
    NOTE: frozenset({"exchange_number", "user_words", "length", "openers", "endings", "used_up", "help", "suggestions", "refused"}),
}
"""Inputs of the prompts that a pack need not have."""

SUPPLIED_SHARED = {
    "answer_in_json": frozenset({"schema"}),
    "conversation": frozenset({"messages"}),
    "no_system": frozenset[str](),
    "check": frozenset[str](),
    "pairwise": frozenset({"conversations", "criteria"}),
    "opening_said": frozenset({"system", "opening"}),
    "opening_read": frozenset({"opening", "user"}),
    "repair_follows": frozenset({"exchanges", "answer", "message"}),
    "refusals": frozenset({"answers"}),
    "design_brief": frozenset({"brief"}),
    "design_system": frozenset({"brief", "domain"}),
    "design_step": frozenset({"file", "guidance", "example", "drafted"}),
    "design_again": frozenset({"reason"}),
    "design_critique_system": frozenset({"brief", "files"}),
    "design_critique": frozenset({"expert"}),
    "design_revise": frozenset({"file", "text", "findings"}),
    "optimise_prompt_system": frozenset[str](),
    "optimise_prompt": frozenset({"reflection", "kept"}),
}
"""Inputs of the shared prompts, which belong to no domain."""

READ_IN_REHEARSALS = ("answer_in_json", "conversation", "no_system")
"""Shared prompts that the models of a rehearsal and its judges read."""


@dataclass(frozen=True)
class Prompt:
    """A checked template.

    Args:
        path: file of the template.
        inputs: the names that the front matter declares and the text uses.
        text: the Jinja2 body; a model reads its rendered form.
    """

    path: Path
    inputs: frozenset[str]
    text: str

    def render(self, **inputs: Any) -> str:
        """Return the rendered template; texts among the inputs are data and are not expanded.

        Raises:
            PackError: the template fails with these inputs (`core.packs.templates.fill`).
        """
        return fill(self.text, str(self.path), {name: inputs[name] for name in self.inputs}).strip()


def read_front_matter(path: Path) -> tuple[Mapping[str, Any], str]:
    """Return a Markdown file's front matter and its body.

    Raises:
        PackError: the file is missing or its front matter is not a YAML mapping between two lines of `---`.
    """
    return _split(path, _text(path))


def _text(path: Path) -> str:
    return read_text(path, PackError, "Write it; docs/domain-packs.md says what belongs in it.")


def _split(path: Path, whole: str) -> tuple[Mapping[str, Any], str]:
    head, separator, body = whole.removeprefix("---\n").partition("\n---\n")
    try:
        front = parse_yaml(head) if separator else None
    except ValueError as broken:
        raise PackError(f"{path}: front matter is not YAML: {broken}.") from broken
    if not isinstance(front, dict):
        raise PackError(f"{path}: no front matter found. Begin the file with `---`, the keys, and `---` again.")
    return front, body.strip()


def load_prompt(path: Path) -> Prompt:
    """Return a prompt, read from a file that is named after its role.

    Raises:
        PackError: an input is used and not declared, declared and not used, or not supplied by the code.
    """
    return check_prompt(path, _text(path))


def check_prompt(path: Path, whole: str, role: str | None = None) -> Prompt:
    """Return a prompt, checked as if its text had been read from a file.

    Args:
        path: path of the prompt, for errors; its stem is the role, unless `role` is given.
        whole: text with front matter.
        role: the prompt's role; None takes it from the path.

    Raises:
        PackError: as for `load_prompt`.
    """
    front, text = _split(path, whole)
    if unknown := sorted({str(key) for key in front} - {"inputs"}):
        raise PackError(f"{path}: front matter has unknown keys {unknown}. Allowed: ['inputs'].")
    names = front.get("inputs") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise PackError(f"{path}: `inputs` of the front matter is not a list of names. Write it as [persona, topics].")
    declared, used = frozenset(names), inputs_of(text, str(path))
    if declared != used:
        undeclared, unused = (", ".join(sorted(names)) or "none" for names in (used - declared, declared - used))
        raise PackError(f"{path}: used in the text and not in `inputs`: {undeclared}; in `inputs` and not used: {unused}. Make them match.")
    supplied = (SUPPLIED | SUPPLIED_IF_THERE | SUPPLIED_SHARED)[role or path.stem]
    if unknown_inputs := sorted(used - supplied):
        raise PackError(f"{path}: unknown template variables {unknown_inputs}. This prompt is given {sorted(supplied)}.")
    if not text:
        raise PackError(f"{path}: the prompt has no text. Write what the model is to read.")
    return Prompt(path, declared, text)


def load_shared(name: str) -> Prompt:
    """Return a shared prompt, which belongs to no domain."""
    return _load_once(shared_file(f"{name}.md"))


def shared_file(name: str) -> Path:
    """Return the path of a shared prompt file, which belongs to no domain."""
    return find_data(f"prompts/shared/{name}")


@lru_cache(maxsize=64)
def _load_once(path: Path) -> Prompt:
    return load_prompt(path)
