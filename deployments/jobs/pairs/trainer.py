"""TRL's trainers for preferences, set up with the tokens that were checked before."""

import argparse
import random
from functools import partial
from pathlib import Path
from typing import Any

from ..common.events import JobError, short
from ..common.files import named
from ..common.hub import hub, patiently
from ..train.trainer import knobs_of, load_model
from .data import PairData, Replies


def configure_pairs(arguments: argparse.Namespace, cuda: bool, arithmetic: str) -> Any:
    from trl import DPOConfig, KTOConfig

    knobs: dict[str, Any] = knobs_of(arguments, cuda, arithmetic) | {
        "beta": arguments.beta,
        # Nothing is truncated: pairs that are too long were left out before.
        "max_length": None,
    }
    place: dict[str, Any] = {"output_dir": str(arguments.output), "trust_remote_code": False}
    try:
        if arguments.loss == "kto":
            return KTOConfig(**place, **knobs)
        return DPOConfig(**place, **knobs, loss_type=["sigmoid_norm"])
    except (ValueError, TypeError, RuntimeError) as error:
        raise JobError(f"Training cannot be set up like this: {short(error)}.") from None


def fetch_adapter(arguments: argparse.Namespace) -> Path:
    """Return the folder of the adapter; download it at one commit if it is on the Hub."""
    adapter = arguments.adapter
    if not Path(adapter).is_dir():
        revision, api = arguments.adapter_revision, hub()
        looking = f"looking up {adapter!r}"
        info = patiently(arguments, looking, lambda: api.model_info(adapter, revision=revision))
        arguments.adapter_revision = info.sha
        options = {"revision": info.sha, "allow_patterns": ["adapter_*"]}
        doing = f"downloading {adapter!r}"
        folder = patiently(arguments, doing, lambda: api.snapshot_download(adapter, **options))
        return checked(Path(folder), adapter)
    return checked(Path(adapter), adapter)


def checked(folder: Path, adapter: str) -> Path:
    if not (folder / "adapter_model.safetensors").is_file():
        wrong = f"{adapter!r} has no adapter_model.safetensors"
        raise JobError(f"{wrong}; give the result of train_sft.py with --adapter.")
    return folder


def build_pair_trainer(
    config: Any, data: PairData, arguments: argparse.Namespace, adapter: Path
) -> Any:
    """Build the trainer. TRL copies the adapter as it is now and uses the copy as the reference."""
    import torch
    from datasets import Dataset
    from peft import PeftModel
    from transformers import PrinterCallback
    from trl import DPOTrainer, KTOTrainer

    kto = arguments.loss == "kto"
    kind: Any = KTOTrainer if kto else DPOTrainer

    class Prepared(kind):
        """Accepts tokens, while TRL would render and tokenize texts itself."""

        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

    datasets = {
        split: Dataset.from_list(kto_rows(rows, arguments) if kto else dpo_rows(rows))
        for split, rows in data.pairs.items()
    }
    try:
        base = load_model(arguments, cuda=not config.use_cpu)
        model = PeftModel.from_pretrained(base, str(adapter), is_trainable=True)
        trainer: Any = Prepared(
            model=model,
            args=config,
            train_dataset=datasets["train"],
            eval_dataset=datasets["validation"],
            processing_class=data.tokenizer,
        )
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
        wrong = f"Training of {arguments.base!r} with its adapter cannot be set up"
        raise JobError(f"{wrong}: {short(error)}.") from None
    if "ref" not in trainer.model.peft_config:
        raise JobError("TRL made no copy of the adapter as the reference; report this.")
    trainer.remove_callback(PrinterCallback)
    like_supervised(trainer, arguments)
    return trainer


def like_supervised(trainer: Any, arguments: argparse.Namespace) -> None:
    """Make a preference trainer compute, report and save in the same way as the supervised one."""
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            # 16 bits would lose small updates.
            parameter.data = parameter.data.float()
    trainer.model.peft_config["default"].base_model_name_or_path = named(arguments.base)
    trainer.create_model_card = trainer.model.create_or_update_model_card = lambda *_, **__: None
    # Read by the events; this trainer does not measure losses by reply.
    trainer.reply_losses = {}
    saving = trainer.model.save_pretrained
    trainer.model.save_pretrained = partial(
        saving, save_embedding_layers=False, selected_adapters=["default"]
    )


def dpo_rows(pairs: list[Replies]) -> list[dict[str, Any]]:
    return [
        {"prompt_ids": pair.prompt, "chosen_ids": pair.chosen, "rejected_ids": pair.rejected}
        for pair in pairs
    ]


def kto_rows(pairs: list[Replies], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return single replies for KTO: each chosen one is followed by another pair's rejected one.

    TRL reads them in this order. To estimate how far the model has moved from the reference, it
    combines the prompts of a batch with each other's replies.
    """
    order = random.Random(arguments.seed).sample(pairs, len(pairs))
    rows: list[dict[str, Any]] = []
    for pair, other in zip(order, [*order[1:], *order[:1]], strict=True):
        chosen = {"prompt_ids": pair.prompt, "completion_ids": pair.chosen, "label": True}
        rejected = {"prompt_ids": other.prompt, "completion_ids": other.rejected, "label": False}
        rows += [chosen, rejected]
    size = arguments.per_device_train_batch_size
    for start in range(0, len(rows), size):
        batch = rows[start : start + size]
        for row, other in zip(batch, [*batch[-1:], *batch[:-1]], strict=True):
            row["KL_completion_ids"] = other["completion_ids"]
    return rows
