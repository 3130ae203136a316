"""One paying process of a run: `python -m tests.core.payer URL FOLDER BUDGET_IN_USD CALLS TIMEOUT_SECONDS`."""

import asyncio
import sys

import httpx2

from core.errors import BudgetError, ModelError
from core.llm.calls import Caller
from core.llm.chat import ChatRequest, Message, Reply
from core.llm.ledger import Ledger
from core.llm.limiter import Limiter
from core.llm.prices import Given
from core.llm.usage_bounds import all_written, read_usage
from core.settings.models import Budget, ModelSettings, Price
from core.storage.store import Store
from tests.core.simulation import CALLS

PRICE = Price(input=3, output=15)
RUN = "run"


class Client:
    """A provider's client without an SDK, whose import would take longer than the process runs."""

    reference, caveat = "openai-compatible/x", None

    def __init__(self, url: str) -> None:
        self._url, self._client = f"{url}/v1/chat/completions", httpx2.AsyncClient(timeout=None, trust_env=False, headers={"authorization": "Bearer good"})

    async def complete(self, request: ChatRequest) -> Reply:
        asked = {"model": "x", "max_tokens": request.max_tokens, "messages": [{"role": "user", "content": request.messages[0].content}]}
        answer = (await self._client.post(self._url, json=asked)).json()
        used = answer["usage"] if isinstance(answer["usage"], dict) else {}
        cached = (used.get("prompt_tokens_details") or {}).get("cached_tokens")
        usage = read_usage(used.get("prompt_tokens"), used.get("completion_tokens"), cached)
        text = answer["choices"][0]["message"]["content"]
        return Reply(text, "stop", usage, written=all_written(text, usage, thought=False))


async def pay(url: str, folder: str, usd: float, count: int, seconds: float) -> int:
    """Call until the budget is spent; return 3 if it is."""
    calls = CALLS.model_copy(update={"timeout_seconds": seconds, "attempts": 1000, "first_backoff_seconds": 0.01, "longest_backoff_seconds": 0.01})
    model = Client(url)
    limiter = Limiter(model.reference, ModelSettings(concurrency=6), calls)
    caller = Caller(model, limiter, calls, Given(PRICE), Ledger(Store(folder), RUN, Budget(usd=usd)))
    slots = asyncio.Semaphore(6)

    async def one(number: int) -> object:
        request = ChatRequest("assistant", "", (Message("user", f"{number} " + "a few words " * 300),), 400, number, item=str(number))
        async with slots:
            return await caller.complete(request)

    found = await asyncio.gather(*(one(number) for number in range(count)), return_exceptions=True)
    for error in found:
        if isinstance(error, BaseException) and not isinstance(error, BudgetError | ModelError):
            raise error
    return 3 if any(isinstance(error, BudgetError) for error in found) else 0


if __name__ == "__main__":
    address, place, *numbers = sys.argv[1:]
    sys.exit(asyncio.run(pay(address, place, float(numbers[0]), int(numbers[1]), float(numbers[2]))))
