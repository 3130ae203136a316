"""The scripted user: messages put together from the persona's topics, flaws, trajectory and this message's steering."""

import json
import random

from core.judging.text_facts import words
from core.llm.chat import ChatRequest
from core.packs.pack import Pack
from core.packs.phrases import ScriptedPhrases
from core.records import Persona
from core.rehearsal.course import Steering, beat_at


def user_message(pack: Pack, phrases: ScriptedPhrases, request: ChatRequest) -> str:
    """Answer a request for a user message as JSON `{message, done}`.

    Args:
        request: with the persona, the steering and the exchanges so far among its inputs.
    """
    persona: Persona = request.inputs["persona"]
    steering: Steering = request.inputs["steering"]
    said_before = " ".join(exchange.user for exchange in request.inputs["exchanges"])
    draw = random.Random(request.seed)
    script = phrases.user
    parts = [draw.choice(script.first_openers if steering.exchange_number == 1 else script.later_openers)]
    if steering.exchange_number > 1 and steering.cooperation in script.reactions:
        parts.append(draw.choice(script.reactions[steering.cooperation]))
    for topic in steering.topics:
        about = phrases.topics[topic].about
        if about in said_before or any(sentence in said_before for sentence in phrases.topics[topic].says):
            parts.append(draw.choice(script.resumed).replace("{about}", about))
        parts.append(_unsaid(draw, phrases.topics[topic].says, said_before))
    if beat := beat_at(persona, steering.exchange_number):
        episode = next(item for item in persona.episodes if beat in item.beats)
        said = script.episodes[episode.name]
        if beat.part == "plays":  # the answer comes before anything else
            parts.insert(0, draw.choice(said.plays[episode.variant]))
        else:
            parts.insert(1, draw.choice(said.arrives))
    if steering.event:
        parts.insert(1, steering.event)
    parts.append(draw.choice(script.feelings[steering.mood]))
    parts += [draw.choice(script.flaws[flaw]) for flaw in steering.flaws]
    if draw.random() < script.stuck_share:
        parts.append(draw.choice(script.stuck))
    parts = _to_length(draw, parts, [phrases.topics[topic].says for topic in steering.topics], _length_range(pack, persona))
    done = steering.may_end and steering.exchange_number >= steering.target_exchanges
    if done:
        parts.append(draw.choice(script.goodbyes))
    return json.dumps({"message": " ".join(parts), "done": done})


def _length_range(pack: Pack, persona: Persona) -> tuple[int, int]:
    return pack.taxonomy.dimensions["writing_style"][persona.dimensions["writing_style"]].words or (0, 10_000)


def _to_length(draw: random.Random, parts: list[str], more: list[list[str]], allowed: tuple[int, int]) -> list[str]:
    """Cut a message's end, or say more of its topics, until its length suits the writing style."""
    low, high = allowed
    while len(parts) > 2 and len(words(" ".join(parts))) > high:
        parts = parts[:-1]
    spare = [sentence for sentences in more for sentence in sentences if sentence not in parts]
    draw.shuffle(spare)
    while spare and len(words(" ".join(parts))) < low:
        parts = [*parts, spare.pop()]
    return parts


def _unsaid(draw: random.Random, sentences: list[str], before: str) -> str:
    fresh = [sentence for sentence in sentences if sentence not in before]
    return draw.choice(fresh or sentences)
