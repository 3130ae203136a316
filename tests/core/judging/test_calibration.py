"""The stored calibration of a judge and later comparisons with it."""

import pytest

from core.judging.calibration import Calibration, Spent, changes, cheapest, keep_calibration, latest_name, measured_sentence
from core.judging.golden_figures import golden_figures
from core.settings.assessment import Judging
from core.storage.store import Store
from tests.core.golden_sets import golden, judged
from tests.core.judge_contexts import PACK

SINGLE = Judging(mode="single", confirm_gates="never")
SET = [*(golden(PACK, f"sound{n}") for n in range(5)), *(golden(PACK, f"unsafe{n}", CQ8="NO") for n in range(5))]


def calibrated(judge="a/judge", usd: float | None = 1.0, seconds=1.0, missed=(), accused=(), **more):
    read = {item.id: judged(PACK, item, judge, **({"CQ8": "YES"} if item.id in missed else {"CQ8": "NO"} if item.id in accused else {})) for item in SET}
    given = {"domain": PACK.name, "judge": judge, "judging": SINGLE, "day": "2026-12-01", "judge_hash": PACK.judge_hash, "golden_hash": "g"}
    given |= {"conversations": {item.id: "w" for item in SET}, "held_out": 0, "repeat": 1, "figures": golden_figures(SET, read, PACK.rubric)}
    spent = Spent(conversations=10, replies=10, repaired=0, again=0, tokens=10, usd=usd, seconds=seconds)
    return Calibration.model_validate({**given, "spent": spent, **more})


def test_an_unchanged_calibration_is_stored_once_and_a_changed_one_names_its_predecessor(tmp_path):
    store = Store(str(tmp_path))
    first, path = keep_calibration(store, calibrated())
    assert keep_calibration(store, calibrated(day="2026-12-09")) == (first, path)
    second, other = keep_calibration(store, calibrated(day="2026-12-09", missed=["unsafe0"]))
    assert other != path
    assert second.before == path


def test_a_calibration_identifies_the_judge_by_the_prompts_of_that_time(tmp_path):
    store = Store(str(tmp_path))
    assert "was never measured against the golden set in the mode single" in measured_sentence(store, PACK, "a/judge", SINGLE)
    keep_calibration(store, calibrated(missed=["unsafe0"]))
    said = "a/judge (single) was measured on 2026-12-01: gates TPR 0.80 [0.38, 0.96], TNR 1.00 [0.57, 1.00], over 10 golden conversations."
    assert measured_sentence(store, PACK, "a/judge", SINGLE) == measured_sentence(store, PACK, "a/judge", None) == said
    other = SINGLE.model_copy(update={"confirm_gates": "majority"})
    assert "under other settings" in measured_sentence(store, PACK, "a/judge", other)
    assert "never measured" in measured_sentence(store, PACK, "a/judge", SINGLE.model_copy(update={"mode": "category"}))
    keep_calibration(store, calibrated(judge_hash="older"))
    assert "under other prompts" in measured_sentence(store, PACK, "a/judge", SINGLE)


@pytest.mark.parametrize("spoilt", ["{}", "", "no json"])
def test_a_damaged_calibration_is_ignored_and_replaced_by_the_next(tmp_path, spoilt):
    store = Store(str(tmp_path))
    _, path = keep_calibration(store, calibrated())
    store.write(path, spoilt)
    assert "never measured" in measured_sentence(store, PACK, "a/judge", SINGLE)
    keep_calibration(store, calibrated(missed=["unsafe0"]))
    assert "TPR 0.80" in measured_sentence(store, PACK, "a/judge", SINGLE)
    store.write(latest_name(PACK.name, "a/judge", "single"), "calibrations/none.json")
    assert "never measured" in measured_sentence(store, PACK, "a/judge", SINGLE)


def test_a_comparison_of_calibrations_names_the_changes_and_the_broken_conversations():
    before, now = calibrated(missed=["unsafe0"]), calibrated(missed=["unsafe0", "unsafe3"], judge_hash="new", reported=["v2"], golden_hash="other")
    lines = changes(now, before)
    assert lines[0] == "since 2026-12-01: CQ8 TPR 0.80 -> 0.60 (1 conversation: unsafe3)"
    assert lines[1:] == ["the prompts changed", "the model's reported version changed (none -> v2)", "the golden set changed"]
    assert changes(before, before) == []
    # a conversation with other text or verdicts is no evidence about the judge
    moved = now.model_copy(update={"conversations": now.conversations | {"unsafe3": "other words"}})
    assert changes(moved, before)[0] == "since 2026-12-01: no verdict changed"


def test_the_cheapest_sufficient_judge_is_chosen():
    good, dear, bad = calibrated(usd=1.0), calibrated("b/judge", usd=2.0), calibrated("c/judge", usd=0.1, missed=["unsafe0"])
    unpriced, quick = calibrated("d/judge", usd=None), calibrated("e/judge", usd=1.0, seconds=0.5)
    assert cheapest([dear, good, bad], 0.9, 0.8) == good
    assert cheapest([dear, good, bad], 0.8, 0.8) == bad
    assert cheapest([unpriced, dear], 0.9, 0.8) == dear
    assert cheapest([good, quick], 0.9, 0.8) == quick
    assert cheapest([bad, calibrated(accused=["sound0", "sound1"])], 0.9, 0.8) is None
