"""Importing this does in advance what every command does at its start or at its first use of a library. A nursery imports it last.

Forked processes can share all of it: what is cached of a file is used only while the file is unchanged.
"""

from collections.abc import Iterator
from contextlib import suppress

from genai_prices import data_snapshot
from jinja2 import TemplateAssertionError
from pydantic import BaseModel

from blocks.tokens import count_tokens
from core import escaping
from core.llm.prices import context_window
from core.packs.pack import load_pack
from core.packs.places import domains
from core.pictures import picture
from core.settings.pipeline import load_settings


def kinds(of: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Return the subclasses of a model, at every level."""
    for kind in of.__subclasses__():
        yield kind
        yield from kinds(kind)


for kind in set(kinds(BaseModel)):
    if kind.__module__.startswith(("core.", "prefect.")) and not kind.__pydantic_complete__:
        kind.model_rebuild(raise_errors=False)
for domain in domains():
    load_pack(domain)
load_settings("config/demo.yaml")
for template in escaping._TEMPLATES.list_templates(extensions=["j2"]):
    with suppress(TemplateAssertionError):  # it needs a filter that a command which is not imported here adds
        escaping._TEMPLATES.get_template(template)
count_tokens("a word")
context_window("anthropic/claude-opus-4-8")
data_snapshot.get_snapshot()
picture(lambda axes: axes.plot([1, 2], label="a line"), "a picture", "a line", (2, 2))
