"""Playing the safety battery: the openings that each arm answers, and conversations with fixed user messages."""

from collections import Counter
from datetime import UTC, datetime

from core.errors import ModelError
from core.evaluation.arms import Arm
from core.evaluation.battery import BatteryFigures, BatteryItem
from core.evaluation.battery_chance import USUAL_MARGIN, failures_allowed, margin_sentence, openings_for
from core.evaluation.facts import BatteryWords
from core.evaluation.suites import spread_over
from core.fingerprint import fingerprint, seed_of
from core.llm.chat import ChatModel
from core.llm.run import Run
from core.packs.battery import Opening
from core.packs.pack import Pack
from core.quantities import MAX_SEED
from core.records import Answer, Assessment, AssessmentRef, EndReason, ModelChoice, Persona, Record, Transcript, TranscriptRef
from core.rehearsal.turn_log import Turn, TurnLog
from core.rehearsal.turns import Cast, Player, Scene, assistant_turn
from core.storage.store import Store

ITEM = "battery-"
"""Prefix of the names of these conversations, also in the bill."""


class BatteryPlan(Record):
    """The inputs of one conversation of the battery.

    Args:
        attempt: number of the try of this opening, from 0.
        assistant: the arm's model.
        instructions: the arm's prompt, for a person in the opening's country.
        noted: whether the arm reads the pack's notes, as the model that writes the data does.
        pack_hash: hash of the pack; empty if the conversation uses neither its phrases nor its notes.
        max_tokens: tokens of an answer.
        most_tokens: tokens of a prompt and its answer together.
    """

    domain: str
    opening: Opening
    attempt: int
    assistant: ModelChoice
    instructions: str
    noted: bool
    pack_hash: str
    max_tokens: int
    most_tokens: int

    @property
    def name(self) -> str:
        """Id of the transcript. It does not depend on the gate or clause, so that a reassigned opening is not played again."""
        content = [self.opening.messages, self.opening.country]
        return f"{ITEM}{self.opening.id}-{fingerprint([self.model_dump(exclude={'opening', 'most_tokens'}), content])}"

    @property
    def path(self) -> str:
        """Path of the transcript below the data root."""
        return f"evaluations/battery/{self.domain}/{self.name}.json"


def plan_battery(run: Run, arm: Arm) -> list[BatteryPlan]:
    """Plan an arm's conversations; an empty list if the pack has no battery or the settings skip it."""
    numbers, pack = run.settings.evaluation, run.pack
    return [
        BatteryPlan(
            domain=pack.name,
            opening=opening,
            attempt=attempt,
            assistant=arm.choice,
            instructions=arm.instructions(pack, opening.country),
            noted=arm.as_written,
            pack_hash=pack.hash if arm.as_written or arm.choice.reference.startswith("scripted/") else "",
            max_tokens=run.settings.generation.max_tokens if arm.as_written else numbers.max_tokens,
            most_tokens=run.most_tokens(arm.choice),
        )
        for opening in openings_played(pack, numbers.suite_items)
        for attempt in range(numbers.battery_tries)
    ]


def openings_played(pack: Pack, most: int | None) -> list[Opening]:
    """Return the pack's openings, or a selection of `most` of them that is spread over the gates, and within each gate over its clauses.

    Args:
        most: number of openings; None for all.
    """
    battery = pack.battery
    by_gate = Counter(opening.gate for opening in spread_over(battery.openings, lambda opening: opening.gate, most))
    return [opening for gate in battery.margins for opening in spread_over(battery.of(gate), lambda opening: opening.clause, by_gate[gate])]


def battery_outlook(pack: Pack, most: int | None, tries: int) -> list[str]:
    """Return a sentence for each gate that states, before the run, what the battery can show.

    Args:
        most: number of openings; None for all.
        tries: tries of each opening; 0 skips the battery.
    """
    if not pack.battery.openings:
        return [f"{pack.name} has no safety battery (battery.yaml): dangers that few personas meet are hardly tested."]
    if not tries:
        return ["The safety battery is skipped (evaluation.battery_tries): dangers that few personas meet are hardly tested."]
    played = Counter(opening.gate for opening in openings_played(pack, most))
    return [margin_sentence(gate, played[gate], tries, margin) for gate, margin in pack.battery.margins.items()]


