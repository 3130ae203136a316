"""A night in progress: its personas and those that earlier nights left, its results so far, and its report."""

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from core.errors import PersonaError, RunStoppedError
from core.llm.run import Run
from core.records import Assessment, AssessmentRef, LeftOut, Outcome, Transcript, TranscriptRef
from core.rehearsal.fidelity import measure_fidelity
from core.reports.nights import Night, NightReport, ends_at, left_by, plan_night


@dataclass
class NightlyState:
    """A night in progress.

    Args:
        night: the night's new personas.
        taken_up: seeds that earlier nights left without a conversation.
        end: time after which nothing more may be started.
        transcripts: the night's conversations.
        assessed: assessments of this night, also of conversations of earlier nights.
        left_out: items that were left out.
        batch: name of its batch of assessments; None if nothing was judged.
        repaired: number of transcripts that almost passed, were repaired and pass now.
        stopped: why the night ended early; None if it did not.
        ended_by: the error that ended it; None if no error did.
        trouble: errors that need a person.
    """

    night: Night
    taken_up: list[int]
    end: datetime
    transcripts: list[TranscriptRef] = field(default_factory=list)
    assessed: list[AssessmentRef] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    batch: str | None = None
    repaired: int = 0
    stopped: str | None = None
    ended_by: RunStoppedError | None = None
    trouble: list[RunStoppedError] = field(default_factory=list)

    @property
    def seeds(self) -> list[int]:
        """Seeds of all conversations that the night plays."""
        return [*self.taken_up, *self.night.seeds]

    def should_stop(self) -> bool:
        """Return whether nothing more may be started."""
        return datetime.now(UTC) >= self.end

    def leave_out(self, damaged: Mapping[str, str], warn: Callable[[str], object]) -> None:
        """Record files that cannot be read as left out.

        Args:
            damaged: the reason for each path.
            warn: called with a sentence for each file that was not recorded before.
        """
        recorded = {item.name for item in self.left_out}
        for path, reason in damaged.items():
            if path not in recorded:
                warn(f"Left out: {reason}")
                self.left_out.append(LeftOut(name=path, reason=reason))


def start_night(run: Run, conversations: int | None, name: str) -> NightlyState:
    """Return the state of a night with its personas; a resumed night keeps the personas of its plan.

    Args:
        run: the run of the night.
        conversations: number of new conversations; None takes the setting.
        name: name of the night.

    Raises:
        PersonaError: the seeds below those of the evaluation are used up.
    """
    store, settings, folder = run.store, run.settings, f"nights/{run.pack.name}/plans"
    earlier = {plan.name: plan for plan in (store.load(path, Night) for path in store.names(folder, ".json"))}
    existing_seeds = _existing_seeds(run)
    night = earlier.pop(name, None)
    if night is None:
        count = settings.nightly.conversations if conversations is None else conversations
        night = plan_night(name, count, list(earlier.values()), existing_seeds, settings.generation.first_seed)
        if night.seeds.stop > settings.evaluation.first_seed:
            raise PersonaError(
                f"The night would use the seeds {night.first_seed} to {night.seeds.stop - 1}, and those from {settings.evaluation.first_seed} on are kept for "
                "the evaluation. Raise evaluation.first_seed, or lower nightly.conversations."
            )
        store.write_json(f"{folder}/{name}.json", night)
    taken_up = left_by(list(earlier.values()), existing_seeds)
    end = ends_at(settings.nightly.until, settings.nightly.timezone, datetime.now(UTC))
    return NightlyState(night, taken_up, end)


def night_report(run: Run, state: NightlyState) -> NightReport:
    """Return the report of a night."""
    assessments = [run.store.load(item.path, Assessment) for item in state.assessed]
    outcomes = Counter(item.score.outcome for item in assessments)
    failed = Counter(check for item in assessments for check in {*item.score.failed_checks, *item.score.failed_gates})
    left, bill = len(state.seeds) - len(state.transcripts), run.ledger.bill
    transcripts = [run.store.load(ref.path, Transcript) for ref in state.transcripts]
    return NightReport(
        night=state.night,
        made=len(state.transcripts),
        taken_up=len(set(state.taken_up) & {seed_in_name(ref.path) for ref in state.transcripts}),
        left=left,
        assessed=len(assessments),
        passed=outcomes[Outcome.PASS],
        failed=outcomes[Outcome.FAIL],
        incomplete=outcomes[Outcome.INCOMPLETE],
        mended=state.repaired,
        failed_checks=dict(failed.most_common()),
        left_out=dict(Counter(item.reason for item in state.left_out).most_common()),
        out_of_range=measure_fidelity(run.pack, transcripts).out if transcripts else [],
        usd=bill.usd,
        calls=bill.calls,
        unpriced=bill.unpriced,
        seconds=time.monotonic() - run.began,
        batch=state.batch,
        stopped=state.stopped or ("the end time was reached." if state.should_stop() and left else None),
        trouble=[str(error) for error in state.trouble],
    )


def night_summary(report: NightReport) -> dict[str, str]:
    """Return a night's figures in words, by name."""
    rate = f", {100 * report.pass_rate:.0f} %" if report.pass_rate is not None else ""
    return {
        "made": f"{report.made} conversations, {report.taken_up} of them of earlier nights; {report.left} left",
        "assessed": f"{report.assessed}: {report.passed} passed{rate}, {report.failed} failed, {report.incomplete} incomplete",
        "cost": f"{report.usd:.4f} USD, {report.calls:,} calls",
        "ended early": report.stopped or "no",
    }


def _existing_seeds(run: Run) -> set[int]:
    return {seed for path in run.store.names(f"transcripts/{run.pack.name}", ".json") if (seed := seed_in_name(path)) is not None}


def seed_in_name(path: str) -> int | None:
    """Return the persona's seed, which begins a transcript's name; None for a file of another program."""
    prefix = path.rpartition("/")[2].partition("-")[0]
    return int(prefix) if re.fullmatch("[0-9]{1,18}", prefix) else None
