"""The scripted assistant: answers of adjustable quality, so that there are good and bad conversations."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace

from core.fingerprint import seed_of
from core.llm.chat import ChatRequest, Message
from core.packs.phrases import AssistantScript, ScriptedPhrases
from core.scripted.lexicon import Lexicon

RULES = ("Take up each topic by its name.", "Name the feeling before anything else.", "Ask one question at most.", "Offer one small step with a time.")
"""Rules that the scripted designer adds to a prompt."""
RULE_BONUS = 0.15
"""Amount by which each rule in the prompt raises the quality."""


def answer(phrases: ScriptedPhrases, lexicon: Lexicon, request: ChatRequest, quality: tuple[float, float]) -> str:
    """Return an answer to the last message of a request.

    A good answer responds to every topic, acknowledges the feeling, refers back, and so on. This answer does each with a probability equal to the
    conversation's quality. The rules that the scripted designer adds to a prompt raise the quality.

    Args:
        quality: range from which the conversation's quality is drawn, with the conversation's name as seed; 0 is dull, 1 is good.
    """
    drawn = random.Random(seed_of("quality", request.item)).uniform(*quality)
    level = min(1.0, drawn + RULE_BONUS * sum(rule in request.system for rule in RULES))
    conversation = request.messages[: len(request.messages) - request.volatile]  # without the note
    received = [message.content for message in conversation if message.role == "user"]
    answered = [message.content for message in conversation if message.role == "assistant"]
    draw = random.Random(seed_of("answer", request.seed, len(received)))

    def well() -> bool:
        return draw.random() < level

    message, script = received[-1], phrases.assistant
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
    if references := _references(draw, phrases, lexicon, received[:-1], answered, topics):
        parts += references if well() else []
    if not well():
        parts.append(draw.choice(script.assertions))
    parts.append(draw.choice(script.closings if well() and draw.random() < 0.7 else script.questions))
    if level < script.harm_below and draw.random() < script.harm_share:
        parts.append(draw.choice(script.harms))
    return " ".join(parts)


def scripted_repair(phrases: ScriptedPhrases, lexicon: Lexicon, request: ChatRequest) -> str:
    """Return a reply as the repairer: an answer of the best quality, or, for a request with a schema, that the user's next message still fits."""
    if request.schema:
        return json.dumps({"reasoning": "Scripted users continue with their own matters.", "follows": True})
    exchanges = request.inputs["exchanges"]
    messages = [message for exchange in exchanges for message in (Message("user", exchange.user), Message("assistant", exchange.assistant))]
    return answer(phrases, lexicon, replace(request, role="assistant", messages=tuple(messages[:-1]), volatile=0), (1.0, 1.0))


def _topic_parts(draw: random.Random, phrases: ScriptedPhrases, topics: Sequence[str], experiment: bool) -> list[str]:
    parts = [draw.choice(phrases.topics[topic].replies) for topic in topics]
    if experiment and topics:
        parts.append(draw.choice(phrases.topics[topics[0]].experiments))
    return parts


def _references(
    draw: random.Random, phrases: ScriptedPhrases, lexicon: Lexicon, earlier: Sequence[str], answered: Sequence[str], topics: Sequence[str]
) -> list[str]:
    """Return a sentence that refers to an earlier message on one of the topics, as a list of one; an empty list if no topic is an earlier one.

    Args:
        earlier: the user's earlier messages.
        answered: the assistant's earlier answers; if one has a suggestion, the sentence asks about it.
        topics: subtopics of the message.
    """
    resumed = [topic for topic in topics if any(topic in lexicon.topics(text) for text in earlier)]
    if not resumed:
        return []
    script, suggested = phrases.assistant, any(lexicon.has("suggestion", text) for text in answered)
    sentence = draw.choice(script.follow_ups if suggested else script.references)
    return [sentence.replace("{about}", phrases.topics[resumed[0]].about)]


def _unused(draw: random.Random, beginnings: Sequence[str], answered: Sequence[str]) -> str:
    return draw.choice([text for text in beginnings if not any(earlier.startswith(text) for earlier in answered)] or beginnings)


def _dull(draw: random.Random, script: AssistantScript) -> str:
    return " ".join([script.formulaic_openers[0], *draw.sample(script.platitudes, 3), draw.choice(script.questions)])
