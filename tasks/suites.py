"""Suites: every arm's model answers them before it plays, so that a model that does not load or writes nothing is found before others are paid for."""

from collections.abc import Mapping, Sequence

from prefect.logging import get_run_logger

from core.errors import InvalidOutputError, NothingMadeError, RefusedError, TruncatedError
from core.evaluation.arms import Arm, by_model
from core.evaluation.forgetting import SuiteAnswers
from core.evaluation.general_prompts import GeneralAnswer, general_questions, marked
from core.evaluation.refusal_judging import Answered, Classifying, classify, plan_classifying
from core.evaluation.refusals import RefusalAnswer, Refusals, Request, classified, requests_of, to_classify
from core.evaluation.suites import ModelAnswer, Question, SuiteName
from core.fingerprint import fingerprint, seed_of
from core.llm.chat import ChatRequest, Message
from core.llm.run import Run
from core.records import ModelChoice, Reference
from tasks.batches import gather_bounded
from tasks.evaluation import in_memory
from tasks.owning import owned
from tasks.policy import cached_task, existing, run_cached
from tasks.run import concurrency_slot, log_bill, open_model


class AnswerRef(Reference):
    """A model's answer to a question of a suite."""


@cached_task("question", "ask {question.name}")
async def question_task(run: Run, question: Question) -> AnswerRef:
    """Ask a model a question of a suite, without a system prompt, and store its answer."""
    store, path = run.store, f"evaluations/{question.suite}/{fingerprint(question)}.json"
    if store.exists(path):
        return existing(AnswerRef(path=path))
    model, seed = await open_model(run, question.choice), seed_of(question.suite, question.name)
    try:
        reply = await model.complete(ChatRequest("assistant", "", (Message("user", question.prompt),), question.max_tokens, seed, item=question.item))
        answer = ModelAnswer(answer=reply.text.strip())
    except RefusedError:
        answer = ModelAnswer(answer="", declined=True)
    store.write_json(path, answer.model_dump())
    return AnswerRef(path=path)


@cached_task("classify", "classify refusals")
async def classify_task(run: Run, plan: Classifying) -> AnswerRef:
    """Have the judge classify some answers as declining, helping or neither, and store its verdicts."""
    store, path = run.store, f"evaluations/refusals-judged/{fingerprint(plan)}.json"
    if store.exists(path):
        return existing(AnswerRef(path=path))
    store.write_json(path, await classify(await open_model(run, plan.judge), plan, run.tallies[plan.judge.reference]))
    return AnswerRef(path=path)


async def ask_suites(run: Run, arms: Sequence[Arm]) -> SuiteAnswers:
    """Ask every model all questions, one model in memory at a time.

    Questions are asked without a system prompt, so arms that share a model have the same answers, which are stored under the first of these arms. The first
    judge of the evaluation, which does not know the arm, classifies the answers to requests.

    Raises:
        NothingMadeError: an arm answered none of the general prompts.
        SettingsError: an arm's model does not load.
    """
    requests, general, replies = requests_of(run.settings.evaluation), {}, {}
    for arm in (same[0] for same in by_model(arms)):
        async with in_memory(arm.choice), concurrency_slot(run, (), arm.choice):
            general[arm.name] = await _general(run, arm)
            replies[arm.name] = await _ask(run, _questions(run, "refusals", arm, {item.name: item.text for item in requests}))
    judge = run.models["judge"][0]
    async with concurrency_slot(run, (), judge):
        answers = {name: await _classified(run, judge, requests, by_request) for name, by_request in replies.items()}
    for name, classified_answers in answers.items():
        if classified_answers:
            right = {wanted: sum(item.found == item.wanted == wanted for item in classified_answers) for wanted in ("declined", "helped")}
            half = len(classified_answers) // 2
            get_run_logger().info("%s: declined %d of %d requests, helped with %d of %d look-alikes.", name, right["declined"], half, right["helped"], half)
    log_bill(run)
    return SuiteAnswers(general=general, refusals=Refusals(judge=judge.reference, answers=answers) if requests else None)


def _questions(run: Run, suite: SuiteName, arm: Arm, prompts: Mapping[str, str]) -> list[Question]:
    room = run.settings.evaluation.general_max_tokens
    return [Question(suite=suite, choice=arm.choice, name=name, prompt=prompt, max_tokens=room) for name, prompt in prompts.items()]


async def _classified(run: Run, judge: ModelChoice, requests: Sequence[Request], answers: Mapping[str, ModelAnswer]) -> list[RefusalAnswer]:
    """Return a model's answers to the requests, each with the judge's verdict on what it does.

    Args:
        run: the run.
        judge: the judge.
        requests: the requests.
        answers: the model's answers, by the request's name.
    """
    calls = [[Answered(name=item.name, request=item.text, answer=answer) for item, answer in call] for call in to_classify(requests, answers)]
    plans = [plan_classifying(judge, call, run.settings.assessment.max_tokens) for call in calls]

    async def classify_answers(plan: Classifying) -> AnswerRef:
        async with owned(run.store, f"refusals-judged/{fingerprint(plan)}"):
            return await run_cached(classify_task, run, plan)

    names = [f"verdicts on {len(call)} answers to requests" for call in calls]
    refs, lost = await gather_bounded(run, classify_answers, plans, names, run.settings.assessment.concurrency, None)
    verdicts = {name: verdict for ref in refs for name, verdict in run.store.load_json(ref.path).items()}
    why = lost[0].reason if lost else "the judge gave no usable verdict"
    return [classified(item, answers[item.name], verdicts, why) for item in requests]


async def _general(run: Run, arm: Arm) -> list[GeneralAnswer]:
    """Return a model's marked answers to the general prompts.

    Raises:
        NothingMadeError: it answered none of them.
    """
    prompts = general_questions(run.settings.evaluation)
    answers = await _ask(run, _questions(run, "general", arm, {item.name: item.prompt for item in prompts}))
    replies = [marked(item, answers[item.name]) for item in prompts]
    if replies and not any(item.answer for item in replies):
        why = next((item.lost for item in replies if item.lost), "every answer was empty")
        raise NothingMadeError(
            f"{arm.name} ({arm.choice.reference}) answered none of {len(replies)} general prompts: {why}. Check that the model loads, that it has its own "
            "chat template, and that evaluation.general_max_tokens leaves it room."
        )
    get_run_logger().info("%s: %d of %d general prompts answered correctly.", arm.name, sum(item.right is True for item in replies), len(replies))
    return replies


async def _ask(run: Run, questions: Sequence[Question]) -> dict[str, ModelAnswer]:
    """Return a model's answers by the questions' names. A reply without text is an empty answer; it is not stored, so the next run asks again."""
    refs: dict[str, AnswerRef] = {}
    silent: set[str] = set()

    async def ask_question(question: Question) -> AnswerRef:
        async with owned(run.store, f"{question.suite}/{fingerprint(question)}"):
            try:
                refs[question.name] = await run_cached(question_task, run, question)
            except (InvalidOutputError, TruncatedError):
                silent.add(question.name)
                raise
        return refs[question.name]

    _, lost = await gather_bounded(run, ask_question, questions, [item.name for item in questions], run.settings.evaluation.concurrency, None)
    missing = {item.name: ModelAnswer(answer="" if item.name in silent else None, lost=item.reason) for item in lost}
    return {name: run.store.load(ref.path, ModelAnswer) for name, ref in refs.items()} | missing
