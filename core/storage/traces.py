"""A trace of a command's use of the data root: the state of each file that it read, checked or wrote, and the contents of each folder that it listed.

As long as all of these are unchanged, the same command would have nothing to do.
"""

from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR

Stamp = list[int]
"""For a file: inode, size, and the times of the last changes of its content and its metadata, in nanoseconds. For a folder: its inode."""


@dataclass
class Listing:
    """The names in a folder that have a certain beginning and ending."""

    folder: str
    beginning: str
    ending: str
    names: list[str]


@dataclass
class Trace:
    """The latest known state of everything that a command used. The command's own changes update the state.

    Args:
        root: the data root, a local folder.
        files: by name, the stamp of each file or folder; None if it does not exist.
        listings: the listed folders.
        appended: names of the files that the command appends to.
        finished: whether the command would have nothing to do if it ran again.
    """

    root: Path
    files: dict[str, Stamp | None] = field(default_factory=dict)
    listings: list[Listing] = field(default_factory=list)
    appended: set[str] = field(default_factory=set)
    finished: bool = True

    def saw(self, name: str) -> None:
        """Note the state of a file or folder that is read or checked."""
        if not name.startswith("."):
            self.files[name] = stamp(self.root / name)

    def wrote(self, name: str) -> None:
        """Note a file that was written, or is being appended to."""
        self.saw(name)
        for listing in self.listings:
            child = _child(listing.folder, name)
            if child and child not in listing.names and _matches(listing, child):
                listing.names = sorted([*listing.names, child])

    def appends(self, name: str) -> None:
        """Note a file that only this process writes, line by line; its state is read when the command has ended."""
        if name not in self.appended:
            self.appended.add(name)
            self.wrote(name)

    def removed(self, name: str) -> None:
        """Note a file that was removed."""
        self.saw(name)
        for listing in self.listings:
            if name in listing.names:
                listing.names.remove(name)

    def listed(self, folder: str, beginning: str, ending: str, names: list[str]) -> None:
        """Note the names in a folder."""
        self.listings = [other for other in self.listings if (other.folder, other.beginning, other.ending) != (folder, beginning, ending)]
        self.listings.append(Listing(folder, beginning, ending, list(names)))


def stamp(path: Path) -> Stamp | None:
    """Return the stamp of a file or folder; None if it does not exist."""
    try:
        state = path.stat()
    except OSError:
        return None
    return [state.st_ino] if S_ISDIR(state.st_mode) else [state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns]


def begin_trace(root: Path) -> Trace:
    """Start tracing this process's use of a root, and return the trace."""
    global _TRACE  # noqa: PLW0603  one command is one process
    _TRACE = Trace(root)
    return _TRACE


def end_trace() -> None:
    """Stop tracing."""
    global _TRACE  # noqa: PLW0603
    _TRACE = None


def trace() -> Trace | None:
    """Return the trace of this process; None if it is not tracing."""
    return _TRACE


def leave_open() -> None:
    """Note that something could not be made, so that the same command would try it again."""
    if _TRACE:
        _TRACE.finished = False


def _child(folder: str, name: str) -> str | None:
    """Return the entry of a folder that is a file or contains it; None if the file is not below the folder."""
    return f"{folder}/{name.removeprefix(f'{folder}/').partition('/')[0]}" if name.startswith(f"{folder}/") else None


def _matches(listing: Listing, child: str) -> bool:
    return child.endswith(listing.ending) and child.startswith(f"{listing.folder}/{listing.beginning}")


_TRACE: Trace | None = None
