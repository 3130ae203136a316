"""A real PostgreSQL on loopback, for the Prefect server of a test or a benchmark."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def postgresql_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, the newest if there are several; none where it is not installed."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    found = str(installed[-1]) if installed else shutil.which("pg_ctl")
    return Path(found).parent if found else None


class PostgreSQL:
    """A database of its own, which is gone with the folder; PostgreSQL does not run as root."""

    def __init__(self, folder: Path) -> None:
        programs = postgresql_programs()
        if programs is None:
            raise RuntimeError("PostgreSQL's programs are not here. Install them (Debian: apt-get install postgresql).")
        self.programs, self.folder, self.port = programs, folder / "postgres", free_port()
        self.folder.mkdir()
        self.who = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        if self.who:
            folder.chmod(0o755)
            shutil.chown(self.folder, "postgres")
        self._run("initdb", "-D", str(self.folder / "data"), "-U", "understudy", "--auth=trust", "--no-sync")
        self.start()
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "understudy", "prefect")

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://understudy@127.0.0.1:{self.port}/prefect"

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} -c fsync=off"
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-o", options, "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")

    def ask(self, query: str) -> str:
        return self._run("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "understudy", "-d", "prefect", "-t", "-c", query)

    def _run(self, program: str, *words: str) -> str:
        # into a file: the server that pg_ctl starts keeps a pipe open
        with tempfile.TemporaryFile("w+") as said:
            subprocess.run([*self.who, str(self.programs / program), *words], check=True, stdout=said, cwd="/")
            said.seek(0)
            return said.read()
