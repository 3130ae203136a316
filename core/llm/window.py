"""The context window that a GGUF's model is loaded with: as long as its conversations need, as far as the model and the memory allow."""

from dataclasses import dataclass

from core.machine.gguf import GgufHead

USUAL = 4096
"""Tokens of a model of which nobody knows what it will read, and the fewest that memory shortens a window to."""
STEP = 1024
"""Windows are multiples of this."""
SHARE = 0.8
"""Of the free memory, for the model and its windows."""


@dataclass(frozen=True)
class Window:
    """How a model is loaded.

    Args:
        context: tokens of one conversation; slots: conversations side by side.
        bound: what the model could read at once; none where its file does not say.
    """

    context: int
    slots: int
    bound: int | None

    @property
    def options(self) -> dict[str, int]:
        """The same as options of a block."""
        return {"context": self.context, "slots": self.slots}


def fit_window(needed: int, slots: int, head: GgufHead, free: int | None) -> Window:
    """Return the window for a conversation of `needed` tokens. Where memory is short there are fewer slots, and only then a shorter window.

    Args:
        slots: that are wanted.
        free: bytes of memory; none where the system does not say.
    """
    context = max(-(-needed // STEP), 1) * STEP
    context = min(context, head.trained or context)
    if free is None or not head.token_bytes:
        return Window(context, slots, head.trained)
    room = max(int(free * SHARE) - head.size, 0) // head.token_bytes
    if room < context:
        context = min(context, max(room // STEP * STEP, USUAL))
    return Window(context, max(1, min(slots, room // context)), head.trained)
