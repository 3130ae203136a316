"""The answers of a model to the calls that one result takes, on disk as soon as they are there."""

from collections import Counter
from dataclasses import asdict, replace
from typing import Any, Literal

from core.errors import InvalidOutputError, TruncatedError
from core.fingerprint import fingerprint
from core.llm.chat import ChatModel, ChatRequest, Reply, Usage
from core.records import Record
from core.storage.line_log import LineLog
from core.storage.locks import Lock
from core.storage.store import Store

FOLDER = "answers"


class Answered(Record):
    """A call that was answered.

    Args:
        call: fingerprint of what was asked.
    """

    call: str
    text: str
    finish: Literal["stop", "length", "refusal"]


class Refused(Record):
    """An answer that the request's check refused.

    Args:
        refused: fingerprint of what was asked.
    """

    refused: str


class RecalledModel:
    """A model whose answers are kept: what it was asked before, it answers without being asked again.

    Args:
        model: that is asked otherwise.
        name: of what the answers are for, which is different for another request.
        lock: of the run that makes it.
    """

    def __init__(self, model: ChatModel, store: Store, name: str, lock: Lock | None = None) -> None:
        """Read what is there."""
        self.reference, self.caveat = model.reference, model.caveat
        self._model = model
        self._answers: dict[str, Reply] = {}
        self._refused: Counter[str] = Counter()
        self._log = LineLog(store, FOLDER, name, self._take, in_order=False, lock=lock)

    @property
    def damage(self) -> str | None:
        """What was wrong with the log that was found; none if nothing was."""
        return self._log.damage

    def _take(self, line: dict[str, Any]) -> None:
        if "refused" in line:
            self._refused[Refused.model_validate(line).refused] += 1
            return
        answer = Answered.model_validate(line)
        self._answers[answer.call] = Reply(answer.text, answer.finish, Usage())

    async def complete(self, request: ChatRequest) -> Reply:
        """Answer a request; one that was answered before costs nothing.

        Raises:
            ModelError: no usable answer came.
            RunStoppedError: there is no use in asking again now.
            StoreError: the data root cannot be written, or another run has taken over what the answers are for.
        """
        asked = [asdict(message) for message in request.messages]
        call = fingerprint([self.reference, request.system, asked, request.max_tokens, request.seed, request.schema])
        if call in self._answers:
            return self._answers[call]

        def check(reply: Reply) -> None:
            try:
                if request.check:
                    request.check(reply)
            except (InvalidOutputError, TruncatedError):
                self._log.add(Refused(refused=call).model_dump())
                self._refused[call] += 1
                raise

        refused = self._refused[call]
        reply = await self._model.complete(replace(request, check=check, refused=refused, seed=request.seed + refused))
        self._log.add(Answered(call=call, text=reply.text, finish=reply.finish).model_dump())
        self._answers[call] = reply
        return reply

    def remove(self) -> None:
        """Delete the answers: what they were for is stored, or is to be made of others."""
        self._log.remove()
