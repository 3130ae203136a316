"""The pairs of conversations for pairwise judging, and the results for each arm."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from core.evaluation.pairwise import PairAnswer, PairPlan
from core.evaluation.preferences import PairOutcome, Preferences, preferences, words_of
from core.evaluation.schedule import Outcomes, Part
from core.llm.run import Run
from core.records import Transcript
from core.settings.arms import BASE


@dataclass(frozen=True)
class PairPart:
    """A persona's conversations with the base and with an arm, in one trial.

    Args:
        persona: seed of the persona.
        base_first, arm_first: the two readings, in which the base's, or the arm's, conversation is A.
    """

    arm: str
    persona: int
    trial: int
    base_first: PairPlan
    arm_first: PairPlan

    @property
    def plans(self) -> tuple[PairPlan, PairPlan]:
        """Both readings, with the base first and then with the arm first."""
        return self.base_first, self.arm_first


def plan_pairs(run: Run, parts: Sequence[Part], outcomes: Outcomes) -> list[PairPart]:
    """Plan two readings of one pair of conversations for each arm and persona, from the first trial in which both can be compared.

    Only the first judge of a panel reads them, because each further judge would cost as much again.
    """
    judge, paths = run.models["judge"][0], {name: ref.path for name, ref in outcomes.to_judge(parts).items()}
    transcripts = {(part.arm, part.plan.persona.seed, part.plan.trial): paths[part.name] for part in parts if part.name in paths}
    settings, pairs, planned = run.settings.assessment, list[PairPart](), set[tuple[str, int]]()

    def plan(name: str, first: str, second: str) -> PairPlan:
        room = (settings.max_tokens, run.context(judge))
        return PairPlan(name=name, domain=run.pack.name, judge=judge, first=first, second=second, max_tokens=room[0], context=room[1])

    for arm, persona, trial in sorted(transcripts):
        by_base = transcripts.get((BASE, persona, trial))
        if arm == BASE or by_base is None or (arm, persona) in planned:
            continue
        planned.add((arm, persona))
        name, by_arm = f"{arm}, persona {persona}, trial {trial}", transcripts[arm, persona, trial]
        pairs.append(PairPart(arm, persona, trial, plan(f"{name}, {BASE} first", by_base, by_arm), plan(f"{name}, {BASE} second", by_arm, by_base)))
    return pairs


def readings(pairs: Sequence[PairPart]) -> list[PairPlan]:
    """Return the readings in their order. The base's conversation is A first in every other pair, so that a stopped run favours neither side."""
    return [plan for place, pair in enumerate(pairs) for plan in (pair.plans if place % 2 == 0 else reversed(pair.plans))]


def preferences_by_arm(
    run: Run, parts: Sequence[Part], pairs: Sequence[PairPart], answers: Mapping[str, PairAnswer], too_long: Collection[str]
) -> dict[str, Preferences]:
    """Return the results of pairwise judging for each arm.

    Args:
        parts: the planned conversations.
        pairs: the planned pairs.
        answers: answers by the name of the reading.
        too_long: names of the readings that do not fit into the judge's context.
    """
    judge, by_arm = run.models["judge"][0].reference, {}
    for arm in dict.fromkeys(part.arm for part in parts if part.arm != BASE):
        planned = [pair for pair in pairs if pair.arm == arm]
        long = [pair for pair in planned if any(plan.name in too_long for plan in pair.plans)]
        read = [pair for pair in planned if all(plan.name in answers for plan in pair.plans)]
        personas = {part.plan.persona.seed for part in parts if part.arm == arm}
        outcomes = [_outcome(run, pair, answers) for pair in read]
        by_arm[arm] = preferences(judge, outcomes, len(long), len(planned) - len(long) - len(read), len(personas) - len(planned))
    return by_arm


def _outcome(run: Run, pair: PairPart, answers: Mapping[str, PairAnswer]) -> PairOutcome:
    base, arm = (words_of(run.store.load(path, Transcript)) for path in (pair.base_first.first, pair.base_first.second))
    both = (answers[pair.base_first.name], answers[pair.arm_first.name])
    return PairOutcome(persona=pair.persona, trial=pair.trial, answers=both, base_words=base, arm_words=arm)
