"""Suites: every arm's model answers them before it plays, so that one that does not load, or says nothing, is found before others are paid for."""

from collections.abc import Sequence

from prefect.logging import get_run_logger

from core.errors import EvaluationError, InvalidOutputError, RefusedError, TruncatedError
from core.evaluation.arms import Arm, by_model
from core.evaluation.facts import GeneralAnswer
from core.evaluation.general_prompts import general_questions, marked
from core.evaluation.suites import Question, Said
from core.fingerprint import fingerprint, seed_of
from core.llm.chat import ChatRequest, Message
from core.llm.run import Run
from core.records import Reference
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
        said = Said(answer=reply.text.strip())
    except RefusedError:
        said = Said(answer="", declined=True)
    store.write_json(path, said.model_dump())
    return AnswerRef(path=path)


async def ask_suites(run: Run, arms: Sequence[Arm]) -> dict[str, list[GeneralAnswer]]:
    """Ask every model all questions, one in memory at a time. They go without a system prompt, so the answers stand under the model's first arm.

    Raises:
        EvaluationError: an arm answered none of them.
        SettingsError: an arm's model does not load.
    """
    by_arm: dict[str, list[GeneralAnswer]] = {}
    for arm in (same[0] for same in by_model(arms)):
        async with in_memory(arm.choice), concurrency_slot(run, (), arm.choice):
            by_arm[arm.name] = await _general(run, arm)
    log_bill(run)
    return by_arm


async def _general(run: Run, arm: Arm) -> list[GeneralAnswer]:
    asked, room = general_questions(run.settings.evaluation), run.settings.evaluation.general_max_tokens
    said = await _ask(run, [Question(suite="general", choice=arm.choice, name=item.name, prompt=item.prompt, max_tokens=room) for item in asked])
    replies = [marked(item, said[item.name]) for item in asked]
    if replies and not any(item.answer for item in replies):
        why = next((item.lost for item in replies if item.lost), "every answer was empty")
        raise EvaluationError(
            f"{arm.name} ({arm.choice.reference}) answered none of {len(replies)} general prompts: {why}. Check that the model loads, that it has its own "
            "chat template, and that evaluation.general_max_tokens leaves it room."
        )
    get_run_logger().info("%s: %d of %d general prompts answered right.", arm.name, sum(item.right is True for item in replies), len(replies))
    return replies


async def _ask(run: Run, questions: Sequence[Question]) -> dict[str, Said]:
    """Return a model's answers by the questions' names; a model that writes nothing has answered with nothing, and is asked again by the next run."""
    refs: dict[str, AnswerRef] = {}
    silent: set[str] = set()

    async def one(question: Question) -> AnswerRef:
        async with owned(run.store, f"{question.suite}/{fingerprint(question)}"):
            try:
                refs[question.name] = await run_cached(question_task, run, question)
            except (InvalidOutputError, TruncatedError):
                silent.add(question.name)
                raise
        return refs[question.name]

    _, lost = await gather_bounded(run, one, questions, [item.name for item in questions], run.settings.evaluation.concurrency, None)
    unsaid = {item.name: Said(answer="" if item.name in silent else None, lost=item.reason) for item in lost}
    return {name: run.store.load(ref.path, Said) for name, ref in refs.items()} | unsaid
