"""The shipped recorded conversations meet the requirements of a dataset."""

import itertools
import json

import pytest

from core.dataset.near_duplicates import near_duplicates
from core.judging.judge import assess
from core.judging.judge_call import JudgeContext
from core.judging.text_facts import opener
from core.packs.pack import load_pack
from core.records import Outcome, Persona, Transcript
from core.rehearsal.course import Steering, beat_at
from core.rehearsal.guards import find_fault
from core.rehearsal.prompt_leak import Hidden, find_leak
from core.rehearsal.simulator_inputs import brief_inputs, steering_inputs
from core.rehearsal.style import style_faults
from core.scripted.chat import ScriptedChat
from core.settings.faults import Fault
from core.settings.pipeline import load_settings
from tests.conftest import CHECKOUT

FILES = sorted((CHECKOUT / "config/domains").glob("*/recorded/*.json"))
each = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def read(path):
    return Transcript.model_validate_json(path.read_text(encoding="utf-8"))


@each
def test_a_recorded_conversation_passes_the_guards_of_a_rehearsal(path):
    pack, transcript = load_pack(path.parents[1].name), read(path)
    persona = Persona.model_validate(transcript.persona)
    users, answers = [], []
    for exchange in transcript.exchanges:
        assert find_fault(pack.guards, "user", exchange.user, users, heard=answers) is None
        assert find_fault(pack.guards, "assistant", exchange.assistant, answers, heard=[*users, exchange.user]) is None
        faults = set(style_faults(pack, exchange.assistant, exchange.user, answers))
        in_episode = any(beat_at(persona, number) for number in (exchange.exchange_number, exchange.exchange_number - 1))
        assert faults <= ({Fault.TOO_LONG} if in_episode else set())
        users.append(exchange.user)
        answers.append(exchange.assistant)


@each
def test_no_recorded_message_repeats_its_writers_instructions(path):
    pack, transcript = load_pack(path.parents[1].name), read(path)
    persona = Persona.model_validate(transcript.persona)
    prompts, guidance = pack.prompts, pack.prompts["assistant"].text
    brief = prompts["user_simulator"].render(**brief_inputs(pack, persona))
    for exchange, drawn in zip(transcript.exchanges, transcript.provenance["steering"], strict=False):
        note = prompts["user_steering"].render(**steering_inputs(pack, persona, Steering(**drawn)))
        assert (
            find_leak(exchange.user, Hidden([prompts["user_simulator"].text, prompts["user_steering"].text], [brief, note]), exchange.exchange_number == 1)
            is None
        )
        assert find_leak(exchange.assistant, Hidden([guidance, pack.note.text if pack.note else ""], [guidance])) is None


@each
def test_a_recorded_conversation_says_who_wrote_it_and_plays_each_episode_to_its_end(path):
    transcript = read(path)
    persona = Persona.model_validate(transcript.persona)
    assert transcript.id == path.stem
    assert transcript.provenance["recorded"] == "written for Understudy by a frontier model"
    assert transcript.provenance["seed"] == persona.seed
    last = max((beat.exchange_number for episode in persona.episodes for beat in episode.beats), default=0)
    assert last <= len(transcript.exchanges)


@pytest.mark.parametrize("domain", sorted({path.parents[1].name for path in FILES}))
def test_no_two_recorded_conversations_are_similar(domain):
    transcripts = [read(path) for path in FILES if path.parents[1].name == domain]
    assert len({item.id for item in transcripts}) == len(transcripts)
    assert len({json.dumps(item.persona) for item in transcripts}) == len(transcripts)
    openers = [opener(exchange.assistant) for item in transcripts for exchange in item.exchanges]
    assert max(sum(1 for _ in group) for _, group in itertools.groupby(sorted(openers))) <= 1 + len(openers) / 40
    assert near_duplicates([(item, 1.0) for item in transcripts]) == []


@pytest.mark.parametrize("domain", sorted({path.parents[1].name for path in FILES}))
async def test_the_demos_judge_passes_most_of_what_the_demo_trains_on(domain):
    pack, how = load_pack(domain), load_settings("config/demo.yaml").assessment
    judge = ScriptedChat("judge", pack)
    transcripts = [read(path) for path in FILES if path.parents[1].name == domain]
    judged = [await assess(JudgeContext(pack, judge, item, how.judging, how.max_tokens)) for item in transcripts]
    passed = sum(one.score.outcome is Outcome.PASS for one in judged)
    assert passed >= 0.6 * len(judged)


def test_quotations_in_the_documentation_are_from_recorded_conversations():
    page = (CHECKOUT / "docs/rehearsal.md").read_text(encoding="utf-8")
    quoted = [line.removeprefix("> ").removeprefix(">") for line in page.splitlines() if line.startswith(">")]
    said = [" ".join(text.partition("**")[2].partition(":** ")[2].split()) for text in "\n".join(quoted).split("\n\n")]
    (path,) = [path for path in FILES if f"`{path.name}`" in page]
    messages = [" ".join(text.split()) for exchange in read(path).exchanges for text in (exchange.user, exchange.assistant)]
    assert said == messages[: len(said)]
