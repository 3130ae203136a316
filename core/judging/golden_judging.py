"""Judging a golden set: which assessments each judge and mode are to make, what exists of them, and what they took."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import get_args

from core.errors import PackError, SettingsError, nearest
from core.fingerprint import fingerprint
from core.judging.calibration import Calibration, Spent
from core.judging.golden import FOLDER, Golden, golden_folder, lacking, load_golden
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
class Sitting:
    """A judge in one mode, with the plans of its assessments by repeat and conversation."""

    judge: ModelChoice
    judging: Judging
    plans: list[dict[str, AssessmentPlan]]


def golden_sets(pack: Pack, folder: Path | None) -> list[Golden]:
    """Return a pack's golden set, and the conversations of a folder beside it.

    Raises:
        PackError: there is no conversation, or one is there twice.
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


def what_is_lacking(golden: Sequence[Golden], pack: Pack) -> str | None:
    """Say in one sentence what a set is too small for; none if it is not."""
    found = lacking(golden, pack.rubric)
    more = f" (and {len(found) - 1} more: understudy check-domain lists them)" if len(found) > 1 else ""
    return f"The golden set of {pack.name} is too small to measure each criterion: {found[0].rstrip('.')}{more}." if found else None


def modes_of(named: str | None, judging: Judging) -> list[Judging]:
    """Return how to ask: in the modes that are named, separated by commas, or as the settings say.

    Raises:
        SettingsError: an unknown mode, or one that is there twice.
    """
    allowed = get_args(Judging.model_fields["mode"].annotation)
    modes = [mode.strip() for mode in named.split(",")] if named else [judging.mode]
    for place, mode in enumerate(modes):
        if mode not in allowed or mode in modes[:place]:
            raise SettingsError(f"mode names {mode!r:.40}.{nearest(mode, allowed)} Allowed, each once, separated by commas: {', '.join(allowed)}.")
    return [judging.model_copy(update={"mode": mode}) for mode in modes]


def plan_sittings(run: Run, golden: Sequence[Golden], modes: Sequence[Judging], repeat: int) -> list[Sitting]:
    """Store the conversations, apart from those that are trained on, and plan their assessments by each of the run's judges in each mode."""
    refs = {item.id: _keep(run.store, run.pack, item) for item in golden}
    sittings = []
    for judging in modes:
        for judge in run.models["judge"]:
            plans = [
                {name: plan_assessment(run, ref, judge, number).model_copy(update={"judging": judging, "golden": True}) for name, ref in refs.items()}
                for number in range(repeat)
            ]
            sittings.append(Sitting(judge, judging, plans))
    return sittings


def is_made(store: Store, plan: AssessmentPlan) -> bool:
    """Say whether the assessment of a plan exists and is complete."""
    found = plan.existing(store)
    return found is not None and found.outcome is not Outcome.INCOMPLETE


def measure(run: Run, golden: Sequence[Golden], sitting: Sitting, entries: Mapping[str, Sequence[Line]], day: str) -> tuple[Calibration, dict[str, Assessment]]:
    """Return what a judge was measured to be, and its assessments by conversation.

    Args:
        entries: of the ledgers, by what was billed (`billed`).
    """
    paths = [{name: found.path for name, plan in plans.items() if (found := plan.existing(run.store))} for plans in sitting.plans]
    read = [{name: run.store.load(path, Assessment) for name, path in some.items()} for some in paths]
    again = [one for some in read for one in some.values()] if len(read) > 1 else []
    lines = [line for name, path in paths[0].items() for line in entries.get(f"{name} {PurePath(path).stem}", ())]
    judged = [item for item in golden if item.id in read[0]]
    made = Calibration(
        domain=run.pack.name,
        judge=sitting.judge.reference,
        judging=sitting.judging,
        day=day,
        reported=sorted({line["reported"] for line in lines if isinstance(line.get("reported"), str)}),
        judge_hash=judge_hash(run.pack, sitting.judge.reference),
        golden_hash=fingerprint([[item.id, item.file] for item in golden]),
        conversations={item.id: fingerprint([item.file.exchanges, item.file.verdicts, item.file.disputed]) for item in judged},
        held_out=sum(item.file.held_out for item in judged),
        repeat=len(sitting.plans),
        figures=golden_figures(golden, read[0], run.pack.rubric, again),
        spent=_spent(read[0], lines),
    )
    return made, read[0]


def billed(store: Store) -> dict[str, list[Line]]:
    """Return the calls of all calibrations by what they were billed for; a conversation is judged by no other flow."""
    found: dict[str, list[Line]] = {}
    for name in store.names("ledger", beginning=f"{FLOW}-"):
        for line in read_entries(store, name.removeprefix("ledger/")):
            found.setdefault(line["item"], []).append(line)
    return found


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
