"""Batches of the Gemini API (https://ai.google.dev/gemini-api/docs/batch-api), with the requests inline in the submission."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from google.genai import types

from blocks.batch_calls import ABOUT_A_BATCH, unknown_result, words_of
from blocks.http import quoted
from core.errors import MalformedError, ModelError, UnansweredError
from core.llm.batches import Progress, Result, name_of
from core.llm.chat import ChatRequest

if TYPE_CHECKING:
    from blocks.google import GoogleChat

LISTED = 20
"""Batches per page of the list. Pages are small because a batch in the list may contain its results."""
KEY = "key"
SUCCEEDED = (types.JobState.JOB_STATE_SUCCEEDED, types.JobState.JOB_STATE_PARTIALLY_SUCCEEDED)
OVER = (*SUCCEEDED, types.JobState.JOB_STATE_FAILED, types.JobState.JOB_STATE_CANCELLED, types.JobState.JOB_STATE_EXPIRED)


class GoogleBatches:
    """Batches of a model by Google."""

    most_requests, most_bytes = 100_000, 19_000_000
    """Maximum requests of a batch, which the API does not document, and maximum bytes: inline requests may have 20 MB."""

    def __init__(self, chat: "GoogleChat") -> None:
        """Use the client of the live calls."""
        self.reference, self._chat = chat.reference, chat

    def entry(self, name: str, request: ChatRequest) -> bytes:
        """Return a request in the form in which the SDK takes it. Non-ASCII text is escaped, so the length is that of the sent request."""
        contents, options = self._chat.body(request)
        inlined = types.InlinedRequest(contents=contents, config=types.GenerateContentConfig(**options), metadata={KEY: name})
        return json.dumps(inlined.model_dump(mode="json", exclude_none=True)).encode()

    async def submit(self, label: str, entries: Sequence[bytes]) -> str:
        """Submit a batch; return its name."""
        inlined = [types.InlinedRequest.model_validate_json(entry) for entry in entries]
        job = await self._ask(self._chat.client.batches.create(model=self._chat.model, src=inlined, config={"display_name": label}))
        return str(job.name)

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
        """Return how far a batch is; the SDK does not report the number of answered requests."""
        job = await self._get(batch)
        refused = f"its state is {job.state}" if job.state == types.JobState.JOB_STATE_FAILED else ""
        answered = len(job.dest.inlined_responses or []) if job.dest else 0
        return Progress(job.state in OVER, answered, answered, refused, complete=job.state in SUCCEEDED)

    async def results(self, batch: str) -> AsyncIterator[Result]:
        """Yield the results of the requests, in the order in which they were sent."""
        job = await self._get(batch)
        responses = (job.dest.inlined_responses or []) if job.dest else []
        if job.state in SUCCEEDED and not responses:
            raise MalformedError(f"{self.reference}: batch {batch} has ended without results.")
        for number, response in enumerate(responses):
            name = (response.metadata or {}).get(KEY) or name_of(str(job.display_name), number)
            yield self._result(name, response)

    def _result(self, name: str, answered: types.InlinedResponse) -> Result:
        if answered.response is None:
            if answered.error is None:
                return Result(name, error=unknown_result(answered.model_dump(exclude_none=True)))
            return Result(name, error=UnansweredError(f"errored: {quoted(words_of(answered.error.model_dump(exclude_none=True)))}"))
        content = json.dumps(answered.response.model_dump(mode="json", by_alias=True, exclude_none=True))
        try:
            return Result(name, self._chat.read(ABOUT_A_BATCH, content))
        except ModelError as error:
            return Result(name, error=error)

    async def cancel(self, batch: str) -> None:
        """Ask the provider to stop a batch."""
        await self._ask(self._chat.client.batches.cancel(name=batch))

    async def _get(self, batch: str) -> types.BatchJob:
        return await self._ask(self._chat.client.batches.get(name=batch))

    async def _ask(self, sending: Any) -> Any:
        answer = await self._chat.endpoint.ask(ABOUT_A_BATCH, sending, self._chat.refused)
        self._chat.endpoint.answered = True  # the SDK has read the answer
        return answer
