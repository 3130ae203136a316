"""Gaps in a pack that loads: criteria without failing examples, topics that never occur, gates that nothing triggers, prompts with unused inputs."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from core.errors import PackError
from core.judging.facts import measure
from core.judging.judge_call import asked_of
from core.judging.ordinary_english import FILE
from core.judging.text_facts import sentences
from core.packs.pack import Pack
from core.packs.prompts import NOTE, SUPPLIED
from core.paths import find_data
from core.records import Exchange, Persona
from core.rehearsal.assistant_note import note_inputs
from core.rehearsal.course import steer
from core.rehearsal.personas import episodes_met, sample_persona
from core.rehearsal.simulator_inputs import brief_inputs, steering_inputs
from core.text_files import read_text

PERSONAS = 400
"""Personas that are drawn to see which topics and flaws occur."""
EPISODE_PERSONAS = 2000
"""Personas that are drawn to see which episodes occur: more, because about three in ten have an episode, one of dozens."""
MAX_ORDINARY = 0.1
"""Share of ordinary sentences that the pattern of a figure of speech may match; no real figure of speech is so frequent."""
EXAMPLES = (3, 8)
"""Least and greatest number of a criterion's examples."""
NO, YES = re.compile(r"\bNO\b"), re.compile(r"\bYES\b")
EXAMPLE = re.compile(r"^- ", re.MULTILINE)


def review_pack(pack: Pack) -> list[str]:
    """Return the gaps that a person should look at, each as a sentence; empty for a pack without gaps."""
    people = [sample_persona(pack, seed) for seed in range(PERSONAS)]
    return [*_criteria(pack), *_topics(pack, people), *_flaws(pack, people), *_episodes(pack), *_gates(pack), *_figures(pack), *_prompts(pack)]


def rendered_prompts(pack: Pack) -> dict[str, str]:
    """Return each prompt as a model may read it, with a persona of the pack and an invented conversation of two exchanges."""
    persona = sample_persona(pack, 1)
    exchanges = [Exchange(exchange_number=number, user=f"The user's message {number}.", assistant=f"The assistant's answer {number}.") for number in (1, 2)]
    plain = [exchange.model_dump() for exchange in exchanges]
    criteria = [asked_of(pack.rubric, criterion) for criterion in pack.rubric.criteria.values()]
    first = criteria[0]
    inputs = {
        "user_simulator": brief_inputs(pack, persona),
        "user_steering": steering_inputs(pack, persona, steer(pack, persona, 2, 1)),
        "assessor": {"exchanges": plain, "facts": measure(exchanges, pack.tics)},
        "assessor_question": {"exchanges": plain, "criteria": criteria, "alone": False, "listed": False},
    }
    texts = {name: prompt.render(**inputs.get(name, {})) for name, prompt in pack.prompts.items() if name in inputs or not prompt.inputs}
    texts |= {name: pack.instructions(name, persona.country) for name in ("assistant", "system")}
    if pack.note:
        texts[NOTE] = pack.note.render(**note_inputs(pack, exchanges, "The user's message 3."))
    if pack.repair:
        findings = [{"id": first["id"], "name": first["name"], "text": first["text"], "reasoning": "The judge's reason."}]
        texts["repair"] = pack.repair.render(exchanges=plain, answer=exchanges[-1].assistant, findings=findings, next_message="The user's next message.")
    return texts


def _criteria(pack: Pack) -> list[str]:
    faults = []
    for key, criterion in pack.rubric.criteria.items():
        _, _, examples = criterion.text.partition("**Examples**")
        lines = [line for line in examples.splitlines() if EXAMPLE.match(line)]
        if not EXAMPLES[0] <= len(lines) <= EXAMPLES[1]:
            faults.append(f"Criterion {key} has {len(lines)} examples below **Examples**; {EXAMPLES[0]} to {EXAMPLES[1]} let a judge see where the border is.")
        for what, pattern in (("fails", NO), ("passes", YES)):
            if lines and not any(pattern.search(line) for line in lines):
                faults.append(f"Criterion {key} has no example that {what}. A judge that sees only one kind is biased towards it.")
        if criterion.head.na == "allowed" and "**NA**" not in criterion.text:
            faults.append(f"Criterion {key} allows NA and does not say when. Write a paragraph that begins with **NA**.")
    return faults


def _topics(pack: Pack, people: Sequence[Persona]) -> list[str]:
    met = {topic.subtopic for persona in people for topic in persona.topics}
    unmet = [name for group in pack.taxonomy.topics.values() for name in group.subtopics if name not in met]
    return [f"Topic {name} occurs for none of {PERSONAS} personas; raise its weight or look at its not_with." for name in unmet]


def _flaws(pack: Pack, people: Sequence[Persona]) -> list[str]:
    met = {flaw.name for persona in people for flaw in persona.flaws}
    return [f"Flaw {name} occurs for none of {PERSONAS} personas; raise its weight or look at its not_with." for name in pack.flaws.kinds if name not in met]


