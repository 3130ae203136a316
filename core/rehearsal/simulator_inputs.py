"""What the templates of the user simulator receive: of the persona, and for one message."""

from typing import Any

from core.fingerprint import seed_of
from core.packs.pack import Pack
from core.packs.programs import LANGUAGE, Program
from core.records import Persona
from core.rehearsal.course import Steering


def brief_inputs(pack: Pack, persona: Persona) -> dict[str, Any]:
    """Return the template inputs of the user simulator's stable instructions."""
    dimensions = pack.taxonomy.dimensions
    return {
        "persona": persona.model_dump(),
        "topics": [topic.model_dump() for topic in persona.topics],
        "flaws": _described(pack, persona),
        "dimensions": {name: {"value": value, "description": dimensions[name][value].description} for name, value in persona.dimensions.items()},
        "trajectory": {"value": persona.trajectory, "description": dimensions["trajectory"][persona.trajectory].description},
        "life": persona.life,
        "programs": [{**program.head.model_dump(), "text": program.text} for program in programs_of(pack, persona)],
    }


def programs_of(pack: Pack, persona: Persona) -> list[Program]:
    """Return one program for each of the persona's topics that has programs in its programming language."""
    programs = []
    for topic in persona.topics:
        key = (topic.subtopic, persona.dimensions.get(LANGUAGE))
        suitable = [program for program in pack.programs if (program.head.subtopic, program.head.language) == key]
        if suitable:
            programs.append(suitable[seed_of("program", pack.name, persona.seed, topic.subtopic) % len(suitable)])
    return programs


def steering_inputs(pack: Pack, persona: Persona, steering: Steering) -> dict[str, Any]:
    """Return the template inputs of the note for one message."""
    descriptions = {topic.subtopic: topic.description for topic in persona.topics}
    return {
        **vars(steering),
        "mood": pack.taxonomy.moods[steering.mood],
        "topics": [{"subtopic": name, "description": descriptions[name], "news": steering.news.get(name, "")} for name in steering.topics],
        "flaws": [flaw for flaw in _described(pack, persona) if flaw["name"] in steering.flaws],
    }


def _described(pack: Pack, persona: Persona) -> list[dict[str, Any]]:
    kinds = pack.flaws.kinds
    return [{"name": flaw.name, "description": flaw.description, "notes": flaw.notes, "examples": kinds[flaw.name].examples} for flaw in persona.flaws]
