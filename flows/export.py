"""A base and its adapter → two GGUFs: the arms of the evaluation, and the one to use."""

from prefect import flow

from core.pack import load_pack
from core.records import ModelRef
from core.settings import load_settings, load_training
from tasks.export import export_gguf
from tasks.jobs import script_hash
from tasks.policy import ensured


@flow(name="export", flow_run_name="export-{adapter.name}")
async def export(base: ModelRef, adapter: ModelRef, domain: str = "therapeutic-coaching", settings: str = "config/pipeline.yaml") -> tuple[ModelRef, ModelRef]:
    """Merge, convert and quantise the understudy, and convert its base in the same way.

    Args:
        base: the model that was trained from.
        adapter: what was trained.
        domain: name of a domain pack; its system prompt goes into the Modelfile.
        settings: path of the settings file; it names the training settings.

    Returns:
        The base's folder of GGUF files and the understudy's.
    """
    numbers, pack, script = load_training(load_settings(settings).training), load_pack(domain), script_hash("convert_gguf.py")
    base_gguf = await ensured(export_gguf, ModelRef, "base", base, None, numbers, domain, pack.hash, script)
    return base_gguf, await ensured(export_gguf, ModelRef, "understudy", base, adapter, numbers, domain, pack.hash, script)
