"""A proxy that echoes requests puts the key into its answers; no file or output of a run contains it."""

import base64
import html
import importlib
import json
import os
import pickle
import pkgutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import httpx2
import openai
import pytest
import yaml
from prefect import Flow, Task, flow, get_client, task
from prefect.client.schemas.filters import FlowFilter
from prefect.settings import get_current_settings

import flows
import tasks
from core.settings.pipeline import load_settings
from tasks.policy import guarded
from tests.conftest import CHECKOUT
from tests.flows.conftest import write_settings
from tests.flows.secured import new_home

KEY = "Zq9/unshaped+value=of-a-key:77"
ECHOES = (
    lambda sent: sent,
    lambda sent: quote(sent, safe=""),
    lambda sent: base64.b64encode(sent.encode()).decode(),
    lambda sent: json.dumps({"error": {"message": "Bad header", "headers": {"authorization": sent}}}),
    lambda sent: json.dumps({"error": {"message": json.dumps({"authorization": sent})}}),
    lambda sent: f"<html><body><pre>authorization: {html.escape(sent)}</pre></body></html>",
    lambda sent: "x" * 280 + sent,
    lambda sent: sent.encode().hex(),
    lambda sent: repr([(b"authorization", sent.encode())]),
)


class Proxy(BaseHTTPRequestHandler):
    """Answers with the header that it got, in another shape each time: the first `answered` requests as a model does, later ones with errors."""

    answered = 0
    statuses = (400,)
    asked = 0

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        sent = self.headers["authorization"]
        assert KEY in sent
        Proxy.asked += 1
        echo = ECHOES[Proxy.asked % len(ECHOES)](sent)
        status = 200 if Proxy.asked <= Proxy.answered else Proxy.statuses[Proxy.asked % len(Proxy.statuses)]
        self.send_response(status, echo if status == 400 else None)
        if status == 302:
            self.send_header("Location", f"/elsewhere?{quote(sent)}")
        if status == 200:
            message = {"role": "assistant", "content": f"You sent {echo}. I hear that the day was long and that sleep does not come easily."}
            usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
            choices = [{"index": 0, "finish_reason": "stop", "message": message}]
            echo = json.dumps({"id": sent, "object": "chat.completion", "created": 1, "model": sent, "choices": choices, "usage": usage})
            self.send_header("Content-Type", "application/json")
        body = echo.encode()
        self.send_header("x-request-id", quote(sent))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815

    def log_message(self, *_):  # ty: ignore[incompatible-method-override]
        pass


@pytest.fixture
def proxy():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def traces_of(key):
    """What the key looks like in bytes: as it is, its halves, and in each encoding at each alignment."""
    raw = key.encode()
    found = {
        raw,
        raw[: len(raw) // 2],
        raw[-(len(raw) // 2) :],
        raw.hex().encode(),
        quote(key, safe="").encode(),
        quote(key).encode(),
        html.escape(key).encode(),
    }
    found |= {json.dumps(key)[1:-1].encode()}
    for shift in range(3):
        found.add(base64.b64encode(b"\0" * shift + raw)[4:-4])
    return found


def left_behind(*folders):
    """Every byte below the folders."""
    return {path: path.read_bytes() for folder in folders for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize(("answered", "statuses"), [(2 * len(ECHOES), (400, 302, 400, 500)), (0, (401,))], ids=["answers, then failures", "a refused key"])
def test_no_file_or_output_of_a_run_contains_the_key(proxy, tmp_path, forked, answered, statuses):
    Proxy.answered, Proxy.statuses, Proxy.asked = answered, statuses, 0
    settings = yaml.safe_load(
        Path(write_settings(tmp_path, generation={"conversations": 18, "exchanges": [2, 2], "minimum_exchanges": 2, "concurrency": 9})).read_text(
            encoding="utf-8"
        )
    )
    settings["roles"] |= {"user_simulator": "scripted/user", "assistant": "openai-compatible/echo"}
    settings["models"] = {"openai-compatible": {"options": {"base_url": proxy}, "price": {"input": 1, "output": 1}}}
    settings["budget"] = {"usd": None, "tokens": 10_000_000}
    settings["calls"] = load_settings().calls.model_dump(mode="json") | {"attempts": 2, "first_backoff_seconds": 0.01, "longest_backoff_seconds": 0.01}
    settings["calls"] |= {"total_seconds": 5}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    home, data = new_home(tmp_path / "prefect"), tmp_path / "data"
    env = {name: value for name, value in os.environ.items() if name not in ("PREFECT_API_URL", "PREFECT_LOGGING_LEVEL")}
    env |= {"PREFECT_HOME": str(home), "UNDERSTUDY_DATA": str(data), "OPENAI_COMPATIBLE_API_KEY": KEY, "PREFECT_LOGGING_LEVEL": "DEBUG"}
    words = [sys.executable, "-m", "flows.terminal", "generate", f"--settings={tmp_path / 'settings.yaml'}"]
    done = subprocess.run(words, cwd=CHECKOUT, env=env, capture_output=True, timeout=300, check=False)
    output = done.stdout + done.stderr
    assert Proxy.asked > answered, output
    assert b"[redacted]" in b"".join([output, *left_behind(data).values()]), output.decode()
    assert not answered or b"[redacted]" in b"".join(left_behind(data / "transcripts").values()), output.decode()
    for path, content in {**left_behind(home, data), "the terminal": output}.items():
        for trace in traces_of(KEY):
            assert trace not in content, (path, trace)
    assert any(path.suffix == ".db" for path in left_behind(home))
    assert b"DEBUG" in b"".join([output, *left_behind(home, data).values()])


@guarded
@task(persist_result=True, retries=1)
async def ask() -> None:
    request = httpx2.Request("POST", "https://api.example/v1", headers={"Authorization": f"Bearer {KEY}"})
    try:
        raise ValueError({"authorization": KEY})
    except ValueError as cause:
        raise openai.AuthenticationError("No.", response=httpx2.Response(401, request=request), body={"sent": KEY}) from cause


@guarded
@flow(name="asks")
async def asks() -> None:
    await ask()


async def test_an_sdk_error_is_stored_without_its_key(monkeypatch, caplog):
    monkeypatch.setenv("OPENAI_COMPATIBLE_API_KEY", KEY)
    with pytest.raises(Exception, match="AuthenticationError: No") as caught:
        await asks()
    async with get_client() as client:
        (stored,) = await client.read_flow_runs(flow_filter=FlowFilter.model_validate({"name": {"any_": ["asks"]}}))
    state = stored.model_dump_json()
    assert "AuthenticationError: No." in state
    results = left_behind(get_current_settings().results.local_storage_path)
    for trace in traces_of(KEY):
        for kept in (state.encode(), pickle.dumps(caught.value), caplog.text.encode(), *results.values()):
            assert trace not in kept


def test_every_flow_and_task_removes_keys_from_its_errors():
    modules = [importlib.import_module(module.name) for package in (flows, tasks) for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")]
    found = {run.name: run for module in modules for run in vars(module).values() if isinstance(run, Flow | Task)}
    assert {"pipeline", "generation", "assess", "train"} <= found.keys()
    assert [name for name, run in found.items() if run.fn.__code__.co_name != "clean"] == []
