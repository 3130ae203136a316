"""llama-cpp-python's source distribution as a job's pip finds it, with llama.cpp's converter in it, on a machine that reaches no registry of packages."""

import io
import os
import tarfile
from pathlib import Path

BACKEND = """
from pathlib import Path

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    name = "llama_cpp_python-{version}.dist-info"
    (Path(folder) / name).mkdir()
    (Path(folder) / name / "METADATA").write_text("Metadata-Version: 2.1\\nName: llama-cpp-python\\nVersion: {version}\\n")
    return name
"""
"""Asks for no compiler: a job takes files out of the sources and builds nothing."""
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n[project]\nname = "llama-cpp-python"\nversion = "{version}"\n'


def offer_sources(packages: Path, converter: Path) -> None:
    """Put the source distribution where pip looks.

    Args:
        packages: pip's folder (`PIP_FIND_LINKS`).
        converter: folder of the installed converter, `llama.cpp-VERSION`.
    """
    version = converter.name.rpartition("-")[2]
    top = f"llama_cpp_python-{version}"
    packages.mkdir(exist_ok=True)
    part = packages / f".{os.getpid()}.part"
    with tarfile.open(part, "w:gz", compresslevel=1) as tar:
        for name, text in (("pyproject.toml", PROJECT), ("backend.py", BACKEND)):
            content = text.format(version=version).encode()
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        for path in ("convert_hf_to_gguf.py", "convert_lora_to_gguf.py", "conversion", "gguf-py"):
            tar.add(converter / path, f"{top}/vendor/llama.cpp/{path}", filter=lambda entry: None if "__pycache__" in entry.name else entry)
    part.replace(packages / f"{top}.tar.gz")
