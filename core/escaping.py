"""Text of strangers, made fit for the place where it is shown: a page, a report, a card, a spreadsheet (terminals and logs: core/terminal.py).

Whatever a person, a file or a model wrote is data. Templates that are made here escape all of it by themselves, so that a forgotten place is safe.
What is Markdown of our own is of the type `Markdown` and is left as it is.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Undefined, pass_eval_context
from jinja2.nodes import EvalContext
from markupsafe import Markup

from core.quantities import format_share
from core.terminal import printable

# --- Markdown ---------------------------------------------------------------------------------------------------------


class Markdown(str):
    """A text that is Markdown, with everything in it that is not ours escaped."""

    __slots__ = ()


_MARKUP = re.compile(r"([\\`*_\[\]<>|#~&])")
_PROSE = re.compile(r"([\\`\[\]<>|#~&])")
_RUN = re.compile(r"([^\s`|\\<>]+)")
_LINK = re.compile(r"://|www\.|[^@]@[^@]", re.IGNORECASE)
_BLOCK = re.compile(r"^(?=[-+=]+(?:\s|$))|^(\d{1,9})(?=[.)](?:\s|$))")


def plain(text: object) -> Markdown:
    """Return a text as Markdown that shows it as it is, in one line: in a paragraph, a list, a table or a heading.

    Addresses become code, since many renderers make links of them after escapes have been resolved.
    """
    return text if isinstance(text, Markdown) else Markdown(_shown(_MARKUP, _words(str(text))))


def _lines(text: str) -> str:
    return printable("\n".join(text.splitlines()))


def _words(text: str) -> str:
    return " ".join(_lines(text).split())


def prose(text: str) -> Markdown:
    """Return paragraphs and lists of a stranger as such, with bold and italics; HTML, links, images, headings, tables and code are shown as text."""
    return Markdown("\n".join(_listed(line.strip()) for line in _lines(text).strip().splitlines()))


def _listed(line: str) -> str:
    mark = re.match(r"(?:[-*+]|\d{1,9}[.)])\s+(?=\S)", line)
    return f"{mark[0]}{_shown(_PROSE, line[mark.end() :])}" if mark else _shown(_PROSE, line)


def _shown(markup: re.Pattern[str], text: str) -> str:
    parts = (f"`{part}`" if _LINK.search(part) else markup.sub(r"\\\1", part) for part in _RUN.split(text))
    return _BLOCK.sub(lambda found: f"{found[1] or ''}\\", "".join(parts))


def unescaped(text: str) -> str:
    """Return the text that `plain` was given, where it had no address."""
    return re.sub(r"\\([\\`*_\[\]<>|#~&])", r"\1", text)


def code(text: str) -> Markdown:
    """Return a text as code, if nothing in it could end that, or a table's cell."""
    words = _words(text)
    return plain(text) if not words or "`" in words or "|" in words else Markdown(f"`{words}`")


def fenced(text: str) -> Markdown:
    """Return a text of several lines as a block of code, which nothing in it can end."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return Markdown(f"{fence}text\n{_lines(text)}\n{fence}")


def quoted(text: str) -> Markdown:
    """Return prose as a quotation."""
    return Markdown("\n".join(f"> {line}" if line.strip() else ">" for line in prose(text).splitlines()))


def front_matter(data: Mapping[str, Any]) -> Markdown:
    """Return metadata as YAML between lines of ---, for the beginning of a card; what some reader could take for no text is quoted."""
    return Markdown(f"---\n{yaml_text(data)}---\n")


def yaml_text(data: Mapping[str, Any]) -> str:
    """Return plain data as YAML that the readers of YAML 1.1 and 1.2 take for the same."""
    return yaml.dump(dict(data), Dumper=_Quoting, sort_keys=False, allow_unicode=True, width=10_000)


_WORD = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null|inf|nan)$)[a-z][\w./-]*", re.IGNORECASE | re.ASCII)


class _Quoting(yaml.SafeDumper):
    """Quotes each text that is more than a word."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if _WORD.fullmatch(text) else '"')


_Quoting.add_representer(str, _text)
_Quoting.add_multi_representer(str, _text)
_Quoting.add_multi_representer(dict, yaml.SafeDumper.represent_dict)


# --- HTML and spreadsheets ----------------------------------------------------------------------------------------------


# inside a <script> these could end it or open a comment; JSON may write any character as an escape
_ESCAPES = {character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def embedded(data: Any) -> Markup:
    """Return plain data as JSON for a `<script>` of a page."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return Markup(text)


# what a spreadsheet turns into a date has a word that may be a month's, and then only digits and marks
_LEFT_ALONE = re.compile(r"(?!true$|false$|[^\W\d_]{3,9}[\W\d]+$)[a-z]", re.IGNORECASE)


def spreadsheet_cell(text: str) -> str:
    """Put an apostrophe before a text of which a spreadsheet would make a formula, a number or a date."""
    return text if _LEFT_ALONE.match(text) else f"'{text}"


# --- templates --------------------------------------------------------------------------------------------------------


def add_filters(**filters: Any) -> None:
    """Add filters to the one environment, each under a name that no other has.

    Raises:
        ValueError: another filter has the name.
    """
    for name, added in filters.items():
        if name in _TEMPLATES.filters:
            raise ValueError(f"another filter is named {name}")
        _TEMPLATES.filters[name] = added


def render_markdown(template: str, **values: Any) -> Markdown:
    """Return a report: every value is escaped unless it is `Markdown`, which the filter `safe` makes of our own words.

    Args:
        template: its place below `core/`, such as `reports/night`.
    """
    return Markdown(_TEMPLATES.get_template(f"{template}.md.j2").render(values).strip() + "\n")


def render_page(template: str, **values: Any) -> str:
    """Return a page of HTML: every value is escaped unless it is `Markup`.

    Args:
        template: its place below `core/`, such as `judging/page`.
    """
    return _TEMPLATES.get_template(f"{template}.html.j2").render(values)


def page_tokens() -> str:
    """Return the colours of all pages, light and dark, as a style sheet."""
    return Path(__file__).with_name("page_tokens.css").read_text(encoding="utf-8")


@pass_eval_context
def _final(context: EvalContext, value: Any) -> Any:
    if context.autoescape or isinstance(value, int | float | Undefined | Markdown) or value is None:
        return value
    text = str(value)
    return f"{' ' * text[:1].isspace()}{plain(text)}{' ' * (len(text) > 1 and text[-1:].isspace())}"


def _is_page(template: str | None) -> bool:
    return template is not None and template.endswith(".html.j2")


_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=_is_page, finalize=_final
)
_TEMPLATES.filters["safe"] = pass_eval_context(lambda context, value: Markup(value) if context.autoescape else Markdown(value))


@pass_eval_context
def _with_code(context: EvalContext, text: str) -> str:
    """Return a sentence in which what stands between backticks is code, for a report or a page."""
    parts = enumerate(text.split("`"))
    if context.autoescape:
        return Markup("").join(Markup("<code>{}</code>").format(part) if place % 2 else Markup.escape(part) for place, part in parts)
    return Markdown("".join(code(part) if place % 2 else _final(context, part) for place, part in parts))


add_filters(in_percent=format_share, with_code=_with_code, code=code, fenced=fenced, quoted=quoted, prose=prose, plain=plain)
