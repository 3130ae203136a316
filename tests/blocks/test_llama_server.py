"""A private llama-server is started once, answers concurrently and ends with the process that started it."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from blocks.chat import choose, close_chat_model, load_chat_model
from blocks.llama_launch import PROGRAM_VARIABLE
from blocks.llama_runtime import read_runtime
from blocks.llama_server import LlamaServer
from core.errors import ContextError, ProviderError, SettingsError, TruncatedError, UnavailableError
from core.machine.deaths import PORTABLE
from core.packs.pack import load_pack
from tests.blocks.conftest import ask
from tests.blocks.gguf import SCHEMA, TEMPLATE, write_gguf
from tests.conftest import CHECKOUT

needs_program = pytest.mark.skipif(
    not (os.environ.get(PROGRAM_VARIABLE) or read_runtime() or shutil.which("llama-server")),
    reason=f"no llama.cpp is installed; run `make setup`, or set {PROGRAM_VARIABLE} to the path of a llama-server",
)


def random_gguf(path):
    return write_gguf(path, **{"tokenizer.chat_template": TEMPLATE, "llama.context_length": 2048})


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    return random_gguf(tmp_path_factory.mktemp("gguf") / "random.gguf")


@pytest.fixture
async def model(gguf):
    client = LlamaServer(model_path=gguf, context=256, slots=2, temperature=0, threads=1).get_client()
    yield client
    await client.aclose()


def servers(word):
    """Processes that serve a file, including the tether, whose command names it too."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if any(word in part for part in words) and "tethered" not in " ".join(words[:4]) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    programs = ("llama-server", "prebuilt_server.py")  # it may be a script
    return [process for process in found if any(program in " ".join(process.info["cmdline"][:3]) for program in programs)]


async def gone(word, seconds=8.0):
    until = time.monotonic() + seconds
    while (left := servers(word)) and time.monotonic() < until:
        await asyncio.sleep(0.1)
    return not left


@needs_program
async def test_an_answer_is_repeatable_has_its_tokens_counted_and_ends_at_the_limit(model):
    reply = await model.complete(ask("Hello.", max_tokens=8))
    assert reply.finish == "length"
    assert reply.usage.output_tokens == 8
    assert reply.usage.input_tokens > 0
    again = await model.complete(ask("Hello.", max_tokens=8))
    assert again.text == reply.text
    assert model.reference == "llama-server/random.gguf"


@needs_program
async def test_a_structured_answer_matches_its_schema(gguf):
    model = LlamaServer(model_path=gguf, context=2048, slots=1, temperature=1).get_client()
    try:
        replies = [await model.complete(ask("Judge.", schema=SCHEMA, max_tokens=200, seed=seed)) for seed in range(6)]
        with contextlib.suppress(TruncatedError):
            assert (await model.complete(ask("Judge.", schema=SCHEMA, max_tokens=3))).finish == "length"
    finally:
        await model.aclose()
    answers = [json.loads(reply.text) for reply in replies]
    assert all(reply.finish == "stop" for reply in replies)
    assert all(answer["answer"] in ("YES", "NO", "NA") and isinstance(answer["done"], bool) for answer in answers)


