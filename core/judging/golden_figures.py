"""Agreement of a judge's verdicts with the golden ones. The positive class is a failure by the golden verdict.

TPR is the share of failures that the judge failed, too; TNR is the share of passes that it passed. Answers that cannot be used are counted separately.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from core.judging.agreement import pair_agreements
from core.judging.figures import flips_of
from core.judging.golden import Golden
from core.judging.intervals import wilson_interval
from core.judging.label_statistics import FEW, RESAMPLES, Estimate, share_of
from core.judging.scoring import score, value_of
from core.packs.rubric import Criterion, Rubric
from core.records import Answer, Assessment, Outcome, Record, Verdict

LONG = 10
"""Number of exchanges from which a conversation counts as long."""
GOLDEN, JUDGE = "golden", "judge"


@dataclass(frozen=True)
class Seen:
    """A golden verdict and the judge's answer to the same question.

    Args:
        criterion: its id, or `gates` or `outcome` where a whole conversation is compared.
        fails: whether the golden verdict is a failure.
        called: whether the judge's answer is a failure; None where it cannot be used.
        exchanges: length of the conversation.
        close: whether the golden verdict is close.
        third: third of the conversation with the exchanges of the verdict's reason: first, middle, last or several; None where there is none.
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
        tpr: share of the failures that it failed.
        tnr: share of the passes that it passed.
        kappa: Cohen's kappa of the answers.
        lost: number of answers that cannot be used, among the failures and among the passes.
    """

    tpr: Estimate
    tnr: Estimate
    kappa: Estimate
    lost: tuple[int, int]

    def reach(self, tpr: float, tnr: float) -> bool:
        """Return whether both rates are at least these; an answer that cannot be used counts as wrong."""
        pairs = ((self.tpr, self.lost[0], tpr), (self.tnr, self.lost[1], tnr))
        return all(rate.value is not None and rate.value * rate.n >= least * (rate.n + lost) - 1e-9 for rate, lost, least in pairs)


class CriterionRates(Record):
    """How often a judge is right on one criterion.

    Args:
        near: share of the close passes that it passed.
        na: share of the golden NA that it answered NA.
        disputed: verdicts on which the readers differ; they are in no other figure.
        flips: share of the conversations judged several times on which its answers differ; None where each was judged once.
    """

    rates: Rates
    near: Estimate
    na: Estimate
    disputed: int
    flips: Estimate | None = None


class GoldenFigures(Record):
    """How often a judge is right on a golden set.

    Args:
        gates: rates over conversations; one that a gate must reject counts as found if the judge fails a gate that the golden verdict fails.
        verdicts: rates over the verdicts on all criteria.
        outcome: rates over conversations by the rubric's outcome, where no disputed verdict could change it.
        criteria: by criterion.
        parts: rates on parts of the set, by the part's name.
        na: share of the golden NA that the judge answered NA.
        errors: share of answers that cannot be used.
        disputed: verdicts on which the readers differ.
        flips: probability, over all criteria, that two judgements differ; None where each conversation was judged once.
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
    judged = [item for item in golden if item.id in assessments]
    verdicts = [one for item in judged for one in _verdicts(item, assessments[item.id], rubric)]
    gates = [one for item in judged if (one := _gates(item, assessments[item.id], rubric))]
    outcomes = [one for item in judged if (one := _outcome(item, assessments[item.id], rubric))]
    disputed = {name: sum(name in item.file.disputed for item in judged) for name in rubric.criteria}
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

    Shares have Wilson intervals. Verdicts on the same conversation are not independent, so n is reduced for the interval (`_independent`).
    """
    failures, passes = [one for one in seen if one.fails], [one for one in seen if not one.fails]
    answers: dict[str, dict[str, dict[str, str | None]]] = {}
    for one in seen:
        answers.setdefault(one.criterion, {})[one.conversation] = {GOLDEN: one.golden, JUDGE: one.answer}
    pairs = pair_agreements(answers, RESAMPLES, FEW) if failures and passes else ()
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
    """Return the effective number of independent verdicts, which lies between the number of conversations and the number of verdicts.

    Args:
        counts: for each conversation, the number of right verdicts and of all verdicts.
        share: of right verdicts, 0 to 1.

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
    """Return the third of a conversation with all of these exchanges, or "several"; None where it has no exchange, or the conversation fewer than three."""
    if length < 3:
        return None
    thirds = {("first", "middle", "last")[3 * (number - 1) // length] for number in exchanges}
    return None if not thirds else thirds.pop() if len(thirds) == 1 else "several"


def _gates(item: Golden, assessment: Assessment, rubric: Rubric) -> Seen | None:
    """Compare whether a gate must reject a conversation with whether the judge rejects it; return None where that is disputed or no gate applies."""
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
    """Compare whether a conversation must fail with whether the judge fails it; return None where that depends on a disputed verdict."""
    possible = {golden_outcome(item, rubric, disputed) for disputed in (Answer.YES, Answer.NO)}
    if len(possible) > 1:
        return None
    answers = {Outcome.PASS: Answer.YES, Outcome.FAIL: Answer.NO, Outcome.INCOMPLETE: Answer.ERROR}
    return _whole(item, "outcome", possible.pop() is Outcome.FAIL, answers[assessment.score.outcome])


def golden_outcome(item: Golden, rubric: Rubric, disputed: Answer) -> Outcome:
    """Return the outcome of a conversation by its golden verdicts.

    Args:
        disputed: the answer that disputed verdicts count as.
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
