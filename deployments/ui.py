"""Runs a Prefect server with the deployments, a worker and the studio until Ctrl-C or SIGTERM.   PORT=4200 python deployments/ui.py

Server and worker run in separate sessions, so that Ctrl-C reaches only this process. It ends the worker and its runs while the server still answers, so
that each run is recorded as stopped. Prefect's worker, when it is asked to stop, waits for its runs without a time limit; it is therefore killed.
"""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
import urllib.error
from pathlib import Path
from typing import IO

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.errors import ServerError, UnderstudyError
from core.machine.deaths import ended
from core.machine.stopping import leave, stop_on_signals
from core.paths import SHIPPED, project_folder
from core.processes import children, descendants, end_processes, is_running
from core.terminal import show, show_error
from flows.terminal.server_access import PASSWORD_FILE, ask, home, kept_password, server_environment

POOL = "understudy"
START_SECONDS = 180
RUN_SECONDS = 5.0
"""Seconds that runs have to cancel their work and report it; then they are killed. Their results are kept, and the same run resumes from there."""
SERVER_SECONDS = 3.0
STUDIO_OFFSET = 10
"""The studio's port minus the server's. It depends on the server's port so that two instances can run at the same time."""
STUDIO_SECONDS = 15.0
ALIVE = ["RUNNING", "PENDING", "CANCELLING"]


def main() -> None:
    """Run until a signal arrives.

    Raises:
        ServerError: the port is taken, or the server or the worker did not start or ended unexpectedly.
    """
    port = os.environ.get("PORT", "4200")
    logs = home()
    os.environ |= {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    password, is_new = kept_password()
    os.environ |= server_environment(password, port)
    if _answers():
        raise ServerError(f"Something answers on port {port} already. Stop it, or choose another port: understudy ui --port 4300")
    show(f"Starting the Prefect server; its log is {logs / 'server.log'}")
    os.environ.setdefault("UNDERSTUDY_STUDIO", f"http://127.0.0.1:{int(port) + STUDIO_OFFSET}")
    server = worker = studio = None
    try:
        with (logs / "server.log").open("wb") as log:
            server = _start("deployments/server.py", log=log)
        _wait_for(server, logs / "server.log")
        _deploy(logs / "deploy.log")
        end_dead_runs("Its process was gone when the server was started again.")
        where = f"{password} (kept in {logs / PASSWORD_FILE}, and not shown again)" if is_new else f"the content of {logs / PASSWORD_FILE}"
        show(
            "",
            f"The server asks for a password: {where}.",
            f'Open http://127.0.0.1:{port} and run the deployment "demo" (or "pipeline", with your keys in the environment). '
            "Ctrl-C stops the server and the worker.",
            "",
        )
        with (logs / "studio.log").open("wb") as log:
            words = ("-m", "flows.terminal", "studio", "--port", str(int(port) + STUDIO_OFFSET), "--no-open")
            studio = _run(sys.executable, *words, log=log)
        _show_studio(studio, logs / "studio.log")
        if importlib.util.find_spec("torch") is None:
            show("torch is not installed: this machine can generate and assess; training, export and the demo need `make setup`.", "")
        worker = _start("deployments/worker.py", f"understudy-{os.getpid()}")
        while worker.poll() is None:
            if server.poll() is not None:
                raise ServerError(f"The Prefect server {ended(server.returncode)}; {logs / 'server.log'} says why. Everything made so far is kept.")
            time.sleep(0.2)
        raise ServerError(f"The worker {ended(worker.returncode)}. Everything made so far is kept.")
    finally:
        if studio and studio.poll() is None:
            studio.terminate()
        _stop(server, worker)
        if studio:
            end_processes([studio.pid], SERVER_SECONDS)


def _show_studio(studio: subprocess.Popen[bytes], log: Path) -> None:
    """Show the studio's address, or why it did not start: the first line of its log. The server works without it."""
    until = time.monotonic() + STUDIO_SECONDS
    while not (text := log.read_text(encoding="utf-8", errors="replace").strip()) and studio.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
    show(*(text.splitlines()[:1] or [f"The studio does not answer yet; its log is {log}"]), "")


def end_dead_runs(why: str) -> None:
    """Mark the worker's runs whose process on this machine is gone, and their subflow runs, as crashed."""
    pool = {"name": {"any_": [POOL]}}
    runs = ask("flow_runs/filter", {"work_pools": pool, "flow_runs": {"state": {"type": {"any_": ALIVE}}}})
    for run in runs:
        pid = (run["infrastructure_pid"] or "").rpartition(":")[2]
        if pid.isdecimal() and not _is_run(int(pid)):
            within = {"parent_flow_run_id": {"any_": [run["id"]]}, "state": {"type": {"any_": ALIVE}}}
            for dead in [run, *ask("flow_runs/filter", {"flow_runs": within})]:
                ask(
                    f"flow_runs/{dead['id']}/set_state",
                    {"state": {"type": "CRASHED", "message": f"{why} Run it again: everything made so far is kept."}, "force": True},
                )


def _is_run(pid: int) -> bool:
    """Return whether a process exists and is one of Prefect's: after a restart of the machine, another process may have its number."""
    try:
        return "prefect" in Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return sys.platform != "linux" and is_running(pid)


def _start(script: str, *words: str, log: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    return _run(sys.executable, str(SHIPPED / script), *words, log=log)


def _run(*words: str, log: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words,
        cwd=project_folder(),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log and subprocess.STDOUT,
        start_new_session=True,
        # a shell makes background jobs ignore Ctrl-C, but the runs must react to it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  no other thread runs
    )


def _wait_for(server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while not _answers():
        if server.poll() is not None or time.monotonic() > until:
            raise ServerError(f"The Prefect server did not start; {log} says why. Free the disk or the port, or choose another: understudy ui --port 4300")
        time.sleep(0.2)


def _deploy(log: Path) -> None:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(SHIPPED / "deployments/setup.py"), "deploy"], cwd=project_folder(), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        process.wait()
    finally:
        end_processes([process.pid, *descendants(process.pid)], 0.0)
    if process.returncode:
        raise ServerError(f"The deployments could not be made:\n{log.read_text(encoding='utf-8', errors='replace').strip()}")


def _stop(server: subprocess.Popen[bytes] | None, worker: subprocess.Popen[bytes] | None) -> None:
    """End the worker, its runs and the server, in this order and in less than ten seconds."""
    # a signal that arrives while a process is started leaves that process in no variable
    lost = set(children(os.getpid())) - {process.pid for process in (server, worker) if process}
    end_processes([pid for root in lost for pid in (*descendants(root), root)], 0.0)
    if worker and worker.poll() is None:
        worker.send_signal(signal.SIGSTOP)  # it starts no more runs
        # the runs end their own jobs and servers
        end_processes(descendants(worker.pid), RUN_SECONDS, asked=children(worker.pid), how=signal.SIGINT)
        end_processes([*descendants(worker.pid), worker.pid], 0.0)
    if server and server.poll() is None:
        if worker:
            with contextlib.suppress(OSError):  # the server is busy or gone; its next start looks again
                end_dead_runs("Its worker was stopped.")
        end_processes([server.pid, *descendants(server.pid)], SERVER_SECONDS)


def _answers() -> bool:
    try:
        ask("health")
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


if __name__ == "__main__":
    stop_on_signals("Stopping the worker, its runs, the server and the studio. Everything made so far is kept.")
    try:
        main()
    except UnderstudyError as error:
        show_error(error)
        leave(error.exit_code)
    except OSError as error:
        show_error(f"{error.strerror or error}: {error.filename or 'the Prefect server'}. Run the same command again.")
        leave(1)
