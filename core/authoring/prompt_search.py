"""A search for a better system prompt by reflection: candidates on a Pareto front, and a new one only where it does better on a few conversations.

Source: GEPA, arXiv 2507.19457, algorithms 1 and 2, for one component and without the merging of candidates.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from core.fingerprint import seed_of
from core.records import Record

MINIBATCH = 3
"""Conversations that a proposal is made from and tried on first; three in the source."""


class Played(Record):
    """What came of a conversation under a prompt.

    Args:
        seed: the persona's.
        score: none where there is no conversation, or no complete assessment.
        transcript, assessment: their files below the data root.
    """

    seed: int
    score: float | None = None
    failed_gates: tuple[str, ...] = ()
    transcript: str | None = None
    assessment: str | None = None


class Proposal(Record):
    """A better prompt, as its writer holds.

    Args:
        changes: what is different, each in a sentence.
    """

    text: str
    changes: tuple[str, ...]


class Candidate(Record):
    """A prompt that was played with all selection personas.

    Args:
        parent: place of the candidate that it was made from; none of the start.
        played: by persona, in the order of the selection personas.
        spent: conversations until it was known.
    """

    text: str
    parent: int | None
    changes: tuple[str, ...]
    played: list[Played]
    spent: int

    @property
    def scores(self) -> dict[int, float]:
        """Scores by the persona's seed, where there is one."""
        return {one.seed: one.score for one in self.played if one.score is not None}

    @property
    def failed(self) -> int:
        """Conversations that failed a gate."""
        return sum(bool(one.failed_gates) for one in self.played)

    @property
    def mean(self) -> float | None:
        """Mean score of what could be judged."""
        return fmean(self.scores.values()) if self.scores else None


class Step(Record):
    """One attempt to better a candidate.

    Args:
        seeds: of the personas that it was made from.
        before, after: mean score with them of the parent and of the proposal, over those that both have.
        outcome: what came of it, in a sentence.
    """

    parent: int
    seeds: list[int]
    outcome: str
    before: float | None = None
    after: float | None = None


Play = Callable[[str, Sequence[int]], Awaitable[list[Played]]]
"""Plays a prompt with the personas of some seeds, and has the conversations judged."""
Propose = Callable[[str, Sequence[Played], Sequence[Proposal]], Awaitable[Proposal | str]]
"""Writes a better prompt from conversations, knowing what was tried without success; or says why there is none."""


