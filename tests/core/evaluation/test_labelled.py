"""A person's blind labels of an evaluation: their effect on the judge's figures and on the decision."""

import csv
from io import StringIO

import numpy as np
import pytest

from core.errors import ReviewError
from core.evaluation.blind_review import blind_sample, evaluation_folder, read_coded
from core.evaluation.comparison import compare_arms
from core.evaluation.decision import Condition, Decided
from core.evaluation.labelled import by_labels, decide_again, failures_let_pass, rectify
from core.evaluation.outcomes import Pairs, Trial
from core.evaluation.record import EvaluationRecord, PlayedFiles
from core.judging.golden_review import golden_files
from core.judging.intervals import wilson_interval
from core.judging.label_statistics import share_of
from core.judging.page import assessment_page
from core.judging.review_sheet import Labels, write_sheet
from core.judging.scoring import applicable
from core.records import Answer
from core.reports.evaluation_review import evaluation_review_markdown
from core.reports.review_files import read_labels, read_review, write_review
from core.settings.evaluation import Decision
from core.storage.store import Store
from tests.core.judged import PACK, assessment, conversation
from tests.core.misjudged import misjudged, pairs_of

RULE = Decision(improvement=0.1, alpha=0.05, safety_margin=0.4, missing_difference=0.1, least_pass_rate=0)
FOLDER = "evaluations/therapeutic-coaching-abc"
CHECKS = [name for name, criterion in PACK.rubric.criteria.items() if not criterion.head.gate]


def kept(tmp_path, answers, personas=8, trials=2):
    """Store an evaluation; `answers` gives the judge's NO by arm, persona and trial."""
    store, played, files = Store(str(tmp_path)), [], []
    for arm in ("base", "understudy"):
        for persona in range(9000, 9000 + personas):
            for trial in range(trials):
                made = {"id": f"{persona}-{arm}-{trial}", "system": f"You are {arm}.", "provenance": {"assistant": f"gguf/{arm}"}, "persona": {"seed": persona}}
                said = conversation(str(persona), 4, user="Here I am.").model_copy(update=made)
                found = assessment(said, "a/judge", dict.fromkeys(answers(arm, persona, trial), "NO"))
                paths = [store.write_json(f"{kind}/{said.id}.json", one) for kind, one in (("transcripts", said), ("assessments", found))]
                files.append(PlayedFiles(arm=arm, persona=persona, trial=trial, transcript=paths[0], assessment=paths[1]))
                given = {verdict.criterion: verdict.answer for verdict in found.verdicts}
                played.append(Trial(arm=arm, persona=persona, trial=trial, transcript_id=said.id, score=found.score, answers=given))
    comparison = compare_arms(played, "base", PACK.rubric, RULE, 50, 1000)
    record = EvaluationRecord(domain=PACK.name, models={"base": "a/base", "understudy": "a/tuned"}, comparison=comparison, played=played, conversations=files)
    store.write_json(f"{FOLDER}/comparison.json", record)
    return store


def half_failed(arm, persona, trial):
    """The base fails a few criteria, which differ by persona; the understudy fails one."""
    start = persona % 5 + trial
    return CHECKS[start : start + (5 if arm == "base" else 1)]


def labels_of(coded, failed):
    """Labels of a person who fails the criteria in `failed` and passes the rest."""
    answers = {}
    for code, one in coded.items():
        no = failed(one.played.arm, one.played.persona, one.played.trial)
        names = [criterion.id for criterion in applicable(PACK.rubric, len(one.judged.transcript.exchanges))]
        answers[code] = {name: Answer.NO if name in no else Answer.YES for name in names}
    return Labels(answers, {}, [])


# --- the sheet ------------------------------------------------------------------------------------------------------


def test_a_sample_has_each_persona_in_every_arm_before_any_persona_twice(tmp_path):
    _, coded = read_coded(kept(tmp_path, half_failed), FOLDER)
    for size, personas, pairs in ((16, 8, 8), (17, 8, 8), (20, 8, 10), (6, 3, 3), (1, 1, 1), (99, 8, 16)):
        chosen = [coded[item.transcript.id].played for item in blind_sample(list(coded.values()), size, seed=3)]
        assert len(chosen) == 2 * pairs
        assert len({item.persona for item in chosen}) == personas
        of = [{(item.persona, item.trial) for item in chosen if item.arm == arm} for arm in ("base", "understudy")]
        assert of[0] == of[1]
    orders = [[coded[item.transcript.id].played.arm for item in blind_sample(list(coded.values()), 16, seed)] for seed in range(8)]
    assert len({tuple(order) for order in orders}) == 8


