"""The loss curve of a training: a picture for light and dark pages, and a sentence and a table for readers who cannot see it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, ConfigDict

from core.errors import JobError
from core.pictures import TEXT, picture
from core.records import Record
from core.yaml_files import check

if TYPE_CHECKING:
    import numpy as np

TRAINING, VALIDATION = "#1a7fd4", "#c2620a"
"""Colours of the two curves."""


class LossPoint(Record):
    """The loss at a step."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    step: int
    loss: float


Points = Annotated[list[LossPoint], AfterValidator(lambda points: sorted(points, key=lambda point: point.step))]


class LossCurve(Record):
    """The losses of a training in the order of its steps; step 0 is before the first update."""

    training: Points
    validation: Points


def loss_curve(metrics: Mapping[str, Any]) -> LossCurve:
    """Return the losses that a training job wrote into `metrics.json`.

    Raises:
        JobError: the losses have another form, or one is not finite.
    """
    curve = {"training": metrics.get("loss_curve", []), "validation": metrics.get("validation_curve", [])}
    return check(curve, LossCurve, JobError, "The loss curve in metrics.json")


def curve_svg(curve: LossCurve, title: str = "Loss of the training", smoothing: float = 0.05) -> str:
    """Return the curve as an SVG picture with a transparent background, no date and no external files; the same curve gives the same bytes.

    Args:
        title: title for screen readers; `curve_sentence` is the description.
        smoothing: window of the thick line's running mean, as a share of the steps. The line is omitted if the window has fewer than three steps.
    """
    return picture(lambda axes: _draw(axes, curve, smoothing), title, curve_sentence(curve), (8, 4.2), sides=("left", "bottom"), alone=True)


def _draw(axes: Any, curve: LossCurve, smoothing: float) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set(xlabel="step", ylabel="loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    steps, losses = _arrays(curve.training)
    window = round(smoothing * len(steps))
    if len(steps):
        axes.plot(steps, losses, color=TEXT, linewidth=0.7, marker="." if len(steps) < 30 else None, label="training")
    if window >= 3:
        axes.plot(steps, _running_mean(losses, window), color=TRAINING, linewidth=2, label=f"training, mean over {window:,} steps")
    steps, losses = _arrays(curve.validation)
    if len(steps):
        axes.plot(steps, losses, color=VALIDATION, linewidth=1.5, linestyle="--", marker="o", label="validation")
    if axes.lines:
        axes.legend(frameon=False, labelcolor=TEXT)
    else:
        axes.text(0.5, 0.5, "no loss to draw", color=TEXT, ha="center", transform=axes.transAxes)


def _arrays(points: Sequence[LossPoint]) -> "tuple[np.ndarray, np.ndarray]":
    import numpy as np

    return np.array([point.step for point in points]), np.array([point.loss for point in points])


def _running_mean(values: "np.ndarray", window: int) -> "np.ndarray":
    """Return for each value the mean of the values in the window around it."""
    import numpy as np

    kernel = np.ones(window)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def curve_sentence(curve: LossCurve, rise: float = 0.02, last: int = 5) -> str:
    """Return a sentence that describes the curve.

    Args:
        rise: rise of the validation loss from its lowest value to its last that is called overfitting, as a share of the lowest value.
        last: number of the last training losses that are averaged, since single ones vary by chance.
    """
    if not (curve.training or curve.validation):
        return "No loss is known."
    sentence = f"{_training(curve.training, last)}; {_validation(curve.validation, rise)}."
    return f"{sentence[0].upper()}{sentence[1:]}"


def _training(points: Sequence[LossPoint], last: int) -> str:
    losses = [point.loss for point in points]
    if len(losses) < 2:
        return f"the training loss was {losses[0]:.3f} at step {points[0].step:,}, the only one" if losses else "no training loss is known"
    end = f"{losses[-1]:.3f}" if len(losses) <= last else f"{sum(losses[-last:]) / last:.3f} (mean of the last {last})"
    return f"the training loss went from {losses[0]:.3f} at step {points[0].step:,} to {end} at step {points[-1].step:,}"


def _validation(points: Sequence[LossPoint], rise: float) -> str:
    losses = [point.loss for point in points]
    if len(losses) < 2:
        return f"the validation loss was {losses[0]:.3f} at step {points[0].step:,}, the only one" if losses else "no validation loss is known"
    end, lowest, at = losses[-1], min(losses), points[losses.index(min(losses))].step
    clause = f"the validation loss went from {losses[0]:.3f} at step {points[0].step:,} to {end:.3f} at step {points[-1].step:,}"
    clause += ", its lowest" if end == lowest else f", with its lowest, {lowest:.3f}, at step {at:,}"
    if end <= lowest * (1 + rise):
        return clause
    by = f" by {100 * (end - lowest) / lowest:.0f} %" if lowest > 0 else ""
    if at == 0:
        return f"{clause}, before the training: it rose{by}, so the training made the model worse on what it had not seen"
    return f"{clause}: it then rose{by}, a sign of overfitting (the model learns its examples by heart)"


def curve_table(curve: LossCurve, rows: int = 12) -> str:
    """Return the curve as a Markdown table; empty without losses.

    Args:
        rows: largest number of rows, at least 4. The first, last and lowest validation losses and the last step are always among them.
    """
    training, validation = _by_step(curve.training), _by_step(curve.validation)
    steps = {*_spread(list(validation), rows - 2), *list(training)[-1:], *sorted(validation, key=lambda step: validation[step])[:1]}
    if len(steps) <= rows // 2:
        steps |= set(_between([step for step in training if step not in steps], rows - len(steps)))
    lines, before = ["| step | training loss | validation loss |", "|---:|---:|---:|"], -1
    for step in sorted(steps):
        since = [loss for at, loss in training.items() if before < at <= step]
        mean = f"{sum(since) / len(since):.3f}" if since else ""
        validation_loss = f"{validation[step]:.3f}" if step in validation else ""
        lines.append(f"| {step:,} | {mean} | {validation_loss} |")
        before = step
    return "\n".join(lines) if steps else ""


def _by_step(points: Sequence[LossPoint]) -> dict[int, float]:
    return {point.step: point.loss for point in points}


def _spread(steps: Sequence[int], most: int) -> list[int]:
    """Return at most `most` evenly spaced steps, including the first and the last."""
    return list(steps) if len(steps) <= most else [steps[round(place * (len(steps) - 1) / (most - 1))] for place in range(most)]


def _between(steps: Sequence[int], most: int) -> list[int]:
    """Return at most `most` evenly spaced steps, without the first and the last."""
    return list(steps) if len(steps) <= most else [steps[place * len(steps) // (most + 1)] for place in range(1, most + 1)]
