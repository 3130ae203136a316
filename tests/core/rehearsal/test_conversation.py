"""Rehearsals: two agents with their own views, the persona in the prompt, and reproducible conversations."""

import itertools
import json

import pytest

from core.errors import SettingsError
from core.judging.judge import assess
from core.llm.chat import ChatRequest, Reply, Usage
from core.packs.pack import load_pack
from core.records import EndReason, Outcome
from core.rehearsal.conversation import rehearse
from core.rehearsal.personas import sample_batch, sample_persona
from core.rehearsal.turn_log import Turn, TurnLog
from core.rehearsal.turns import Cast, Player
from core.scripted.chat import ScriptedChat
from core.storage.store import Store
from tests.core.judge_contexts import judge_context

PACK = load_pack("therapeutic-coaching")


class Recorder:
    """A model with prepared answers that records its requests."""

    caveat = None

    def __init__(self, reference, texts):
        self.reference, self.texts, self.requests = reference, iter(texts), []

    async def complete(self, request: ChatRequest) -> Reply:
        self.requests.append(request)
        return Reply(next(self.texts), "stop", Usage())


def said(message, done=False):
    return json.dumps({"message": message, "done": done})


def cast(user, assistant, minimum=3, most_tokens=10**6):
    return Cast(Player(user, 100, most_tokens), Player(assistant, 100, most_tokens), "guidance", minimum)


async def play(user, assistant, exchanges=3, minimum=3, **more):
    persona = sample_persona(PACK, 5, (exchanges, exchanges))
    return await rehearse(PACK, persona, cast(user, assistant, minimum, **more), "name")


async def test_each_side_sees_the_whole_history_in_its_own_role():
    user, assistant = Recorder("u", [said("u1"), said("u2"), said("u3")]), Recorder("a", ["a1", "a2", "a3"])
    await play(user, assistant)
    last_user, last_assistant = user.requests[-1], assistant.requests[-1]
    assert last_user.messages[0].role == "user"  # providers want a user's message first
    assert [(m.role, m.content) for m in last_user.messages[1:-1]] == [("assistant", "u1"), ("user", "a1"), ("assistant", "u2"), ("user", "a2")]
    assert [(m.role, m.content) for m in last_assistant.messages] == [("user", "u1"), ("assistant", "a1"), ("user", "u2"), ("assistant", "a2"), ("user", "u3")]


async def test_each_prompt_extends_the_one_before():
    user, assistant = Recorder("u", [said(f"u{n}") for n in range(4)]), Recorder("a", [f"a{n}" for n in range(4)])
    await play(user, assistant, exchanges=4)
    for requests, volatile in ((user.requests, 1), (assistant.requests, 0)):
        for before, after in itertools.pairwise(requests):
            stable = before.messages[: len(before.messages) - volatile]
            assert after.system == before.system
            assert after.messages[: len(stable)] == stable


async def test_the_persona_is_in_the_simulators_prompt():
    user = Recorder("u", [said("u1"), said("u2"), said("u3")])
    await play(user, Recorder("a", ["a1", "a2", "a3"]))
    persona, system = sample_persona(PACK, 5, (3, 3)), user.requests[0].system
    for text in (persona.name, *(topic.description for topic in persona.topics), *(flaw.description for flaw in persona.flaws)):
        assert text in system


async def test_the_user_may_leave_after_the_minimum_and_not_before():
    early = [said("u1", done=True), said("u2", done=True), said("u3", done=True), said("u4"), said("u5")]
    found = await play(Recorder("u", early), Recorder("a", ["a"] * 5), exchanges=5)
    assert (len(found.exchanges), found.end_reason) == (3, EndReason.USER_DONE)
    full = await play(Recorder("u", [said(f"u{n}") for n in range(5)]), Recorder("a", ["a"] * 5), exchanges=5)
    assert (len(full.exchanges), full.end_reason) == (5, EndReason.TARGET_REACHED)


