"""What a command checks before it waits for a server, so that mistakes are reported immediately."""

import asyncio
from collections.abc import Mapping
from typing import Any

from core.llm.models_asked import models_named, with_judges
from core.packs.pack import Pack, load_pack
from core.paths import user_path
from core.settings.pipeline import Settings, check_jobs, load_settings, load_training
from core.storage.store import open_store
from tasks.run import choose_model, choose_models


def check_before_start(flow: str, domain: str, settings: str, asked: Mapping[str, Any]) -> None:
    """Load everything that the run will read, except saved blocks, which only the server has.

    Args:
        flow: the flow's name.
        domain: name of a domain pack.
        settings: path of the settings file.
        asked: the other parameters.

    Raises:
        UnderstudyError: the first fault found in the settings, the pack, a model reference or the data root.
    """
    config, pack = load_settings(settings), load_pack(domain)
    check_jobs(config, load_training(config.training))
    if flow == "calibration":
        from core.judging.golden_judging import golden_sets, modes_of  # noqa: PLC0415  it imports numpy, which other flows do not need

        golden_sets(pack, user_path(asked["golden"]) if asked["golden"] else None)
        modes_of(asked["mode"], config.assessment.judging)
    asyncio.run(_choose(with_judges(config, asked), flow, pack, asked))
    open_store().check_writable()


async def _choose(config: Settings, flow: str, pack: Pack, asked: Mapping[str, Any]) -> None:
    await choose_models(config, flow, pack, saved=False)
    for name in models_named(config, flow, asked):
        if "/" in name:
            await choose_model(config, name, pack)
