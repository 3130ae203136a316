"""The studio's home page: everything that was made in a data root, with its results and costs, and what needs a person's attention."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import StoreError
from core.evaluation.decision import verdict
from core.judging.labels import Sample, people, read_labels, samples
from core.llm.bills import Bill
from core.records import AssessmentBatch, Outcome, TranscriptBatch
from core.reports.nights import NightReport
from core.storage.store import Store
from core.views.batch_figures import Share
from core.views.records import StoredRecord, assessment_batches, read_all
from core.views.spending import spent_on, together

KINDS = ("batch", "conversations", "night", "dataset", "training", "evaluation", "round")


@dataclass(frozen=True)
class Entry:
    """A result in the data root.

    Args:
        kind: one of `KINDS`.
        domain: None if the record does not state it.
        address: address of its page in the studio; None if it has none.
        modified: Unix time of its last change, in seconds.
        state: its state in a few words.
        good: whether the state is good; None if it is neither good nor bad.
        passed: share of passed conversations; None if the kind has none.
        bill: its cost; None if it is not known.
        about: further facts in a few words.
    """

    kind: str
    domain: str | None
    name: str
    address: str | None
    modified: float
    state: str
    good: bool | None
    passed: Share | None
    bill: Bill | None
    about: str


@dataclass(frozen=True)
class Waiting:
    """Something that needs a person's attention, and the address of its page."""

    what: str
    address: str


def entries(store: Store) -> list[Entry]:
    """Return all results, the newest first."""
    results = [*_batches(store), *_conversations(store), *_nights(store), *_datasets(store), *_trainings(store), *_evaluations(store), *_rounds(store)]
    return sorted(results, key=lambda entry: -entry.modified)


def waiting(store: Store) -> list[Waiting]:
    """Return what needs attention in each domain's newest batch and night, and disputed labels."""
    issues, seen = [], set()
    for one in assessment_batches(store):
        batch = one.record
        if batch.domain in seen:
            continue
        seen.add(batch.domain)
        place = f"/batches/{_bare(one.name)}"
        if incomplete := sum(item.outcome is Outcome.INCOMPLETE for item in batch.assessments):
            issues.append(Waiting(f"{batch.domain}: {_count(incomplete, 'assessment')} without an answer to every criterion", f"{place}?outcome=incomplete"))
        if batch.left_out:
            issues.append(Waiting(f"{batch.domain}: {_count(len(batch.left_out), 'conversation')} left out of the last batch", f"{place}#left-out"))
    for domain, night in last_nights(store).items():
        issues += [Waiting(f"{domain}, night of {night.night.name}: {trouble}", f"/trend/{domain}") for trouble in night.trouble]
    for name, sample in samples(store).items():
        if disputed := _disputed(store, name, sample):
            issues.append(Waiting(f"{sample.domain}: {_count(disputed, 'label')} on which people disagree", f"/labels/{name}"))
    return issues


def _disputed(store: Store, name: str, sample: Sample) -> int:
    """Return the number of criteria, over all conversations of a sample, to which people gave different answers."""
    count, names = 0, people(store, name)
    for transcript in sample.transcripts if len(names) > 1 else []:
        by_person = [read_labels(store, name, person, transcript).given for person in names]
        criteria = {criterion for labels in by_person for criterion in labels}
        count += sum(len({labels[criterion].answer for labels in by_person if criterion in labels} - {None}) > 1 for criterion in criteria)
    return count


def last_nights(store: Store) -> dict[str, NightReport]:
    """Return the report of each domain's newest night."""
    newest: dict[str, NightReport] = {}
    for domain, one in nights(store):
        if domain not in newest or one.record.night.name > newest[domain].night.name:
            newest[domain] = one.record
    return newest


def nights(store: Store) -> list[tuple[str, StoredRecord[NightReport]]]:
    """Return the reports of all nights, each with its domain."""
    domains = [folder.removeprefix("nights/") for folder in store.names("nights")]
    return [(domain, one) for domain in domains for one in read_all(store, store.names(f"nights/{domain}/reports", ".json"), NightReport)]


def share_of(batch: AssessmentBatch) -> Share:
    """Return the share of passed conversations among a batch's complete assessments."""
    complete = [item for item in batch.assessments if item.outcome is not Outcome.INCOMPLETE]
    return Share(sum(item.outcome is Outcome.PASS for item in complete), len(complete))


def domains(results: list[Entry]) -> list[str]:
    """Return the domains of some results, sorted by name."""
    return sorted({entry.domain for entry in results if entry.domain})


# --- kinds --------------------------------------------------------------------------------------------------------------


def _batches(store: Store) -> list[Entry]:
    rows = []
    for one in assessment_batches(store):
        batch = one.record
        incomplete = sum(item.outcome is Outcome.INCOMPLETE for item in batch.assessments)
        state = f"{incomplete} incomplete" if incomplete else "complete" if batch.assessments else "empty"
        bill = together(spent_on(store, (item.transcript.id for item in batch.assessments)).values())
        about = " + ".join(batch.judges) + (f", {len(batch.left_out)} left out" if batch.left_out else "")
        good = None if batch.assessments and not incomplete else False
        rows.append(Entry("batch", batch.domain, _bare(one.name), f"/batches/{_bare(one.name)}", one.modified, state, good, share_of(batch), bill, about))
    return rows


