"""The report of an evaluation as Markdown, the section of the model card, and the figures of its metadata."""

import re
from collections.abc import Sequence

from core.escaping import Markdown, add_filters, render_markdown
from core.evaluation.beside_prompts import prompt_sentence
from core.evaluation.by_exchange import by_band
from core.evaluation.exposure import Exposure
from core.evaluation.facts import BatteryWords, EvaluationFacts
from core.evaluation.general_prompts import GeneralAnswer
from core.evaluation.judge_error import judge_error_sentence
from core.evaluation.paired_statistics import Interval, PairedT, format_p
from core.evaluation.preference_words import disagreement_sentence, left_out_sentence, length_sentence, position_sentence, rate_sentence
from core.evaluation.record import next_step_of
from core.evaluation.refusals import Refusals, Verdict
from core.evaluation.safety import GateFailures
from core.evaluation.sentences import (
    battery_lost,
    bounds_sentence,
    claims_of,
    judged_on_fewer,
    notes_on,
    power_sentence,
    safety_sentence,
    why,
)
from core.quantities import format_difference, format_interval, format_points, format_share
from core.records import Result


def evaluation_markdown(facts: EvaluationFacts) -> Markdown:
    """Return the report: the decision, all figures, missing conversations, and how to read it."""
    return Markdown(re.sub(r"\n{3,}", "\n\n", render_markdown("evaluation/report", facts=facts, compared=facts.compared)))


def evaluation_section(facts: EvaluationFacts, arm: str) -> Markdown:
    """Return the text below the heading "Evaluation" of a model card.

    Args:
        facts: the evaluation.
        arm: the arm of the card's model.
    """
    return render_markdown("evaluation/section", facts=facts, arm=arm, one=facts.comparison.comparisons[arm])


def card_results(facts: EvaluationFacts, arm: str) -> list[Result]:
    """Return the figures of an arm for its card's metadata."""
    one = facts.comparison.comparisons[arm]
    where = f"{one.score.personas} fresh personas of {facts.domain}, {one.score.pairs} pairs of conversations"
    figures = {
        "mean_score": ("Mean score", one.score.arm_mean),
        "score_difference": ("Difference of mean score from the base", one.score.difference),
        "pass_rate": ("Share of conversations that pass", one.passes.arm_mean),
    }
    kind = f"understudy/{facts.domain}"
    return [Result(metric=metric, name=name, value=value, dataset=where, dataset_type=kind) for metric, (name, value) in figures.items()]


def _interval(interval: Interval | None, form: str, otherwise: str) -> str:
    return form.replace("%s", format_interval(interval)) if interval else otherwise


def _percents(interval: Interval | None, bracketed: bool = True) -> str:
    if interval is None:
        return "" if bracketed else "none"
    text = f"{format_points(interval[0])} to {format_points(interval[1])}"
    return f" (95 % interval {text})" if bracketed else text


def _na_of(facts: EvaluationFacts, base: str, arm: str, criterion: str) -> str:
    """Return the text of how often a criterion did not apply with the base and with an arm."""
    arms = [facts.comparison.arms[name] for name in (base, arm)]
    return ", ".join(f"{one.not_applicable.get(criterion, 0)} of {one.missing.completed}" for one in arms)


def _t(test: PairedT) -> str:
    if test.t is None or test.p is None:
        return "none: all differences are equal"
    return f"t = {test.t:.3f}, p {format_p(test.p)}, n = {test.n}"


def _gates(failures: GateFailures) -> str:
    unknown = f", {failures.unknown} not known" if failures.unknown else ""
    return f"{failures.failed} of {failures.judged}{unknown}"


def _exposed(found: Exposure | None) -> str:
    return f"{found.failed} of {found.exposed}, of {found.judged}" if found else "not judged"


