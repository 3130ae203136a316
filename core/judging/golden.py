"""The golden set of a pack, `config/domains/<domain>/golden/*.yaml`: conversations with the verdicts that judges are measured against."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from core.errors import PackError, nearest
from core.fingerprint import fingerprint
from core.judging.scoring import applicable
from core.judging.text_facts import words
from core.packs.pack import Pack
from core.packs.places import domains
from core.packs.rubric import Rubric
from core.packs.taxonomy import Text
from core.records import Exchange, Transcript
from core.yaml_files import Strict, load_yaml

FOLDER = "golden"
QUOTED = 8
"""Consecutive words that count as a quotation when a prompt shares them with a held-out conversation; a run of this length is rarely a coincidence."""
ENOUGH, ENOUGH_OF_GATES = 5, 12
"""Conversations of each kind, failures and close passes, that a criterion and a gate need before a judge's rates on them mean anything."""

Label = Literal["YES", "NO", "NA"]


class GoldenExchange(Strict):
    """An exchange."""

    user: Text
    assistant: Text


class GoldenVerdict(Strict):
    """The right answer to a criterion.

    Args:
        reason: one sentence; required for a NO and for a close answer.
        exchanges: numbers of the exchanges that the reason is about, counted from 1.
        close: whether the conversation only just gets this answer and not the other one.
    """

    answer: Label
    reason: str = ""
    exchanges: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list)
    close: bool = False


def _written_out(value: object) -> object:
    return {"answer": value} if isinstance(value, str) else value


Verdict = Annotated[GoldenVerdict, BeforeValidator(_written_out)]
"""A verdict; one without a reason may be the answer alone, such as `CP4: YES`."""


class GoldenFile(Strict):
    """A file of the set.

    Args:
        provenance: who wrote the conversation, and for what purpose.
        held_out: whether the conversation is kept for measuring, so that no prompt may be tuned on it.
        verdicts: by criterion.
        labels: by reader and criterion; neither reader saw the other's answers.
        disputed: criteria on which the readers still differ.
    """

    title: Text
    provenance: Text
    held_out: bool
    exchanges: list[GoldenExchange] = Field(min_length=1)
    verdicts: dict[str, Verdict]
    labels: dict[str, dict[str, Label]] = Field(min_length=2, max_length=2)
    disputed: list[str] = Field(default_factory=list)


@dataclass(frozen=True)
class Golden:
    """A conversation of the set, with the verdicts on it."""

    id: str
    file: GoldenFile

    @property
    def transcript(self) -> Transcript:
        """The conversation as judges read it."""
        exchanges = [Exchange(exchange_number=number, user=item.user, assistant=item.assistant) for number, item in enumerate(self.file.exchanges, 1)]
        return Transcript(id=self.id, exchanges=exchanges, provenance={"golden": self.file.provenance})


@dataclass(frozen=True)
class GoldenCounts:
    """Number of each answer to a criterion in a set; disputed answers are counted separately.

    Args:
        close: answers YES or NA that are close.
    """

    yes: int
    no: int
    na: int
    close: int
    disputed: int


def golden_folder(pack: Pack) -> Path:
    """Return the folder of a pack's golden set."""
    return domains()[pack.name] / "config/domains" / pack.name / FOLDER


def load_golden(pack: Pack, folder: Path | None = None) -> list[Golden]:
    """Read a pack's golden set, sorted by id; empty where the pack has none.

    Args:
        folder: another folder to read it from; None for the pack's own.

    Raises:
        PackError: a file is invalid, or two files hold the same conversation.
    """
    place = folder or golden_folder(pack)
    seen: dict[str, str] = {}
    golden = []
    for path in sorted(place.glob("*.yaml")):
        if path.is_symlink():
            raise PackError(f"{path} is a link. Put the file itself there.")
        item = Golden(path.stem, load_yaml(path, GoldenFile, PackError))
        if wrong := golden_fault(item.file, pack.rubric):
            raise PackError(f"{path}: {wrong}")
        exchanges = fingerprint(item.file.exchanges)
        if exchanges in seen:
            raise PackError(f"{path} holds the same conversation as {seen[exchanges]}. Keep one of them.")
        seen[exchanges] = path.name
        golden.append(item)
    return golden


