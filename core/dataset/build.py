"""Builds a dataset from assessed transcripts: its examples, its manifest and the facts on its card."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from statistics import mean
from typing import Any

from pydantic import Field

from core.dataset.audit import Audit, audit
from core.dataset.audit_warnings import audit_warnings
from core.dataset.corrections import learnt, source_of
from core.dataset.example_files import CONFIGURATIONS, CONVERSATION_ROWS, SPLITS, Written, split_files, statistics, write_examples
from core.dataset.gathering import Gathered, bound_mended, check_enough, check_not_evaluated, gather, judges_of, missed_by, person_of
from core.dataset.near_duplicates import LIKENESS, near_duplicates
from core.dataset.pairs import PAIR_FILES, PAIR_ROWS, PAIRS, Pair, PairReport, find_pairs, may_be_learnt, sides, stored_replies, write_pairs
from core.dataset.slicing import Tokenizer, is_learnable, round_of, split_groups
from core.dataset.sources import Warn, batches_of, candidates, check_sources, content_of
from core.errors import DatasetError
from core.fingerprint import fingerprint
from core.imports.taking_in import NOT_STATED, RECORDED
from core.judging.calibration import measured_judges
from core.judging.gather_rule import gather_rule
from core.judging.panel import JOIN
from core.llm.families import writer_of
from core.packs.pack import Pack
from core.packs.rubric import GatherRule
from core.records import Assessment, DatasetRef, Record, Reference, Transcript
from core.rehearsal.personas import sample_batch
from core.settings.pipeline import DatasetSettings, Settings, load_training
from core.storage.batches import find_batch
from core.storage.file_facts import damaged_files, file_facts
from core.storage.store import Store

FILES = [*split_files(), "rows.jsonl", CONVERSATION_ROWS, "README.md"]
"""Files of a dataset, except the manifest, which is written last, and the pairs, which not every dataset has."""


class DatasetPlan(Record):
    """Everything that a dataset depends on.

    Args:
        assessed: batches of assessments.
        checkpoints: files and folders of assessments made elsewhere, separated by commas.
        transcripts: the folder of the transcripts that the checkpoints judge.
        files: hash of the sources' contents (`content_of`).
        evaluation: first seed and number of the personas that the evaluation will play, and their fewest and most exchanges.
        training_length: tokens after which the training cuts an example; None if it does not.
        gather: what a transcript must meet in addition to passing.
        mended: whether repaired transcripts are trained on, and their largest share.
        replies: names of second replies.
        length_ratio: largest ratio of the longer reply of a pair to the shorter one, in tokens.
    """

    domain: str
    pack_hash: str
    intended_use: str
    assessed: list[str]
    checkpoints: str | None
    transcripts: str | None
    files: str
    settings: DatasetSettings
    evaluation: tuple[int, int, tuple[int, int] | None]
    training_length: int | None
    gather: GatherRule = GatherRule()
    mended: tuple[bool, float] = (True, 1.0)
    replies: list[str] = Field(default_factory=list)
    length_ratio: float = 2.0


class BuiltDataset(Reference):
    """A dataset's folder: `train.parquet` and `validation.parquet` of each configuration, `rows.jsonl`, `manifest.json` and the card."""

    examples: int
    validation_examples: int
    transcripts: int


@dataclass(frozen=True)
class Selection:
    """What a dataset is built from.

    Args:
        folder: named by a hash of the plan, the chosen transcripts and their text, so that the same dataset is built only once.
        not_read: by place, why part of the checkpoints or of the folder was not read.
        pairs: pairs of a better and a worse reply.
        dropped: counts of the other pairs, by reason.
    """

    folder: str
    gathered: Gathered
    not_read: dict[str, str]
    tokenizer: Tokenizer
    pairs: list[Pair]
    dropped: PairReport


def plan_dataset(
    store: Store, pack: Pack, assessed: str | None, checkpoints: str | None, transcripts: str | None, settings: Settings, warn: Warn
) -> DatasetPlan:
    """Plan a dataset from the named batches, or else the checkpoints, or else all batches of the domain that were judged by the current rubric.

    Args:
        assessed: names of batches, separated by commas.
        checkpoints, transcripts: assessments made elsewhere and the folder of their transcripts, as in `DatasetPlan`.
        warn: called with a sentence about what is not used.

    Raises:
        DatasetError: checkpoints and transcripts are not both named, or the domain has no assessments.
    """
    check_sources(checkpoints, transcripts)
    named = [find_batch(store, name.strip(), "assessments") for name in assessed.split(",")] if assessed else []
    training = load_training(settings.training)
    length = training.train.get("max-length") if training.learn == "slices" else None  # a complete conversation is learnt in windows, and nothing is cut
    batches = named or ([] if checkpoints else batches_of(store, pack, warn))
    return DatasetPlan(
        domain=pack.name,
        pack_hash=pack.hash,
        intended_use=pack.intended_use,
        assessed=batches,
        checkpoints=checkpoints,
        transcripts=transcripts,
        files=content_of(store, checkpoints, transcripts, batches),
        settings=settings.dataset.of(pack.name),
        evaluation=(settings.evaluation.first_seed, settings.evaluation.personas, settings.evaluation.lengths),
        training_length=length if isinstance(length, int) else None,
        gather=gather_rule(pack.rubric, settings.gather),
        mended=(settings.repair.in_dataset, settings.repair.dataset_share),
        replies=stored_replies(store, pack.name),
        length_ratio=settings.preferences.length_ratio,
    )