def _second_outcome(facts: EvaluationFacts, arm: str) -> list[str]:
    """Return the sentences on an arm's result in pairwise judging, and on a contradiction to the score; none if there was no pairwise judging."""
    if not (preferences := facts.pairwise.get(arm)):
        return []
    disagreement = disagreement_sentence(preferences, arm, facts.comparison.comparisons[arm].score.difference, facts.comparison.rule.alpha)
    return [sentence for sentence in (rate_sentence(preferences, arm), disagreement) if sentence]


def _pairwise_notes(facts: EvaluationFacts, arm: str) -> list[str]:
    preferences, base = facts.pairwise[arm], facts.comparison.base
    sentences = (position_sentence(preferences), length_sentence(preferences, base, arm), left_out_sentence(preferences))
    return [sentence for sentence in sentences if sentence]


def _by_opening(words: Sequence[BatteryWords]) -> list[tuple[str, str, list[BatteryWords]]]:
    """Return the failed conversations of the battery as (gate, opening, conversations)."""
    groups: dict[tuple[str, str], list[BatteryWords]] = {}
    for one in words:
        groups.setdefault((one.item.gate, one.item.opening), []).append(one)
    return [(*key, conversations) for key, conversations in groups.items()]


def _done(refusals: Refusals | None, arm: str, wanted: Verdict) -> str:
    """Return the number of requests, or look-alikes, with the wanted outcome, as text."""
    answers = [item for item in (refusals.answers.get(arm, []) if refusals else []) if item.wanted == wanted]
    if not answers:
        return "not asked"
    known = [item for item in answers if item.found]
    neither, unknown = sum(item.found == "neither" for item in known), len(answers) - len(known)
    notes = [f"{neither} neither"] * bool(neither) + [f"{unknown} not known"] * bool(unknown)
    return f"{sum(item.found == wanted for item in known)} of {len(known)}" + (f" ({', '.join(notes)})" if notes else "")


def _right(answers: Sequence[GeneralAnswer]) -> str:
    """Return the number of general prompts that a model answers right, as text; failed calls are excluded."""
    known = [item for item in answers if item.right is not None]
    empty, unknown = sum(not item.answer for item in known), len(answers) - len(known)
    notes = [f"{empty} empty"] * bool(empty) + [f"{unknown} not known"] * bool(unknown)
    return f"{sum(item.right is True for item in known)} of {len(known)}" + (f" ({', '.join(notes)})" if notes else "")


def _apart(facts: EvaluationFacts) -> list[str]:
    """Return the general prompts that only some arms answered right, each with these arms."""
    right: dict[str, list[str]] = {}
    for arm, answers in facts.general.items():
        for item in answers:
            right.setdefault(item.name, [])
            if item.right:
                right[item.name].append(arm)
    return [f"{name} ({', '.join(arms)})" for name, arms in right.items() if 0 < len(arms) < len(facts.general)]


add_filters(
    score="{:.3f}".format,
    signed=format_difference,
    percent=lambda value, signed=False: format_share(value, "+" if signed else ""),
    percents=_percents,
    points=lambda value, named=True: f"{format_points(value)}{' points' if named else ''}",
    na_of=_na_of,
    why=lambda one: why(one.decided),
    next_step=next_step_of,
    interval=_interval,
    # the text may begin with "=" or "<", which is not the user's and needs no escaping
    p=lambda value, equals="= ": Markdown(format_p(value, equals)),
    t=_t,
    gates=_gates,
    exposed=_exposed,
    beside_prompts=lambda one: [prompt_sentence(one.arm, beside) for beside in one.beside_prompts],
    claims=claims_of,
    second_outcome=_second_outcome,
    pairwise_notes=_pairwise_notes,
    by_band=by_band,
    safety=lambda one: safety_sentence(one.safety, one.arm),
    if_complete=lambda one: bounds_sentence(one.if_nothing_were_missing, one.base, one.arm),
    battery_lost=battery_lost,
    by_opening=_by_opening,
    notes=notes_on,
    power=power_sentence,
    judged_on_fewer=judged_on_fewer,
    judge_error=judge_error_sentence,
    apart=_apart,
    done=_done,
    right=_right,
)
