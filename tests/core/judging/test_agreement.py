"""Agreement: published examples, invariances, and reasons in place of undefined figures."""

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from core.judging.agreement import agreement, overall_agreement
from core.judging.human_agreement import human_agreement
from core.judging.intervals import wilson_interval
from core.judging.rank_agreement import rank_agreement
from core.records import Answer


def by_judge(**answers):
    """Turn each judge's answers, in the order of the transcripts, into answers by transcript."""
    (length,) = {len(unit) for unit in answers.values()}
    return {f"t{number:03}": {judge: unit[number] for judge, unit in answers.items()} for number in range(length)}


def table(yes_yes, yes_no, no_yes, no_no):
    """Give two judges' answers from the four cells of their table."""
    cells = [("YES", "YES")] * yes_yes + [("YES", "NO")] * yes_no + [("NO", "YES")] * no_yes + [("NO", "NO")] * no_no
    return by_judge(a=[one for one, _ in cells], b=[other for _, other in cells])


def panel(seed, transcripts=40, judges=3, missing=0.1):
    """Give a panel that agrees somewhat."""
    draw = np.random.default_rng(seed)
    truth = draw.choice(["YES", "NO", "NA"], transcripts, p=[0.6, 0.3, 0.1])
    answers = {
        f"j{judge}": [None if draw.random() < missing else str(value if draw.random() < 0.7 else draw.choice(["YES", "NO", "NA"])) for value in truth]
        for judge in range(judges)
    }
    return by_judge(**answers)


def values(found):
    return [found.raw.value, found.fleiss.value, found.alpha.value]


# --- published examples ---------------------------------------------------------------------------------------------


def test_cohens_kappa_of_a_two_by_two_table_matches_the_published_value():
    found = agreement(table(20, 5, 10, 15), 500, few=30)
    pair = found.pairs[0]
    assert pair.judges == ("a", "b")
    assert pair.raw.value == pytest.approx(35 / 50)
    by_chance = 25 / 50 * 30 / 50 + 25 / 50 * 20 / 50
    assert pair.kappa.value == pytest.approx((35 / 50 - by_chance) / (1 - by_chance))
    assert pair.kappa.value == pytest.approx(0.4)
    assert pair.kappa.n == 50
    # the marginals are not the same, so that Scott's pi, which pools them, is lower
    assert found.fleiss.value == pytest.approx((0.7 - (0.55**2 + 0.45**2)) / (1 - (0.55**2 + 0.45**2)))