def select(store: Store, pack: Pack, plan: DatasetPlan, tokenizer: Tokenizer, warn: Warn) -> Selection:
    """Choose the transcripts that passed, except near-duplicates, repaired ones beyond their share, and those of the evaluation's personas.

    Raises:
        DatasetError: too few transcripts remain.
        PersonaError: a transcript has a persona that is kept for the evaluation.
    """
    not_read: dict[str, str] = {}
    judged = list(candidates(store, plan.assessed, plan.checkpoints, plan.transcripts, pack, plan.gather, not_read, warn))
    gathered, dropped = gather(judged), PairReport()
    pairs = find_pairs(store, pack, judged, plan.replies, dropped)
    first, count, exchanges = plan.evaluation
    evaluated = sample_batch(pack, first, 2 * count, exchanges)  # the evaluation's personas, and as many for its confirmation
    check_not_evaluated(chain(_read(store, gathered), (pair.of for pair in pairs)), evaluated, first)
    gathered = bound_mended(_without_duplicates(store, gathered), *plan.mended)
    check_enough(len(gathered.passing), len(gathered.passing) + len(gathered.left_out))
    words = [fingerprint(item) for item in _read(store, gathered)]  # a file may have been edited without a new name
    return Selection(f"datasets/{fingerprint([plan, gathered.manifest(), words, tokenizer.version])}", gathered, not_read, tokenizer, pairs, dropped)


def existing_dataset(store: Store, folder: str) -> BuiltDataset | None:
    """Return the dataset that was built in a folder; None if there is none or one of its files is missing or changed."""
    name = f"{folder}/manifest.json"
    manifest = store.load_json(name) if store.exists(name) else {}
    if not manifest.get("files") or damaged_files(store, folder, manifest["files"]):
        return None
    counts = {split: facts["examples"] for split, facts in manifest["statistics"].items()}
    return BuiltDataset(path=folder, examples=counts["train"], validation_examples=counts["validation"], transcripts=manifest["count"])


def build(store: Store, pack: Pack, plan: DatasetPlan, chosen: Selection) -> tuple[Written, dict[str, Any]]:
    """Audit the selection, slice it and split it by transcript; return the examples and the card's facts."""
    settings, gathered = plan.settings, chosen.gathered
    audited = audit((item for item in _read(store, gathered) if not round_of(item)), pack)  # a correction's earlier replies are not learnt
    apart = _kept_apart(store, gathered, settings)
    written = write_examples(store, chosen.folder, _read(store, gathered), pack.system_of, settings.slicing, chosen.tokenizer, apart, settings.provenance)
    return written, _facts(store, plan, pack, gathered, audited, written) | _pairs(store, pack, plan, chosen, apart)


def _pairs(store: Store, pack: Pack, plan: DatasetPlan, chosen: Selection, apart: set[str]) -> dict[str, Any]:
    """Write each pair on its conversation's side of the split, and return the facts about the pairs for the card."""
    settings, report = plan.settings, chosen.dropped
    examples = {item.mended or item.id: SPLITS[item.id in apart] for item in chosen.gathered.passing}
    people = {person_of(item): SPLITS[item.id in apart] for item in _read(store, chosen.gathered)}
    pairs = may_be_learnt(chosen.pairs, examples, report)
    split_of, count = sides(pairs, examples, people, settings.validation_share), chosen.tokenizer.count
    written = write_pairs(store, chosen.folder, pairs, split_of, pack, count, plan.length_ratio, settings.provenance, report)
    more = {PAIRS: f"{PAIRS}/"} if written else {}
    return {"pairs": report.facts(), "length_ratio": plan.length_ratio, "pair_caveats": sorted(report.caveats), "configurations": CONFIGURATIONS | more}


