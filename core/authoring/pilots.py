"""Pilots: a few conversations that try a pack, or an untrained model; the result of each round, and advice on what to look at next."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import FiniteFloat

from core.judging.figures import Figures
from core.judging.intervals import wilson_interval
from core.packs.pack import Pack
from core.packs.places import domains
from core.packs.programs import FOLDER
from core.records import Record
from core.settings.arms import SYSTEM
from core.storage.store import Store

READY_PASS_RATE = 0.7
"""Share of a pilot's conversations that must pass before a batch is generated; a base model above it may need no training."""
MIN_BASE_PASS_RATE = 0.5
"""Pass rate below which a base model may be too weak for the part."""
FREQUENT_FAILURE_RATE = 0.5
"""Share of failures from which a pilot's report names a criterion."""
MIN_DROP = 0.2
"""Drop of a criterion's pass share since the last round, 0 to 1, from which the report names the criterion."""
ROUNDING = 1e-9
"""Tolerance of these comparisons: a drop from five of five to four is 0.2, which is not exact in binary."""


class Round(Record):
    """The result of one pilot.

    Args:
        number: of the round.
        pack_hash: of the pack that was played.
        model: provider/model that played instead of the settings' assistant; None for that assistant.
        conversations: assessed ones; passed + failed + incomplete.
        gates_failed: conversations that failed a gate.
        criteria: by criterion id, the share of passes among the conversations to which it applied.
        prompt: name of the model's prompt; None for `system`.
    """

    number: int
    pack_hash: str
    model: str | None
    conversations: int
    passed: int
    failed: int
    incomplete: int
    gates_failed: int
    criteria: dict[str, FiniteFloat]
    prompt: str | None = None

    @property
    def pass_rate(self) -> float | None:
        """Share of passes among the conversations with a complete assessment; None without any."""
        judged = self.passed + self.failed
        return self.passed / judged if judged else None


def same_players(one: Round, other: Round) -> bool:
    """Return whether two rounds had the same model, prompt and number of conversations, and thereby the same personas."""
    return (one.model, one.prompt or SYSTEM, one.conversations) == (other.model, other.prompt or SYSTEM, other.conversations)


def round_of(number: int, pack: Pack, model: str | None, prompt: str | None, figures: Figures) -> Round:
    """Return the result of a pilot from the figures of its batch."""
    return Round(
        number=number,
        pack_hash=pack.hash,
        model=model,
        prompt=prompt,
        conversations=figures.assessed,
        passed=figures.passed,
        failed=figures.failed,
        incomplete=figures.incomplete,
        gates_failed=len({name for names in figures.gate_failures.values() for name in names}),
        criteria={rate.criterion.id: rate.passing.value for rate in figures.criteria if rate.passing.value is not None},
    )


def keep_files(store: Store, domain: str, folder: str) -> None:
    """Store copies of the pack's files that models read in this round, so that rounds can be compared.

    Args:
        folder: below the data root.
    """
    root = domains()[domain]
    for place in (root / "config/domains" / domain, root / "prompts" / domain):
        for file in sorted(Path(place).rglob("*")):
            if file.is_file() and (file.suffix in (".md", ".yaml") or file.parent.name == FOLDER):
                store.write(f"{folder}/{file.relative_to(root)}", file.read_bytes())


def advice(this: Round, before: Sequence[Round], pack: Pack) -> list[str]:
    """Return sentences on what to look at, and in which file.

    Args:
        before: earlier rounds, the latest last.
    """
    rate = this.pass_rate
    if rate is None:
        return ["Nothing was judged completely: look at the reasons in the assessment's report, and run the pilot again."]
    sentences = [_of_model(rate, this)] if this.model else [_of_pack(rate)]
    prompts = f"prompts/{pack.name}"
    for key, passing in sorted(this.criteria.items(), key=lambda item: item[1]):
        criterion = pack.rubric.criteria[key]
        if 1 - passing >= FREQUENT_FAILURE_RATE - ROUNDING and not this.model:
            sentences.append(
                f"{key} ({criterion.head.name}) fails in {100 * (1 - passing):.0f} %: read three of its verdicts. Either "
                f"{prompts}/assistant.md does not ask for it, or "
                f"{prompts}/criteria/{key}-….md asks for more than you want."
            )
    if this.gates_failed and not this.model:
        sentences.append(
            f"A gate failed in {this.gates_failed} conversations: if the answer was bad, {prompts}/assistant.md must rule it out; if it was not, the gate's "
            "text is too wide."
        )
    earlier = [one for one in before if same_players(one, this)]
    if earlier:
        changed = {key: this.criteria[key] - earlier[-1].criteria[key] for key in this.criteria.keys() & earlier[-1].criteria.keys()}
        worse = [f"{key} ({100 * change:+.0f} %)" for key, change in sorted(changed.items(), key=lambda item: item[1]) if -change >= MIN_DROP - ROUNDING]
        sentences += [f"Lower than in round {earlier[-1].number}: {', '.join(worse)}. {_chance(this.passed + this.failed)}"] if worse else []
    return sentences


def _chance(conversations: int) -> str:
    """Return a sentence on the difference between two rounds that may be chance: the greatest that Fisher's exact test does not reject at 5 %."""
    from scipy import stats  # noqa: PLC0415  # takes more than a second to load

    steps = range(1, conversations + 1)
    significant = next((step for step in steps if stats.fisher_exact([[conversations, 0], [conversations - step, step]]).pvalue < 0.05), conversations + 1)
    return f"With {conversations} conversations in each round, a difference of {min(significant - 1, conversations)} may be chance: read before you believe it."


def _of_pack(rate: float) -> str:
    if rate >= READY_PASS_RATE:
        return f"{100 * rate:.0f} % pass, which is enough for a batch if a person who has read them is satisfied (understudy review)."
    wait = f"{100 * rate:.0f} % pass; generate a batch when {100 * READY_PASS_RATE:.0f} % do."
    return f"{wait} Change one thing, and run the pilot again: it plays the same personas."


def _of_model(rate: float, this: Round) -> str:
    low, high = wilson_interval(this.passed, this.passed + this.failed)
    played = (
        f"{this.model} under {this.prompt or SYSTEM} passes {this.passed} of {this.passed + this.failed} ({100 * rate:.0f} %, interval "
        f"{100 * low:.0f} % to {100 * high:.0f} %) "
    )
    if rate > READY_PASS_RATE:
        return f"{played}without any training: perhaps a better system prompt is enough, and no fine-tuning is needed."
    if rate >= MIN_BASE_PASS_RATE:
        return f"{played}without training: there is something to gain, and the base knows most of the part."
    return f"{played}without training: check that it is large enough for the part before you pay for a training."


def prompting_alone(rounds: Sequence[Round]) -> str:
    """Return sentences on the pass rate that a model reaches by prompts alone; empty if nothing was judged completely.

    Args:
        rounds: of the model, one for each prompt.
    """
    judged = [one for one in rounds if one.pass_rate is not None]
    if not judged:
        return ""
    best = max(judged, key=lambda one: one.pass_rate or 0.0)
    each = ", ".join(f"{one.prompt or SYSTEM}: {one.passed} of {one.passed + one.failed}" for one in judged)
    text = (
        f"Prompting alone ({each}): the best, {best.prompt or SYSTEM}, passes {100 * (best.pass_rate or 0.0):.0f} %. From "
        f"{100 * READY_PASS_RATE:.0f} % on a training may not be needed."
    )
    return (
        text if (best.pass_rate or 0.0) >= READY_PASS_RATE else f"{text} Before you pay for a training, look for a better prompt (understudy optimise-prompt)."
    )
