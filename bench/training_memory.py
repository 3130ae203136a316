"""Measures peak memory and speed of deployments/jobs/built/train_sft.py with QLoRA on a GPU, for a randomly initialised model of a real model's shape.

    python -m bench.training_memory [--shape qwen3-14b] [--case 16384 --case "32768 --lora-dropout 0"] [--output table.json]        (make bench-training)

Takes 10 minutes on one H100.

It needs the packages in the header of train_sft.py, a CUDA device, and space for the 16-bit weights in --folder. The speed is that of the fastest optimiser
step after the first. Memory is measured as the device reports it, including the allocator's reserve and CUDA's own memory, and as PyTorch's peak allocation.
docs/training-memory.md compares the figures with the estimate of core/training/estimate.py.
"""

import argparse
import json
import random
import shutil
import string
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).resolve().parents[1] / "deployments" / "jobs" / "built" / "train_sft.py"
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3-14b": (
        "Qwen3",
        {"hidden_size": 5120, "intermediate_size": 17408, "num_hidden_layers": 40, "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128}
        | {"vocab_size": 151936, "max_position_embeddings": 40960, "tie_word_embeddings": False},
    ),
    "gemma-3-12b": (
        "Gemma3Text",
        {"hidden_size": 3840, "intermediate_size": 15360, "num_hidden_layers": 48, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 256}
        | {"vocab_size": 262208, "max_position_embeddings": 131072, "sliding_window": 1024, "query_pre_attn_scalar": 256},
    ),
    "tiny": (
        "Qwen3",
        {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64}
        | {"vocab_size": 512, "max_position_embeddings": 40960, "tie_word_embeddings": False},
    ),
}
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}"
    "{% else %}{{ m.content }}<|im_end|>{% endif %}\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CASES = ["8192", "16384", "32768", "32768 --lora-dropout 0 --offload-checkpoints --optimizer paged_adamw_8bit"]
GIB = 2**30


def make_base(folder: Path, shape: str) -> None:
    """Write a model of a shape, and a tokenizer in which every letter is a token."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    kind, values = SHAPES[shape]
    vocabulary = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = Tokenizer(models.BPE(vocabulary, []))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer: Any = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    config = getattr(transformers, f"{kind}Config")(**values, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, use_cache=False)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, trust_remote_code=False)
    print(f"{shape}: {sum(p.numel() for p in model.parameters()) / 1e9:.2f} billion parameters", flush=True)
    model.save_pretrained(folder, max_shard_size="4GB")


def write_rows(path: Path, length: int, count: int) -> None:
    """Write conversations of exactly `length` tokens, a third of which are the user's."""
    import pyarrow
    import pyarrow.parquet

    rng, rows = random.Random(length), []
    frame = len("user\n") + len("assistant\n") + 6  # roles, special tokens, line breaks
    for _ in range(count):
        words = "".join(rng.choice(string.ascii_lowercase) for _ in range(length - frame))
        cut = len(words) // 3
        rows.append([{"role": "user", "content": words[:cut]}, {"role": "assistant", "content": words[cut:]}])
    pyarrow.parquet.write_table(pyarrow.table({"messages": rows}), path)


class Watch:
    """Polls nvidia-smi for the peak memory in use on the device."""

    def __init__(self) -> None:
        self.peak, self.before = 0, 0
        command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-lms", "100"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True) if shutil.which("nvidia-smi") else None
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout or [] if self.process else []:
            if line.strip().isdigit():
                self.before = self.before or int(line)
                self.peak = max(self.peak, int(line))

    def end(self) -> float:
        if self.process:
            self.process.terminate()
        return self.peak * 2**20 / GIB


def measure(folder: Path, length: int, steps: int, more: list[str]) -> dict[str, Any]:
    """Train for some steps on texts of one length; return the measurements."""
    for split, (tokens, count) in {"train": (length, steps), "validation": (256, 1)}.items():
        write_rows(folder / f"{split}.parquet", tokens, count)
    output = folder / "adapter"
    shutil.rmtree(output, ignore_errors=True)
    files = ["--train", folder / "train.parquet", "--validation", folder / "validation.parquet", "--base", folder / "base", "--output", output]
    shape = ["--max-length", length, "--batch-size", 1, "--gradient-accumulation", 1, "--max-steps", steps, "--qlora", "--evaluate", "end"]
    watch, ends, lines = Watch(), [], []
    started = time.perf_counter()
    command = [sys.executable, str(SCRIPT), *map(str, files), *map(str, shape), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as job:
        for line in job.stdout or []:
            lines.append(line.rstrip())
            if '"progress"' in line:
                ends.append(time.perf_counter())
    row: dict[str, Any] = {"length": length, "options": more, "seconds": round(time.perf_counter() - started, 1), "device_gib": round(watch.end(), 2)}
    if job.returncode:
        return row | {"failed": "\n".join(lines[-8:])[-900:] if lines else job.returncode}
    metrics = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    spans = [after - before for before, after in pairwise(ends)]
    peak = metrics.get("peak_memory_bytes")
    return row | {
        "allocated_gib": round(peak / GIB, 2) if peak else None,
        "seconds_a_step": round(min(spans), 2),
        "tokens_per_second": round(length / min(spans)),
        "loss": [metrics["train_loss_first"], metrics["train_loss_last"]],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="qwen3-14b")
    parser.add_argument("--case", action="append", help="tokens of an example, and arguments of train_sft.py; can be repeated")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm/training-memory"), help="for the model and the data; removed at the end")
    parser.add_argument("--output", type=Path, help="JSON file, which is rewritten after each measurement")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.folder, ignore_errors=True)
    arguments.folder.mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    try:
        make_base(arguments.folder / "base", arguments.shape)
        for case in arguments.case or CASES:
            length, *options = case.split()
            rows.append({"shape": arguments.shape, **measure(arguments.folder, int(length), arguments.steps, options)})
            print(json.dumps(rows[-1]), flush=True)
            if arguments.output:
                arguments.output.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    finally:
        shutil.rmtree(arguments.folder, ignore_errors=True)
    return 1 if any("failed" in row for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