def test_neither_sheet_nor_page_reveals_the_arm_of_a_conversation(tmp_path):
    _, coded = read_coded(kept(tmp_path, half_failed), FOLDER)
    chosen = blind_sample(list(coded.values()), 16, seed=1)
    seen = write_sheet(chosen, PACK.rubric, "page.html") + assessment_page(PACK, chosen, "", blind=True)
    for secret in ("understudy", "gguf", "You are base", "a/judge"):
        assert secret not in seen
    for item in chosen:
        assert set(item.transcript.model_dump(exclude_none=True)) <= {"id", "exchanges", "opening", "provenance"}
        assert item.transcript.provenance == {}
    # codes of both arms are alike
    assert {len(code) for code in coded} == {12}


def test_an_evaluation_is_found_by_its_folder_or_as_the_latest(tmp_path):
    store = kept(tmp_path, half_failed)
    for named in (FOLDER, f"{tmp_path}/{FOLDER}/", "therapeutic-coaching-abc"):
        assert evaluation_folder(store, PACK.name, named) == FOLDER
    for named in ("latest", "other"):
        with pytest.raises(ReviewError, match="evaluation"):
            evaluation_folder(store, PACK.name, named)
    store.write("evaluations/latest-therapeutic-coaching", FOLDER)
    assert evaluation_folder(store, PACK.name, "latest") == FOLDER


# --- the figures ----------------------------------------------------------------------------------------------------


def test_labels_that_agree_with_the_judge_change_nothing(tmp_path):
    record, coded = read_coded(kept(tmp_path, half_failed), FOLDER)
    found = by_labels(record, FOLDER, coded, labels_of(coded, half_failed), PACK.rubric)
    one = found.arms["understudy"]
    assert record.comparison.comparisons["understudy"].decided.decision == one.decided.decision == "ship"
    assert one.rectified.difference == pytest.approx(record.comparison.comparisons["understudy"].score.difference)
    assert (one.rectified.personas, one.rectified.pairs) == (8, 16)
    assert [(rates.tpr.value, rates.tnr.value) for rates in found.rates.values()] == [(1, 1), (1, 1)]
    assert found.lenient == {"base": 0, "understudy": 0}
    assert one.decided.conditions[-1].holds


def test_an_unusable_answer_makes_a_judge_neither_strict_nor_lenient(tmp_path):
    record, coded = read_coded(kept(tmp_path, half_failed), FOLDER)
    labels = labels_of(coded, half_failed)
    for one in coded.values():
        if one.played.arm == "base":
            one.judged.final.verdicts[0] = one.judged.final.verdicts[0].model_copy(update={"answer": Answer.ERROR})
    assert by_labels(record, FOLDER, coded, labels, PACK.rubric).lenient == {"base": 0, "understudy": 0}


def test_labels_reveal_a_judge_that_favours_the_understudy_and_prevent_shipping(tmp_path):
    record, coded = read_coded(kept(tmp_path, half_failed), FOLDER)
    # both arms fail the same; the judge sees one of five with the understudy
    found = by_labels(record, FOLDER, coded, labels_of(coded, lambda _, persona, trial: half_failed("base", persona, trial)), PACK.rubric)
    one = found.arms["understudy"]
    assert record.comparison.comparisons["understudy"].decided.decision == "ship"
    assert one.decided.decision == "iterate"
    assert "by a person's labels" in one.decided.reason
    assert [one.rectified.person, one.rectified.difference] == pytest.approx([0, 0])
    assert [found.rates[arm].tpr.value for arm in ("base", "understudy")] == [1, pytest.approx(0.2)]
    assert one.failures.value == pytest.approx(80)
    assert one.failures.interval is not None
    assert one.failures.interval[0] > 40
    assert found.lenient["understudy"] > 0.2
    text = evaluation_review_markdown(found)
    assert "understudy against base: iterate" in text
    assert "(by the judge alone: ship)" in text
    assert "| understudy | 0.20 " in text
    assert not {"nan", "None"} & set(text.replace("|", " ").split())


def test_labels_of_some_conversations_are_enough_and_incomplete_labels_give_no_score(tmp_path):
    record, coded = read_coded(kept(tmp_path, half_failed), FOLDER)
    labels = labels_of(coded, half_failed)
    some = {code: labels.answers[code] for code, one in coded.items() if one.played.persona < 9004}
    first = next(code for code, one in coded.items() if (one.played.arm, one.played.persona, one.played.trial) == ("base", 9000, 0))
    del some[first]["CQ1"]
    rectified = by_labels(record, FOLDER, coded, Labels(some, {}, []), PACK.rubric).arms["understudy"].rectified
    assert (rectified.personas, rectified.pairs) == (4, 7)
    alone = {code: answers for code, answers in some.items() if coded[code].played.arm == "base"}
    found = by_labels(record, FOLDER, coded, Labels(alone, {}, []), PACK.rubric)
    assert found.arms["understudy"].rectified.difference is None
    assert found.arms["understudy"].decided.decision == "iterate"
    text = evaluation_review_markdown(found)
    assert "cannot be corrected" in text
    assert "cannot be said: the person failed nothing in one of the arms" in text


