"""The results of pairwise judging in sentences."""

from core.evaluation.paired_statistics import format_p
from core.evaluation.preferences import NEAR, Preferences
from core.quantities import format_difference, format_share


def rate_sentence(found: Preferences, arm: str) -> str:
    """Return the sentence that states how often the arm was preferred."""
    rate = found.rate
    if rate is None:
        return f"Pairwise, {arm}: no pair of conversations was compared. {left_out_sentence(found)}".rstrip()
    return (
        f"Pairwise, {arm} served the person better in {rate.wins} of {rate.pairs} pairs, worse in {rate.losses}, with ties in {rate.ties}: "
        f"a win rate of {format_share(rate.win_rate)} (95 % interval {format_share(rate.interval[0])} to {format_share(rate.interval[1])}; "
        f"ties count half), p {format_p(rate.p)} (sign test)."
    )


def disagreement_sentence(found: Preferences, arm: str, difference: float, alpha: float) -> str:
    """Return a sentence if the score and the preference favour different sides, otherwise an empty string.

    Args:
        difference: difference of mean scores, arm − base.
        alpha: significance level of the sign test.
    """
    rate = found.rate
    if rate is None or difference == 0 or (rate.wins - rate.losses) * difference > 0:
        return ""
    side = "better" if difference > 0 else "worse"
    if rate.wins == rate.losses:
        return f"The score says that {arm} is {side} ({format_difference(difference)}), the pairwise judgement prefers neither."
    opposite, chance = "worse" if difference > 0 else "better", ", which may be chance" if rate.p >= alpha else ""
    return (
        f"The two disagree: the score says that {arm} is {side} ({format_difference(difference)}), the pairwise judgement says {opposite} (win rate "
        f"{format_share(rate.win_rate)}, p "
        f"{format_p(rate.p)}{chance}). Read conversations of both before you deploy."
    )


def position_sentence(found: Preferences) -> str:
    """Return the sentences on the judge's position bias; an empty string if no pair has an answer in both orders."""
    n = sum(None not in pair.answers for pair in found.pairs)
    if not n:
        return ""
    text = (
        f"Position bias of {found.judge}: in {found.disagreed} of {n} pairs "
        f"({format_share(found.disagreed / n)}) the two orders gave different answers, which counts as a tie."
    )
    if found.first or found.second:
        text += f" In {found.first} of them it preferred the first conversation both times, in {found.second} the second one."
    return text


def length_sentence(found: Preferences, base: str, arm: str) -> str:
    """Return the sentences on the relation of preference and length; an empty string if there is no pair."""
    if not found.pairs:
        return ""
    text = f"Length: on average {base} wrote {found.base_words:,.0f} words per conversation and {arm} {found.arm_words:,.0f}."
    if found.decided:
        text += f" The longer one was preferred in {found.longer} of {found.decided} pairs with a preference."
    near = found.near
    if near is None:
        return (
            f"{text} No pair is of about equal length (the shorter at least {100 * (1 - NEAR):.0f} % of the longer), so a preference for length "
            "cannot be ruled out."
        )
    return (
        f"{text} Over the {near.pairs} of {len(found.pairs)} pairs of about equal length (the shorter at least {100 * (1 - NEAR):.0f} % of "
        "the longer) the win rate "
        f"is {format_share(near.win_rate)} (95 % interval {format_share(near.interval[0])} to {format_share(near.interval[1])})."
    )


def left_out_sentence(found: Preferences) -> str:
    """Return the sentence that states how many personas are not among the pairs, and why; an empty string if all are."""
    reasons = {
        "the judge's context does not hold two conversations": found.too_long,
        "there was no usable answer": found.unanswered,
        "one of the two conversations is missing": found.unplayed,
    }
    counts = [f"{count} because {reason}" for reason, count in reasons.items() if count]
    return f"Not compared: {', '.join(counts)}." if counts else ""