def finish(store: Store, chosen: Selection, written: Written, facts: dict[str, Any], card: str) -> BuiltDataset:
    """Write the card, then the manifest: a dataset with a manifest is complete."""
    folder = chosen.folder
    store.write(f"{folder}/README.md", card)
    report, card_facts = written.report, {name: facts[name] for name in ("statistics", "warnings", "caveats")}
    cut: dict[str, Any] = {"shortened": report.shortened, "skipped": report.skipped, "too_short": report.too_short}
    cut |= {"transcripts_with_examples": dict(written.transcripts), "conversations": facts["conversations"], "rounds": dict(written.rounds)}
    cut |= {"gather": facts["gather"].model_dump(), "sources": facts["sources"], "pairs": facts["pairs"]}
    files = [*FILES, *([*PAIR_FILES, PAIR_ROWS] if PAIRS in facts["configurations"] else [])]
    manifest = {**chosen.gathered.manifest(), "not_read": chosen.not_read, **cut, **card_facts, "files": file_facts(store, folder, files)}
    store.write_json(f"{folder}/manifest.json", manifest)
    built = existing_dataset(store, folder)
    assert built, folder
    return built


def training_seeds(store: Store, dataset: DatasetRef) -> list[int]:
    """Return the known persona seeds of a dataset's transcripts, sorted."""
    seeds = [transcript.provenance.get("seed") for transcript in _trained_on(store, dataset)]
    return sorted(seed for seed in seeds if isinstance(seed, int))


def training_lengths(store: Store, dataset: DatasetRef) -> list[int]:
    """Return the number of exchanges of each of a dataset's transcripts, without corrections: these end at the corrected reply."""
    return [len(transcript.exchanges) for transcript in _trained_on(store, dataset) if not round_of(transcript)]


def origin_of(store: Store, dataset: DatasetRef) -> tuple[list[str], list[str]]:
    """Return the judges that chose a dataset's conversations, and the models that wrote the answers, as far as they are known."""
    entries = store.load_json(f"{dataset.path}/manifest.json")["transcripts"]
    chosen_by = list(dict.fromkeys(name for entry in entries for name in entry["judge"].split(JOIN)))
    return chosen_by, list(dict.fromkeys(filter(None, map(writer_of, _trained_on(store, dataset)))))


def _trained_on(store: Store, dataset: DatasetRef) -> Iterator[Transcript]:
    return (store.load(entry["source_file"], Transcript) for entry in store.load_json(f"{dataset.path}/manifest.json")["transcripts"])


def _read(store: Store, gathered: Gathered) -> Iterator[Transcript]:
    """Yield the chosen transcripts, each read when it is needed."""
    return (store.load(str(item.path), Transcript) for item in gathered.passing)


def _without_duplicates(store: Store, gathered: Gathered) -> Gathered:
    duplicates = near_duplicates((learnt(store.load(str(item.path), Transcript)), item.score or 0.0) for item in gathered.passing)
    kept = gathered.without({item.dropped: f"near-duplicate of {item.kept} ({100 * item.share:.0f} % of the shorter one's exchanges)" for item in duplicates})
    if duplicates:
        check_enough(len(kept.passing), len(gathered.passing))
    return kept


def _kept_apart(store: Store, gathered: Gathered, settings: DatasetSettings) -> set[str]:
    """Choose the transcripts for validation.

    Both sides of the split get rehearsed transcripts. Within a round, all conversations with the same person are on the same side.
    """
    learnable = {item.id: (round_of(item), source_of(item), person_of(item)) for item in _read(store, gathered) if is_learnable(item, settings.slicing.first)}
    rehearsed = [name for name, (number, _, _) in learnable.items() if not number]
    if len(rehearsed) < 2:
        raise DatasetError(
            f"{len(rehearsed)} of {len(gathered.passing)} transcripts have at least {settings.slicing.first} exchanges; at least 2 are needed. "
            "Lower dataset.slicing.first."
        )
    rounds = sorted({number for number, _, _ in learnable.values()})
    of_round = {number: {source: person for own, source, person in learnable.values() if own == number} for number in rounds}
    apart = {number: split_groups(people, settings.validation_share) for number, people in of_round.items()}
    if not apart[0]:
        raise DatasetError(
            f"All {len(rehearsed)} transcripts have the same persona, which training and validation must not share. Add conversations with another persona."
        )
    return {name for name, (number, source, _) in learnable.items() if source in apart[number]}


