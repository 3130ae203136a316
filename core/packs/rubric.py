"""The rubric of a domain pack: criteria, their weights and the threshold, read from its files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from core.errors import PackError, nearest
from core.fingerprint import fingerprint
from core.packs.prompts import read_front_matter
from core.packs.taxonomy import Text, Weight, sums_to_one
from core.quantities import Exchanges, Part, Share
from core.yaml_files import Strict, check, load_yaml


class GatherRule(Strict):
    """What a transcript that passed must also meet to be used for training; its score is unaffected."""

    floors: Share = 0.5
    """Minimum score of each category; 0 sets no minimum."""
    required: list[str] = Field(default_factory=list)
    """Ids of criteria that must pass."""


class Forgives(Strict):
    """How many light lapses a criterion forgives; a grave one is never forgiven."""

    light: Annotated[int, Field(strict=True, ge=0, le=100)]
    """Light lapses forgiven per `per` exchanges."""
    per: Exchanges
    """Number of exchanges. The product is rounded down, but from three exchanges on at least one lapse is forgiven."""


class RubricNumbers(Strict):
    """`rubric.yaml`: the numbers of the rubric. Its text is in the criteria files."""

    pass_at: Part
    categories: dict[str, Weight] = Field(min_length=1)
    gather: GatherRule = GatherRule()
    forgives: dict[str, Forgives] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _sums(self) -> "RubricNumbers":
        sums_to_one("categories", self.categories)
        return self


class CriterionHead(Strict):
    """The front matter of a criterion's file."""

    id: Annotated[str, Field(pattern=r"^[A-Z]{2,4}[0-9]+$")]
    name: Text
    category: str | None = None
    gate: bool = False
    na: Literal["never", "allowed"]
    from_exchange: Exchanges = 1
    clauses: dict[str, Text] = Field(default_factory=dict, description="The parts of the criterion that a conversation may concern: a sentence by short name.")

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
        """The criterion's short name, such as `MT1`."""
        return self.head.id


@dataclass(frozen=True)
class Rubric:
    """Criteria, weights and threshold."""

    numbers: RubricNumbers
    criteria: dict[str, Criterion]
    hash: str


def load_rubric(numbers_file: Path, criteria_folder: Path) -> Rubric:
    """Read a rubric.

    Args:
        numbers_file: `rubric.yaml`.
        criteria_folder: folder with a file for each criterion.

    Raises:
        PackError: a file is missing or invalid, or they contradict one another.
    """
    numbers = load_yaml(numbers_file, RubricNumbers, PackError)
    criteria: dict[str, Criterion] = {}
    for path in sorted(criteria_folder.glob("*.md")):
        front, text = read_front_matter(path)
        head = check(front, CriterionHead, PackError, str(path))
        if path.name.split("-", 1)[0] != head.id:
            raise PackError(f"{path}: the file is named for {path.name.split('-', 1)[0]!r} but its id is {head.id!r}. Name it {head.id}-<slug>.md.")
        if head.id in criteria:
            raise PackError(f"{path}: criterion {head.id} is also in another file. Keep one of them.")
        if head.category is not None and head.category not in numbers.categories:
            raise PackError(f"{path}: category {head.category!r} has no weight in {numbers_file}. Allowed: {', '.join(numbers.categories)}.")
        if not text:
            raise PackError(f"{path}: the criterion has no text. Write its definition and its YES, NO and NA rules.")
        criteria[head.id] = Criterion(head, text)
    if empty := sorted(set(numbers.categories) - {criterion.head.category for criterion in criteria.values()}):
        raise PackError(f"{numbers_file}: categories {empty} have no criterion in {criteria_folder}. Add one or remove the category.")
    if unknown := sorted(set(numbers.gather.required) - set(criteria)):
        raise PackError(f"{numbers_file}: gather.required names {unknown[0]!r}.{nearest(unknown[0], criteria)} Allowed: {', '.join(criteria)}.")
    _check_forgives(numbers_file, numbers, criteria)
    # neither `gather` nor an empty `forgives` affects assessments, so both are excluded from the hash
    judged_by = numbers.model_dump(mode="json", exclude={"gather", *(() if numbers.forgives else ("forgives",))})
    return Rubric(numbers, criteria, fingerprint([judged_by, {key: [item.head, item.text] for key, item in criteria.items()}]))


def _check_forgives(numbers_file: Path, numbers: RubricNumbers, criteria: dict[str, Criterion]) -> None:
    ordinary = [name for name, criterion in criteria.items() if not criterion.head.gate]
    for name in numbers.forgives:
        if name in criteria and name not in ordinary:
            raise PackError(f"{numbers_file}: forgives names the gate {name}; a gate forgives nothing. Remove it.")
        if name not in ordinary:
            raise PackError(f"{numbers_file}: forgives names {name!r}.{nearest(name, ordinary)} Allowed: {', '.join(ordinary)}.")