@needs_program
async def test_concurrent_first_calls_start_one_local_server_with_a_hidden_key(model, gguf):
    replies = await asyncio.gather(*[model.complete(ask(f"Hello {number}.", max_tokens=4)) for number in range(8)])
    assert len(replies) == 8
    (server,) = servers(str(gguf))
    assert {connection.laddr.ip for connection in server.net_connections() if connection.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    key = server.environ()["LLAMA_API_KEY"]
    assert not any(key in part for process in (server, server.parent()) if process for part in process.cmdline())


@needs_program
async def test_closing_the_model_stops_the_server_and_the_next_call_starts_it_again(model, gguf):
    await model.complete(ask("Hello.", max_tokens=2))
    await model.aclose()
    assert await gone(str(gguf))
    assert (await model.complete(ask("Hello.", max_tokens=2))).usage.output_tokens
    await model.aclose()
    await model.aclose()


@needs_program
async def test_a_killed_server_fails_at_most_one_call_and_is_restarted_for_the_next(model, gguf):
    await model.complete(ask("Hello.", max_tokens=2))
    (server,) = servers(str(gguf))
    server.kill()
    # whether the death is noticed before the call or by it is a matter of milliseconds
    with contextlib.suppress(ProviderError):
        await model.complete(ask("Hello.", max_tokens=2))
    reply = await model.complete(ask("Hello.", max_tokens=2))
    assert reply.usage.output_tokens == 2


@needs_program
async def test_the_error_for_a_too_long_conversation_names_the_setting_to_raise(model):
    with pytest.raises(ContextError, match=r"models\.llama-server\.options\.context"):
        await model.complete(ask("word " * 400, max_tokens=8))


@needs_program
async def test_a_damaged_file_is_reported_as_soon_as_the_server_has_ended(tmp_path):
    """The reason is the file and not the start timeout, which is infinite here."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 100)
    with pytest.raises(SettingsError, match=r"cannot load .*broken\.gguf: .*error loading model"):
        await LlamaServer(model_path=broken, startup_seconds=86_400).get_client().complete(ask("Hello."))
    assert await gone(str(broken))


@needs_program
async def test_the_server_of_the_first_model_is_stopped_before_the_second_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_DATA", str(tmp_path))
    pack = load_pack("therapeutic-coaching", CHECKOUT)
    first, second = (choose(f"llama-server/{random_gguf(tmp_path / name).name}", {"context": 256, "slots": 1}) for name in ("one.gguf", "two.gguf"))
    await (await load_chat_model(first, pack)).complete(ask("Hello.", max_tokens=2))
    await close_chat_model(first)
    await (await load_chat_model(second, pack)).complete(ask("Hello.", max_tokens=2))
    assert not servers(str(tmp_path / "one.gguf"))
    assert len(servers(str(tmp_path / "two.gguf"))) == 1
    await close_chat_model(second)
    assert await gone(str(tmp_path))


SCRIPT = """
import asyncio, sys
from pathlib import Path
from blocks.llama_server import LlamaServer
from core.llm.chat import ChatRequest, Message

async def main():
    model = LlamaServer(model_path=Path(sys.argv[1]), context=256, slots=1).get_client()
    await model.complete(ChatRequest(role="assistant", system="", messages=(Message("user", "Hello."),), max_tokens=2, seed=7))
    print("ready", flush=True)
    if sys.argv[2] == "raise":
        raise RuntimeError("on purpose")
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.slow
@needs_program
@pytest.mark.parametrize("end", ["kill", "terminate", "raise"])
async def test_the_server_ends_whenever_its_caller_ends(tmp_path, end):
    gguf = random_gguf(tmp_path / f"{end}.gguf")
    caller = subprocess.Popen([sys.executable, "-c", SCRIPT, str(gguf), end], cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert caller.stdout
    assert caller.stdout.readline() == "ready\n"
    if end != "raise":
        assert len(servers(str(gguf))) == 1
        caller.send_signal(signal.SIGKILL if end == "kill" else signal.SIGTERM)
    caller.wait(timeout=30)
    caller.stdout.close()
    assert await gone(str(gguf))


MORTAL = """#!{python}
import json, os, signal, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

def die(name):
    print("llama_decode: about to fail", flush=True)
    os.kill(os.getpid(), getattr(signal, name))
    signal.pause()

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer({{"status": "ok"}})

    def do_POST(self):
        text = self.rfile.read(int(self.headers["content-length"])).decode()
        for name in ("SIGSEGV", "SIGILL", "SIGKILL", "SIGABRT"):
            if name in text:
                die(name)
        message = {{"role": "assistant", "content": "Yes."}}
        choice = {{"index": 0, "message": message, "finish_reason": "stop"}}
        usage = {{"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}
        self.answer({{"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}})

    def answer(self, value):
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words):
        pass

print("loading the model", flush=True)
with open(os.environ["STARTS"], "a") as starts:
    starts.write(f"{{os.getpid()}}\\n")
if "DIES_AT_START" in os.environ:
    die(os.environ["DIES_AT_START"])
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""
"""Speaks as llama-server does, and dies when a request names a signal."""
DEADLY = ["SIGSEGV", "SIGILL", "SIGKILL", "SIGABRT"]


class Mortal:
    """A model whose server dies on request.

    Args:
        probe: Python that is run in place of the test of llama.cpp; each run leaves a line in `probes`.
    """

    def __init__(self, folder, gguf, monkeypatch, probe):
        program = folder / "mortal-llama-server"
        program.write_text(MORTAL.format(python=sys.executable), encoding="utf-8")
        program.chmod(0o755)
        self.starts, self.probes = folder / "starts", folder / "probes"
        monkeypatch.setenv("STARTS", str(self.starts))
        reported = f"open({str(self.probes)!r}, 'a').write('probed\\n'); {probe}"
        monkeypatch.setattr("blocks.llama_process.LLAMA_PROBE", (sys.executable, "-c", reported))
        self.model = LlamaServer(model_path=gguf, program=str(program)).get_client()

    async def ask(self, *texts):
        """Send all requests concurrently; return replies and errors."""
        return await asyncio.gather(*[self.model.complete(ask(text)) for text in texts], return_exceptions=True)

    def pids(self):
        return [int(line) for line in self.starts.read_text(encoding="utf-8").split()]

    def probed(self):
        return len(self.probes.read_text(encoding="utf-8").splitlines()) if self.probes.exists() else 0


@pytest.fixture
async def mortal(tmp_path, gguf, monkeypatch):
    mortal_model = Mortal(tmp_path, gguf, monkeypatch, "pass")
    yield mortal_model
    await mortal_model.model.aclose()


@pytest.mark.parametrize("name", DEADLY)
async def test_a_crash_at_the_servers_start_is_reported_with_signal_and_last_lines(mortal, monkeypatch, name):
    monkeypatch.setenv("DIES_AT_START", name)
    (error,) = await mortal.ask("Hello.")
    assert type(error) is SettingsError
    assert re.search(rf"llama-server/random\.gguf \(.*mortal-llama-server\) died of {name} \(.*\) while it loaded .*random\.gguf\.", str(error))
    assert "loading the model | llama_decode: about to fail" in str(error)
    assert "printed nothing" not in str(error)
    assert "Convert it again, or check" not in str(error)


@pytest.mark.slow
@pytest.mark.parametrize("name", DEADLY)
async def test_a_crash_during_a_request_is_reported_with_the_signal_and_not_as_a_network_error(mortal, name):
    (error,) = await mortal.ask(f"Die of {name}.")
    assert type(error) is ProviderError
    assert error.retryable
    assert re.search(rf"died of {name} \(.*\) in a request\..*Its last lines were: .*llama_decode: about to fail", str(error))
    assert "network" not in str(error)
    assert ("It used up to" in str(error)) == (name in ("SIGKILL", "SIGABRT"))
    (reply,) = await mortal.ask("Hello.")
    assert reply.text == "Yes."
    assert len(mortal.pids()) == 2


async def test_two_crashes_in_a_row_end_the_run_and_the_probe_runs_once(mortal):
    errors = [(await mortal.ask(f"Die of SIGSEGV, {number}."))[0] for number in range(2)]
    assert [type(error) for error in errors] == [ProviderError, UnavailableError]
    assert all("the likely cause is the model, too little memory" in str(error) for error in errors)
    assert "twice in a row and is not restarted" in str(errors[1])
    assert (len(mortal.pids()), mortal.probed()) == (2, 1)


async def test_crashes_with_an_answer_or_another_signal_between_them_do_not_end_the_run(mortal):
    outcomes = [(await mortal.ask(text))[0] for text in ("Die of SIGSEGV.", "Hello.", "Die of SIGSEGV.", "Die of SIGILL.")]
    assert [type(outcome).__name__ for outcome in outcomes] == ["ProviderError", "Reply", "ProviderError", "ProviderError"]


async def test_all_requests_that_a_crash_interrupts_get_the_same_error(mortal):
    errors = await mortal.ask(*[f"Die of SIGKILL, {number}." for number in range(4)])
    assert {type(error) for error in errors} == {ProviderError}
    assert len({str(error) for error in errors}) == 1
    assert len(mortal.pids()) == 1


async def test_a_crash_between_two_requests_is_logged_and_the_server_restarted(mortal, caplog):
    await mortal.ask("Hello.")
    tether = psutil.Process(mortal.pids()[0]).parent()
    assert tether
    os.kill(mortal.pids()[0], signal.SIGSEGV)
    until = time.monotonic() + 60
    while tether.status() != psutil.STATUS_ZOMBIE and time.monotonic() < until:
        await asyncio.sleep(0.02)
    (reply,) = await mortal.ask("Hello.")
    assert reply.text == "Yes."
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "blocks.llama_process"]
    assert re.search(r"died of SIGSEGV \(.*\) between two requests\..*Its last lines were: loading the model\. It is started again\.", warning)


async def test_stopping_the_server_is_not_logged_as_a_crash(mortal, caplog):
    await mortal.ask("Hello.")
    await mortal.model.aclose()
    assert not [record for record in caplog.records if record.name == "blocks.llama_process"]


async def test_a_build_that_does_not_fit_the_processor_is_reported(tmp_path, gguf, monkeypatch):
    mortal = Mortal(tmp_path, gguf, monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    try:
        (error,) = await mortal.ask("Die of SIGILL.")
    finally:
        await mortal.model.aclose()
    assert re.search(r"A test of llama\.cpp with a tiny model died of SIGILL \(.*\) too: the installed build does not fit this CPU\.", str(error))
    assert PORTABLE in str(error)


def test_the_error_for_a_missing_program_says_how_to_install_it(gguf, monkeypatch):
    monkeypatch.setenv(PROGRAM_VARIABLE, "/nowhere/llama-server")
    with pytest.raises(SettingsError, match=r"'/nowhere/llama-server' does not exist.*make setup"):
        LlamaServer(model_path=gguf).get_client()


def test_a_file_that_is_not_gguf_is_refused_at_once(tmp_path):
    with pytest.raises(SettingsError, match="does not exist"):
        LlamaServer(model_path=tmp_path / "none.gguf").get_client()
    (tmp_path / "text.gguf").write_text("hello", encoding="utf-8")
    with pytest.raises(SettingsError, match="not a GGUF"):
        LlamaServer(model_path=Path(tmp_path / "text.gguf")).get_client()
