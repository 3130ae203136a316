"""`make costs`: what a run will cost, before anything is asked of a model."""

import sys

from blocks.chat import LOCAL
from core.llm.prices import price_list
from core.packs.pack import load_pack
from core.paths import project_folder
from core.reports.costs import measure_prompts, run_costs, training_tokens
from core.reports.render import markdown
from core.settings.model_names import model_settings
from core.settings.pipeline import load_settings
from core.terminal import show_text
from tasks.command_words import in_one_sentence, read_words, whole_number
from tasks.tokens import count_tokens

SIZES = "10,150,1000"
PAGE = "docs/costs.md"


def costs_page(domain: str, settings: str, sizes: str) -> str:
    """Return the page.

    Args:
        sizes: numbers of transcripts, separated by commas.

    Raises:
        SettingsError: a size is no number.
    """
    numbers = [whole_number("sizes, numbers of transcripts separated by commas,", size.strip(), 1, 1_000_000) for size in sizes.split(",")]
    config, pack = load_settings(settings), load_pack(domain)
    names = [config.roles.user_simulator, config.roles.assistant, *config.roles.judges]
    prices = {name: price_list(name, model_settings(config, name).price, name.partition("/")[0] in LOCAL) for name in names}
    tables = []
    for transcripts in numbers:
        rows = run_costs(pack, config, transcripts, prices, count_tokens)
        known = sum(row.usd or 0.0 for row in rows)
        unknown = ", and what has no known price" if any(row.usd is None for row in rows) else ""
        tables.append((transcripts, rows, training_tokens(pack, config, transcripts, count_tokens), f"{known:.2f} USD{unknown}"))
    versions = sorted({price.version for price in prices.values() if price.version})
    return markdown(
        "costs",
        prices=", ".join(versions) or "none",
        taken=config.costs,
        domain=domain,
        exchanges=measure_prompts(pack, config, count_tokens).exchanges,
        tables=tables,
    )


def main(words: list[str]) -> int:
    """Print the page, or write it where the docs have it; return the exit code."""
    return in_one_sentence(
        lambda: _show(read_words(words, {"domain": "therapeutic-coaching", "settings": "config/pipeline.yaml", "sizes": SIZES, "write": ""}))
    )


def _show(given: dict[str, str]) -> int:
    page = costs_page(given["domain"], given["settings"], given["sizes"])
    if given["write"]:
        (project_folder() / PAGE).write_text(page, encoding="utf-8")
    else:
        show_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
