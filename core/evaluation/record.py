"""The file of a finished evaluation, `comparison.json`: all figures, for reports, for other tools, and as the pilot of the next evaluation."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from core.errors import EvaluationError
from core.evaluation.attempts import FILE, Attempt
from core.evaluation.battery import BatteryFigures
from core.evaluation.battery_play import battery_words
from core.evaluation.beside_prompts import prompt_sentence
from core.evaluation.by_exchange import ByExchange
from core.evaluation.comparison import ArmSummary, Comparison
from core.evaluation.facts import Conversation, EvaluationFacts, HeldOutLoss
from core.evaluation.forgetting import Forgetting
from core.evaluation.general_prompts import GeneralAnswer
from core.evaluation.judge_error import JudgeError
from core.evaluation.next_step import model_named, next_step
from core.evaluation.outcomes import Trial
from core.evaluation.paired_statistics import format_p
from core.evaluation.pairwise import ITEM as PAIR
from core.evaluation.power import PowerAnalysis
from core.evaluation.preferences import Preferences
from core.evaluation.recorded import read_recorded
from core.evaluation.refusals import Refusals
from core.evaluation.sentences import why
from core.evaluation.suites import BILLED
from core.judging.calibration import measured_judges
from core.llm.bills import Bill, bills
from core.llm.run import Run
from core.packs.pack import Pack
from core.quantities import format_difference, format_interval
from core.records import Assessment, Persona, Record, Transcript
from core.rehearsal.lengths import Lengths
from core.yaml_files import explain


class PlayedFiles(Record):
    """Paths of a conversation's transcript and assessment, below the data root."""

    arm: str
    persona: int
    trial: int
    transcript: str
    assessment: str


class EvaluationRecord(Record):
    """An evaluation without its transcripts and its bill.

    Most fields are those of `core.evaluation.facts.EvaluationFacts`.

    Args:
        conversations: paths of the judged conversations.
        personas: all personas; empty for a recorded evaluation.
    """

    domain: str
    models: dict[str, str]
    files: dict[str, str] = Field(default_factory=dict)
    comparison: Comparison
    played: list[Trial]
    conversations: list[PlayedFiles] = Field(default_factory=list)
    personas: list[Persona] = Field(default_factory=list)
    judges: list[str] = Field(default_factory=list)
    simulator: str | None = None
    exchanges: int | None = None
    lengths: dict[str, Lengths] = Field(default_factory=dict)
    plan: PowerAnalysis | None = None
    heldout: dict[str, HeldOutLoss] = Field(default_factory=dict)
    general: dict[str, list[GeneralAnswer]] = Field(default_factory=dict)
    refusals: Refusals | None = None
    forgetting: dict[str, list[Forgetting]] = Field(default_factory=dict)
    caveats: list[str] = Field(default_factory=list)
    attempts: list[Attempt] = Field(default_factory=list)
    confirm: bool = False
    pairwise: dict[str, Preferences] = Field(default_factory=dict)
    battery: BatteryFigures | None = None
    by_exchange: dict[str, ByExchange] = Field(default_factory=dict)
    judge_error: dict[str, JudgeError] = Field(default_factory=dict)


def facts_of(record: EvaluationRecord, pack: Pack, conversations: Sequence[Conversation], spent: Mapping[tuple[str, str], Bill]) -> EvaluationFacts:
    """Return the facts of a record, with its transcripts, the rubric's names and the bill.

    Args:
        record: the evaluation.
        pack: the pack with its rubric.
        conversations: the transcripts and assessments.
        spent: cost by role and model.
    """
    rubric = pack.rubric
    return EvaluationFacts(
        domain=record.domain,
        comparison=record.comparison,
        models=record.models,
        files=record.files,
        played=record.played,
        conversations=conversations,
        personas={persona.seed: persona for persona in record.personas},
        criteria={key: criterion.head.name for key, criterion in rubric.criteria.items()},
        gates=[key for key, criterion in rubric.criteria.items() if criterion.head.gate],
        categories=rubric.numbers.categories,
        judges=record.judges,
        simulator=record.simulator,
        exchanges=record.exchanges,
        lengths=record.lengths,
        plan=record.plan,
        heldout=record.heldout,
        general=record.general,
        refusals=record.refusals,
        forgetting=record.forgetting,
        bills=spent,
        caveats=record.caveats,
        attempts=record.attempts,
        confirm=record.confirm,
        pairwise=record.pairwise,
        battery=record.battery,
        by_exchange=record.by_exchange,
        judge_error=record.judge_error,
    )