class Killed(Exception):  # noqa: N818
    """Stands for a kill of the process."""


class Mortal(Recorder):
    """Answers with its name and the number of the exchange, until a kill at the given call."""

    def __init__(self, reference, dies_at=None):
        super().__init__(reference, [])
        self.dies_at = dies_at

    async def complete(self, request):
        if self.dies_at is not None and len(self.requests) == self.dies_at:
            raise Killed
        self.requests.append(request)
        number = sum(message.role == "assistant" for message in request.messages) + 1
        text = f"{self.reference}{number}"
        return Reply(said(text) if request.schema else text, "stop", Usage())


@pytest.mark.parametrize("side", ["user", "assistant"])
@pytest.mark.parametrize("dies_at", range(5))
async def test_a_killed_conversation_continues_with_the_message_in_progress(tmp_path, side, dies_at):
    persona, store = sample_persona(PACK, 5, (5, 5)), Store(str(tmp_path))

    async def run(user, assistant):
        log = TurnLog(store, "name")
        return await rehearse(PACK, persona, cast(user, assistant), "name", log=log)

    whole = await rehearse(PACK, persona, cast(Mortal("u"), Mortal("a")), "name")
    first = (Mortal("u", dies_at if side == "user" else None), Mortal("a", dies_at if side == "assistant" else None))
    with pytest.raises(Killed):
        await run(*first)
    second = (Mortal("u"), Mortal("a"))
    found = await run(*second)
    assert [(turn.user, turn.assistant) for turn in found.exchanges] == [(turn.user, turn.assistant) for turn in whole.exchanges]
    assert [len(a.requests) + len(b.requests) for a, b in zip(first, second, strict=True)] == [5, 5]  # no call is made twice


async def test_a_message_interrupted_by_a_kill_is_written_again(tmp_path):
    persona, store = sample_persona(PACK, 5, (3, 3)), Store(str(tmp_path))
    with pytest.raises(Killed):
        await rehearse(PACK, persona, cast(Mortal("u"), Mortal("a", 1)), "name", log=TurnLog(store, "name"))
    (file,) = tmp_path.glob("turns/*.jsonl")
    file.write_text(file.read_text(encoding="utf-8")[:-5], encoding="utf-8")
    user = Mortal("u")
    found = await rehearse(PACK, persona, cast(user, Mortal("a")), "name", log=TurnLog(store, "name"))
    assert [(turn.user, turn.assistant) for turn in found.exchanges] == [("u1", "a1"), ("u2", "a2"), ("u3", "a3")]
    assert len(user.requests) == 2


async def test_a_user_who_left_before_a_kill_has_left_after_it(tmp_path):
    store = Store(str(tmp_path))
    log = TurnLog(store, "name")
    for turn in (Turn(side="user", text="u1"), Turn(side="assistant", text="a1"), Turn(side="user", text="bye", done=True)):
        log.add(turn)
    found = await rehearse(PACK, sample_persona(PACK, 5, (5, 5)), cast(Mortal("u"), Mortal("a"), minimum=2), "name", log=TurnLog(store, "name"))
    assert (len(found.exchanges), found.end_reason) == (2, EndReason.USER_DONE)


async def rehearsed(quality, count=8):
    players = cast(ScriptedChat("user", PACK), ScriptedChat(quality, PACK))
    return [await rehearse(PACK, persona, players, persona.id) for persona in sample_batch(PACK, 100, count, (3, 6))]


async def test_the_same_seed_gives_the_same_conversation():
    first, second = await rehearsed("mixed", 3), await rehearsed("mixed", 3)
    assert [item.exchanges for item in first] == [item.exchanges for item in second]
    assert len({item.exchanges[0].user for item in first}) == 3


