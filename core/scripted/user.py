"""The scripted user: messages composed from the persona and the steering of each message."""

import json
import random

from core.judging.text_facts import words
from core.llm.chat import ChatRequest
from core.packs.pack import Pack
from core.packs.phrases import ScriptedPhrases
from core.records import Persona
from core.rehearsal.course import Steering, beat_at


def user_message(pack: Pack, phrases: ScriptedPhrases, request: ChatRequest) -> str:
    """Return a user message as JSON `{message, done}`.

    Args:
        request: its inputs have the persona, the steering and the exchanges so far.
    """
    persona: Persona = request.inputs["persona"]
    steering: Steering = request.inputs["steering"]
    earlier = " ".join(exchange.user for exchange in request.inputs["exchanges"])
    draw = random.Random(request.seed)
    script = phrases.user
    parts = [draw.choice(script.first_openers if steering.exchange_number == 1 else script.later_openers)]
    if steering.exchange_number > 1 and steering.cooperation in script.reactions:
        parts.append(draw.choice(script.reactions[steering.cooperation]))
    for topic in steering.topics:
        about = phrases.topics[topic].about
        if about in earlier or any(sentence in earlier for sentence in phrases.topics[topic].says):
            parts.append(draw.choice(script.resumed).replace("{about}", about))
        parts.append(_unused(draw, phrases.topics[topic].says, earlier))
    if beat := beat_at(persona, steering.exchange_number):
        episode = next(item for item in persona.episodes if beat in item.beats)
        episode_script = script.episodes[episode.name]
        if beat.part == "plays":  # the reply to the assistant comes before anything else
            parts.insert(0, draw.choice(episode_script.plays[episode.variant]))
        else:
            parts.insert(1, draw.choice(episode_script.arrives))
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
    """Return a message's parts, cut at the end or extended by sentences about its topics until the length fits.

    Args:
        parts: sentences of the message.
        more: further sentences of each topic.
        allowed: minimum and maximum words of a message in the writing style.
    """
    low, high = allowed
    while len(parts) > 2 and len(words(" ".join(parts))) > high:
        parts = parts[:-1]
    spare = [sentence for sentences in more for sentence in sentences if sentence not in parts]
    draw.shuffle(spare)
    while spare and len(words(" ".join(parts))) < low:
        parts = [*parts, spare.pop()]
    return parts


def _unused(draw: random.Random, sentences: list[str], earlier: str) -> str:
    unused = [sentence for sentence in sentences if sentence not in earlier]
    return draw.choice(unused or sentences)
