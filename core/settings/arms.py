"""The notation of the evaluation's arms in the settings and on the command line: `MODEL` or `MODEL under PROMPT`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from core.errors import SettingsError, nearest

BASE, UNDERSTUDY, PREFERRED, TEACHER = "base", "understudy", "preferred", "teacher"
"""Keywords for models: those that are compared (`preferred` is the understudy after preference training), and the one that wrote the training data
(`roles.assistant`)."""
EXPORTED = (BASE, UNDERSTUDY, PREFERRED)
SYSTEM, ASSISTANT = "system", "assistant"
"""Prompts of the pack: the short one used in training, and the detailed one with which the training data is written."""
UNDER = " under "
NAME = r"[A-Za-z0-9][\w. -]{0,39}"
"""Pattern of an arm's name."""


@dataclass(frozen=True)
class ArmWords:
    """The parts of an arm's notation.

    Args:
        model: `provider/model`, the name of a saved block, or one of the keywords above.
        prompt: `system`, `assistant`, or the path of a prompt file.
    """

    model: str
    prompt: str

    @property
    def literal(self) -> str | None:
        """The model, unless it is one of the keywords; then None."""
        return None if self.model in (*EXPORTED, TEACHER) else self.model


def read_arm(name: str, text: str) -> ArmWords:
    """Read an arm.

    Args:
        name: name of the arm.
        text: `MODEL` or `MODEL under PROMPT`.

    Raises:
        ValueError: the name or the text is not valid.
    """
    if not re.fullmatch(NAME, name):
        raise ValueError(f"{name!r:.80} is not a valid arm name. Allowed: up to 40 letters, digits, spaces, dots and dashes, as in {{'opus': 'anthropic/…'}}")
    model, under, prompt = (part.strip() for part in text.partition(UNDER))
    # a path may contain spaces, but a keyword or the name of a block may not
    broken = not model or (" " in model and "/" not in model) or (bool(under) and not prompt)
    if broken:
        raise ValueError(
            f"the arm {name!r} is {text!r:.80}. Allowed: MODEL or MODEL under PROMPT, such as `base under assistant` or `base under prompts/mine.md`; "
            f"a model is provider/model, {BASE}, {UNDERSTUDY}, {PREFERRED} or {TEACHER}"
        )
    prompt = prompt or SYSTEM
    if prompt not in (SYSTEM, ASSISTANT) and not prompt.endswith(".md"):
        raise ValueError(
            f"the arm {name!r} has the prompt {prompt!r:.80}.{nearest(prompt, (SYSTEM, ASSISTANT))} Allowed: {SYSTEM}, {ASSISTANT}, or the path of a prompt "
            "file that ends in .md"
        )
    return ArmWords(model, prompt)


def as_written(words: ArmWords) -> bool:
    """Return whether an arm answers in the way that the training data was written: with the pack's notes, and with faulty answers requested again."""
    return words.model == TEACHER and words.prompt == ASSISTANT


def read_arms(arms: Mapping[str, str]) -> dict[str, ArmWords]:
    """Read the arms of a command or a flow's parameter.

    Raises:
        SettingsError: an arm is not valid.
    """
    try:
        return {name: read_arm(name, text) for name, text in arms.items()}
    except ValueError as wrong:
        raise SettingsError(f"{str(wrong)[0].upper()}{str(wrong)[1:]}.") from wrong
