"""The report of an evaluation as corrected by a person's labels."""

from core.escaping import Markdown, add_filters, render_markdown
from core.evaluation import report  # noqa: F401  # defines the filters for differences
from core.evaluation.labelled import LabelledEvaluation
from core.judging.calibration import figure
from core.judging.label_statistics import Estimate


def evaluation_review_markdown(found: LabelledEvaluation) -> Markdown:
    """Return the judge's error rates by arm, the difference corrected for these errors, and the decision with it, as Markdown."""
    return render_markdown("reports/evaluation_review", found=found)


def _rate(estimate: Estimate) -> str:
    return f"{figure(estimate)} of {estimate.n}" if estimate.value is not None else f"none: {estimate.reason}"


add_filters(rate_of=_rate, more_often=lambda value: f"{100 * value:+.1f} points", coefficient=figure)
