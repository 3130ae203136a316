"""What a command saw of the data root: the state of each file that it read, asked for or wrote, and what stood in each folder that it listed.

As long as all of that is as the command left it, the same command would see the same and make nothing.
"""

from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR

Stamp = list[int]
"""Of a file: inode, size, and the times of the last change of its content and of the file, in nanoseconds. Of a folder: its inode."""


@dataclass
class Listing:
    """What stands in a folder, of all names that begin and end as was asked for."""

    folder: str
    beginning: str
    ending: str
    names: list[str]


@dataclass
class Trace:
    """The last state that a command knows of what it touched; what it does itself is no change.

    Args:
        root: a local folder.
        finished: whether the command would have nothing to do if it ran again.
    """

    root: Path
    files: dict[str, Stamp | None] = field(default_factory=dict)
    listings: list[Listing] = field(default_factory=list)
    appended: set[str] = field(default_factory=set)
    finished: bool = True

    def saw(self, name: str) -> None:
        """Note the state of a file or folder that is read or asked for."""
        if not name.startswith("."):
            self.files[name] = stamp(self.root / name)

    def wrote(self, name: str) -> None:
        """Note a file that was written, or is being appended to."""
        self.saw(name)
        for listing in self.listings:
            child = _child(listing.folder, name)
            if child and child not in listing.names and _asked_for(listing, child):
                listing.names = sorted([*listing.names, child])

    def appends(self, name: str) -> None:
        """Note a file that only this process writes, line by line; its state is looked at when the command has ended."""
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
        """Note what a folder holds."""
        self.listings = [one for one in self.listings if (one.folder, one.beginning, one.ending) != (folder, beginning, ending)]
        self.listings.append(Listing(folder, beginning, ending, list(names)))


def stamp(path: Path) -> Stamp | None:
    """Return a file's or folder's state; none if it is not there."""
    try:
        state = path.stat()
    except OSError:
        return None
    return [state.st_ino] if S_ISDIR(state.st_mode) else [state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns]


def begin_trace(root: Path) -> Trace:
    """Note from now on what this process does below a root, and return the notes."""
    global _TRACE  # noqa: PLW0603  one command is one process
    _TRACE = Trace(root)
    return _TRACE


def end_trace() -> None:
    """Stop noting."""
    global _TRACE  # noqa: PLW0603
    _TRACE = None


def trace() -> Trace | None:
    """Return the notes of this process, where it takes any."""
    return _TRACE


def leave_open() -> None:
    """Say that something could not be made, and that the same command would try it again."""
    if _TRACE:
        _TRACE.finished = False


def _child(folder: str, name: str) -> str | None:
    """Return which entry of a folder a file is, or stands below."""
    return f"{folder}/{name.removeprefix(f'{folder}/').partition('/')[0]}" if name.startswith(f"{folder}/") else None


def _asked_for(listing: Listing, child: str) -> bool:
    return child.endswith(listing.ending) and child.startswith(f"{listing.folder}/{listing.beginning}")


_TRACE: Trace | None = None
