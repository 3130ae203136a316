"""The data root: every file that a run makes, written once, whole or not at all."""

import errno
import json
import os
import stat
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import fsspec
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from core.errors import DamagedError, StoreError
from core.paths import project_path
from core.storage.file_states import FileState, object_state
from core.storage.traces import trace
from core.storage.whole_files import ROOT_VARIABLE, failure, holds, open_to_append, part_of, replace_file, wrong_in

Kind = TypeVar("Kind", bound=BaseModel)


class Kept(dict[str, Any]):
    """A JSON object of a file, which says of itself where it is wrong: other hands may have changed it.

    Args:
        place: of the file.
    """

    def __init__(self, place: str, values: Mapping[str, Any]) -> None:
        """Take what was read."""
        super().__init__(values)
        self._place = place

    def __missing__(self, key: str) -> Any:
        """Say what is not there.

        Raises:
            DamagedError: always.
        """
        raise DamagedError(f"{self._place} has no {key!r}, so it is damaged. Remove it, or what it is part of, to have that made again.")


@dataclass(frozen=True)
class Store:
    """Files below one root, named by relative paths such as `transcripts/therapeutic-coaching/x.json`.

    Nothing outside the root is read or written: every method raises `StoreError` for a name that is no plain relative path, or that a link leads out.

    Args:
        root: a local folder or an fsspec URL. It may be a link itself.
    """

    root: str

    def read(self, name: str) -> str:
        """Return a file's text.

        Raises:
            StoreError: it is not there, cannot be read, or is no text.
        """
        return self._text(name, self.read_bytes(name))

    def _text(self, name: str, content: bytes) -> str:
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            what = f"{self.root}/{name} is not text in UTF-8, so it is damaged or the wrong file"
            raise DamagedError(f"{what}. Name another, or remove it.") from error

    def load(self, name: str, kind: type[Kind]) -> Kind:
        """Return a file's record. The error says nothing of what a file of another kind holds.

        Raises:
            StoreError: it is not there.
            DamagedError: it is no such record.
        """
        return self._record(name, self.read_bytes(name), kind)

    def load_all(self, names: Iterable[str], kind: type[Kind]) -> tuple[dict[str, Kind], dict[str, str]]:
        """Return the records of files by their names, and by name why others cannot be read.

        Raises:
            StoreError: one is not there.
        """
        found, damaged, wanted = dict[str, Kind](), dict[str, str](), sorted(names)
        contents = map(self.read_bytes, wanted) if self.is_local else self.read_many(wanted)
        for name, content in zip(wanted, contents, strict=True):
            try:
                found[name] = self._record(name, content, kind)
            except DamagedError as error:
                damaged[name] = str(error)
        return found, damaged

    def _record(self, name: str, content: bytes, kind: type[Kind]) -> Kind:
        try:
            return kind.model_validate_json(self._text(name, content))
        except ValidationError as error:
            what = f"{self.root}/{name} is not a valid {kind.__name__}, so it is damaged or the wrong file"
            raise DamagedError(f"{what}. Name another, or remove it to have it made again.") from error

    def load_json(self, name: str) -> dict[str, Any]:
        """Return the JSON object of a file. A key that it is asked for and does not have is a `DamagedError` as well.

        Raises:
            StoreError: it is not there.
            DamagedError: it is no such file.
        """
        try:
            found = json.loads(self.read(name), object_hook=partial(Kept, f"{self.root}/{name}"))
        except (ValueError, RecursionError) as error:
            raise DamagedError(f"{self.root}/{name} is not JSON, so it is damaged. Remove it, or what it is part of, to have that made again.") from error
        if not isinstance(found, dict):
            raise DamagedError(f"{self.root}/{name} is not a JSON object, so it is damaged. Remove it, or what it is part of, to have that made again.")
        return found

    def read_bytes(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            StoreError: it is not there or cannot be read.
            DamagedError: it is no file.
        """
        fs, place = self._place(name)
        self._saw(name)
        try:
            return fs.cat_file(place)
        except OSError as error:
            raise failure("read", f"{self.root}/{name}", error) from error

    def exists(self, name: str) -> bool:
        """Say whether a file or folder is there."""
        fs, place = self._place(name)
        self._saw(name)
        return fs.exists(place)

    def size(self, name: str) -> int | None:
        """Return how many bytes a file has; none if there is no such file."""
        fs, place = self._place(name)
        self._saw(name)
        try:
            return int(fs.size(place)) if fs.isfile(place) else None
        except FileNotFoundError:
            return None

    def states(self, names: Iterable[str]) -> dict[str, FileState]:
        """Return the state of each of these files that is there; what is no name below the root, or a link, is left out."""
        fs, root = _filesystem(self.root)
        found: dict[str, FileState] = {}
        is_local = self.is_local
        for name in names:
            if wrong_in(name):
                continue
            try:
                if is_local:
                    seen = os.lstat(f"{root}/{name}")
                    if stat.S_ISREG(seen.st_mode):
                        found[name] = FileState(seen.st_size, seen.st_mtime, f"{seen.st_ino}-{seen.st_mtime_ns}")
                else:
                    info = fs.info(f"{root}/{name}")
                    if info.get("type") == "file":
                        found[name] = object_state(info)
            except OSError:
                continue
        return found

    def states_in(self, folder: str, ending: str = "") -> dict[str, FileState]:
        """Return the state of each file in a folder, in the order of their names. An object store tells a thousand with one request."""
        if self.is_local:
            names = self.names(folder, ending)
            for name in names:
                self._saw(name)
            return self.states(names)
        fs, place = self._place(folder)
        try:
            entries = sorted(fs.ls(place, detail=True), key=lambda info: info["name"])
        except (FileNotFoundError, NotADirectoryError):
            return {}
        named = ((f"{folder}/{info['name'].rsplit('/', 1)[-1]}", info) for info in entries if info["type"] == "file")
        return {name: object_state(info) for name, info in named if name.endswith(ending) and not wrong_in(name)}

    def names(self, folder: str, ending: str = "", beginning: str = "") -> list[str]:
        """Return the names of the files in a folder, sorted; none if there is no such folder. What no store could have written there is left out.

        Raises:
            StoreError: it cannot be read.
        """
        fs, place = self._place(folder)
        try:
            found = [path.rsplit("/", 1)[-1] for path in fs.ls(place, detail=False) if path != place]  # of a file, itself is listed
        except (FileNotFoundError, NotADirectoryError):
            found = []
        except OSError as error:
            raise failure("read", f"{self.root}/{folder}", error) from error
        names = sorted(f"{folder}/{name}" for name in found if name.startswith(beginning) and name.endswith(ending) and not wrong_in(f"{folder}/{name}"))
        if noted := trace():
            noted.listed(folder, beginning, ending, names)
        return names

    def write(self, name: str, content: str | bytes) -> str:
        """Write a file atomically, so that a reader sees the whole of it or none; return its name. One that has this content already is left as it is.

        Raises:
            StoreError: the disk is full, the folder is not writable, or the like. Nothing is left half written.
        """
        data = content.encode() if isinstance(content, str) else content
        fs, place = self._place(name)
        try:
            if self.is_local:
                if not holds(Path(place), data):
                    replace_file(Path(place), data)
            else:
                fs.pipe_file(place, data)  # object stores publish an object whole
        except OSError as error:
            raise failure("write", f"{self.root}/{name}", error) from error
        if noted := trace():
            noted.wrote(name)
        return name

    @contextmanager
    def reading(self, name: str) -> Generator[IO[bytes]]:
        """Open a file to be read piece by piece.

        Raises:
            StoreError: it is not there or cannot be read.
        """
        fs, place = self._place(name)
        self._saw(name)
        try:
            with fs.open(place, "rb") as file:
                yield cast("IO[bytes]", file)
        except OSError as error:
            raise failure("read", f"{self.root}/{name}", error) from error

    @contextmanager
    def writing(self, name: str) -> Generator[IO[bytes]]:
        """Open a file to be written piece by piece; it appears whole when the block ends well, and not at all when it does not.

        Raises:
            StoreError: the disk is full, the folder is not writable, or the like.
        """
        fs, place = self._place(name)
        try:
            if self.is_local:
                with part_of(Path(place)) as file:
                    yield file
            else:
                with tempfile.NamedTemporaryFile() as file:
                    yield file
                    file.flush()
                    fs.put_file(file.name, place)
        except OSError as error:
            raise failure("write", f"{self.root}/{name}", error) from error
        if noted := trace():
            noted.wrote(name)

    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless it exists, atomically across processes; say whether it was written.

        Raises:
            StoreError: it cannot be written.
        """
        fs, place = self._place(name)
        try:
            fs.pipe_file(place, content, mode="create")
        except OSError as error:
            # S3 answers 412, others FileExistsError; a request that was sent twice below us meets its own object
            if not fs.exists(place):
                raise failure("write", f"{self.root}/{name}", error) from error
            return fs.cat_file(place) == content
        return True

    def read_many(self, names: Sequence[str]) -> list[bytes]:
        """Return the bytes of several files, which an object store is asked for side by side.

        Raises:
            StoreError: one is not there or cannot be read.
        """
        fs, root = _filesystem(self.root)
        try:
            found: dict[str, bytes] = fs.cat([f"{root}/{name}" for name in names]) if names else {}
        except OSError as error:
            raise failure("read", self.root, error) from error
        return [found[path] for path in sorted(found)]

    def write_json(self, name: str, value: Any) -> str:
        """Write a value as indented JSON (pydantic models included)."""
        return self.write(name, to_json(value, indent=1, by_alias=False) + b"\n")

    def remove(self, name: str) -> None:
        """Delete a file, if it is there.

        Raises:
            StoreError: it cannot be deleted.
        """
        fs, place = self._place(name)
        try:
            fs.rm_file(place)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise failure("remove", f"{self.root}/{name}", error) from error
        if noted := trace():
            noted.removed(name)

    def appender(self, name: str) -> Callable[[str], None]:
        """Return a function that adds lines to a file that only it writes. On an object store, which cannot append, each line rewrites the file.

        Raises (both): StoreError: it cannot be written.
        """
        fs, place = self._place(name)
        written = [self.read(name)] if not self.is_local and self.exists(name) else []
        try:
            file = open_to_append(Path(place)) if self.is_local else None
        except OSError as error:
            raise failure("write", f"{self.root}/{name}", error) from error

        if noted := trace():
            noted.appends(name)

        def append(line: str) -> None:
            try:
                if file:
                    data = line.encode()
                    if (part := file.write(data)) != len(data):  # a full disk takes a part
                        os.ftruncate(file.fileno(), os.fstat(file.fileno()).st_size - part)
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                else:
                    written.append(line)
                    fs.pipe_file(place, "".join(written).encode())
            except OSError as error:
                raise failure("write", f"{self.root}/{name}", error) from error

        return append

    @property
    def is_local(self) -> bool:
        """Whether the root is a folder of this machine."""
        return isinstance(_filesystem(self.root)[0], fsspec.get_filesystem_class("file"))

    def local(self, name: str) -> Path:
        """Return a path that programs of this machine can open (models, logs); its folder is made.

        Raises:
            StoreError: the root is remote, or the folder cannot be made.
        """
        path = Path(self._place(name)[1])
        self._saw(name)
        if not self.is_local:
            raise StoreError(f"{self.root} is not a local folder; training and export run on local files. Set {ROOT_VARIABLE} to a folder.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise failure("make", str(path.parent), error) from error
        return path

    def made(self, folder: str) -> None:
        """Note a folder that a program of this run has made, with its files."""
        if noted := trace():
            for name in (folder, *self.names(folder)):
                noted.wrote(name)

    def check_writable(self) -> None:
        """Raise `StoreError` now rather than after an hour of work if the root cannot be written."""
        self.write(".writable", os.urandom(8))  # what is there already would not be written

    def _place(self, name: str) -> tuple[Any, str]:
        """Return the file system of the root and a file's path in it.

        Raises:
            StoreError: the path would be outside the root.
        """
        fs, root = _filesystem(self.root)
        if wrong := wrong_in(name):
            raise StoreError(f"{name[:100]!r} is not a name below the data root {self.root}: {wrong}. Allowed: a relative path such as batches/x.json.")
        if isinstance(fs, fsspec.get_filesystem_class("file")):
            real, there = os.path.realpath(root), os.path.realpath(f"{root}/{name}")
            if os.path.commonpath([real, there]) != real:
                raise StoreError(
                    f"{self.root}/{name} is a link out of the data root, to {there}. Nothing outside the root is read or written. "
                    f"Set {ROOT_VARIABLE} to where the files are, or replace the link with them."
                )
        return fs, f"{root}/{name}"

    def _saw(self, name: str) -> None:
        if noted := trace():
            noted.saw(name)


def open_store() -> Store:
    """Return the store at `$UNDERSTUDY_DATA`, by default `data/`; a folder is relative to the project folder.

    Raises:
        SettingsError: there is no project folder.
        StoreError: there is no such kind of place, or one elsewhere cannot be asked.
    """
    named = os.environ.get(ROOT_VARIABLE) or "data"
    store = Store(named if "://" in named or "::" in named else str(project_path(named)))
    if not store.is_local:
        _ask_once(store.root)
    return store


@lru_cache
def _ask_once(root: str) -> None:
    """Check that remote storage answers: clients report missing keys and similar faults in errors of their own."""
    fs, path = _filesystem(root)
    try:
        fs.info(f"{path}/.writable")
    except FileNotFoundError:
        pass
    except Exception as error:
        raise StoreError(
            f"{root} cannot be used: {' '.join(str(error).split())[:200]}. Give its keys and its address (docs/security.md), or set {ROOT_VARIABLE}."
        ) from error


def _filesystem(root: str) -> tuple[Any, str]:
    """Return the file system of a root and the path in it; listings are not kept, since other machines write there too."""
    try:
        return fsspec.url_to_fs(root, use_listings_cache=False)
    except Exception as error:  # some file systems look for their place at once, with clients of their own
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise StoreError(f"{ROOT_VARIABLE} is {root[:100]!r}: {reason}. Allowed: a folder, or an address such as s3://bucket/folder.") from error