def battery_gaps(pack: Pack) -> list[str]:
    """Return a sentence for each gap in a pack's battery: a gate or clause without openings, or too few openings to show the margin."""
    battery, gaps = pack.battery, []
    for key, criterion in pack.rubric.criteria.items():
        if not criterion.head.gate:
            continue
        openings = battery.of(key)
        if not openings:
            gaps.append(
                f"battery.yaml has no openings for the gate {key}, so an evaluation tests it only where a persona happens to meet its occasion. "
                f"{openings_for(USUAL_MARGIN)} openings without a failure show a margin of {100 * USUAL_MARGIN:.0f} %."
            )
            continue
        if failures_allowed(len(openings), battery.margins[key]) is None:
            gaps.append(margin_sentence(key, len(openings), 1, battery.margins[key]))
        gaps += [
            f"battery.yaml has no opening for {key}.{clause}: {meaning}"
            for clause, meaning in criterion.head.clauses.items()
            if clause not in {opening.clause for opening in openings}
        ]
    return gaps


async def play_opening(pack: Pack, plan: BatteryPlan, model: ChatModel, log: TurnLog) -> Transcript:
    """Have a model answer the messages of an opening one after another.

    Args:
        pack: the pack of the opening.
        plan: the conversation.
        model: the arm's model.
        log: the log that stores each message as it arrives; it may hold messages from before an interruption.

    Raises:
        ModelError: the model gave no usable answer.
    """
    opening = plan.opening
    persona = Persona(
        id=opening.id,
        seed=seed_of("battery", opening.id) % MAX_SEED,
        name=opening.id,
        topics=[],
        flaws=[],
        trajectory="",
        dimensions={},
        exchanges=len(opening.messages),
        country=opening.country,
    )
    player = Player(model, plan.max_tokens, plan.most_tokens, ())
    scene = Scene(pack, persona, Cast(player, player, plan.instructions, len(opening.messages), plan.noted), plan.name, plan.attempt, log, "")
    for number, message in enumerate(opening.messages, start=1):
        if len(log.turns) < 2 * number - 1:
            log.add(Turn(side="user", text=message.strip()))
        if len(log.turns) < 2 * number:
            try:
                log.add(await assistant_turn(scene, number))
            except ModelError as error:
                error.side = "assistant"
                raise
    return Transcript(
        id=plan.name,
        persona=persona.model_dump(),
        exchanges=scene.exchanges,
        target_exchanges=len(opening.messages),
        end_reason=EndReason.TARGET_REACHED,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        system=plan.instructions,
        provenance={
            "domain": pack.name,
            "pack_hash": pack.hash,
            "battery": {"opening": opening.id, "gate": opening.gate, "clause": opening.clause},
            "trial": plan.attempt,
            "assistant": model.reference,
            "caveat": model.caveat,
            "usage": {"assistant": log.usage()["assistant"]},
            "rejections": [item.model_dump(mode="json", exclude={"spent"}) for item in log.rejections],
        },
    )


def battery_item(store: Store, arm: str, plan: BatteryPlan, transcript: TranscriptRef | None, judged: AssessmentRef | None, lost: str | None) -> BatteryItem:
    """Return the result of a conversation.

    Args:
        transcript: the transcript; None if there is none.
        judged: the assessment; None if there is none.
        lost: why it was not played; None if it was.
    """
    verdict = next((item for item in store.load(judged.path, Assessment).verdicts if item.criterion == plan.opening.gate), None) if judged else None
    usable = verdict is not None and verdict.answer is not Answer.ERROR
    return BatteryItem(
        arm=arm,
        opening=plan.opening.id,
        gate=plan.opening.gate,
        clause=plan.opening.clause,
        attempt=plan.attempt,
        answer=verdict.answer if verdict and usable else None,
        transcript=transcript.path if transcript else None,
        assessment=judged.path if judged else None,
        lost=None if usable else lost or (verdict.reasoning if verdict else "not judged"),
    )


def battery_words(store: Store, figures: BatteryFigures) -> list[BatteryWords]:
    """Return the transcripts and verdicts of the failed conversations, in the order of openings and arms."""
    failed = []
    for item in figures.items:
        if item.answer is Answer.NO and item.transcript and item.assessment:
            verdicts = store.load(item.assessment, Assessment).verdicts
            verdict = next(verdict for verdict in verdicts if verdict.criterion == item.gate)
            failed.append(BatteryWords(item, store.load(item.transcript, Transcript), verdict))
    arms, openings = list(figures.arms), list(dict.fromkeys(item.opening for item in figures.items))
    return sorted(failed, key=lambda one: (openings.index(one.item.opening), arms.index(one.item.arm), one.item.attempt))
