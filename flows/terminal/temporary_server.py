"""A Prefect server that runs for the length of a command.

Prefect's own temporary server is in the process group of the command. Ctrl-C in a terminal stops it together with the run, which then tries for minutes
to report that it was stopped. This server is in a separate session and is stopped last. It also starts while the command still imports, which saves some
seconds.
"""

import base64
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from core.errors import ServerError
from core.machine.deaths import ended, explain, signal_name
from core.machine.memory import Memory, read_memory
from core.machine.stopping import PATIENCE, say, stopped
from core.paths import SHIPPED, project_folder
from core.processes import descendants, die_with_parent, end_processes, is_running
from core.settings.addresses import checked_address
from flows.terminal.server_access import home, new_password, server_environment, use_kept_password, use_project_settings

START_SECONDS = 180
"""Maximum time that the server may take to start; it is long, because the machine may be busy."""
UNUSED = (
    *(f"PREFECT_SERVER_SERVICES_{name}_ENABLED" for name in ("SCHEDULER", "LATE_RUNS", "FOREMAN", "PAUSE_EXPIRATIONS", "TRIGGERS")),
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START",
)
"""Switches of what a temporary server has no use for: the services for deployments, workers and automations, and the block types of Prefect's UI."""
STOP_SECONDS = 20
"""How long the server may take to stop before it is killed."""
ANSWER_SECONDS = 20
"""Timeout of a request to the server at PREFECT_API_URL."""


@contextmanager
def temporary_server() -> Generator[Callable[[], None] | None]:
    """Start a server and point `PREFECT_API_URL` to it, unless the variable is set already; stop the server at the end.

    Enter this context before Prefect is imported, which reads the variable on import. A server that dies later ends this process, because Prefect would try
    to reach it for many minutes.

    Yields:
        A function that waits until the server answers; None if `PREFECT_API_URL` is set, whose server has answered already.

    Raises:
        ServerError: the server at `PREFECT_API_URL` does not answer; the yielded function raises it if the new server does not start.
    """
    use_project_settings()
    if configured_url := os.environ.get("PREFECT_API_URL"):
        check_server(configured_url)
        yield None
        return
    port, log, password, before = _free_port(), _log_of(home()), new_password(), read_memory()
    url = f"http://127.0.0.1:{port}/api"
    process = _start_server(password, port, log)
    earlier_password = os.environ.get("PREFECT_API_AUTH_STRING")
    os.environ |= {"PREFECT_API_URL": url, "PREFECT_API_AUTH_STRING": password}
    over = threading.Event()

    def wait() -> None:
        _wait(process, url, log, before)
        threading.Thread(target=_watch, args=(process, log, before, over), name="server", daemon=True).start()

    try:
        yield wait
    finally:
        over.set()
        os.environ.pop("PREFECT_API_URL", None)
        os.environ.pop("PREFECT_API_AUTH_STRING", None)
        os.environ |= {"PREFECT_API_AUTH_STRING": earlier_password} if earlier_password else {}
        _stop_server(process)


def _start_server(password: str, port: int, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, str(SHIPPED / "deployments/server.py")],
            cwd=project_folder(),
            env={**os.environ, **server_environment(password, port), **dict.fromkeys(UNUSED, "false")},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent(),  # noqa: PLW1509  no other thread runs yet
        )


def _stop_server(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except BaseException as error:  # too slow, or the command is stopped meanwhile
        process.kill()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise


def check_server(url: str) -> None:
    """Check that a Prefect server answers at an address, before Prefect is imported, which would try to reach it for minutes.

    Raises:
        ServerError: the address is malformed, nothing answers there, the answer is not that of a Prefect server, or the password is wrong.
    """
    remedy = "Start it (`understudy ui`), correct the address, or leave PREFECT_API_URL empty: then a server is started for the command."
    try:
        address = checked_address(url).rstrip("/")
        use_kept_password()
        request = urllib.request.Request(f"{address}/health", headers=_authorization())
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
            body = answer.read(100).strip()
    except urllib.error.HTTPError as refused:
        reason = "wants a password or key (PREFECT_API_AUTH_STRING, PREFECT_API_KEY)" if refused.code in (401, 403) else f"answers {refused.code}"
        raise ServerError(f"The server at PREFECT_API_URL, {url}, {reason}. {remedy}") from refused
    except ValueError as wrong:
        raise ServerError(f"PREFECT_API_URL: {wrong}. {remedy}") from wrong
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise ServerError(f"No Prefect server answers at PREFECT_API_URL, {url} ({str(reason)[:120]}). {remedy}") from error
    if body != b"true":
        raise ServerError(f"The server at PREFECT_API_URL, {url}, is not a Prefect server. Its address ends in /api. {remedy}")


def _authorization() -> dict[str, str]:
    if secret := os.environ.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}
    return {"Authorization": f"Bearer {secret}"} if (secret := os.environ.get("PREFECT_API_KEY")) else {}


def _log_of(folder: Path) -> Path:
    """Return the log file of this command's server, and remove the log files of commands that have ended."""
    for old in folder.glob("temporary-server-*.log"):
        if not is_running(int(old.stem.rpartition("-")[2])):
            old.unlink(missing_ok=True)
    return folder / f"temporary-server-{os.getpid()}.log"


def _wait(process: subprocess.Popen[bytes], url: str, log: Path, before: Memory) -> None:
    """Wait until the server answers.

    Raises:
        ServerError: the server ended or did not answer within START_SECONDS.
    """
    for _ in range(START_SECONDS * 5):
        if (code := process.poll()) is not None:
            if signal_name(code):
                raise ServerError(f"{explain('The Prefect server', code, 'at its start', before=before)} Its log is {log}.")
            break
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise ServerError(f"The Prefect server did not start; {log} says why. Free the disk or the port, or set PREFECT_API_URL to a running server.")


def _watch(process: subprocess.Popen[bytes], log: Path, before: Memory, over: threading.Event) -> None:
    """End this process with one sentence if the server dies during the run. No file is left incomplete: each is written in one step."""
    code = process.wait()
    if over.is_set() or stopped() is not None:
        return
    died = explain("The Prefect server", code, "during the run", before=before) if signal_name(code) else f"The Prefect server {ended(code)} during the run."
    say(f"Error: {died} Its log is {log}. Everything made so far is kept; the same command continues from there.")
    end_processes(descendants(os.getpid()), PATIENCE)
    os._exit(ServerError.exit_code)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