def facts_of_run(run: Run, record: EvaluationRecord) -> EvaluationFacts:
    """Return the facts of a record, with transcripts and costs from the run's store."""
    ids = {item.transcript_id for item in record.played}
    spent = bills(run.store, run.ledger.run, lambda item: item in ids or item.startswith((*BILLED, PAIR)))
    conversations = [
        Conversation(item.arm, item.persona, item.trial, run.store.load(item.transcript, Transcript), run.store.load(item.assessment, Assessment))
        for item in record.conversations
    ]
    measured = measured_judges(run.store, run.pack, record.judges, run.settings.assessment.judging)
    failed = battery_words(run.store, record.battery) if record.battery else []
    return replace(facts_of(record, run.pack, conversations, spent), measured=measured, battery_words=failed)


def summary(record: EvaluationRecord) -> dict[str, str]:
    """Return the main figures as text, by name."""
    arms, base = record.comparison.arms, record.comparison.base
    figures = {f"{base} score": _mean(arms[base]), f"{base} passed": f"{arms[base].pass_count} conversations"}
    for arm, one in record.comparison.comparisons.items():
        score, several = one.score, len(record.comparison.comparisons) > 1
        interval = f"95 % interval {format_interval(score.interval)}" if score.interval else "no interval"
        figures[f"{arm} score"] = _mean(arms[arm])
        figures[f"{arm} passed"] = f"{arms[arm].pass_count} conversations"
        means = f"{score.arm_mean:.3f} against {score.base_mean:.3f}"
        figures[f"{arm} difference"] = f"{format_difference(score.difference)} over {score.personas} personas ({means}, {interval}, p {format_p(score.p_holm)})"
        figures[f"decision on {arm}" if several else "decision"] = f"{one.decided.verdict}: {why(one.decided)}"
        figures[f"next step, {arm}" if several else "next step"] = next_step_of(record, arm)
        figures |= {f"{arm} against {beside.prompted}": prompt_sentence(arm, beside) for beside in one.beside_prompts}
    return figures


def _mean(arm: ArmSummary) -> str:
    """Return an arm's mean score over all completed conversations, which need not be those in which arms are compared."""
    completed = arm.missing.completed
    return f"{arm.mean_score:.3f} over {completed} conversation{'' if completed == 1 else 's'}"


def next_step_of(record: EvaluationRecord | EvaluationFacts, arm: str) -> str:
    """Return the sentence that says what to do after the decision on an arm."""
    base = record.comparison.base
    named = model_named(record.models.get(base, base), record.files.get(base))
    return next_step(record.comparison.comparisons[arm], record.domain, named, recorded=not record.judges)


class _Base(BaseModel):
    base: str


class _Pilot(BaseModel):
    """The parts of a pilot's file that are used; the rest may come from another version."""

    comparison: _Base
    played: list[Trial]


def read_pilot(path: Path) -> tuple[list[Trial], str | None]:
    """Read the conversations of an earlier evaluation.

    Args:
        path: a `comparison.json`, or a folder of recorded assessments.

    Returns:
        The conversations, and the name of the base if the file states it.

    Raises:
        EvaluationError: the file or folder cannot be read.
    """
    if path.is_dir():
        return read_recorded(path), None
    try:
        record_data: Any = json.loads(path.read_text(encoding="utf-8"))
        pilot = _Pilot.model_validate(record_data)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as broken:
        raise EvaluationError(
            f"{path} cannot be read as a pilot ({broken}). Give the {FILE} of an evaluation, or a folder of recorded assessments."
        ) from broken
    except ValidationError as invalid:
        raise EvaluationError(f"{path} is not the {FILE} of an evaluation: {explain(invalid)}") from invalid
    return pilot.played, pilot.comparison.base
