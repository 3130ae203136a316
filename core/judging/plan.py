"""Which judges assess which transcripts: each assessment's plan, its path, and its existing result."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import Field

from core.errors import DamagedError
from core.fingerprint import fingerprint, seed_of
from core.imports.rehearsed import AT_ONCE
from core.judging.panel import combine_judges
from core.llm.run import Run
from core.packs.pack import Pack, Rubric, judge_hash_of, load_pack
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
"""Transcripts that are judged again when repeats are asked for without a number."""

Key = tuple[str, str, int]
"""A transcript's id, a judge, and which of its assessments of the transcript."""


class AssessmentPlan(Record):
    """All that one assessment depends on, and its judge's token limits.

    Args:
        judge_hash: hash of all that the judge reads of the pack.
        repeat: which of several assessments of the transcript by the judge; 0 is the one that
            counts.
        golden: whether the transcript is a golden conversation; its calls are billed by the name of the
            assessment, so that what a judge costs is found for each mode and repeat.
        only: the criteria that are judged; none for the whole rubric.
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
        """Identifies it within its batch."""
        return self.transcript.id, self.judge.reference, self.repeat

    @property
    def lock(self) -> str:
        """Name of the lock that its maker holds."""
        parts = [self.transcript.id, self.judge, self.judge_hash, self.judging, self.repeat]
        return fingerprint(parts)

    def place(self, transcript: Transcript) -> tuple[str, str]:
        """Return the assessment's name and its file; both follow from the transcript's words."""
        said = [transcript.exchanges, *([transcript.opening] if transcript.opening else [])]
        parts = [transcript.id, *said, self.judge, self.judge_hash, self.judging, self.repeat]
        name = fingerprint(parts)
        rubric = narrowed(load_pack(self.domain), self.only).rubric.hash
        return name, f"assessments/{self.domain}/{rubric}/{name}.json"

    def ref(self, path: str, assessment: Assessment) -> AssessmentRef:
        """Return a reference with its outcome."""
        score = assessment.score
        return AssessmentRef(path=path, transcript=self.transcript, outcome=score.outcome, score=score.score)

    def existing(self, store: Store) -> AssessmentRef | None:
        """Return the assessment that exists and can be read, complete or not."""
        try:
            _, path = self.place(store.load(self.transcript.path, Transcript))
            return self.ref(path, store.load(path, Assessment)) if store.exists(path) else None
        except DamagedError:  # the judging says so
            return None


def plan_assessment(run: Run, transcript: TranscriptRef, judge: ModelChoice, repeat: int = 0, only: Sequence[str] = ()) -> AssessmentPlan:
    """Plan an assessment, on the whole rubric or on some criteria alone."""
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
    """Return a pack whose rubric is some criteria alone; the pack itself where none is named.

    Its hashes follow from what is read for them, so that nothing is judged again because another criterion reads differently.
    """
    if not only:
        return pack
    numbers, criteria = pack.rubric.numbers, {name: criterion for name, criterion in pack.rubric.criteria.items() if name in only}
    read = [part for criterion in criteria.values() for part in (criterion.head, criterion.text)]
    rubric = Rubric(numbers, criteria, fingerprint([*read, bool(numbers.forgives)]))
    return replace(pack, rubric=rubric, hash=fingerprint([pack.hash, *criteria]), judge_hash=judge_hash_of(rubric, pack.prompts, pack.tics))


def judge_hash(pack: Pack, judge: str) -> str:
    """Return a hash of all that a judge reads of a pack: the scripted one reads its phrases too."""
    return pack.hash if judge.startswith("scripted/") else pack.judge_hash


def plan_repeats(run: Run, batch: AssessmentBatch, repeat: int, sample: int | None) -> list[AssessmentPlan]:
    """Plan repeated assessments of a sample of a batch: `repeat` of each transcript by each judge.

    Args:
        repeat: assessments, the one that counts included.
        sample: transcripts; by default as many as the settings say.
    """
    size = min(sample or REPEATED, len(batch.assessments))
    in_order = sorted(batch.assessments, key=lambda item: item.transcript.id)
    chosen = random.Random(seed_of("repeat", run.pack.name)).sample(in_order, size)
    return [plan_assessment(run, item.transcript, judge, number) for item in chosen for judge in run.models["judge"] for number in range(repeat)]


def not_assessed(transcripts: Sequence[TranscriptRef], run: Run, states: Mapping[str, FileState] | None = None) -> list[TranscriptRef]:
    """Return the transcripts of which one of the run's judges has no complete assessment.

    Args:
        states: of all files of their folders, where they are known.
    """
    if states is None:
        folders = {item.path.rpartition("/")[0] for item in transcripts}
        states = {path: state for folder in folders for path, state in run.store.states_in(folder, ".json").items()}
    done = [_assessed_by(run, judge, [item for item in transcripts if item.path in states], states) for judge in run.models["judge"]]
    return [item for item in transcripts if not all(item.path in paths for paths in done)]


def _assessed_by(run: Run, judge: ModelChoice, transcripts: Sequence[TranscriptRef], states: Mapping[str, FileState]) -> set[str]:
    """Return the paths of the transcripts of which a judge has a complete assessment.

    Args:
        states: of all files of the transcripts' folders.
    """
    store, refs = run.store, {item.path: item for item in transcripts}
    folder = f"assessments/{run.pack.name}/{run.pack.rubric.hash}"
    made = store.states_in(folder, ".json")

    def read(names: Sequence[str]) -> dict[str, tuple[str, str]]:
        facts: dict[str, tuple[str, str]] = {}
        for begin in range(0, len(names) if made else 0, AT_ONCE):
            said, _ = store.load_all(names[begin : begin + AT_ONCE], Transcript)
            places = {name: plan_assessment(run, refs[name], judge).place(transcript)[1] for name, transcript in said.items()}
            found, _ = store.load_all([path for path in places.values() if path in made], Assessment)
            complete = {path for path, item in found.items() if item.score.outcome is not Outcome.INCOMPLETE}
            facts |= {name: (path, made[path].version) for name, path in places.items() if path in complete}
        return facts

    def is_there(fact: tuple[str, str]) -> bool:
        return fact[0] in made and made[fact[0]].version == fact[1]

    what = fingerprint([judge, judge_hash(run.pack, judge.reference), run.settings.assessment.judging, run.pack.rubric.hash])
    return set(known_facts(store, f"assessed/{run.pack.name}-{what}", tuple[str, str], {path: states[path] for path in refs}, read, is_there, states))


def existing_assessments(transcripts: Sequence[TranscriptRef], run: Run) -> list[AssessmentRef]:
    """Return the outcomes of the transcripts that any of the run's judges has assessed."""
    judges = run.models["judge"]
    by_judge = [{judge.reference: plan_assessment(run, item, judge).existing(run.store) for judge in judges} for item in transcripts]
    return decide_all(run, by_judge)


