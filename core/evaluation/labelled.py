"""An evaluation's judge beside a person who did not know the arms: its rates in each arm, and the difference without its errors.

The person's labels give an unbiased difference whatever the judge's errors are, lenient to one arm or not: the judge's difference over all conversations,
less what the judge and the person differ by on the labelled ones.
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
from core.packs.pack import Rubric
from core.records import Answer, Outcome, Verdict


@dataclass(frozen=True)
class Rectified:
    """A difference of mean scores without the judge's errors.

    Args:
        judged, person: arm − base on the labelled pairs, by the judge and by the person.
        difference: over all pairs; interval: 95 %, none with fewer than two personas labelled.
        personas, pairs: that are labelled in both arms on every criterion that applies.
    """

    judged: float | None
    person: float | None
    difference: float | None
    interval: Interval | None
    personas: int
    pairs: int


@dataclass(frozen=True)
class LabelledArm:
    """An arm beside the base, by a person's labels.

    Args:
        before: its difference by the judge alone.
        failures: how many of 100 failures more the judge lets pass for the arm than for the base, and its interval; none where either arm has no failure.
        undone: what would undo the judge's difference, with the judge's rates by the labels of the base.
        decided: the decision with the labels as a further condition; next_step: what to do after it.
    """

    before: ArmComparison
    rectified: Rectified
    failures: Estimate
    undone: JudgeError | None
    decided: Decided
    next_step: str


@dataclass(frozen=True)
class LabelledEvaluation:
    """An evaluation by a person's labels.

    Args:
        rates: of the judge by arm, over the criteria that make the score; lenient: by arm, share of its YES and NA less that of the person's.
        labelled: conversations with a label, by arm.
    """

    folder: str
    base: str
    labelled: dict[str, int]
    rates: dict[str, Rates]
    lenient: dict[str, float]
    arms: dict[str, LabelledArm]


def by_labels(record: EvaluationRecord, folder: str, coded: Mapping[str, Coded], labels: Labels, rubric: Rubric) -> LabelledEvaluation:
    """Return what a person's labels say of an evaluation."""
    seen = {arm: _seen([one for one in coded.values() if one.played.arm == arm], labels, rubric) for arm in record.comparison.arms}
    found = {arm: rates(some) for arm, some in seen.items()}
    base, arms = record.comparison.base, {}
    for arm, before in record.comparison.comparisons.items():
        conversations = [{(item.persona, item.trial): item for item in record.played if item.arm == one} for one in (base, arm)]
        pairs = pair_up(conversations[0], conversations[1], points)
        rectified = rectify(pairs, _labelled_pairs(coded, labels, rubric, base, arm))
        measured = _rates(found[base], folder)
        undone = judge_error(pairs, measured, before.decided.decision == "ship", record.comparison.rule.improvement) if measured else None
        decided = decide_again(before.decided, condition(rectified))
        after = next_step(before, record.domain, model_named(record.models.get(base, base), record.files.get(base)), decided)
        arms[arm] = LabelledArm(before, rectified, failures_let_pass(found[base].tpr, found[arm].tpr), undone, decided, after)
    usable = {arm: [one for one in some if one.called is not None] for arm, some in seen.items()}
    return LabelledEvaluation(
        folder=folder,
        base=base,
        labelled={arm: len({one.conversation for one in some}) for arm, some in seen.items()},
        rates=found,
        lenient={arm: _lenient(some) for arm, some in usable.items() if some},
        arms=arms,
    )


def _lenient(seen: Sequence[Seen]) -> float:
    """Return the share that the judge passes less the share that the person passes, of answers that can be used."""
    return float(np.mean([one.called is False for one in seen]) - np.mean([not one.fails for one in seen]))


