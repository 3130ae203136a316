"""Model cards: the facts about a model as the README that the Hub shows, with a place for an evaluation.

Names, prompts and caveats come from outside. Whatever they contain is shown as text, and the card keeps its form.
"""

import json
import re
import shlex
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from core.errors import HubError
from core.escaping import Markdown, add_filters, code, front_matter, plain, render_markdown, unescaped, yaml_text
from core.records import Result
from core.reports.card_facts import CardFacts, Source
from core.training.curve import curve_sentence, curve_table
from core.training.export_facts import ExportFacts

BEGIN, END = "<!-- evaluation -->", "<!-- /evaluation -->"
"""Lines of a card between which the section on the evaluation is inserted."""

CURVE = "loss_curve.svg"
"""Name of the picture in an adapter's card; its file is in the same folder."""


def adapter_card(facts: CardFacts) -> Markdown:
    """Return the README of an adapter's repository, which shows the picture `CURVE`.

    Source:
        https://huggingface.co/docs/hub/model-cards
    """
    head = _front_matter(facts, "adapter", "peft", ["lora", "conversational", "understudy", facts.domain])
    last = facts.pairs or facts.training
    return _card("reports/adapter_card", head, facts, files=last.files if last else [])


def gguf_card(facts: CardFacts, export: ExportFacts, adapter: Source | None = None) -> Markdown:
    """Return the README of a repository of GGUF files.

    Args:
        facts: facts of the model.
        export: facts of the export.
        adapter: the adapter that was merged into the base; None if the base itself was converted.
    """
    head = _front_matter(facts, "quantized", "gguf", ["gguf", "llama-cpp", "conversational", "understudy", facts.domain])
    return _card("reports/gguf_card", head, facts, files=export.files, export=export, adapter=adapter)


def with_evaluation(card: str, section: str, results: Sequence[Result] | None = None) -> str:
    """Return a card with a new section on the evaluation; everything else stays byte for byte.

    Args:
        card: the card so far.
        section: Markdown below the heading "Evaluation".
        results: figures that replace those in the metadata; None or an empty list removes them.

    Raises:
        HubError: the card has no place for an evaluation.
    """
    head, cut, body = card.partition("\n---\n")
    before, begins, rest = body.partition(f"\n{BEGIN}\n")
    _, ends, after = rest.partition(f"\n{END}\n")
    if not (card.startswith("---\n") and cut and begins and ends):
        raise HubError(f"The card has no place for the evaluation: it needs metadata between lines of ---, and the lines {BEGIN} and {END}. Export again.")
    head = re.sub(r"^model-index:\n(?:(?:[ -].*)?\n)*", "", f"{head}\n", flags=re.MULTILINE)
    if results:
        title = re.search(r"^# (.*)$", before, re.MULTILINE)
        index = [{"name": unescaped(title[1]) if title else "understudy", "results": [_result(item) for item in results]}]
        head += yaml_text({"model-index": index})
    text = section.strip("\n")
    for line in (BEGIN, END):
        text = text.replace(line, line.replace("<", "&lt;"))
    return f"{head}---\n{before}{begins}\n{text}\n{ends}{after}"


def _result(item: Result) -> dict[str, Any]:
    metric = {"type": item.metric, "name": item.name, "value": float(item.value)}
    return {"task": {"type": "text-generation"}, "dataset": {"type": item.dataset_type, "name": item.dataset}, "metrics": [metric]}


def _front_matter(facts: CardFacts, relation: str, library: str, tags: Sequence[str]) -> str:
    data = {
        "base_model": facts.base.repo,
        "base_model_relation": relation if facts.base.repo else None,
        "library_name": library,
        "pipeline_tag": "text-generation",
        "license": facts.license,
        "license_name": facts.license_name,
        "license_link": facts.license_link,
        "language": facts.languages,
        "tags": list(tags),
        "datasets": [facts.dataset.repo] if facts.dataset and facts.dataset.repo else None,
    }
    return front_matter({name: value for name, value in data.items() if value})


def _card(template: str, head: str, facts: CardFacts, **more: Any) -> Markdown:
    inputs = {"facts": facts, "training": facts.training, "begin": BEGIN, "end": END, "curve": CURVE, **more}
    return Markdown(f"{head}\n{render_markdown(template, **inputs)}")


def _linked(source: Source) -> Markdown:
    name = plain(source.repo or source.name)
    return Markdown(f"[{name}]({quote(source.url, safe=':/?#&=%@+,;~')})") if source.url.startswith(("http://", "https://")) else name


def _source(source: Source) -> Markdown:
    return Markdown(f"{_linked(source)} at commit {code(source.commit)}") if source.commit else _linked(source)


def _origin(source: Source) -> Markdown:
    """Return the origin of a model: a URL as a link, anything else as text."""
    if re.fullmatch(r"https?://[^\s<>]+", source.origin):
        return Markdown(f"<{quote(source.origin, safe=':/?#&=%@+,;~')}>")
    return plain(source.origin)


def _size(count: int) -> str:
    """Return a number of bytes for people, in powers of 1000 as on download pages."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} bytes"


add_filters(
    linked=_linked,
    source=_source,
    origin=_origin,
    size=_size,
    number="{:,}".format,
    versions=lambda packages: ", ".join(f"{name} {version}" for name, version in packages.items()),
    curve_sentence=curve_sentence,
    curve_table=curve_table,
    literal=lambda text: Markdown(json.dumps(text, ensure_ascii=False)),
    shell=lambda text: Markdown(shlex.quote(" ".join(text.split()))),
)