def _facts(store: Store, plan: DatasetPlan, pack: Pack, gathered: Gathered, audited: Audit, written: Written) -> dict[str, Any]:
    """Return the facts for the card."""
    lengths = {split: statistics(tokens, plan.training_length) for split, tokens in written.tokens.items()}
    scores = [item.score for item in gathered.passing if item.score is not None]
    reasons = Counter(entry["reason"].partition(":")[0].partition(" of ")[0] for entry in gathered.left_out)
    longer = lengths["train"]["longer"]
    cut = (
        [f"{longer} of {lengths['train']['examples']} training examples are longer than the training length of {plan.training_length:,} tokens."]
        if longer
        else []
    )
    writers, recorded, imported, unstated, caveats = _origins(store, gathered)
    out_of_range = audit_warnings(audited)
    return {
        "title": plan.settings.repo.rsplit("/", maxsplit=1)[-1],
        "domain": plan.domain,
        "pack_hash": plan.pack_hash,
        "intended_use": plan.intended_use,
        "license": plan.settings.license,
        "languages": plan.settings.languages,
        "size": _size(sum(part["examples"] for part in lengths.values())),
        "transcripts": len(gathered.passing),
        "mended": sum(item.mended is not None for item in gathered.passing),
        "corrected": dict(sorted(Counter(item.round for item in gathered.passing if item.round).items())),
        "judged": len(gathered.passing) + len(gathered.left_out),
        "left_out": dict(reasons.most_common()),
        "gather": plan.gather,
        "sources": {"assessed": plan.assessed, "checkpoints": plan.checkpoints, "transcripts": plan.transcripts},
        "unmet": Counter(missed for reason in (entry["reason"] for entry in gathered.left_out) for missed in missed_by(reason)).most_common(),
        "statistics": lengths,
        "conversations": {split: {"conversations": written.conversations[split], "replies": written.replies[split]} for split in lengths},
        "tokenizer": plan.settings.tokenizer,
        "shortened": len(written.report.shortened),
        "skipped": len(written.report.skipped),
        "too_short": len(written.report.too_short),
        "writers": writers,
        "recorded": recorded,
        "imported": imported,
        "consent": plan.settings.consent,
        "unstated": unstated,
        "judges": judges_of(gathered),
        "measured": measured_judges(store, pack, dict.fromkeys(item.judge for item in gathered.passing if item.assessment.endswith(".json"))),
        "rubric_hashes": sorted({item.rubric_hash for item in gathered.passing}),
        "pass_at": pack.rubric.numbers.pass_at,
        "mean_score": mean(scores) if scores else None,
        "slicing": plan.settings.slicing,
        "duplicates": LIKENESS,
        "audit": audited,
        "out_of_range": out_of_range,
        "warnings": [*out_of_range, *cut],
        "cut": cut,
        "caveats": caveats,
    }


def _origins(store: Store, gathered: Gathered) -> tuple[dict[str, int], int, int, int, list[str]]:
    """Return where the conversations come from.

    Only a conversation rehearsed here has a record of how it was made. What an imported file says about itself is a claim, and is not repeated.

    Returns:
        The number of conversations by writer; the numbers of recorded ones, of imported ones, and of imported ones without stated consent; and the caveats.
    """
    imported, recorded, unstated = 0, 0, 0
    writers, caveats, shared, stated = Counter[str](), set[str](), Counter[str](), Counter[str]()
    for item, transcript in zip(gathered.passing, _read(store, gathered), strict=True):
        provenance = transcript.provenance
        if RECORDED in provenance:
            writers["a frontier model, which wrote both sides"] += 1
            recorded += 1
        elif "pack_hash" in provenance:
            writers[" and ".join(str(provenance[side]) for side in ("user_simulator", "assistant") if provenance.get(side))] += 1
        else:
            stated.update([_terms(provenance["terms"])] if "terms" in provenance else [])
            unstated += provenance.get("terms", {}).get("consent", NOT_STATED) == NOT_STATED
            imported, writers["not known: imported from files"] = imported + 1, writers["not known: imported from files"] + 1
        assessment = store.load(item.assessment, Assessment) if item.assessment.endswith(".json") else None
        caveats.update(str(caveat) for caveat in (provenance.get("caveat"), assessment.caveat if assessment else None) if caveat)
        shared.update([assessment.shared_family] if assessment and assessment.shared_family else [])
    own = [
        f"In {count} transcripts a judge belongs to the family of models that wrote the answers ({name}); such judges favour their own family."
        for name, count in shared.items()
    ]
    own += [f"Stated when {count} of the conversations were imported: {terms}" for terms, count in stated.most_common()]
    return dict(writers.most_common(5)), recorded, imported, unstated, [*sorted(caveats), *own]


def _terms(terms: dict[str, Any]) -> str:
    replaced = " Personal data in them were replaced by a program, which does not find everything." if terms["replaced"] is not None else ""
    return f"from {terms['origin']}, licence: {terms['licence']}, consent: {terms['consent']}.{replaced}"


def _size(examples: int) -> str:
    return next((name for bound, name in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K")) if examples < bound), "100K<n<1M")
