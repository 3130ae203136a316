"""The verdicts on a conversation, as its page shows them."""

from dataclasses import dataclass

from core.errors import StoreError
from core.judging.scoring import value_of
from core.packs.pack import Pack
from core.records import Answer, Assessment, AssessmentRef
from core.storage.store import Store


@dataclass(frozen=True)
class ShownVerdict:
    """The verdict on a criterion.

    Args:
        kind: the criterion's category, or `gate`.
        about: the criterion's full text.
        cited: numbers of the cited exchanges.
        lapses: one line for each lapse.
        stated: the judge's original answer, if the final one was derived from the lapses.
        opinions: judge, answer, reasoning and cited exchanges of each judge, if the verdict combines several.
        decisive: whether the verdict contributes to the failure of the conversation.
    """

    criterion: str
    name: str
    kind: str
    about: str
    answer: str
    reasoning: str
    cited: list[int]
    lapses: list[str]
    stated: str | None
    opinions: list[tuple[str, str, str, list[int]]]
    decisive: bool


@dataclass(frozen=True)
class Judgement:
    """The verdicts of one judge, or the combined ones of a panel. Verdicts that contribute to a failure come first."""

    judge: str
    assessment: Assessment
    verdicts: list[ShownVerdict]


def judgements_of(store: Store, item: AssessmentRef, pack: Pack | None) -> list[Judgement]:
    """Return the final judgement of an assessed conversation, then that of each judge of a panel; unreadable ones are left out."""
    judgements = []
    for path in (item.path, *(item.by_judge.values() if len(item.by_judge) > 1 else ())):
        try:
            assessment = store.load(path, Assessment)
        except StoreError:
            continue
        judgements.append(Judgement(assessment.judge, assessment, verdicts_of(assessment, pack)))
    return judgements


def verdicts_of(assessment: Assessment, pack: Pack | None) -> list[ShownVerdict]:
    """Return the verdicts of an assessment: first errors, then those that contribute to a failure."""
    score = assessment.score
    decisive = {*score.failed_gates, *score.failed_checks}
    shown = []
    for verdict in assessment.verdicts:
        criterion = pack.rubric.criteria.get(verdict.criterion) if pack else None
        fails = verdict.criterion in decisive or (criterion is not None and value_of(criterion, verdict.answer) == 0)
        shown.append(
            ShownVerdict(
                criterion=verdict.criterion,
                name=criterion.head.name if criterion else "",
                kind="" if criterion is None else "gate" if criterion.head.gate else (criterion.head.category or "").replace("_", " "),
                about=criterion.text if criterion else "",
                answer=verdict.answer.value,
                reasoning=verdict.reasoning,
                cited=verdict.cited,
                lapses=[f"{lapse.weight}, in exchange {lapse.exchange}: {lapse.what}" for lapse in verdict.lapses],
                stated=verdict.stated.value if verdict.stated else None,
                opinions=[(one.judge, one.answer.value, one.reasoning, one.cited) for one in verdict.opinions],
                decisive=fails,
            )
        )
    order = {"gate": 0}
    return sorted(shown, key=lambda one: (one.answer != Answer.ERROR.value, not one.decisive, order.get(one.kind, 1)))
