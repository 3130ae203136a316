"""The prompts that a model is tried with, by name, and the prompt texts of a search, in which placeholders mark what differs by person."""

import re
from dataclasses import dataclass

from core.errors import PackError, SettingsError, nearest
from core.fingerprint import fingerprint
from core.packs.pack import Pack
from core.packs.prompts import SUPPLIED, Prompt, check_prompt
from core.paths import user_path
from core.rehearsal.plan import FILE_PROMPT
from core.settings.arms import ASSISTANT, SYSTEM
from core.text_files import read_text

PLACEHOLDER = re.compile(r"\{\{ *(\w+) *\}\}")
"""An input that is filled in for each conversation."""
TEMPLATE_CODE = re.compile(r"\{\{|\{%|\{#")


@dataclass(frozen=True)
class GivenPrompt:
    """A prompt that a model is tried with.

    Args:
        label: its name in reports.
        guidance, template: as in a rehearsal's plan.
    """

    label: str
    guidance: str
    prompt: Prompt
    template: str | None = None


def given_prompt(pack: Pack, name: str) -> GivenPrompt:
    """Return a prompt by its name.

    Args:
        name: `system` or `assistant` of the pack, or the path of a prompt file.

    Raises:
        SettingsError: the name is neither.
        PackError: the file cannot be used.
    """
    if name in (SYSTEM, ASSISTANT):
        return GivenPrompt(name, name, pack.prompts[name])
    if not name.endswith(".md"):
        raise SettingsError(f"Unknown prompt {name!r:.80}.{nearest(name, (SYSTEM, ASSISTANT))} Allowed: {SYSTEM}, {ASSISTANT}, or a file that ends in .md.")
    path = user_path(name)
    text = read_text(path, PackError)
    return GivenPrompt(f"{path.name} ({fingerprint(text)})", FILE_PROMPT, check_prompt(path, text, ASSISTANT), text)


def start_text(pack: Pack, start: str) -> str:
    """Return the text of the prompt that a search begins with; inputs that depend on the pack alone are filled in, the others are placeholders.

    Args:
        start: the prompt's name, as in `given_prompt`.

    Raises:
        PackError: an input that differs by person is part of an expression, or the text itself contains double braces.
    """
    prompt = given_prompt(pack, start).prompt
    later = prompt.inputs & SUPPLIED[SYSTEM]
    text = prompt.render(tics=pack.tics.figures, **{name: f"{{{{ {name} }}}}" for name in later})
    if not set(PLACEHOLDER.findall(text)) <= later or TEMPLATE_CODE.search(PLACEHOLDER.sub("", text)):
        raise PackError(f"{prompt.path}: a search needs {' and '.join(f'{{{{ {name} }}}}' for name in sorted(later))} as they are, not in an expression.")
    return text


def prompt_file(text: str) -> str:
    """Return a prompt's text as a prompt file, with its inputs in the front matter."""
    return f"---\ninputs: [{', '.join(sorted(set(PLACEHOLDER.findall(text))))}]\n---\n{text}\n"
