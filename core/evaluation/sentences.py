"""The figures of an evaluation in sentences, for the report, the page, the model card and the log."""

from collections import Counter
from collections.abc import Sequence

from core.evaluation.attrition import Bounds
from core.evaluation.battery import BatteryFigures
from core.evaluation.comparison import ArmComparison
from core.evaluation.decision import Decided, enough_gain, unknown_answers
from core.evaluation.facts import EvaluationFacts
from core.evaluation.failure_rates import units_for
from core.evaluation.outcomes import Trial
from core.evaluation.paired_statistics import personas_for_p
from core.evaluation.power import MAX_PERSONAS, PowerAnalysis
from core.evaluation.safety import Safety, least_bound
from core.evaluation.sensitivity import OTHER_COUNTS
from core.quantities import format_difference, format_interval, format_points, format_share


def why(decided: Decided) -> str:
    """Return the reason for a decision, with the number of unmet conditions in place of their list, for a text that lists them itself."""
    unmet, head = sum(not item.holds for item in decided.conditions), decided.reason.partition("Not met: ")[0].strip()
    return f"{head} {unmet} of {len(decided.conditions)} conditions {'does' if unmet == 1 else 'do'} not hold.".lstrip() if unmet else decided.reason


def power_sentence(plan: PowerAnalysis) -> str:
    """Return the sentence that states what a planned evaluation can detect, by p alone."""
    if plan.smallest_difference is None:
        able = (
            f"{plan.personas} personas cannot show any difference: the smallest p of the sign-flip test is {plan.least_p:.4g}, and p below {plan.alpha:g} "
            f"takes {personas_for_p(plan.alpha)} personas"
        )
    else:
        able = (
            f"{plan.personas} personas × {plan.trials} {'trial' if plan.trials == 1 else 'trials'} show a true difference of "
            f"{plan.smallest_difference:.3f} with {100 * plan.wanted_power:g} % power"
        )
    if plan.smallest_difference is not None and plan.smallest_difference > 1 - plan.spread.base_mean:
        able += ", which is more than the base leaves room for"
    if plan.gain == 0:
        return f"{able}; a gain of 0 needs no personas ({plan.spread.source})."
    share, needed = plan.gain / plan.spread.base_mean, plan.personas_for_gain or f"more than {MAX_PERSONAS}"
    gain = f"a gain of {plan.gain:.3f}, {100 * share:.0f} % of the base's mean,"
    if plan.gain > 1 - plan.spread.base_mean + 1e-9:
        return f"{able}; {gain} is out of reach, because the base leaves room for {1 - plan.spread.base_mean:.3f} ({plan.spread.source})."
    return f"{able}; {gain} has p below {plan.alpha:g} with {format_share(plan.gain_power)} power and needs {needed} personas for that ({plan.spread.source})."


def safety_outlook(personas: int, margin: float) -> str:
    """Return the sentence that states, before the run, whether a number of personas can show non-inferiority within a margin."""
    least, needed = least_bound(personas), units_for(margin)
    if needed is None:
        return "A margin of 0 cannot be shown by any number of conversations; set evaluation.decision.safety_margin above 0."
    most = format_points(least, margin, "")
    able = f"Without any failed gate {personas} personas show that an arm fails in at most {most} % of conversations more than the base"
    if least < margin:
        return f"{able}; the margin is {100 * margin:g} %."
    return f"{able}: that is not within the margin of {100 * margin:g} %, which takes {needed} personas, so nothing can be shipped by the rule."


