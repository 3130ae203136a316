"""Accounts for calls: reserves the maximum cost before a call is sent, then checks, prices and records its result."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace

from core.errors import InvalidOutputError, ModelError, RefusedError, RunStoppedError, TruncatedError, UnderstudyError
from core.llm.chat import ChatRequest, Reply, Usage
from core.llm.ledger import Ledger, Sent
from core.llm.loops import circle_of
from core.llm.prices import PriceList, max_price
from core.llm.usage_bounds import charged_usage, most_characters, most_usage
from core.redaction import redact_value
from core.thinking import without_thinking

MAX_NAME = 200
"""Maximum characters of a name that a provider gives to a call or a model, and of a quoted refusal."""

ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class Till:
    """Accounts for one model's calls in a run.

    Args:
        reference: `provider/model`.
        prices: the prices of the model's tokens.
        ledger: the run's bill and budget.
        tell: writes a sentence to the run's log.
    """

    def __init__(self, reference: str, prices: PriceList, ledger: Ledger, tell: Callable[[str], object] = lambda _: None) -> None:
        """Create the accounts of a model."""
        self.reference, self.ledger = reference, ledger
        self._prices, self._tell, self._surprised = prices, tell, False

    @property
    def _excess(self) -> Usage:
        return self.ledger.surprises.get(self.reference, Usage())

    async def reserve(self, request: ChatRequest, seconds: float | None, name: str | None = None) -> Sent:
        """Reserve the maximum cost of a request.

        Args:
            request: the request.
            seconds: timeout of the call; None for a call whose answer may come after this process has ended.
            name: name of the call; None for a new unique one.

        Raises:
            BudgetError: the call could exceed the budget.
            SettingsError: the budget is in USD, and the model has no known price.
        """
        most = most_usage(request, self.reference, self._excess)
        return await self.ledger.reserve(request, self.reference, most, max_price(self._prices, most), seconds, name)

    def settle(self, sent: Sent, reply: Reply, seconds: float, learn: Callable[[Reply], object] = lambda _: None) -> tuple[Reply, ModelError | None]:
        """Charge a reply and check it.

        Args:
            sent: from `reserve`.
            reply: from `clean`.
            seconds: duration of the call.
            learn: called with the reply and its charged usage before the reply is checked.

        Returns:
            The reply with its charged usage, and why it is unusable; None if it is usable.
        """
        reply = replace(reply, usage=charged_usage(reply, sent.request, sent.most, self._excess))
        usd = max_price(self._prices, reply.usage) if reply.usage.estimated else self._prices.price(reply.usage)
        outcome = "unexpected"
        try:
            self._compare(reply.usage, sent.most)
            learn(reply)
            problem = self.problem(sent.request, reply)
            outcome = type(problem).__name__ if problem else "ok"
        except RunStoppedError as error:  # for example, a check decided to stop calling this judge
            outcome = type(error).__name__
            raise
        finally:
            self._record(sent, outcome, seconds, reply.usage, usd, reply.request_id, reply.reported)
        return reply, problem

    def settle_failure(self, sent: Sent, error: BaseException, seconds: float) -> None:
        """Charge a call without a reply with its maximum cost, unless it certainly costs nothing."""
        name = "Cancelled" if isinstance(error, asyncio.CancelledError) else type(error).__name__
        if isinstance(error, UnderstudyError) and error.unbilled:
            self._record(sent, name, seconds, None, 0.0)
        else:  # the provider may have generated the complete answer, and bill it
            self._record(sent, name, seconds, replace(sent.most, estimated=True), sent.usd)

    def _record(self, sent: Sent, outcome: str, seconds: float, usage: Usage | None, usd: float | None, *names: str | None) -> None:
        self.ledger.record(sent, outcome, seconds, usage, usd, self._prices.version, *names)

    def _compare(self, usage: Usage, most: Usage) -> None:
        if self._surprised or (usage.input_tokens <= most.input_tokens and usage.output_tokens <= most.output_tokens):
            return
        self._surprised = True
        self._tell(
            f"{self.reference} counted {usage.input_tokens:,} tokens in and {usage.output_tokens:,} out, where at most {most.input_tokens:,} and "
            f"{most.output_tokens:,} were expected: the budget may be exceeded by the difference. More is reserved for its next calls."
        )

    def problem(self, request: ChatRequest, reply: Reply) -> ModelError | None:
        """Return the error for an unusable reply; None if it is usable."""
        if fault := self._unsound(request, reply.text):
            return InvalidOutputError(f"{self.reference}: the answer {fault}.")
        if reply.finish == "refusal":
            reason = " ".join(reply.text.split())[:MAX_NAME]
            return RefusedError(f"{self.reference} declined to answer{f': {reason}' if reason else '.'}")
        room = f"{request.max_tokens} tokens. Allow more (max_tokens of the stage)"
        cut = f"{self.reference} was cut off at {room}."
        if reply.thought and not reply.text.strip():
            cut = f"{self.reference} only thought, and was cut off before its answer at {room}, or have it think less."
        problem: ModelError | None = TruncatedError(cut) if reply.finish == "length" and request.schema else None
        if request.check:
            try:
                request.check(reply)
            except (InvalidOutputError, TruncatedError) as invalid:
                problem = problem or type(invalid)(f"{self.reference}: {invalid}")
        if problem is None and not reply.text.strip():
            problem = TruncatedError(cut) if reply.finish == "length" else InvalidOutputError(f"{self.reference} gave an empty answer.")
        if isinstance(problem, TruncatedError) and (circle := circle_of(reply.text)):  # with twice the tokens it would only repeat itself twice as often
            problem = InvalidOutputError(f"{self.reference} repeated itself ({circle[:60]!r}) until it was cut off at {request.max_tokens} tokens.")
        return problem

    def _unsound(self, request: ChatRequest, text: str) -> str | None:
        """Return why a text can be neither stored nor sent on; None if it can."""
        if len(text) > (most := most_characters(request, self.reference)):
            return f"has {len(text):,} characters, where {request.max_tokens:,} tokens were requested (at most {most:,} characters)"
        if "\0" in text or (request.schema and ESCAPED_NUL.search(text)):
            return "has a NUL character"
        try:
            text.encode()
        except UnicodeEncodeError:
            return "has half a character (a lone surrogate)"
        return None


def clean(reply: Reply, request: ChatRequest) -> Reply:
    """Return a reply without the thoughts in its text and without our own secrets, which a proxy could repeat from the request."""
    # a structured answer has been separated from its thoughts already, and its strings may quote the marks of thinking
    text, thought = (reply.text, False) if request.schema else without_thinking(reply.text, cut=reply.finish == "length")
    text, request_id, reported, raw = redact_value([text, _named(reply.request_id), _named(reply.reported), dict(reply.usage.raw)])
    return replace(reply, text=text, thought=reply.thought or thought, usage=replace(reply.usage, raw=raw), request_id=request_id, reported=reported)


def _named(value: object) -> str | None:
    """Return a name from a provider's response; None if the value is not a non-empty string."""
    return value[:MAX_NAME].encode(errors="replace").decode() or None if isinstance(value, str) else None
