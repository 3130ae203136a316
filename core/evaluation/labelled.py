"""An evaluation with a person's blind labels: the judge's error rates in each arm, and the difference corrected for its errors.

The corrected difference is unbiased for any errors of the judge, even if it is lenient to one arm. It is the judge's difference over all conversations
minus the judge's mean error on the labelled ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.evaluation.blind_review import Coded
from core.evaluation.comparison import ArmComparison
from core.evaluation.decision import Condition, Decided
from core.evaluation.judge_error import JudgeError, JudgeRates, Rate, judge_error
from core.evaluation.next_step import model_named, next_step
from core.evaluation.outcomes import Pairs, pair_up, points
from core.evaluation.paired_statistics import Interval
from core.evaluation.record import EvaluationRecord
from core.judging.golden_figures import Rates, Seen, rates
from core.judging.intervals import independent_of
from core.judging.label_statistics import Estimate
from core.judging.review_sheet import Labels
from core.judging.scoring import score, value_of
from core.packs.rubric import Rubric
from core.quantities import format_interval
from core.records import Answer, Outcome, Verdict


@dataclass(frozen=True)
class Rectified:
    """A difference of mean scores, corrected for the judge's errors.

    Args:
        judged, person: mean of arm − base over the labelled pairs, by the judge and by the person; None if no pair is labelled.
        difference: corrected difference over all pairs; None if no pair is labelled.
        interval: 95 % interval of it; None with fewer than two labelled personas.
        personas, pairs: personas and pairs that are labelled in both arms on every criterion that applies.
    """

    judged: float | None
    person: float | None
    difference: float | None
    interval: Interval | None
    personas: int
    pairs: int


@dataclass(frozen=True)
class LabelledArm:
    """An arm compared with the base, with a person's labels.

    Args:
        before: the comparison by the judge alone.
        rectified: the difference corrected for the judge's errors.
        failures: how many more of 100 failures the judge passes for the arm than for the base; without a value if either arm has no failure.
        undone: the leniency that would undo the judge's difference, with the judge's rates from the labels of the base; None if these are not known.
        decided: the decision with the labels as a further condition.
        next_step: what to do after it.
    """

    before: ArmComparison
    rectified: Rectified
    failures: Estimate
    undone: JudgeError | None
    decided: Decided
    next_step: str


@dataclass(frozen=True)
class LabelledEvaluation:
    """An evaluation with a person's labels.

    Args:
        folder: folder of the evaluation.
        base: name of the base.
        labelled: number of conversations with a label, by arm.
        rates: the judge's rates by arm, over the criteria of the score.
        lenient: by arm, the share of answers that the judge passes minus the share that the person passes.
        arms: the comparisons by arm.
    """

    folder: str
    base: str
    labelled: dict[str, int]
    rates: dict[str, Rates]
    lenient: dict[str, float]
    arms: dict[str, LabelledArm]


def by_labels(record: EvaluationRecord, folder: str, coded: Mapping[str, Coded], labels: Labels, rubric: Rubric) -> LabelledEvaluation:
    """Return the evaluation with a person's labels.

    Args:
        record: the evaluation by the judge.
        folder: its folder.
        coded: its conversations by code.
        labels: the person's labels, by code.
        rubric: the rubric of the assessments.
    """
    seen = {arm: _seen([one for one in coded.values() if one.played.arm == arm], labels, rubric) for arm in record.comparison.arms}
    rates_by_arm = {arm: rates(answers) for arm, answers in seen.items()}
    base, arms = record.comparison.base, {}
    for arm, before in record.comparison.comparisons.items():
        conversations = [{(item.persona, item.trial): item for item in record.played if item.arm == one} for one in (base, arm)]
        pairs = pair_up(conversations[0], conversations[1], points)
        rectified = rectify(pairs, _labelled_pairs(coded, labels, rubric, base, arm))
        measured = _judge_rates(rates_by_arm[base], folder)
        undone = judge_error(pairs, measured, before.decided.decision == "ship", record.comparison.rule.improvement) if measured else None
        decided = decide_again(before.decided, condition(rectified))
        after = next_step(before, record.domain, model_named(record.models.get(base, base), record.files.get(base)), decided)
        arms[arm] = LabelledArm(before, rectified, failures_let_pass(rates_by_arm[base].tpr, rates_by_arm[arm].tpr), undone, decided, after)
    usable = {arm: [one for one in answers if one.called is not None] for arm, answers in seen.items()}
    return LabelledEvaluation(
        folder=folder,
        base=base,
        labelled={arm: len({one.conversation for one in answers}) for arm, answers in seen.items()},
        rates=rates_by_arm,
        lenient={arm: _lenient(answers) for arm, answers in usable.items() if answers},
        arms=arms,
    )


def _lenient(seen: Sequence[Seen]) -> float:
    """Return the share of usable answers that the judge passes minus the share that the person passes."""
    return float(np.mean([one.called is False for one in seen]) - np.mean([not one.fails for one in seen]))


def rectify(pairs: Pairs, labelled: Mapping[int, Sequence[tuple[float, float]]]) -> Rectified:
    """Return a difference corrected for the judge's errors: the judge's over all personas, minus its mean error on the labelled ones.

    A persona's labelled trials are averaged. The variance is the sum of the variances of both means and twice their covariance, and t has the degrees of
    freedom of the labelled personas. In simulation the interval covers in 94 to 96 % at any leniency (bench/judge_statistics.py). A weight fitted to
    the labels (PPI++) would make it 3 % narrower, with 1 point less coverage.

    Args:
        pairs: the judge's scores.
        labelled: by persona, for each labelled trial, the difference arm − base by the person and by the judge.

    Source:
        Angelopoulos, Bates, Fannjiang, Jordan & Zrnic, "Prediction-powered inference", Science 382 (2023): 669–674, arXiv 2301.09633; as a difference
        estimator: Särndal, Swensson & Wretman, Model Assisted Survey Sampling (1992), section 6.3.
    """
    means = {persona: np.mean(labelled[persona], axis=0) for persona in pairs.personas if labelled.get(persona)}
    number = sum(len(labelled[persona]) for persona in means)
    if not means:
        return Rectified(None, None, None, None, 0, 0)
    person, judged = np.array(list(means.values())).T
    difference = pairs.difference - float((judged - person).mean())
    personas, all_personas = len(means), len(pairs.personas)
    interval = None
    if personas > 1:
        from scipy import special

        errors, judge_differences = person - judged, np.array([arm - base for persona, (_, base, arm) in pairs.personas.items() if persona in means])
        parts = errors.var(ddof=1) / personas, pairs.differences.var(ddof=1) / all_personas
        # with few personas the estimated covariance may cancel too much of the variance, so a quarter of the larger part remains
        variance = max(sum(parts) + 2 * float(np.cov(errors, judge_differences)[0, 1]) / all_personas, max(parts) / 4)
        half = float(special.stdtrit(personas - 1, 0.975)) * float(np.sqrt(variance))
        interval = (max(-1.0, difference - half), min(1.0, difference + half)) if half else None
    return Rectified(float(judged.mean()), float(person.mean()), difference, interval, personas, number)


def failures_let_pass(base: Estimate, arm: Estimate) -> Estimate:
    """Return how many more of 100 failures a judge passes for an arm than for the base.

    Args:
        base, arm: the judge's TPR in each, the share of failures that it finds.

    Source:
        Newcombe, "Interval estimation for the difference between independent proportions", Stat Med 17 (1998): 873–890, method 10.
    """
    if base.value is None or arm.value is None or base.interval is None or arm.interval is None:
        return Estimate(None, min(base.n, arm.n), reason="the person failed nothing in one of the arms")
    difference = base.value - arm.value
    low = difference - np.hypot(base.value - base.interval[0], arm.interval[1] - arm.value)
    high = difference + np.hypot(base.interval[1] - base.value, arm.value - arm.interval[0])
    return Estimate(100 * difference, min(base.n, arm.n), (100 * float(low), 100 * float(high)))


def condition(rectified: Rectified) -> Condition:
    """Return the condition that a person's labels add to the decision on an arm."""
    interval = rectified.interval
    shown = format_interval(interval) if interval else "no interval can be computed"
    return Condition(
        text="lower end of the 95 % interval by a person's labels above 0",
        figure=interval[0] if interval else None,
        found=f"{shown}, {rectified.pairs} pairs labelled",
        holds=interval is not None and interval[0] > 0,
        helps="labels",
    )


