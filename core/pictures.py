"""Pictures for reports: SVG that is legible on light and dark pages, has a text description, and is byte-identical for identical data."""

import io
import os
import re
import threading
import warnings
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from core.fingerprint import fingerprint
from core.paths import cache_folder

TEXT = "#797979"
"""Colour of lines and words. This grey has a contrast of 4.35 to 1 both on white and on a dark page (#0d1117), about the most that one colour can have."""
COLOURS = ("#6b7a8f", "#c2620a", "#1a7fd4", "#8a5fbf", "#2e8b57")
"""Colours of the arms, the base first."""
MARKERS = ("o", "s", "^", "D", "v")

_DRAWING = threading.Lock()
"""matplotlib's settings are global to the process: without this lock, two threads would draw with each other's settings."""


def picture(
    draw: Callable[[Any], None], title: str, description: str, size: tuple[float, float], *, sides: Sequence[str] = ("bottom",), alone: bool = False
) -> str:
    """Return a picture as an SVG element with a transparent background, no date and no external resources; one page can hold several.

    Args:
        draw: called with the matplotlib axes to draw on.
        title, description: texts that screen readers read out.
        size: width and height in inches.
        sides: sides of the axes that have a line.
        alone: whether the picture is a separate file, which cannot adapt to the page that shows it; within a page, words take the page's colour.
    """
    # by default, matplotlib's font cache would go into the home folder
    os.environ.setdefault("MPLCONFIGDIR", str(cache_folder() / "matplotlib"))
    import matplotlib as mpl
    from matplotlib.figure import Figure

    file = io.StringIO()
    with _DRAWING, mpl.rc_context(), warnings.catch_warnings():
        # text stays text in the SVG and is shown in the reader's fonts; the font here only measures it
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        mpl.rcdefaults()  # ignore any matplotlibrc of the user
        salt = fingerprint([title, description])  # element ids must be unique on the page
        mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": salt, "font.size": 10, "text.parse_math": False, "text.color": TEXT})
        mpl.rcParams["path.simplify_threshold"] = 1.0  # drop points that differ by less than a pixel
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.tick_params(colors=TEXT, length=0)
        for item in (axes.xaxis.label, axes.yaxis.label):
            item.set_color(TEXT)
        for side, spine in axes.spines.items():
            spine.set(color=TEXT, visible=side in sides)
        # by default, the metadata would contain the date and web addresses
        figure.savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    opening, _, rest = file.getvalue().partition("<svg ")[2].partition(">")
    body = rest if alone else _with_unique_ids(rest.replace(TEXT, "currentColor"), salt)
    # the text before the element, which is dropped, refers to an external document type
    return f'<svg role="img" {opening}>\n <title>{escape(title)}</title>\n <desc>{escape(description)}</desc>{body}'


def styles(names: list[str]) -> dict[str, tuple[str, str]]:
    """Return a colour and a marker for each arm."""
    # after each cycle of the colours the markers shift by one, so that no two of 25 arms look alike
    return {name: (COLOURS[at % len(COLOURS)], MARKERS[(at + at // len(COLOURS)) % len(MARKERS)]) for at, name in enumerate(names)}


def _with_unique_ids(svg: str, salt: str) -> str:
    """Prefix the ids of a picture's groups, so that no other picture on the page has the same ones."""
    return re.sub(r'\bid="((?:figure|axes|patch|line2d|text|matplotlib|xtick|ytick|legend|PathCollection|LineCollection)[\w.]*)"', rf'id="{salt}-\1"', svg)
