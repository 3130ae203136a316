"""Every report and page shows foreign text literally, in each place that it can reach."""

import csv
from dataclasses import replace
from functools import cache
from io import StringIO
from typing import Any

import pytest

from core.authoring.critique import Finding
from core.authoring.optimisation import Optimisation
from core.authoring.pilots import Round
from core.authoring.prompt_search import Candidate, Played, Step
from core.dataset.audit import AuditLimits, audit
from core.dataset.audit_warnings import audit_warnings
from core.evaluation.page import evaluation_page
from core.evaluation.refusals import Refusals
from core.evaluation.report import evaluation_markdown, evaluation_section
from core.judging.calibration import Calibration, Spent
from core.judging.figures import figures
from core.judging.golden_figures import golden_figures
from core.judging.page import assessment_page
from core.judging.review import compare_labels
from core.judging.review_sheet import Labels, write_sheet
from core.llm.bills import Bill
from core.records import Answer, AssessmentBatch, Exchange, LeftOut, Transcript
from core.rehearsal.fidelity import measure_fidelity
from core.rehearsal.lengths import Lengths
from core.reports.calibration import Measured, calibration_markdown
from core.reports.nights import Night, NightReport
from core.reports.rehearsals import fidelity_markdown
from core.reports.render import assessment_markdown, folded_html, markdown, night_markdown, review_markdown
from core.settings.assessment import CalibrationSettings, Judging
from core.settings.pipeline import load_settings
from core.storage.store import Store
from tests.core.arms import evaluation, lost
from tests.core.evaluated import answer, conversation, facts_of, refusals
from tests.core.golden_sets import golden
from tests.core.golden_sets import judged as judged_golden
from tests.core.hostile import ALL, HOSTILE, active, tags
from tests.core.judged import PACK, panel

SETTINGS = load_settings()
EACH = pytest.mark.parametrize("text", [*HOSTILE, ALL, "plain"])


def talk(text: str) -> Transcript:
    persona: dict[str, Any] = {text: text, "name": text, "trajectory": text, "topics": [{"subtopic": text}], "flaws": [{"name": text}], "writing_style": text}
    said = [Exchange(exchange_number=number, user=f"{text} {number}", assistant=text) for number in (1, 2)]
    return Transcript(id=text, persona=persona, exchanges=said, opening=text, system=text, provenance={"source": text, "claimed": {"caveat": text}})


def judged(text: str) -> Any:
    item = panel(talk(text), {"CQ1": "NO"}, one={"CQ1": "NO"}, two={})
    verdicts = [verdict.model_copy(update={"reasoning": text}) for verdict in item.final.verdicts]
    decided = item.final.model_copy(update={"verdicts": verdicts, "judge": text, "caveat": text, "shared_family": text})
    return item.model_copy(update={"final": decided, "by_judge": {f"{text} {name}": found for name, found in item.by_judge.items()}})


def assessed(text: str) -> tuple[Any, str]:
    item = judged(text)
    found = figures([item], PACK.rubric)
    batch = AssessmentBatch(domain=PACK.name, judges=[text], assessments=[], left_out=[LeftOut(name=text, reason=text)])
    return item, assessment_markdown(found, batch, PACK, [text], {(text, text): Bill(calls=1)}, 1.0)


def compared(text: str) -> Any:
    played = evaluation(**{"base": [0.5, 0.6, 0.7], text: [0.7, 0.9, 0.8]})
    conversations = [conversation(item, text) for item in played]
    played[-1] = lost(played[-1], text)
    more: dict[str, Any] = {
        "models": dict.fromkeys(("base", text), text),
        "judges": [text],
        "simulator": text,
        "caveats": [text],
        "criteria": {"C1": text, "G1": text},
    }
    general = {"base": [answer(text, text)], text: [answer(text, "Paris")]}
    answers = {"base": refusals(True, text), text: refusals(False, text)}
    more["refusals"] = Refusals(judge=text, answers=answers)
    return facts_of(played, conversations=conversations, general=general, bills={(text, text): Bill(calls=1)}, **more)


def night(text: str) -> str:
    figured: Any = dict.fromkeys(("made", "taken_up", "left", "assessed", "passed", "failed", "incomplete", "calls", "unpriced"), 1)
    named: Any = {"failed_checks": {text: 1}, "left_out": {text: 1}, "out_of_range": [text], "stopped": text, "trouble": [text]}
    report = NightReport(night=Night(name="n", first_seed=0, conversations=1), usd=0.0, seconds=1.0, **figured, **named)
    return night_markdown(report, [], measure_fidelity(PACK, [talk(text)]), {(text, text): Bill(calls=1)}, PACK)


def worked(text: str) -> dict[str, Any]:
    """Return the inputs of the reports of a pilot, a repair and a drafted pack."""
    pack = replace(PACK, name="pack")
    criterion = next(iter(pack.rubric.criteria))
    this = Round(number=1, pack_hash="p", model=text, conversations=1, passed=0, failed=1, incomplete=0, gates_failed=1, criteria={text: 0.5})
    row = {"id": text, "before": 0.5, "after": None, "outcome": text, "changed": [(1, [text, criterion])], "cut": None}
    finding = Finding(file=text, expert=text, problem=text, proposal=text, reason=text)
    return {
        **{"this": this, "earlier": [this], "advice": [text], "pack": pack, "report": text, "sheet": text, "caveats": [text], "figures": {"trust": None}},
        **{"failed": 1, "chosen": 1, "repaired": 1, "passed": 0, "rescued": None, "new": None, "cost": "none", "rows": [row], "reasons": [(text, 1)]},
        **{"caveat": text, "domain": "pack", "ready": 0.5, "folder": text, "installed": None, "lacking": [text], "findings": [finding], "variable": "X"},
        "reading": {"contradictions": [{"one": text, "other": text, "why": text}], "open": [text]},
        "bills": {(text, text): Bill(calls=1)},
    }