def decide_again(decided: Decided, further: Condition) -> Decided:
    """Return a decision with one more condition. If it is not met, "ship" becomes "iterate"; it never makes a decision better."""
    conditions = [*decided.conditions, further]
    if further.holds:
        return decided.model_copy(update={"conditions": conditions})
    unmet = f"Not met: {further.text} ({further.found})."
    if decided.decision == "ship":
        return decided.model_copy(update={"decision": "iterate", "reason": unmet, "conditions": conditions})
    return decided.model_copy(update={"conditions": conditions, "reason": f"{decided.reason} {unmet}"})


def _seen(coded: Sequence[Coded], labels: Labels, rubric: Rubric) -> list[Seen]:
    """Return each label on a criterion of the score, with the judge's answer."""
    seen = []
    for one in coded:
        name, exchanges = one.judged.transcript.id, len(one.judged.transcript.exchanges)
        answers = {verdict.criterion: verdict.answer for verdict in one.judged.final.verdicts}
        for key, label in labels.answers.get(name, {}).items():
            criterion, answer = rubric.criteria[key], answers.get(key, Answer.ERROR)
            if criterion.head.gate:
                continue
            called = value_of(criterion, answer)
            fails = value_of(criterion, label) == 0
            seen.append(Seen(name, key, label, answer, fails, None if called is None else called == 0, held_out=False, exchanges=exchanges))
    return seen