def safety_sentence(safety: Safety, arm: str) -> str:
    """Return the sentences that state whether an arm is non-inferior to the base in safety."""
    if not safety.gated:
        return "The rubric has no safety gate, so there is nothing to compare."
    difference, margin, least, needed = safety.overall, safety.margin, safety.least_bound, safety.personas_needed
    bound = format_points(difference.upper_bound, margin, "")
    if difference.base_rate == difference.arm_rate == 0:
        observed = (
            f"No gate failed in either arm with the {difference.personas} personas that both have. That leaves room for {arm} to fail in up to "
            f"{bound} % of conversations (95 %, rule of three over personas)"
        )
    else:
        observed = (
            f"A gate failed in {100 * difference.arm_rate:.1f} % of {arm}'s conversations and {100 * difference.base_rate:.1f} % of the base's, "
            f"a difference of {format_points(difference.difference)} points, at most {format_points(difference.upper_bound, margin)} "
            f"(one-sided 95 %, over {difference.personas} personas)"
        )
    if safety.unknown:
        observed += f"; with {unknown_answers(safety.unknown)} counted against {arm}, at most {format_points(safety.bound, margin)} points"
    verdict = f"{observed}; the margin is {100 * margin:g} points."
    if safety.too_often:
        return f"{verdict} {too_often_sentence(safety)}"
    if safety.bound < margin:
        return f"{verdict} Not less safe than the base within the margin, as far as the gates were exercised."
    if needed is None:
        return f"{verdict} Non-inferiority cannot be shown with a margin of 0, by any number of conversations; set a margin above 0."
    if least >= margin:
        return f"{verdict} Non-inferiority cannot be shown with {difference.personas} personas, even with no failure at all: it takes {needed} without one."
    return f"{verdict} Non-inferiority is not shown."


def claims_of(facts: EvaluationFacts, arm: str) -> list[str]:
    """Return the sentences beside a decision that limit what it shows: how the score counts, exposed gates, and the safety battery."""
    one = facts.comparison.comparisons[arm]
    return [*_counted_otherwise(one, facts.comparison.rule.improvement), *exposure_sentences(one.safety, arm), *battery_sentences(facts, arm)]


def _counted_otherwise(one: ArmComparison, improvement: float) -> list[str]:
    """Return the sentence that states that the required gain is not reached if the scores are counted otherwise; none if it is, or never was."""
    missed = [item for item in one.sensitivity if item.name in OTHER_COUNTS and not enough_gain(item.base_mean, item.difference, improvement)]
    if not missed or not enough_gain(one.score.base_mean, one.score.difference, improvement):
        return []
    least = min(missed, key=lambda item: item.difference)
    interval = f" (95 % interval {format_interval(least.interval)})" if least.interval else ""
    return [
        f"The gain depends on how the score counts. {least.name[0].upper()}{least.name[1:]}: {format_difference(least.difference)}{interval}, less than the "
        f"required {100 * improvement:g} %."
    ]


def exposure_sentences(safety: Safety, arm: str) -> list[str]:
    """Return a sentence for each gate that states how often it applied and what that shows; none for gates that always applied and never failed."""
    sentences = []
    for gate, one in safety.exposures.items():
        if one.upper_bound is None:
            sentences.append(f"{gate} was exercised in 0 of {one.judged} conversations of {arm}: nothing is claimed about it.")
            continue
        if one.exposed == one.judged and not one.failed:
            continue
        sentences.append(
            f"{gate} was exercised in {one.exposed} of {one.judged} conversations of {arm} ({one.personas} persona{_s(one.personas)}) and failed in "
            f"{one.failed} of these; up to {format_share(one.upper_bound)} of such conversations could fail (95 %)."
        )
    return sentences


def battery_sentences(facts: EvaluationFacts, arm: str) -> list[str]:
    """Return a sentence for each gate that states in how many conversations and openings of the battery an arm failed.

    The absolute numbers matter, because an arm that is non-inferior to an unsafe base is not safe.
    """
    if facts.battery is None:
        return ["No safety battery was played: dangers that few people meet were tested only in the conversations in which they came up."]
    base, sentences = facts.comparison.base, []
    for gate, figures in facts.battery.arms.get(arm, {}).items():
        of_base = facts.battery.arms[base][gate]
        if figures.upper_bound is None:
            sentences.append(f"No opening of the battery exercised {gate} with {arm}: nothing is claimed about it.")
            continue
        rest = figures.openings - figures.exposed
        unexposed = f" It did not apply in {rest} further opening{_s(rest)}, or no answer is known." if rest else ""
        # the bound is of the share of tries: an opening that fails in one of several tries counts as a part
        sentences.append(
            f"{arm} failed in {figures.failed_tries} of {figures.tries} conversations of the battery that call for {gate}, in {len(figures.failed)} of "
            f"{figures.exposed} openings at least once ({base}: {of_base.failed_tries} of {of_base.tries}, {len(of_base.failed)} of {of_base.exposed}); up to "
            f"{format_share(figures.upper_bound)} of such conversations could fail (95 %).{unexposed}"
        )
    return sentences


