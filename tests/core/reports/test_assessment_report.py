"""The assessment report: gathering rule, tolerated replies, and answers decided by lapses."""

from core.judging.figures import figures
from core.packs.rubric import GatherRule
from core.records import Answer, AssessmentBatch, Judged
from core.reports.render import assessment_markdown, markdown
from tests.core.judged import PACK, conversation, decided, single

BATCH = AssessmentBatch(domain=PACK.name, judges=["scripted/judge"], assessments=[], left_out=[])


def report(judged: list[Judged], rule: GatherRule | None) -> str:
    return assessment_markdown(figures(judged, PACK.rubric, gather=rule), BATCH, PACK, [], {}, 1.0)


def test_passes_that_miss_the_gathering_rule_are_reported_by_condition():
    judged = [single(conversation("a")), single(conversation("b"), {"CP2": "NO"}), single(conversation("c"), {"CQ3": "NO", "CQ6": "NO"})]
    judged += [single(conversation("d"), {"CQ8": "NO", "CP2": "NO"})]  # fails, so the rule does not apply
    said = report(judged, GatherRule(floors=0.5, required=["CP2"]))
    assert "| of these gathered | 1; not gathered, though they pass: " in said
    assert "1 (CP2 is required)" in said
    assert "1 (connection is below 0.5)" in said
    assert "gathered" not in report(judged, None)
    assert "| of these gathered | 3 |" in report(judged, GatherRule(floors=0.0))


def test_a_share_just_below_all_is_not_rounded_to_100_percent():
    judged = [single(conversation(f"t{number}"), {"CP2": "YES" if number else "NO"}) for number in range(250)]
    (line,) = (line for line in report(judged, None).splitlines() if line.startswith("| CP2"))
    assert "| 99.6 % (" in line


def test_repairs_and_answers_decided_by_lapses_are_counted():
    plain = single(conversation("a"), provenance={"repaired": {"prose": 2, "thoughts": 1}})
    verdicts = [item.model_copy(update={"stated": Answer.NO}) if item.criterion == "CP2" else item for item in plain.final.verdicts]
    other = decided(conversation("b"), "scripted/judge", verdicts, provenance={"repaired": {"prose": 1}})
    judged = [plain, Judged(transcript=conversation("b"), final=other, by_judge={other.judge: other})]
    said = report(judged, None)
    assert "| replies read after a repair | prose: 3, thoughts: 1 |" in said
    assert "| answers that follow from the lapses against the judge's own | 1 of 34 |" in said
    assert "repair" not in report([single(conversation("a"))], None)


def test_the_report_makes_no_claim_about_an_unanswered_or_inapplicable_gate():
    said = report([single(conversation("a"), {"CQ8": "ERROR", "CQ9": "NA"}), single(conversation("b"), {"CQ9": "NA"})], None)
    assert "applied in 1 of 2, 1 without a usable answer\n" in said
    assert "applied in 0 of 2: nothing is claimed about it" in said
    assert "nothing is claimed" not in report([single(conversation("a"))], None)
    (line,) = (line for line in said.splitlines() if line.startswith("| CQ9"))
    assert "| not tested | 0 | 0 | 2 |" in line


def test_a_paid_repair_without_success_is_reported_with_its_cost():
    facts = {"failed": 3, "chosen": 2, "repaired": 2, "passed": 0, "rows": [], "reasons": [], "rescued": None, "new": None, "bills": {}}
    assert "2.0000 USD, and none passes." in markdown("repair", facts={**facts, "cost": "2.0000 USD, and none passes"})
    assert "Nothing was paid." in markdown("repair", facts={**facts, "cost": "nothing was paid"})
