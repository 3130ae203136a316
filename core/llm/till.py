"""What a call costs: the most is set aside before it is sent, and what came of it is checked, priced and written down."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace

from core.errors import InvalidOutputError, ModelError, RefusedError, RunStoppedError, TruncatedError, UnderstudyError
from core.llm.chat import ChatRequest, Reply, Usage
from core.llm.ledger import Ledger, Sent
from core.llm.loops import circle_of
from core.llm.prices import PriceList, greatest_price
from core.llm.usage_bounds import charged_usage, most_characters, most_usage
from core.redaction import redact_value
from core.thinking import without_thinking

LONGEST_NAME = 200
"""Characters of a provider's name for a call."""

ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class Till:
    """The accounts of one model's calls in a run.

    Args:
        reference: of the model, `provider/model`.
        prices: what its tokens cost.
        ledger: the run's bill and budget.
        tell: takes a sentence for the run's log.
    """

    def __init__(self, reference: str, prices: PriceList, ledger: Ledger, tell: Callable[[str], object] = lambda _: None) -> None:
        """Take what accounts need."""
        self.reference, self.ledger = reference, ledger
        self._prices, self._tell, self._surprised = prices, tell, False

    @property
    def _excess(self) -> Usage:
        return self.ledger.surprises.get(self.reference, Usage())

    async def reserve(self, request: ChatRequest, seconds: float | None, name: str | None = None) -> Sent:
        """Set the most that a request can cost aside.

        Args:
            seconds: after which it is given up; none for one whose answer may come when this process has ended.
            name: of the call; by default one that no other has.

        Raises:
            BudgetError: the budget does not hold it. SettingsError: it is in USD, and no price is known.
        """
        most = most_usage(request, self.reference, self._excess)
        return await self.ledger.reserve(request, self.reference, most, greatest_price(self._prices, most), seconds, name)

    def settle(self, sent: Sent, reply: Reply, seconds: float, learn: Callable[[Reply], object] = lambda _: None) -> tuple[Reply, ModelError | None]:
        """Charge a reply and check it.

        Args:
            reply: from `clean`.
            learn: takes the reply as it is charged, before it is checked.

        Returns:
            The reply as it is charged, and why it cannot be used; none if it can.
        """
        reply = replace(reply, usage=charged_usage(reply, sent.request, sent.most, self._excess))
        usd = greatest_price(self._prices, reply.usage) if reply.usage.estimated else self._prices.price(reply.usage)
        outcome = "unexpected"
        try:
            self._compare(reply.usage, sent.most)
            learn(reply)
            problem = self.problem(sent.request, reply)
            outcome = type(problem).__name__ if problem else "ok"
        except RunStoppedError as error:  # such as a judge that is not asked further
            outcome = type(error).__name__
            raise
        finally:
            self._record(sent, outcome, seconds, reply.usage, usd, reply.request_id, reply.reported)
        return reply, problem

    def settle_failure(self, sent: Sent, error: BaseException, seconds: float) -> None:
        """Charge a call that has no reply: with the most that it can cost, unless it certainly costs nothing."""
        name = "Cancelled" if isinstance(error, asyncio.CancelledError) else type(error).__name__
        if isinstance(error, UnderstudyError) and error.unbilled:
            self._record(sent, name, seconds, None, 0.0)
        else:  # the provider may have written the whole answer by then, and bill it
            self._record(sent, name, seconds, replace(sent.most, estimated=True), sent.usd)

    def _record(self, sent: Sent, outcome: str, seconds: float, usage: Usage | None, usd: float | None, *named: str | None) -> None:
        self.ledger.record(sent, outcome, seconds, usage, usd, self._prices.version, *named)

    def _compare(self, usage: Usage, most: Usage) -> None:
        if self._surprised or (usage.input_tokens <= most.input_tokens and usage.output_tokens <= most.output_tokens):
            return
        self._surprised = True
        self._tell(
            f"{self.reference} counted {usage.input_tokens:,} tokens in and {usage.output_tokens:,} out, where at most {most.input_tokens:,} and "
            f"{most.output_tokens:,} were expected: the budget may be exceeded by that. More is set aside for its next calls."
        )

    def problem(self, request: ChatRequest, reply: Reply) -> ModelError | None:
        """Return why a reply cannot be used; none if it can."""
        if fault := self._unsound(request, reply.text):
            return InvalidOutputError(f"{self.reference}: the answer {fault}.")
        if reply.finish == "refusal":
            said = " ".join(reply.text.split())[:LONGEST_NAME]
            return RefusedError(f"{self.reference} declined to answer{f': {said}' if said else '.'}")
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
        if isinstance(problem, TruncatedError) and (circle := circle_of(reply.text)):  # with twice the room it would write twice as much of it
            problem = InvalidOutputError(f"{self.reference} repeated itself ({circle[:60]!r}) until it was cut off at {request.max_tokens} tokens.")
        return problem

    def _unsound(self, request: ChatRequest, text: str) -> str | None:
        """Say what makes a text one that can be neither kept nor sent on; none if nothing does."""
        if len(text) > (most := most_characters(request, self.reference)):
            return f"has {len(text):,} characters, where {request.max_tokens:,} tokens were asked for ({most:,} at most)"
        if "\0" in text or (request.schema and ESCAPED_NUL.search(text)):
            return "has a NUL character"
        try:
            text.encode()
        except UnicodeEncodeError:
            return "has half a character (a lone surrogate)"
        return None


def clean(reply: Reply, request: ChatRequest) -> Reply:
    """Return a reply without thoughts that stand in its text, and without our own secrets: what answers may be a proxy that repeats what it was sent."""
    # a structured answer was read from among its thoughts, and its strings may quote their marks
    text, thought = (reply.text, False) if request.schema else without_thinking(reply.text, cut=reply.finish == "length")
    text, request_id, reported, raw = redact_value([text, _named(reply.request_id), _named(reply.reported), dict(reply.usage.raw)])
    return replace(reply, text=text, thought=reply.thought or thought, usage=replace(reply.usage, raw=raw), request_id=request_id, reported=reported)


def _named(said: object) -> str | None:
    """Return a name that a provider gave; none where it gave none."""
    return said[:LONGEST_NAME].encode(errors="replace").decode() or None if isinstance(said, str) else None
