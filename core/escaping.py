"""Escapes untrusted text for the place where it is shown: a page, a report, a card, a spreadsheet (terminals and logs: core/terminal.py).

All text from a person, a file or a model is data. The templates of this module escape every value by default, so a forgotten place is safe.
The product's own Markdown has the type `Markdown` and is not escaped.
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
    """Markdown in which all untrusted text is escaped already."""

    __slots__ = ()


_MARKUP = re.compile(r"([\\`*_\[\]<>|#~&])")
_PROSE = re.compile(r"([\\`\[\]<>|#~&])")
_RUN = re.compile(r"([^\s`|\\<>]+)")
_LINK = re.compile(r"://|www\.|[^@]@[^@]", re.IGNORECASE)
_BLOCK = re.compile(r"^(?=[-+=]+(?:\s|$))|^(\d{1,9})(?=[.)](?:\s|$))")


def plain(text: object) -> Markdown:
    """Return Markdown that shows a text literally, in one line: in a paragraph, a list, a table or a heading.

    Addresses become code, since many renderers turn them into links after they have resolved escapes.
    """
    return text if isinstance(text, Markdown) else Markdown(_escaped(_MARKUP, _words(str(text))))


def _lines(text: str) -> str:
    return printable("\n".join(text.splitlines()))


def _words(text: str) -> str:
    return " ".join(_lines(text).split())


def prose(text: str) -> Markdown:
    """Return untrusted Markdown with its paragraphs, lists, bold and italics; HTML, links, images, headings, tables and code are shown as text."""
    return Markdown("\n".join(_prose_line(line.strip()) for line in _lines(text).strip().splitlines()))


def _prose_line(line: str) -> str:
    mark = re.match(r"(?:[-*+]|\d{1,9}[.)])\s+(?=\S)", line)
    return f"{mark[0]}{_escaped(_PROSE, line[mark.end() :])}" if mark else _escaped(_PROSE, line)


def _escaped(markup: re.Pattern[str], text: str) -> str:
    parts = (f"`{part}`" if _LINK.search(part) else markup.sub(r"\\\1", part) for part in _RUN.split(text))
    return _BLOCK.sub(lambda mark: f"{mark[1] or ''}\\", "".join(parts))


def unescaped(text: str) -> str:
    """Undo `plain` for a text that contains no address."""
    return re.sub(r"\\([\\`*_\[\]<>|#~&])", r"\1", text)


def code(text: str) -> Markdown:
    """Return a text as inline code, or as plain text if it could end the code or a table cell."""
    words = _words(text)
    return plain(text) if not words or "`" in words or "|" in words else Markdown(f"`{words}`")


def fenced(text: str) -> Markdown:
    """Return a text of several lines as a code block whose fence is longer than any run of backticks in the text."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return Markdown(f"{fence}text\n{_lines(text)}\n{fence}")


def quoted(text: str) -> Markdown:
    """Return prose as a block quotation."""
    return Markdown("\n".join(f"> {line}" if line.strip() else ">" for line in prose(text).splitlines()))


def front_matter(data: Mapping[str, Any]) -> Markdown:
    """Return metadata as YAML between lines of `---`, for the beginning of a card."""
    return Markdown(f"---\n{yaml_text(data)}---\n")


def yaml_text(data: Mapping[str, Any]) -> str:
    """Return plain data as YAML that readers of YAML 1.1 and 1.2 parse to the same values: ambiguous text is quoted."""
    return yaml.dump(dict(data), Dumper=_Quoting, sort_keys=False, allow_unicode=True, width=10_000)


_WORD = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null|inf|nan)$)[a-z][\w./-]*", re.IGNORECASE | re.ASCII)


class _Quoting(yaml.SafeDumper):
    """A dumper that quotes each text unless it is a single unambiguous word."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if _WORD.fullmatch(text) else '"')


_Quoting.add_representer(str, _text)
_Quoting.add_multi_representer(str, _text)
_Quoting.add_multi_representer(dict, yaml.SafeDumper.represent_dict)


# --- HTML and spreadsheets ----------------------------------------------------------------------------------------------


# inside a <script> these characters could end it or open a comment; JSON allows an escape for any character
_ESCAPES = {character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def embedded(data: Any) -> Markup:
    """Return plain data as JSON that is safe inside a page's `<script>` element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return Markup(text)


# a spreadsheet reads as a date what begins with a possible month name followed only by digits and punctuation
_SAFE_IN_CELL = re.compile(r"(?!true$|false$|[^\W\d_]{3,9}[\W\d]+$)[a-z]", re.IGNORECASE)


def spreadsheet_cell(text: str) -> str:
    """Prefix an apostrophe to a text that a spreadsheet would read as a formula, a number or a date."""
    return text if _SAFE_IN_CELL.match(text) else f"'{text}"


# --- templates --------------------------------------------------------------------------------------------------------


def add_filters(**filters: Any) -> None:
    """Add filters to the shared template environment, each under an unused name.

    Raises:
        ValueError: another filter has the name.
    """
    for name, function in filters.items():
        if name in _TEMPLATES.filters:
            raise ValueError(f"another filter is named {name}")
        _TEMPLATES.filters[name] = function


def render_markdown(template: str, **values: Any) -> Markdown:
    """Return a report: every value is escaped unless it is `Markdown`; the filter `safe` marks the product's own text as such.

    Args:
        template: path below `core/` without its ending, such as `reports/night`.
    """
    return Markdown(_TEMPLATES.get_template(f"{template}.md.j2").render(values).strip() + "\n")


def render_page(template: str, **values: Any) -> str:
    """Return an HTML page: every value is escaped unless it is `Markup`.

    Args:
        template: path below `core/` without its ending, such as `judging/page`.
    """
    return _TEMPLATES.get_template(f"{template}.html.j2").render(values)


def page_tokens() -> str:
    """Return the colours that all pages share, light and dark, as a style sheet."""
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
    """Return a sentence for a report or a page, with the parts between backticks as code."""
    parts = enumerate(text.split("`"))
    if context.autoescape:
        return Markup("").join(Markup("<code>{}</code>").format(part) if place % 2 else Markup.escape(part) for place, part in parts)
    return Markdown("".join(code(part) if place % 2 else _final(context, part) for place, part in parts))


add_filters(in_percent=format_share, with_code=_with_code, code=code, fenced=fenced, quoted=quoted, prose=prose, plain=plain)
