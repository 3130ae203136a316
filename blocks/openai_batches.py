"""OpenAI's batches of Responses (https://developers.openai.com/api/docs/guides/batch): a file of requests and a file of results."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

import httpx2
from pydantic import BaseModel

from blocks.batch_calls import ABOUT_A_BATCH, NAME_IN_METADATA, read_lines, unknown_result, words_of
from blocks.http import quoted
from core.errors import MalformedError, ModelError, UnansweredError
from core.llm.batches import Progress, Result
from core.llm.chat import ChatRequest

if TYPE_CHECKING:
    from blocks.openai import OpenAIChat

LISTED = 100
"""Batches per page of the list."""
OVER = ("completed", "failed", "expired", "cancelled")


class _File(BaseModel):
    id: str


class _Problem(BaseModel):
    code: str | None = None
    message: str | None = None


class _Problems(BaseModel):
    data: list[_Problem] | None = None


class _Counts(BaseModel):
    total: int = 0
    completed: int = 0
    failed: int = 0


class _Batch(BaseModel):
    id: str
    status: str
    metadata: dict[str, str] | None = None
    request_counts: _Counts | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: _Problems | None = None


class _Page(BaseModel):
    data: list[_Batch]
    has_more: bool = False


class OpenAIBatches:
    """Batches of a model by OpenAI."""

    most_requests, most_bytes = 50_000, 200_000_000

    def __init__(self, chat: "OpenAIChat") -> None:
        """Use the client of the live calls."""
        self.reference, self._chat = chat.reference, chat

    def entry(self, name: str, request: ChatRequest) -> bytes:
        """Return a request as a line of the file."""
        line = {"custom_id": name, "method": "POST", "url": "/v1/responses", "body": self._chat.body(request)}
        return json.dumps(line, ensure_ascii=False).encode() + b"\n"

    async def submit(self, label: str, entries: Sequence[bytes]) -> str:
        """Upload the requests and submit them; return the batch's id."""
        raw = self._chat.client.with_raw_response
        sending = raw.files.create(file=(f"{label}.jsonl", b"".join(entries), "application/jsonl"), purpose="batch")
        file = self._chat.endpoint.read(ABOUT_A_BATCH, await self._ask(sending), _File)
        metadata = {NAME_IN_METADATA: label}
        sending = raw.batches.create(input_file_id=file.id, endpoint="/v1/responses", completion_window="24h", metadata=metadata)
        return self._read(await self._ask(sending)).id

    async def find(self, label: str, requests: int) -> list[str]:  # noqa: ARG002  the label is enough
        """Return the id of the batch of a label."""
        query: dict[str, Any] = {"limit": LISTED}
        while True:
            content = await self._ask(self._chat.client.get("/batches", cast_to=httpx2.Response, options={"params": query}))
            page = self._chat.endpoint.read(ABOUT_A_BATCH, content, _Page)
            for batch in page.data:
                if (batch.metadata or {}).get(NAME_IN_METADATA) == label:
                    return [batch.id]
            if not page.has_more or not page.data:
                return []
            query["after"] = page.data[-1].id

    async def look(self, batch: str) -> Progress:
        """Return how far a batch is."""
        state = await self._retrieve(batch)
        counts = state.request_counts or _Counts()
        problems = [f"{problem.code}: {problem.message}" for problem in (state.errors.data or [] if state.errors else [])]
        refused = quoted("; ".join(problems[:3]) or "no reason given") if state.status == "failed" else ""
        return Progress(state.status in OVER, counts.completed + counts.failed, counts.total, refused, complete=state.status == "completed")

    async def results(self, batch: str) -> AsyncIterator[Result]:
        """Yield the results of the requests. Requests that were not processed before the batch was stopped have no line."""
        state = await self._retrieve(batch)
        read = []
        for file in filter(None, (state.output_file_id, state.error_file_id)):
            read += read_lines(await self._ask(self._chat.client.get(f"/files/{file}/content", cast_to=httpx2.Response)), self.reference)
        counts = state.request_counts or _Counts()
        if len(read) < counts.completed + counts.failed:
            raise MalformedError(f"{self.reference}: batch {batch} returned {len(read)} of {counts.completed + counts.failed} results.")
        for line in read:
            yield self._result(line)

    def _result(self, line: dict[str, Any]) -> Result:
        name, error = str(line.get("custom_id")), line.get("error")
        response = line["response"] if isinstance(line.get("response"), dict) else {}
        status = response.get("status_code")
        if status != 200:
            if not error and not isinstance(status, int):
                return Result(name, error=unknown_result(line.get("response")))
            expired = isinstance(error, dict) and error.get("code") == "batch_expired"
            detail = error or response.get("body")
            return Result(name, error=UnansweredError("expired" if expired else f"errored: {quoted(words_of(detail))}"))
        try:
            return Result(name, self._chat.read(ABOUT_A_BATCH, json.dumps(response.get("body")).encode(), {"x-request-id": str(response.get("request_id"))}))
        except ModelError as failed:
            return Result(name, error=failed)

    async def cancel(self, batch: str) -> None:
        """Ask the provider to stop a batch."""
        await self._ask(self._chat.client.post(f"/batches/{batch}/cancel", cast_to=httpx2.Response))

    async def _retrieve(self, batch: str) -> _Batch:
        return self._read(await self._ask(self._chat.client.get(f"/batches/{batch}", cast_to=httpx2.Response)))

    async def _ask(self, sending: Any) -> bytes:
        # the SDK's parser is not used (blocks/answers.py)
        answer = await self._chat.endpoint.ask(ABOUT_A_BATCH, sending, self._chat.refused)
        return getattr(answer, "http_response", answer).content

    def _read(self, content: bytes) -> _Batch:
        return self._chat.endpoint.read(ABOUT_A_BATCH, content, _Batch)
