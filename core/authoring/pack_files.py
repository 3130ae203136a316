"""The drafting of a pack's files from a brief: one after another, each with the checks of the loader."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from core.authoring.design import TEXT, TRUTH, Designer, design_texts, example_of, json_object, kept_json, place_of
from core.errors import PackError
from core.packs.episodes import Episodes
from core.packs.pack import Experts
from core.packs.prompts import check_prompt, load_shared
from core.packs.rubric import CriterionHead, RubricNumbers
from core.packs.taxonomy import Flaws, Taxonomy, check_not_with
from core.records import Slug
from core.yaml_files import Model, Strict, check, parse_yaml

Save = Callable[[str, str], None]
Read = Callable[[str], str | None]

CRITERIA = TypeAdapter(list[tuple[str, str]])
"""The stored form of drafted criteria: (file name without suffix, text)."""
CLAUSES = {"type": "array", "items": json_object(id=TEXT, meaning=TEXT)}
CRITERION = json_object(
    id=TEXT,
    slug=TEXT,
    name=TEXT,
    category=TEXT,
    gate=TRUTH,
    na={"type": "string", "enum": ["never", "allowed"]},
    from_exchange={"type": "integer"},
    clauses=CLAUSES,
    text=TEXT,
)
CRITERIA_SCHEMA = json_object(criteria={"type": "array", "items": CRITERION})


class FileName(Strict):
    """The part of a criterion's file name that the designer writes."""

    slug: Slug


async def draft_pack(designer: "Designer", domain: str, read: Read, save: Save) -> None:
    """Have every missing file of a pack written; existing files are not changed.

    Args:
        read: returns the text of a file below the pack's root, or None.
        save: writes a file below the pack's root.

    Raises:
        DesignError: a file stays invalid.
        ModelError, RunStoppedError: the model cannot be asked.
    """
    for file in design_texts().files:
        if file == "criteria":
            if read(f"prompts/{domain}/criteria.done") is None:
                await _draft_criteria(designer, read, save)
        elif read(place_of(file, domain)) is None:
            save(place_of(file, domain), await designer.write(file, _context(file, domain, read), lambda text, file=file: _check(file, text, domain, read)))


def check_file(file: str, text: str) -> None:
    """Check that a file has the form that the loader requires.

    Raises:
        PackError: it does not.
    """
    models: dict[str, type[Strict]] = {"input-taxonomy.yaml": Taxonomy, "flaw-taxonomy.yaml": Flaws, "episodes.yaml": Episodes}
    models |= {"rubric.yaml": RubricNumbers, "experts.yaml": Experts}
    if file in models:
        _parsed(file, text, models[file])
    elif file.endswith(".md") and file != "intended-use.md" and not file.startswith("criteria/"):
        check_prompt(Path(file), text)


def _parsed(file: str, text: str, model: type[Model]) -> Model:
    try:
        return check(parse_yaml(text), model, PackError, file)
    except ValueError as broken:
        raise PackError(f"{file} is not YAML: {broken}.") from broken


def _check(file: str, text: str, domain: str, read: Read) -> None:
    """Check that a file has the required form and fits the files before it."""
    check_file(file, text)
    if file == "flaw-taxonomy.yaml":
        flaws = _parsed(file, text, Flaws)
        taxonomy = _parsed("input-taxonomy.yaml", read(place_of("input-taxonomy.yaml", domain)) or "", Taxonomy)
        check_not_with("categories", {name: kind.not_with for name, kind in flaws.kinds.items()}, taxonomy)
    if file == "episodes.yaml":
        taxonomy = _parsed("input-taxonomy.yaml", read(place_of("input-taxonomy.yaml", domain)) or "", Taxonomy)
        heads = [_head(criterion) for _, criterion in kept_json("criteria.json of the draft", read(f"prompts/{domain}/criteria.json") or "[]", CRITERIA)]
        _check_episodes(_parsed(file, text, Episodes), taxonomy, {f"{head['id']}.{clause}" for head in heads for clause in head.get("clauses", ())})


