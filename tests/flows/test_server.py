"""The server of `make ui` answers only requests with its password that come from its own pages, and its worker runs only this project's flows."""

import copy
import json
import os
import stat
import subprocess
import sys
from datetime import datetime

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
        deployed = subprocess.run(
            [sys.executable, "deployments/setup.py", "deploy"], cwd=CHECKOUT, env=running.env, capture_output=True, text=True, timeout=300, check=False
        )
        assert deployed.returncode == 0, deployed.stderr
        running.start("worker", "deployments/worker.py", "tests")
        yield running


@pytest.fixture(scope="module")
def client(server):
    with server.client() as client:
        yield client


# --- which requests are answered ------------------------------------------------------------------------------------


@pytest.mark.parametrize("password", [None, ("understudy", "wrong"), ("understudy", "")])
def test_nothing_is_reported_or_changed_without_the_password(server, password):
    with httpx.Client(base_url=f"{server.url}/api", auth=password, verify=False) as stranger:
        for path in ("/block_documents/filter", "/deployments/filter", "/flow_runs/filter", "/variables/filter", "/admin/settings", "/version"):
            assert stranger.get(path).status_code in (401, 403), path
            assert stranger.post(path, json={}).status_code in (401, 403), path
        assert stranger.get("/csrf-token", params={"client": "x"}).status_code == 401


@pytest.mark.parametrize("path", ["events/in", "events/out", "logs/out", "task_runs/subscriptions/scheduled", "work_pools/understudy/workers/connect"])
@pytest.mark.parametrize("protocol", [None, "prefect"])
def test_no_websocket_answers_without_the_password(server, path, protocol):
    def listen():
        with connect(f"{server.url.replace('http', 'ws')}/api/{path}", subprotocols=[protocol] if protocol else None, open_timeout=120) as socket:
            socket.send(json.dumps({"type": "auth", "token": "wrong"}))
            for _ in range(3):
                socket.recv(timeout=120)

    with pytest.raises((WebSocketException, OSError)):
        listen()


def test_a_page_of_another_origin_may_not_read_answers(server, client):
    asked = {"Origin": "http://127.0.0.1:1", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    refused = httpx.options(f"{server.url}/api/flow_runs/filter", headers=asked, verify=False)
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers
    read = client.get("/admin/settings", headers={"Origin": "https://somewhere.example"})
    assert "access-control-allow-origin" not in read.headers
    own_origin = asked | {"Origin": server.url.replace("127.0.0.1", "localhost")}
    own = httpx.options(f"{server.url}/api/flow_runs/filter", headers=own_origin, verify=False)
    assert own.status_code == 200


def test_a_change_needs_a_token_of_the_server_and_the_password(server):
    with httpx.Client(base_url=f"{server.url}/api", auth=server.auth, verify=False) as forged:
        assert forged.post("/flow_runs/filter", json={}).status_code == 403


@pytest.mark.parametrize("host", ["attacker.example", "attacker.example:4200", "127.0.0.1.attacker.example", ""])
def test_a_request_for_a_foreign_host_name_is_refused(server, client, host):
    for path in ("", "/ui-settings", "/api/health", "/api/admin/settings"):
        answer = client.get(f"{server.url}{path}", headers={"Host": host})
        assert answer.status_code == 400, path


def test_pages_may_contact_only_this_server(server):
    page = httpx.get(f"{server.url}/v2/", verify=False)
    policy = dict(part.strip().partition(" ")[::2] for part in page.headers["content-security-policy"].split(";"))
    assert policy["frame-ancestors"] == "'none'"
    assert all("127.0.0.1" in source or "localhost" in source or source == "'self'" for source in policy["connect-src"].split())
    assert policy["default-src"].split()[0] == "'self'"
    assert "http:" not in policy["default-src"]


def test_the_server_does_not_start_without_a_password(tmp_path):
    env = {name: value for name, value in os.environ.items() if not name.endswith("AUTH_STRING")} | {"PREFECT_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "deployments/server.py"], cwd=CHECKOUT, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: no password.")


# --- where the password is stored -----------------------------------------------------------------------------------


def test_the_password_is_created_once_and_only_its_owner_may_read_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    old = os.umask(0)
    try:
        first, is_new = server_access.kept_password()
    finally:
        os.umask(old)
    path = tmp_path / "home" / server_access.PASSWORD_FILE
    assert is_new
    assert len(first) > 30
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)
    path.chmod(0o644)
    path.parent.chmod(0o755)
    assert server_access.kept_password() == (first, False)
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)
    path.write_text("", encoding="utf-8")
    assert server_access.kept_password()[1]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_prefect_home_that_cannot_be_created_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(ServerError, match=r"file.*Set PREFECT_HOME to a folder that you own"):
        server_access.home()


