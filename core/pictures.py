"""Pictures for reports: SVG that can be read on a light and on a dark page, says in words what it shows, and is the same for the same figures."""

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
"""Lines and words. Of all single colours this grey has about the greatest contrast, 4.35 to 1, on white and on a dark page (#0d1117) alike."""
COLOURS = ("#6b7a8f", "#c2620a", "#1a7fd4", "#8a5fbf", "#2e8b57")
"""Of the arms, the base's first."""
MARKERS = ("o", "s", "^", "D", "v")

_DRAWING = threading.Lock()
"""matplotlib's settings are those of the process: two threads would draw with one another's."""


def picture(draw: Callable[[Any], None], title: str, said: str, size: tuple[float, float], *, sides: Sequence[str] = ("bottom",), alone: bool = False) -> str:
    """Return a picture as an SVG element without ground, date or anything from outside; several of them can stand on one page.

    Args:
        draw: draws on the axes that it is given.
        title, said: read out by screen readers.
        size: inches.
        sides: of the axes on which there is a line.
        alone: it is a file of its own, which does not know the page it is shown on; within a page, words have the page's colour.
    """
    # its cache of fonts would go into the home folder
    os.environ.setdefault("MPLCONFIGDIR", str(cache_folder() / "matplotlib"))
    import matplotlib as mpl
    from matplotlib.figure import Figure

    file = io.StringIO()
    with _DRAWING, mpl.rc_context(), warnings.catch_warnings():
        # text stays text, so it is the reader's fonts that count; this one only measures
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        mpl.rcdefaults()  # not those of a matplotlibrc that happens to lie about
        salt = fingerprint([title, said])  # names within a picture must be its own on the page
        mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": salt, "font.size": 10, "text.parse_math": False, "text.color": TEXT})
        mpl.rcParams["path.simplify_threshold"] = 1.0  # of thousands of points no more is kept than a pixel shows
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.tick_params(colors=TEXT, length=0)
        for item in (axes.xaxis.label, axes.yaxis.label):
            item.set_color(TEXT)
        for side, spine in axes.spines.items():
            spine.set(color=TEXT, visible=side in sides)
        # metadata would hold a date and addresses
        figure.savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    opening, _, rest = file.getvalue().partition("<svg ")[2].partition(">")
    drawn = rest if alone else _own_names(rest.replace(TEXT, "currentColor"), salt)
    # what stands before the element names a document type elsewhere
    return f'<svg role="img" {opening}>\n <title>{escape(title)}</title>\n <desc>{escape(said)}</desc>{drawn}'


def styles(names: list[str]) -> dict[str, tuple[str, str]]:
    """Return a colour and a marker for each arm."""
    # after a round of colours the markers are moved on by one, so that no two of 25 arms look alike
    return {name: (COLOURS[at % len(COLOURS)], MARKERS[(at + at // len(COLOURS)) % len(MARKERS)]) for at, name in enumerate(names)}


def _own_names(svg: str, salt: str) -> str:
    """Give the groups of a picture names that no other picture has."""
    return re.sub(r'\bid="((?:figure|axes|patch|line2d|text|matplotlib|xtick|ytick|legend|PathCollection|LineCollection)[\w.]*)"', rf'id="{salt}-\1"', svg)
