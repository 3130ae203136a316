"""What `tests.nursery.forked_python` writes down as a program: it has a nursery of its folder fork what its words say, and otherwise becomes Python itself."""

import json
import os
import resource
import signal
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path

NUMBER = struct.Struct("i")
ONLY = ("",)


def ask(address: Path) -> tuple[int, socket.socket] | None:
    """Have a nursery fork it; return its number and the socket on which its exit code comes, or none if this is not for that nursery."""
    caller = socket.socket(socket.AF_UNIX)
    try:
        caller.connect(str(address))
        given = {"words": sys.argv[1:], "environment": dict(os.environ), "folder": str(Path.cwd()), "python": sys.argv[0], "any": False}
        text = json.dumps(given).encode() + b"\n"
        socket.send_fds(caller, [text[:1]], [0, 1, 2])
        caller.sendall(text[1:])
        (pid,) = NUMBER.unpack(caller.recv(NUMBER.size))
    except (OSError, struct.error):
        pid = 0
    if pid:
        return pid, caller
    caller.close()
    return None


def accompany(pid: int, caller: socket.socket) -> None:
    """Pass signals on to a forked process, and end as it does."""

    def pass_on(number: int, _: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, pass_on)
    with open(os.devnull, "r+b", buffering=0) as nothing:  # noqa: PTH123  who reads the other end sees it close when the process does it
        for stream in (0, 1, 2):
            os.dup2(nothing.fileno(), stream)
    received = caller.recv(NUMBER.size)
    (code,) = NUMBER.unpack(received) if received else (-signal.SIGKILL,)
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    words = " ".join(sys.argv[1:])
    plain = words.startswith(ONLY) and (words.startswith("-m ") or not words.startswith("-"))
    for place in sorted(Path(sys.argv[0]).parent.glob("*.socket")) if plain else ():
        if forked := ask(place):
            accompany(*forked)
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