@pytest.mark.parametrize(
    ("url", "is_here"), [("http://127.0.0.1:4200/api", True), ("http://localhost:9/api", True), ("https://prefect.example/api", False), ("", False)]
)
def test_the_stored_password_is_sent_only_to_a_server_on_this_machine(tmp_path, monkeypatch, url, is_here):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    password, _ = server_access.kept_password()
    monkeypatch.setenv("PREFECT_API_URL", url)
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "")
    server_access.use_kept_password()
    assert os.environ["PREFECT_API_AUTH_STRING"] == (password if is_here else "")


# --- what the worker runs -------------------------------------------------------------------------------------------


def ended(client, run):
    def look():
        state = client.get(f"/flow_runs/{run}").json()["state"]
        return state if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

    return until(look, 120)


def own(client, name="generation"):
    return client.get(f"/deployments/name/{name}/{name}").json()


def foreign(client, name, **changes):
    """Create a deployment that differs from our own in a name and some fields; return its id."""
    ours = own(client)
    wanted = {key: ours[key] for key in ("flow_id", "entrypoint", "pull_steps", "work_pool_name", "parameter_openapi_schema", "path")}

    def try_it():
        created = client.post("/deployments/", json=wanted | {"name": name} | changes)
        if created.status_code == 503:
            return None
        assert created.status_code in (200, 201), created.text
        return created.json()["id"]

    return until(try_it)


def start(client, deployment, **given):
    def try_it():
        created = client.post(f"/deployments/{deployment}/create_flow_run", json=given)
        if created.status_code == 503:  # SQLite is locked; Prefect's own client retries too
            return None
        assert created.status_code in (200, 201), created.text
        return created.json()["id"]

    return until(try_it)


def test_a_deployment_of_this_project_runs_under_any_name(server, client, tmp_path):
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
def test_a_key_typed_into_a_form_is_refused_and_never_stored(server, client, name, value):
    wanted = own(client, "evaluation" if name == "arms" else "generation")["id"]
    refused = client.post(f"/deployments/{wanted}/create_flow_run", json={"parameters": {name: value}})
    assert refused.status_code == 409, refused.text
    typed = (value["a"] if isinstance(value, dict) else value).encode()
    assert not any(typed in path.read_bytes() for path in server.root.rglob("*") if path.is_file())


def test_code_that_is_not_this_projects_own_is_not_run(server, client, tmp_path):
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


def last_heartbeat(client):
    (worker,) = client.post("/work_pools/understudy/workers/filter", json={}).json()
    return datetime.fromisoformat(worker["last_heartbeat_time"])


def test_the_command_of_a_changed_work_pool_is_not_run(server, client, tmp_path):
    pool = client.get("/work_pools/understudy").json()
    template = copy.deepcopy(pool["base_job_template"])
    template["job_configuration"]["command"] = f"touch {tmp_path / 'ran'}"
    try:
        assert client.patch("/work_pools/understudy", json={"base_job_template": template}).status_code == 204
        for _ in range(2):  # the worker reads its pool before each heartbeat, so the first may follow a reading from before the change
            before = last_heartbeat(client)
            until(lambda before=before: last_heartbeat(client) > before)
        state = ended(client, start(client, own(client)["id"], parameters={"domain": "nowhere"}))
    finally:
        client.patch("/work_pools/understudy", json={"base_job_template": pool["base_job_template"]})
    assert state["type"] == "CRASHED"
    assert "The deployment's job variable command" in state["message"]
    assert not (tmp_path / "ran").exists()
