"""Which calls of a ledger are settled, in memory that does not grow with their number."""


class SettledCalls:
    """Names of calls; of those that a process numbers, from 1 on behind its own name, only up to which number all are among them."""

    def __init__(self) -> None:
        """Begin with none."""
        self._upto: dict[str, int] = {}
        self._others: set[str] = set()

    def add(self, call: str) -> None:
        """Add a call."""
        self._others.add(call)
        writer, _ = _parted(call)
        while (following := f"{writer}-{self._upto.get(writer, 0) + 1}") in self._others:
            self._others.remove(following)
            self._upto[writer] = self._upto.get(writer, 0) + 1

    def __contains__(self, call: str) -> bool:
        writer, number = _parted(call)
        return 0 < number <= self._upto.get(writer, 0) or call in self._others


def _parted(call: str) -> tuple[str, int]:
    """Return the writer and the number of a call; 0 where its name ends in none as a process writes it."""
    writer, _, end = call.rpartition("-")
    return writer, int(end) if end.isascii() and end.isdigit() and end[0] != "0" and len(end) < 16 else 0
