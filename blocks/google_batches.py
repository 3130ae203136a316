"""Batches of the Gemini API (https://ai.google.dev/gemini-api/docs/batch-api), whose requests stand in the submission itself."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from google.genai import types

from blocks.batch_calls import ABOUT_A_BATCH, words_of
from blocks.http import quoted
from core.errors import ModelError, UnansweredError
from core.llm.batches import Progress, Result, name_of
from core.llm.chat import ChatRequest

if TYPE_CHECKING:
    from blocks.google import GoogleChat

LISTED = 20
"""Batches on a page of the list, which may hold their results."""
KEY = "key"
SUCCEEDED = (types.JobState.JOB_STATE_SUCCEEDED, types.JobState.JOB_STATE_PARTIALLY_SUCCEEDED)
OVER = (*SUCCEEDED, types.JobState.JOB_STATE_FAILED, types.JobState.JOB_STATE_CANCELLED, types.JobState.JOB_STATE_EXPIRED)


class GoogleBatches:
    """The batches of a model of Google's."""

    most_requests, most_bytes = 100_000, 19_000_000
    """No number of requests is documented; requests that are not in a file may have 20 MB."""

    def __init__(self, chat: "GoogleChat") -> None:
        """Share the client of the live calls."""
        self.reference, self._chat = chat.reference, chat

    def entry(self, name: str, request: ChatRequest) -> bytes:
        """Return a request as the SDK takes it, as long as the SDK sends it: what is not ASCII is escaped."""
        contents, options = self._chat.body(request)
        asked = types.InlinedRequest(contents=contents, config=types.GenerateContentConfig(**options), metadata={KEY: name})
        return json.dumps(asked.model_dump(mode="json", exclude_none=True)).encode()

    async def submit(self, label: str, entries: Sequence[bytes]) -> str:
        """Submit a batch; return its name."""
        asked = [types.InlinedRequest.model_validate_json(entry) for entry in entries]
        made = await self._ask(self._chat.client.batches.create(model=self._chat.model, src=asked, config={"display_name": label}))
        return str(made.name)

    async def find(self, label: str, requests: int) -> list[str]:  # noqa: ARG002  the label is enough
        """Return the name of the batch of a label."""
        jobs = await self._ask(self._chat.client.batches.list(config={"page_size": LISTED}))
        while True:
            for job in jobs.page:
                if job.display_name == label:
                    return [str(job.name)]
            if not jobs.page or not jobs.config.get("page_token"):
                return []
            await self._ask(jobs.next_page())

    async def look(self, batch: str) -> Progress:
        """Return how far a batch is; the SDK does not say how many are answered."""
        job = await self._get(batch)
        refused = f"its state is {job.state}" if job.state == types.JobState.JOB_STATE_FAILED else ""
        answered = len(job.dest.inlined_responses or []) if job.dest else 0
        return Progress(job.state in OVER, answered, answered, refused)

    async def results(self, batch: str) -> AsyncIterator[Result]:
        """Return what came of the requests, which are in the order in which they were sent."""
        job = await self._get(batch)
        for number, one in enumerate((job.dest.inlined_responses or []) if job.dest else []):
            name = (one.metadata or {}).get(KEY) or name_of(str(job.display_name), number)
            yield self._result(name, one)

    def _result(self, name: str, one: types.InlinedResponse) -> Result:
        if one.response is None:
            error = one.error.model_dump(exclude_none=True) if one.error else {}
            return Result(name, error=UnansweredError(f"errored: {quoted(words_of(error))}"))
        content = json.dumps(one.response.model_dump(mode="json", by_alias=True, exclude_none=True))
        try:
            return Result(name, self._chat.read(ABOUT_A_BATCH, content))
        except ModelError as error:
            return Result(name, error=error)

    async def cancel(self, batch: str) -> None:
        """Have the provider stop a batch."""
        await self._ask(self._chat.client.batches.cancel(name=batch))

    async def _get(self, batch: str) -> types.BatchJob:
        return await self._ask(self._chat.client.batches.get(name=batch))

    async def _ask(self, sending: Any) -> Any:
        return await self._chat.endpoint.ask(ABOUT_A_BATCH, sending, self._chat.refused)
