"""The schema of a judge's reply, and its reading."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from core.errors import InvalidOutputError, TruncatedError
from core.judging.echo import Gram
from core.judging.empty_words import plain, runs_of, why_empty
from core.judging.lapses import decide
from core.judging.text_facts import words
from core.llm.chat import Reply
from core.llm.json_answers import AMBIGUOUS, TWICE, json_answer, own_objects
from core.packs.rubric import Criterion, Rubric
from core.records import Answer, Lapse, Verdict

ANSWERS = {"YES": Answer.YES, "NO": Answer.NO, "NA": Answer.NA, "N/A": Answer.NA}
Form = Literal["alone", "list", "object"]
"""The form of an answer: one verdict alone, a list of verdicts, or an object with a verdict under each criterion's id."""

WEIGHTS: dict[str, Literal["light", "grave"]] = {"light": "light", "grave": "grave"}
MIN_LAPSE_WORDS = 2
"""Words that the description of a lapse must have. A judge that must fill the list may write "none" or leave the description empty: these are no lapses."""
_FORM = re.compile(r'"what": "([^"\n]+)"')
"""The placeholder for a lapse's description in the form at the end of a prompt."""
MAX_SHOWN = 60
"""Characters of a judge's text that an error message quotes."""


@dataclass(frozen=True)
class Judgement:
    """The content of a judge's reply.

    Args:
        verdicts: one for each criterion that the judge was asked about, in that order.
        repaired: the faults of form in spite of which the reply was read, each once.
        empty: ids of the criteria whose verdict says nothing (core/judging/empty_words.py).
    """

    verdicts: list[Verdict]
    repaired: list[str]
    empty: frozenset[str] = frozenset()

    @property
    def in_reply(self) -> list[Verdict]:
        """The verdicts that the reply contains, including those that say nothing."""
        return [verdict for verdict in self.verdicts if verdict.answer is not Answer.ERROR or verdict.criterion in self.empty]

    @property
    def unusable(self) -> list[Verdict]:
        """The verdicts that are ERROR."""
        return [verdict for verdict in self.verdicts if verdict.answer is Answer.ERROR]


def answer_schema(criteria: Sequence[str], form: Form, exchanges: int, lapses: bool = False) -> dict[str, Any]:
    """Return the JSON schema of a judgement: reasoning first, the answer last.

    Each criterion has a required key, and each verdict cites at least one existing exchange, so that a server with constrained output cannot leave one out.
    Anthropic's server enforces the least number of citations and the exchange numbers; the greatest number of citations is only a description to it.

    Args:
        criteria: ids of the criteria that the judge is asked about.
        form: `object` has a key for each criterion. With `alone` one verdict is the whole answer. `list` is a list of verdicts, with the same schema for
            several calls that each ask about some of the criteria: Anthropic's and OpenAI's prompt caches hold only while the schema stays the same.
        exchanges: length of the transcript.
        lapses: whether each verdict lists the lapses that speak against the criterion.
    """
    number = {"type": "integer", "enum": list(range(1, exchanges + 1))}  # llama.cpp ignores `maximum`
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
    outer: dict[str, Any] = {"type": "object", "properties": {}, "required": ["verdicts"], "additionalProperties": False}
    if form == "list":
        return outer | {"properties": {"verdicts": {"type": "array", "items": verdict}}}
    one = {"$ref": "#/$defs/verdict"}  # defined once, because a schema is billed as a part of the prompt
    keyed = {"type": "object", "properties": dict.fromkeys(criteria, one), "required": list(criteria), "additionalProperties": False}
    return outer | {"properties": {"verdicts": keyed}, "$defs": {"verdict": verdict}}