def decide_all(run: Run, by_judge: Sequence[Mapping[str, AssessmentRef | None]], only: Sequence[str] = ()) -> list[AssessmentRef]:
    """Return the outcome of each transcript from its judges' assessments, of the criteria that were judged; transcripts without any are left out."""
    some = [refs for refs in by_judge if any(refs.values())]
    if len(run.models["judge"]) == 1:
        return [ref for refs in some for ref in refs.values() if ref]
    return [_decided(run, narrowed(run.pack, only), refs) for refs in some]


def read_judged(store: Store, batch: AssessmentBatch) -> list[Judged]:
    """Read the transcripts of a batch with the final assessment of each and every judge's own."""

    def read(item: AssessmentRef) -> Judged:
        final = store.load(item.path, Assessment)
        own = {judge: store.load(path, Assessment) for judge, path in item.by_judge.items()}
        transcript = store.load(item.transcript.path, Transcript)
        return Judged(transcript=transcript, final=final, by_judge=own or {final.judge: final})

    return [read(item) for item in batch.assessments]


def without_verdict(store: Store, item: AssessmentRef) -> LeftOut:
    """Return why an assessment is incomplete."""
    verdicts = store.load(item.path, Assessment).verdicts
    reasons = (one.reasoning for one in verdicts if one.answer is Answer.ERROR)
    return LeftOut(name=item.transcript.id, reason=next(reasons, "nothing could be scored"))


def _decided(run: Run, pack: Pack, by_judge: Mapping[str, AssessmentRef | None]) -> AssessmentRef:
    """Combine a panel's assessments of a transcript, and store the result."""
    store, refs = run.store, {judge: ref for judge, ref in by_judge.items() if ref}
    transcript = next(iter(refs.values())).transcript
    read = {judge: store.load(refs[judge].path, Assessment) if judge in refs else None for judge in by_judge}
    decided = combine_judges(pack, read, run.settings.assessment.panel, transcript.exchanges)
    folder = f"assessments/{pack.name}/{pack.rubric.hash}/panels"
    path = f"{folder}/{fingerprint(decided)}.json"
    if not store.exists(path):
        store.write_json(path, decided)
    score, paths = decided.score, {judge: ref.path for judge, ref in refs.items()}
    return AssessmentRef(
        path=path,
        transcript=transcript,
        outcome=score.outcome,
        score=score.score,
        by_judge=paths,
    )