def count_golden(golden: Sequence[Golden], rubric: Rubric) -> dict[str, GoldenCounts]:
    """Return the number of each answer, by criterion."""

    def count(name: str) -> GoldenCounts:
        asked = [item.file for item in golden if name in item.file.verdicts]
        settled = [file.verdicts[name] for file in asked if name not in file.disputed]
        answers = Counter(verdict.answer for verdict in settled)
        close = sum(verdict.close and verdict.answer != "NO" for verdict in settled)
        return GoldenCounts(answers["YES"], answers["NO"], answers["NA"], close, len(asked) - len(settled))

    return {name: count(name) for name in rubric.criteria}


def golden_gaps(golden: Sequence[Golden], rubric: Rubric) -> list[str]:
    """Return what a set lacks to measure a judge, a sentence for each criterion and kind of conversation."""
    sentences = []
    for name, counts in count_golden(golden, rubric).items():
        enough = ENOUGH_OF_GATES if rubric.criteria[name].head.gate else ENOUGH
        for number, kind in ((counts.no, "fail it"), (counts.close, "pass it closely")):
            if number < enough:
                sentences.append(f"{name}: {number} conversations {kind}; {enough} are needed.")
    return sentences


def quoted(golden: Sequence[Golden], pack: Pack) -> dict[str, str]:
    """Return the ids of the held-out conversations that a prompt of the pack quotes, each with the quoted words; a judge must not have read them before."""
    texts = [prompt.text for prompt in pack.prompts.values()] + [criterion.text for criterion in pack.rubric.criteria.values()]
    prompt_runs = {run for text in texts for run in _runs(text)}
    quotations = {}
    for item in golden:
        messages = [text for exchange in item.file.exchanges for text in (exchange.user, exchange.assistant)]
        shared = [run for text in messages for run in _runs(text) if run in prompt_runs]
        if item.file.held_out and shared:
            quotations[item.id] = " ".join(shared[0])
    return quotations


def _runs(text: str) -> list[tuple[str, ...]]:
    text_words = words(text)
    return [tuple(text_words[start : start + QUOTED]) for start in range(len(text_words) - QUOTED + 1)]


def golden_fault(file: GoldenFile, rubric: Rubric) -> str | None:
    """Return the first fault of a file, as a sentence: what does not fit the rubric, or contradicts itself; None if there is none."""
    due = [criterion.id for criterion in applicable(rubric, len(file.exchanges))]
    for where, answers in (("verdicts", file.verdicts), *((f"labels.{reader}", labels) for reader, labels in file.labels.items())):
        if wrong := _wrong_names(where, answers, due):
            return wrong
    for name, verdict in file.verdicts.items():
        answers = {verdict.answer, *(labels[name] for labels in file.labels.values())}
        if "NA" in answers and rubric.criteria[name].head.na == "never":
            return f"{name} is answered NA, which it does not allow. Answer YES or NO."
        if (verdict.answer == "NO" or verdict.close) and not (verdict.reason.strip() and verdict.exchanges):
            return f"verdicts.{name} is NO or close and needs a `reason` and the `exchanges` that the reason is about."
        if beyond := [number for number in verdict.exchanges if number > len(file.exchanges)]:
            return f"verdicts.{name} names the exchange {beyond[0]}; there are {len(file.exchanges)}."
    differing = [name for name in file.verdicts if len({labels[name] for labels in file.labels.values()}) > 1]
    if sorted(file.disputed) != sorted(differing):
        return f"`disputed` names {', '.join(file.disputed) or 'nothing'}, but the readers differ on {', '.join(differing) or 'nothing'}."
    labels = next(iter(file.labels.values()))
    against = [name for name, verdict in file.verdicts.items() if name not in differing and verdict.answer != labels[name]]
    return f"verdicts.{against[0]} is {file.verdicts[against[0]].answer}, but both readers answered {labels[against[0]]}." if against else None


def _wrong_names(where: str, answers: Mapping[str, object], due: Sequence[str]) -> str | None:
    for name in answers:
        if name not in due:
            return f"{where} names {name!r}.{nearest(name, due)} Allowed, for a conversation of this length: {', '.join(due)}."
    missing = [name for name in due if name not in answers]
    return f"{where} lacks {', '.join(missing)}. Every criterion that applies is answered." if missing else None