def read_judgement(
    reply: Reply,
    criteria: Sequence[Criterion],
    exchanges: int,
    alone: bool = False,
    prompt: Sequence[str] = (),
    rubric: Rubric | None = None,
    others: Mapping[str, str] | None = None,
) -> Judgement:
    """Return a judge's reply as one verdict for each criterion that it was asked about, in that order.

    The reply is read leniently: text around its JSON, additional keys and "Yes" for YES are accepted and counted. A criterion gets ERROR if it is missing,
    answered in two ways or with another word, if its verdict cites no exchange or one that does not exist, says nothing (core/judging/empty_words.py), or
    occurs word for word in the prompt. Other criteria in the reply are ignored.

    Args:
        exchanges: length of the transcript.
        alone: whether the judge was asked about one criterion, and its verdict is the whole reply.
        prompt: the texts of the prompt.
        rubric: decides which lapses are forgiven; None leaves every answer as the judge gave it.
        others: criteria by the judge's earlier reasonings on them, in the form of `plain`.

    Raises:
        ModelError: the reply is truncated or does not contain the requested JSON.
    """
    if reply.finish == "length":
        raise TruncatedError("The judge's reply was cut off. Raise assessment.max_tokens.")
    schema = answer_schema([criterion.id for criterion in criteria], "alone" if alone else "object", exchanges, lapses=True)
    schema |= {"required": ["reasoning", "answer"]} if alone else {}  # the reply can be read without the other keys
    answer = json_answer(reply.text, schema, prompt)
    quoted = [_wording(item) for item in own_objects(prompt) if "answer" in item]
    reading = _Reading(exchanges, [*reply.repaired, *answer.repairs], quoted, {plain(what) for text in prompt for what in _FORM.findall(text)})
    items = reading.items(answer.text, schema, criteria[0].id if alone else None)
    verdicts = [reading.verdict(criterion.id, items) for criterion in criteria]
    empty = _empty(verdicts, runs_of(prompt), others or {})
    verdicts = [unusable(item.criterion, f"The judge's reasoning {empty[item.criterion]}.") if item.criterion in empty else item for item in verdicts]
    if rubric:
        verdicts = [_decided(rubric, criterion, verdict, exchanges) for criterion, verdict in zip(criteria, verdicts, strict=True)]
    return Judgement(verdicts, list(dict.fromkeys(reading.repairs)), frozenset(empty))


def _empty(verdicts: Sequence[Verdict], prompt: set[Gram], others: Mapping[str, str]) -> dict[str, str]:
    """Return, by criterion, why its verdict says nothing; the same reasoning under several criteria says nothing about any of them."""
    criteria_of: dict[str, list[str]] = {}
    usable = [verdict for verdict in verdicts if verdict.answer is not Answer.ERROR]
    for verdict in usable:
        criteria_of.setdefault(plain(verdict.reasoning), []).append(verdict.criterion)
    empty = {}
    for verdict in usable:
        twins = {words: names[0] if names[0] != verdict.criterion else names[-1] for words, names in criteria_of.items() if len(names) > 1}
        if reason := why_empty(verdict.reasoning, prompt, {**others, **twins}):
            empty[verdict.criterion] = reason
    return empty


def unusable(criterion: str, reason: str) -> Verdict:
    """Return the verdict on a criterion without a usable answer."""
    return Verdict(criterion=criterion, answer=Answer.ERROR, reasoning=reason)


