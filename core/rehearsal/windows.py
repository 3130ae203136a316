"""Context windows: how long a window a rehearsal needs, which rehearsals a window cuts, and when its length is part of a transcript's name."""

from collections.abc import Sequence

from core.llm.run import Run
from core.rehearsal.lengths import exchanges_in, tokens_of
from core.rehearsal.plan import RehearsalPlan


def needed_tokens(plan: RehearsalPlan) -> int:
    """Return an estimate of the tokens of the assistant's last prompt and answer."""
    return tokens_of(plan.guidance_text, plan.persona.exchanges, plan.assistant_tokens[0])


def in_window(run: Run, plan: RehearsalPlan) -> RehearsalPlan:
    """Return a plan for a model that is loaded with a window of this run.

    A window that is long enough does not affect the conversation, so its length is not part of the transcript's name: a conversation is not played
    again because another one needs a longer window. A window that is too short, for want of memory, is part of the name.
    """
    window = run.windows.get(plan.assistant.reference)
    if window is None:
        return plan
    most = min(run.settings.generation.most_tokens, window.bound or run.settings.generation.most_tokens)
    holds = window.context >= min(needed_tokens(plan), most)
    return plan.model_copy(update={"assistant_tokens": (plan.assistant_tokens[0], most if holds else window.context)})


def cut_sentence(name: str, plans: Sequence[RehearsalPlan], window: int, why: str) -> str | None:
    """Return a sentence on the conversations that a window will cut, or None if all fit.

    Args:
        name: name of the assistant's model or arm.
        plans: the planned conversations.
        window: tokens of the context window.
        why: sentence that says why the window is not longer.
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
