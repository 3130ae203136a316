"""What a command checks before it waits for a server: mistakes are reported immediately."""

import asyncio
from collections.abc import Mapping
from typing import Any

from core.packs.pack import load_pack
from core.settings.pipeline import check_jobs, load_settings, load_training
from core.storage.store import open_store
from tasks.run import choose_models, models_named


def check_before_start(flow: str, domain: str, settings: str, asked: Mapping[str, Any]) -> None:
    """Load all that the run will read, but for saved blocks, which only the server knows.

    Args:
        flow: the flow's name.
        domain: name of a domain pack.
        settings: path of the settings file.
        asked: the other parameters.

    Raises:
        UnderstudyError: the first thing found wrong in the settings, the pack, a model reference or the data root.
    """
    config, pack = load_settings(settings), load_pack(domain)
    check_jobs(config, load_training(config.training))
    config.check_entries(models_named(asked))
    asyncio.run(choose_models(config, flow, pack, saved=False))
    open_store().check_writable()