def optimised(text: str) -> str:
    """Return the report of a search whose model, prompts, changes and outcomes are the text."""
    played = [Played(seed=1, score=0.5)]
    start = Candidate(text=text, parent=None, changes=(), played=played, spent=1)
    better = Candidate(text=text, parent=0, changes=(text,), played=played, spent=2)
    steps = [Step(parent=0, seeds=[1], outcome=text, before=0.1, after=0.2)]
    named = {"domain": "pack", "model": text, "start": text, "file": text, "stopped": text}
    found = Optimisation(**named, budget=9, spent=2, candidates=[start, better], steps=steps, best=1)
    return markdown("optimisation", found=found, best=better, caveats=[text], bills={(text, text): Bill(calls=1)})


def reviewed(text: str) -> Any:
    """Return the review of a judge that wrote the text wherever it can."""
    return compare_labels(Labels({text: {"CQ1": Answer("YES")}}, {text: text}, []), [judged(text)], PACK.rubric, 10, 5)


def calibrated(text: str) -> str:
    """Return the report of a judge whose name, answers and golden reasons are the text."""
    item, judging = golden(PACK, "x", MT1="NO"), Judging(mode="single", confirm_gates="never")
    item.file.verdicts["MT1"] = item.file.verdicts["MT1"].model_copy(update={"reason": text})
    read = judged_golden(PACK, item, text, MT1="YES")
    read = read.model_copy(update={"verdicts": [verdict.model_copy(update={"reasoning": text}) for verdict in read.verdicts]})
    found = Calibration(
        **{"domain": PACK.name, "judge": text, "judging": judging, "day": "2026-12-04", "reported": [text], "judge_hash": "h", "golden_hash": "g"},
        **{"conversations": {"x": "w"}, "held_out": 0, "repeat": 1, "figures": golden_figures([item], {"x": read}, PACK.rubric)},
        spent=Spent(conversations=1, replies=1, repaired=0, again=0, tokens=10, usd=0.1, seconds=1.0),
    )
    measured = Measured(PACK, [item], [found], [found], None, CalibrationSettings(), {found.name: {"x": read}})
    return calibration_markdown(measured, Store("/nowhere"))


@cache
def reports(text: str) -> dict[str, str]:
    facts = compared(text)
    fidelity = measure_fidelity(PACK, [talk(text)])
    few = AuditLimits(few=1, phrases=5, phrase_share=0.1)
    audited = audit([talk(text).model_copy(update={"id": f"{text} {number}"}) for number in range(4)], PACK, few)
    findings = [Finding(file=text, expert=text, problem=text, proposal=text)]
    return {
        "assessment": assessed(text)[1],
        "evaluation": evaluation_markdown(facts),
        "section of a card": evaluation_section(facts, text),
        "fidelity": fidelity_markdown(fidelity, [LeftOut(name=text, reason=text)], {text: Lengths(conversations=1, mean=3, p10=3, median=3, p90=3)}),
        "night": night(text),
        "audit": markdown("audit", audit=audited, out_of_range=audit_warnings(audited, few)),
        **{name: markdown(name, facts=worked(text)) for name in ("pilot", "repair", "design")},
        "review": review_markdown(reviewed(text)),
        "calibration": calibrated(text),
        "optimisation": optimised(text),
        "left out": markdown("left_out", items=[(text, text)], more=0),
        "critique": markdown("critique", facts={"pack": PACK, "findings": findings, "bills": {(text, text): Bill(calls=1)}, "caveat": text}),
    }


@pytest.mark.slow
@EACH
def test_no_report_has_a_link_picture_or_html_from_foreign_text(text):
    for name, report in reports(text).items():
        assert not active(report, ours=("#quality", "#t=x", "report.html#G1-a-door")), name
        assert report.count("\n#") == reports("plain")[name].count("\n#"), name


@cache
def pages(text: str) -> list[tuple[list[str], list[str]]]:
    report = assessed(text)[1]
    return [tags(page) for page in (assessment_page(PACK, [judged(text)], folded_html(report)), evaluation_page(compared(text), report))]


@pytest.mark.slow
@pytest.mark.parametrize("text", [ALL, *HOSTILE[:2]])
def test_foreign_text_adds_no_element_or_address_to_a_page(text):
    for (found, wrong), (usual, namespaces) in zip(pages(text), pages("plain"), strict=True):
        assert set(wrong) <= set(namespaces)
        assert set(found) <= {*usual, "code"}
        assert found.count("script") == usual.count("script")


@EACH
def test_a_review_sheet_has_one_row_per_transcript_and_no_formula(text):
    rows = list(csv.reader(StringIO(write_sheet([judged(text)], PACK.rubric, "page.html").removeprefix("\ufeff"), newline="")))
    ids = next(number for number, row in enumerate(rows) if row[0] == "transcript_id")
    (row,) = [row for row in rows[ids + 1 :] if any(row)]
    assert row[0].lstrip("'") == text.lstrip("'")
    assert row[0][0] not in "=+-@\t\r"
