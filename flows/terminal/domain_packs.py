"""Domain packs: a check for gaps, the rubric as a page, and the personas that a pack yields."""

from pathlib import Path

from core.authoring.pack_check import rendered_prompts, review_pack
from core.evaluation.battery_play import battery_gaps, battery_outlook
from core.judging.golden import golden_gaps, load_golden, quoted
from core.packs.pack import load_pack
from core.paths import user_path
from core.quantities import Count, Seed
from core.records import Persona
from core.rehearsal.coverage import coverage, table
from core.rehearsal.overview import overview, overview_lines
from core.rehearsal.personas import sample_batch
from core.reports.render import rubric_markdown
from core.settings.evaluation import EvaluationSettings
from core.storage.whole_files import write_page
from core.terminal import Answer, one_line


def check_domain(domain: str = "therapeutic-coaching", prompts: bool = False) -> Answer:
    """Check a domain pack: list its gaps and the length of each prompt.

    The exit code is 1 if the pack has gaps.

    Args:
        domain: name of a domain pack.
        prompts: show each prompt as a model reads it.
    """
    pack = load_pack(domain)
    golden = load_golden(pack)
    quotations = [f"A prompt quotes the held-out conversation {name}: {words!r}. Change the prompt." for name, words in quoted(golden, pack).items()]
    missing, rendered = [*review_pack(pack), *quotations, *battery_gaps(pack)], rendered_prompts(pack)
    words = {name: len(text.split()) for name, text in rendered.items()}
    counts = {
        "subtopics": sum(len(group.subtopics) for group in pack.taxonomy.topics.values()),
        "flaws": len(pack.flaws.kinds),
        "criteria": len(pack.rubric.criteria),
        "gates": sum(criterion.head.gate for criterion in pack.rubric.criteria.values()),
        "openings": len(pack.battery.openings),
    }
    lines = [f"{pack.name} ({pack.hash}): {{subtopics}} subtopics, {{flaws}} flaws, {{criteria}} criteria, {{gates}} of them gates.".format(**counts)]
    lines += [f"  {name:<18} {count:6,} words as a model reads it" for name, count in words.items()]
    lines += [f"- {one_line(text)}" for text in missing]
    if not missing:
        lines += ["No gaps that can be counted. To see whether the pack is good, read the conversations of `understudy pilot`."]
    lines += battery_outlook(pack, None, EvaluationSettings.model_fields["battery_tries"].default) if pack.battery.openings else []
    shortfalls = golden_gaps(golden, pack.rubric)
    lines += [f"Golden set: {len(golden)} conversations{', too few to measure a judge on each criterion' if shortfalls else ''}."]
    lines += [f"  {text}" for text in shortfalls] if golden else []
    if prompts:
        lines += [line for name, text in rendered.items() for line in ("", f"===== {name} =====", "", text)]
    golden_facts = {"golden": len(golden), "golden_lacks": shortfalls, **({"prompts": rendered} if prompts else {})}
    data = {"domain": pack.name, "hash": pack.hash, **counts, "prompt_words": words, "findings": missing, **golden_facts}
    return Answer("\n".join(lines), data, 1 if missing else 0)


def rubric(domain: str = "therapeutic-coaching", to: Path | None = None) -> Answer:
    """Show a domain's rubric as a page.

    Args:
        domain: name of a domain pack.
        to: file for the page.
    """
    return written(rubric_markdown(load_pack(domain)), to, {"domain": domain})


def written(page: str, to: Path | None, data: dict[str, object]) -> Answer:
    """Return a page as an answer, or write it to a file and return the path."""
    if to is None:
        return Answer(page, {**data, "page": page})
    write_page(user_path(to), page)
    return Answer(f"Written: {to}", {**data, "written": str(to)})


def personas(domain: str = "therapeutic-coaching", count: Count = 20, first_seed: Seed = 0) -> Answer:
    """Show the personas of a batch, count what their conversations will contain, and compare them with the taxonomy.

    Args:
        domain: name of a domain pack.
        count: number of personas.
        first_seed: seed of the first persona; each further persona has the next seed.
    """
    pack = load_pack(domain)
    batch, lines = sample_batch(pack, first_seed, count), []
    for persona in batch:
        topics, flaws = ", ".join(topic.subtopic for topic in persona.topics), ", ".join(flaw.name for flaw in persona.flaws) or "none"
        heading = f"{persona.seed:6}  {persona.name:12}  {persona.exchanges:3} exchanges  {persona.trajectory:14}"
        lines.append(one_line(f"{heading}  {topics}  (flaws: {flaws})"))
        lines += [f"        {one_line(', '.join(persona.life.values()))}"] if persona.life else []
        lines += [f"        {one_line(_course(persona))}"] if persona.episodes or persona.events else []
    covered, figures = coverage(pack, batch), overview(pack, batch)
    return Answer("\n".join([*lines, "", *overview_lines(figures), "", table(covered)]), {"personas": batch, "overview": figures, "coverage": covered})


def _course(persona: Persona) -> str:
    """Return a persona's events and episodes on one line, each with the number of its message."""
    happens = {event.exchange_number: event.text for event in persona.events}
    for episode in persona.episodes:
        happens[episode.beats[0].exchange_number] = f"{episode.name} ({episode.variant}), to message {episode.beats[-1].exchange_number}"
    return "; ".join(f"{number}: {what}" for number, what in sorted(happens.items()))
