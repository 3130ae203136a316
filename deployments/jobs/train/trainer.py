"""TRL's trainer: configuration, model, and a check that it leaves the examples unchanged."""

import argparse
import re
from collections import Counter
from collections.abc import Iterable
from functools import partial
from importlib import import_module
from typing import Any

from ..common.events import JobError, emit, short
from ..common.files import named
from ..common.hub import patiently
from ..common.models import load_decoder
from .data import Example
from .options import TRAINER
from .packing import keeps_apart, pack
from .weighting import Collator, trainer_of

COLUMNS = ("input_ids", "labels", "replies", "times")
"""Columns of the trainer's datasets, in the order of an Example's fields."""


def check_tools(arguments: argparse.Namespace, cuda: bool) -> None:
    """Check that packages needed by options are installed; warn about options that need a GPU."""
    eight_bit = "8bit" in arguments.optim or "bnb" in arguments.optim
    needed = {
        "trackio": (arguments.trackio_project, "--trackio-project needs"),
        "bitsandbytes": (
            eight_bit or (arguments.qlora and cuda),
            "--qlora and 8-bit optimisers need",
        ),
    }
    for package, (is_needed, option) in needed.items():
        try:
            if is_needed:
                import_module(package)
        except ImportError as error:
            wrong = f"{option} {package}, which cannot be loaded ({short(error)})"
            remedy = f"run this script with 'uv run', or install {package}"
            raise JobError(f"{wrong}; {remedy}.") from None
    if arguments.qlora and not cuda:
        wrong = "--qlora needs CUDA, which is not available"
        emit("fallback", text=f"{wrong}; the base stays in 32 bits and a plain LoRA is trained.")
    if arguments.offload_checkpoints and not (cuda and arguments.activation_checkpointing):
        wrong = "--offload-checkpoints needs CUDA and gradient checkpointing"
        emit("fallback", text=f"{wrong}; it is ignored.")


def configure(arguments: argparse.Namespace, cuda: bool, arithmetic: str) -> Any:
    from trl import SFTConfig

    knobs: dict[str, Any] = knobs_of(arguments, cuda, arithmetic) | {
        # Examples are already tokenized, truncated and packed.
        "max_length": None,
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "padding_free": arguments.packing,
    }
    try:
        return SFTConfig(output_dir=str(arguments.output), trust_remote_code=False, **knobs)
    except (ValueError, TypeError, RuntimeError) as error:
        raise JobError(f"Training cannot be set up like this: {short(error)}.") from None


def knobs_of(arguments: argparse.Namespace, cuda: bool, arithmetic: str) -> dict[str, Any]:
    """Return the settings of TRL's trainers that all trainings share."""
    knobs: dict[str, Any] = {name: getattr(arguments, name) for name in TRAINER} | {
        "use_cpu": not cuda,
        "bf16": arithmetic == "bfloat16",
        "dataloader_pin_memory": cuda,
        "disable_tqdm": True,
        "logging_steps": 1,
        # By default, NaN losses are logged as 0 and excluded from the validation loss.
        "logging_nan_inf_filter": False,
        "per_device_eval_batch_size": arguments.per_device_train_batch_size,
        "eval_strategy": "epoch" if arguments.evaluate == "epoch" else "no",
        "save_strategy": "steps" if arguments.save_steps else "epoch",
        "report_to": "none",
    }
    if arguments.save_steps:
        knobs["save_steps"] = arguments.save_steps
    if arguments.offload_checkpoints and cuda and arguments.activation_checkpointing:
        knobs["activation_checkpointing_kwargs"] = {"offload": True}
    if arguments.trackio_project:
        knobs |= {
            "report_to": "trackio",
            "project": arguments.trackio_project,
            "run_name": arguments.push_tag or arguments.output.name,
            "trackio_space_id": arguments.trackio_space,
            # Otherwise Trackio would also create a static Space.
            "trackio_static_space_id": False,
            "hub_private_repo": not arguments.public,
        }
    return knobs


