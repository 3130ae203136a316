"""A search for a better system prompt by reflection.

A new prompt is first tried in a few conversations. If it does better there than its parent, it becomes a candidate. Parents are drawn from a Pareto front
of the candidates.

Source: GEPA, arXiv 2507.19457, algorithms 1 and 2, for one component and without merging of candidates.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from core.fingerprint import seed_of
from core.records import Record

MINIBATCH = 3
"""Number of conversations that a proposal is written from and first tried in; three as in the source."""


class Played(Record):
    """The result of a conversation with a prompt.

    Args:
        seed: the persona's.
        score: None where there is no conversation, or no complete assessment.
        failed_gates: ids of the gates that it failed.
        transcript, assessment: their paths below the data root; None where the conversation was not judged completely.
    """

    seed: int
    score: float | None = None
    failed_gates: tuple[str, ...] = ()
    transcript: str | None = None
    assessment: str | None = None


class Proposal(Record):
    """A prompt that its writer proposes as a better one.

    Args:
        changes: the differences from its parent, each in a sentence.
    """

    text: str
    changes: tuple[str, ...]


class Candidate(Record):
    """A prompt that was played with all selection personas.

    Args:
        parent: index of the candidate that it was written from; None for the start.
        changes: the differences from its parent.
        played: the conversations, in the order of the selection personas.
        spent: conversations that the search had played when the candidate was complete.
    """

    text: str
    parent: int | None
    changes: tuple[str, ...]
    played: list[Played]
    spent: int

    @property
    def scores(self) -> dict[int, float]:
        """Scores by the persona's seed, for the conversations that have one."""
        return {one.seed: one.score for one in self.played if one.score is not None}

    @property
    def failed(self) -> int:
        """Conversations that failed a gate."""
        return sum(bool(one.failed_gates) for one in self.played)

    @property
    def mean(self) -> float | None:
        """Mean score of the conversations that have one; None if none has."""
        return fmean(self.scores.values()) if self.scores else None


class Step(Record):
    """One attempt to improve a candidate.

    Args:
        parent: index of the candidate.
        seeds: of the personas whose conversations the proposal was written from.
        outcome: the result, in a few words.
        before, after: mean score of the parent and of the proposal with these personas, over those for which both have a score; None without any.
    """

    parent: int
    seeds: list[int]
    outcome: str
    before: float | None = None
    after: float | None = None


Play = Callable[[str, Sequence[int]], Awaitable[list[Played]]]
"""Plays a prompt with the personas of these seeds, has the conversations judged, and returns a result for each."""
Propose = Callable[[str, Sequence[Played], Sequence[Proposal]], Awaitable[Proposal | str]]
"""Writes a better prompt from a prompt, its conversations and the unsuccessful proposals so far, or returns the reason why there is none."""


