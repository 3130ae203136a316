"""Pairwise judging in an evaluation: paid for once, resumable, and no obstacle if the judge refuses."""

import pytest

from core.evaluation.record import EvaluationRecord
from core.llm.bills import read_entries
from core.storage.store import Store, open_store
from flows.evaluation import evaluation
from tests.flows.conftest import write_settings

ARMS = {"base": "scripted/0.2", "understudy": "scripted/0.9"}
LUNA = "openai/gpt-6-luna"


def settings_of(tmp_path, stub=None, **changes):
    of_evaluation = {"personas": 3, "trials": 2, "exchanges": 3, "general_max_tokens": 0, "battery_tries": 0, **changes}
    if stub is None:
        return write_settings(tmp_path, evaluation=of_evaluation)
    of_evaluation["trials"] = 1
    models = {"openai": {"concurrency": 10, "options": {"base_url": f"{stub.url}/v1"}}}
    calls = {"attempts": 2, "first_backoff_seconds": 0.01, "unusable_answers": 2}
    roles = {"judges": [LUNA]}
    return write_settings(tmp_path, evaluation=of_evaluation, models=models, calls=calls, roles=roles, budget={"usd": 5})


@pytest.fixture
def stub(provider, monkeypatch):
    provider.set(faults=[], latency_s=0, send_limit_headers=True, answer_text=None)
    provider.reset()
    monkeypatch.setenv("OPENAI_API_KEY", "good")
    return provider


def read(found):
    return EvaluationRecord.model_validate_json(open_store().read(found.path))


def paid(data_root):
    return [entry for folder in sorted(data_root.glob("ledger/*")) for entry in read_entries(Store(str(data_root)), folder.name) if entry["model"] == LUNA]


def stored(data_root):
    return sorted(data_root.glob("evaluations/pairs/*/*.json"))


async def test_each_persona_is_compared_once_in_both_orders_and_scores_do_not_change(tmp_path, data_root):
    (tmp_path / "off").mkdir()
    off = read(await evaluation(arms=ARMS, settings=settings_of(tmp_path / "off", pairwise=False)))
    assert off.pairwise == {}
    assert stored(data_root) == []
    record = read(await evaluation(arms={**ARMS, "third": "scripted/0.6"}, settings=settings_of(tmp_path)))
    assert len(stored(data_root)) == 2 * 2 * 3
    for found in record.pairwise.values():
        assert [pair.persona for pair in found.pairs] == list(range(9000, 9003))
        assert {pair.trial for pair in found.pairs} == {0}
    better = record.pairwise["understudy"].rate
    assert better
    assert better.wins > better.losses
    assert record.comparison.comparisons["understudy"].score == off.comparison.comparisons["understudy"].score.model_copy(
        update={"p_holm": record.comparison.comparisons["understudy"].score.p_holm}
    )


async def test_only_a_lost_answer_is_requested_again(tmp_path, data_root, stub):
    settings = settings_of(tmp_path, stub)
    first = await evaluation(arms=ARMS, settings=settings)
    own = [entry for entry in paid(data_root) if entry["item"].startswith("pair-")]
    assert len(own) == len(stored(data_root)) == 2 * 3
    assert f"| {LUNA} | {len(paid(data_root)):,} |" in open_store().read(first.path.replace("comparison.json", "report.md"))
    stored(data_root)[0].unlink()
    before = len(paid(data_root))
    assert read(await evaluation(arms=ARMS, settings=settings)).pairwise == read(first).pairwise
    assert len(paid(data_root)) == before + 1


async def test_refused_comparisons_are_counted_and_the_evaluation_still_decides(tmp_path, data_root, stub):
    stub.set(faults=[{"protocol": "responses", "when": {"contains": "You compare two conversations"}, "fault": {"kind": "refuse"}}])
    record = read(await evaluation(arms=ARMS, settings=settings_of(tmp_path, stub)))
    found = record.pairwise["understudy"]
    assert (found.rate, found.unanswered, found.too_long) == (None, 3, 0)
    assert record.comparison.comparisons["understudy"].decided
