"""The answers to the calls that one result needs, each written to disk as soon as it arrives."""

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
    """The answer to a call.

    Args:
        call: fingerprint of the request.
        text: the answer.
        finish: why the model stopped.
    """

    call: str
    text: str
    finish: Literal["stop", "length", "refusal"]


class Refused(Record):
    """An answer that the request's check refused.

    Args:
        refused: fingerprint of the request.
    """

    refused: str


class RecalledModel:
    """A model whose answers are stored, so that a request that was answered before is not sent again.

    Args:
        model: the model that answers the other requests.
        store: the data root.
        name: name of the result that the answers are for; another result needs another name.
        lock: lock of the run that makes the result.
    """

    def __init__(self, model: ChatModel, store: Store, name: str, lock: Lock | None = None) -> None:
        """Read the stored answers."""
        self.reference, self.caveat = model.reference, model.caveat
        self._model = model
        self._answers: dict[str, Reply] = {}
        self._refused: Counter[str] = Counter()
        self._log = LineLog(store, FOLDER, name, self._take, in_order=False, lock=lock)

    @property
    def damage(self) -> str | None:
        """What was wrong with the stored log; None if nothing was."""
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
            ModelError: the model gave no usable answer.
            RunStoppedError: further calls would fail, too.
            StoreError: the data root cannot be written, or another run has taken the result over.
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
        """Delete the answers: their result is stored, or will be made from other answers."""
        self._log.remove()
