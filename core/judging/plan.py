"""Plans of assessments: which judge assesses which transcript, the path of the result, and the results that exist."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import Field

from core.errors import DamagedError
from core.fingerprint import fingerprint, seed_of
from core.imports.rehearsed import AT_ONCE
from core.judging.panel import combine_judges
from core.llm.run import Run
from core.packs.pack import Pack, judge_hash_of, load_pack
from core.packs.rubric import Rubric
from core.records import (
    Answer,
    Assessment,
    AssessmentBatch,
    AssessmentRef,
    Judged,
    LeftOut,
    ModelChoice,
    Outcome,
    Record,
    Transcript,
    TranscriptRef,
)
from core.settings.assessment import Judging
from core.storage.file_states import FileState
from core.storage.index import known_facts
from core.storage.store import Store

REPEATED = 20
"""Transcripts that are judged again when repeats are asked for and no number of transcripts is named."""

Key = tuple[str, str, int]
"""A transcript's id, a judge, and the number of the repeat."""


class AssessmentPlan(Record):
    """Everything that one assessment depends on, and its judge's token limits.

    Args:
        judge_hash: hash of everything in the pack that the judge reads.
        judging: the settings of judging.
        max_tokens: tokens of one call's answer at most.
        context: tokens of a prompt and its answer together at most; None where that is not known.
        repeat: number of this assessment among several of the transcript by the judge; only number 0 enters the batch's results.
        golden: whether the transcript is a golden conversation. Its calls are billed under the name of the assessment, so that a judge's cost is known for
            each mode and repeat.
        only: the criteria that are judged; empty for the whole rubric.
    """

    transcript: TranscriptRef
    judge: ModelChoice
    domain: str
    judge_hash: str
    judging: Judging
    max_tokens: int
    context: int | None
    repeat: int = 0
    golden: bool = False
    only: list[str] = Field(default_factory=list)

    @property
    def key(self) -> Key:
        """Its identity within a batch."""
        return self.transcript.id, self.judge.reference, self.repeat

    @property
    def lock(self) -> str:
        """Name of the lock that a run holds while it makes the assessment."""
        parts = [self.transcript.id, self.judge, self.judge_hash, self.judging, self.repeat]
        return fingerprint(parts)

    def place(self, transcript: Transcript) -> tuple[str, str]:
        """Return the assessment's name and its path below the data root; both depend on the transcript's words."""
        text = [transcript.exchanges, *([transcript.opening] if transcript.opening else [])]
        parts = [transcript.id, *text, self.judge, self.judge_hash, self.judging, self.repeat]
        name = fingerprint(parts)
        rubric = narrowed(load_pack(self.domain), self.only).rubric.hash
        return name, f"assessments/{self.domain}/{rubric}/{name}.json"

    def ref(self, path: str, assessment: Assessment) -> AssessmentRef:
        """Return a reference to the assessment, with its outcome."""
        score = assessment.score
        return AssessmentRef(path=path, transcript=self.transcript, outcome=score.outcome, score=score.score)

    def existing(self, store: Store) -> AssessmentRef | None:
        """Return a reference to the stored assessment, complete or not; None if there is none, or if it or its transcript cannot be read."""
        try:
            _, path = self.place(store.load(self.transcript.path, Transcript))
            return self.ref(path, store.load(path, Assessment)) if store.exists(path) else None
        except DamagedError:  # reported when the transcript is judged
            return None


def plan_assessment(run: Run, transcript: TranscriptRef, judge: ModelChoice, repeat: int = 0, only: Sequence[str] = ()) -> AssessmentPlan:
    """Return the plan of an assessment, on the whole rubric or on some criteria alone.

    Args:
        repeat: number of the assessment among several of the transcript by the judge.
        only: the criteria to judge; empty for the whole rubric.
    """
    settings = run.settings.assessment
    return AssessmentPlan(
        transcript=transcript,
        judge=judge,
        domain=run.pack.name,
        judge_hash=judge_hash(narrowed(run.pack, only), judge.reference),
        judging=settings.judging,
        max_tokens=settings.max_tokens,
        context=run.context(judge),
        repeat=repeat,
        only=list(only),
    )


def narrowed(pack: Pack, only: Sequence[str]) -> Pack:
    """Return a pack whose rubric has only some criteria; the pack itself if `only` is empty.

    Its hashes depend only on what is read for these criteria, so that a change to another criterion does not cause a new assessment.
    """
    if not only:
        return pack
    numbers, criteria = pack.rubric.numbers, {name: criterion for name, criterion in pack.rubric.criteria.items() if name in only}
    parts = [part for criterion in criteria.values() for part in (criterion.head, criterion.text)]
    rubric = Rubric(numbers, criteria, fingerprint([*parts, bool(numbers.forgives)]))
    return replace(pack, rubric=rubric, hash=fingerprint([pack.hash, *criteria]), judge_hash=judge_hash_of(rubric, pack.prompts, pack.tics))


def judge_hash(pack: Pack, judge: str) -> str:
    """Return a hash of everything in a pack that a judge reads; the scripted judge also reads the pack's phrases."""
    return pack.hash if judge.startswith("scripted/") else pack.judge_hash


