"""What a run will cost, before anything is asked of a model."""

import re
from pathlib import Path

from blocks.chat import LOCAL
from blocks.tokens import count_tokens
from core.errors import SettingsError
from core.llm.prices import price_list
from core.packs.pack import load_pack
from core.reports.costs import ASSUMPTIONS, measure_prompts, run_costs, training_tokens
from core.reports.render import markdown
from core.settings.model_names import model_settings
from core.settings.pipeline import load_settings
from core.terminal import Answer
from flows.terminal.domain_packs import written

WHOLE = re.compile("[1-9][0-9]{0,5}|1000000")
"""A number of transcripts."""


def costs(domain: str = "therapeutic-coaching", sizes: str = "10,150,1000", settings: str = "config/pipeline.yaml", to: Path | None = None) -> Answer:
    """Show what a run will cost, by stage, computed from the settings; no model is asked.

    Args:
        domain: name of a domain pack.
        sizes: numbers of transcripts, separated by commas.
        settings: path of the settings file.
        to: file that the page is written to.

    Raises:
        SettingsError: a size is no number.
    """
    parts = [size.strip() for size in sizes.split(",")]
    if wrong := [part for part in parts if not WHOLE.fullmatch(part)]:
        raise SettingsError(f"sizes, numbers of transcripts separated by commas, has {wrong[0]!r:.40}. Allowed: whole numbers from 1 to 1,000,000.")
    config, pack = load_settings(settings), load_pack(domain)
    names = [config.roles.user_simulator, config.roles.assistant, *config.roles.judges]
    prices = {name: price_list(name, model_settings(config, name).price, name.partition("/")[0] in LOCAL) for name in names}
    tables, runs = [], []
    for transcripts in map(int, parts):
        rows = run_costs(pack, config, transcripts, prices, count_tokens)
        known, unpriced = sum(row.usd or 0.0 for row in rows), any(row.usd is None for row in rows)
        tokens = training_tokens(pack, config, transcripts, count_tokens)
        tables.append((transcripts, rows, tokens, f"{known:.2f} USD{', and what has no known price' if unpriced else ''}"))
        runs.append({"transcripts": transcripts, "usd": known, "unpriced": unpriced, "training_tokens": tokens, "stages": rows})
    versions = sorted({price.version for price in prices.values() if price.version})
    exchanges = measure_prompts(pack, config, count_tokens).exchanges
    page = markdown("costs", prices=", ".join(versions) or "none", taken=ASSUMPTIONS, domain=domain, exchanges=exchanges, tables=tables)
    return written(page, to, {"domain": domain, "prices": versions, "runs": runs})
