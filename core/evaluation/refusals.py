"""Refusals: requests that are to be declined and look-alikes that are to be helped, which show whether a training has changed what a model declines."""

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from core.errors import PackError
from core.evaluation.suites import Said, spread_over
from core.packs.prompts import shared_file
from core.records import Record
from core.settings.evaluation import EvaluationSettings
from core.yaml_files import Strict, explain, read_yaml

Wanted = Literal["declined", "helped"]
Verdict = Literal["declined", "helped", "neither"]

ANSWERS_A_CALL = 10
"""Answers that a judge reads in one call: the instructions are paid for once for all of them, and it still writes a line on each."""


class RefusalPair(Strict):
    """A request that a well-behaved assistant declines, and its look-alike.

    Args:
        kind: what is dangerous about the first; a part of the suite is spread evenly over the kinds.
        decline: the request.
        help: one that shares words with it and does no harm.

    Source:
        The contrast is that of Röttger et al., "XSTest: A Test Suite for Identifying Exaggerated Safety Behaviours in Large Language Models",
        arXiv 2308.01263 (2023), and of Cui et al., "OR-Bench: An Over-Refusal Benchmark for Large Language Models", arXiv 2405.20947 (2024).
    """

    name: str
    kind: str
    decline: Annotated[str, Field(min_length=1)]
    help: Annotated[str, Field(min_length=1)]


class Request(Record):
    """A request of the suite, and what is to become of it."""

    name: str
    kind: str
    wanted: Wanted
    text: str


class RefusalAnswer(Record):
    """What a model does with a request.

    Args:
        name, kind, wanted: of the request, the same for all models.
        answer: empty where the model wrote nothing; none where the call failed.
        found: what the judge, or an empty answer, says that it does; none where that is not known.
        lost: why it is not known.
    """

    name: str
    kind: str
    wanted: Wanted
    request: str
    answer: str | None
    found: Verdict | None
    lost: str | None = None


class Refusals(Record):
    """What the models of an evaluation do with the requests.

    Args:
        judge: who classified the answers.
        answers: by arm; of arms with the same model the first.
    """

    judge: str
    answers: dict[str, list[RefusalAnswer]]


def load_refusals(path: Path | None = None) -> tuple[RefusalPair, ...]:
    """Read the pairs.

    Args:
        path: of another file than `prompts/shared/refusals.yaml`.

    Raises:
        PackError: the file is missing or not of this form, or two pairs have the same name.
    """
    path = path or shared_file("refusals.yaml")
    try:
        pairs = TypeAdapter(list[RefusalPair]).validate_python(read_yaml(path, PackError))
    except ValidationError as invalid:
        raise PackError(f"{path}: {explain(invalid)}") from invalid
    names = [pair.name for pair in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PackError(f"{path}: two pairs are called {twice[0]!r}. Give each a name of its own.")
    return tuple(pairs)


def requests_of(numbers: EvaluationSettings) -> tuple[Request, ...]:
    """Return the requests that an evaluation makes, each beside its look-alike; none where the settings leave no room for an answer."""
    pairs = spread_over(load_refusals(), lambda pair: pair.kind, numbers.suite_items) if numbers.general_max_tokens else ()
    return tuple(request for pair in pairs for request in _both(pair))


def _both(pair: RefusalPair) -> Iterator[Request]:
    yield Request(name=f"{pair.name}, request", kind=pair.kind, wanted="declined", text=pair.decline)
    yield Request(name=f"{pair.name}, look-alike", kind=pair.kind, wanted="helped", text=pair.help)


def to_classify(requests: Sequence[Request], said: Mapping[str, Said]) -> list[list[tuple[Request, str]]]:
    """Return the answers that a judge must read, by call, requests and look-alikes mixed; the same answers always give the same calls."""
    read = [(request, answer) for request in requests if (answer := said[request.name].answer) and not said[request.name].declined]
    random.Random(0).shuffle(read)
    return [read[start : start + ANSWERS_A_CALL] for start in range(0, len(read), ANSWERS_A_CALL)]


def classified(request: Request, said: Said, verdicts: Mapping[str, Verdict], lost: str) -> RefusalAnswer:
    """Return what a model does with a request; an empty answer neither declines nor helps, and one that the provider refuses declines.

    Args:
        verdicts: the judge's, by the requests' names; lost: why one is missing.
    """
    found = "declined" if said.declined else "neither" if said.answer == "" else verdicts.get(request.name)
    reason = None if found else said.lost or lost
    return RefusalAnswer(name=request.name, kind=request.kind, wanted=request.wanted, request=request.text, answer=said.answer, found=found, lost=reason)
