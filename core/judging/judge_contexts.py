"""The context in which a judge makes a planned assessment."""

from core.judging.call_log import JudgementLog
from core.judging.judge_call import Count, JudgeContext
from core.judging.plan import AssessmentPlan, narrowed
from core.llm.chat import ChatModel
from core.llm.run import Run
from core.records import Transcript


def judge_context_for(run: Run, plan: AssessmentPlan, judge: ChatModel, transcript: Transcript, count: Count, log: JudgementLog, name: str) -> JudgeContext:
    """Return the context for a planned assessment.

    Args:
        judge: the model that judges.
        count: counts a text's tokens.
        log: stores the calls' answers.
        name: of the assessment.
    """
    room = (plan.judging, plan.max_tokens, plan.context, count, plan.repeat)
    item = f"{transcript.id} {name}" if plan.golden else ""
    return JudgeContext(narrowed(run.pack, plan.only), judge, transcript, *room, log, item, run.tallies[plan.judge.reference])
