"""Anthropic's Message Batches (https://platform.claude.com/docs/en/build-with-claude/batch-processing)."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx2
from pydantic import BaseModel

from blocks.batch_calls import ABOUT_A_BATCH, read_lines, unknown_result, words_of
from blocks.http import quoted
from core.errors import MalformedError, ModelError, UnansweredError
from core.llm.batches import Progress, Result
from core.llm.chat import ChatRequest

if TYPE_CHECKING:
    from blocks.anthropic import AnthropicChat

PATH = "/v1/messages/batches"
LISTED = 100
"""Batches per page of the list."""
UNBILLED = ("errored", "canceled", "expired")
"""Types of results that are not billed."""
CACHED_FOR_AN_HOUR = {"type": "ephemeral", "ttl": "1h"}
"""Cache mark of batched requests. A batch takes longer than five minutes, the default lifetime of a cache entry."""


class _Counts(BaseModel):
    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0

    @property
    def over(self) -> int:
        return self.succeeded + self.errored + self.canceled + self.expired


class _Batch(BaseModel):
    id: str
    processing_status: str
    request_counts: _Counts
    archived_at: datetime | None = None
    results_url: str | None = None


class _Page(BaseModel):
    data: list[_Batch]
    has_more: bool = False
    last_id: str | None = None


class AnthropicBatches:
    """Batches of a model by Anthropic. A batch has no name, so only the names of its requests carry the label."""

    most_requests, most_bytes = 100_000, 256_000_000

    def __init__(self, chat: "AnthropicChat") -> None:
        """Use the client of the live calls."""
        self.reference, self._chat = chat.reference, chat
        self._first = dict[str, str]()  # batch id to the name of its first result; to learn it, all results must be read

    def entry(self, name: str, request: ChatRequest) -> bytes:
        """Return a request in the form in which a batch holds it."""
        return json.dumps({"custom_id": name, "params": self._chat.body(request, CACHED_FOR_AN_HOUR)}, ensure_ascii=False).encode()

    async def submit(self, label: str, entries: Sequence[bytes]) -> str:  # noqa: ARG002  the names of the requests have it
        """Submit a batch; return its id."""
        content = b'{"requests":[' + b",".join(entries) + b"]}"
        return self._read(await self._ask("post", PATH, content=content, options={"headers": {"content-type": "application/json"}})).id

    async def find(self, label: str, requests: int) -> list[str]:
        """Return the ended batch whose requests have a label, or else the unfinished batches that may be it: names are only in results."""
        candidates, after = [], None
        while True:
            query = {"limit": LISTED, "after_id": after} if after else {"limit": LISTED}
            page = self._chat.endpoint.read(ABOUT_A_BATCH, await self._ask("get", PATH, options={"params": query}), _Page)
            for batch in page.data:
                if batch.archived_at:  # all older batches are archived too: the provider keeps results for 29 days
                    return candidates
                if batch.request_counts.over + batch.request_counts.processing != requests:
                    continue
                if batch.processing_status != "ended":
                    candidates.append(batch.id)
                elif batch.results_url and await self._is_of(batch.id, label):
                    return [batch.id]
            if not page.has_more or not page.last_id:
                return candidates
            after = page.last_id

    async def _is_of(self, batch: str, label: str) -> bool:
        if batch not in self._first:
            self._first[batch] = str(next(iter(read_lines(await self._results(batch), self.reference)), {}).get("custom_id"))
        return self._first[batch].startswith(label)

    async def look(self, batch: str) -> Progress:
        """Return how far a batch is; the provider counts the answered requests only when the batch has ended."""
        state = self._read(await self._ask("get", f"{PATH}/{batch}"))
        counts = state.request_counts
        ended = state.processing_status == "ended"
        return Progress(ended, counts.over, counts.over + counts.processing, complete=ended)

    async def results(self, batch: str) -> AsyncIterator[Result]:
        """Yield the result of each request."""
        state = self._read(await self._ask("get", f"{PATH}/{batch}"))
        if state.results_url is None:
            raise MalformedError(f"{self.reference}: batch {batch} has ended without results.")
        read = read_lines(await self._results(batch), self.reference)
        if len(read) < state.request_counts.over:
            raise MalformedError(f"{self.reference}: batch {batch} returned {len(read)} of {state.request_counts.over} results.")
        for line in read:
            yield self._result(line)

    def _result(self, line: dict[str, Any]) -> Result:
        name, result = str(line.get("custom_id")), line.get("result")
        result = result if isinstance(result, dict) else {}
        kind = result.get("type")
        if kind in UNBILLED:
            return Result(name, error=UnansweredError(f"errored: {quoted(words_of(result.get('error')))}" if kind == "errored" else kind))
        if kind != "succeeded":
            return Result(name, error=unknown_result(line.get("result")))
        try:
            return Result(name, self._chat.read(ABOUT_A_BATCH, json.dumps(result.get("message")).encode()))
        except ModelError as error:
            return Result(name, error=error)

    async def cancel(self, batch: str) -> None:
        """Ask the provider to stop a batch."""
        await self._ask("post", f"{PATH}/{batch}/cancel")

    async def _results(self, batch: str) -> bytes:
        # the results_url is not used: behind a gateway it names another host, which would receive the gateway's key
        return await self._ask("get", f"{PATH}/{batch}/results")

    async def _ask(self, method: str, path: str, **more: Any) -> bytes:
        # the SDK's parser is not used (blocks/answers.py)
        sending = getattr(self._chat.client, method)(path, cast_to=httpx2.Response, **more)
        response: httpx2.Response = await self._chat.endpoint.ask(ABOUT_A_BATCH, sending, self._chat.refused)
        return response.content

    def _read(self, content: bytes) -> _Batch:
        return self._chat.endpoint.read(ABOUT_A_BATCH, content, _Batch)
