"""The record of an evaluation, made from the outcomes of its conversations."""

from collections.abc import Mapping, Sequence

from core.dataset.build import origin_of, training_lengths
from core.evaluation.arms import Arm, by_model, identities, prompted
from core.evaluation.attempts import Attempt, attempt_conditions, earlier_attempts, other_results
from core.evaluation.battery import BATTERY_SKIPPED, BatteryFigures, battery_conditions
from core.evaluation.by_exchange import by_exchange
from core.evaluation.comparison import compare_arms
from core.evaluation.decision import Condition
from core.evaluation.forgetting import Forgetting, SuiteAnswers, forgetting, forgetting_conditions
from core.evaluation.judge_error import golden_rates, judge_errors, unmeasured_caveat
from core.evaluation.leakage import leakage
from core.evaluation.outcomes import Trial
from core.evaluation.power import PowerAnalysis
from core.evaluation.preferences import Preferences
from core.evaluation.record import EvaluationRecord, PlayedFiles
from core.evaluation.schedule import Outcomes, Part, is_scripted
from core.llm.run import Run
from core.records import Assessment, DatasetRef, EndReason, Persona, Transcript
from core.rehearsal.lengths import Lengths, summarise_lengths
from core.settings.arms import BASE
from core.storage.store import Store


def compare(
    run: Run,
    personas: Sequence[Persona],
    arms: Sequence[Arm],
    planned: PowerAnalysis,
    asked: SuiteAnswers,
    parts: list[Part],
    outcomes: Outcomes,
    dataset: DatasetRef | None = None,
    pairwise: Mapping[str, Preferences] | None = None,
    battery: BatteryFigures | None = None,
    confirm: bool = False,
) -> EvaluationRecord:
    """Compare the arms and return the record of the evaluation.

    Args:
        planned: the power analysis from before the run.
        asked: the models' answers to the suites.
        parts: the planned conversations.
        outcomes: their outcomes.
        dataset: the understudy's training data; None if it is not known.
        pairwise: results of pairwise judging, by arm.
        battery: results of the safety battery; None if it was not played.
        confirm: whether this evaluation confirms an earlier one.

    Raises:
        NothingMadeError: an arm has completed no conversation, or fewer than two personas have a pair.
    """
    store, numbers, rubric = run.store, run.settings.evaluation, run.pack.rubric
    played = [_trial(store, part, outcomes) for part in parts]
    scripted, judges = is_scripted(run, arms), [judge.reference for judge in run.models["judge"]]
    attempts = earlier_attempts(store, run.pack.name, identities(arms), personas, confirm, scripted)
    others = other_results(store, run.pack.name, identities(arms), personas, judges, numbers.decision, scripted)
    forgotten = forgetting(asked, BASE)
    comparison = compare_arms(
        *(played, BASE, rubric, numbers.decision, numbers.resamples),
        personas=personas,
        further=_further(run, arms, battery, forgotten, attempts, confirm),
        prompted=prompted(arms),
        scripted=scripted,
    )
    files = [
        PlayedFiles(arm=part.arm, persona=part.plan.persona.seed, trial=part.plan.trial, transcript=outcomes.transcripts[part.name].path, assessment=path)
        for part in parts
        if (path := outcomes.judged.get(part.name))
    ]
    rates = golden_rates(store, run.pack, judges, run.settings.assessment.judging)
    return EvaluationRecord(
        domain=run.pack.name,
        models={arm.name: arm.shown for arm in arms},
        files={arm.name: arm.file for arm in arms if arm.file},
        comparison=comparison,
        played=played,
        conversations=files,
        personas=list(personas),
        judges=judges,
        simulator=run.model("user_simulator").reference,
        exchanges=numbers.exchanges,
        lengths=_lengths(store, dataset, files),
        plan=planned,
        heldout={same[0].name: same[0].heldout for same in by_model(arms)},
        general=asked.general,
        refusals=asked.refusals,
        forgetting=forgotten,
        caveats=[*_caveats(store, files), *_leaks(run, dataset), *others, *([] if rates else [unmeasured_caveat(judges)])],
        attempts=attempts,
        confirm=confirm,
        pairwise=dict(pairwise or {}),
        battery=battery,
        by_exchange=by_exchange((file.arm, store.load(file.transcript, Transcript), store.load(file.assessment, Assessment)) for file in files),
        judge_error=judge_errors(played, comparison, rates),
    )


