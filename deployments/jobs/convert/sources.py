"""Downloading models and llama.cpp's converter."""

import argparse
import re
import subprocess
import sys
import tarfile
from pathlib import Path

from ..common.events import JobError, emit
from ..common.hub import hub, patiently

LLAMA_CPP_PYTHON = "0.3.36"
"""The version of llama-cpp-python whose source distribution the converter is taken from."""


def fetch(arguments: argparse.Namespace, what: str, weights: bool = True) -> Path:
    """Return the folder of the base or adapter; download it at one commit if it is on the Hub.

    Args:
        what: "base" or "adapter".
        weights: whether to download the weights as well.
    """
    api, model, revision = hub(), getattr(arguments, what), getattr(arguments, f"{what}_revision")
    if Path(model).is_dir():
        return Path(model)
    if not re.fullmatch(r"[0-9a-f]{40}", revision or ""):
        looking, requested = f"looking up {model!r}", revision
        info = patiently(arguments, looking, lambda: api.model_info(model, revision=requested))
        revision = info.sha
        setattr(arguments, f"{what}_revision", revision)
    emit("progress", step=f"downloading {model}")
    kinds = ["*.json", "*.model", "*.jinja", "*.txt", *(["*.safetensors"] if weights else [])]
    options = {"allow_patterns": kinds, "ignore_patterns": ["*/*", "consolidated*"]}
    options["revision"] = revision
    doing = f"downloading {model!r}"
    return Path(patiently(arguments, doing, lambda: api.snapshot_download(model, **options)))


def fetch_converter(folder: Path) -> Path:
    """Extract the converter from llama-cpp-python's sources; PyPI's gguf is too old for it."""
    name = f"llama_cpp_python-{LLAMA_CPP_PYTHON}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary=llama-cpp-python", f"--dest={folder}"]
    command += [f"llama-cpp-python=={LLAMA_CPP_PYTHON}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        wrong = "The sources of llama-cpp-python cannot be downloaded"
        raise JobError(f"{wrong} ({done.stderr.strip()[-200:]!r}); give --llama-cpp.")
    top = f"{name}/vendor/llama.cpp/"
    parts = tuple(top + part for part in ("convert_", "conversion/", "gguf-py/"))
    with tarfile.open(folder / f"{name}.tar.gz") as tar:
        members = [member for member in tar if member.name.startswith(parts)]
        tar.extractall(folder, members=members, filter="data")
    return folder / top