def plan_repeats(run: Run, batch: AssessmentBatch, repeat: int, sample: int | None) -> list[AssessmentPlan]:
    """Return the plans of repeated assessments of a sample of a batch, by each judge.

    Args:
        repeat: assessments of each transcript by each judge, including the batch's own.
        sample: number of transcripts; None or 0 for `REPEATED`.
    """
    size = min(sample or REPEATED, len(batch.assessments))
    in_order = sorted(batch.assessments, key=lambda item: item.transcript.id)
    chosen = random.Random(seed_of("repeat", run.pack.name)).sample(in_order, size)
    return [plan_assessment(run, item.transcript, judge, number) for item in chosen for judge in run.models["judge"] for number in range(repeat)]


def not_assessed(transcripts: Sequence[TranscriptRef], run: Run, states: Mapping[str, FileState] | None = None) -> list[TranscriptRef]:
    """Return the transcripts of which at least one of the run's judges has no complete assessment.

    Args:
        states: file states of the transcripts' folders; None to read them.
    """
    if states is None:
        folders = {item.path.rpartition("/")[0] for item in transcripts}
        states = {path: state for folder in folders for path, state in run.store.states_in(folder, ".json").items()}
    done = [_assessed_by(run, judge, [item for item in transcripts if item.path in states], states) for judge in run.models["judge"]]
    return [item for item in transcripts if not all(item.path in paths for paths in done)]


def _assessed_by(run: Run, judge: ModelChoice, transcripts: Sequence[TranscriptRef], states: Mapping[str, FileState]) -> set[str]:
    """Return the paths of the transcripts of which a judge has a complete assessment.

    Args:
        states: file states of the transcripts' folders.
    """
    store, refs = run.store, {item.path: item for item in transcripts}
    folder = f"assessments/{run.pack.name}/{run.pack.rubric.hash}"
    stored = store.states_in(folder, ".json")

    def read(names: Sequence[str]) -> dict[str, tuple[str, str]]:
        facts: dict[str, tuple[str, str]] = {}
        for begin in range(0, len(names) if stored else 0, AT_ONCE):
            readable, _ = store.load_all(names[begin : begin + AT_ONCE], Transcript)
            places = {name: plan_assessment(run, refs[name], judge).place(transcript)[1] for name, transcript in readable.items()}
            assessments, _ = store.load_all([path for path in places.values() if path in stored], Assessment)
            complete = {path for path, item in assessments.items() if item.score.outcome is not Outcome.INCOMPLETE}
            facts |= {name: (path, stored[path].version) for name, path in places.items() if path in complete}
        return facts

    def is_current(fact: tuple[str, str]) -> bool:
        return fact[0] in stored and stored[fact[0]].version == fact[1]

    key = fingerprint([judge, judge_hash(run.pack, judge.reference), run.settings.assessment.judging, run.pack.rubric.hash])
    return set(known_facts(store, f"assessed/{run.pack.name}-{key}", tuple[str, str], {path: states[path] for path in refs}, read, is_current, states))


def existing_assessments(transcripts: Sequence[TranscriptRef], run: Run) -> list[AssessmentRef]:
    """Return the results of the transcripts that at least one of the run's judges has assessed."""
    judges = run.models["judge"]
    by_judge = [{judge.reference: plan_assessment(run, item, judge).existing(run.store) for judge in judges} for item in transcripts]
    return decide_all(run, by_judge)


def decide_all(run: Run, by_judge: Sequence[Mapping[str, AssessmentRef | None]], only: Sequence[str] = ()) -> list[AssessmentRef]:
    """Return the result of each transcript from its judges' assessments; transcripts without any assessment are left out.

    Args:
        by_judge: for each transcript, the assessment of each judge; None where there is none.
        only: the criteria that were judged; empty for the whole rubric.
    """
    some = [refs for refs in by_judge if any(refs.values())]
    if len(run.models["judge"]) == 1:
        return [ref for refs in some for ref in refs.values() if ref]
    return [_decided(run, narrowed(run.pack, only), refs) for refs in some]


def read_judged(store: Store, batch: AssessmentBatch) -> list[Judged]:
    """Return the transcripts of a batch, each with its final assessment and those of the single judges."""

    def read(item: AssessmentRef) -> Judged:
        final = store.load(item.path, Assessment)
        own = {judge: store.load(path, Assessment) for judge, path in item.by_judge.items()}
        transcript = store.load(item.transcript.path, Transcript)
        return Judged(transcript=transcript, final=final, by_judge=own or {final.judge: final})

    return [read(item) for item in batch.assessments]


def without_verdict(store: Store, item: AssessmentRef) -> LeftOut:
    """Return the reason why an assessment is incomplete."""
    verdicts = store.load(item.path, Assessment).verdicts
    reasons = (one.reasoning for one in verdicts if one.answer is Answer.ERROR)
    return LeftOut(name=item.transcript.id, reason=next(reasons, "nothing could be scored"))


def _decided(run: Run, pack: Pack, by_judge: Mapping[str, AssessmentRef | None]) -> AssessmentRef:
    """Combine a panel's assessments of a transcript, store the result, and return a reference to it."""
    store, refs = run.store, {judge: ref for judge, ref in by_judge.items() if ref}
    transcript = next(iter(refs.values())).transcript
    read = {judge: store.load(refs[judge].path, Assessment) if judge in refs else None for judge in by_judge}
    decided = combine_judges(pack, read, run.settings.assessment.panel, transcript.exchanges)
    folder = f"assessments/{pack.name}/{pack.rubric.hash}/panels"
    path = f"{folder}/{fingerprint(decided)}.json"
    if not store.exists(path):
        store.write_json(path, decided)
    score, paths = decided.score, {judge: ref.path for judge, ref in refs.items()}
    return AssessmentRef(path=path, transcript=transcript, outcome=score.outcome, score=score.score, by_judge=paths)
