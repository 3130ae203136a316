"""The vendors' own batch clients behind one way of asking: how the stub's batches are tested."""

import json
from typing import Any

from tests.stub.vendors import MODELS, Clients, text_of

Results = dict[str, tuple[str, Any]]
"""By label, what became of a request: its outcome, and the client's own object of the answer or the error's code or type."""
UNFINISHED = {"in_progress", "canceling", "validating", "finalizing", "cancelling", "PENDING", "RUNNING"}


class BatchClient:
    """One protocol's batches."""

    def __init__(self, clients: Clients, protocol: str) -> None:
        self.clients, self.protocol = clients, protocol

    async def create(self, questions: dict[str, str], system: str = "Be kind.", most: int = 2000) -> Any:
        """Make a batch of questions, each asked as `Clients.ask` asks, and return the client's own object.

        Args:
            questions: by label.
            system: instructions.
            most: tokens of output.
        """
        model = MODELS[self.protocol]
        turns: dict[str, Any] = {label: [{"role": "user", "content": text}] for label, text in questions.items()}
        match self.protocol:
            case "anthropic":
                shared = {"model": model, "max_tokens": most, "system": system}
                asked: Any = [{"custom_id": label, "params": shared | {"messages": turn}} for label, turn in turns.items()]
                return await self.clients.anthropic.messages.batches.create(requests=asked)
            case "google":
                config = {"system_instruction": system, "max_output_tokens": most}
                contents = {label: [{"role": "user", "parts": [{"text": text}]}] for label, text in questions.items()}
                inline: Any = [{"contents": asked, "metadata": {"key": label}, "config": config} for label, asked in contents.items()]
                return await self.clients.google.aio.batches.create(model=model, src=inline, config={"display_name": "night"})
            case "responses":
                url, shared = "/v1/responses", {"model": model, "instructions": system, "max_output_tokens": most}
                bodies = {label: shared | {"input": turn} for label, turn in turns.items()}
            case _:
                url, shared = "/v1/chat/completions", {"model": model, "max_completion_tokens": most}
                bodies = {label: shared | {"messages": [{"role": "system", "content": system}, *turn]} for label, turn in turns.items()}
        lines = [json.dumps({"custom_id": label, "method": "POST", "url": url, "body": body}) for label, body in bodies.items()]
        return await self.create_from("\n".join(lines).encode(), url)

    async def create_from(self, lines: bytes, endpoint: Any) -> Any:
        """Upload OpenAI's lines and make a batch of them.

        Args:
            lines: of JSON.
            endpoint: of all requests.
        """
        file = await self.clients.openai.files.create(file=("night.jsonl", lines), purpose="batch")
        return await self.clients.openai.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", metadata={"run": "night"})

    def name_of(self, batch: Any) -> str:
        """Return the name by which a batch is requested."""
        return batch.name if self.protocol == "google" else batch.id

    def state_of(self, batch: Any) -> str:
        """Return the state as the client names it."""
        match self.protocol:
            case "anthropic":
                return batch.processing_status
            case "google":
                return batch.state.name.removeprefix("JOB_STATE_")
        return batch.status

    async def retrieve(self, name: str) -> Any:
        """Return a batch by its name."""
        match self.protocol:
            case "anthropic":
                return await self.clients.anthropic.messages.batches.retrieve(name)
            case "google":
                return await self.clients.google.aio.batches.get(name=name)
        return await self.clients.openai.batches.retrieve(name)

    async def cancel(self, name: str) -> None:
        """Cancel a batch."""
        match self.protocol:
            case "anthropic":
                await self.clients.anthropic.messages.batches.cancel(name)
            case "google":
                await self.clients.google.aio.batches.cancel(name=name)
            case _:
                await self.clients.openai.batches.cancel(name)

    async def names(self, size: int) -> list[str]:
        """Return the names of all batches, read page by page.

        Args:
            size: of a page.
        """
        match self.protocol:
            case "anthropic":
                return [batch.id async for batch in self.clients.anthropic.messages.batches.list(limit=size)]
            case "google":
                return [str(batch.name) async for batch in await self.clients.google.aio.batches.list(config={"page_size": size})]
        return [batch.id async for batch in self.clients.openai.batches.list(limit=size)]

    async def states(self, name: str) -> list[str]:
        """Retrieve a batch until it has ended, and return each state it was found in."""
        found: list[str] = []
        while not found or found[-1] in UNFINISHED:
            found.append(self.state_of(await self.retrieve(name)))
        return found

    async def results(self, name: str) -> Results:
        """Return the outcome of each request of a finished batch, in the order of its results."""
        match self.protocol:
            case "anthropic":
                decoder = await self.clients.anthropic.messages.batches.results(name)
                return {one.custom_id: _anthropic(one.result) async for one in decoder}
            case "google":
                job = await self.retrieve(name)
                answers = job.dest.inlined_responses if job.dest else []
                return {one.metadata["key"]: ("errored", one.error.code) if one.error else ("succeeded", one.response) for one in answers}
        batch = await self.retrieve(name)
        found: Results = {}
        for file in (batch.output_file_id, batch.error_file_id):
            text = (await self.clients.openai.files.content(file)).text if file else ""
            found |= {one["custom_id"]: _openai(one) for one in map(json.loads, text.splitlines())}
        return found

    def text(self, answer: Any) -> str:
        """Return the text of an answer among the results."""
        match self.protocol:
            case "responses":
                return next(part["text"] for item in answer["output"] if item["type"] == "message" for part in item["content"])
            case "chat":
                return answer["choices"][0]["message"]["content"]
        return text_of(self.protocol, answer)


def _anthropic(result: Any) -> tuple[str, Any]:
    return result.type, {"succeeded": lambda: result.message, "errored": lambda: result.error.error.type}.get(result.type, lambda: None)()


def _openai(line: dict[str, Any]) -> tuple[str, Any]:
    if line["error"]:
        return {"batch_expired": "expired", "batch_cancelled": "canceled"}[line["error"]["code"]], line["error"]["code"]
    answer = line["response"]
    return ("succeeded", answer["body"]) if answer["status_code"] == 200 else ("errored", answer["status_code"])
