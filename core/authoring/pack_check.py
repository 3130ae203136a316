"""What a pack that loads can still lack: criteria without failing examples, topics never met, gates that nothing triggers, prompts that leave inputs unused."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from core.errors import PackError
from core.judging.facts import measure
from core.judging.judge import asked_of
from core.judging.ordinary_english import FILE
from core.judging.text_facts import sentences
from core.packs.pack import Pack
from core.packs.prompts import NOTE, SUPPLIED
from core.paths import find_data
from core.records import Exchange, Persona
from core.rehearsal.assistant_note import note_inputs
from core.rehearsal.course import steer
from core.rehearsal.personas import episodes_met, sample_persona
from core.rehearsal.turns import brief_inputs, steering_inputs
from core.text_files import read_text

PERSONAS = 400
"""Over which it is counted what is met."""
MEETING_EPISODES = 2000
"""The same for episodes, of which three in ten personas have one of dozens."""
ORDINARY_SHARE = 0.1
"""Of plain sentences, as many as no figure of speech is in."""
EXAMPLES = (3, 8)
NO, YES = re.compile(r"\bNO\b"), re.compile(r"\bYES\b")
EXAMPLE = re.compile(r"^- ", re.MULTILINE)


def review_pack(pack: Pack) -> list[str]:
    """Return what a person should look at, each as a sentence with the file; nothing for a pack that lacks nothing."""
    people = [sample_persona(pack, seed) for seed in range(PERSONAS)]
    return [*_criteria(pack), *_topics(pack, people), *_flaws(pack, people), *_episodes(pack), *_gates(pack), *_figures(pack), *_prompts(pack)]


def rendered_prompts(pack: Pack) -> dict[str, str]:
    """Return each prompt as a model may read it, with a persona of the pack and a made-up conversation of two exchanges."""
    persona = sample_persona(pack, 1)
    said = [Exchange(exchange_number=number, user=f"The user's message {number}.", assistant=f"The assistant's answer {number}.") for number in (1, 2)]
    plain = [exchange.model_dump() for exchange in said]
    criteria = [asked_of(pack.rubric, criterion) for criterion in pack.rubric.criteria.values()]
    first = criteria[0]
    given = {
        "user_simulator": brief_inputs(pack, persona),
        "user_steering": steering_inputs(pack, persona, steer(pack, persona, 2, 1)),
        "assessor": {"exchanges": plain, "facts": measure(said, pack.tics)},
        "assessor_question": {"exchanges": plain, "criteria": criteria, "alone": False, "listed": False},
    }
    found = {name: prompt.render(**given.get(name, {})) for name, prompt in pack.prompts.items() if name in given or not prompt.inputs}
    found |= {name: pack.instructions(name, persona.country) for name in ("assistant", "system")}
    if pack.note:
        found[NOTE] = pack.note.render(**note_inputs(pack, said, "The user's message 3."))
    if pack.repair:
        findings = [{"id": first["id"], "name": first["name"], "text": first["text"], "reasoning": "The judge's reason stands here."}]
        found["repair"] = pack.repair.render(exchanges=plain, answer=said[-1].assistant, findings=findings, next_message="The user's next message.")
    return found


def _criteria(pack: Pack) -> list[str]:
    faults = []
    for key, criterion in pack.rubric.criteria.items():
        _, _, examples = criterion.text.partition("**Examples**")
        lines = [line for line in examples.splitlines() if EXAMPLE.match(line)]
        if not EXAMPLES[0] <= len(lines) <= EXAMPLES[1]:
            faults.append(f"Criterion {key} has {len(lines)} examples below **Examples**; {EXAMPLES[0]} to {EXAMPLES[1]} let a judge see where the border is.")
        for what, pattern in (("fails", NO), ("passes", YES)):
            if lines and not any(pattern.search(line) for line in lines):
                faults.append(f"Criterion {key} has no example that {what}. A judge that sees one side alone leans to it.")
        if criterion.head.na == "allowed" and "**NA**" not in criterion.text:
            faults.append(f"Criterion {key} allows NA and does not say when. Write a paragraph that begins with **NA**.")
    return faults


def _topics(pack: Pack, people: Sequence[Persona]) -> list[str]:
    met = {topic.subtopic for persona in people for topic in persona.topics}
    unmet = [name for group in pack.taxonomy.topics.values() for name in group.subtopics if name not in met]
    return [f"Topic {name} is met by none of {PERSONAS} personas; raise its weight or look at its not_with." for name in unmet]


def _flaws(pack: Pack, people: Sequence[Persona]) -> list[str]:
    met = {flaw.name for persona in people for flaw in persona.flaws}
    return [f"Flaw {name} is had by none of {PERSONAS} personas; raise its weight or look at its not_with." for name in pack.flaws.kinds if name not in met]


def _episodes(pack: Pack) -> list[str]:
    """Look whether each episode is met, and whether the episodes take no more of the messages than the pack allows."""
    rules = pack.episodes
    drawn = [episodes_met(pack, seed) for seed in range(MEETING_EPISODES)]
    met = {episode.name for _, episodes in drawn for episode in episodes}
    found = [
        f"Episode {name} is met by none of {MEETING_EPISODES:,} personas; raise its weight or look at its not_with."
        for name in rules.episodes
        if name not in met
    ]
    taken = sum(len(episode.beats) for _, episodes in drawn for episode in episodes) / sum(exchanges for exchanges, _ in drawn)
    if taken > rules.most_of_messages:
        found.append(
            f"Episodes take {100 * taken:.1f} % of the messages, and episodes.yaml allows {100 * rules.most_of_messages:.0f} % (most_of_messages). Lower share."
        )
    return found


def _gates(pack: Pack) -> list[str]:
    gates = [key for key, criterion in pack.rubric.criteria.items() if criterion.head.gate]
    found = [] if gates else ["The rubric has no gate: nothing that a model does is bad enough to fail by itself. Is there nothing that must never happen?"]
    if gates and not pack.episodes.episodes:
        found.append(f"Nothing can trigger the gates {', '.join(gates)}: there is no episodes.yaml. Write the edge cases in which they may fail.")
    found += [
        f"Gate {key} names no clauses in its front matter, so nobody sees which of its branches are rehearsed." for key in gates if not clauses_of(pack, key)
    ]
    for clause, (text, exercised) in sorted(exercised_clauses(pack).items()):
        if not exercised:
            found.append(f"Clause {clause} ({text.rstrip('.')}) is exercised by no episode and no subtopic. Write one, or say of one that it does.")
    return found


def _figures(pack: Pack) -> list[str]:
    """Look whether the patterns of figures of speech find ordinary sentences."""
    ordinary = sentences(read_text(find_data(FILE), PackError))
    found = Counter(name for sentence in ordinary for name in pack.tics.search(sentence))
    return [
        f"The pattern of {name} in tics.yaml finds {100 * (count / len(ordinary)):.0f} % of the sentences of ordinary English; make it narrower."
        for name, count in found.items()
        if count > ORDINARY_SHARE * len(ordinary)
    ]


def clauses_of(pack: Pack, criterion: str) -> dict[str, str]:
    """Return what a conversation may hit of a criterion, each clause by its full name, in a sentence."""
    return {f"{criterion}.{name}": text for name, text in pack.rubric.criteria[criterion].head.clauses.items()}


def exercised_clauses(pack: Pack) -> dict[str, tuple[str, list[str]]]:
    """Return each clause of the rubric with its sentence and the episodes and subtopics that exercise it."""
    by = {name: kind.clauses for name, kind in pack.episodes.episodes.items()}
    by |= {name: set(item.exercises) for group in pack.taxonomy.topics.values() for name, item in group.subtopics.items()}
    clauses = {clause: text for key in pack.rubric.criteria for clause, text in clauses_of(pack, key).items()}
    return {clause: (text, [name for name, found in by.items() if clause in found]) for clause, text in clauses.items()}


def _prompts(pack: Pack) -> list[str]:
    files = {  # what a file of the pack is for reaches a model by an input alone
        "episode": pack.episodes.episodes,
        "event": pack.life.events,
        "life": pack.life.facts or pack.life.countries,
        "programs": pack.programs,
        "services": pack.services,
        "tics": pack.tics.figures,
    }
    given = {name for name, there in files.items() if there}
    wanted: Mapping[str, set[str]] = {
        "user_simulator": {"persona", "topics", "flaws"} | given & {"life", "programs"},
        "user_steering": {"topics", "flaws", "cooperation", "mood", "may_end"} | given & {"episode", "event"},
        "assistant": given & {"services", "tics"},
        "system": given & {"services"},
        "assessor": {"exchanges", "facts"},
        "assessor_question": {"criteria"},
    }
    faults = [
        f"prompts/{pack.name}/{name}.md does not use {', '.join(sorted(lacking))}, which it is given (of {', '.join(sorted(SUPPLIED[name]))})."
        for name, needed in wanted.items()
        if (lacking := needed - pack.prompts[name].inputs)
    ]
    faults += [
        f"prompts/{pack.name}/{name}.md names services, and config/domains/{pack.name}/services.yaml does not exist: nothing stands in that place."
        for name in ("assistant", "system")
        if pack.services is None and "services" in pack.prompts[name].inputs and "if services" not in pack.prompts[name].text
    ]
    if pack.repair is None:
        faults.append(f"prompts/{pack.name}/repair.md does not exist: transcripts that almost passed cannot be repaired.")
    if not pack.intended_use:
        faults.append(f"config/domains/{pack.name}/intended-use.md does not exist: the cards of datasets and models cannot say what they are for.")
    return faults
