"""The server of `make ui` lets in who has its password and asks from its own pages, and its worker runs this project's flows alone."""

import copy
import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from core.errors import ServerError
from flows.terminal import server_access
from tests.conftest import CHECKOUT
from tests.flows.conftest import write_settings
from tests.flows.secured import secured_server, until

pytestmark = pytest.mark.usefixtures("forked")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with the deployments and a worker."""
    with secured_server(tmp_path_factory.mktemp("secured")) as running:
        made = subprocess.run(
            [sys.executable, "deployments/setup.py", "deploy"], cwd=CHECKOUT, env=running.env, capture_output=True, text=True, timeout=300, check=False
        )
        assert made.returncode == 0, made.stderr
        running.start("worker", "deployments/worker.py", "tests")
        yield running


@pytest.fixture(scope="module")
def client(server):
    with server.client() as client:
        yield client


# --- who is let in --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("password", ["", "understudy:wrong", "understudy:"])
@pytest.mark.parametrize("path", ["/block_documents/filter", "/deployments/filter", "/flow_runs/filter", "/variables/filter", "/admin/settings", "/version"])
def test_nothing_is_reported_or_done_without_the_password(server, path, password):
    with httpx.Client(base_url=f"{server.url}/api", auth=(password.partition(":")[0], password.partition(":")[2]) if password else None) as stranger:
        assert stranger.get(path).status_code in (401, 403)
        assert stranger.post(path, json={}).status_code in (401, 403)
        token = stranger.get("/csrf-token", params={"client": "x"})
        assert token.status_code == 401


@pytest.mark.parametrize("path", ["events/in", "events/out", "logs/out", "task_runs/subscriptions/scheduled", "work_pools/understudy/workers/connect"])
@pytest.mark.parametrize("protocol", [None, "prefect"])
def test_no_socket_answers_without_the_password(server, path, protocol):
    def listen():
        with connect(f"{server.url.replace('http', 'ws')}/api/{path}", subprotocols=[protocol] if protocol else None, open_timeout=120) as socket:
            socket.send(json.dumps({"type": "auth", "token": "wrong"}))
            for _ in range(3):
                socket.recv(timeout=120)

    with pytest.raises((WebSocketException, OSError)):
        listen()


def test_a_page_of_another_origin_is_not_answered(server, client):
    asked = {"Origin": "http://127.0.0.1:1", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    refused = httpx.options(f"{server.url}/api/flow_runs/filter", headers=asked)
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers
    read = client.get("/admin/settings", headers={"Origin": "https://somewhere.example"})
    assert "access-control-allow-origin" not in read.headers
    own = httpx.options(f"{server.url}/api/flow_runs/filter", headers=asked | {"Origin": server.url.replace("127.0.0.1", "localhost")})
    assert own.status_code == 200


def test_a_change_needs_a_token_of_the_server_beside_the_password(server):
    with httpx.Client(base_url=f"{server.url}/api", auth=server.auth) as forged:
        assert forged.post("/flow_runs/filter", json={}).status_code == 403


@pytest.mark.parametrize("host", ["attacker.example", "attacker.example:4200", "127.0.0.1.attacker.example", ""])
def test_a_name_that_somebody_else_points_here_is_refused(server, client, host):
    for path in ("", "/ui-settings", "/api/health", "/api/admin/settings"):
        answer = client.get(f"{server.url}{path}", headers={"Host": host})
        assert answer.status_code == 400, path


def test_pages_may_ask_this_server_alone(server):
    page = httpx.get(f"{server.url}/v2/")
    policy = dict(part.strip().partition(" ")[::2] for part in page.headers["content-security-policy"].split(";"))
    assert policy["frame-ancestors"] == "'none'"
    assert all("127.0.0.1" in source or "localhost" in source or source == "'self'" for source in policy["connect-src"].split())
    assert policy["default-src"].split()[0] == "'self'"
    assert "http:" not in policy["default-src"]


def test_it_does_not_start_without_a_password(tmp_path):
    env = {name: value for name, value in os.environ.items() if not name.endswith("AUTH_STRING")} | {"PREFECT_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "deployments/server.py"], cwd=CHECKOUT, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: no password.")


# --- where the password is ------------------------------------------------------------------------------------------


def test_the_password_is_made_once_and_only_its_owner_may_read_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    old = os.umask(0)
    try:
        first, made = server_access.kept_password()
    finally:
        os.umask(old)
    path = tmp_path / "home" / server_access.PASSWORD_FILE
    assert made
    assert len(first) > 30
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)
    path.chmod(0o644)
    path.parent.chmod(0o755)
    assert server_access.kept_password() == (first, False)
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)
    path.write_text("", encoding="utf-8")
    assert server_access.kept_password()[1]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(ServerError, match=r"file.*Set PREFECT_HOME to a folder that you own"):
        server_access.home()


@pytest.mark.parametrize(
    ("url", "known"), [("http://127.0.0.1:4200/api", True), ("http://localhost:9/api", True), ("https://prefect.example/api", False), ("", False)]
)
def test_only_a_server_of_this_machine_is_shown_the_kept_password(tmp_path, monkeypatch, url, known):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    password, _ = server_access.kept_password()
    monkeypatch.setenv("PREFECT_API_URL", url)
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "")
    server_access.use_kept_password()
    assert os.environ["PREFECT_API_AUTH_STRING"] == (password if known else "")


# --- what the worker runs -------------------------------------------------------------------------------------------


def ended(client, run):
    def look():
        state = client.get(f"/flow_runs/{run}").json()["state"]
        return state if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

    return until(look, 120)


def own(client, name="generation"):
    return client.get(f"/deployments/name/{name}/{name}").json()


def foreign(client, name, **changes):
    """Make a deployment like our own but for some of it; return its id."""
    ours = own(client)
    wanted = {key: ours[key] for key in ("flow_id", "entrypoint", "pull_steps", "work_pool_name", "parameter_openapi_schema", "path")}

    def try_it():
        made = client.post("/deployments/", json=wanted | {"name": name} | changes)
        if made.status_code == 503:
            return None
        assert made.status_code in (200, 201), made.text
        return made.json()["id"]

    return until(try_it)


def start(client, deployment, **given):
    def try_it():
        made = client.post(f"/deployments/{deployment}/create_flow_run", json=given)
        if made.status_code == 503:  # SQLite is locked; Prefect's own client tries again, too
            return None
        assert made.status_code in (200, 201), made.text
        return made.json()["id"]

    return until(try_it)


def test_the_projects_own_deployment_runs(server, client, tmp_path):
    given = {"settings": write_settings(tmp_path), "conversations": 1}
    runs = [start(client, own(client)["id"], parameters=given), start(client, foreign(client, "by-another-name", parameters=given))]
    for state in [ended(client, run) for run in runs]:
        assert state["type"] == "COMPLETED", state["message"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("domain", "sk-ant-api03-abcdefghijkl"),
        ("settings", "hf_abcdefghijklmnop"),
        ("domain", "https://user:opensesame@host/"),
        ("arms", {"a": "gsk_abcdefghijklmnop"}),
    ],
)
def test_a_key_that_is_typed_into_a_form_is_refused_before_it_is_stored(server, client, name, value):
    wanted = own(client, "evaluation" if name == "arms" else "generation")["id"]
    refused = client.post(f"/deployments/{wanted}/create_flow_run", json={"parameters": {name: value}})
    assert refused.status_code == 409, refused.text
    typed = (value["a"] if isinstance(value, dict) else value).encode()
    assert not any(typed in path.read_bytes() for path in server.root.rglob("*") if path.is_file())


def test_a_flow_of_somebody_else_is_not_run(server, client, tmp_path):
    code = tmp_path / "evil.py"
    code.write_text(f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\nfrom prefect import flow\n@flow\ndef f(): pass\n", encoding="utf-8")
    shell = {"prefect.deployments.steps.run_shell_script": {"script": f"touch {tmp_path / 'ran'}"}}
    mark = f"touch {tmp_path / 'ran'}"
    cases = {
        "entrypoint": foreign(client, "entrypoint", entrypoint=f"{code}:f"),
        "pull steps": foreign(client, "shell", pull_steps=[*(own(client)["pull_steps"] or []), shell]),
        "job variable command": foreign(client, "command", job_variables={"command": mark}),
        "job variable env": foreign(client, "environment", job_variables={"env": {"PYTHONPATH": str(tmp_path)}}),
        "job variable env ": foreign(client, "dotted", job_variables={"env.PYTHONSTARTUP": str(code)}),
        "job variable working_dir": foreign(client, "folder", job_variables={"working_dir": str(tmp_path)}),
    }
    elsewhere = {"prefect.deployments.steps.set_working_directory": {"directory": str(tmp_path)}}
    cases["pull steps "] = foreign(client, "elsewhere", pull_steps=[elsewhere])
    runs = {what: start(client, deployment) for what, deployment in cases.items()}
    runs["job variable command "] = start(client, own(client)["id"], job_variables={"command": mark})
    for what, run in runs.items():
        state = ended(client, run)
        assert state["type"] == "CRASHED", what
        assert f"The deployment's {what.strip()}" in state["message"], (what, state["message"])
        assert "is not this project's own, and nothing of it was run" in state["message"]
    assert not (tmp_path / "ran").exists()


def last_beat(client):
    (worker,) = client.post("/work_pools/understudy/workers/filter", json={}).json()
    return datetime.fromisoformat(worker["last_heartbeat_time"])


def test_a_changed_work_pool_runs_nothing(server, client, tmp_path):
    pool = client.get("/work_pools/understudy").json()
    template = copy.deepcopy(pool["base_job_template"])
    template["job_configuration"]["command"] = f"touch {tmp_path / 'ran'}"
    try:
        assert client.patch("/work_pools/understudy", json={"base_job_template": template}).status_code == 204
        changed = datetime.now(UTC)
        until(lambda: last_beat(client) > changed + timedelta(seconds=1))  # with a beat, the worker reads its pool
        state = ended(client, start(client, own(client)["id"], parameters={"domain": "nowhere"}))
    finally:
        client.patch("/work_pools/understudy", json={"base_job_template": pool["base_job_template"]})
    assert state["type"] == "CRASHED"
    assert "The deployment's job variable command" in state["message"]
    assert not (tmp_path / "ran").exists()
