"""What a run will cost, estimated without calling a model."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from blocks.tokens import count_tokens
from core.errors import SettingsError
from core.llm.models_asked import prices_of
from core.llm.prices import PriceList
from core.packs.pack import Pack, load_pack
from core.paths import user_path
from core.reports.costs import RunCost, arm_model, assessment_costs, optimise_costs, preference_costs, run_cost
from core.reports.improvement_costs import improvement_costs
from core.reports.planned_calls import ASSUMPTIONS, Sizes, measure_prompts
from core.reports.render import markdown
from core.reports.training_costs import training_costs
from core.settings.arms import read_arms
from core.settings.pipeline import Settings, load_settings, load_training
from core.storage.whole_files import write_page
from core.terminal import Answer

WHOLE = re.compile("[1-9][0-9]{0,5}|1000000")
"""A number of transcripts: a whole number from 1 to 1,000,000."""
USUAL = (10, 150, 1000)
"""Numbers of transcripts that are shown together with that of the settings."""
STAGES = ("generation", "assessment", "evaluation", "safety battery")


def costs(domain: str = "therapeutic-coaching", sizes: str | None = None, settings: str = "config/pipeline.yaml", to: Path | None = None) -> Answer:
    """Estimate from the settings what a run costs, in total and by stage; no model is called.

    Args:
        domain: name of a domain pack.
        sizes: numbers of conversations, separated by commas; default: 10, 150, 1,000 and that of the settings.
        settings: path of the settings file.
        to: file for the complete page, with calls and tokens of each role.

    Raises:
        SettingsError: a size is not a whole number from 1 to 1,000,000.
    """
    config, pack = load_settings(settings), load_pack(domain)
    numbers = _numbers(sizes, config.generation.conversations)
    prices = _prices(config)
    count = cache(count_tokens)  # each size and each judge alone counts the same prompts
    measured = measure_prompts(pack, config, count)
    runs = [run_cost(pack, config, many, prices, count, measured) for many in numbers]
    prompt = RunCost(config.optimise.conversations, optimise_costs(pack, config, prices, count, measured), 0)
    pairs = RunCost(config.generation.conversations, preference_costs(pack, config, config.generation.conversations, prices, measured), 0)
    improved = RunCost(config.improvement.conversations, improvement_costs(pack, config, prices, count, measured), 0)
    trained = training_costs(pack, config, config.generation.conversations, count, measured)
    halved = [_assessment(pack, config, run.transcripts, prices, measured) for run in runs]
    versions = sorted({price.version for price in prices.values() if price.version})
    page = markdown(
        "costs",
        prices=", ".join(versions) or "none",
        taken=ASSUMPTIONS,
        domain=domain,
        exchanges=measured.exchanges,
        runs=runs,
        halved=halved,
        prompt=prompt,
        pairs=pairs,
        improved=improved,
        corrections=config.improvement.corrections,
        learn=load_training(config.training).learn,
        trained=trained,
        many=config.generation.conversations,
    )
    if to is not None:
        write_page(user_path(to), page)
    totals = [{"transcripts": run.transcripts, "usd": run.usd(), "by_stage": {stage: run.usd(stage) for stage in STAGES}} for run in runs]
    data = {
        "domain": domain,
        "prices": versions,
        "budget_usd": config.budget.usd,
        "totals": totals,
        "optimise_prompt_usd": prompt.usd(),
        "preferences_usd": pairs.usd(),
        "improvement_round_usd": improved.usd(),
        "runs": runs,
        "assessment_usd_live_and_in_batches": halved,
        "trained": trained,
        "page": page,
    }
    return Answer("\n".join(_lines(config, domain, versions, runs, (prompt, pairs, improved), to)), data)


def _prices(config: Settings) -> dict[str, PriceList]:
    """Return the prices of all models that the settings name, by their names."""
    names = [config.roles.user_simulator, config.roles.assistant, *config.roles.bound()["judge"], *filter(None, [config.roles.designer])]
    names += filter(None, [config.roles.repairer, *(arm_model(config, words) for words in read_arms(config.evaluation.arms).values())])
    return {name: prices_of(config, name) for name in names}


def _lines(
    config: Settings, domain: str, versions: Sequence[str], runs: Sequence[RunCost], others: tuple[RunCost, RunCost, RunCost], to: Path | None
) -> list[str]:
    """Return the answer on the terminal.

    Args:
        versions: those of the price lists.
        runs: a run of each size.
        others: what a search for a prompt, preferences and a round of improvement cost, which a run does not include.
        to: the file with the complete page, if it was written.
    """
    prompt, pairs, improved = others
    dated = f"at the prices of {', '.join(versions)}" if versions else "without prices"
    lines = [f"USD by number of conversations of {domain}, {dated}:", "", *_table(runs), ""]
    lines.append(f"Not included: understudy optimise-prompt plays at most {prompt.transcripts} conversations: {_usd(prompt.usd())}.")
    lines.append(f"Not included: understudy preferences costs at most {_usd(pairs.usd())} for {pairs.transcripts:,} conversations.")
    lines.append(f"Not included: a round of understudy improve costs at most {_usd(improved.usd())}, without its training.")
    if config.assessment.batch:
        lines.append("Assessment is at the price of the providers' batches (assessment.batch).")
    lines.append(_against_budget(runs, config.budget.usd))
    lines.append(f"Written: {to}" if to is not None else "--to FILE writes the complete page, with calls and tokens by role.")
    return lines


def _assessment(pack: Pack, config: Settings, transcripts: int, prices: Mapping[str, PriceList], measured: Sizes) -> list[float | None]:
    """Return the cost of judging in USD, by ordinary calls and in the providers' batches; None where a price is not known."""
    both = [config.model_copy(update={"assessment": config.assessment.model_copy(update={"batch": batch})}) for batch in (False, True)]
    return [RunCost(transcripts, assessment_costs(pack, settings, transcripts, prices, measured), 0).usd() for settings in both]


def _numbers(sizes: str | None, of_settings: int) -> list[int]:
    if sizes is None:
        return sorted({*USUAL, of_settings})
    parts = [size.strip() for size in sizes.split(",")]
    if wrong := [part for part in parts if not WHOLE.fullmatch(part)]:
        raise SettingsError(f"sizes, numbers of transcripts separated by commas, has {wrong[0]!r:.40}. Allowed: whole numbers from 1 to 1,000,000.")
    return list(map(int, parts))


def _table(runs: Sequence[RunCost]) -> list[str]:
    rows = [("conversations", [f"{run.transcripts:,}" for run in runs]), ("total", [_usd(run.usd()) for run in runs])]
    rows += [(f"  {stage}", [_usd(run.usd(stage)) for run in runs]) for stage in STAGES]
    rows += [(f"{name} alone", [_usd(run.usd_by_single_judge()[name]) for run in runs]) for name in runs[0].usd_by_single_judge()]
    rows.append(("training, tokens of a pass", [f"{run.training_tokens:,}" for run in runs]))
    wide = max(len(name) for name, _ in rows) + 2
    return [f"  {name:<{wide}}{''.join(f'{cell:>14}' for cell in cells)}" for name, cells in rows]


def _usd(usd: float | None) -> str:
    return "no price" if usd is None else f"{usd:,.2f}"


def _against_budget(runs: Sequence[RunCost], budget: float | None) -> str:
    if budget is None:
        return "budget.usd is null: nothing limits a run in USD."
    beyond = ", ".join(f"{run.transcripts:,}" for run in runs if (run.usd() or 0) > budget)
    return f"budget.usd is {budget:g}. {f'Not enough for {beyond} conversations.' if beyond else 'Enough for each of them.'}"
