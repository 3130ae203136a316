"""Download of models and of llama.cpp's converter."""

import argparse
import re
import subprocess
import sys
import tarfile
from pathlib import Path

from ..common.events import JobError, emit
from ..common.hub import hub, patiently

LLAMA_CPP_PYTHON = "0.3.36"
"""The version whose source distribution holds the converter."""


def fetch(arguments: argparse.Namespace, what: str, weights: bool = True) -> Path:
    """Returns the folder of the base or adapter; downloads it at one commit if it is on the Hub.

    Args:
        weights: whether to download them as well.
    """
    api, given, revision = hub(), getattr(arguments, what), getattr(arguments, f"{what}_revision")
    if Path(given).is_dir():
        return Path(given)
    if not re.fullmatch(r"[0-9a-f]{40}", revision or ""):
        looking, asked = f"looking up {given!r}", revision
        info = patiently(arguments, looking, lambda: api.model_info(given, revision=asked))
        revision = info.sha
        setattr(arguments, f"{what}_revision", revision)
    emit("progress", step=f"downloading {given}")
    kinds = ["*.json", "*.model", "*.jinja", "*.txt", *(["*.safetensors"] if weights else [])]
    wanted = {"allow_patterns": kinds, "ignore_patterns": ["*/*", "consolidated*"]}
    wanted["revision"] = revision
    doing = f"downloading {given!r}"
    return Path(patiently(arguments, doing, lambda: api.snapshot_download(given, **wanted)))


def fetch_converter(folder: Path) -> Path:
    """Extracts the converter from llama-cpp-python's sources; PyPI's gguf is too old for it."""
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
