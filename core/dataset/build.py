"""Builds a dataset from assessed transcripts: its examples, its pairs and its manifest."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from core.dataset.audit import audit
from core.dataset.card_facts import card_facts
from core.dataset.corrections import learnt, source_of
from core.dataset.example_files import CONFIGURATIONS, CONVERSATION_ROWS, SPLITS, Written, split_files, write_examples
from core.dataset.gathering import Gathered, check_enough, check_not_evaluated, gather, limit_repaired, person_of, read_passing
from core.dataset.near_duplicates import near_duplicates
from core.dataset.pairs import PAIR_FILES, PAIR_ROWS, PAIRS, Pair, PairReport, find_pairs, may_be_learnt, sides, write_pairs
from core.dataset.plan import DatasetPlan
from core.dataset.slicing import Tokenizer, is_learnable, round_of, split_groups
from core.dataset.sources import Warn, candidates
from core.errors import DatasetError
from core.fingerprint import fingerprint
from core.judging.panel import JOIN
from core.llm.families import writer_of
from core.packs.pack import Pack
from core.records import DatasetRef, Reference, Transcript
from core.rehearsal.personas import sample_batch
from core.settings.pipeline import DatasetSettings
from core.storage.file_facts import damaged_files, file_facts
from core.storage.store import Store

FILES = [*split_files(), "rows.jsonl", CONVERSATION_ROWS, "README.md"]
"""Files of a dataset, except the manifest, which is written last, and the pairs, which not every dataset has."""


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
    check_not_evaluated(chain(read_passing(store, gathered), (pair.of for pair in pairs)), evaluated, first)
    gathered = limit_repaired(_without_duplicates(store, gathered), *plan.mended)
    check_enough(len(gathered.passing), len(gathered.passing) + len(gathered.left_out))
    words = [fingerprint(item) for item in read_passing(store, gathered)]  # a file may have been edited without a new name
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
    audited = audit((item for item in read_passing(store, gathered) if not round_of(item)), pack)  # a correction's earlier replies are not learnt
    apart = _kept_apart(store, gathered, settings)
    written = write_examples(
        store, chosen.folder, read_passing(store, gathered), pack.system_of, settings.slicing, chosen.tokenizer, apart, settings.provenance
    )
    return written, card_facts(store, plan, pack, gathered, audited, written) | _pairs(store, pack, plan, chosen, apart)


def _pairs(store: Store, pack: Pack, plan: DatasetPlan, chosen: Selection, apart: set[str]) -> dict[str, Any]:
    """Write each pair on its conversation's side of the split, and return the facts about the pairs for the card."""
    settings, report = plan.settings, chosen.dropped
    examples = {item.repaired_from or item.id: SPLITS[item.id in apart] for item in chosen.gathered.passing}
    people = {person_of(item): SPLITS[item.id in apart] for item in read_passing(store, chosen.gathered)}
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
    learnable = {
        item.id: (round_of(item), source_of(item), person_of(item)) for item in read_passing(store, gathered) if is_learnable(item, settings.slicing.first)
    }
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