def test_an_additional_condition_never_improves_a_decision():
    held, broken = (Condition(text="labels", figure=None, found="found", holds=holds) for holds in (True, False))
    for decision in ("ship", "iterate", "do not deploy"):
        before = Decided(decision=decision, reason="Why.", conditions=[])
        assert decide_again(before, held) == Decided(decision=decision, reason="Why.", conditions=[held])
        after = decide_again(before, broken)
        assert after.decision == ("do not deploy" if decision == "do not deploy" else "iterate")
        assert "Not met: labels (found)." in after.reason


def test_the_difference_of_two_rates_has_newcombes_interval():
    base, arm = share_of(56, 70, 0, ""), share_of(48, 80, 0, "")
    found = failures_let_pass(base, arm)
    # Newcombe (1998), table II, a: 56/70 − 48/80 is 0.2, method 10: 0.0524 to 0.3339
    assert found.interval == pytest.approx((5.24, 33.39), abs=0.01)
    assert wilson_interval(56, 70) == base.interval


@pytest.mark.slow
@pytest.mark.parametrize("leniency", [0.0, 0.6, 1.0])
def test_the_interval_by_labels_has_its_coverage_at_any_leniency(leniency):
    draw, held, as_judged = np.random.default_rng(int(10 * leniency)), [], []
    for _ in range(600):
        true, judged = misjudged(draw, 0.0, leniency)
        labelled = {}
        for persona in draw.choice(30, 15, replace=False):
            trial = int(draw.integers(3))
            person, judge = (float(scores[1, persona, trial] - scores[0, persona, trial]) for scores in (true, judged))
            labelled[int(persona)] = [(person, judge)]
        pairs = pairs_of(judged)
        interval = rectify(pairs, labelled).interval
        assert interval is not None
        held.append(interval[0] <= 0 <= interval[1])
        half = 2.05 * pairs.differences.std(ddof=1) / np.sqrt(30)
        as_judged.append(abs(pairs.difference) <= half)
    assert np.mean(held) >= 0.92
    assert leniency < 0.6 or np.mean(as_judged) < 0.4


def test_with_all_conversations_labelled_the_difference_is_the_persons():
    true, judged = misjudged(np.random.default_rng(5), 0.1, trials=1)
    pairs = pairs_of(judged)
    labelled = {persona: [(float(true[1, persona, 0] - true[0, persona, 0]), float(judged[1, persona, 0] - judged[0, persona, 0]))] for persona in range(30)}
    found = rectify(pairs, labelled)
    assert found.difference == pytest.approx(pairs_of(true).difference)
    assert rectify(pairs, {}).difference is None
    assert rectify(Pairs(pairs.rows), {0: labelled[0]}).interval is None


def test_a_sheet_of_an_evaluation_can_be_written_filled_in_and_read_back(tmp_path):
    store = kept(tmp_path, half_failed)
    folder = write_review(store, PACK.name, FOLDER, 12)
    sheet, page = tmp_path / folder / "sheet.csv", (tmp_path / folder / "transcripts.html").read_text(encoding="utf-8")
    assert "understudy" not in sheet.read_text(encoding="utf-8-sig") + page
    header, *rows = list(csv.reader(StringIO(sheet.read_text(encoding="utf-8-sig"))))
    assert len(rows) == 12
    assert all(row[0] in page for row in rows)
    with sheet.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *([cell or "yes" for cell in row] for row in rows)])
    with pytest.raises(ReviewError, match="is kept"):
        write_review(store, PACK.name, FOLDER, 12)
    text = read_review(store, PACK.name, FOLDER, sheet)
    # the person passes everything, so there is no gain
    assert "labelled 6 conversations of base, 6 conversations of understudy" in text
    assert "understudy against base: iterate" in text
    assert "by the person, the same | +0.000 |" in text
    assert "# Judge and person compared" in text
    assert store.read(f"{FOLDER}/review.md") == text
    labels, judged = read_labels(store, PACK.rubric, FOLDER, sheet)
    files, _ = golden_files(labels, judged, PACK.rubric, FOLDER)
    assert len(files) == 12


def test_an_evaluation_without_its_conversations_cannot_be_reviewed(tmp_path):
    store = kept(tmp_path, half_failed)
    record = store.load(f"{FOLDER}/comparison.json", EvaluationRecord).model_copy(update={"conversations": []})
    store.write_json("evaluations/recorded-1/comparison.json", record)
    with pytest.raises(ReviewError, match="keeps only its figures"):
        write_review(store, PACK.name, "evaluations/recorded-1", 12)
