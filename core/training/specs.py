"""Specifications of the training and conversion jobs: the scripts' arguments, for a process on this machine and for a paid job."""

import re

from core.dataset.example_files import CONFIGURATIONS
from core.errors import DatasetError
from core.fingerprint import fingerprint
from core.packs.pack import Pack
from core.records import DatasetRef, ModelRef
from core.settings.job_arguments import Argument
from core.settings.jobs import ExportSettings, Training
from core.storage.store import Store
from core.training.job_spec import COMPANIONS, JobSpec

UNPACKED = "unpacked.json"
"""File in the folder of a base that was unpacked from a GGUF file: the name of that file, and the results of the checks."""

GGUF_PARTS = {"base": "base-gguf", "understudy": "gguf", "preferred": "preferred-gguf"}
"""By arm, the ending of the name of its repository of GGUF files."""

MARKERS = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
"""Tags of a chat template that mark the assistant's text for training; other programs that read a template do not know them."""


def training_spec(
    store: Store, dataset: DatasetRef, base: ModelRef, training: Training, script: str, export: ExportSettings, domain: str, place: str
) -> JobSpec:
    """Return the specification of the training of an adapter.

    Args:
        script: hash of the job script.
        place: where paid jobs store their results; it is part of the job's name. Empty if jobs run on this machine.

    Raises:
        DatasetError: the dataset lacks what the training learns.
    """
    files = {"chat-template": ("chat_template.jinja", training.chat_template)} if training.chat_template else {}
    check_learnable(store, dataset, training)
    arguments = {"learn": training.learn, **training.train}
    name = fingerprint([dataset.commit, base.path, arguments, files, script, *([place] if place else [])])
    splits = {split: str(store.local(f"{dataset.path}/{folder_of(training)}{split}.parquet")) for split in ("train", "validation")}
    return JobSpec(
        stage="train",
        script="train_sft.py",
        name=name,
        folder=f"models/adapters/{name}",
        finished="metrics.json",
        arguments=arguments,
        local={**splits, **_base(store, base, here=True)},
        remote={"dataset": dataset.repo, "dataset-revision": dataset.commit, **_base(store, base, here=False)},
        files=files,
        repo=export.named(domain, "adapter"),
        private=export.private,
        fetch=[],
    )


def folder_of(training: Training) -> str:
    """Return the folder within a dataset that holds the files for a training."""
    return CONFIGURATIONS["default" if training.learn == "slices" else "conversations"]


def check_learnable(store: Store, dataset: DatasetRef, training: Training) -> None:
    """Check that a dataset has what a training learns.

    Raises:
        DatasetError: it was built without complete conversations, or slices would also teach uncorrected replies of a later round.
    """
    rounds = store.load_json(f"{dataset.path}/manifest.json").get("rounds")
    if rounds is None and training.learn != "slices":
        raise DatasetError(
            f"{dataset.repo} ({dataset.path}) was built without complete conversations, which learn: {training.learn} needs. Build it again (understudy "
            "dataset), or set learn: slices in the training settings."
        )
    later = sum(count for number, count in (rounds or {}).items() if int(number))
    if later and training.learn == "slices":
        raise DatasetError(
            f"{dataset.repo} ({dataset.path}) has {later} conversations of later rounds. Only their corrected replies are to be learnt, but slices would "
            "teach the others too. Set learn: each_reply_once or slices_folded in the training settings."
        )


CONTINUED = (
    *("max-length", "reply-prefix", "qlora", "attention", "optimizer", "gradient-checkpointing", "no-gradient-checkpointing", "offload-checkpoints"),
    *("retry-seconds", "trackio-project", "trackio-space"),
)
"""Arguments of the training that the preference training takes over."""


def pairs_spec(
    store: Store, dataset: DatasetRef, base: ModelRef, adapter: ModelRef, training: Training, script: str, export: ExportSettings, domain: str, place: str
) -> JobSpec:
    """Return the specification of the preference training, which continues an adapter with a dataset's pairs.

    Args:
        script: hash of the job script.
        place: where paid jobs store their results; it is part of the job's name. Empty if jobs run on this machine.
    """
    files = {"chat-template": ("chat_template.jinja", training.chat_template)} if training.chat_template else {}
    arguments = {name: value for name, value in training.train.items() if name in CONTINUED} | (training.pairs or {})
    name = fingerprint([dataset.commit, base.path, adapter.path, arguments, files, script, *([place] if place else [])])
    read = {"train": "pairs/train", "validation": "pairs/validation", "heldout": "conversations/validation"}
    return JobSpec(
        stage="pairs",
        script="train_pairs.py",
        name=name,
        folder=f"models/preferred/{name}",
        finished="metrics.json",
        arguments=arguments,
        local={
            **{option: str(store.local(f"{dataset.path}/{file}.parquet")) for option, file in read.items()},
            **_base(store, base, here=True),
            **_adapter(store, adapter, here=True),
        },
        remote={"dataset": dataset.repo, "dataset-revision": dataset.commit, **_base(store, base, here=False), **_adapter(store, adapter, here=False)},
        files=files,
        repo=export.named(domain, "preferred-adapter"),
        private=export.private,
        fetch=[],
    )


