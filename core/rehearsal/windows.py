"""How long a window rehearsals need, which of them a window cuts, and where its length is a part of a conversation's name."""

from collections.abc import Sequence

from core.llm.run import Run
from core.rehearsal.lengths import exchanges_in, tokens_of
from core.rehearsal.plan import RehearsalPlan


def needed_tokens(plan: RehearsalPlan) -> int:
    """Return how many tokens the assistant's last prompt and answer take."""
    return tokens_of(plan.guidance_text, plan.persona.exchanges, plan.assistant_tokens[0])


def in_window(run: Run, plan: RehearsalPlan) -> RehearsalPlan:
    """Return a plan for a model that is loaded with a window of this run.

    A window that holds the conversation does not shape it, so its length is no part of the transcript's name: the same conversation is not played again
    because a longer one beside it needs a longer window. One that memory has shortened below what the conversation needs is.
    """
    window = run.windows.get(plan.assistant.reference)
    if window is None:
        return plan
    most = min(run.settings.generation.most_tokens, window.bound or run.settings.generation.most_tokens)
    holds = window.context >= min(needed_tokens(plan), most)
    return plan.model_copy(update={"assistant_tokens": (plan.assistant_tokens[0], most if holds else window.context)})


def cut_sentence(name: str, plans: Sequence[RehearsalPlan], window: int, why: str) -> str | None:
    """Say which conversations will end before their time for want of room; none where all fit.

    Args:
        name: of who plays.
        window: tokens; why: it is not longer.
    """
    cut = [plan for plan in plans if needed_tokens(plan) > window]
    if not cut:
        return None
    fits = min(exchanges_in(window, plan.guidance_text, plan.assistant_tokens[0]) for plan in cut)
    longest = max(plan.persona.exchanges for plan in cut)
    return (
        f"{len(cut)} of {len(plans)} conversations of {name} will be cut: beyond exchange {fits} or so they do not fit into its window of {window:,} tokens, "
        f"and the longest is planned with {longest}. {why}"
    )