def _check_episodes(episodes: Episodes, taxonomy: Taxonomy, known: set[str]) -> None:
    """Check that each clause is exercised, and that the episodes exercise no unknown clause.

    Args:
        known: clauses of the criteria, such as GA1.exam.

    Raises:
        PackError, ValueError: the episodes do not fit the taxonomy or the clauses.
    """
    check_not_with("episodes", {name: kind.not_with for name, kind in episodes.episodes.items()}, taxonomy)
    if lives := [name for name, kind in episodes.episodes.items() if kind.life]:
        raise ValueError(f"episodes.{lives[0]} has `life`, which replaces facts of a life.yaml; this pack has none, so leave it out")
    exercised = {clause for kind in episodes.episodes.values() for clause in kind.clauses}
    if unknown := sorted(exercised - known):
        raise ValueError(f"episodes.yaml exercises {', '.join(unknown)}; allowed are the clauses of the criteria: {', '.join(sorted(known)) or 'none'}")
    if idle := sorted(known - exercised - {clause for item in taxonomy.subtopics.values() for clause in item.exercises}):
        raise ValueError(f"no episode exercises {', '.join(idle)}; each clause of a gate needs an episode, or a variant of one, that does")


async def _draft_criteria(designer: Designer, read: Read, save: Save) -> None:
    domain, guidance = designer.domain, design_texts().files["criteria"]
    numbers = _parsed("rubric.yaml", read(place_of("rubric.yaml", domain)) or "", RubricNumbers)
    prompt = load_shared("design_step").render(file="criteria", guidance=guidance, example=example_of("criteria"), drafted=_context("criteria", domain, read))

    def take(answer: dict[str, Any]) -> list[tuple[str, str]]:
        written = [_criterion(item, numbers) for item in answer["criteria"]]
        names = [name for name, _ in written]
        if len(set(names)) < len(names):
            raise ValueError(f"two criteria have the same id: {', '.join(names)}")
        heads = [_head(text) for _, text in written]
        if empty := sorted(set(numbers.categories) - {head.get("category") for head in heads}):
            raise ValueError(f"the categories {', '.join(empty)} of rubric.yaml have no criterion")
        if not any(head.get("gate") for head in heads):
            raise ValueError("no criterion is a gate, and the brief says what must never happen")
        return written

    # the answer is stored in one file first, so that a stop between two criteria cannot mix the criteria of two answers
    answer_file = f"prompts/{domain}/criteria.json"
    if (drafted := read(answer_file)) is None:
        drafted = json.dumps(await designer.ask("criteria", prompt, CRITERIA_SCHEMA, take), ensure_ascii=False)
        save(answer_file, drafted)
    for name, text in kept_json(f"{answer_file} of the draft", drafted, CRITERIA):
        save(f"prompts/{domain}/criteria/{name}.md", text)
    save(f"prompts/{domain}/criteria.done", "")


def _head(text: str) -> dict[str, Any]:
    """Return the front matter of a drafted criterion."""
    return parse_yaml(text.split("---\n")[1])


def _criterion(item: Mapping[str, Any], numbers: RubricNumbers) -> tuple[str, str]:
    """Return the name of a criterion's file without the suffix, and its text.

    Raises:
        ValueError: the criterion is invalid, or does not fit the rubric.
    """
    head = {"id": item["id"], "name": item["name"], **({"gate": True} if item["gate"] else {"category": item["category"]}), "na": item["na"]}
    head |= {"from_exchange": item["from_exchange"]} if item["from_exchange"] > 1 else {}
    head |= {"clauses": {clause["id"]: clause["meaning"] for clause in clauses}} if (clauses := item.get("clauses")) else {}
    if item["gate"] and not clauses:
        raise ValueError(f"the gate {item['id']} has no clauses; name each part of it that a conversation may fail, so that episodes can exercise them")
    try:
        check(head, CriterionHead, PackError, f"criterion {item['id']}")
        check({"slug": item["slug"]}, FileName, PackError, f"criterion {item['id']}")
    except PackError as invalid:
        raise ValueError(str(invalid)) from invalid
    if not item["gate"] and item["category"] not in numbers.categories:
        raise ValueError(f"criterion {item['id']} is of the category {item['category']!r}; rubric.yaml has {', '.join(numbers.categories)}")
    return f"{item['id']}-{item['slug']}", f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n{str(item['text']).strip()}\n"


def _context(file: str, domain: str, read: Read) -> list[dict[str, str]]:
    """Return the files that are written before this one, each with `name` and `text`; it must fit them."""
    names = list(design_texts().files)
    earlier = names[: names.index(file)]
    files = [{"name": name, "text": text} for name in earlier if (text := read(place_of(name, domain)))]
    return files + ([{"name": "criteria", "text": text}] if (text := read(f"prompts/{domain}/criteria")) else [])
