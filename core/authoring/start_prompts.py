"""The prompts that a model is tried with, by name; and those that a search begins with and ends in, in which only what differs by person is left open."""

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
"""What is filled in later."""
TEMPLATE_CODE = re.compile(r"\{\{|\{%|\{#")


@dataclass(frozen=True)
class GivenPrompt:
    """A prompt that a model is tried with.

    Args:
        label: what reports call it; guidance, template: as a rehearsal's plan has them.
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
        SettingsError: neither.
        PackError: the file cannot be used.
    """
    if name in (SYSTEM, ASSISTANT):
        return GivenPrompt(name, name, pack.prompts[name])
    if not name.endswith(".md"):
        raise SettingsError(f"Unknown prompt {name!r:.80}.{nearest(name, (SYSTEM, ASSISTANT))} Allowed: {SYSTEM}, {ASSISTANT}, or a file that ends in .md.")
    path = user_path(name)
    whole = read_text(path, PackError)
    return GivenPrompt(f"{path.name} ({fingerprint(whole)})", FILE_PROMPT, check_prompt(path, whole, ASSISTANT), whole)


def start_text(pack: Pack, start: str) -> str:
    """Return the text of a prompt to begin a search with; what follows from the pack alone is filled in.

    Args:
        start: as in `given_prompt`.

    Raises:
        PackError: what differs by person is a part of an expression, or the text itself has double braces.
    """
    prompt = given_prompt(pack, start).prompt
    later = prompt.inputs & SUPPLIED[SYSTEM]
    text = prompt.render(tics=pack.tics.figures, **{name: f"{{{{ {name} }}}}" for name in later})
    if not set(PLACEHOLDER.findall(text)) <= later or TEMPLATE_CODE.search(PLACEHOLDER.sub("", text)):
        raise PackError(f"{prompt.path}: a search needs {' and '.join(f'{{{{ {name} }}}}' for name in sorted(later))} as they are, not in an expression.")
    return text


def prompt_file(text: str) -> str:
    """Return a prompt as the text of a file."""
    return f"---\ninputs: [{', '.join(sorted(set(PLACEHOLDER.findall(text))))}]\n---\n{text}\n"
