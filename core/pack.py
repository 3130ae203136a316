"""Domain packs: the files that make a domain, checked against one another when they are loaded."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from core.errors import PackError
from core.fingerprint import fingerprint
from core.prompts import SUPPLIED, SUPPLIED_SHARED, Prompt, load_prompt, load_shared, read_front_matter
from core.scripted.phrases import ScriptedPhrases
from core.store import CHECKOUT
from core.yaml_files import Strict, check, load_yaml

Weight = Annotated[float, Field(gt=0, le=1)]
Text = Annotated[str, Field(min_length=1)]
TOLERANCE = 1e-6


class Subtopic(Strict):
    """What a persona may bring up; `words` are the ones that give it away in a text."""

    description: Text
    words: list[Text] = Field(min_length=1)


class TopicGroup(Strict):
    """A topic and its subtopics, which are equally likely."""

    weight: Weight
    label: Text
    edge_case: bool = False
    subtopics: dict[str, Subtopic] = Field(min_length=1)


class Value(Strict):
    """One value of a dimension. `words` is the range of a message's length that it implies, in words."""

    weight: Weight
    description: Text
    words: tuple[int, int] | None = None


class LengthClass(Strict):
    """How many exchanges a conversation has, drawn evenly from the range."""

    weight: Weight
    exchanges: tuple[int, int]

    @model_validator(mode="after")
    def _ordered(self) -> "LengthClass":
        low, high = self.exchanges
        if not 1 <= low <= high:
            raise ValueError(f"exchanges must be 1 ≤ low ≤ high, found {low} and {high}")
        return self


class Taxonomy(Strict):
    """`input-taxonomy.yaml`: what personas are made of."""

    topics: dict[str, TopicGroup] = Field(min_length=1)
    dimensions: dict[str, dict[str, Value]]
    length_classes: dict[str, LengthClass] = Field(min_length=1)
    topics_per_persona: tuple[int, int]
    names: list[Text] = Field(min_length=2)

    @model_validator(mode="after")
    def _sums(self) -> "Taxonomy":
        _sums_to_one("topics", {name: group.weight for name, group in self.topics.items()})
        _sums_to_one("length_classes", {name: item.weight for name, item in self.length_classes.items()})
        for dimension, values in self.dimensions.items():
            _sums_to_one(f"dimensions.{dimension}", {name: value.weight for name, value in values.items()})
        for required in ("trajectory", "writing_style"):
            if required not in self.dimensions:
                raise ValueError(f"dimensions.{required} is missing; every pack has it")
        names = [name for group in self.topics.values() for name in group.subtopics]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"topics: the subtopics {repeated} stand in two topics; every name is used once")
        subtopics = len(names)
        low, high = self.topics_per_persona
        if not 1 <= low <= high <= subtopics:
            raise ValueError(f"topics_per_persona must lie between 1 and the {subtopics} subtopics, found {low} and {high}")
        return self


class FlawKind(Strict):
    """A human flaw and how it is played."""

    weight: Weight
    description: Text
    examples: list[Text] = Field(min_length=1)
    notes: Text


class Flaws(Strict):
    """`flaw-taxonomy.yaml`: flaws by category, how many a persona gets and how often each shows."""

    none_share: Annotated[float, Field(ge=0, le=1)]
    secondary: tuple[int, int]
    primary_shows: Annotated[float, Field(ge=0, le=1)]
    secondary_shows: tuple[float, float]
    cooperation: dict[Literal["engage", "partial", "push_back", "ignore"], Weight] = Field(
        description="What a user makes of the assistant's last answer; weights sum to 1."
    )
    categories: dict[str, dict[str, FlawKind]] = Field(min_length=1)

    @model_validator(mode="after")
    def _sums(self) -> "Flaws":
        kinds = {name: kind.weight for flaws in self.categories.values() for name, kind in flaws.items()}
        if len(kinds) != sum(len(flaws) for flaws in self.categories.values()):
            raise ValueError("a flaw's name stands in two categories; every name is used once")
        _sums_to_one("categories (all flaws together)", kinds)
        _sums_to_one("cooperation", dict(self.cooperation))
        if self.secondary[1] >= len(kinds):
            raise ValueError(f"secondary asks for up to {self.secondary[1]} flaws beside the primary one; there are {len(kinds)} in all")
        return self


class RubricNumbers(Strict):
    """`rubric.yaml`: what the rubric weighs. Its prose is in the criteria files."""

    pass_at: Annotated[float, Field(gt=0, le=1)]
    categories: dict[str, Weight] = Field(min_length=1)

    @model_validator(mode="after")
    def _sums(self) -> "RubricNumbers":
        _sums_to_one("categories", self.categories)
        return self


class CriterionHead(Strict):
    """The front matter of a criterion's file."""

    id: Annotated[str, Field(pattern=r"^[A-Z]{2,4}[0-9]+$")]
    name: Text
    category: str | None = None
    gate: bool = False
    na: Literal["never", "allowed"]
    from_exchange: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _placed(self) -> "CriterionHead":
        if self.gate == (self.category is not None):
            raise ValueError(f"{self.id} needs either a category or `gate: true`, and not both")
        return self


