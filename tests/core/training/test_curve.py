"""The loss curve as a picture on light and dark pages, and as text."""

import json
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from core.errors import JobError
from core.training.curve import TEXT, TRAINING, VALIDATION, curve_sentence, curve_svg, curve_table, loss_curve
from tests.conftest import CHECKOUT

WHITE, DARK = "#ffffff", "#0d1117"
SVG = "{http://www.w3.org/2000/svg}"
LOSSES = st.floats(min_value=0, max_value=20)


def curve(training=(), validation=()):
    """A curve as the job writes it and JSON reads it: training steps from 1 on, validation steps as given."""
    points = {"loss_curve": [*enumerate(training, 1)], "validation_curve": [*dict(validation).items()]}
    return loss_curve(json.loads(json.dumps({key: [{"step": step, "loss": loss} for step, loss in found] for key, found in points.items()})))


def falling(steps):
    return [0.5 + 7 * math.exp(-6 * step / steps) + 0.2 * math.sin(step * 7) ** 2 for step in range(1, steps + 1)]


def luminance(colour):
    """The relative luminance of an sRGB colour (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(colour, ground):
    low, high = sorted((luminance(colour), luminance(ground)))
    return (high + 0.05) / (low + 0.05)


def rows(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def drawn(svg):
    """The colours of the curves, without axes and ticks."""
    return {colour for colour in (TRAINING, VALIDATION) if f"stroke: {colour}" in svg}


def test_the_text_colour_has_the_best_contrast_on_light_and_dark_pages():
    # The grounds fix the product of both contrasts: the worse one of a single colour is at most its root, 4.35, where 4.5 is asked for on one ground.
    best = math.sqrt(contrast(WHITE, DARK))
    assert best < 4.5
    assert min(contrast(TEXT, WHITE), contrast(TEXT, DARK)) > 0.99 * best
    for line in (TRAINING, VALIDATION):
        assert min(contrast(line, WHITE), contrast(line, DARK)) >= 3  # WCAG's requirement for graphics


@pytest.mark.slow
def test_the_picture_uses_only_these_colours_and_no_background():
    svg = curve_svg(curve(falling(200), {0: 7.5, 100: 1.0, 200: 0.6}))
    assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) == {TEXT, TRAINING, VALIDATION}
    assert "fill: none" in svg
    assert drawn(svg) == {TRAINING, VALIDATION}


def test_the_picture_has_a_text_alternative():
    shown = curve(falling(50), {0: 7.5, 50: 0.6})
    root = ET.fromstring(curve_svg(shown, title="Loss of <coach> & co."))
    assert root.get("role") == "img"
    assert [(child.tag, child.text) for child in root][:2] == [(f"{SVG}title", "Loss of <coach> & co."), (f"{SVG}desc", curve_sentence(shown))]
    assert {"step", "loss"} <= {text.text for text in root.iter(f"{SVG}text")}  # text, not outlines


def test_the_picture_has_no_external_references():
    svg = curve_svg(curve(falling(50), {0: 7.5, 50: 0.6}))
    assert svg.startswith("<svg ")
    names = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    assert "://" not in names
    assert not re.search(r"<(script|image|foreignObject|use href=)|@import|url\((?!#)", names)
    assert all(target.startswith("#") for target in re.findall(r'href="([^"]*)"', names))


@pytest.mark.slow
def test_the_same_curve_gives_the_same_picture_in_every_process_folder_and_thread(tmp_path):
    points = [{"step": step, "loss": 9 / step} for step in range(1, 40)]
    (tmp_path / "matplotlibrc").write_text("font.size: 30\nxtick.labelsize: 30\naxes.grid: True\nsvg.fonttype: path\n", encoding="utf-8")
    script = f"from core.training.curve import *; print(curve_svg(loss_curve({{'loss_curve': {points}}})), end='')"
    environment = {"PYTHONPATH": str(CHECKOUT), "HOME": str(tmp_path), "SOURCE_DATE_EPOCH": "1"}
    command = [sys.executable, "-W", "error", "-c", script]
    elsewhere = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(curve_svg, [loss_curve({"loss_curve": points})] * 8)) == {elsewhere}


@pytest.mark.slow
def test_the_picture_of_a_long_training_stays_small_and_still_shows_its_worst_step():
    losses = falling(50_000)
    losses[31_000] = 400.0
    svg = curve_svg(curve(losses, dict.fromkeys(range(0, 50_001, 500), 1.0)))
    assert len(svg) < 200_000
    assert "mean over 2,500 steps" in svg
    assert any(text.text == "400" for text in ET.fromstring(svg).iter(f"{SVG}text"))  # the axis reaches up to it


@pytest.mark.parametrize(
    ("shown", "colours", "said"),
    [
        (curve(), set(), "No loss is known."),
        (curve([2.31]), set(), "The training loss was 2.310 at step 1, the only one; no validation loss is known."),
        (curve([], {0: 2.5}), {VALIDATION}, "No training loss is known; the validation loss was 2.500 at step 0, the only one."),
        (curve([5, 4, 3, 2]), set(), "The training loss went from 5.000 at step 1 to 2.000 at step 4"),
        (curve([9, 6, 5, 4, 3, 2]), set(), "from 9.000 at step 1 to 4.000 (mean of the last 5) at step 6"),
    ],
)
def test_missing_losses_are_reported_and_not_drawn(shown, colours, said):
    svg = curve_svg(shown)
    assert said in curve_sentence(shown)
    assert drawn(svg) == colours
    assert "nan" not in svg.lower()
    assert ("no loss to draw" in svg) == curve_sentence(shown).startswith("No loss is known")


def test_one_step_is_drawn_as_a_point_at_a_whole_step():
    root = ET.fromstring(curve_svg(curve([2.31])))
    assert root.findall(f".//{SVG}g[@clip-path]/{SVG}use")
    across = root.find(f".//{SVG}g[@id='matplotlib.axis_1']")
    assert across is not None
    assert {text.text for text in across.iter(f"{SVG}text")} == {"1", "step"}


@pytest.mark.parametrize(
    ("validation", "said", "overfits"),
    [
        ({0: 8.0, 10: 2.0, 20: 1.0}, "to 1.000 at step 20, its lowest", False),
        ({0: 8.0, 10: 1.0, 20: 1.02}, "with its lowest, 1.000, at step 10", False),
        ({0: 8.0, 10: 1.0, 20: 1.021}, "with its lowest, 1.000, at step 10", True),
        ({0: 8.0, 10: 1.0, 20: 1.5}, "it then rose by 50 %, a sign of overfitting", True),
        ({0: 8.0, 10: 0.0, 20: 0.5}, "it then rose, a sign of overfitting", True),
        ({0: 1.0, 10: 2.0, 20: 3.0}, "so the training made the model worse", False),
        ({0: 8.0, 10: 1.0, 20: 1.0}, "its lowest", False),
    ],
)
def test_a_validation_loss_that_rises_at_the_end_is_reported_as_overfitting(validation, said, overfits):
    sentence = curve_sentence(curve(falling(20), validation))
    assert said in sentence
    assert ("overfitting" in sentence) == overfits


def test_the_caller_sets_the_rise_that_counts_as_overfitting():
    shown = curve(falling(20), {0: 8.0, 10: 1.0, 20: 1.1})
    assert "overfitting" in curve_sentence(shown)
    assert "overfitting" not in curve_sentence(shown, rise=0.2)


def test_a_row_has_the_mean_training_loss_since_the_previous_row():
    assert rows(curve_table(curve([8, 6, 4, 2], {0: 9, 2: 5, 4: 3}))) == [
        ["0", "", "9.000"],
        ["1", "8.000", ""],
        ["2", "6.000", "5.000"],
        ["3", "4.000", ""],
        ["4", "2.000", "3.000"],
    ]


@settings(max_examples=60)
@given(st.lists(LOSSES, max_size=400), st.dictionaries(st.integers(0, 400), LOSSES, max_size=60), st.integers(4, 12))
def test_the_table_is_short_and_keeps_first_last_and_lowest(training, validation, most):
    shown = curve(training, validation)
    found = rows(curve_table(shown, most))
    assert len(found) <= most
    steps = [int(row[0].replace(",", "")) for row in found]
    assert steps == sorted(set(steps))
    checks = [point.step for point in shown.validation]
    wanted = {*checks[:1], *checks[-1:], *([len(training)] if training else [])}
    assert wanted <= set(steps)
    if checks:
        assert f"{min(point.loss for point in shown.validation):.3f}" in [row[2] for row in found]
    if found:
        html = MarkdownIt("commonmark").enable("table").render(curve_table(shown, most))
        assert html.count("<tr>") == len(found) + 1
    assert curve_sentence(shown).endswith((".", ")."))


def test_unsorted_losses_are_sorted_by_step():
    points = [{"step": step, "loss": 9 / step} for step in range(1, 9)]
    for name in ("loss_curve", "validation_curve"):
        assert loss_curve({name: points[::-1]}) == loss_curve({name: points})


def test_an_invalid_loss_curve_is_refused():
    with pytest.raises(JobError, match=r"^The loss curve in metrics.json: `training.0.step` is required"):
        loss_curve({"loss_curve": [{"loss": 1.0}]})
    assert loss_curve({"loss_curve": [{"step": 1, "loss": 2.0, "learning_rate": 0.1}]}).training[0].loss == 2.0


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, None])
@pytest.mark.parametrize("kind", ["loss_curve", "validation_curve"])
def test_a_loss_that_is_not_finite_is_refused_and_not_drawn_as_a_gap(kind, loss):
    written = json.dumps({kind: [{"step": 1, "loss": 2.0}, {"step": 2, "loss": loss}]})
    with pytest.raises(JobError, match=r"^The loss curve in metrics.json: `\w+.1.loss`"):
        loss_curve(json.loads(written))
