"""A real small model, SmolLM2-135M on llama.cpp's server, plays and judges: requirements that hold for every model, however weak."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections import Counter

import pytest

from blocks.llama_launch import Launch, find_program
from blocks.llama_process import LlamaProcess
from blocks.openai_compatible import OpenAICompatible
from core.errors import ContextError, HubError, NothingMadeError, SettingsError
from core.judging.empty_words import MIN_WORDS
from core.judging.scoring import applicable
from core.judging.text_facts import words
from core.llm.bills import SENT, read_entries
from core.llm.chat import ChatRequest, Message
from core.packs.pack import load_pack
from core.records import Answer, Assessment, Persona, Transcript, TranscriptBatch
from core.rehearsal.guards import find_fault
from core.rehearsal.openings import is_gesture
from core.rehearsal.prompt_leak import Hidden, find_leak
from core.rehearsal.simulator_inputs import brief_inputs
from core.rehearsal.style import REWRITES
from core.settings.faults import Fault
from core.settings.pipeline import load_training
from core.storage.store import Store
from core.training.bases import base_file
from flows.assessment import assessment
from flows.generation import generation
from tests.conftest import CHECKOUT
from tests.recording_proxy import RecordingProxy

PACK, MODEL, CONTEXT = "garden-talk", "openai-compatible/smollm2", 1536
GUARDS = [fault.value for fault in Fault if fault not in (Fault.FORM, Fault.EMPTY, *REWRITES)]
"""The guards without which a message is unusable."""
AT_ONCE = 1
"""Calls that a kill can lose. A single core answers one as fast as two, and then reads only once what they have in common."""


@pytest.fixture(scope="module")
def server():
    """Address and key of a llama-server that serves SmolLM2-135M."""
    try:
        path, _ = asyncio.run(base_file(load_training("smollm2-135m").base))
    except (HubError, SettingsError) as error:  # the tests' pip has no registry
        pytest.skip(f"SmolLM2 is not in the cache (`.ci/run` and `make demo` fetch it): {error}")
    process = LlamaProcess(Launch(path, context=CONTEXT, slots=AT_ONCE, threads=1), find_program())
    yield asyncio.run(process.start())
    process.stop()


@pytest.fixture
def proxy(server, tmp_path, monkeypatch):
    """A proxy between the product and the server, which keeps its own count of tokens."""
    with RecordingProxy(f"{server.address}/v1", tmp_path / "server.jsonl") as found:
        for name, value in (("API_KEY", server.key), ("BASE_URL", found.url)):
            monkeypatch.setenv(f"OPENAI_COMPATIBLE_{name}", value)
        monkeypatch.setenv("UNDERSTUDY_PACKS", str(CHECKOUT / "tests/packs"))
        yield found


def settings(folder, tries):
    """Return the path of settings in which the model plays everybody.

    Args:
        tries: unusable answers allowed for a call; most answers of so small a model are unusable.
    """
    given = {
        "extends": str(CHECKOUT / "config/pipeline.yaml"),
        "roles": {"user_simulator": MODEL, "assistant": MODEL, "judges": [MODEL]},
        "models": {"openai-compatible": {"concurrency": AT_ONCE, "context": CONTEXT, "options": {"temperature": 0.8}, "price": {"input": 0, "output": 0}}},
        "calls": {"unusable_answers": tries},
        "budget": {"usd": 0},
        "generation": {"conversations": 1, "exchanges": [2, 2], "minimum_exchanges": 2, "concurrency": AT_ONCE, "max_tokens": 48, "guards": GUARDS},
        "assessment": {"max_tokens": 80, "judging": {"mode": "criterion", "confirm_gates": "never"}},
    }
    path = folder / f"settings-{tries}.yaml"
    path.write_text(json.dumps(given), encoding="utf-8")
    return str(path)


def wait_for(proxy, process, answers):
    until = time.monotonic() + 240
    while len(proxy.lines()) < answers:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < until, "the model did not answer in time"
        time.sleep(0.05)


async def test_a_weak_model_gives_a_guarded_conversation_sound_verdicts_and_an_exact_bill(proxy, command, tmp_path, data_root):
    play = settings(tmp_path, 30)
    started = command("generate", "--domain", PACK, "--settings", play)
    wait_for(proxy, started, 2)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    rehearsed = await generation(PACK, settings=play)
    with contextlib.suppress(NothingMadeError):  # all its verdicts say nothing
        await assessment(PACK, None, rehearsed, settings=settings(tmp_path, 1))

    store, pack = Store(str(data_root)), load_pack(PACK)
    transcripts = [store.load(item.path, Transcript) for item in store.load(rehearsed, TranscriptBatch).transcripts]
    assert len(transcripts) == 1
    check_guarded(pack, transcripts[0])
    verdicts = [store.load(str(path.relative_to(data_root)), Assessment) for path in data_root.glob("assessments/*/*/*.json")]
    assert len(verdicts) == 1
    check_verdicts(pack, verdicts[0])
    check_bill(store, data_root, proxy, transcripts)


def check_guarded(pack, transcript):
    """Check that a stored conversation contains nothing that a guard forbids."""
    persona, users, answers = Persona.model_validate(transcript.persona), [], []
    hidden = Hidden(
        [pack.prompts[name].text for name in ("user_simulator", "user_steering")], [pack.prompts["user_simulator"].render(**brief_inputs(pack, persona))]
    )
    for exchange in transcript.exchanges:
        assert words(exchange.user) if users else not is_gesture(exchange.user)
        assert find_fault(pack.guards, "user", exchange.user, users, heard=answers) is None
        assert find_leak(exchange.user, hidden, opens=not users) is None
        users.append(exchange.user)
        assert find_fault(pack.guards, "assistant", exchange.assistant, answers, heard=users) is None
        answers.append(exchange.assistant)


def check_verdicts(pack, assessed):
    """Check that every criterion has one verdict: ERROR, or one with reasoning that cites existing exchanges."""
    assert [item.criterion for item in assessed.verdicts] == [item.id for item in applicable(pack.rubric, 2)]
    for verdict in assessed.verdicts:
        if verdict.answer is not Answer.ERROR:
            assert len(set(words(verdict.reasoning))) >= MIN_WORDS
            assert set(verdict.cited) <= {1, 2}
            assert verdict.cited


def check_bill(store, root, proxy, transcripts):
    """Check the ledger against the tokens that the server counted, and that no answer from before the kill was requested again."""
    entries = [entry for folder in root.glob("ledger/*") for entry in read_entries(store, folder.name)]
    answered = {entry["request_id"]: entry for entry in entries if entry["outcome"] != SENT}
    counted = {line["id"]: line for line in proxy.lines()}
    lost = set(counted) - set(answered)
    assert len(lost) <= AT_ONCE
    for name, entry in answered.items():
        assert [entry["input_tokens"], entry["cache_read_tokens"], entry["output_tokens"]] == [counted[name][key] for key in ("input", "cached", "output")]
    assert sum(entry["cache_read_tokens"] for entry in answered.values()) > 0
    kept = sum((Counter({role: spent["calls"] for role, spent in item.provenance["usage"].items()}) for item in transcripts), Counter())
    played = Counter(entry["role"] for entry in answered.values() if entry["role"] != "judge")
    assert (played - kept).total() <= AT_ONCE  # the kill can lose an answer before it is on the disk


async def test_a_prompt_beyond_the_context_window_is_reported_in_one_sentence(proxy):
    model = OpenAICompatible(model="smollm2").get_client()
    with pytest.raises(ContextError) as refused:
        await model.complete(ChatRequest("assistant", "", (Message("user", "The roses have spots. " * 800),), 32, 1, item="long"))
    assert "\n" not in str(refused.value)
