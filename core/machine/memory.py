"""Memory of this machine and of the control group of this process. Figures that the system does not provide are None."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

GROUPS = Path("sys/fs/cgroup")


@dataclass(frozen=True)
class Memory:
    """Memory figures, in bytes.

    Args:
        free: memory available to a program without swapping.
        total: memory of the machine.
        limit: the lowest limit of the control group and its parents; None if none is below the total.
        kills: number of processes that the kernel's out-of-memory killer has ended, in the control group or, if it has no count, on the machine.
    """

    free: int | None
    total: int | None
    limit: int | None
    kills: int | None

    def __str__(self) -> str:
        """Return the free memory and the limits in words."""
        parts = []
        if self.free is not None and self.total is not None:
            parts.append(f"{size(self.free)} of {size(self.total)} are free now")
        elif self.total is not None:
            parts.append(f"the machine has {size(self.total)}")
        if self.limit is not None:
            parts.append(f"its control group is limited to {size(self.limit)}")
        return ", ".join(parts)


def size(count: int) -> str:
    """Return a number of bytes as text in MB or GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def read_memory(root: Path = Path("/")) -> Memory:
    """Return the current figures.

    Args:
        root: folder that contains `proc` and `sys`.
    """
    machine = _pairs(root / "proc/meminfo")
    total = machine["MemTotal"] * 1024 if "MemTotal" in machine else None
    if total is None:
        with contextlib.suppress(ValueError, OSError):  # macOS has no /proc
            total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits: list[int] = []
    kills = None
    for folder in _groups(root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):  # "max" means no limit
                limits.append(int((folder / name).read_text(encoding="ascii")))
        if kills is None:
            kills = (_pairs(folder / "memory.events") | _pairs(folder / "memory.oom_control")).get("oom_kill")
    if kills is None:
        kills = _pairs(root / "proc/vmstat").get("oom_kill")
    limits = [limit for limit in limits if total is None or limit < total]
    return Memory(machine["MemAvailable"] * 1024 if "MemAvailable" in machine else None, total, min(limits, default=None), kills)


def _groups(root: Path) -> list[Path]:
    """Return the folders of this process's memory control group and its parents, the innermost first."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(",") or (not controllers and (root / GROUPS / "cgroup.controllers").is_file()):
            top = root / GROUPS / ("memory" if controllers else "")
            own = top / path.strip("/")
            # in a container the path may be the host's, and then only the top folder exists, which is the container's own group
            return [folder for folder in (own, *own.parents) if folder.is_relative_to(top) and folder.is_dir()]
    return []


def _pairs(path: Path) -> dict[str, int]:
    """Return the numbers in a file of names and numbers; empty if it does not exist."""
    numbers = {}
    with contextlib.suppress(OSError):
        for line in path.read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(" ")
            with contextlib.suppress(ValueError, IndexError):
                numbers[name.rstrip(":")] = int(value.split()[0])
    return numbers
