"""What the user of a command reads when its temporary Prefect server dies."""

import os
import re
import signal

import psutil

from tests.flows.conftest import write_settings
from tests.flows.secured import until
from tests.flows.test_commands import finish


def test_a_server_that_dies_during_the_run_ends_it_with_one_sentence(command, data_root, tmp_path, forked):
    settings = write_settings(tmp_path, generation={"conversations": 200, "exchanges": [6, 6]})
    process = command("generate", f"--settings={settings}", PREFECT_API_URL="", PREFECT_HOME=str(tmp_path / "prefect"))
    until(lambda: list(data_root.rglob("transcripts/**/*.json")), 300)
    (server,) = [child for child in psutil.Process(process.pid).children() if any(word.endswith("deployments/server.py") for word in child.cmdline())]
    os.kill(server.pid, signal.SIGSEGV)
    code, output = finish(process)
    assert code == 1, output
    assert "Traceback" not in output, output
    last = output.rstrip().splitlines()[-1]
    assert re.match(r"Error: The Prefect server died of SIGSEGV \(.*\) during the run\. .*Its log is .*temporary-server-\d+\.log\.", last), output
    assert last.endswith("Everything made so far is kept; the same command continues from there.")
