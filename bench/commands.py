"""What a command costs whose work is done: through Prefect with a server of its own, and from its receipt; and where the time goes.

    python bench/commands.py [settings]        (make bench-commands)

Wall and CPU seconds, the CPU with all that the command started. Each line is one process, run once; the machine should do nothing else.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
SERVER = """
from flows.terminal.temporary_server import temporary_server
with temporary_server() as wait:
    wait()
"""


def measured(what: str, words: list[str], environment: dict[str, str], code: int = 0) -> str:
    """Run a program, print a line, and return the last line of its output."""
    started = time.monotonic()
    process = subprocess.Popen(words, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    wall, process.returncode = time.monotonic() - started, os.waitstatus_to_exitcode(status)
    if process.returncode != code:
        sys.exit(f"{' '.join(words)} ended with exit code {process.returncode}:\n{output}")
    print(f"{what:<58} {wall:7.2f} {used.ru_utime + used.ru_stime:7.2f}", flush=True)
    return output.rstrip().rpartition("\n")[2]


def main() -> int:
    settings = sys.argv[1] if len(sys.argv) > 1 else "config/demo.yaml"
    with tempfile.TemporaryDirectory(prefix="understudy-commands-") as folder:
        environment = {**os.environ, "UNDERSTUDY_DATA": f"{folder}/data", "PREFECT_HOME": f"{folder}/prefect"}
        environment.pop("PREFECT_API_URL", None)
        print(f"{'':<58} {'wall s':>7} {'CPU s':>7}")
        for name in ("prefect", "flows.generation", "flows.pipeline"):
            measured(f"import {name}", [sys.executable, "-c", f"import {name}"], environment)
        for number in ("first", "second"):
            measured(f"a temporary server until it answers, and its end: {number}", [sys.executable, "-c", SERVER], environment)
        measured("deployments/install.sh light, everything installed", ["deployments/install.sh", "light"], environment)
        measured("a domain that there is not", [sys.executable, "-m", "flows.terminal", "run", "demo", "--domain=moon"], environment, code=2)
        for flow, *words in (("generate", "--count=3"), ("assess",)):
            command = [sys.executable, "-m", "flows.terminal", flow, *words, f"--settings={settings}"]
            said = [measured(f"{flow}: first", command, environment)]
            shutil.rmtree(Path(folder) / "data/receipts")
            said.append(measured(f"{flow}: again, through Prefect", command, environment))
            said.append(measured(f"{flow}: again, from its receipt", command, environment))
            if len(set(said)) > 1:
                sys.exit(f"They do not say the same: {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