def rectify(pairs: Pairs, labelled: Mapping[int, Sequence[tuple[float, float]]]) -> Rectified:
    """Return a difference without the judge's errors: the judge's over all personas, less its mean error on the labelled ones.

    A persona's labelled trials are averaged. The variance is that of both means and of what they share, and the t-distribution that of the labelled
    personas. In simulation the interval covers 94 to 96 % whatever the leniency (bench/judge_statistics.py). A weight fitted to the labels (PPI++) would
    make it 3 % narrower and cover 1 point less.

    Args:
        pairs: the judge's scores.
        labelled: by persona, of each labelled trial the difference arm − base by the person and by the judge.

    Source:
        Angelopoulos, Bates, Fannjiang, Jordan & Zrnic, "Prediction-powered inference", Science 382 (2023): 669–674, arXiv 2301.09633; as a difference
        estimator: Särndal, Swensson & Wretman, Model Assisted Survey Sampling (1992), section 6.3.
    """
    known = {persona: np.mean(labelled[persona], axis=0) for persona in pairs.personas if labelled.get(persona)}
    number = sum(len(labelled[persona]) for persona in known)
    if not known:
        return Rectified(None, None, None, None, 0, 0)
    person, judged = np.array(list(known.values())).T
    difference = pairs.difference - float((judged - person).mean())
    here, everywhere = len(known), len(pairs.personas)
    interval = None
    if here > 1:
        from scipy import special

        errors, own = person - judged, np.array([arm - base for persona, (_, base, arm) in pairs.personas.items() if persona in known])
        parts = errors.var(ddof=1) / here, pairs.differences.var(ddof=1) / everywhere
        # what is estimated of few may cancel more than it does
        variance = max(sum(parts) + 2 * float(np.cov(errors, own)[0, 1]) / everywhere, max(parts) / 4)
        half = float(special.stdtrit(here - 1, 0.975)) * float(np.sqrt(variance))
        interval = (max(-1.0, difference - half), min(1.0, difference + half)) if half else None
    return Rectified(float(judged.mean()), float(person.mean()), difference, interval, here, number)


def failures_let_pass(base: Estimate, arm: Estimate) -> Estimate:
    """Return how many of 100 failures more a judge lets pass for an arm than for the base.

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
    """Return what a person's labels ask of an arm."""
    interval = rectified.interval
    found = f"{interval[0]:+.3f} to {interval[1]:+.3f}" if interval else "no interval can be computed"
    return Condition(
        text="lower end of the 95 % interval by a person's labels above 0",
        figure=interval[0] if interval else None,
        found=f"{found}, {rectified.pairs} pairs labelled",
        holds=interval is not None and interval[0] > 0,
        helps="labels",
    )


def decide_again(decided: Decided, further: Condition) -> Decided:
    """Return a decision with one more condition: what was shipped and does not meet it is iterated on, and nothing becomes better."""
    conditions = [*decided.conditions, further]
    if further.holds:
        return decided.model_copy(update={"conditions": conditions})
    unmet = f"Not met: {further.text} ({further.found})."
    if decided.decision == "ship":
        return decided.model_copy(update={"decision": "iterate", "reason": unmet, "conditions": conditions})
    return decided.model_copy(update={"conditions": conditions, "reason": f"{decided.reason} {unmet}"})


def _seen(coded: Sequence[Coded], labels: Labels, rubric: Rubric) -> list[Seen]:
    """Return each label on a criterion of the score beside the judge's answer."""
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
    """Return by persona, of each trial that is labelled whole in both arms, the difference by the person and by the judge."""
    scores: dict[tuple[int, int], dict[str, tuple[float, float]]] = {}
    for code, one in coded.items():
        verdicts = [Verdict(criterion=name, answer=answer, reasoning="") for name, answer in labels.answers.get(code, {}).items()]
        person = score(rubric, verdicts, len(one.judged.transcript.exchanges))
        judged = one.judged.final.score
        if person.outcome is not Outcome.INCOMPLETE and judged.outcome is not Outcome.INCOMPLETE and person.score is not None and judged.score is not None:
            scores.setdefault((one.played.persona, one.played.trial), {})[one.played.arm] = (person.score, judged.score)
    found: dict[int, list[tuple[float, float]]] = {}
    for (persona, _), both in scores.items():
        if base in both and arm in both:
            found.setdefault(persona, []).append((both[arm][0] - both[base][0], both[arm][1] - both[base][1]))
    return found


def _rates(found: Rates, folder: str) -> JudgeRates | None:
    (tpr, tnr), source = (found.tpr, found.tnr), f"by a person's labels of the base in {folder}"
    if tpr.value is None or tpr.interval is None or tnr.value is None or tnr.interval is None:
        return None
    each = [Rate(share=one, worth=independent_of(one, interval)) for one, interval in ((tpr.value, tpr.interval), (tnr.value, tnr.interval))]
    return JudgeRates(tpr=each[0], tnr=each[1], source=source)