def test_fleiss_kappa_of_ten_subjects_matches_the_published_value():
    counts = [
        (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
        (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
    ]  # fmt: skip
    answers = {}
    for number, row in enumerate(counts):
        unit = [str(category) for category, count in enumerate(row) for _ in range(count)]
        answers[str(number)] = {f"j{judge}": answer for judge, answer in enumerate(unit)}
    found = agreement(answers, 50, few=30)
    assert found.fleiss.value == pytest.approx(0.2099307, abs=1e-7)
    assert found.raw.value == pytest.approx(0.378, abs=5e-4)
    assert "small n (10" in (found.fleiss.warning or "")
    assert len(found.pairs) == 14 * 13 // 2


def test_krippendorffs_alpha_of_four_observers_matches_the_published_value():
    def read(line):
        return [None if sign == "." else sign for sign in line.split()]

    answers = by_judge(
        a=read("1 2 3 3 2 1 4 1 2 . . ."),
        b=read("1 2 3 3 2 2 4 1 2 5 . 3"),
        c=read(". 3 3 3 2 3 4 2 2 5 1 ."),
        d=read("1 2 3 3 2 4 4 1 2 5 1 ."),
    )
    found = agreement(answers, 500, few=10)
    assert found.alpha.value == pytest.approx(0.743, abs=5e-4)
    assert found.alpha.n == 11  # the twelfth has one value only
    assert found.fleiss.n == 8  # what all four answered
    assert found.alpha.interval is not None
    assert found.alpha.interval[0] < 0.743 < found.alpha.interval[1]


@pytest.mark.parametrize(
    ("first", "second", "alpha"),
    [("0100000010", "1110010000", 0.095), ("aabbdcccedda", "babbbccceddd", 0.692)],
)
def test_krippendorffs_alpha_of_two_observers_matches_the_published_value(first, second, alpha):
    assert agreement(by_judge(a=list(first), b=list(second)), 50, few=0).alpha.value == pytest.approx(alpha, abs=5e-4)


# --- what must and must not change it -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_names_of_answers_judges_and_transcripts_do_not_matter(seed):
    answers = panel(seed)
    found = agreement(answers, 200, few=0)
    renamed = {"YES": "q", "NO": "A", "NA": "m", None: None}
    other = agreement({name: {judge: renamed[answer] for judge, answer in unit.items()} for name, unit in answers.items()}, 200, few=0)
    assert values(other) == pytest.approx(values(found))
    assert [pair.kappa.value for pair in other.pairs] == pytest.approx([pair.kappa.value for pair in found.pairs])
    reverse = agreement({name: {f"x{9 - int(judge[1])}": answer for judge, answer in unit.items()} for name, unit in answers.items()}, 200, few=0)
    assert values(reverse) == pytest.approx(values(found))
    assert sorted(pair.kappa.value or 0 for pair in reverse.pairs) == pytest.approx(sorted(pair.kappa.value or 0 for pair in found.pairs))
    shuffled = agreement(dict(reversed(answers.items())), 200, few=0)
    assert shuffled == found  # intervals too


@pytest.mark.parametrize("seed", range(3))
def test_kappa_and_alpha_match_an_implementation_with_plain_loops(seed):
    answers = panel(seed)
    found = agreement(answers, 20, few=0)
    judges = ["j0", "j1", "j2"]
    for (one, other), pair in zip(combinations(judges, 2), found.pairs, strict=True):
        both = [(unit[one], unit[other]) for unit in answers.values() if unit[one] and unit[other]]
        observed = sum(x == y for x, y in both) / len(both)
        expected = sum(sum(x == c for x, _ in both) * sum(y == c for _, y in both) for c in ("YES", "NO", "NA")) / len(both) ** 2
        assert (pair.raw.value, pair.kappa.n) == (pytest.approx(observed), len(both))
        assert pair.kappa.value == pytest.approx((observed - expected) / (1 - expected))
    units = [[answer for answer in unit.values() if answer] for unit in answers.values()]
    units = [unit for unit in units if len(unit) > 1]
    pooled = [answer for unit in units for answer in unit]
    within = sum(sum(x != y for x in unit for y in unit) / (len(unit) - 1) for unit in units) / len(pooled)
    between = sum(x != y for x in pooled for y in pooled) / (len(pooled) * (len(pooled) - 1))
    assert (found.alpha.value, found.alpha.n) == (pytest.approx(1 - within / between), len(units))


def test_perfect_agreement_is_1_with_an_interval():
    same = ["YES", "NO", "NA", "YES", "NO"] * 8
    found = agreement(by_judge(a=same, b=same, c=same), 500, few=10)
    assert values(found) == [1.0, 1.0, 1.0]
    assert [pair.kappa.value for pair in found.pairs] == [1.0] * 3
    for estimate in (found.raw, found.fleiss, found.alpha, found.pairs[0].kappa):
        assert estimate.interval is not None
        assert 0.7 < estimate.interval[0] < 0.99
        assert estimate.interval[1] == 1
    assert found.alpha.warning is None


def test_opposite_judges_are_below_chance():
    assert agreement(table(0, 20, 20, 0), 200, few=0).pairs[0].kappa.value == pytest.approx(-1)


@pytest.mark.slow
def test_independent_judges_have_chance_agreement():
    draw = np.random.default_rng(7)
    runs, covered, kappas = 250, {"kappa": 0, "alpha": 0}, []
    for _ in range(runs):
        answers = by_judge(a=draw.choice(["YES", "NO"], 80, p=[0.7, 0.3]).tolist(), b=draw.choice(["YES", "NO"], 80, p=[0.6, 0.4]).tolist())
        found = agreement(answers, 300, few=0)
        kappas.append(found.pairs[0].kappa.value)
        for name, estimate in (("kappa", found.pairs[0].kappa), ("alpha", found.alpha)):
            assert estimate.interval is not None
            covered[name] += estimate.interval[0] <= 0 <= estimate.interval[1]
    assert np.mean(kappas) == pytest.approx(0, abs=0.02)
    assert 0.91 <= covered["kappa"] / runs <= 0.98
    assert 0.90 <= covered["alpha"] / runs <= 0.98  # unequal marginals put alpha a little below 0


def test_a_seed_gives_the_same_interval():
    answers = panel(1)
    assert agreement(answers, 200, few=0, seed=3) == agreement(answers, 200, few=0, seed=3)
    assert agreement(answers, 200, few=0, seed=3).alpha.interval != agreement(answers, 200, few=0, seed=4).alpha.interval


def two_judges(draw, prevalence, kappa, transcripts=30):
    """Give two judges' answers of equal prevalence and a known kappa."""
    rare = 1 - prevalence
    cells = [prevalence**2 + kappa * prevalence * rare, *[(1 - kappa) * prevalence * rare] * 2, rare**2 + kappa * prevalence * rare]
    return table(*draw.multinomial(transcripts, cells))


@pytest.mark.slow
@pytest.mark.parametrize("prevalence", [0.5, 0.95])
def test_intervals_of_thirty_transcripts_have_their_coverage(prevalence):
    draw, held = np.random.default_rng(int(100 * prevalence)), {"kappa": [], "fleiss": [], "alpha": []}
    for _ in range(250):
        found = agreement(two_judges(draw, prevalence, 0.6), 300, few=0)
        for name, estimate in (("kappa", found.pairs[0].kappa), ("fleiss", found.fleiss), ("alpha", found.alpha)):
            if estimate.interval:
                held[name].append(estimate.interval[0] <= 0.6 <= estimate.interval[1])
    # three standard errors below 95 %
    assert all(len(each) > 190 and np.mean(each) >= 0.908 for each in held.values())


@pytest.mark.slow
def test_the_interval_over_many_criteria_has_its_coverage_without_excess_width():
    draw, held, widths = np.random.default_rng(3), [], []
    for _ in range(150):
        found = overall_agreement({str(number): two_judges(draw, share, 0.8) for number, share in enumerate([0.6, 0.8, 0.9] * 5)}, 300, few=0).pairs[0].kappa
        assert found.interval is not None
        held.append(found.interval[0] <= 0.8 <= found.interval[1])
        widths.append(found.interval[1] - found.interval[0])
    assert np.mean(held) >= 0.90
    assert np.mean(widths) < 0.2


# --- boundaries -----------------------------------------------------------------------------------------------------


def test_identical_answers_to_everything_have_raw_agreement_and_no_kappa():
    found = agreement(by_judge(a=["YES"] * 30, b=["YES"] * 30), 200, few=10)
    assert found.raw.value == 1.0
    for estimate in (found.fleiss, found.alpha, found.pairs[0].kappa):
        assert (estimate.value, estimate.interval) == (None, None)
        assert "the same" in (estimate.reason or "")


def test_a_judge_with_constant_answers_has_chance_agreement():
    found = agreement(by_judge(a=["YES"] * 20, b=["YES"] * 10 + ["NO"] * 10), 200, few=0)
    assert found.pairs[0].kappa.value == 0


@pytest.mark.parametrize("answers", [{}, {"t": {}}, by_judge(a=["YES"], b=["NO"]), by_judge(a=["YES", "NO"]), by_judge(a=["YES", "ERROR"], b=["NO", "NO"])])
def test_too_few_answers_give_a_reason_instead_of_a_figure(answers):
    found = agreement(answers, 50, few=10)
    for estimate in (found.raw, found.fleiss, found.alpha, *(pair.kappa for pair in found.pairs)):
        assert (estimate.value, estimate.interval) == (None, None)
        assert "at least 2" in (estimate.reason or "")


def test_an_error_counts_as_missing_and_never_as_agreement():
    plain = table(20, 5, 10, 15)
    spoilt = dict(plain)
    spoilt |= {f"e{number}": {"a": Answer.ERROR, "b": Answer.ERROR} for number in range(30)}
    spoilt |= {f"f{number}": {"a": "YES", "b": "ERROR"} for number in range(5)} | {"g": {"a": None}, "h": {"b": "NO"}}
    assert agreement(spoilt, 200, few=0) == agreement(plain, 200, few=0)


def test_enumeration_members_and_text_are_the_same_answers():
    enumerated = {name: {judge: Answer(answer) for judge, answer in unit.items()} for name, unit in table(20, 5, 10, 15).items()}
    assert agreement(enumerated, 200, few=0) == agreement(table(20, 5, 10, 15), 200, few=0)


def test_fleiss_kappa_needs_all_judges_and_alpha_at_least_two():
    answers = panel(2, missing=0)
    answers |= {f"x{number}": {"j0": "YES", "j1": "NO"} for number in range(7)}
    found = agreement(answers, 100, few=0)
    assert (found.fleiss.n, found.alpha.n, found.raw.n) == (40, 47, 47)
    assert [pair.kappa.n for pair in found.pairs] == [47, 40, 40]
    assert found.fleiss == agreement(panel(2, missing=0), 100, few=0).fleiss


# --- overall --------------------------------------------------------------------------------------------------------


def test_repeated_judgements_of_a_transcript_add_no_evidence():
    answers = panel(3)
    found, alone = overall_agreement({"CQ1": answers, "CQ2": answers}, 2000, few=0), agreement(answers, 2000, few=0)
    assert values(found) == pytest.approx(values(alone))
    assert (found.alpha.n, found.alpha.interval) == (alone.alpha.n, pytest.approx(alone.alpha.interval, abs=0.03))


def test_different_failure_rates_of_criteria_do_not_count_as_agreement():
    draw = np.random.default_rng(8)

    def chance(share):
        return by_judge(**{judge: np.where(draw.random(300) < share, "YES", "NO").tolist() for judge in "ab"})

    easy, hard = chance(0.95), chance(0.05)
    found = overall_agreement({"CQ1": easy, "CQ2": hard}, 300, few=0)
    together = agreement(easy | {f"h{name}": unit for name, unit in hard.items()}, 300, few=0)
    assert found.pairs[0].kappa.value == pytest.approx(0, abs=0.1)
    assert (together.pairs[0].kappa.value or 0) > 0.7
    assert found.pairs[0].kappa.n == 300


def test_a_criterion_that_is_always_met_does_not_raise_the_coefficients():
    answers, met = panel(4, missing=0), by_judge(j0=["YES"] * 40, j1=["YES"] * 40, j2=["YES"] * 40)
    alone, found = agreement(answers, 200, few=0), overall_agreement({"CQ1": answers, "CQ2": met, "CQ3": {}}, 200, few=0)
    assert found.alpha.value == pytest.approx(alone.alpha.value)
    assert found.fleiss.value == pytest.approx(alone.fleiss.value)
    assert found.raw.value == pytest.approx(((alone.raw.value or 0) + 1) / 2)


# --- ranks ----------------------------------------------------------------------------------------------------------


def scores_of(transcripts=60, seed=9):
    draw = np.random.default_rng(seed)
    quality = draw.random(transcripts)
    return {
        f"t{number:03}": {"good": value + 0.05 * draw.normal(), "strict": value**3 / 2, "rough": value + 0.1 * draw.normal(), "odd": draw.random()}
        for number, value in enumerate(quality)
    }


def test_a_judge_with_a_different_ranking_is_named_and_a_strict_one_is_not():
    found = rank_agreement(scores_of(), threshold=0.5, few=20)
    assert [item.judge for item in found] == ["good", "odd", "rough", "strict"]
    assert [item.judge for item in found if item.far] == ["odd"]
    table = np.array([list(unit.values()) for unit in scores_of().values()])
    assert found[0].correlation == pytest.approx(stats.spearmanr(table[:, 0], table[:, 1:].mean(axis=1)).statistic)
    assert found[0].n == 60


def test_no_judge_is_named_with_few_transcripts_or_two_judges():
    few = rank_agreement(dict(list(scores_of().items())[:8]), threshold=0.5, few=20)
    assert not any(item.far for item in few)
    two = rank_agreement({name: {judge: unit[judge] for judge in ("good", "odd")} for name, unit in scores_of().items()}, threshold=0.5, few=20)
    assert [(item.far, item.reason) for item in two] == [(False, "not named: there are only two judges")] * 2
    assert two[0].correlation == two[1].correlation


def test_missing_and_constant_scores_give_no_spurious_correlation():
    scores = scores_of()
    scores["t000"]["good"] = None
    del scores["t001"]["odd"]
    assert {item.n for item in rank_agreement(scores, threshold=0.5, few=20)} == {58}
    with_silent = {name: unit | {"silent": None, "flat": 0.8} for name, unit in scores_of().items()}
    found = {item.judge: item for item in rank_agreement(with_silent, threshold=0.5, few=20)}
    assert (found["silent"].correlation, found["silent"].n) == (None, 0)
    assert found["flat"].correlation is None
    assert "alike" in (found["flat"].reason or "")
    assert found["good"].n == 60
    assert found["odd"].far
    assert rank_agreement({}, threshold=0.5, few=20) == []
    assert rank_agreement({"t": {"a": 1.0}}, threshold=0.5, few=20)[0].reason == "there is no other judge"


def test_equal_scores_are_ties_despite_rounding_errors():
    # 0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1 differ in binary, and must have the same rank
    scores = {str(number): {"a": 0.5 + number % 3, "b": 0.1, "c": 0.2, "d": 0.3} for number in range(10)}
    scores |= {str(10 + number): {"a": 0.5 + number % 3, "b": 0.3, "c": 0.2, "d": 0.1} for number in range(10)}
    found = next(item for item in rank_agreement(scores, threshold=0.5, few=5) if item.judge == "a")
    assert found.reason == "the others scored all transcripts alike"


# --- a person's labels ----------------------------------------------------------------------------------------------


def test_the_agreement_of_person_and_judge_matches_a_calculation_by_hand():
    human = {name: unit["a"] for name, unit in table(36, 4, 6, 14).items()}
    judge = {name: unit["b"] for name, unit in table(36, 4, 6, 14).items()} | {f"more{number}": "YES" if number < 50 else "NO" for number in range(100)}
    found = human_agreement(human, judge, {"YES"}, 500, few=30)
    assert (found.raw.value, found.raw.n) == (50 / 60, 60)
    # a failure is the positive class: of 20 that the person fails the judge finds 14
    assert (found.true_positive_rate.value, found.true_positive_rate.interval) == (14 / 20, wilson_interval(14, 20))
    assert (found.true_negative_rate.value, found.true_negative_rate.interval) == (36 / 40, wilson_interval(36, 40))
    assert "small n (20" in (found.true_positive_rate.warning or "")
    assert (found.pass_rate.value, found.pass_rate.n) == (92 / 160, 160)
    # the judge passes 92 of 160; of 42 labelled ones that it passes 36 are good, of 18 that it fails 4
    assert found.corrected_pass_rate.value == pytest.approx((92 * 36 / 42 + 68 * 4 / 18) / 160)
    assert found.labelled_pass_rate.value == 40 / 60
    assert found.kappa.value == pytest.approx((50 / 60 - (40 * 42 + 20 * 18) / 3600) / (1 - (40 * 42 + 20 * 18) / 3600))
    assert found.kappa.interval is not None


def test_labels_of_the_whole_batch_give_the_persons_own_pass_rate():
    answers = table(36, 4, 6, 14)
    found = human_agreement({name: unit["a"] for name, unit in answers.items()}, {name: unit["b"] for name, unit in answers.items()}, {"YES"}, 200, few=0)
    assert found.corrected_pass_rate.value == found.labelled_pass_rate.value == pytest.approx(40 / 60)
    assert found.corrected_pass_rate.interval == found.labelled_pass_rate.interval == (40 / 60, 40 / 60)


def test_na_passes_where_the_rubric_allows_it():
    human = {"a": "NA", "b": "YES", "c": "NO", "d": "NO"}
    judge = {"a": "YES", "b": "NA", "c": "NO", "d": "NA"}
    allowed = human_agreement(human, judge, {"YES", "NA"}, 100, few=0)
    assert (allowed.true_negative_rate.value, allowed.true_positive_rate.value, allowed.raw.value) == (1, 0.5, 0.25)
    refused = human_agreement(human, judge, {Answer.YES}, 100, few=0)
    assert (refused.true_negative_rate.value, refused.true_positive_rate.value) == (0, pytest.approx(2 / 3))


def test_missing_labels_and_judgements_are_ignored():
    human = {"a": "YES", "b": None, "c": "ERROR", "d": "NO", "gone": "YES", "e": "YES"}
    judge = {"a": "YES", "b": "YES", "c": "NO", "d": Answer.ERROR, "e": None, "f": "NO"}
    found = human_agreement(human, judge, {"YES"}, 100, few=0)
    assert (found.raw.n, found.true_negative_rate.n, found.true_positive_rate.n) == (1, 1, 0)
    assert (found.pass_rate.value, found.pass_rate.n) == (2 / 4, 4)
    assert (found.true_positive_rate.value, found.kappa.value) == (None, None)
    empty = human_agreement({}, {}, {"YES"}, 100, few=0)
    assert all(estimate.value is None and estimate.reason for estimate in vars(empty).values())


def test_no_agreement_figure_is_nan():
    for seed in range(20):
        found = agreement(panel(seed, transcripts=seed % 5 + 1, judges=seed % 3 + 1, missing=0.4), 50, few=10)
        estimates = [found.raw, found.fleiss, found.alpha, *(item for pair in found.pairs for item in (pair.raw, pair.kappa))]
        for estimate in estimates:
            assert estimate.value is None or (math.isfinite(estimate.value) and -1 <= estimate.value <= 1)
            assert estimate.interval is None or all(math.isfinite(bound) for bound in estimate.interval)
            assert estimate.reason or (estimate.value is not None and estimate.interval is not None)