@pytest.mark.slow
async def test_a_better_scripted_assistant_gets_a_higher_score():
    means, passes = [], []
    for quality in ("0", "0.5", "1"):
        scores = [(await assess(judge_context(ScriptedChat("judge", PACK), item))).score for item in await rehearsed(quality)]
        means.append(sum(score.score or 0 for score in scores) / len(scores))
        passes.append(sum(score.outcome is Outcome.PASS for score in scores))
    assert means[0] < means[1] - 0.1 < means[2] - 0.3
    assert passes[0] == 0
    assert passes[2] >= 6


async def test_the_scripted_judge_cites_exchanges_and_identifies_itself():
    transcript = (await rehearsed("mixed", 1))[0]
    found = await assess(judge_context(ScriptedChat("judge", PACK), transcript))
    assert found.caveat is not None
    assert "no measure of real quality" in found.caveat
    assert found.score.errors == 0
    assert all("Measured only" in verdict.reasoning for verdict in found.verdicts)
    assert any(verdict.cited for verdict in found.verdicts)


@pytest.mark.parametrize("name", ["", "good", "1.5", "-1", "0.5.5"])
def test_an_unknown_scripted_model_is_refused(name):
    with pytest.raises(SettingsError, match="Allowed: scripted/user"):
        ScriptedChat(name, PACK)


def test_a_pack_without_phrases_cannot_be_played_by_scripted_models(pack_copy):
    (pack_copy / "config/domains/therapeutic-coaching/scripted.yaml").unlink()
    with pytest.raises(SettingsError, match=r"scripted\.yaml does not exist"):
        ScriptedChat("user", load_pack("therapeutic-coaching", pack_copy))


class Counting(Mortal):
    """Reports usage as a provider does: a token for four characters."""

    async def complete(self, request):
        reply = await super().complete(request)
        read = (len(request.system) + sum(len(message.content) for message in request.messages)) // 4
        text = reply.text.replace("u", "u" * 400).replace("a", "a" * 400) if request.schema is None else said("u" * 800)
        return Reply(text, "stop", Usage(read, len(text) // 4))


@pytest.mark.parametrize("most", [6000, 9000, 20000])
async def test_a_conversation_ends_before_a_side_exceeds_its_limit(most):
    user, assistant = Counting("u"), Counting("a")
    found = await play(user, assistant, exchanges=100, most_tokens=most)
    assert found.end_reason is EndReason.BUDGET
    assert 1 <= len(found.exchanges) < 100
    largest = max(found.provenance["usage"][role]["input_tokens"] for role in ("user_simulator", "assistant"))
    assert largest > 0
    read = [(len(r.system) + sum(len(m.content) for m in r.messages)) // 4 for r in (*user.requests, *assistant.requests)]
    assert most * 0.6 < max(read) + 100 <= most  # 100 is the room for an answer


async def test_the_limit_of_a_side_holds_after_a_kill(tmp_path):
    store, persona = Store(str(tmp_path)), sample_persona(PACK, 5, (100, 100))
    whole = await rehearse(PACK, persona, cast(Counting("u"), Counting("a"), most_tokens=9000), "whole")
    with pytest.raises(Killed):
        await rehearse(PACK, persona, cast(Counting("u"), Counting("a", 3), most_tokens=9000), "name", log=TurnLog(store, "name"))
    found = await rehearse(PACK, persona, cast(Counting("u"), Counting("a"), most_tokens=9000), "name", log=TurnLog(store, "name"))
    assert (len(found.exchanges), found.end_reason, found.provenance["usage"]) == (len(whole.exchanges), EndReason.BUDGET, whole.provenance["usage"])


async def test_a_transcript_has_its_provenance():
    found = await play(Mortal("u"), Mortal("a"))
    provenance = found.provenance
    assert {"domain", "pack_hash", "seed", "trial", "user_simulator", "assistant", "usage", "rejections", "steering"} <= set(provenance)
    assert provenance["pack_hash"] == PACK.hash
    assert [item["exchange_number"] for item in provenance["steering"]] == [1, 2, 3]
    assert list(found.model_dump()) == ["id", "persona", "exchanges", "target_exchanges", "end_reason", "created_at", "opening", "system", "provenance"]