def build_trainer(
    config: Any, examples: dict[str, list[Example]], tokenizer: Any, arguments: argparse.Namespace
) -> Any:
    import torch
    from datasets import Dataset
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    if config.use_cpu:
        # By default TRL scores every position, since another number of positions would need another
        # compilation. On a CPU nothing is compiled, and scoring only the replies takes a fifth less
        # time.
        scoring: Any = import_module("trl.trainer.utils")
        scoring._use_triton = lambda _: True
    try:
        model = load_model(arguments, cuda=not config.use_cpu)
        datasets = {
            split: Dataset.from_dict(
                {name: [row[at] for row in rows] for at, name in enumerate(COLUMNS)}
            )
            for split, rows in examples.items()
        }
        if config.padding_free:
            probing = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)
            example = examples["train"][0]
            config.padding_free = arguments.packing = keeps_apart(model, probing, example)
        if config.padding_free:
            datasets["train"] = pack(datasets["train"], examples["train"])
        trainer: Any = trainer_of()(
            model=model,
            args=config,
            train_dataset=datasets["train"],
            eval_dataset=datasets["validation"],
            processing_class=tokenizer,
            peft_config=lora_of(model, arguments),
        )
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        wrong = f"Training of {arguments.base!r} cannot be set up"
        raise JobError(f"{wrong}: {short(error)}.") from None
    trainer.data_collator = Collator(trainer.data_collator)
    trainer._signature_columns = [*COLUMNS, "seq_lengths"]
    adjust(trainer, arguments)
    return trainer


def lora_of(model: Any, arguments: argparse.Namespace) -> Any:
    from peft import LoraConfig

    names = arguments.target_modules
    lora = {name: getattr(arguments, name) for name in ("r", "lora_alpha", "lora_dropout")}
    lora["target_modules"] = names[0] if names == ["all-linear"] else names
    lora["revision"] = arguments.base_revision
    if model.config.get_text_config() is not model.config:
        # A vision model, whose vision tower has layers of the same names as the decoder.
        parts = model.named_modules()
        decoder = next(name for name, part in parts if part is model.get_decoder())
        lora["exclude_modules"] = rf"(?!{re.escape(decoder)}\.).*"
    return LoraConfig(task_type="CAUSAL_LM", **lora)


def adjust(trainer: Any, arguments: argparse.Namespace) -> None:
    """Override how TRL and PEFT train and save the adapter by default."""
    from transformers import PrinterCallback

    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            # On a 4-bit base, TRL stores them in 16 bits, which lose small updates; PEFT uses 32
            # when it loads a checkpoint.
            parameter.data = parameter.data.float()
    # Saved with every adapter; must not contain folders of this machine.
    trainer.model.peft_config["default"].base_model_name_or_path = named(arguments.base)
    trainer.remove_callback(PrinterCallback)
    # TRL would overwrite a README.md in --output. PEFT would write one into each checkpoint, and
    # would ask the Hub for the base's vocabulary.
    trainer.create_model_card = trainer.model.create_or_update_model_card = lambda *_, **__: None
    saving = trainer.model.save_pretrained
    trainer.model.save_pretrained = partial(saving, save_embedding_layers=False)


def load_model(arguments: argparse.Namespace, cuda: bool) -> Any:
    import torch
    from transformers import BitsAndBytesConfig

    loading: dict[str, Any] = {"attn_implementation": arguments.attention}
    # On a CPU, the weights stay in 32 bits even with 16-bit arithmetic (choose_arithmetic).
    loading["dtype"] = torch.bfloat16 if cuda else torch.float32
    loading["device_map"] = {"": 0} if cuda else None
    if arguments.qlora and cuda:
        loading["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )

    def load() -> Any:
        return load_decoder(arguments.base, arguments.base_revision, **loading)

    return patiently(arguments, f"loading the weights of {arguments.base!r}", load, files=True)


def check_prepared(dataset: Any, examples: list[Example]) -> None:
    """Check that the trainer's examples, packed or not, equal those that were checked before."""

    def bytes_of(columns: Iterable[Any]) -> bytes:
        return b"".join(column.astype("int32").tobytes() for column in columns)

    counts = Counter(bytes_of(example) for example in examples)
    for row in dataset.with_format("numpy"):
        ends = row["seq_lengths"].cumsum() if "seq_lengths" in row else [len(row["input_ids"])]
        for start, end in zip([0, *ends], ends, strict=False):
            counts[bytes_of(row[name][start:end] for name in COLUMNS)] -= 1
    if any(counts.values()):
        raise JobError("TRL's examples differ from those that were checked; report this.")