@dataclass(frozen=True)
class Criterion:
    """A yes/no question with its rules."""

    head: CriterionHead
    text: str

    @property
    def id(self) -> str:
        """Its short name, such as `MT1`."""
        return self.head.id


@dataclass(frozen=True)
class Rubric:
    """Criteria, weights and threshold."""

    numbers: RubricNumbers
    criteria: dict[str, Criterion]
    hash: str


@dataclass(frozen=True)
class Pack:
    """A loaded domain pack.

    Args:
        name: its folder's name.
        hash: of everything that a model reads and every number that steers it.
        phrases: what the scripted provider plays with; none where the pack has no `scripted.yaml`.
    """

    name: str
    taxonomy: Taxonomy
    flaws: Flaws
    rubric: Rubric
    prompts: dict[str, Prompt]
    phrases: ScriptedPhrases | None
    hash: str


def domains(root: Path = CHECKOUT) -> list[str]:
    """Return the names of the packs that there are."""
    folder = root / "config" / "domains"
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []


def load_pack(name: str, root: Path = CHECKOUT) -> Pack:
    """Load and check a domain pack.

    Args:
        name: the folder's name below `config/domains/` and `prompts/`.
        root: the folder that holds `config/` and `prompts/`.

    Raises:
        PackError: an unknown domain, or the first thing found wrong in its files.
    """
    if name not in domains(root):
        raise PackError(f"Unknown domain {name!r}. Allowed: {', '.join(domains(root))}. A domain is a folder below {root / 'config' / 'domains'}.")
    config, prompts = root / "config" / "domains" / name, root / "prompts" / name
    files = sorted([*config.glob("*"), *prompts.rglob("*")])
    return _load(name, config, prompts, tuple((path, path.stat().st_mtime_ns) for path in files))


@lru_cache(maxsize=4)
def _load(name: str, config: Path, prompts: Path, _files: tuple[tuple[Path, int], ...]) -> Pack:
    """Load a pack once for as long as none of its files changes; each task of a run asks for it."""
    taxonomy = load_yaml(config / "input-taxonomy.yaml", Taxonomy, PackError)
    flaws = load_yaml(config / "flaw-taxonomy.yaml", Flaws, PackError)
    rubric = _load_rubric(config / "rubric.yaml", prompts / "criteria")
    texts = {role: load_prompt(prompts / f"{role}.md") for role in SUPPLIED}
    phrases = _load_phrases(config / "scripted.yaml", rubric, flaws, taxonomy) if (config / "scripted.yaml").exists() else None
    shared = {name: load_shared(name).text for name in SUPPLIED_SHARED if name != "check"}
    whole = fingerprint([taxonomy, flaws, rubric.hash, {role: prompt.text for role, prompt in texts.items()}, shared, phrases])
    return Pack(name, taxonomy, flaws, rubric, texts, phrases, whole)


def _load_rubric(numbers_file: Path, criteria_folder: Path) -> Rubric:
    numbers = load_yaml(numbers_file, RubricNumbers, PackError)
    criteria: dict[str, Criterion] = {}
    for path in sorted(criteria_folder.glob("*.md")):
        front, text = read_front_matter(path)
        head = check(front, CriterionHead, PackError, str(path))
        if path.name.split("-", 1)[0] != head.id:
            raise PackError(f"{path}: the file is named for {path.name.split('-', 1)[0]!r} but its id is {head.id!r}. Name it {head.id}-<slug>.md.")
        if head.id in criteria:
            raise PackError(f"{path}: criterion {head.id} is in another file as well. Keep one of them.")
        if head.category is not None and head.category not in numbers.categories:
            raise PackError(f"{path}: category {head.category!r} has no weight in {numbers_file}. Allowed: {', '.join(numbers.categories)}.")
        if not text:
            raise PackError(f"{path}: the criterion has no text. Write its definition and its YES, NO and NA rules.")
        criteria[head.id] = Criterion(head, text)
    if empty := sorted(set(numbers.categories) - {criterion.head.category for criterion in criteria.values()}):
        raise PackError(f"{numbers_file}: categories {empty} have no criterion in {criteria_folder}. Add one or remove the category.")
    return Rubric(numbers, criteria, fingerprint([numbers, {key: [item.head, item.text] for key, item in criteria.items()}]))


def _load_phrases(path: Path, rubric: Rubric, flaws: Flaws, taxonomy: Taxonomy) -> ScriptedPhrases:
    phrases = load_yaml(path, ScriptedPhrases, PackError)
    for place, found, allowed in (
        ("judge", set(phrases.judge), set(rubric.criteria)),
        ("topics", set(phrases.topics), {name for group in taxonomy.topics.values() for name in group.subtopics}),
        ("user.feelings", set(phrases.user.feelings), set(taxonomy.dimensions["trajectory"])),
        ("user.flaws", set(phrases.user.flaws), {name for kinds in flaws.categories.values() for name in kinds}),
    ):
        if found != allowed:
            raise PackError(f"{path}: `{place}` is missing {sorted(allowed - found)} and has unknown {sorted(found - allowed)}. Name each once.")
    return phrases


def _sums_to_one(place: str, weights: dict[str, float]) -> None:
    total = sum(weights.values())
    if abs(total - 1) > TOLERANCE:
        raise ValueError(f"{place}: the weights must sum to 1, found {total:.4g}; change one of {', '.join(weights)}")