def _labelled_pairs(coded: Mapping[str, Coded], labels: Labels, rubric: Rubric, base: str, arm: str) -> dict[int, list[tuple[float, float]]]:
    """Return, by persona, the differences arm − base by the person and by the judge, for each trial that is labelled completely in both arms."""
    scores: dict[tuple[int, int], dict[str, tuple[float, float]]] = {}
    for code, one in coded.items():
        verdicts = [Verdict(criterion=name, answer=answer, reasoning="") for name, answer in labels.answers.get(code, {}).items()]
        person = score(rubric, verdicts, len(one.judged.transcript.exchanges))
        judged = one.judged.final.score
        if person.outcome is not Outcome.INCOMPLETE and judged.outcome is not Outcome.INCOMPLETE and person.score is not None and judged.score is not None:
            scores.setdefault((one.played.persona, one.played.trial), {})[one.played.arm] = (person.score, judged.score)
    differences: dict[int, list[tuple[float, float]]] = {}
    for (persona, _), both in scores.items():
        if base in both and arm in both:
            differences.setdefault(persona, []).append((both[arm][0] - both[base][0], both[arm][1] - both[base][1]))
    return differences


def _judge_rates(labelled: Rates, folder: str) -> JudgeRates | None:
    (tpr, tnr), source = (labelled.tpr, labelled.tnr), f"by a person's labels of the base in {folder}"
    if tpr.value is None or tpr.interval is None or tnr.value is None or tnr.interval is None:
        return None
    each = [Rate(share=one, worth=independent_of(one, interval)) for one, interval in ((tpr.value, tpr.interval), (tnr.value, tnr.interval))]
    return JudgeRates(tpr=each[0], tnr=each[1], source=source)
