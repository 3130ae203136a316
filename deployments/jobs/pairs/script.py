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
"""Trains an adapter further with pairs of a better and a worse reply, by DPO or KTO.

The reference is the adapter as given. Before the weights are loaded, pairs longer than --max-length
are left out and counted, and the tokens are checked: both replies of a pair must follow the same
prompt and end with their stop token. Before and after the training, the script measures on held-out
data which reply is preferred, the loss of the supervised training, and how long replies are. A run
that was stopped continues from its newest checkpoint. metrics.json is written last.

    OMP_NUM_THREADS=1 python train_pairs.py --train pairs/train.parquet \\
        --validation pairs/validation.parquet --heldout conversations/validation.parquet \\
        --base base --adapter adapter --output preferred --max-length 1024
"""

import argparse
import sys
import time
from importlib import import_module

from ..common.events import exit_code
from ..common.files import facts_of
from ..train.arithmetic import choose_arithmetic
from ..train.data import Example
from ..train.failures import failures_explained
from ..train.result import save, write_metrics
from ..train.stages import close_training, open_training, start_from
from ..train.steps import run
from ..train.trainer import check_tools
from .data import identify_pairs, prepare_pairs
from .measures import compare, measure_adapter
from .options import parse_pair_arguments
from .trainer import build_pair_trainer, configure_pairs, fetch_adapter


def train_pairs(arguments: argparse.Namespace) -> None:
    opened = open_training(arguments)
    if opened is None:
        return
    data, adapter = prepare_pairs(arguments), fetch_adapter(arguments)
    cuda = import_module("torch").cuda.is_available()
    check_tools(arguments, cuda)
    longest = max(data.pairs["train"], key=lambda pair: pair.longest)
    ids = import_module("numpy").asarray([*longest.prompt, *longest.chosen], dtype="int32")
    arithmetic = "bfloat16" if cuda else choose_arithmetic(arguments, Example(ids, ids, ids, ids))
    config = configure_pairs(arguments, cuda, arithmetic)
    weights = facts_of(adapter / "adapter_model.safetensors")["sha256"]
    identity = identify_pairs(arguments, data, weights, cuda, arithmetic)
    facts = dict(data.facts)
    with failures_explained(arguments):
        checkpoint = start_from(arguments, opened, identity)
        trainer = build_pair_trainer(config, data, arguments, adapter)
        # A checkpoint is loaded only by `run`, so this measures the adapter as given.
        before = measure_adapter(trainer, data, arguments, "before")
        facts |= run(trainer, arguments, checkpoint, identity)
        after = measure_adapter(trainer, data, arguments, "after")
        facts |= compare(data, before, after, arguments.loss == "dpo")
        facts["files"] = save(trainer, data.tokenizer, arguments.output)
        facts["seconds"] = round(time.monotonic() - opened.started, 1)
        loss = write_metrics(trainer, arguments, facts, arguments.loss)
    close_training(arguments, facts, loss, "Preferred adapter")


def main(argv: list[str] | None = None) -> int:
    return exit_code(train_pairs, parse_pair_arguments(argv, __doc__ or ""))


if __name__ == "__main__":
    sys.exit(main())
