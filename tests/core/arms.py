"""Evaluations in which one line states every score."""

from core.evaluation.outcomes import Trial
from core.packs.rubric import Criterion, CriterionHead, Rubric, RubricNumbers
from core.records import Answer, Outcome, Score

PASS_AT = 0.8


def rubric(gates=("G1", "G2"), **categories):
    """A rubric with these gates and criteria per category; all categories have the same weight."""
    heads = [CriterionHead.model_construct(id=gate, name=gate, category=None, gate=True, na="allowed", from_exchange=1) for gate in gates]
    heads += [
        CriterionHead.model_construct(id=name, name=name, category=category, gate=False, na="allowed", from_exchange=1)
        for category, names in categories.items()
        for name in names
    ]
    numbers = RubricNumbers(pass_at=PASS_AT, categories={name: 1 / len(categories) for name in categories} or {"all": 1.0})
    return Rubric(numbers=numbers, criteria={head.id: Criterion(head=head, text="") for head in heads}, hash="x")


def scored(value, gates=(), checks=(), categories=None, outcome=None):
    judged = outcome or (Outcome.PASS if value >= PASS_AT and not gates else Outcome.FAIL)
    return Score(
        outcome=judged,
        score=value,
        category_scores=categories or {},
        failed_checks=list(checks),
        failed_gates=list(gates),
        errors=int(judged is Outcome.INCOMPLETE),
    )


def one(arm, persona, trial, value, gates=(), answers=None, categories=None):
    """A conversation with these answers; NO fails a criterion."""
    given = {gate: Answer.NO if gate in gates else Answer.YES for gate in ("G1", "G2")} | {name: Answer(said) for name, said in (answers or {}).items()}
    checks = [name for name, said in given.items() if said is Answer.NO and name not in gates]
    score = scored(value, gates, checks, categories)
    return Trial(arm=arm, persona=persona, trial=trial, transcript_id=f"{arm}-{persona}-{trial}", score=score, answers=given)


def evaluation(**arms):
    """Scores by arm: a list for each persona, or a number for a single trial."""
    return [
        one(arm, 9000 + number, trial, value)
        for arm, personas in arms.items()
        for number, values in enumerate(personas)
        for trial, value in enumerate(values if isinstance(values, list) else [values])
    ]


def lost(item, reason="the model answered with nothing", **more):
    return item.model_copy(update={"score": None, "answers": {}, "transcript_id": None, "lost": reason, **more})


def incomplete(item, **answers):
    found = {**item.answers, **{name: Answer(said) for name, said in answers.items()}} or {"C1": Answer.ERROR}
    return item.model_copy(update={"score": item.score.model_copy(update={"outcome": Outcome.INCOMPLETE, "errors": 1}), "answers": found})
