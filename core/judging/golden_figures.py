"""How a judge's verdicts agree with the golden ones. The positive class is a failure: what the golden verdict fails.

TPR is the share of failures that the judge found, TNR the share of passes that it let pass. An answer that cannot be used is neither; it is counted apart.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from core.judging.agreement import overall_agreement
from core.judging.figures import flips_of
from core.judging.golden import Golden
from core.judging.intervals import wilson_interval
from core.judging.label_statistics import FEW, RESAMPLES, Estimate, share_of
from core.judging.scoring import score, value_of
from core.packs.pack import Criterion, Rubric
from core.records import Answer, Assessment, Outcome, Record, Verdict

LONG = 10
"""Exchanges from which on a conversation counts as long."""
GOLDEN, JUDGE = "golden", "judge"


@dataclass(frozen=True)
class Seen:
    """A golden verdict beside a judge's answer.

    Args:
        fails: whether the golden verdict fails; called: whether the judge's answer does, none where it cannot be used.
        close: whether it is a near miss of the other answer.
        third: in which third of the conversation the lapse stands; none where that cannot be said.
    """

    conversation: str
    criterion: str
    golden: Answer
    answer: Answer
    fails: bool
    called: bool | None
    held_out: bool
    exchanges: int
    close: bool = False
    third: str | None = None


class Rates(Record):
    """How often a judge is right.

    Args:
        tpr: of the failures, the share that it found; tnr: of the passes, the share that it let pass.
        kappa: Cohen's, of the answers.
        lost: of the failures and of the passes, the number of answers that cannot be used.
    """

    tpr: Estimate
    tnr: Estimate
    kappa: Estimate
    lost: tuple[int, int]

    def reach(self, tpr: float, tnr: float) -> bool:
        """Say whether the rates are at least these, an answer that cannot be used counting as wrong."""
        pairs = ((self.tpr, self.lost[0], tpr), (self.tnr, self.lost[1], tnr))
        return all(found.value is not None and found.value * found.n >= least * (found.n + lost) - 1e-9 for found, lost, least in pairs)


class CriterionRates(Record):
    """A judge on one criterion.

    Args:
        near: of the near misses that pass, the share that it let pass.
        na: of the golden NA, the share that it answered so.
        disputed: verdicts on which the readers differ; they are in no other figure.
        flips: of the conversations judged several times, the share with different answers; none where each was judged once.
    """

    rates: Rates
    near: Estimate
    na: Estimate
    disputed: int
    flips: Estimate | None = None


class GoldenFigures(Record):
    """A judge beside a golden set.

    Args:
        gates: by conversation: one that a gate must reject counts as found if the judge fails a gate that the golden verdict fails.
        verdicts: all criteria together; outcome: whole conversations by the rubric's score, where no dispute could change it.
        parts: the same for a part of the set, by the part's name.
        errors: answers that cannot be used, of all that were due.
        flips: over all criteria, the probability that two judgements differ; none where each conversation was judged once.
    """

    gates: Rates
    verdicts: Rates
    outcome: Rates
    criteria: dict[str, CriterionRates]
    parts: dict[str, Rates]
    na: Estimate
    errors: Estimate
    disputed: int
    flips: Estimate | None = None
    wrong: dict[str, dict[str, Answer]] = Field(description="By conversation and criterion, the judge's answer where it is not the golden one.")


def golden_figures(golden: Sequence[Golden], assessments: Mapping[str, Assessment], rubric: Rubric, again: Sequence[Assessment] = ()) -> GoldenFigures:
    """Return a judge's figures.

    Args:
        assessments: the judge's, by conversation; a conversation without one is left out.
        again: all its assessments of conversations that it judged several times.
    """
    read = [item for item in golden if item.id in assessments]
    verdicts = [one for item in read for one in _verdicts(item, assessments[item.id], rubric)]
    gates = [one for item in read if (one := _gates(item, assessments[item.id], rubric))]
    outcomes = [one for item in read if (one := _outcome(item, assessments[item.id], rubric))]
    disputed = {name: sum(name in item.file.disputed for item in read) for name in rubric.criteria}
    flips = flips_of(rubric, again) if again else None
    criteria = {}
    for name in rubric.criteria:
        own = [one for one in verdicts if one.criterion == name]
        flipped = flips.criteria[name].share if flips else None
        criteria[name] = CriterionRates(rates=rates(own), near=_near(own), na=_na(own), disputed=disputed[name], flips=flipped)
    wrong: dict[str, dict[str, Answer]] = {}
    for one in verdicts:
        if one.answer is not one.golden:
            wrong.setdefault(one.conversation, {})[one.criterion] = one.answer
    return GoldenFigures(
        gates=rates(gates),
        verdicts=rates(verdicts),
        outcome=rates(outcomes),
        criteria=criteria,
        parts={name: rates(some) for name, some in _parts(verdicts, gates, outcomes).items() if some},
        na=_na(verdicts),
        errors=share_of(sum(one.called is None for one in verdicts), len(verdicts), FEW, "nothing was asked"),
        disputed=sum(disputed.values()),
        flips=flips.overall.pairwise if flips else None,
        wrong=wrong,
    )


def rates(seen: Sequence[Seen]) -> Rates:
    """Return how often a judge is right.

    Shares have Wilson intervals; verdicts on the same conversation are not independent and count for fewer (`_independent`).
    """
    failures, passes = [one for one in seen if one.fails], [one for one in seen if not one.fails]
    answers: dict[str, dict[str, dict[str, str | None]]] = {}
    for one in seen:
        answers.setdefault(one.criterion, {})[one.conversation] = {GOLDEN: one.golden, JUDGE: one.answer}
    pairs = overall_agreement(answers, RESAMPLES, FEW).pairs if failures and passes else ()
    return Rates(
        tpr=_share(failures, lambda one: one.called is True, "nothing fails"),
        tnr=_share(passes, lambda one: one.called is False, "nothing passes"),
        kappa=pairs[0].kappa if pairs else Estimate(None, 0, reason="there are not both failures and passes"),
        lost=(sum(one.called is None for one in failures), sum(one.called is None for one in passes)),
    )


def _share(seen: Sequence[Seen], is_right: Callable[[Seen], bool], none: str) -> Estimate:
    usable = [one for one in seen if one.called is not None]
    counts: dict[str, list[int]] = {}
    for one in usable:
        pair = counts.setdefault(one.conversation, [0, 0])
        pair[0] += is_right(one)
        pair[1] += 1
    plain = share_of(sum(right for right, _ in counts.values()), len(usable), FEW, none if not seen else "no answer can be used")
    if plain.value is None or all(n == 1 for _, n in counts.values()):
        return plain
    worth = _independent(list(counts.values()), plain.value)
    return Estimate(plain.value, len(usable), wilson_interval(plain.value * worth, worth), warning=plain.warning)


def _independent(counts: Sequence[Sequence[int]], share: float) -> float:
    """Return how many independent verdicts those of several conversations are worth: between the number of conversations and that of the verdicts.

    Args:
        counts: of each conversation, the verdicts that are right, and all.

    Source:
        Dean & Pagano, "Evaluating confidence interval methods for binomial proportions in clustered surveys", J Surv Stat Methodol 3 (2015): 484–503.
    """
    conversations, n = len(counts), sum(total for _, total in counts)
    if conversations < 2 or share in (0.0, 1.0):
        return conversations
    spread = sum((right - share * total) ** 2 for right, total in counts) * conversations / (conversations - 1)
    return min(float(n), max(float(conversations), n**2 * share * (1 - share) / spread)) if spread else float(n)


def _near(seen: Sequence[Seen]) -> Estimate:
    return _share([one for one in seen if one.close and not one.fails], lambda one: one.called is False, "no near miss passes")


def _na(seen: Sequence[Seen]) -> Estimate:
    return _share([one for one in seen if one.golden is Answer.NA], lambda one: one.answer is Answer.NA, "no golden verdict is NA")


def _parts(verdicts: Sequence[Seen], gates: Sequence[Seen], outcomes: Sequence[Seen]) -> dict[str, list[Seen]]:
    parts = {}
    for kind, seen in (("gates", gates), ("all criteria", verdicts), ("whole conversations", outcomes)):
        parts[f"held-out conversations: {kind}"] = [one for one in seen if one.held_out]
        parts[f"the others: {kind}"] = [one for one in seen if not one.held_out]
    parts["near misses of either kind"] = [one for one in verdicts if one.close]
    parts[f"fewer than {LONG} exchanges"] = [one for one in verdicts if one.exchanges < LONG]
    parts[f"{LONG} exchanges and more"] = [one for one in verdicts if one.exchanges >= LONG]
    for third in ("first", "middle", "last"):
        parts[f"lapses in the {third} third"] = [one for one in verdicts if one.fails and one.third == third]
    parts["lapses in several thirds"] = [one for one in verdicts if one.fails and one.third == "several"]
    return parts


def _verdicts(item: Golden, assessment: Assessment, rubric: Rubric) -> list[Seen]:
    answers, length = _answers(assessment), len(item.file.exchanges)
    seen = []
    for name, verdict in item.file.verdicts.items():
        if name in item.file.disputed:
            continue
        criterion, golden, answer = rubric.criteria[name], Answer(verdict.answer), answers.get(name, Answer.ERROR)
        third = _third(verdict.exchanges, length)
        facts = (_fails(criterion, golden) is True, _fails(criterion, answer), item.file.held_out, length, verdict.close, third)
        seen.append(Seen(item.id, name, golden, answer, *facts))
    return seen


def _third(exchanges: Sequence[int], length: int) -> str | None:
    """Return in which third of a conversation all of these exchanges are; none where it is too short to have thirds."""
    if length < 3:
        return None
    thirds = {("first", "middle", "last")[3 * (number - 1) // length] for number in exchanges}
    return None if not thirds else thirds.pop() if len(thirds) == 1 else "several"


def _gates(item: Golden, assessment: Assessment, rubric: Rubric) -> Seen | None:
    """Return whether a gate must reject a conversation beside whether the judge does; none where that is disputed."""
    gates = {name: rubric.criteria[name] for name in item.file.verdicts if rubric.criteria[name].head.gate}
    answers = _answers(assessment)
    settled = {name: _fails(gate, Answer(item.file.verdicts[name].answer)) for name, gate in gates.items() if name not in item.file.disputed}
    failing = [name for name, fails in settled.items() if fails]
    if not gates or (not failing and len(settled) < len(gates)):
        return None
    called = [_fails(gates[name], answers.get(name, Answer.ERROR)) for name in failing or gates]
    answer = Answer.NO if True in called else Answer.ERROR if None in called else Answer.YES
    return _whole(item, "gates", bool(failing), answer)


def _outcome(item: Golden, assessment: Assessment, rubric: Rubric) -> Seen | None:
    """Return whether a conversation must fail beside whether the judge fails it; none where a dispute decides that."""
    either = {golden_score(item, rubric, disputed) for disputed in (Answer.YES, Answer.NO)}
    if len(either) > 1:
        return None
    answers = {Outcome.PASS: Answer.YES, Outcome.FAIL: Answer.NO, Outcome.INCOMPLETE: Answer.ERROR}
    return _whole(item, "outcome", either.pop() is Outcome.FAIL, answers[assessment.score.outcome])


def golden_score(item: Golden, rubric: Rubric, disputed: Answer) -> Outcome:
    """Return whether a conversation passes by its golden verdicts.

    Args:
        disputed: what disputed verdicts count as.
    """
    answers = {name: disputed if name in item.file.disputed else Answer(verdict.answer) for name, verdict in item.file.verdicts.items()}
    verdicts = [Verdict(criterion=name, answer=answer, reasoning="") for name, answer in answers.items()]
    return score(rubric, verdicts, len(item.file.exchanges)).outcome


def _whole(item: Golden, what: str, fails: bool, answer: Answer) -> Seen:
    called = None if answer is Answer.ERROR else answer is Answer.NO
    return Seen(item.id, what, Answer.NO if fails else Answer.YES, answer, fails, called, item.file.held_out, len(item.file.exchanges))


def _fails(criterion: Criterion, answer: Answer) -> bool | None:
    value = value_of(criterion, answer)
    return None if value is None else value == 0


def _answers(assessment: Assessment) -> dict[str, Answer]:
    return {verdict.criterion: verdict.answer for verdict in assessment.verdicts}
