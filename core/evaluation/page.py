"""The page of an evaluation: decision, pictures, all figures and all conversations side by side, in one file that loads nothing else."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

from core.escaping import render_page
from core.evaluation import plots
from core.evaluation.facts import Conversation, EvaluationFacts
from core.evaluation.outcomes import Trial
from core.evaluation.report import evaluation_markdown
from core.evaluation.suite_rows import suites_of
from core.records import Outcome

LONG = 20
"""A section of the report with more lines is collapsed."""


@dataclass(frozen=True)
class ArmColumn:
    """An arm's conversation with a persona.

    Args:
        outcome: the outcome in words.
        conversation: None if it was lost or its transcript is not available.
        lost: why there is no conversation.
    """

    arm: str
    outcome: str
    conversation: Conversation | None
    lost: str


@dataclass(frozen=True)
class Pair:
    """The conversations of all arms with a persona, in one trial.

    Args:
        topics: the persona's first topics; empty if the persona is not known.
        sides: a column for each arm, the base first.
        tags: values of the page's filter that select this pair.
    """

    persona: int
    trial: int
    topics: str
    sides: list[ArmColumn]
    tags: list[str]


@dataclass(frozen=True)
class Section:
    """A section of the report as HTML.

    Args:
        long: whether it is collapsed at first.
    """

    title: Markup
    body: Markup
    long: bool


def evaluation_page(facts: EvaluationFacts, run_report: str = "") -> str:
    """Return the page as HTML. Scripts only filter and open conversations; the page works without them.

    The content of transcripts, verdicts and names of arms is escaped.

    Args:
        facts: the evaluation.
        run_report: Markdown about how the model was made; may be empty.
    """
    script = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
    compared = facts.compared
    pictures = [("Difference from the base", plots.headline(facts), plots.headline_text(facts))]
    for arm in compared:
        pictures.append((f"Persona by persona: {arm}", plots.paired_dots(facts, arm), plots.paired_dots_text(facts, arm)))
        pictures.append((f"Categories and criteria: {arm}", plots.effects(facts, arm), plots.effects_text(facts, arm)))
    if any(faults.citing for faults in facts.by_exchange.values()):
        pictures.append(("Faults by exchange number", plots.over_exchanges(facts), plots.over_exchanges_text(facts)))
    pictures.append(("Scores of all conversations", plots.distributions(facts), plots.distributions_text(facts)))
    return render_page(
        "evaluation/page",
        facts=facts,
        compared=compared,
        arms_in_order=list(facts.models),
        pictures=[(title, Markup(svg), description) for title, svg, description in pictures],
        suites=suites_of(facts),
        pairs=conversation_pairs(facts),
        sections=_sections(f"{evaluation_markdown(facts).rstrip().replace('](report.html#', '](#')}\n\n{run_report}"),
        rows=3 + max((len(item.transcript.exchanges) for item in facts.conversations), default=0),
        style=Markup(Path(__file__).with_name("page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def conversation_pairs(facts: EvaluationFacts) -> list[Pair]:
    """Return the conversations of all arms for each persona and trial, with tags for the page's filter."""
    conversations = {(item.arm, item.persona, item.trial): item for item in facts.conversations}
    played = {(item.arm, item.persona, item.trial): item for item in facts.played}
    keys = sorted({(item.persona, item.trial) for item in facts.played})
    return [_pair(facts, key, [(arm, conversations.get((arm, *key)), played.get((arm, *key))) for arm in facts.models]) for key in keys]


def _pair(facts: EvaluationFacts, key: tuple[int, int], by_arm: list[tuple[str, Conversation | None, Trial | None]]) -> Pair:
    persona = facts.personas.get(key[0])
    topics = ", ".join(topic.subtopic.replace("_", " ") for topic in persona.topics[:2]) if persona else ""
    base, others = by_arm[0][2], [item for _, _, item in by_arm[1:]]
    tags = {"gate"} if any(item and item.score and item.score.failed_gates for _, _, item in by_arm) else set()
    tags |= {"lost"} if any(item is None or not item.complete for _, _, item in by_arm) else set()
    for other in others:
        if base and other and base.complete and other.complete and base.score and other.score:
            difference = (other.score.score or 0.0) - (base.score.score or 0.0)
            tags |= {"better" if difference > 0 else "worse" if difference < 0 else "equal"}
            tags |= {"split"} if base.score.outcome is not other.score.outcome else set()
    sides = [ArmColumn(arm, _outcome(item), conversation, _lost(item)) for arm, conversation, item in by_arm]
    return Pair(*key, topics, sides, sorted(tags))


def _lost(item: Trial | None) -> str:
    if item is None:
        return "There is no such conversation."
    return item.lost or "The transcript is not available."


def _outcome(item: Trial | None) -> str:
    if item is None or item.score is None:
        return "missing"
    if item.simulator_broke:
        return "broken by the simulated user"
    score = f" ({item.score.score:.3f})" if item.score.score is not None else ""
    return {Outcome.PASS: "passes", Outcome.FAIL: "fails", Outcome.INCOMPLETE: "is judged incompletely"}[item.score.outcome] + score


def _sections(markdown: str) -> list[Section]:
    """Return the sections of a Markdown report as HTML; HTML in the report is escaped."""
    reader = MarkdownIt("js-default", {"linkify": False})
    head, *sections = f"\n{markdown}".split("\n## ")
    text = "\n".join(line for line in head.splitlines() if not line.startswith("# "))
    parts = [("Decision and conditions", text), *(section.partition("\n")[::2] for section in sections)]
    return [Section(Markup(reader.renderInline(title)), Markup(reader.render(body)), body.count("\n") > LONG) for title, body in parts]
