"""What a meter books for calls that no wrapper sees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from farthing import money, quote
from farthing.engine import Engine, Hold, Made, ahold, entry_of, hold, reading_of, receipt_of_row
from farthing.errors import InvalidUsage, LedgerError, shown
from farthing.money import Amount
from farthing.records import OPERATIONS, Receipt
from farthing.settings import Who, checked_context, checked_tags, checked_text, resolve
from farthing.usage import MOST_TOKENS, Reading

__all__ = ["Booking"]


class Booking:
    """`record` and `reserve`, with their twins for coroutines."""

    _engine: Engine

    def record(
        self,
        *,
        model: str,
        usage: Any,
        provider: str | None = None,
        account: str | None = None,
        context: str | None = None,
        operation: str | None = None,
        transaction_id: str | None = None,
        occurred_at: datetime | None = None,
        cost: Amount | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Receipt:
        """Book a call that was made elsewhere, in the windows of `occurred_at`; it is never refused.

        Args:
            usage: a `Usage`, a dict of its fields, or a response body.
            operation: one of `records.OPERATIONS`; "other" without one.
            transaction_id: unique for the account: the same content again returns the same row.
            occurred_at: aware; now without one.
            cost: USD, if somebody knows better than the prices; at most ten million.

        Raises:
            InvalidUsage: for counts that cannot be, or an `occurred_at` that is naive or of no year from 1970
                to 2254.
            TransactionConflict: if `transaction_id` was recorded with other content.
            LedgerError: if the ledger cannot be used.
        """
        made = self.made(
            model=model,
            usage=usage,
            provider=provider,
            account=account,
            context=context,
            operation=operation,
            transaction_id=transaction_id,
            occurred_at=occurred_at,
            cost=cost,
            tags=tags,
        )
        engine = self._engine
        if not engine.enabled:
            return Receipt(id=engine.ids(), account=made.who.account or "default", cost_source="unpriced")
        call_id, _ = engine.use(lambda ledger: ledger.record(entry_of(engine, made)))
        row = engine.ledger.call(call_id)
        if row is None:  # it was recorded before, and pruned since: only its key is kept
            account = made.who.account or "default"
            return Receipt(
                id=call_id, account=account, transaction_id=made.transaction_id, cost_source="unpriced"
            )
        return receipt_of_row(row)

    async def arecord(
        self,
        *,
        model: str,
        usage: Any,
        provider: str | None = None,
        account: str | None = None,
        context: str | None = None,
        operation: str | None = None,
        transaction_id: str | None = None,
        occurred_at: datetime | None = None,
        cost: Amount | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Receipt:
        """`record` from a coroutine."""
        receipt: Receipt = await self._engine.courier.bring(
            lambda: self.record(
                model=model,
                usage=usage,
                provider=provider,
                account=account,
                context=context,
                operation=operation,
                transaction_id=transaction_id,
                occurred_at=occurred_at,
                cost=cost,
                tags=tags,
            ),
            _ignore,
        )
        return receipt

    def record_many(self, made: Iterable[Made]) -> list[tuple[str, bool] | Exception]:
        """Book many calls (see `made`) in few commits: for each (id, True if it is new) or why not."""
        engine = self._engine
        return engine.ledger.record_many([entry_of(engine, m) for m in made])

    def made(
        self,
        *,
        model: str,
        usage: Any,
        provider: str | None = None,
        account: str | None = None,
        context: str | None = None,
        operation: str | None = None,
        transaction_id: str | None = None,
        occurred_at: datetime | None = None,
        cost: Amount | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Made:
        """What `record` would book, checked but not booked.

        Raises:
            InvalidUsage: as `record`.
        """
        engine = self._engine
        if not isinstance(model, str) or not model.strip():
            raise InvalidUsage(f"model must be a name; got {shown(model)}")
        if operation is not None and operation not in OPERATIONS:
            raise InvalidUsage(f"operation must be one of {', '.join(OPERATIONS)}; got {shown(operation)}")
        provider, tags = checked_text(provider, "provider", empty=True), checked_tags(tags)
        reading = _stated(usage, provider)
        nano = None if cost is None else money.parse_cost(cost)
        instant = _instant(occurred_at, engine.clock.time_ns())
        given = {
            "model": model,
            "usage": _content(reading),
            "provider": provider,
            "context": None if context == (engine.who.context or "customer") else context,
            "operation": None if operation == "other" else operation,
            "occurred_at": None if occurred_at is None else instant,
            "cost": nano,
            "tags": tags or None,
        }
        return Made(
            model=model,
            reading=reading,
            who=self._who(account, context, tags),
            provider=provider,
            operation=operation or "other",
            transaction_id=checked_text(transaction_id, "transaction_id"),
            started_ns=instant,
            cost=nano,
            given=given,
        )

    def reserve(
        self,
        *,
        model: str,
        provider: str | None = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        amount: Amount | None = None,
        account: str | None = None,
        context: str | None = None,
        tags: Mapping[str, str] | None = None,
        operation: str | None = None,
    ) -> Hold:
        """Set money aside for a call that no wrapper sees: `amount` USD, or what the tokens may cost.

        Without `input_tokens` the model's whole context window is held, without `max_output_tokens` its
        largest output; what is billed by characters, seconds, images or pages needs `amount` under a hard
        budget. There is no request that could be changed: no budget's `fallback` is held for, and nothing is
        capped. Ask for the cheaper model after the refusal.

        Raises:
            InsufficientCredits, UnpricedModel: as a wrapped client does.
            LedgerError: if the ledger cannot be used and a hard budget binds the call.
        """
        quoted = self._quoted(model, provider, input_tokens, max_output_tokens, amount, operation)
        return hold(self._engine, quoted, self._who(account, context, tags))

    async def areserve(
        self,
        *,
        model: str,
        provider: str | None = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        amount: Amount | None = None,
        account: str | None = None,
        context: str | None = None,
        tags: Mapping[str, str] | None = None,
        operation: str | None = None,
    ) -> Hold:
        """`reserve` from a coroutine."""
        await self._engine.awarm()
        quoted = self._quoted(model, provider, input_tokens, max_output_tokens, amount, operation)
        return await ahold(self._engine, quoted, self._who(account, context, tags))

    def _quoted(  # noqa: PLR0917  the arguments of `reserve`, in their order
        self,
        model: str,
        provider: str | None,
        input_tokens: int | None,
        max_output_tokens: int | None,
        amount: Amount | None,
        operation: str | None,
    ) -> quote.Quote:
        for name, count in (("input_tokens", input_tokens), ("max_output_tokens", max_output_tokens)):
            if count is not None and (type(count) is not int or not 0 <= count <= MOST_TOKENS):
                raise InvalidUsage(
                    f"{name} must be a number of tokens from 0 to {MOST_TOKENS:,}; got {shown(count)}"
                )
        if not isinstance(model, str) or not model.strip():
            raise InvalidUsage(f"model must be a name; got {shown(model)}")
        if operation is not None and operation not in OPERATIONS:
            raise InvalidUsage(f"operation must be one of {', '.join(OPERATIONS)}; got {shown(operation)}")
        return quote.manual(
            self._engine.catalog,
            model=model,
            provider=checked_text(provider, "provider", empty=True),
            at_ns=self._engine.clock.time_ns(),
            input_tokens=input_tokens,
            max_output_tokens=max_output_tokens,
            amount=None if amount is None else money.parse_cost(amount, what="amount"),
            operation=operation or "other",
        )

    def _who(self, account: str | None, context: str | None, tags: Mapping[str, str] | None) -> Who:
        """The settings of a call with arguments of its own: they win, then scopes, then the meter."""
        own = Who(checked_text(account, "account"), checked_context(context), checked_tags(tags))
        return own.over(resolve(Who(), self._engine.who))


def _instant(occurred_at: datetime | None, now_ns: int) -> int:
    instant = quote.instant_ns(occurred_at, now_ns)
    if occurred_at is None:  # of a clock that is wrong, the ledger speaks
        return instant
    from farthing.ledger.calls.keys import key_at  # noqa: PLC0415  sqlite3 is not needed before

    try:
        key_at(instant)
    except LedgerError:
        raise InvalidUsage(
            f"a ledger holds calls of the years 1970 to 2254; got {occurred_at.isoformat(sep=' ')}"
        ) from None
    return instant


def _stated(usage: Any, provider: str | None) -> Reading:
    """Counts as the caller states them. A mistake in a `Usage` is told; a body that contradicts itself is its
    provider's, and is booked with a flag."""
    reading = reading_of(usage, provider=provider)
    if reading is None or reading.suspect:
        raise InvalidUsage(
            f"no usage can be read from a {type(usage).__name__}: give a farthing.Usage, a dict of its "
            f"fields or a response body"
        )
    return reading


def _content(reading: Reading) -> dict[str, Any]:
    """What a usage says, in whichever form it was given; what it leaves out is not said."""
    counts = {} if reading.usage is None else asdict(reading.usage)
    return {
        "counts": {name: str(count) for name, count in counts.items() if count is not None},
        "units": dict(reading.units or {}),
        "reported": reading.reported_nano,
        "model": reading.model,
        "tier": reading.service_tier,
        "response": reading.response_id,
    }


def _ignore(_: object) -> None:
    """A record stands even if nobody waits for its receipt."""