def _episodes(pack: Pack) -> list[str]:
    """Return the episodes that never occur, and whether episodes take a greater share of the messages than the pack allows."""
    rules = pack.episodes
    drawn = [episodes_met(pack, seed) for seed in range(EPISODE_PERSONAS)]
    met = {episode.name for _, episodes in drawn for episode in episodes}
    gaps = [
        f"Episode {name} occurs for none of {EPISODE_PERSONAS:,} personas; raise its weight or look at its not_with."
        for name in rules.episodes
        if name not in met
    ]
    taken = sum(len(episode.beats) for _, episodes in drawn for episode in episodes) / sum(exchanges for exchanges, _ in drawn)
    if taken > rules.most_of_messages:
        gaps.append(
            f"Episodes take {100 * taken:.1f} % of the messages, and episodes.yaml allows {100 * rules.most_of_messages:.0f} % (most_of_messages). Lower share."
        )
    return gaps


def _gates(pack: Pack) -> list[str]:
    gates = [key for key, criterion in pack.rubric.criteria.items() if criterion.head.gate]
    gaps = [] if gates else ["The rubric has no gate: nothing that a model does is bad enough to fail by itself. Is there nothing that must never happen?"]
    if gates and not pack.episodes.episodes:
        gaps.append(f"Nothing can trigger the gates {', '.join(gates)}: there is no episodes.yaml. Write the edge cases in which they may fail.")
    gaps += [
        f"Gate {key} names no clauses in its front matter, so nobody sees which of its branches are rehearsed." for key in gates if not clauses_of(pack, key)
    ]
    for clause, (text, exercised) in sorted(exercised_clauses(pack).items()):
        if not exercised:
            gaps.append(f"Clause {clause} ({text.rstrip('.')}) is exercised by no episode and no subtopic. Write one, or name the clause in an existing one.")
    return gaps


def _figures(pack: Pack) -> list[str]:
    """Return the figures of speech whose patterns match too many ordinary sentences."""
    ordinary = sentences(read_text(find_data(FILE), PackError))
    matches = Counter(name for sentence in ordinary for name in pack.tics.search(sentence))
    return [
        f"The pattern of {name} in tics.yaml finds {100 * (count / len(ordinary)):.0f} % of the sentences of ordinary English; make it narrower."
        for name, count in matches.items()
        if count > MAX_ORDINARY * len(ordinary)
    ]


def clauses_of(pack: Pack, criterion: str) -> dict[str, str]:
    """Return the clauses of a criterion by full name, such as GA1.exam, each a sentence on one way to fail it."""
    return {f"{criterion}.{name}": text for name, text in pack.rubric.criteria[criterion].head.clauses.items()}


def exercised_clauses(pack: Pack) -> dict[str, tuple[str, list[str]]]:
    """Return each clause of the rubric, by full name, with its sentence and the episodes and subtopics that exercise it."""
    exercises = {name: kind.clauses for name, kind in pack.episodes.episodes.items()}
    exercises |= {name: set(item.exercises) for group in pack.taxonomy.topics.values() for name, item in group.subtopics.items()}
    clauses = {clause: text for key in pack.rubric.criteria for clause, text in clauses_of(pack, key).items()}
    return {clause: (text, [name for name, exercised in exercises.items() if clause in exercised]) for clause, text in clauses.items()}


def _prompts(pack: Pack) -> list[str]:
    files = {  # the content of these files reaches a model only through the input of this name
        "episode": pack.episodes.episodes,
        "event": pack.life.events,
        "life": pack.life.facts or pack.life.countries,
        "programs": pack.programs,
        "services": pack.services,
        "tics": pack.tics.figures,
    }
    available = {name for name, content in files.items() if content}
    needed_by: Mapping[str, set[str]] = {
        "user_simulator": {"persona", "topics", "flaws"} | available & {"life", "programs"},
        "user_steering": {"topics", "flaws", "cooperation", "mood", "may_end"} | available & {"episode", "event"},
        "assistant": available & {"services", "tics"},
        "system": available & {"services"},
        "assessor": {"exchanges", "facts"},
        "assessor_question": {"criteria"},
    }
    faults = [
        f"prompts/{pack.name}/{name}.md does not use {', '.join(sorted(lacking))} (its inputs are {', '.join(sorted(SUPPLIED[name]))})."
        for name, needed in needed_by.items()
        if (lacking := needed - pack.prompts[name].inputs)
    ]
    faults += [
        f"prompts/{pack.name}/{name}.md names services, and config/domains/{pack.name}/services.yaml does not exist: their place in the prompt stays empty."
        for name in ("assistant", "system")
        if pack.services is None and "services" in pack.prompts[name].inputs and "if services" not in pack.prompts[name].text
    ]
    if pack.repair is None:
        faults.append(f"prompts/{pack.name}/repair.md does not exist: transcripts that almost passed cannot be repaired.")
    if not pack.intended_use:
        faults.append(f"config/domains/{pack.name}/intended-use.md does not exist: the cards of datasets and models cannot say what they are for.")
    return faults
