"""A base and its adapter → GGUF files of the base and of the understudy: the arms of the evaluation."""

from prefect import flow

from core.records import DatasetRef, ModelRef
from core.settings.pipeline import load_training
from core.training.latest import keep_exports, latest_models
from core.training.preferred import keep_preferred, preferred_of
from tasks.export import agree_to_export, export_gguf
from tasks.jobs import script_hash
from tasks.paid_jobs import cancel_jobs
from tasks.policy import guarded, run_cached
from tasks.published import check_base, check_dataset, check_made, place_of_jobs
from tasks.publishing import publish_base_gguf, publish_gguf
from tasks.run import begin_run


@guarded
@flow(name="export", flow_run_name="export-{domain}", on_cancellation=[cancel_jobs])
async def export(
    base: ModelRef | None = None,
    adapter: ModelRef | None = None,
    dataset: DatasetRef | None = None,
    domain: str = "therapeutic-coaching",
    settings: str = "config/pipeline.yaml",
    exported_base: ModelRef | None = None,
) -> tuple[ModelRef, ModelRef]:
    """Merge, convert, quantise and verify the understudy, and convert its base in the same way.

    Args:
        base: the base model; default of base, adapter and dataset: the domain's latest training.
        adapter: the trained adapter.
        dataset: the training set of the adapter; each quantised file is compared with the 16-bit file on its validation examples.
        domain: name of a domain pack; its system prompt goes into the Modelfile.
        settings: path of the settings file; it names the training settings.
        exported_base: an existing folder of the base's GGUF files; default: the base is converted.

    Returns:
        Two folders of GGUF files: the base's and the understudy's.
    """
    run = await begin_run("export", domain, settings, base=base, adapter=adapter, dataset=dataset, exported_base=exported_base)
    base, adapter, dataset = latest_models(run.store, domain, base, adapter, dataset)
    numbers, script = load_training(run.settings.training), script_hash("convert_gguf.py")
    await check_dataset(run, dataset)
    await check_base(run, base)
    await check_made(run, adapter)

    place = await place_of_jobs(run)
    if exported_base is None:
        await agree_to_export(run, "base", base, None, dataset, numbers, place)
        base_gguf = await run_cached(export_gguf, run, "base", base, None, dataset, numbers, script, place)
        exported_base = await publish_base_gguf(run, base, base_gguf)
    await agree_to_export(run, "understudy", base, adapter, dataset, numbers, place)
    understudy_gguf = await run_cached(export_gguf, run, "understudy", base, adapter, dataset, numbers, script, place)
    published = await publish_gguf(run, dataset, base, adapter, understudy_gguf)
    if preferred := preferred_of(run.store, adapter, numbers):
        await check_made(run, preferred)
        await agree_to_export(run, "preferred", base, preferred, dataset, numbers, place)
        preferred_gguf = await run_cached(export_gguf, run, "preferred", base, preferred, dataset, numbers, script, place)
        keep_preferred(run.store, published, await publish_gguf(run, dataset, base, adapter, preferred_gguf, preferred))
    return keep_exports(run.store, domain, exported_base, published, dataset)
