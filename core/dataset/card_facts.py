"""The facts on a dataset's card: where its conversations come from, how they were chosen, and what they are like."""

from collections import Counter
from statistics import mean
from typing import Any

from core.dataset.audit import Audit
from core.dataset.audit_warnings import audit_warnings
from core.dataset.example_files import Written, statistics
from core.dataset.gathering import Gathered, judges_of, missed_by, read_passing
from core.dataset.near_duplicates import LIKENESS
from core.dataset.plan import DatasetPlan
from core.imports.stored import NOT_STATED, RECORDED
from core.judging.calibration import measured_judges
from core.packs.pack import Pack
from core.records import Assessment
from core.storage.store import Store


def card_facts(store: Store, plan: DatasetPlan, pack: Pack, gathered: Gathered, audited: Audit, written: Written) -> dict[str, Any]:
    """Return the facts that a dataset's card states, except those about its pairs."""
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
        "repaired": sum(item.repaired_from is not None for item in gathered.passing),
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
    for item, transcript in zip(gathered.passing, read_passing(store, gathered), strict=True):
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
