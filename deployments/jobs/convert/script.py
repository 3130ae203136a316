# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#   "torch==2.13.0",
#   "transformers==5.23.0",
#   "peft==0.21.2",
#   "accelerate==1.15.0",
#   "huggingface-hub==2.4.0",
#   "httpx2==2.16.2",
#   "sentencepiece==0.2.3",
#   "xllamacpp==2026.10.11549",
#   "numpy==2.4.6",
#   "pyarrow==26.0.1",
#   "pip==25.3",
# ]
# ///
"""Merges an adapter into its 16-bit base, writes the model as 16-bit and quantised GGUF files and
the adapter as a separate GGUF file, and checks that llama.cpp runs the same model.

Without --adapter, the base itself is exported in the same way. Files appear in --output, and with
--push-to on the Hub, only when every check has passed. Only the adapter's separate file may fail
its checks: it is then left out, with a warning. export.json is written last, and the tag --push-tag
is set last. Relative to the size of the 16-bit weights, the export needs about 1.5 times as much
RAM with --reference-dtype bfloat16, 2.5 times with float32, and 3 times as much disk in addition
to the base.

With --preflight, it only checks template and tokenizer. This needs no weights and takes seconds;
run it before a training is paid for. With --keep DIR, intermediate files and measurements are kept
there when a tolerance is exceeded, and the next call reuses them.

    python convert_gguf.py --base base --adapter adapter --name understudy --output export
"""

import argparse
import shutil
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..common.events import JobError, emit, exit_code, short, silence_libraries
from ..common.files import named, write_json
from ..common.hub import bound_silence
from ..common.repository import deliver, delivered, open_repository
from .exporting import export
from .llama_cpp import llama
from .options import check_arguments, parse_arguments
from .preflight import preflight
from .work import begin_work, keep

REPORTED = ("base", "base_revision", "adapter", "adapter_revision", "quantisations", "context")
REPORTED += ("temperature", "reference_dtype", "imatrix")
"""Arguments that are written to export.json, in addition to the name."""
PACKAGES = ("xllamacpp", "torch", "transformers", "peft")


def run(arguments: argparse.Namespace) -> None:
    started = time.monotonic()
    check_arguments(arguments)
    silence_libraries()
    bound_silence()
    _, tags = open_repository(arguments) if arguments.push_to else ({}, {})
    if delivered(arguments, tags):
        return
    work = begin_work(arguments)
    try:
        if arguments.preflight:
            write_json(arguments.output / "preflight.json", preflight(arguments, work))
            emit("done", preflight=True, seconds=round(time.monotonic() - started, 1))
            return
        result = export(arguments, work)
        result["name"] = arguments.name
        result |= {name: named(getattr(arguments, name)) for name in REPORTED}
        result["seconds"] = round(time.monotonic() - started, 1)
        result["versions"] = {name: version(name) for name in PACKAGES}
        publish(arguments, work, result)
    except llama().LibraryError as error:
        raise JobError(str(error)) from None
    except (OSError, ValueError, RuntimeError, LookupError, TypeError) as error:
        # Raised by transformers, PEFT and llama.cpp for missing, broken or unsuitable files.
        wrong = f"{arguments.base!r} was not exported ({type(error).__name__}: {short(error)})"
        remedy = "check --base, --adapter, and the free memory and disk space"
        raise JobError(f"{wrong}; {remedy}.") from error
    finally:
        if arguments.keep and (work / "measured.json").is_file():
            keep(arguments, work)
        shutil.rmtree(work, ignore_errors=True)
    if arguments.push_to:
        emit("progress", step="pushing")
        deliver(arguments, [*result["files"], "export.json"], "GGUF")
    replies = result["checks"]["replies"]
    ended = {name: reply["ended_by_itself"] for name, reply in replies.items()}
    emit("done", output=str(arguments.output), ended_by_itself=ended, seconds=result["seconds"])


def publish(arguments: argparse.Namespace, work: Path, result: dict[str, Any]) -> None:
    """Move the finished files out of the work folder, and write export.json last."""
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in result["files"]:
        shutil.move(work / "done" / name, arguments.output / name)
    write_json(arguments.output / "export.json", result, ensure_ascii=False)
    (work / "measured.json").unlink()


def main(argv: list[str] | None = None) -> int:
    return exit_code(run, parse_arguments(argv, __doc__ or ""))


if __name__ == "__main__":
    sys.exit(main())
