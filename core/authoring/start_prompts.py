"""The prompts that a search begins with and ends in: texts whose only placeholders are those that are filled in for each person."""

import re

from core.errors import PackError
from core.packs.pack import Pack
from core.packs.prompts import SUPPLIED, check_prompt
from core.paths import user_path
from core.text_files import read_text

PACK_PROMPTS = ("system", "assistant")
PLACEHOLDER = re.compile(r"\{\{ *(\w+) *\}\}")
"""What is filled in later."""


def start_text(pack: Pack, start: str) -> str:
    """Return the text of a prompt to begin with; what follows from the pack alone is filled in.

    Args:
        start: `system` or `assistant` of the pack, or the path of a prompt file.

    Raises:
        PackError: the file cannot be used.
    """
    path = user_path(start)
    prompt = pack.prompts[start] if start in PACK_PROMPTS else check_prompt(path, read_text(path, PackError), "assistant")
    later = {name: f"{{{{ {name} }}}}" for name in prompt.inputs & SUPPLIED["system"]}
    return prompt.render(tics=pack.tics.figures, **later)


def prompt_file(text: str) -> str:
    """Return a prompt as the text of a file."""
    return f"---\ninputs: [{', '.join(sorted(set(PLACEHOLDER.findall(text))))}]\n---\n{text}\n"
