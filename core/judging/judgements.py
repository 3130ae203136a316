"""A judge's reply: its schema, and how it is read."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from core.errors import InvalidOutputError, TruncatedError
from core.judging.echo import Gram
from core.judging.empty_words import plain, runs_of, what_is_empty
from core.judging.lapses import decide
from core.judging.text_facts import words
from core.llm.chat import Reply
from core.llm.json_answers import AMBIGUOUS, TWICE, json_answer, own_objects
from core.packs.pack import Criterion, Rubric
from core.records import Answer, Lapse, Verdict

ANSWERS = {"YES": Answer.YES, "NO": Answer.NO, "NA": Answer.NA, "N/A": Answer.NA}
Form = Literal["alone", "list", "object"]
"""Of an answer."""

WEIGHTS: dict[str, Literal["light", "grave"]] = {"light": "light", "grave": "grave"}
LAPSE_WORDS = 2
"""Fewest words that say what a lapse is: "none" and nothing at all are no lapse, though a list that has to be filled may hold them."""
_FORM = re.compile(r'"what": "([^"\n]+)"')
"""What a lapse is called in the form that ends a prompt."""
SHOWN = 60
"""Characters of what a judge wrote that a message repeats."""


@dataclass(frozen=True)
class Judgement:
    """What was read of a judge's reply.

    Args:
        verdicts: one for each criterion that was asked, in that order.
        repaired: what was looked past to read it, each once.
        empty: ids of the criteria whose verdict says nothing (core/judging/empty_words.py).
    """

    verdicts: list[Verdict]
    repaired: list[str]
    empty: frozenset[str] = frozenset()

    @property
    def given(self) -> list[Verdict]:
        """The verdicts that the reply has, those that say nothing among them."""
        return [verdict for verdict in self.verdicts if verdict.answer is not Answer.ERROR or verdict.criterion in self.empty]

    @property
    def unusable(self) -> list[Verdict]:
        """The verdicts that are ERROR."""
        return [verdict for verdict in self.verdicts if verdict.answer is Answer.ERROR]


def answer_schema(criteria: Sequence[str], form: Form, exchanges: int, lapses: bool = False) -> dict[str, Any]:
    """Return the JSON schema of a judgement: reasoning first, the answer last.

    An object with a required key for each criterion, and at least one exchange that there is, so that a server that constrains its output cannot leave one
    out. Anthropic's constrains the fewest citations and their numbers, and only describes the most.

    Args:
        criteria: ids of those that are asked.
        form: `alone`: one criterion, whose verdict is the whole answer; `list`: a list of verdicts, the same in several calls that each ask some of the
            criteria: Anthropic's and OpenAI's prompt caches hold only while the schema stays the same.
        exchanges: how many the transcript has.
        lapses: whether what speaks against a criterion is listed.
    """
    number = {"type": "integer", "enum": list(range(1, exchanges + 1))}  # llama.cpp looks past `maximum`
    lapse = {
        "type": "object",
        "properties": {"exchange": number, "what": {"type": "string"}, "weight": {"type": "string", "enum": list(WEIGHTS)}},
        "required": ["exchange", "what", "weight"],
        "additionalProperties": False,
    }
    properties: dict[str, Any] = {
        "criterion": {"type": "string", "enum": list(criteria)},
        "reasoning": {"type": "string"},
        "lapses": {"type": "array", "items": lapse},
        "cited": {"type": "array", "items": number, "minItems": 1, "maxItems": exchanges},
        "answer": {"type": "string", "enum": ["YES", "NO", "NA"]},
    }
    for name, absent in (("criterion", form != "list"), ("lapses", not lapses)):
        if absent:
            del properties[name]
    verdict = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    if form == "alone":
        return verdict
    whole: dict[str, Any] = {"type": "object", "properties": {}, "required": ["verdicts"], "additionalProperties": False}
    if form == "list":
        return whole | {"properties": {"verdicts": {"type": "array", "items": verdict}}}
    one = {"$ref": "#/$defs/verdict"}  # written once: a schema is billed as a part of the prompt
    keyed = {"type": "object", "properties": dict.fromkeys(criteria, one), "required": list(criteria), "additionalProperties": False}
    return whole | {"properties": {"verdicts": keyed}, "$defs": {"verdict": verdict}}


def read_judgement(
    reply: Reply,
    criteria: Sequence[Criterion],
    exchanges: int,
    alone: bool = False,
    asked: Sequence[str] = (),
    rubric: Rubric | None = None,
    others: Mapping[str, str] | None = None,
) -> Judgement:
    """Turn a judge's reply into one verdict for each criterion that was asked, in that order.

    The reply is read leniently: what stands around its JSON, keys that nobody asked for and "Yes" for YES are looked past and counted. A criterion that is
    missing, answered in two ways or with another word, rests on no exchange or one that does not exist, or whose verdict says nothing
    (core/judging/empty_words.py) or stands word for word in the prompt, gets ERROR. Criteria that were not asked are ignored.

    Args:
        exchanges: how many the transcript has.
        alone: whether one criterion was asked and its verdict is the whole reply.
        asked: the texts of the prompt.
        rubric: what is forgiven; none leaves every answer as the judge gave it.
        others: what the judge said of other criteria before, as `plain` has it, each with its criterion.

    Raises:
        ModelError: the reply is truncated or does not hold the JSON that was asked for.
    """
    if reply.finish == "length":
        raise TruncatedError("The judge's reply was cut off. Raise assessment.max_tokens.")
    schema = answer_schema([criterion.id for criterion in criteria], "alone" if alone else "object", exchanges, lapses=True)
    schema |= {"required": ["reasoning", "answer"]} if alone else {}  # without the others it can be understood as well
    found = json_answer(reply.text, schema, asked)
    quoted = [_said(item) for item in own_objects(asked) if "answer" in item]
    judgement = _Reading(exchanges, [*reply.repaired, *found.repairs], quoted, {plain(what) for text in asked for what in _FORM.findall(text)})
    items = judgement.items(found.text, schema, criteria[0].id if alone else None)
    verdicts = [judgement.verdict(criterion.id, items) for criterion in criteria]
    empty = _empty(verdicts, runs_of(asked), others or {})
    verdicts = [unusable(item.criterion, f"The judge's reasoning {empty[item.criterion]}.") if item.criterion in empty else item for item in verdicts]
    if rubric:
        verdicts = [_decided(rubric, criterion, verdict, exchanges) for criterion, verdict in zip(criteria, verdicts, strict=True)]
    return Judgement(verdicts, list(dict.fromkeys(judgement.repairs)), frozenset(empty))


def _empty(verdicts: Sequence[Verdict], prompt: set[Gram], others: Mapping[str, str]) -> dict[str, str]:
    """Return, by criterion, why what is said of it says nothing; words that stand under several criteria are none of theirs."""
    said: dict[str, list[str]] = {}
    usable = [verdict for verdict in verdicts if verdict.answer is not Answer.ERROR]
    for verdict in usable:
        said.setdefault(plain(verdict.reasoning), []).append(verdict.criterion)
    found = {}
    for verdict in usable:
        twins = {words: names[0] if names[0] != verdict.criterion else names[-1] for words, names in said.items() if len(names) > 1}
        if reason := what_is_empty(verdict.reasoning, prompt, {**others, **twins}):
            found[verdict.criterion] = reason
    return found


def unusable(criterion: str, reason: str) -> Verdict:
    """Return the verdict on a criterion without a usable answer."""
    return Verdict(criterion=criterion, answer=Answer.ERROR, reasoning=reason)


@dataclass
class _Reading:
    """A reply that is being read.

    Args:
        quoted: what the prompt itself has in the form of verdicts; form: what it calls a lapse in its form.
    """

    exchanges: int
    repairs: list[str] = field(default_factory=list)
    quoted: list[tuple[str, str]] = field(default_factory=list)
    form: set[str] = field(default_factory=set)

    def items(self, text: str, schema: Mapping[str, Any], alone: str | None) -> list[dict[str, Any]]:
        """Return the verdicts as they stand in the reply.

        Raises:
            InvalidOutputError: it does not hold the JSON that was asked for.
        """
        keys = ", ".join(schema["required"])
        try:
            whole = json.loads(text)
        except (ValueError, RecursionError) as broken:
            said = "holds several that differ, or only what it quotes" if text == AMBIGUOUS else f"holds none: {text.strip()[:SHOWN]!r}"
            raise InvalidOutputError(f"The judge's reply must hold one JSON object with the keys {keys}; it {said}.") from broken
        if not isinstance(whole, dict) or not set(schema["required"]) <= set(whole):
            raise InvalidOutputError(f"The judge's reply must hold one JSON object with the keys {keys}; it holds {text.strip()[:SHOWN]!r}.")
        if alone:
            return [{"criterion": alone} | whole]
        if set(whole) - {"verdicts"}:
            self.repairs.append("extra keys")
        listed = whole["verdicts"]
        if isinstance(listed, dict) and TWICE not in listed:
            listed = [{"criterion": name} | item for name, item in listed.items() if isinstance(item, dict)]
        if not isinstance(listed, list):
            raise InvalidOutputError(f"`verdicts` in the judge's reply must have one verdict for each criterion; it is {str(listed)[:SHOWN]!r}.")
        return [item for item in listed if isinstance(item, dict)]

    def verdict(self, criterion: str, items: Sequence[Mapping[str, Any]]) -> Verdict:
        """Return the verdict on a criterion."""
        answers = [item for item in items if _names(item.get("criterion"), criterion)]
        if not answers or any(item != answers[0] for item in answers):
            return unusable(criterion, f"The judge answered this criterion {len(answers)} times.")
        item = answers[0]
        answer, reasoning, cited = self._answer(item), item.get("reasoning"), self._cited(item.get("cited", []))
        if answer is None or TWICE in item:
            return unusable(criterion, f"The judge answered {str(item.get('answer'))[:SHOWN]!r}; allowed are YES, NO and NA, once.")
        if not isinstance(reasoning, str):
            return unusable(criterion, "The judge gave no reasoning.")
        if _said(item) in self.quoted:
            return unusable(criterion, "The judge repeats what stands in the prompt.")
        if cited is None:
            return unusable(criterion, f"The judge cites {str(item.get('cited'))[:SHOWN]!r}; cited are numbers of exchanges.")
        if missing := [number for number in cited if not 1 <= number <= self.exchanges]:
            return unusable(criterion, f"The judge cites exchanges {missing[:5]}; there are {self.exchanges}.")
        lapses = self._lapses(item.get("lapses"))
        if isinstance(lapses, str):
            return unusable(criterion, lapses)
        if not cited and not lapses:
            return unusable(criterion, "The judge cites no exchange; each answer rests on at least one.")
        if set(item) - {"criterion", "reasoning", "lapses", "cited", "answer"}:
            self.repairs.append("extra keys")
        return Verdict(criterion=criterion, answer=answer, reasoning=reasoning, lapses=lapses, cited=cited)

    def _answer(self, item: Mapping[str, Any]) -> Answer | None:
        said = item.get("answer")
        if not isinstance(said, str):
            return None
        answer = ANSWERS.get(_bare(said))
        if answer and said != answer:
            self.repairs.append("form of the answer")
        return answer

    def _lapses(self, listed: Any) -> list[Lapse] | str:
        """Return the lapses, each once, or what is wrong with them."""
        lapses = []
        for part in [] if listed is None else listed if isinstance(listed, list) else [listed]:
            numbers = self._cited([part.get("exchange")]) if isinstance(part, dict) else None
            weight = _bare(str(part.get("weight"))).lower() if isinstance(part, dict) else None
            if numbers is None or weight not in WEIGHTS:
                return f"The judge lists the lapse {str(part)[:SHOWN]!r}; a lapse has a number `exchange`, `what`, and a `weight`: {', '.join(WEIGHTS)}."
            if not 1 <= numbers[0] <= self.exchanges:
                return f"The judge lists a lapse in exchange {numbers[0]}; there are {self.exchanges}."
            what = str(part.get("what") or "")
            if len(words(what)) < LAPSE_WORDS or plain(what) in self.form:
                return f"The judge lists a lapse in exchange {numbers[0]} and does not say what it is: {what[:SHOWN]!r}."
            lapses.append(Lapse(exchange=numbers[0], what=what, weight=WEIGHTS[weight]))
        return [lapse for place, lapse in enumerate(lapses) if lapse not in lapses[:place]]

    def _cited(self, cited: Any) -> list[int] | None:
        """Return the numbers of exchanges; none for what are none."""
        numbers = []
        for part in cited if isinstance(cited, list) else [cited]:
            if isinstance(part, str) and re.fullmatch(r"\s*[0-9]{1,6}\s*", part):
                self.repairs.append("form of the citations")
                numbers.append(int(part))
            elif isinstance(part, int) and not isinstance(part, bool):
                numbers.append(part)
            else:
                return None
        if not isinstance(cited, list):
            self.repairs.append("form of the citations")
        return numbers


def _decided(rubric: Rubric, criterion: Criterion, verdict: Verdict, exchanges: int) -> Verdict:
    """Return a verdict with the answer that follows from its lapses."""
    if verdict.answer is Answer.ERROR:
        return verdict
    answer = decide(rubric, criterion, verdict.answer, verdict.lapses, exchanges)
    return verdict if answer is verdict.answer else verdict.model_copy(update={"answer": answer, "stated": verdict.answer})


def _bare(word: str) -> str:
    """Return a word in capitals, without what is put around it."""
    return word.strip(" \t\n.!*_`\"'").upper()


def _names(said: Any, criterion: str) -> bool:
    """Say whether a key `criterion` names one, alone or with its name after it."""
    return isinstance(said, str) and _bare(said.partition(":")[0]) == criterion


def _said(item: Mapping[str, Any]) -> tuple[str, str]:
    """Return what makes two verdicts the same words."""
    return _bare(str(item.get("answer"))), " ".join(str(item.get("reasoning")).split())
