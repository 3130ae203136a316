# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#   "torch==2.13.0",
#   "transformers==5.23.0",
#   "trl==1.16.0",
#   "peft==0.21.2",
#   "accelerate==1.15.0",
#   "huggingface-hub==2.4.0",
#   "httpx2==2.16.2",
#   "datasets==5.2.0",
#   "sentencepiece==0.2.3",
#   "bitsandbytes==0.50.2; sys_platform == 'linux'",
#   "trackio==0.43.0",
# ]
# ///
"""Trains a LoRA adapter on conversations, of which only the assistant's replies are learnt. With
--qlora, it uses a 4-bit base on a GPU.

Before the weights are loaded, the script counts what --max-length would cut, and checks on the
labels that exactly the assistant's texts and their stop tokens are learnt. A run that was stopped
continues from its newest checkpoint, in --output or, with --push-to, on the Hub. metrics.json is
written last: an --output without it is not finished. A --push-to is finished when --push-tag is
set.

    OMP_NUM_THREADS=1 python train_sft.py --train t.parquet --validation v.parquet \\
        --base base --output adapter --max-length 1024
"""

import argparse
import sys
import time
from importlib import import_module

from ..common.events import exit_code
from .arithmetic import choose_arithmetic
from .checkpoints import identify
from .failures import failures_explained
from .labels import prepare
from .options import parse_arguments
from .result import save, write_sft_metrics
from .stages import close_training, open_training, start_from
from .steps import run
from .trainer import build_trainer, check_prepared, check_tools, configure


def train(arguments: argparse.Namespace) -> None:
    opened = open_training(arguments)
    if opened is None:
        return
    tokenizer, examples, facts = prepare(arguments)
    cuda = import_module("torch").cuda.is_available()
    check_tools(arguments, cuda)
    longest = max(examples["train"], key=lambda example: len(example.ids))
    arithmetic = "bfloat16" if cuda else choose_arithmetic(arguments, longest)
    config = configure(arguments, cuda, arithmetic)
    identity = identify(arguments, examples, cuda, arithmetic)
    with failures_explained(arguments):
        checkpoint = start_from(arguments, opened, identity)
        trainer = build_trainer(config, examples, tokenizer, arguments)
        check_prepared(trainer.train_dataset, examples["train"])
        check_prepared(trainer.eval_dataset, examples["validation"])
        facts |= run(trainer, arguments, checkpoint, identity)
        facts["files"] = save(trainer, tokenizer, arguments.output)
        facts["seconds"] = round(time.monotonic() - opened.started, 1)
        loss = write_sft_metrics(trainer, arguments, facts)
    close_training(arguments, facts, loss, "Adapter")


def main(argv: list[str] | None = None) -> int:
    return exit_code(train, parse_arguments(argv, __doc__ or ""))


if __name__ == "__main__":
    sys.exit(main())
