"""A llama-server of one's own: started once, answering side by side, and gone with whoever started it, however that one ends."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from blocks.chat import choose, close_chat_model, load_chat_model
from blocks.llama_server import PROGRAM_VARIABLE, LlamaServer
from core.errors import ConnectError, ContextError, SettingsError, TruncatedError
from core.pack import load_pack
from tests.blocks.conftest import ask
from tests.blocks.test_llama_cpp import SCHEMA, TEMPLATE, write_gguf
from tests.conftest import CHECKOUT

PROGRAM = os.environ.get(PROGRAM_VARIABLE) or shutil.which("llama-server")
needs_program = pytest.mark.skipif(PROGRAM is None, reason=f"no llama-server: deployments/llama_server.sh builds one; set {PROGRAM_VARIABLE} to what it prints")


def random_gguf(path):
    return write_gguf(path, **{"tokenizer.chat_template": TEMPLATE, "llama.context_length": 2048})


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    return random_gguf(tmp_path_factory.mktemp("gguf") / "random.gguf")


@pytest.fixture
async def model(gguf):
    made = LlamaServer(model_path=gguf, context=256, slots=2, temperature=0, threads=1).get_client()
    yield made
    await made.aclose()


def servers(word):
    """Processes that play a file; the tether's own command names it too."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if any(word in part for part in words) and "tethered" not in " ".join(words[:4]) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return [process for process in found if "llama-server" in (process.info["cmdline"] or [""])[0]]


async def gone(word, seconds=8.0):
    until = time.monotonic() + seconds
    while (left := servers(word)) and time.monotonic() < until:
        await asyncio.sleep(0.1)
    return not left


@needs_program
async def test_it_answers_counts_and_keeps_to_its_room(model):
    reply = await model.complete(ask("Hello.", max_tokens=8))
    assert reply.finish == "length"
    assert reply.usage.output_tokens == 8
    assert reply.usage.input_tokens > 0
    again = await model.complete(ask("Hello.", max_tokens=8))
    assert again.text == reply.text
    assert model.reference == "llama-server/random.gguf"


@needs_program
async def test_a_structured_answer_has_its_form(gguf):
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
async def test_many_first_calls_start_one_server_that_listens_here_alone_with_a_key_that_nobody_sees(model, gguf):
    replies = await asyncio.gather(*[model.complete(ask(f"Hello {number}.", max_tokens=4)) for number in range(8)])
    assert len(replies) == 8
    (server,) = servers(str(gguf))
    assert {connection.laddr.ip for connection in server.net_connections() if connection.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    key = server.environ()["LLAMA_API_KEY"]
    assert not any(key in part for process in (server, server.parent()) if process for part in process.cmdline())


@needs_program
async def test_it_is_gone_when_it_is_closed_and_comes_back_when_it_is_asked(model, gguf):
    await model.complete(ask("Hello.", max_tokens=2))
    await model.aclose()
    assert await gone(str(gguf))
    assert (await model.complete(ask("Hello.", max_tokens=2))).usage.output_tokens
    await model.aclose()
    await model.aclose()


@needs_program
async def test_a_server_that_dies_costs_the_call_and_the_next_one_has_a_new_one(model, gguf):
    await model.complete(ask("Hello.", max_tokens=2))
    (server,) = servers(str(gguf))
    server.kill()
    # whether the death is noticed before the call or by it is a matter of milliseconds
    with contextlib.suppress(ConnectError):
        await model.complete(ask("Hello.", max_tokens=2))
    assert ConnectError("").retryable
    reply = await model.complete(ask("Hello.", max_tokens=2))
    assert reply.usage.output_tokens == 2


@needs_program
async def test_too_long_a_conversation_says_what_to_raise(model):
    with pytest.raises(ContextError, match=r"models\.llama-server\.options\.context"):
        await model.complete(ask("word " * 400, max_tokens=8))


@needs_program
async def test_a_damaged_file_is_told_within_seconds(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 100)
    began = time.monotonic()
    with pytest.raises(SettingsError, match=r"cannot load .*broken\.gguf: .*error loading model"):
        await LlamaServer(model_path=broken).get_client().complete(ask("Hello."))
    assert time.monotonic() - began < 60
    assert await gone(str(broken))


@needs_program
async def test_of_two_models_the_first_is_let_go_for_the_second(tmp_path, monkeypatch):
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
from tests.blocks.conftest import ask

async def main():
    model = LlamaServer(model_path=Path(sys.argv[1]), context=256, slots=1).get_client()
    await model.complete(ask("Hello.", max_tokens=2))
    print("ready", flush=True)
    if sys.argv[2] == "raise":
        raise RuntimeError("on purpose")
    await asyncio.sleep(600)

asyncio.run(main())
"""


@needs_program
@pytest.mark.parametrize("end", ["kill", "terminate", "raise"])
async def test_however_its_caller_ends_the_server_ends_too(tmp_path, end):
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


def test_without_the_program_it_says_how_to_get_one(gguf, monkeypatch):
    monkeypatch.setenv(PROGRAM_VARIABLE, "/nowhere/llama-server")
    with pytest.raises(SettingsError, match=r"deployments/llama_server\.sh"):
        LlamaServer(model_path=gguf).get_client()


def test_a_file_that_is_no_gguf_is_refused_at_once(tmp_path):
    with pytest.raises(SettingsError, match="does not exist"):
        LlamaServer(model_path=tmp_path / "none.gguf").get_client()
    (tmp_path / "text.gguf").write_text("hello", encoding="utf-8")
    with pytest.raises(SettingsError, match="not a GGUF"):
        LlamaServer(model_path=Path(tmp_path / "text.gguf")).get_client()
