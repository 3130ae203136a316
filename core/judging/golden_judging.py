"""Judging of a golden set: the assessments that each judge and mode must make, those that exist, and their cost."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import get_args

from core.errors import PackError, SettingsError, nearest
from core.fingerprint import fingerprint
from core.judging.calibration import Calibration, Spent
from core.judging.golden import FOLDER, Golden, golden_folder, golden_gaps, load_golden
from core.judging.golden_figures import golden_figures
from core.judging.plan import AssessmentPlan, judge_hash, plan_assessment
from core.llm.bills import amount, read_entries
from core.llm.run import Run
from core.packs.pack import Pack
from core.records import Assessment, ModelChoice, Outcome, Transcript, TranscriptRef
from core.settings.assessment import Judging
from core.storage.shared_log import Line
from core.storage.store import Store

FLOW = "calibration"
UNUSABLE = ("InvalidOutputError", "TruncatedError", "RefusedError")
"""Outcomes of a call whose reply could not be used."""


@dataclass(frozen=True)
class GoldenPlan:
    """A judge in one mode, with the plans of its assessments by repeat and conversation."""

    judge: ModelChoice
    judging: Judging
    plans: list[dict[str, AssessmentPlan]]


def golden_sets(pack: Pack, folder: Path | None) -> list[Golden]:
    """Return a pack's golden set, followed by the conversations of another folder.

    Args:
        folder: a person's own golden conversations; None for the pack's set alone.

    Raises:
        PackError: there is no conversation, or one occurs twice.
    """
    own, shipped = load_golden(pack, folder) if folder else [], load_golden(pack)
    if folder and not own:
        raise PackError(f"{folder} has no golden conversation (*.yaml). Correct the path, or leave --golden out.")
    if not (own or shipped):
        place = golden_folder(pack)
        raise PackError(f"The pack {pack.name} has no golden conversation in {place}. Write some (docs/judging.md), or name a folder with --golden.")
    names, words = {item.id for item in shipped}, {fingerprint(item.file.exchanges) for item in shipped}
    if twice := [item.id for item in own if item.id in names or fingerprint(item.file.exchanges) in words]:
        raise PackError(f"{folder}/{twice[0]}.yaml has the name or the words of a conversation of the pack's golden set. Rename it or take it out.")
    return [*shipped, *own]


def size_warning(golden: Sequence[Golden], pack: Pack) -> str | None:
    """Return one sentence on what a set is too small to measure; None if it is large enough."""
    gaps = golden_gaps(golden, pack.rubric)
    more = f" (and {len(gaps) - 1} more: understudy check-domain lists them)" if len(gaps) > 1 else ""
    return f"The golden set of {pack.name} is too small to measure each criterion: {gaps[0].rstrip('.')}{more}." if gaps else None


def modes_of(named: str | None, judging: Judging) -> list[Judging]:
    """Return the judging settings once for each mode.

    Args:
        named: modes, separated by commas; None for the mode of the settings.
        judging: the settings.

    Raises:
        SettingsError: a mode is unknown, or named twice.
    """
    allowed = get_args(Judging.model_fields["mode"].annotation)
    modes = [mode.strip() for mode in named.split(",")] if named else [judging.mode]
    for place, mode in enumerate(modes):
        if mode not in allowed or mode in modes[:place]:
            raise SettingsError(f"mode names {mode!r:.40}.{nearest(mode, allowed)} Allowed, each once, separated by commas: {', '.join(allowed)}.")
    return [judging.model_copy(update={"mode": mode}) for mode in modes]


def plan_golden(run: Run, golden: Sequence[Golden], modes: Sequence[Judging], repeat: int) -> list[GoldenPlan]:
    """Store the conversations, in a folder from which nothing is trained, and plan their assessments by each of the run's judges in each mode.

    Args:
        repeat: assessments of each conversation.
    """
    refs = {item.id: _keep(run.store, run.pack, item) for item in golden}
    golden_plans = []
    for judging in modes:
        for judge in run.models["judge"]:
            plans = [
                {name: plan_assessment(run, ref, judge, number).model_copy(update={"judging": judging, "golden": True}) for name, ref in refs.items()}
                for number in range(repeat)
            ]
            golden_plans.append(GoldenPlan(judge, judging, plans))
    return golden_plans


def is_assessed(store: Store, plan: AssessmentPlan) -> bool:
    """Return whether the assessment of a plan exists and is complete."""
    existing = plan.existing(store)
    return existing is not None and existing.outcome is not Outcome.INCOMPLETE


def measure(
    run: Run, golden: Sequence[Golden], golden_plan: GoldenPlan, entries: Mapping[str, Sequence[Line]], day: str
) -> tuple[Calibration, dict[str, Assessment]]:
    """Return a judge's calibration, and its first assessments by conversation.

    Args:
        entries: ledger entries by the item that they are billed for, from `billed`.
        day: of the measurement, as in 2026-01-31.
    """
    paths = [{name: ref.path for name, plan in plans.items() if (ref := plan.existing(run.store))} for plans in golden_plan.plans]
    by_repeat = [{name: run.store.load(path, Assessment) for name, path in repeat.items()} for repeat in paths]
    again = [one for assessments in by_repeat for one in assessments.values()] if len(by_repeat) > 1 else []
    lines = [line for name, path in paths[0].items() for line in entries.get(f"{name} {PurePath(path).stem}", ())]
    first = by_repeat[0]
    judged = [item for item in golden if item.id in first]
    calibration = Calibration(
        domain=run.pack.name,
        judge=golden_plan.judge.reference,
        judging=golden_plan.judging,
        day=day,
        reported=sorted({line["reported"] for line in lines if isinstance(line.get("reported"), str)}),
        judge_hash=judge_hash(run.pack, golden_plan.judge.reference),
        golden_hash=fingerprint([[item.id, item.file] for item in golden]),
        conversations={item.id: fingerprint([item.file.exchanges, item.file.verdicts, item.file.disputed]) for item in judged},
        held_out=sum(item.file.held_out for item in judged),
        repeat=len(golden_plan.plans),
        figures=golden_figures(golden, first, run.pack.rubric, again),
        spent=_spent(first, lines),
    )
    return calibration, first


def billed(store: Store) -> dict[str, list[Line]]:
    """Return the ledger entries of all calibrations by the item that they are billed for; no other flow judges golden conversations."""
    entries: dict[str, list[Line]] = {}
    for name in store.names("ledger", beginning=f"{FLOW}-"):
        for line in read_entries(store, name.removeprefix("ledger/")):
            entries.setdefault(line["item"], []).append(line)
    return entries


def _spent(assessments: Mapping[str, Assessment], lines: Collection[Line]) -> Spent:
    return Spent(
        conversations=len(assessments),
        replies=sum(line["outcome"] == "ok" for line in lines),
        repaired=sum(count for one in assessments.values() for count in one.provenance.get("repaired", {}).values()),
        again=sum(line["outcome"] in UNUSABLE for line in lines),
        tokens=sum(int(amount(line.get(name))) for line in lines for name in ("input_tokens", "output_tokens")),
        usd=None if any(line.get("usd") is None for line in lines) else sum(amount(line.get("usd")) for line in lines),
        seconds=round(sum(amount(line.get("seconds")) for line in lines), 1),
    )


def _keep(store: Store, pack: Pack, item: Golden) -> TranscriptRef:
    transcript: Transcript = item.transcript
    path = store.write_json(f"{FOLDER}/{pack.name}/{fingerprint(transcript)}.json", transcript)
    return TranscriptRef(id=item.id, path=path, exchanges=len(transcript.exchanges))
