"""The context window with which a GGUF model is loaded: as long as its conversations need, within the limits of the model and the memory."""

from dataclasses import dataclass

from core.machine.gguf import GgufHead

USUAL = 4096
"""Context window, in tokens, of a model whose conversations are unknown; a lack of memory never shortens a window below this."""
STEP = 1024
"""Windows are multiples of this number of tokens."""
SHARE = 0.8
"""Share of the free memory that the model and its windows may use."""


@dataclass(frozen=True)
class Window:
    """The size with which a model is loaded.

    Args:
        context: tokens of one conversation.
        slots: number of concurrent conversations.
        bound: the model's maximum context in tokens; None if its file does not state it.
    """

    context: int
    slots: int
    bound: int | None

    @property
    def options(self) -> dict[str, int]:
        """The size as options of a block."""
        return {"context": self.context, "slots": self.slots}


def fit_window(needed: int, slots: int, head: GgufHead, free: int | None) -> Window:
    """Return the window for a conversation. If memory is short, the number of slots is reduced first, and the window only if one slot does not fit.

    Args:
        needed: tokens of the conversation.
        slots: desired number of slots.
        head: the header of the model's file.
        free: free memory in bytes; None if unknown.
    """
    context = max(-(-needed // STEP), 1) * STEP
    context = min(context, head.trained or context)
    if free is None or not head.token_bytes:
        return Window(context, slots, head.trained)
    room = max(int(free * SHARE) - head.size, 0) // head.token_bytes
    if room < context:
        context = min(context, max(room // STEP * STEP, USUAL))
    return Window(context, max(1, min(slots, room // context)), head.trained)
