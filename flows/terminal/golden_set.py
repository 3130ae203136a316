"""A domain's golden set as a page."""

from pathlib import Path

from core.errors import PackError
from core.escaping import add_filters, render_markdown
from core.judging.golden import load_golden
from core.judging.golden_set import set_figures
from core.judging.label_statistics import Estimate
from core.packs.pack import load_pack
from core.paths import user_path
from core.storage.whole_files import write_page
from core.terminal import Answer


def golden_set(domain: str = "therapeutic-coaching", to: Path | None = None) -> Answer:
    """Show a domain's golden set: what it holds, and how far its two readers agree.

    Args:
        domain: name of a domain pack.
        to: file for the page.

    Raises:
        PackError: the pack has no golden set.
    """
    pack = load_pack(domain)
    golden = load_golden(pack)
    if not golden:
        raise PackError(f"The pack {domain!r} has no golden set (config/domains/{domain}/golden/*.yaml). docs/judging.md says how to make one.")
    figures = set_figures(golden, pack.rubric)
    names = {key: criterion.head.name for key, criterion in pack.rubric.criteria.items()}
    gates = [key for key, criterion in pack.rubric.criteria.items() if criterion.head.gate]
    rubric = f"../../../../prompts/{domain}/criteria"
    page = render_markdown("reports/golden_set", found=figures, domain=domain, names=names, gates=gates, rubric=rubric)
    if to is not None:
        write_page(user_path(to), page)
    disputed = {name: list(criteria) for name, criteria in figures.disputed.items()}
    data = {"conversations": figures.conversations, "held_out": figures.held_out, "disputed": disputed, "kappa": figures.overall.kappa.value, "page": page}
    return Answer(f"{page}\nWritten: {to}" if to is not None else page, data)


def _kappa(estimate: Estimate) -> str:
    if estimate.value is None:
        return f"none: {estimate.reason}"
    return f"{estimate.value:.2f}" + (f" ({estimate.interval[0]:.2f} to {estimate.interval[1]:.2f})" if estimate.interval else "")


add_filters(kappa=_kappa)