@dataclass
class _Reading:
    """A reply that is being read.

    Args:
        repairs: the faults of form in spite of which it is read.
        quoted: wordings of the verdicts that the prompt itself contains.
        form: placeholders for a lapse's description in the prompt's form.
    """

    exchanges: int
    repairs: list[str] = field(default_factory=list)
    quoted: list[tuple[str, str]] = field(default_factory=list)
    form: set[str] = field(default_factory=set)

    def items(self, text: str, schema: Mapping[str, Any], alone: str | None) -> list[dict[str, Any]]:
        """Return the reply's verdicts, not yet checked.

        Args:
            text: the reply's JSON.
            alone: id of the only criterion, if its verdict is the whole reply.

        Raises:
            InvalidOutputError: the reply does not contain the requested JSON.
        """
        keys = ", ".join(schema["required"])
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as broken:
            fault = "holds several that differ, or only what it quotes" if text == AMBIGUOUS else f"holds none: {text.strip()[:MAX_SHOWN]!r}"
            raise InvalidOutputError(f"The judge's reply must hold one JSON object with the keys {keys}; it {fault}.") from broken
        if not isinstance(content, dict) or not set(schema["required"]) <= set(content):
            raise InvalidOutputError(f"The judge's reply must hold one JSON object with the keys {keys}; it holds {text.strip()[:MAX_SHOWN]!r}.")
        if alone:
            return [{"criterion": alone} | content]
        if set(content) - {"verdicts"}:
            self.repairs.append("extra keys")
        listed = content["verdicts"]
        if isinstance(listed, dict) and TWICE not in listed:
            listed = [{"criterion": name} | item for name, item in listed.items() if isinstance(item, dict)]
        if not isinstance(listed, list):
            raise InvalidOutputError(f"`verdicts` in the judge's reply must have one verdict for each criterion; it is {str(listed)[:MAX_SHOWN]!r}.")
        return [item for item in listed if isinstance(item, dict)]

    def verdict(self, criterion: str, items: Sequence[Mapping[str, Any]]) -> Verdict:
        """Return the verdict on a criterion; ERROR, with the reason, if it cannot be used."""
        answers = [item for item in items if _names(item.get("criterion"), criterion)]
        if not answers or any(item != answers[0] for item in answers):
            return unusable(criterion, f"The judge answered this criterion {len(answers)} times.")
        item = answers[0]
        answer, reasoning, cited = self._answer(item), item.get("reasoning"), self._cited(item.get("cited", []))
        if answer is None or TWICE in item:
            return unusable(criterion, f"The judge answered {str(item.get('answer'))[:MAX_SHOWN]!r}; allowed are YES, NO and NA, once.")
        if not isinstance(reasoning, str):
            return unusable(criterion, "The judge gave no reasoning.")
        if _wording(item) in self.quoted:
            return unusable(criterion, "The judge repeats a verdict of the prompt.")
        if cited is None:
            return unusable(criterion, f"The judge cites {str(item.get('cited'))[:MAX_SHOWN]!r}; allowed are numbers of exchanges.")
        if missing := [number for number in cited if not 1 <= number <= self.exchanges]:
            return unusable(criterion, f"The judge cites exchanges {missing[:5]}; there are {self.exchanges}.")
        lapses = self._lapses(item.get("lapses"))
        if isinstance(lapses, str):
            return unusable(criterion, lapses)
        if not cited and not lapses:
            return unusable(criterion, "The judge cites no exchange; each answer must cite at least one.")
        if set(item) - {"criterion", "reasoning", "lapses", "cited", "answer"}:
            self.repairs.append("extra keys")
        return Verdict(criterion=criterion, answer=answer, reasoning=reasoning, lapses=lapses, cited=cited)

    def _answer(self, item: Mapping[str, Any]) -> Answer | None:
        word = item.get("answer")
        if not isinstance(word, str):
            return None
        answer = ANSWERS.get(_bare(word))
        if answer and word != answer:
            self.repairs.append("form of the answer")
        return answer

    def _lapses(self, listed: Any) -> list[Lapse] | str:
        """Return the lapses, each once, or a sentence on the first fault in them."""
        lapses = []
        for part in [] if listed is None else listed if isinstance(listed, list) else [listed]:
            numbers = self._cited([part.get("exchange")]) if isinstance(part, dict) else None
            weight = _bare(str(part.get("weight"))).lower() if isinstance(part, dict) else None
            if numbers is None or weight not in WEIGHTS:
                return f"The judge lists the lapse {str(part)[:MAX_SHOWN]!r}; a lapse has a number `exchange`, `what`, and a `weight`: {', '.join(WEIGHTS)}."
            if not 1 <= numbers[0] <= self.exchanges:
                return f"The judge lists a lapse in exchange {numbers[0]}; there are {self.exchanges}."
            what = str(part.get("what") or "")
            if len(words(what)) < MIN_LAPSE_WORDS or plain(what) in self.form:
                return f"The judge lists a lapse in exchange {numbers[0]} and does not say what it is: {what[:MAX_SHOWN]!r}."
            lapses.append(Lapse(exchange=numbers[0], what=what, weight=WEIGHTS[weight]))
        return [lapse for place, lapse in enumerate(lapses) if lapse not in lapses[:place]]

    def _cited(self, cited: Any) -> list[int] | None:
        """Return the cited numbers; None if a citation is not a number."""
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
    """Return a word in capitals, without the punctuation and Markdown around it."""
    return word.strip(" \t\n.!*_`\"'").upper()


def _names(value: Any, criterion: str) -> bool:
    """Return whether the value of a key `criterion` is a criterion's id, alone or followed by a colon and its name."""
    return isinstance(value, str) and _bare(value.partition(":")[0]) == criterion


def _wording(item: Mapping[str, Any]) -> tuple[str, str]:
    """Return a verdict's answer and reasoning in a form in which equal words are equal."""
    return _bare(str(item.get("answer"))), " ".join(str(item.get("reasoning")).split())
