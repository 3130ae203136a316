"""Merging, conversion to GGUF and quantisation: one task a model."""

from importlib.metadata import version

from prefect import task

from core.fingerprint import fingerprint
from core.pack import load_pack
from core.records import ModelRef
from core.settings import Argument, Training
from core.store import cache_folder, open_store
from tasks.jobs import run_job
from tasks.policy import CACHED


@task(name="export", task_run_name="export the {name}", cache_policy=CACHED, persist_result=True, result_serializer="json")
async def export_gguf(name: str, base: ModelRef, adapter: ModelRef | None, training: Training, domain: str, pack_hash: str, script: str) -> ModelRef:
    """Convert the base, with an adapter merged into it or without, and prove the result.

    Args:
        name: begins the names of the files.
        adapter: none exports the base itself, the other arm of the evaluation.
        pack_hash: the system prompt goes into the Modelfile.
        script: hash of the job script.
    """
    store = open_store()
    system = load_pack(domain).prompts["system"].render()
    folder = f"models/gguf/{name}-{fingerprint([base.path, adapter.path if adapter else None, training.convert, training.quantisations, system, script])}"
    arguments: dict[str, Argument] = {"base": str(store.local(base.path)), "name": name, "quantisations": list(training.quantisations), **training.convert}
    if adapter:
        arguments["adapter"] = str(store.local(adapter.path))
    if (converter := cache_folder() / f"llama.cpp-{version('llama-cpp-python')}").is_dir():
        arguments["llama-cpp"] = str(converter)
    arguments["system-file"] = str(store.local(store.write(f"{folder}.system.md", system)))
    await run_job("convert_gguf.py", folder, "export.json", arguments)
    return ModelRef(path=folder, name=name)
