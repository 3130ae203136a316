"""Agreement of a judge with a person."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from core.judging.agreement import is_usable, pair_agreements
from core.judging.label_statistics import Estimate, batch_rate, share_of


@dataclass(frozen=True)
class HumanAgreement:
    """Agreement of a judge with a person on one criterion.

    Args:
        raw: share of labelled transcripts with the same answer.
        kappa: Cohen's kappa.
        true_positive_rate: share of the transcripts failed by the person that the judge failed, too.
        true_negative_rate: share of the transcripts passed by the person that the judge passed, too.
        pass_rate: share of all judged transcripts that the judge passed.
        labelled_pass_rate: share of all judged transcripts that the person would pass, estimated from the labels alone.
        corrected_pass_rate: the same share, estimated from the labels and the judge's answers.
    """

    raw: Estimate
    kappa: Estimate
    true_positive_rate: Estimate
    true_negative_rate: Estimate
    pass_rate: Estimate
    labelled_pass_rate: Estimate
    corrected_pass_rate: Estimate


def human_agreement(
    human: Mapping[str, str | None], judge: Mapping[str, str | None], passing: Collection[str], resamples: int, few: int, seed: int = 0
) -> HumanAgreement:
    """Return how far a judge agrees on one criterion with a person who labelled some of the transcripts.

    Raw agreement and kappa compare the answers themselves. The rates compare pass and fail; the positive class is a failure.

    Args:
        human: the person's answers by transcript; ERROR, None and an absent answer are unlabelled. `labelled_pass_rate` holds only if the labelled
            transcripts were drawn without regard to the judge's answers.
        judge: the judge's answers by transcript, for the whole batch.
        passing: the answers that pass: YES, and NA where the rubric allows it.
        resamples: samples behind kappa's interval; the shares have Wilson intervals, the person's pass rates those of `batch_rate`.
        few: an estimate from fewer transcripts has a warning.

    Source:
        Cohen (1960), Wilson (1927), Holt & Smith (1979), as cited where they are computed.
    """
    judged = {name: answer for name, answer in judge.items() if is_usable(answer)}
    pairs = {name: {"human": answer, "judge": judged[name]} for name, answer in human.items() if is_usable(answer) and name in judged}
    both = [(labels["human"] in passing, labels["judge"] in passing) for labels in pairs.values()]
    failed, passed = sum(not person for person, _ in both), sum(person for person, _ in both)
    both_failed, both_passed = sum(not person and not machine for person, machine in both), sum(person and machine for person, machine in both)
    machines = [answer in passing for answer in judged.values()]
    strata = [
        (machines.count(way), sum(machine is way for _, machine in both), sum(person for person, machine in both if machine is way)) for way in (True, False)
    ]
    equal = sum(labels["human"] == labels["judge"] for labels in pairs.values())
    pair = pair_agreements({"": pairs}, resamples, few, seed)
    unlabelled = "no transcript has both a label and the judge's answer"
    return HumanAgreement(
        raw=share_of(equal, len(pairs), few, unlabelled),
        kappa=pair[0].kappa if pair else Estimate(None, 0, reason=unlabelled),
        true_positive_rate=share_of(both_failed, failed, few, "no labelled transcript was failed by the person"),
        true_negative_rate=share_of(both_passed, passed, few, "no labelled transcript was passed by the person"),
        pass_rate=share_of(machines.count(True), len(judged), few, "nothing was judged"),
        labelled_pass_rate=batch_rate([(len(judged), len(both), passed)], few),
        corrected_pass_rate=batch_rate(strata, few),
    )