@dataclass
class PromptSearch:
    """A search under way; its candidates and steps can be read at any time.

    Args:
        start: the prompt to begin with.
        reflection: seeds of the personas from whose conversations prompts are written.
        selection: seeds of the personas by whose scores a prompt is chosen.
        budget: conversations at most.
        play: plays prompts.
        propose: writes prompts.
        tell: called after each step.
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
        """Prepare the random draws, which depend only on the seeds, so that the same search takes the same steps."""
        self._draw = random.Random(seed_of("prompt search", list(self.reflection), list(self.selection)))
        self._waiting: list[int] = []
        self._results: dict[tuple[str, int], Played] = {}
        self._failed: dict[str, list[Proposal]] = {}

    @property
    def spent(self) -> int:
        """Number of conversations played; none is played twice."""
        return len(self._results)

    async def run(self) -> None:
        """Search until the budget has no room for another candidate; the number of steps is bounded, even if they play nothing."""
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
        proposal = await self.propose(parent.text, before, failed)
        if isinstance(proposal, str):
            return Step(parent=place, seeds=seeds, outcome=proposal)
        if any(proposal.text == text for text, _ in self._results):
            return Step(parent=place, seeds=seeds, outcome="a prompt that was tried before")
        after = await self._play(proposal.text, seeds)
        old, new = shared_means(before, after)
        step = Step(parent=place, seeds=seeds, outcome="no better with these personas", before=old, after=new)
        if not better(before, after):
            failed.append(proposal)
            return step
        played = await self._play(proposal.text, self.selection)
        self.candidates.append(Candidate(text=proposal.text, parent=place, changes=proposal.changes, played=played, spent=self.spent))
        return step.model_copy(update={"outcome": f"candidate {len(self.candidates) - 1}"})

    def _minibatch(self) -> list[int]:
        """Return the seeds of the next few reflection personas; they are drawn in rounds, without replacement within a round."""
        if len(self._waiting) < MINIBATCH:
            self._waiting = self._draw.sample(list(self.reflection), len(self.reflection))
        taken, self._waiting = self._waiting[:MINIBATCH], self._waiting[MINIBATCH:]
        return sorted(taken)

    async def _play(self, text: str, seeds: Sequence[int]) -> list[Played]:
        if missing := [seed for seed in seeds if (text, seed) not in self._results]:
            self._results |= {(text, one.seed): one for one in await self.play(text, missing)}
        return [self._results[text, seed] for seed in seeds]

    def _safe(self) -> list[Candidate]:
        """Return the candidates that fail no more gates and lose no more conversations than the start, including the start."""
        start = self.candidates[0]
        return [one for one in self.candidates if one.failed <= start.failed and len(one.scores) >= len(start.scores)]

    def best(self) -> Candidate:
        """Return the candidate with the greatest gain over the start, on the personas for which both have a score; the start if none is better."""
        start = self.candidates[0]

        def gain(one: Candidate) -> float:
            old, new = shared_means(start.played, one.played)
            return (new or 0.0) - (old or 0.0)

        return max(self._safe(), key=gain)  # the first of equal ones


def better(before: Sequence[Played], after: Sequence[Played]) -> bool:
    """Return whether a prompt does better with the same personas: a higher mean score, and no more failed gates or lost conversations."""
    old, new = shared_means(before, after)
    lost = [sum(one.score is None for one in played) for played in (before, after)]
    failed = [sum(bool(one.failed_gates) for one in played) for played in (before, after)]
    return old is not None and new is not None and new > old and lost[1] <= lost[0] and failed[1] <= failed[0]


def shared_means(before: Sequence[Played], after: Sequence[Played]) -> tuple[float | None, float | None]:
    """Return both mean scores, over the personas for which both have a score; None without any."""
    scores = [{one.seed: one.score for one in played if one.score is not None} for played in (before, after)]
    shared = sorted(scores[0].keys() & scores[1].keys())
    if not shared:
        return None, None
    return fmean(scores[0][seed] for seed in shared), fmean(scores[1][seed] for seed in shared)


def front(candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[int]]:
    """Return the candidates on the Pareto front, and the number of personas with whom each is best.

    On the front are the candidates that are best with at least one persona and that no other candidate dominates. A parent is drawn with these numbers as
    weights, so that a prompt is kept if it alone handles one kind of person.

    Source:
        Algorithm 2 of GEPA.
    """
    seeds = sorted({seed for one in candidates for seed in one.scores})
    best = {seed: max(one.scores[seed] for one in candidates if seed in one.scores) for seed in seeds}
    wins = [{seed for seed in seeds if one.scores.get(seed) == best[seed]} for one in candidates]
    places = [place for place, own in enumerate(wins) if own and not any(_dominates(other, candidates[place]) for other in candidates)]
    if not places:  # nothing could be judged
        return [candidates[0]], [1]
    return [candidates[place] for place in places], [len(wins[place]) for place in places]


def _dominates(one: Candidate, other: Candidate) -> bool:
    """Return whether one candidate scores lower than another with no persona, and higher with at least one; a missing score is the lowest."""
    scores, others = one.scores, other.scores
    return all(scores.get(seed, -1.0) >= score for seed, score in others.items()) and any(score > others.get(seed, -1.0) for seed, score in scores.items())
