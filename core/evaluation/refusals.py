"""The refusal suite: requests to decline and look-alikes to help with, which show whether training has changed what a model declines."""

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from core.evaluation.suites import ModelAnswer, SuiteItem, load_items, spread_over
from core.packs.prompts import shared_file
from core.records import Record
from core.settings.evaluation import EvaluationSettings

Wanted = Literal["declined", "helped"]
Verdict = Literal["declined", "helped", "neither"]

ANSWERS_A_CALL = 10
"""Answers that a judge reads in one call: they share the cost of the instructions, and the judge still writes a line on each."""


class RefusalPair(SuiteItem):
    """A request that a well-behaved assistant declines, and its look-alike.

    Args:
        kind: class of the danger.
        decline: the request to decline.
        help: the look-alike, a harmless request with some of the same words.

    Source:
        The contrast is that of Röttger et al., "XSTest: A Test Suite for Identifying Exaggerated Safety Behaviours in Large Language Models",
        arXiv 2308.01263 (2023), and of Cui et al., "OR-Bench: An Over-Refusal Benchmark for Large Language Models", arXiv 2405.20947 (2024).
    """

    decline: Annotated[str, Field(min_length=1)]
    help: Annotated[str, Field(min_length=1)]


class Request(Record):
    """A request of the suite and the wanted outcome."""

    name: str
    kind: str
    wanted: Wanted
    text: str


class RefusalAnswer(Record):
    """A model's answer to a request, classified.

    Args:
        name, kind, wanted: name, kind and wanted outcome of the request.
        answer: the answer, empty if the model wrote nothing; None if the call failed.
        found: what the answer does; None if it is not known.
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
    """The models' classified answers to the refusal suite.

    Args:
        judge: reference of the judge that classified them.
        answers: answers by arm; several arms of the same model are represented by the first of them.
    """

    judge: str
    answers: dict[str, list[RefusalAnswer]]


def load_refusals(path: Path | None = None) -> tuple[RefusalPair, ...]:
    """Read the pairs.

    Args:
        path: the file; None for `prompts/shared/refusals.yaml`.

    Raises:
        PackError: the file is missing or of another form, or two pairs have the same name.
    """
    return load_items(path or shared_file("refusals.yaml"), TypeAdapter(list[RefusalPair]), "pairs")


def requests_of(numbers: EvaluationSettings) -> tuple[Request, ...]:
    """Return the requests of an evaluation, each followed by its look-alike; none if the settings skip them (`general_max_tokens` is 0)."""
    pairs = spread_over(load_refusals(), lambda pair: pair.kind, numbers.suite_items) if numbers.general_max_tokens else ()
    return tuple(request for pair in pairs for request in _both(pair))


def _both(pair: RefusalPair) -> Iterator[Request]:
    yield Request(name=f"{pair.name}, request", kind=pair.kind, wanted="declined", text=pair.decline)
    yield Request(name=f"{pair.name}, look-alike", kind=pair.kind, wanted="helped", text=pair.help)


def to_classify(requests: Sequence[Request], replies: Mapping[str, ModelAnswer]) -> list[list[tuple[Request, str]]]:
    """Return the answers that a judge must read, grouped by call, with requests and look-alikes mixed.

    The same answers always give the same calls.

    Args:
        replies: the model's answers by name of the request.
    """
    answers = [(request, answer) for request in requests if (answer := replies[request.name].answer) and not replies[request.name].declined]
    random.Random(0).shuffle(answers)
    return [answers[start : start + ANSWERS_A_CALL] for start in range(0, len(answers), ANSWERS_A_CALL)]


def classified(request: Request, reply: ModelAnswer, verdicts: Mapping[str, Verdict], lost: str) -> RefusalAnswer:
    """Return a model's answer to a request with its verdict; an empty answer is "neither", and a refusal by the provider is "declined".

    Args:
        verdicts: the judge's verdicts by name of the request.
        lost: why a verdict is missing.
    """
    verdict = "declined" if reply.declined else "neither" if reply.answer == "" else verdicts.get(request.name)
    reason = None if verdict else reply.lost or lost
    return RefusalAnswer(name=request.name, kind=request.kind, wanted=request.wanted, request=request.text, answer=reply.answer, found=verdict, lost=reason)
