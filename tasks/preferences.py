"""Second replies of the assistant: one task for each exchange at which a judge cites a failure."""

from prefect.logging import get_run_logger

from blocks.tokens import count_tokens
from core.dataset.second_replies import AskContext, SecondReply, ask_again, reply_facts
from core.dataset.second_reply_plan import ChosenExchanges, SecondReplyPlan, choose_exchanges
from core.llm.bills import bills
from core.llm.run import Run
from core.records import LeftOut, Reference, Transcript
from core.reports.render import markdown
from tasks.artifacts import publish_report
from tasks.batches import gather_bounded
from tasks.owning import LOCK, owned
from tasks.policy import cached_task, existing, run_cached
from tasks.run import concurrency_slot, log_bill, open_model


class PreferencesRef(Reference):
    """The report on second replies, and its main figures as text."""

    summary: dict[str, str]


@cached_task("ask-again", "ask again in {plan.transcript.id}")
async def ask_task(run: Run, plan: SecondReplyPlan) -> Reference:
    """Ask for one reply again and store the outcome, unless it exists."""
    store = run.store
    if store.exists(plan.path):
        store.load(plan.path, SecondReply)
        return existing(Reference(path=plan.path))
    judges = {judge.reference: await open_model(run, judge) for judge in plan.judges}
    contexts, lock = {judge.reference: run.context(judge) for judge in plan.judges}, LOCK.get()
    context = AskContext(run.pack, await open_model(run, plan.assistant), judges, contexts, count_tokens, store, lock)
    second_reply = await ask_again(context, plan, store.load(plan.transcript.path, Transcript))
    if lock:
        lock.check()
    store.write_json(plan.path, second_reply)
    for log in context.logs:
        log.remove()
    return Reference(path=plan.path)


async def ask_batch(run: Run, assessed: str | None) -> tuple[ChosenExchanges, list[SecondReply], list[LeftOut]]:
    """Choose the exchanges of a batch, and ask the assistant again at each, several in parallel.

    Args:
        run: the run.
        assessed: name of a batch of assessments; None for the domain's latest.

    Returns:
        The chosen exchanges, the outcomes, and what was left out.
    """
    chosen = choose_exchanges(run, assessed)
    get_run_logger().info("The assistant is asked again at %d exchanges of %d transcripts.", len(chosen.plans), len({p.transcript.id for p in chosen.plans}))

    async def ask(plan: SecondReplyPlan) -> Reference:
        async with owned(run.store, f"pairs/{plan.name}"):
            return await run_cached(ask_task, run, plan)

    names = [f"{plan.transcript.id}, exchange {plan.exchange}" for plan in chosen.plans]
    async with concurrency_slot(run, ("assistant", "judge")):
        refs, left_out = await gather_bounded(run, ask, chosen.plans, names, run.settings.preferences.concurrency, "Asked again")
    log_bill(run)
    return chosen, [run.store.load(ref.path, SecondReply) for ref in refs], left_out


async def publish_replies(run: Run, chosen: ChosenExchanges, replies: list[SecondReply], left_out: list[LeftOut]) -> PreferencesRef:
    """Write and publish the report: at which exchanges a second reply passes, and what a pair costs."""
    store, facts = run.store, reply_facts(chosen, replies, left_out)
    paid = bills(store, run.ledger.run)
    usd = sum(bill.usd for bill in paid.values())
    text = markdown("preferences", facts=facts, bills=paid, usd=usd)
    page = store.write(f"reports/preferences-{run.name.rpartition('-')[2]}/pairs.md", text)
    await publish_report(text, key=f"preferences-{run.pack.name}", description="Pairs of a better and a worse reply")
    get_run_logger().info("%d pairs of %d exchanges. The report: %s/%s", facts["pairs"], facts["exchanges"], store.root, page)
    price = f"{usd / facts['pairs']:.4f} USD for each pair" if usd and facts["pairs"] else f"{usd:.4f} USD" if usd else "nothing was paid"
    summary = {
        "pairs": f"{facts['pairs']} of {facts['exchanges']} exchanges",
        "replies asked for": str(facts["replies"]),
        "cost": price,
        "report": f"{store.root}/{page}",
    }
    return PreferencesRef(path=page, summary=summary)
