"""The scripted assistant: answers whose quality is a dial, so that good and bad conversations come out."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace

from core.fingerprint import seed_of
from core.llm.chat import ChatRequest, Message
from core.packs.phrases import AssistantScript, ScriptedPhrases
from core.scripted.lexicon import Lexicon

RULES = ("Take up each topic by its name.", "Name the feeling before anything else.", "Ask one question at most.", "Offer one small step with a time.")
"""What the scripted designer adds to a prompt."""
RULE_HELPS = 0.15
"""By how much each of them raises the quality."""


def answer(phrases: ScriptedPhrases, lexicon: Lexicon, request: ChatRequest, quality: tuple[float, float]) -> str:
    """Answer the last message of a request.

    Each thing that a good answer does (take up every topic, acknowledge the feeling, refer back, …) is done with a probability
    equal to the conversation's quality, which the rules raise that the scripted designer adds to a prompt.

    Args:
        quality: range from which the conversation's quality is drawn, by its name; 0 is dull, 1 is good.
    """
    drawn = random.Random(seed_of("quality", request.item)).uniform(*quality)
    level = min(1.0, drawn + RULE_HELPS * sum(rule in request.system for rule in RULES))
    kept = request.messages[: len(request.messages) - request.volatile]  # without the note
    said = [message.content for message in kept if message.role == "user"]
    answered = [message.content for message in kept if message.role == "assistant"]
    draw = random.Random(seed_of("answer", request.seed, len(said)))

    def well() -> bool:
        return draw.random() < level

    message, script = said[-1], phrases.assistant
    if lexicon.has("crisis", message):
        return " ".join([draw.choice(script.crisis), *_topic_parts(draw, phrases, list(lexicon.topics(message))[:1], False)]) if well() else _dull(draw, script)
    topics = [topic for topic in lexicon.topics(message) if topic in phrases.topics]
    taken_up = [topic for topic in topics if well()]
    limits = script.limits if lexicon.in_episode(message) else []
    if not taken_up and not limits:
        return _dull(draw, script)
    parts = [(_unused(draw, limits or script.openers, answered)) if well() else script.formulaic_openers[0]]
    if lexicon.has("feeling", message) and well():
        parts.append(draw.choice(script.validations))
    parts += _topic_parts(draw, phrases, taken_up, lexicon.has("stuck", message) and well())
    if looking_back := _looking_back(draw, phrases, lexicon, said[:-1], answered, topics):
        parts += looking_back if well() else []
    if not well():
        parts.append(draw.choice(script.assertions))
    parts.append(draw.choice(script.closings if well() and draw.random() < 0.7 else script.questions))
    if level < script.harm_below and draw.random() < script.harm_share:
        parts.append(draw.choice(script.harms))
    return " ".join(parts)


def mended(phrases: ScriptedPhrases, lexicon: Lexicon, request: ChatRequest) -> str:
    """Answer as the repairer: a message as well as the phrases can, or that the next one follows."""
    if request.schema:
        return json.dumps({"reasoning": "Scripted users go on with their own matters.", "follows": True})
    exchanges = request.inputs["exchanges"]
    said = [message for exchange in exchanges for message in (Message("user", exchange.user), Message("assistant", exchange.assistant))]
    return answer(phrases, lexicon, replace(request, role="assistant", messages=tuple(said[:-1]), volatile=0), (1.0, 1.0))


def earlier_suggestion(lexicon: Lexicon, answered: Sequence[str]) -> bool:
    """Say whether one of the earlier answers suggested something."""
    return any(lexicon.has("suggestion", text) for text in answered)


def _topic_parts(draw: random.Random, phrases: ScriptedPhrases, topics: Sequence[str], experiment: bool) -> list[str]:
    parts = [draw.choice(phrases.topics[topic].replies) for topic in topics]
    if experiment and topics:
        parts.append(draw.choice(phrases.topics[topics[0]].experiments))
    return parts


def _looking_back(
    draw: random.Random, phrases: ScriptedPhrases, lexicon: Lexicon, earlier: Sequence[str], answered: Sequence[str], topics: Sequence[str]
) -> list[str]:
    known = [topic for topic in topics if any(topic in lexicon.topics(text) for text in earlier)]
    if not known:
        return []
    about = phrases.topics[known[0]].about
    script = phrases.assistant
    sentences = script.follow_ups if earlier_suggestion(lexicon, answered) else script.references
    return [draw.choice(sentences).replace("{about}", about)]


def _unused(draw: random.Random, beginnings: Sequence[str], answered: Sequence[str]) -> str:
    return draw.choice([text for text in beginnings if not any(earlier.startswith(text) for earlier in answered)] or beginnings)


def _dull(draw: random.Random, script: AssistantScript) -> str:
    return " ".join([script.formulaic_openers[0], *draw.sample(script.platitudes, 3), draw.choice(script.questions)])
