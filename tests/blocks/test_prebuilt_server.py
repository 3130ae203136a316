"""The server of the prebuilt llama.cpp takes llama-server's flags and ends cleanly."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

import blocks.prebuilt_server
from blocks.llama_runtime import RECORD, read_runtime
from core.errors import SettingsError
from tests.blocks.gguf import TEMPLATE, write_gguf

pytest.importorskip("xllamacpp", reason="llama.cpp is not installed; run `make setup`")

PAGE = {"systemMessage": "Be a coach."}


def start(path: Path, port: int, *words: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-I", blocks.prebuilt_server.__file__, "--model", str(path), "--port", str(port), "--threads", "1", *words]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment})


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("gguf") / "random.gguf", **{"tokenizer.chat_template": TEMPLATE})


@pytest.fixture
def port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def serving(path: Path, port: int, *words: str, prefix: str = "", **environment: str) -> Generator[subprocess.Popen[str]]:
    process = start(path, port, "--api-prefix", prefix, *words, **environment)
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                if get(port, f"{prefix}/health").status == 200:
                    break
            time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.communicate()


def get(port, path, **headers):
    return urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers), timeout=20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_prebuilt_server_ends_cleanly_on_a_signal(gguf, port, number):
    with serving(gguf, port) as process:
        process.send_signal(number)
        assert process.wait(20) == 0


def test_a_file_that_cannot_be_loaded_ends_the_server_with_the_reason(tmp_path, port):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 100)
    process = start(broken, port)
    said = process.communicate(timeout=240)[1]
    assert process.returncode == 1
    assert "error loading model" in said
    assert "Traceback" not in said


def test_server_settings_that_are_not_json_are_refused(gguf, port):
    process = start(gguf, port, "--ui-config", "{no")
    assert "--ui-config is not JSON" in process.communicate(timeout=240)[1]
    assert process.returncode == 2


def test_the_prebuilt_server_listens_on_loopback_only_and_refuses_other_origins(gguf, port):
    with serving(gguf, port, LLAMA_API_KEY="secret") as process:
        listening = [connection.laddr.ip for connection in psutil.Process(process.pid).net_connections() if connection.status == psutil.CONN_LISTEN]
        assert listening == ["127.0.0.1"]
        with pytest.raises(urllib.error.HTTPError, match="401"):
            get(port, "/v1/models")
        answer = get(port, "/v1/models", Authorization="Bearer secret", Origin="https://elsewhere.example")
        assert answer.headers["Access-Control-Allow-Origin"] == f"http://127.0.0.1:{port}"


@pytest.mark.slow
def test_the_servers_page_has_the_system_prompt_and_slots_share_the_context(gguf, port):
    with serving(gguf, port, "--alias", "coach", "--ctx-size", "512", "--parallel", "2", "--ui-config", json.dumps(PAGE), prefix="/hidden"):
        assert json.load(get(port, "/hidden/props"))["ui_settings"] == PAGE
        assert [slot["n_ctx"] for slot in json.load(get(port, "/hidden/slots"))] == [256, 256]
        assert json.load(get(port, "/hidden/v1/models"))["data"][0]["id"] == "coach"
        page = get(port, "/hidden/", **{"Accept-Encoding": "gzip"})
        assert page.headers["Content-Type"].startswith("text/html")


def test_the_program_recorded_by_the_installation_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    found = read_runtime()
    assert found
    assert found.kind == "prebuilt"
    assert found.server[-1] == blocks.prebuilt_server.__file__
    library, server = tmp_path / "libllama.so", tmp_path / "llama-server"
    library.touch()
    server.touch()
    (tmp_path / RECORD).write_text(json.dumps({"kind": "portable", "library": str(library), "server": [str(server)], "proof": "x"}), encoding="utf-8")
    found = read_runtime()
    assert found
    assert (found.kind, found.library, found.server) == ("portable", library, [str(server)])
    server.unlink()
    with pytest.raises(SettingsError, match=r" names .* and one of them does not exist\. Run `make setup`\."):
        read_runtime()
    (tmp_path / RECORD).write_text("{}", encoding="utf-8")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_runtime()
