"""Context windows of models on this machine: as long as their conversations need. Conversations that will be cut nevertheless are named before they begin."""

from collections.abc import Sequence

from prefect.logging import get_run_logger

from blocks.chat import model_file
from core.llm.run import Run
from core.llm.window import Window, fit_window
from core.machine.gguf import read_gguf_head
from core.machine.memory import read_memory, size
from core.rehearsal.plan import RehearsalPlan
from core.rehearsal.windows import cut_sentence, needed_tokens
from core.settings.model_names import model_settings
from core.settings.provider_options import FILES

SLOTS = 4
"""Number of conversations that a llama-server plays in parallel if its options do not set it."""


def set_windows(run: Run, plans: Sequence[RehearsalPlan], at_once: int = 1) -> None:
    """Choose the context window of each GGUF file that plays an assistant, unless the option `context` sets it.

    Args:
        run: the run; the windows are stored in it.
        plans: the conversations.
        at_once: number of models in memory at the same time.
    """
    for reference in dict.fromkeys(plan.assistant.reference for plan in plans):
        own = [plan for plan in plans if plan.assistant.reference == reference]
        choice = own[0].assistant
        configured = model_settings(run.settings, reference, choice.block).context
        if reference.partition("/")[0] not in FILES or choice.block or "context" in choice.options:
            continue
        needed = max(map(needed_tokens, own))
        run.windows[reference] = _window(
            reference, min(needed, configured or needed, run.settings.generation.most_tokens), int(choice.options.get("slots", SLOTS)), at_once
        )


def warn_of_cuts(run: Run, name: str, plans: Sequence[RehearsalPlan]) -> None:
    """Log a warning if conversations of an arm will be cut, with their number, the reason and a remedy."""
    choice = plans[0].assistant
    window = run.windows.get(choice.reference)
    most = min(run.most_tokens(choice), *(plan.assistant_tokens[1] for plan in plans))
    if window and window.context == window.bound:
        why = "Its model was trained with no longer context."
    elif window:
        why = f"The memory is too small for more ({read_memory()}). Free some, use a smaller quantisation, or set models.llama-server.options.context."
    else:
        why = "Raise the model's option context (models.….options.context), or shorten the conversations (evaluation.exchanges)."
    if sentence := cut_sentence(name, plans, most, why):
        get_run_logger().warning("%s", sentence)


def _window(reference: str, needed: int, slots: int, at_once: int) -> Window:
    """Return the window of a GGUF file that fits the memory, and log it.

    Args:
        reference: the model.
        needed: tokens of the longest conversation.
        slots: number of conversations in parallel.
        at_once: number of models in memory at the same time.
    """
    memory, head = read_memory(), read_gguf_head(model_file(reference))
    free = min((value for value in (memory.free, memory.limit) if value is not None), default=None)
    wanted_slots = 1 if reference.startswith("llama-cpp/") else slots
    window = fit_window(needed, wanted_slots, head, None if free is None else free // at_once)
    cache = f", {size(window.context * window.slots * head.token_bytes)} of memory" if head.token_bytes else ""
    get_run_logger().info("%s: conversations at once: %d, each of up to %s tokens%s.", reference.rpartition("/")[2], window.slots, f"{window.context:,}", cache)
    if window.slots < wanted_slots:
        get_run_logger().warning("Memory is short for %s: %d of %d conversations play side by side (%s).", reference, window.slots, wanted_slots, memory)
    return window
