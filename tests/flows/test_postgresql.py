"""The server with PostgreSQL, as docs/scale.md sets it up for several workers."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT
from tests.flows.secured import secured_server
from tests.postgresql import PostgreSQL, postgresql_programs


@pytest.fixture
def database():
    if not postgresql_programs():
        pytest.skip("PostgreSQL is not installed. Install it (Debian: apt-get install postgresql) to test a server with it.")
    with tempfile.TemporaryDirectory() as folder:  # the user that PostgreSQL runs as may not enter pytest's folders
        database = PostgreSQL(Path(folder))
        yield database
        database.stop()


@pytest.mark.e2e
def test_a_command_generates_a_batch_with_a_server_on_postgresql(database, tmp_path, forked):
    with secured_server(tmp_path, PREFECT_API_DATABASE_CONNECTION_URL=database.url) as server:
        words = [sys.executable, "-m", "flows.terminal", "generate", "--settings=config/demo.yaml", "--count=2"]
        done = subprocess.run(words, cwd=CHECKOUT, env=server.env, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        with server.client() as client:
            (run,) = client.post("/flow_runs/filter", json={}).raise_for_status().json()
            assert run["state_type"] == "COMPLETED"
    assert len(list((tmp_path / "data/transcripts").rglob("*.json"))) == 2
    assert run["id"] in database.ask("select id from flow_run")
