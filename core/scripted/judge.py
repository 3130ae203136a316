"""The scripted judge: it decides each criterion by a measure of the text and cites exchanges; of two conversations, it prefers the one that meets more."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from core.llm.chat import ChatRequest
from core.packs.phrases import Rule, ScriptedPhrases
from core.records import Exchange
from core.scripted.lexicon import Lexicon
from core.scripted.measures import MEASURES, Measured, Reading


def judgement(phrases: ScriptedPhrases, lexicon: Lexicon, request: ChatRequest) -> str:
    """Return a judgement or a preference as JSON, in the form required of every judge.

    Args:
        request: its inputs have the exchanges or the two conversations, and the criteria.
    """
    if "conversations" in request.inputs:
        return _preference(phrases, lexicon, request)
    reading = _reading(phrases, lexicon, request.inputs["exchanges"])
    numbers = [exchange.exchange_number for exchange in reading.exchanges]
    verdicts = []
    for criterion in request.inputs["criteria"]:
        rule = phrases.judge[criterion["id"]]
        measured = MEASURES[rule.measure](reading)
        answer, reasoning = _answer(rule, measured, na_allowed=criterion["na"] == "allowed")
        reasoning = f"{reasoning} ({criterion['id']})"  # two criteria may have the same measure
        missed = measured.cited if answer == "NO" and criterion["forgives"] else ()  # the bound allows for lapses already, so the missed ones are grave
        lapses = [{"exchange": number, "what": f"'{rule.measure.replace('_', ' ')}' is not met", "weight": "grave"} for number in missed]
        verdicts.append({"criterion": criterion["id"], "reasoning": reasoning, "lapses": lapses, "cited": list(measured.cited) or numbers, "answer": answer})
    if request.inputs["alone"]:
        return json.dumps({name: value for name, value in verdicts[0].items() if name != "criterion"})
    if request.inputs["listed"]:
        return json.dumps({"verdicts": verdicts})
    return json.dumps({"verdicts": {verdict.pop("criterion"): verdict for verdict in verdicts}})


def _preference(phrases: ScriptedPhrases, lexicon: Lexicon, request: ChatRequest) -> str:
    """Return a preference for the conversation that meets more gates or, with equally many gates, more other criteria."""
    criteria, pair = request.inputs["criteria"], request.inputs["conversations"]
    first, second = (_met(phrases, criteria, _reading(phrases, lexicon, conversation["exchanges"])) for conversation in pair)
    better = "tie" if first == second else "A" if first > second else "B"
    return json.dumps({"reason": f"Measured only, not read: A meets {sum(first)} criteria and B {sum(second)}.", "better": better})


def _met(phrases: ScriptedPhrases, criteria: Sequence[Mapping[str, Any]], reading: Reading) -> tuple[int, int]:
    """Return how many gates a conversation meets, and how many other criteria."""
    rules = [(phrases.judge[criterion["id"]], criterion["na"] == "allowed", criterion["gate"]) for criterion in criteria]
    met = [gate for rule, na_allowed, gate in rules if _answer(rule, MEASURES[rule.measure](reading), na_allowed)[0] != "NO"]
    return met.count(True), met.count(False)


def _reading(phrases: ScriptedPhrases, lexicon: Lexicon, exchanges: Sequence[Any]) -> Reading:
    return Reading([Exchange.model_validate(exchange) for exchange in exchanges], lexicon, phrases.length_ratio)


def _answer(rule: Rule, measured: Measured, na_allowed: bool) -> tuple[str, str]:
    """Return the answer to a criterion, YES, NO or NA, and the reasoning."""
    name = rule.measure.replace("_", " ")
    if measured.value is None:
        return "NA" if na_allowed else "YES", f"Measured only, not read: no occasion for '{name}' in this transcript" + (
            "." if na_allowed else ", so there is nothing to object to."
        )
    bound, within = (
        (f"at least {rule.at_least:.2f}", measured.value >= rule.at_least - 1e-9)
        if rule.at_least is not None
        else (f"at most {rule.at_most:.2f}", measured.value <= (rule.at_most or 0) + 1e-9)
    )
    where = ", ".join(str(number) for number in measured.cited[:8])
    return ("YES" if within else "NO"), f"Measured only, not read: '{name}' is {measured.value:.2f}, and {bound} is required; see exchanges {where}."
