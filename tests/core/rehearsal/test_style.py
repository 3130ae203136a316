"""Style faults: an answer with one is rewritten a few times and then accepted; no conversation is lost over style."""

import pytest

from core.packs.pack import load_pack
from core.records import Beat, Episode
from core.rehearsal.conversation import rehearse
from core.rehearsal.personas import sample_persona
from core.rehearsal.style import REWRITES
from core.rehearsal.turn_log import TurnLog
from core.rehearsal.turns import Cast, Player
from core.settings.faults import Fault
from core.storage.store import Store
from tests.core.rehearsal.test_guards import Dying, Model
from tests.core.simulation import caller

PACK = load_pack("therapeutic-coaching")
NEVER, SELDOM = "I hear you.", "What if the list could wait?"
LONG = (
    "Rain fell on roofs and gardens while somebody counted the buckets under each window. Nobody had expected so much water before noon, least of all the "
    "postman, whose bag was open. Later a neighbour came over with towels, tea and a long story about her uncle's boat. "
)


def persona(exchanges=3, **more):
    return sample_persona(PACK, 5, (exchanges, exchanges)).model_copy(update={"episodes": []} | more)


async def play(tmp_path, answers, exchanges=3, guards=tuple(Fault), log=None, model=None, who=None):
    assistant = model or Model("a", answers)
    cast = Cast(Player(caller(Model("u"), tmp_path), 100, 10**6), Player(caller(assistant, tmp_path), 100, 10**6, guards), "guidance", 3, noted=True)
    found = await rehearse(PACK, who or persona(exchanges), cast, "name", log=log)
    return found, assistant


def faults(found):
    return [(item["exchange_number"], item["fault"]) for item in found.provenance["rejections"] if item["side"] == "assistant"]


async def test_an_answer_with_a_forbidden_tic_is_rewritten_and_the_note_says_why(tmp_path):
    found, assistant = await play(tmp_path, [NEVER, "Rain, then."])
    assert (found.exchanges[0].assistant, faults(found)) == ("Rain, then.", [(1, "tic")])
    assert "I hear you" in assistant.requests[1].messages[-1].content
    assert "A try of yours was not used" not in assistant.requests[0].messages[-1].content
    assert assistant.requests[0].seed != assistant.requests[1].seed


async def test_the_first_use_of_a_limited_tic_is_allowed_and_the_next_is_not(tmp_path):
    found, _ = await play(tmp_path, [SELDOM, "Or what if the bus came early and nobody minded the wet coats?", "Rain, then."])
    assert [exchange.assistant for exchange in found.exchanges[:2]] == [SELDOM, "Rain, then."]
    assert faults(found) == [(2, "tic")]


@pytest.mark.parametrize(("text", "fault"), [(NEVER, Fault.TIC), (LONG, Fault.TOO_LONG)])
async def test_after_the_allowed_rewrites_an_answer_is_accepted(tmp_path, text, fault):
    found, assistant = await play(tmp_path, [text] * (REWRITES[fault] + 1))
    assert found.exchanges[0].assistant == text.strip()
    assert faults(found) == [(1, fault.value)] * REWRITES[fault]
    assert len(assistant.requests) == 3 + REWRITES[fault]
    assert found.provenance["usage"]["assistant"]["calls"] == len(assistant.requests)


@pytest.mark.parametrize(("name", "free"), [("passive_thoughts", 2), ("law_or_tax", 0)])
async def test_length_is_unlimited_on_the_day_of_a_crisis_and_the_next(tmp_path, name, free):
    kind = PACK.episodes.episodes[name]
    episode = Episode(name=name, variant=next(iter(kind.variants)), beats=[Beat(exchange_number=1, part="arrives", direction="Say it.")])
    buses = [" ".join(f"{word}{number}" for number in range(60)) + "." for word in ("bus", "coat", "lamp")]
    found, _ = await play(tmp_path, [*buses[:free], buses[2], "Rain, then."], who=persona(episodes=[episode]))
    assert [exchange.assistant for exchange in found.exchanges[: free + 1]] == [*(bus.strip() for bus in buses[:free]), "Rain, then."]
    assert faults(found) == [(free + 1, "too_long")]


async def test_answers_of_an_evaluated_model_are_not_rewritten_for_style(tmp_path):
    found, _ = await play(tmp_path, [NEVER, LONG, NEVER], guards=())
    assert [exchange.assistant for exchange in found.exchanges] == [NEVER, LONG.strip(), NEVER]
    assert faults(found) == []


@pytest.mark.parametrize("kinds", [("tic", "unusable", "tic", "unusable"), ("tic", "unusable", "unusable")])  # a third unusable answer would be the last
async def test_style_rewrites_do_not_use_up_the_attempts_at_a_valid_answer(tmp_path, kinds):
    said = {"tic": NEVER, "unusable": "<thinking>"}
    found, _ = await play(tmp_path, [*(said[kind] for kind in kinds), "Rain, then."])
    assert found.exchanges[0].assistant == "Rain, then."
    assert [fault for _, fault in faults(found)] == ["tic" if kind == "tic" else "leaked_reasoning" for kind in kinds]


async def test_without_a_usable_rewrite_the_original_answer_is_kept(tmp_path):
    found, _ = await play(tmp_path, [NEVER, *["<thinking>"] * 3, "Rain, then.", "Late bus."])
    assert [exchange.assistant for exchange in found.exchanges] == [NEVER, "Rain, then.", "Late bus."]


async def test_a_kill_does_not_allow_additional_style_rewrites(tmp_path):
    store = Store(str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        await play(tmp_path, [], model=Dying("a", [NEVER]), log=TurnLog(store, "name"))
    found, assistant = await play(tmp_path, [NEVER, NEVER, "Rain, then."], log=TurnLog(store, "name"))
    assert found.exchanges[0].assistant == NEVER
    assert faults(found) == [(1, "tic")] * REWRITES[Fault.TIC]
    assert len(assistant.requests) == 4
    assert len({item["seed"] for item in found.provenance["rejections"] if item["side"] == "assistant"}) == 2