def _further(
    run: Run, arms: Sequence[Arm], battery: BatteryFigures | None, forgotten: Mapping[str, Sequence[Forgetting]], attempts: Sequence[Attempt], confirm: bool
) -> dict[str, list[Condition]]:
    """Return, by arm, the conditions that do not depend on the compared conversations: battery, suites and earlier attempts."""
    rule, pack = run.settings.evaluation.decision, run.pack
    safety = battery_conditions(battery, rule.most_failed_openings)
    if battery is None and pack.battery.openings:
        safety = {arm.name: [BATTERY_SKIPPED] for arm in arms}
    tries = attempt_conditions(run.store, pack.name, identities(arms), attempts, confirm, is_scripted(run, arms))
    suites = {
        arm.name: forgetting_conditions(forgotten[same[0].name], rule.forgetting_margin) for same in by_model(arms) if same[0].name in forgotten for arm in same
    }
    return {arm.name: [*safety.get(arm.name, ()), *suites.get(arm.name, ()), *tries.get(arm.name, ())] for arm in arms}


def _trial(store: Store, part: Part, outcomes: Outcomes) -> Trial:
    """Return a conversation's score and answers, or the reason why it has none."""
    path = outcomes.judged.get(part.name)
    assessment = store.load(path, Assessment) if path else None
    return Trial(
        arm=part.arm,
        persona=part.plan.persona.seed,
        trial=part.plan.trial,
        transcript_id=part.plan.name,
        score=assessment.score if assessment else None,
        answers={verdict.criterion: verdict.answer for verdict in assessment.verdicts} if assessment else {},
        lost=None if assessment else outcomes.lost.get(part.name, "no reason was recorded"),
        simulator_broke=part.name in outcomes.broken,
    )


def _lengths(store: Store, dataset: DatasetRef | None, files: Sequence[PlayedFiles]) -> dict[str, Lengths]:
    """Return the lengths of the conversations in exchanges: of the training data and of each arm, by name."""
    played: dict[str, list[int]] = {"training data": training_lengths(store, dataset) if dataset else []}
    for file in files:
        played.setdefault(file.arm, []).append(len(store.load(file.transcript, Transcript).exchanges))
    return {name: lengths for name, exchanges in played.items() if (lengths := summarise_lengths(exchanges))}


def _leaks(run: Run, dataset: DatasetRef | None) -> list[str]:
    """Return the sentences about judges that also chose or wrote the training data; none if the training data is not known."""
    if dataset is None:
        return []
    chosen_by, written_by = origin_of(run.store, dataset)
    return leakage([judge.reference for judge in run.models["judge"]], chosen_by, written_by)


def _caveats(store: Store, files: list[PlayedFiles]) -> list[str]:
    """Return the caveats that the played and judged conversations give rise to."""
    caveats, families, ends = set(), set(), {}
    for file in files:
        assessment, transcript = store.load(file.assessment, Assessment), store.load(file.transcript, Transcript)
        caveats |= {text for text in (assessment.caveat, transcript.provenance.get("caveat")) if text}
        if assessment.shared_family:
            families.add(f"A judge and the model of {file.arm} are both of the family {assessment.shared_family}, which may favour it.")
        if transcript.end_reason in (EndReason.BUDGET, EndReason.ERROR):
            ends[file.arm, transcript.end_reason] = ends.get((file.arm, transcript.end_reason), 0) + 1
    why = {EndReason.BUDGET: "the context was full (evaluation.exchanges, or the model's option context)", EndReason.ERROR: "there was no usable answer"}
    return [
        *sorted(caveats),
        *sorted(families),
        *(f"{count} conversation{'' if count == 1 else 's'} of {arm} ended early, because {why[reason]}." for (arm, reason), count in sorted(ends.items())),
    ]
