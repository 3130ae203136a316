"""The data root: all files that a run writes, each atomically."""

import os
import tempfile
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from pydantic_core import to_json

from core.errors import DamagedError, StoreError
from core.paths import project_path
from core.storage.decoding import Kind, object_of, record_of, text_of
from core.storage.file_states import FileState, local_state, object_state
from core.storage.places import ROOT_VARIABLE, check_answers, file_system, is_folder, name_fault, place_in
from core.storage.traces import trace
from core.storage.whole_files import append_whole, failure, holds, open_to_append, part_of, replace_file


@dataclass(frozen=True)
class Store:
    """Files below a root, named by relative paths such as `transcripts/therapeutic-coaching/x.json`.

    Nothing outside the root is read or written: every method raises `StoreError` for a name that is not a plain relative path, or that leads out of the
    root through a symbolic link.

    Args:
        root: a local folder or an fsspec URL. The folder itself may be a link.
    """

    root: str

    def read(self, name: str) -> str:
        """Return a file's text.

        Raises:
            StoreError: it does not exist, cannot be read, or is not text.
        """
        return text_of(f"{self.root}/{name}", self.read_bytes(name))

    def load(self, name: str, kind: type[Kind]) -> Kind:
        """Return the record in a file. The error does not quote the file, which may be private.

        Raises:
            StoreError: it does not exist.
            DamagedError: it is not a record of this kind.
        """
        return record_of(f"{self.root}/{name}", self.read_bytes(name), kind)

    def load_all(self, names: Iterable[str], kind: type[Kind]) -> tuple[dict[str, Kind], dict[str, str]]:
        """Return the records in files by name, and by name the errors of those that are damaged.

        Raises:
            StoreError: a file does not exist.
        """
        records, damaged, files = dict[str, Kind](), dict[str, str](), sorted(names)
        contents = map(self.read_bytes, files) if self.is_local else self.read_many(files)
        for name, content in zip(files, contents, strict=True):
            try:
                records[name] = record_of(f"{self.root}/{name}", content, kind)
            except DamagedError as error:
                damaged[name] = str(error)
        return records, damaged

    def load_json(self, name: str) -> dict[str, Any]:
        """Return the JSON object in a file. Reading a missing key of it raises `DamagedError` too.

        Raises:
            StoreError: it does not exist.
            DamagedError: it is not a JSON object.
        """
        return object_of(f"{self.root}/{name}", self.read_bytes(name))

    def read_bytes(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            StoreError: it does not exist or cannot be read.
            DamagedError: it is a folder, or a link that leads to itself.
        """
        fs, place = self._place(name)
        self._saw(name)
        try:
            return fs.cat_file(place)
        except OSError as error:
            raise failure("read", f"{self.root}/{name}", error) from error

    def exists(self, name: str) -> bool:
        """Return whether a file or folder exists."""
        fs, place = self._place(name)
        self._saw(name)
        return fs.exists(place)

    def size(self, name: str) -> int | None:
        """Return the size of a file in bytes; None if it does not exist."""
        fs, place = self._place(name)
        self._saw(name)
        try:
            return int(fs.size(place)) if fs.isfile(place) else None
        except FileNotFoundError:
            return None

    def states(self, names: Iterable[str]) -> dict[str, FileState]:
        """Return the states of those of the files that exist, except links and invalid names."""
        fs, root = file_system(self.root)
        state_of = local_state if self.is_local else lambda place: object_state(fs.info(place))
        states: dict[str, FileState] = {}
        for name in names:
            if name_fault(name):
                continue
            try:
                state = state_of(f"{root}/{name}")
            except OSError:
                continue
            if state:
                states[name] = state
        return states

    def states_in(self, folder: str, ending: str = "") -> dict[str, FileState]:
        """Return the state of each file in a folder, sorted by name. An object store returns a thousand per request."""
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
        found = ((f"{folder}/{info['name'].rsplit('/', 1)[-1]}", object_state(info)) for info in entries)
        return {name: state for name, state in found if state and name.endswith(ending) and not name_fault(name)}

    def names(self, folder: str, ending: str = "", beginning: str = "") -> list[str]:
        """Return the sorted names of the entries of a folder; an empty list if it does not exist. Names that a store cannot have written are omitted.

        Args:
            folder: the folder.
            ending, beginning: how the names must end and begin.

        Raises:
            StoreError: the folder cannot be read.
        """
        fs, place = self._place(folder)
        try:
            entries = [path.rsplit("/", 1)[-1] for path in fs.ls(place, detail=False) if path != place]  # the listing of a file is the file itself
        except (FileNotFoundError, NotADirectoryError):
            entries = []
        except OSError as error:
            raise failure("read", f"{self.root}/{folder}", error) from error
        names = sorted(f"{folder}/{name}" for name in entries if name.startswith(beginning) and name.endswith(ending) and not name_fault(f"{folder}/{name}"))
        if current := trace():
            current.listed(folder, beginning, ending, names)
        return names

    def write(self, name: str, content: str | bytes) -> str:
        """Write a file atomically and return its name; a local file that already has this content is not touched.

        Raises:
            StoreError: it cannot be written, for example because the disk is full. No partial file is left.
        """
        data = content.encode() if isinstance(content, str) else content
        fs, place = self._place(name)
        try:
            if self.is_local:
                if not holds(Path(place), data):
                    replace_file(Path(place), data)
            else:
                fs.pipe_file(place, data)  # object stores write objects atomically
        except OSError as error:
            raise failure("write", f"{self.root}/{name}", error) from error
        if current := trace():
            current.wrote(name)
        return name

    @contextmanager
    def reading(self, name: str) -> Generator[IO[bytes]]:
        """Open a file for reading piece by piece.

        Raises:
            StoreError: it does not exist or cannot be read.
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
        """Open a file for writing piece by piece; it is stored only if the block ends without an error.

        Raises:
            StoreError: it cannot be written, for example because the disk is full.
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
        if current := trace():
            current.wrote(name)

    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless it exists, atomically across processes; return whether it was written.

        Raises:
            StoreError: it cannot be written.
        """
        fs, place = self._place(name)
        try:
            fs.pipe_file(place, content, mode="create")
        except OSError as error:
            # if the object exists, S3 answers 412 and others raise FileExistsError; if a library resent the request, the object may be this one
            if not fs.exists(place):
                raise failure("write", f"{self.root}/{name}", error) from error
            return fs.cat_file(place) == content
        return True

    def read_many(self, names: Sequence[str]) -> list[bytes]:
        """Return the bytes of several files in the order of their names, requested from an object store in parallel.

        Raises:
            StoreError: a file does not exist or cannot be read.
        """
        fs, root = file_system(self.root)
        try:
            contents: dict[str, bytes] = fs.cat([f"{root}/{name}" for name in names]) if names else {}
        except OSError as error:
            raise failure("read", self.root, error) from error
        return [contents[path] for path in sorted(contents)]

    def write_json(self, name: str, value: Any) -> str:
        """Write a value, which may contain pydantic models, as indented JSON and return the file's name."""
        return self.write(name, to_json(value, indent=1, by_alias=False) + b"\n")

    def remove(self, name: str) -> None:
        """Delete a file if it exists.

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
        if current := trace():
            current.removed(name)

    def appender(self, name: str) -> Callable[[str], None]:
        """Return a function that appends lines to a file that nothing else writes. On an object store, which cannot append, each line rewrites the file.

        Raises:
            StoreError: the file cannot be written; the returned function raises it too.
        """
        fs, place = self._place(name)
        written = [self.read(name)] if not self.is_local and self.exists(name) else []
        try:
            file = open_to_append(Path(place)) if self.is_local else None
        except OSError as error:
            raise failure("write", f"{self.root}/{name}", error) from error

        if current := trace():
            current.appends(name)

        def append(line: str) -> None:
            try:
                if file:
                    append_whole(file, line.encode())
                else:
                    written.append(line)
                    fs.pipe_file(place, "".join(written).encode())
            except OSError as error:
                raise failure("write", f"{self.root}/{name}", error) from error

        return append

    @property
    def is_local(self) -> bool:
        """Whether the root is a local folder."""
        return is_folder(file_system(self.root)[0])

    def local(self, name: str) -> Path:
        """Return a path that programs of this machine can open (models, logs), and create its folder.

        Raises:
            StoreError: the root is remote, or the folder cannot be created.
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
        """Note in the trace a folder that a program of this run has created, with its files."""
        if current := trace():
            for name in (folder, *self.names(folder)):
                current.wrote(name)

    def check_writable(self) -> None:
        """Check that the root can be written, so that a run fails at its start and not after an hour of work.

        Raises:
            StoreError: it cannot be written.
        """
        self.write(".writable", os.urandom(8))  # random, because a file with the same content would not be written

    def _place(self, name: str) -> tuple[Any, str]:
        return place_in(self.root, name)

    def _saw(self, name: str) -> None:
        if current := trace():
            current.saw(name)


def open_store() -> Store:
    """Return the store at `$UNDERSTUDY_DATA`, by default `data/`; a folder is relative to the project folder.

    Raises:
        SettingsError: there is no project folder.
        StoreError: the kind of storage is unknown, or remote storage does not answer.
    """
    root = os.environ.get(ROOT_VARIABLE) or "data"
    store = Store(root if "://" in root or "::" in root else str(project_path(root)))
    if not store.is_local:
        check_answers(store.root)
    return store
