"""The set of a ledger's settled calls, in memory that does not grow with their number."""


class SettledCalls:
    """A set of names of calls.

    A process numbers its calls from 1 and puts its own name before the number. Of these calls only the number is stored up to which all are in the set.
    """

    def __init__(self) -> None:
        """Start with an empty set."""
        self._upto: dict[str, int] = {}
        self._others: set[str] = set()

    def add(self, call: str) -> None:
        """Add a call to the set."""
        self._others.add(call)
        writer, _ = _split(call)
        while (following := f"{writer}-{self._upto.get(writer, 0) + 1}") in self._others:
            self._others.remove(following)
            self._upto[writer] = self._upto.get(writer, 0) + 1

    def __contains__(self, call: str) -> bool:
        writer, number = _split(call)
        return 0 < number <= self._upto.get(writer, 0) or call in self._others


def _split(call: str) -> tuple[str, int]:
    """Return the writer and the number of a call; the number is 0 if the name does not end in one as a process writes it."""
    writer, _, end = call.rpartition("-")
    return writer, int(end) if end.isascii() and end.isdigit() and end[0] != "0" and len(end) < 16 else 0
