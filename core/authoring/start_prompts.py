"""The prompts that a search begins with and ends in: texts whose only placeholders are those that are filled in for each person."""

import re

from core.errors import PackError, SettingsError, nearest
from core.packs.pack import Pack
from core.packs.prompts import SUPPLIED, check_prompt
from core.paths import user_path
from core.settings.arms import ASSISTANT, SYSTEM
from core.text_files import read_text

PLACEHOLDER = re.compile(r"\{\{ *(\w+) *\}\}")
"""What is filled in later."""


def start_text(pack: Pack, start: str) -> str:
    """Return the text of a prompt to begin with; what follows from the pack alone is filled in.

    Args:
        start: `system` or `assistant` of the pack, or the path of a prompt file.

    Raises:
        SettingsError: neither.
        PackError: the file cannot be used.
    """
    if start in (SYSTEM, ASSISTANT):
        prompt = pack.prompts[start]
    elif start.endswith(".md"):
        prompt = check_prompt(user_path(start), read_text(user_path(start), PackError), ASSISTANT)
    else:
        raise SettingsError(f"Unknown prompt {start!r:.80}.{nearest(start, (SYSTEM, ASSISTANT))} Allowed: {SYSTEM}, {ASSISTANT}, or a file that ends in .md.")
    later = {name: f"{{{{ {name} }}}}" for name in prompt.inputs & SUPPLIED[SYSTEM]}
    return prompt.render(tics=pack.tics.figures, **later)


def prompt_file(text: str) -> str:
    """Return a prompt as the text of a file."""
    return f"---\ninputs: [{', '.join(sorted(set(PLACEHOLDER.findall(text))))}]\n---\n{text}\n"