def export_spec(
    store: Store,
    arm: str,
    base: ModelRef,
    adapter: ModelRef | None,
    dataset: DatasetRef,
    training: Training,
    script: str,
    export: ExportSettings,
    pack: Pack,
    place: str,
    llama: dict[str, Argument],
) -> JobSpec:
    """Return the specification of a conversion to GGUF files.

    Args:
        arm: a key of `GGUF_PARTS`, with which the files' names begin.
        adapter: the adapter to merge; None exports the base without one.
        dataset: the dataset with the held-out texts.
        script: hash of the job script.
        place: where paid jobs store their results; it is part of the job's name. Empty if jobs run on this machine.
        llama: arguments that name llama.cpp on this machine.
    """
    files = _texts(training, pack, adapter is None)  # an adapter includes its template
    arguments: dict[str, Argument] = {
        "name": arm,
        "quantisations": list(training.quantisations),
        "imatrix": training.imatrix,
        "context": training.train["max-length"],
        **training.convert,
    }
    name = fingerprint([base.path, adapter.path if adapter else None, dataset.commit, arguments, files, script, *([place] if place else [])])
    keep = f"models/kept/{arm}-{fingerprint([base.path, adapter.path if adapter else None])}"
    return JobSpec(
        stage="convert",
        script="convert_gguf.py",
        name=name,
        folder=f"models/gguf/{arm}-{name}",
        finished="export.json",
        arguments=arguments,
        local={**_models(store, base, adapter, here=True), **llama, **_measured_on(store, dataset, training), "keep": str(store.local(keep))},
        remote={
            **_models(store, base, adapter, here=False),
            "dataset": dataset.repo,
            "dataset-revision": dataset.commit,
            **({"dataset-folder": folder} if (folder := folder_of(training)) else {}),
        },
        files=files,
        repo=export.named(pack.name, GGUF_PARTS[arm]),
        private=export.private,
        companions=COMPANIONS["convert_gguf.py"],
        fetch=[f"{arm}-{training.quantisations[0]}.gguf", "Modelfile"],
    )


def preflight_spec(store: Store, base: ModelRef, training: Training, script: str, pack: Pack, llama: dict[str, Argument]) -> JobSpec:
    """Return the specification of the check that llama.cpp reads template and tokenizer as the training does, which needs no weights.

    Args:
        script: hash of the job script.
        llama: arguments that name llama.cpp on this machine.
    """
    files, option = _texts(training, pack, True), "fallback-pre-tokenizer"
    arguments: dict[str, Argument] = {"name": "base", "preflight": True, **({option: training.convert[option]} if option in training.convert else {})}
    name = fingerprint([base.path, arguments, files, script])
    return JobSpec(
        stage="convert",
        script="convert_gguf.py",
        name=name,
        folder=f"models/preflights/{name}",
        finished="preflight.json",
        arguments=arguments,
        local={**_base(store, base, here=True), **llama},
        remote={},
        files=files,
        repo="",
        private=True,
        fetch=[],
    )


def _texts(training: Training, pack: Pack, template: bool) -> dict[str, tuple[str, str]]:
    files = {"system-file": ("system.md", pack.system())}
    if template and training.chat_template:
        files["chat-template"] = ("chat_template.jinja", MARKERS.sub("", training.chat_template))
    return files


def _measured_on(store: Store, dataset: DatasetRef, training: Training) -> dict[str, Argument]:
    """Return the files of held-out texts, on which GGUF files are measured, and of the texts for the importance matrix if there is one."""
    splits = {"heldout": "validation", **({"calibration": "train"} if training.imatrix else {})}
    return {name: str(store.local(f"{dataset.path}/{folder_of(training)}{split}.parquet")) for name, split in splits.items()}


def _models(store: Store, base: ModelRef, adapter: ModelRef | None, here: bool) -> dict[str, Argument]:
    return {**_base(store, base, here), **(_adapter(store, adapter, here) if adapter else {})}


def _base(store: Store, base: ModelRef, here: bool) -> dict[str, Argument]:
    if base.on_hub:
        return {"base": str(base.repo), "base-revision": str(base.commit)}
    return {"base": base.folder or str(store.local(base.path))} if here else {}


def _adapter(store: Store, adapter: ModelRef, here: bool) -> dict[str, Argument]:
    if here and store.exists(f"{adapter.path}/adapter_model.safetensors"):
        return {"adapter": str(store.local(adapter.path))}
    return {"adapter": str(adapter.repo), "adapter-revision": str(adapter.commit)} if adapter.on_hub else {}