def battery_lost(figures: BatteryFigures) -> list[tuple[str, int]]:
    """Return the reasons why conversations of the battery have no answer, with their numbers, the most frequent first."""
    return Counter(item.lost for item in figures.items if item.lost).most_common()


def too_often_sentence(safety: Safety) -> str:
    """Return the sentences on the gates whose observed difference is above the margin."""
    failed = [(gate, safety.gates[gate]) for gate in safety.too_often]
    return " ".join(
        f"Where {gate} applied, it failed in {format_share(rates.arm_rate)} against the base's {format_share(rates.base_rate)} (it applied in both arms with "
        f"{rates.personas} persona{_s(rates.personas)})."
        for gate, rates in failed
    )


def bounds_sentence(bounds: Bounds, base: str, arm: str) -> str:
    """Return the sentence that states the bounds of the difference without missing conversations."""
    gaps = ((arm, bounds.arm_missing, 0), (base, bounds.base_missing, 1))
    missing = " and ".join(f"each missing conversation of {name} ({count}) had scored {score}" for name, count, score in gaps if count)
    if not missing:
        return "No conversation is missing."
    return f"If {missing}, the difference would be {format_difference(bounds.worst)}; with the opposite scores, {format_difference(bounds.best)}."


def judged_on_fewer(played: Sequence[Trial], base: str) -> str | None:
    """Return the sentence that names complete conversations with answers to fewer criteria than most; None if there are none.

    Their scores are not comparable with the others.
    """
    ordered = sorted(played, key=lambda item: (item.arm != base, item.arm, item.persona, item.trial))
    numbers = [(len(item.answers), item) for item in ordered if item.complete and item.answers]
    usual = Counter(number for number, _ in numbers).most_common(1)[0][0] if numbers else 0
    fewer = [f"{item.arm}, persona {item.persona}, trial {item.trial} ({number})" for number, item in numbers if number < usual]
    if not fewer:
        return None
    named = "; ".join(fewer[:3]) + (f"; and {len(fewer) - 3} more" if len(fewer) > 3 else "")
    return (
        f"{len(fewer)} of {len(numbers)} conversations {'was' if len(fewer) == 1 else 'were'} judged on fewer criteria than the others ({usual}), so "
        f"{'its score is' if len(fewer) == 1 else 'their scores are'} not comparable: {named}."
    )


def notes_on(one: ArmComparison, alpha: float) -> list[str]:
    """Return the notes that a reader needs to interpret an arm's figures."""
    score = one.score
    notes = [note] if (note := _out_of_reach(one, alpha)) else []
    if score.interval and score.interval[0] * score.interval[1] > 0 and score.p >= alpha:
        notes.append(
            "The interval excludes 0 although p is not below alpha: the interval assumes that the personas' differences are approximately normal, and the "
            "sign-flip test does not. The decision requires both."
        )
    least = 2.0 ** (1 - score.personas)
    if least < alpha <= least * len(one.criteria):
        notes.append(
            f"With {score.personas} personas no criterion can be significant: the smallest p is {least:.4g}, before the adjustment for "
            f"{len(one.criteria)} criteria."
        )
    numbers = sorted({item.pairs for item in one.by_persona})
    if len(numbers) > 1:
        notes.append(f"Personas have {numbers[0]} to {numbers[-1]} pairs; each persona has the same weight.")
    notes += [
        f"The arms differ in their missing conversations ({item.kind}: {format_share(item.arm_share)} against the base's {format_share(item.base_share)}), "
        "so the comparison may be biased."
        for item in one.missing
        if item.unequal
    ]
    return notes


def _s(number: int) -> str:
    """Return the plural ending of a noun."""
    return "" if number == 1 else "s"


def _out_of_reach(one: ArmComparison, alpha: float) -> str | None:
    """Return the note that the sign-flip test cannot give a p below alpha with these personas; None if it can."""
    score = one.score
    if score.least_p < alpha:
        return None
    differ = sum(item.difference != 0 for item in one.by_persona)
    which = f"{score.personas} personas" if differ == score.personas else f"{score.personas} personas, of which {differ} differ between the arms,"
    return (
        f"Significance is out of reach: with {which} the sign-flip test gives no p below {score.least_p:.4g}, however large the gain; p below {alpha:g} takes "
        f"{personas_for_p(alpha)} personas that differ."
    )
