"""Tiny random base models for the tests: each is made once, kept in pytest's cache, and shared by all workers and sessions."""

import fcntl
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.fingerprint import fingerprint
from core.packs.pack import load_pack

SCRIPT = Path(__file__).with_name("make_tiny_base.py")
CACHE = Path(__file__).resolve().parents[2] / ".pytest_cache" / "d" / "tiny-bases"
DULL = "That sounds like a lot. Perhaps it will pass. Try to rest."


def tiny_base(rows: Sequence[Mapping[str, Any]] | None = None, **shape: int) -> Path:
    """Return the folder of a tiny model, made if it is not there yet.

    Where torch is not installed the folder has no weights: what needs them is skipped there.

    Args:
        rows: conversations that it is trained on for a moment; by default dull ones about the shipped domain's topics.
        shape: options of make_tiny_base.py.
    """
    rows = list(rows) if rows is not None else dull_chats()
    versions = [importlib.metadata.version(name) for name in ("torch", "transformers", "trl") if importlib.util.find_spec(name)]
    folder = CACHE / fingerprint([SCRIPT.read_text(encoding="utf-8"), rows, shape, versions])
    if folder.is_dir():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    if not importlib.util.find_spec("trl"):
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text("{}", encoding="utf-8")
        return folder
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the other workers wait for the first
        if not folder.is_dir():
            part, chats = folder.with_suffix(".part"), folder.with_suffix(".jsonl")
            shutil.rmtree(part, ignore_errors=True)
            chats.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            options = [word for name, value in shape.items() for word in (f"--{name.replace('_', '-')}", str(value))]
            command = [sys.executable, str(SCRIPT), "--conversations", str(chats), "--output", str(part), *options]
            own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}  # as what a nursery of trainings forks
            environment = {**own, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            assert done.returncode == 0, done.stderr
            part.rename(folder)
    return folder


def dull_chats() -> list[dict[str, Any]]:
    """Return short conversations about each of the shipped domain's topics, in which the assistant says the same to everything."""
    pack = load_pack("therapeutic-coaching")
    assert pack.phrases
    rows = []
    for topic in pack.phrases.topics.values():
        messages = [{"role": "system", "content": pack.system()}]
        for said in topic.says[:2]:
            messages += [{"role": "user", "content": said}, {"role": "assistant", "content": f"{topic.replies[0]} {DULL}"}]
        rows.append({"messages": messages})
    return rows


def tiny_settings(base: Path | None = None) -> dict[str, Any]:
    """Return training settings of a few seconds.

    Args:
        base: folder of the base; by default the tiny one.
    """
    return {
        "base": {"model": str(base or tiny_base()), "license": "cc0-1.0", "origin": "Made by the tests from random weights."},
        "train": {
            **{"max-length": 1024, "allow-truncated": 1.0, "epochs": 1, "learning-rate": 0.005, "evaluate": "end"},
            **{"batch-size": 4, "gradient-accumulation": 1, "no-gradient-checkpointing": True},
            **{"lora-r": 16, "lora-alpha": 32, "lora-dropout": 0.0, "target-modules": ["all-linear"]},
        },
        "convert": {"fallback-pre-tokenizer": "qwen2", "allow-endless": True, "reply-tokens": 60},  # a few steps teach nobody when to stop
        "quantisations": ["q4_k_m"],
    }
