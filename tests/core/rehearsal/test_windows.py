"""A model's context fits its conversations; too little memory reduces slots before length, and cuts are reported."""

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.llm.ledger import Ledger
from core.llm.run import Run
from core.llm.window import STEP, USUAL, Window, fit_window
from core.machine.gguf import MAX_HEAD, GgufHead, read_gguf_head
from core.packs.pack import load_pack
from core.records import ModelChoice
from core.rehearsal.lengths import exchanges_in, tokens_of
from core.rehearsal.personas import sample_persona
from core.rehearsal.plan import RehearsalPlan
from core.rehearsal.windows import cut_sentence, in_window, needed_tokens
from core.settings.pipeline import load_settings
from core.storage.store import Store
from tests.blocks.gguf import TEMPLATE, write_gguf
from tests.core.rehearsal.test_conversation import Mortal

PACK = load_pack("therapeutic-coaching")
MODEL = ModelChoice(reference="llama-server/base.gguf")
LARGE = GgufHead(trained=None, token_bytes=None, size=0)


@pytest.fixture
def run(tmp_path):
    settings, store = load_settings("config/pipeline.yaml"), Store(str(tmp_path))
    return Run("run", PACK, settings, store, {}, Ledger(store, "run", settings.budget))


def plan_of(exchanges, room=500):
    return RehearsalPlan(
        domain=PACK.name,
        pack_hash=PACK.hash,
        persona=sample_persona(PACK, 9000, (exchanges, exchanges)),
        trial=0,
        user_simulator=MODEL,
        assistant=MODEL,
        guidance="system",
        user_tokens=(1, 2),
        assistant_tokens=(room, USUAL),
        minimum=3,
        guards=[],
        evaluated=True,
        folder="transcripts",
    )


@given(st.integers(1, 200_000), st.integers(1, 16), st.integers(1, 10**6), st.integers(0, 10**10), st.integers(0, 10**12), st.integers(2048, 10**6))
def test_too_little_memory_reduces_slots_before_length(needed, slots, token_bytes, size, free, trained):
    head = GgufHead(trained, token_bytes, size)
    ample, window = fit_window(needed, slots, head, None), fit_window(needed, slots, head, free)
    assert ample.slots == slots
    assert ample.context >= min(needed, trained)
    assert ample.context <= trained
    assert 1 <= window.slots <= slots
    assert window.context <= ample.context
    if window.context < ample.context:
        assert window.slots == 1
    if window.slots > 1 or window.context > USUAL:
        assert window.context * window.slots * token_bytes + size <= free
    assert window.context % STEP == 0 or window.context == trained


@given(st.integers(1, 100), st.integers(1, 4000), st.integers(0, 20_000))
def test_a_window_holds_the_number_of_exchanges_it_was_sized_for(exchanges, max_tokens, letters):
    prompt = "x" * letters
    window = fit_window(tokens_of(prompt, exchanges, max_tokens), 1, LARGE, None).context
    assert exchanges_in(window, prompt, max_tokens) >= exchanges
    assert exchanges_in(tokens_of(prompt, exchanges, max_tokens) - 1500, prompt, max_tokens) < exchanges


def test_a_gguf_file_has_its_training_context_and_memory_per_token(tmp_path):
    path = write_gguf(
        tmp_path / "model.gguf",
        **{"tokenizer.chat_template": TEMPLATE, "llama.context_length": 2048, "llama.block_count": 3, "llama.attention.head_count_kv": 1},
    )
    # 3 layers × 1 head × (16 of a key + 16 of a value) × 2 bytes
    assert read_gguf_head(path) == GgufHead(trained=2048, token_bytes=3 * 1 * 32 * 2, size=path.stat().st_size)


@given(st.binary(max_size=200))
def test_a_damaged_gguf_header_gives_no_facts(tmp_path_factory, noise):
    path = tmp_path_factory.mktemp("gguf") / "half.gguf"
    path.write_bytes(b"GGUF" + noise)
    head = read_gguf_head(path)
    assert head.size == 4 + len(noise)
    assert fit_window(5000, 2, head, 10**9).slots >= 1


def test_an_oversized_gguf_header_is_not_read(tmp_path):
    path = tmp_path / "model.gguf"
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, 0, 3))
        file.write(struct.pack("<Q20sIQ5s", 20, b"general.architecture", 8, 5, b"llama"))
        file.write(struct.pack("<Q1sIIQ", 1, b"a", 9, 0, MAX_HEAD))  # a list of small numbers that is not on the disk
        file.seek(MAX_HEAD, os.SEEK_CUR)
        file.write(struct.pack("<Q20sII", 20, b"llama.context_length", 4, 2048))
    assert read_gguf_head(path) == GgufHead(None, None, path.stat().st_size)


def test_a_sufficient_window_does_not_change_a_conversations_name(run):
    plan = plan_of(6)
    names = []
    for context in (needed_tokens(plan), 16_384, 40_960):
        run.windows[MODEL.reference] = Window(context, 4, 40_960)
        names.append(in_window(run, plan).name)
    assert len(set(names)) == 1
    run.windows[MODEL.reference] = Window(needed_tokens(plan) - 1, 1, 40_960)
    assert in_window(run, plan).name not in names


def test_a_conversation_ends_before_the_loaded_context_is_full(run):
    plan = plan_of(6)
    run.windows[MODEL.reference] = Window(16_384, 4, 40_960)
    planned = in_window(run, plan)
    assert planned.assistant_tokens[1] == 40_960
    assert planned.cast(Mortal("u"), Mortal("a"), run.context(MODEL)).assistant.most_tokens == 16_384


def test_a_configured_context_is_kept(run):
    given_one = ModelChoice(reference=MODEL.reference, options={"context": 2048})
    assert run.context(given_one) == 2048
    assert run.context(MODEL) == USUAL


def test_conversations_that_will_be_cut_are_reported_with_the_place():
    plans = [plan_of(exchanges) for exchanges in (3, 6, 30)]
    assert cut_sentence("base", plans, needed_tokens(plans[2]), "why") is None
    said = cut_sentence("base", plans, needed_tokens(plans[1]), "Its model was trained for no more.")
    assert said
    assert said.startswith("1 of 3 conversations of base will be cut: beyond exchange 6 or so")
    assert "planned with 30" in said
    assert said.endswith("Its model was trained for no more.")