@dataclass
class PromptSearch:
    """A search under way; what it has found can be read at any time.

    Args:
        reflection: seeds of the personas from whose conversations prompts are written; selection: of those by whose scores one is chosen.
        budget: the most conversations.
        tell: is called after each step.
    """

    start: str
    reflection: Sequence[int]
    selection: Sequence[int]
    budget: int
    play: Play
    propose: Propose
    tell: Callable[["PromptSearch"], object] = lambda _: None
    candidates: list[Candidate] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Prepare the draws, which the seeds alone decide: the same search takes the same steps."""
        self._draw = random.Random(seed_of("prompt search", list(self.reflection), list(self.selection)))
        self._waiting: list[int] = []
        self._known: dict[tuple[str, int], Played] = {}
        self._failed: dict[str, list[Proposal]] = {}

    @property
    def spent(self) -> int:
        """Conversations asked for; none is asked for twice."""
        return len(self._known)

    async def run(self) -> None:
        """Search until the budget has no room for one more candidate; each step is bounded, and so is their number."""
        self.candidates.append(Candidate(text=self.start, parent=None, changes=(), played=await self._play(self.start, self.selection), spent=self.spent))
        for _ in range(self.budget // MINIBATCH):
            if self.spent + 2 * MINIBATCH + len(self.selection) > self.budget:
                break
            self.steps.append(await self._step())
            self.tell(self)

    async def _step(self) -> Step:
        parent = self._draw.choices(*front(self._safe()))[0]
        place, seeds = self.candidates.index(parent), self._minibatch()
        before = await self._play(parent.text, seeds)
        failed = self._failed.setdefault(parent.text, [])
        found = await self.propose(parent.text, before, failed)
        if isinstance(found, str):
            return Step(parent=place, seeds=seeds, outcome=found)
        if any(found.text == text for text, _ in self._known):
            return Step(parent=place, seeds=seeds, outcome="a prompt that was tried before")
        after = await self._play(found.text, seeds)
        old, new = shared_means(before, after)
        step = Step(parent=place, seeds=seeds, outcome="no better with these personas", before=old, after=new)
        if not better(before, after):
            failed.append(found)
            return step
        played = await self._play(found.text, self.selection)
        self.candidates.append(Candidate(text=found.text, parent=place, changes=found.changes, played=played, spent=self.spent))
        return step.model_copy(update={"outcome": f"candidate {len(self.candidates) - 1}"})

    def _minibatch(self) -> list[int]:
        """Return the next few of the reflection personas, drawn without any of them again before all had their turn."""
        if len(self._waiting) < MINIBATCH:
            self._waiting = self._draw.sample(list(self.reflection), len(self.reflection))
        taken, self._waiting = self._waiting[:MINIBATCH], self._waiting[MINIBATCH:]
        return sorted(taken)

    async def _play(self, text: str, seeds: Sequence[int]) -> list[Played]:
        if missing := [seed for seed in seeds if (text, seed) not in self._known]:
            self._known |= {(text, one.seed): one for one in await self.play(text, missing)}
        return [self._known[text, seed] for seed in seeds]

    def _safe(self) -> list[Candidate]:
        """Return the start, and the candidates that fail no gate, and lose no conversation, more often."""
        start = self.candidates[0]
        return [one for one in self.candidates if one.failed <= start.failed and len(one.scores) >= len(start.scores)]

    def best(self) -> Candidate:
        """Return the candidate with the best score over the personas that it shares with the start; the start where none is better."""
        start = self.candidates[0]

        def gain(one: Candidate) -> float:
            old, new = shared_means(start.played, one.played)
            return (new or 0.0) - (old or 0.0)

        return max(self._safe(), key=gain)  # of equal ones the first


def better(before: Sequence[Played], after: Sequence[Played]) -> bool:
    """Say whether a prompt does better with the same personas: a higher mean score, and neither more failed gates nor more lost conversations."""
    old, new = shared_means(before, after)
    lost = [sum(one.score is None for one in played) for played in (before, after)]
    failed = [sum(bool(one.failed_gates) for one in played) for played in (before, after)]
    return old is not None and new is not None and new > old and lost[1] <= lost[0] and failed[1] <= failed[0]


def shared_means(before: Sequence[Played], after: Sequence[Played]) -> tuple[float | None, float | None]:
    """Return both mean scores over the personas for which both have one."""
    scores = [{one.seed: one.score for one in played if one.score is not None} for played in (before, after)]
    shared = sorted(scores[0].keys() & scores[1].keys())
    if not shared:
        return None, None
    return fmean(scores[0][seed] for seed in shared), fmean(scores[1][seed] for seed in shared)


def front(candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[int]]:
    """Return the candidates that are best with some persona and that no other dominates, each with the number of personas with whom it is best.

    Algorithm 2 of the source: a parent is drawn by these numbers, so that a prompt that alone handles one kind of person is kept.
    """
    seeds = sorted({seed for one in candidates for seed in one.scores})
    most = {seed: max(one.scores[seed] for one in candidates if seed in one.scores) for seed in seeds}
    wins = [{seed for seed in seeds if one.scores.get(seed) == most[seed]} for one in candidates]
    kept = [place for place, own in enumerate(wins) if own and not any(_dominates(other, candidates[place]) for other in candidates)]
    if not kept:  # nothing could be judged
        return [candidates[0]], [1]
    return [candidates[place] for place in kept], [len(wins[place]) for place in kept]


def _dominates(one: Candidate, other: Candidate) -> bool:
    """Say whether one scores nowhere less than another, and somewhere more."""
    scores, others = one.scores, other.scores
    return all(scores.get(seed, -1.0) >= score for seed, score in others.items()) and any(score > others.get(seed, -1.0) for seed, score in scores.items())