def _conversations(store: Store) -> list[Entry]:
    judged = {item.transcript.path for one in assessment_batches(store) for item in one.record.assessments}
    rows = []
    for one in read_all(store, store.names("batches", ".json", beginning="transcripts-"), TranscriptBatch):
        batch = one.record
        unjudged = [item for item in batch.transcripts if item.path not in judged]
        if not unjudged:
            continue
        bill = together(spent_on(store, (item.id for item in batch.transcripts)).values())
        about = f"{_count(len(batch.transcripts), 'conversation')}" + (f", {len(batch.left_out)} left out" if batch.left_out else "")
        state = "not judged" if len(unjudged) == len(batch.transcripts) else f"{len(unjudged)} not judged"
        rows.append(Entry("conversations", batch.domain, _bare(one.name), f"/batches/{_bare(one.name)}", one.modified, state, None, None, bill, about))
    return rows


def _nights(store: Store) -> list[Entry]:
    rows = []
    for domain, one in nights(store):
        night = one.record
        state = "needs a person" if night.trouble else "ended early" if night.stopped else "made nothing" if not (night.made or night.assessed) else "done"
        good = False if night.trouble or not (night.made or night.assessed) else None
        address = f"/batches/{_bare(night.batch)}" if night.batch else f"/trend/{domain}"
        about = f"{_count(night.made, 'conversation')} made, {night.left} left" + (f"; {night.stopped}" if night.stopped else "")
        bill = Bill(calls=night.calls, unpriced=night.unpriced, usd=night.usd)
        rows.append(Entry("night", domain, night.night.name, address, one.modified, state, good, Share(night.passed, night.passed + night.failed), bill, about))
    return rows


def _datasets(store: Store) -> list[Entry]:
    rows = []
    for name, modified, data in _objects(store, [f"{folder}/manifest.json" for folder in store.names("datasets")]):
        examples = _numbers(data, "statistics", "train", "examples")
        about = f"{_count(_number(data.get('count')), 'conversation')}, {_count(examples, 'example')} to train on"
        warnings = data.get("warnings") or []
        state, place = f"{len(warnings)} warnings" if warnings else "made", name.split("/")[1]
        rows.append(Entry("dataset", _domain_of(store, place), place, None, modified, state, False if warnings else None, None, None, about))
    return rows


def _domain_of(store: Store, dataset: str) -> str | None:
    """Return the domain whose newest dataset this is; None for an older dataset, which does not record its domain."""
    for name, _, data in _objects(store, store.names("datasets", ".json", beginning="latest-")):
        if data.get("path") == f"datasets/{dataset}":
            return name.removeprefix("datasets/latest-").removesuffix(".json")
    return None


def _trainings(store: Store) -> list[Entry]:
    rows = []
    for name, modified, data in _objects(store, [f"{folder}/metrics.json" for folder in store.names("models/adapters")]):
        losses = [data.get(key) for key in ("validation_loss_first", "validation_loss_last")]
        fell = f"validation loss {losses[0]:.2f} to {losses[1]:.2f}" if all(isinstance(loss, int | float) for loss in losses) else ""
        about = ", ".join(part for part in (str(data.get("base", "")), fell) if part)
        worse = fell and losses[1] >= losses[0]  # ty: ignore[unsupported-operator]
        rows.append(
            Entry("training", None, name.split("/")[2], None, modified, "learnt nothing" if worse else "done", False if worse else None, None, None, about)
        )
    return rows


def _evaluations(store: Store) -> list[Entry]:
    rows = []
    for name, modified, data in _objects(store, [f"{folder}/comparison.json" for folder in store.names("evaluations")]):
        place, compared = name.split("/")[1], data.get("comparison")
        arms = compared.get("arms") if isinstance(compared, dict) else None
        decided = compared.get("comparisons") if isinstance(compared, dict) else None
        decisions = [_decision(one) for one in decided.values()] if isinstance(decided, dict) else []
        last = list(arms.items())[-1] if isinstance(arms, dict) and arms else None
        passed = Share(_number(last[1].get("passed")), max(_number(last[1].get("passed")), _numbers(last[1], "missing", "completed"))) if last else None
        about = (
            ", ".join(f"{arm} {_number(one.get('passed'))} of {_numbers(one, 'missing', 'completed')}" for arm, one in arms.items())
            if isinstance(arms, dict)
            else ""
        )
        domain = data.get("domain")
        state = ", ".join(part for part in decisions if part) or "done"
        entry = Entry(
            "evaluation",
            domain if isinstance(domain, str) else None,
            place,
            f"/evaluations/{place}",
            modified,
            state,
            "do not deploy" not in state,
            passed,
            None,
            about,
        )
        rows.append(entry)
    return rows


def _decision(one: Any) -> str:
    decided = one.get("decided") if isinstance(one, dict) else None
    if not isinstance(decided, dict) or not isinstance(decision := decided.get("decision"), str):
        return ""
    return verdict(decision, decided.get("scripted") is True)


def _rounds(store: Store) -> list[Entry]:
    rows = []
    for domain in store.names("rounds"):
        for name, modified, data in _objects(store, store.names(domain, ".json")):
            compared = data.get("compared")
            outcome = (
                f"{verdict(str(compared.get('decision')), compared.get('scripted') is True)}: {compared.get('reason', '')}"
                if isinstance(compared, dict)
                else ""
            )
            rows.append(
                Entry(
                    "round",
                    domain.split("/")[1],
                    name.split("/")[-1].removesuffix(".json"),
                    None,
                    modified,
                    "done" if outcome else "begun",
                    None,
                    None,
                    None,
                    outcome,
                )
            )
    return rows


def _objects(store: Store, names: list[str]) -> list[tuple[str, float, dict[str, Any]]]:
    """Return JSON objects with their names and times of change; damaged files are left out."""
    objects = []
    for name, state in store.states(names).items():
        try:
            objects.append((name, state.modified, store.load_json(name)))
        except StoreError:
            continue
    return objects


def _number(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


def _numbers(data: Mapping[str, Any], *path: str) -> int:
    value: Any = data
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return _number(value)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _bare(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".json")
