"""What an arm of the evaluation is called in the settings and on the command line: `MODEL` or `MODEL under PROMPT`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from core.errors import SettingsError, nearest

BASE, UNDERSTUDY, PREFERRED, TEACHER = "base", "understudy", "preferred", "teacher"
"""Words that stand for a model: those that are compared (`preferred` is the understudy after preference training), and the one that wrote the training data
(`roles.assistant`)."""
EXPORTED = (BASE, UNDERSTUDY, PREFERRED)
SYSTEM, ASSISTANT = "system", "assistant"
"""Prompts of the pack: the short one that is trained with, and the detailed one that the training data is written with."""
UNDER = " under "
NAME = r"[A-Za-z0-9][\w. -]{0,39}"
"""Of an arm."""


@dataclass(frozen=True)
class ArmWords:
    """An arm as it is written.

    Args:
        model: `provider/model`, the name of a saved block, or one of the words above.
        prompt: `system`, `assistant`, or the path of a prompt file.
    """

    model: str
    prompt: str

    @property
    def literal(self) -> str | None:
        """The model, where it is named and not one of the words."""
        return None if self.model in (*EXPORTED, TEACHER) else self.model


def read_arm(name: str, text: str) -> ArmWords:
    """Read how an arm is written.

    Raises:
        ValueError: it is of another form.
    """
    if not re.fullmatch(NAME, name):
        raise ValueError(f"{name!r:.80} is not a valid arm name. Allowed: up to 40 letters, digits, spaces, dots and dashes, as in {{'opus': 'anthropic/…'}}")
    model, under, prompt = (part.strip() for part in text.partition(UNDER))
    # a path may have blanks, a word or the name of a block has none
    broken = not model or (" " in model and "/" not in model) or (bool(under) and not prompt)
    if broken:
        raise ValueError(
            f"the arm {name!r} is {text!r:.80}. Allowed: MODEL or MODEL under PROMPT, such as `base under assistant` or `base under prompts/mine.md`; "
            f"a model is provider/model, {BASE}, {UNDERSTUDY}, {PREFERRED} or {TEACHER}"
        )
    prompt = prompt or SYSTEM
    if prompt not in (SYSTEM, ASSISTANT) and not prompt.endswith(".md"):
        raise ValueError(
            f"the arm {name!r} plays under {prompt!r:.80}.{nearest(prompt, (SYSTEM, ASSISTANT))} Allowed: {SYSTEM}, {ASSISTANT}, or the path of a prompt file "
            "that ends in .md"
        )
    return ArmWords(model, prompt)


def as_written(words: ArmWords) -> bool:
    """Say whether an arm plays as the training data was written: with the pack's notes, and with faulty answers asked for again."""
    return words.model == TEACHER and words.prompt == ASSISTANT


def read_arms(given: Mapping[str, str]) -> dict[str, ArmWords]:
    """Read arms that a command or a flow's parameter names.

    Raises:
        SettingsError: one is of another form.
    """
    try:
        return {name: read_arm(name, text) for name, text in given.items()}
    except ValueError as wrong:
        raise SettingsError(f"{str(wrong)[0].upper()}{str(wrong)[1:]}.") from wrong
