"""Calls that no wrapper sees: booked whole when they were made elsewhere, or held and settled by hand."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

from farthing import usage
from farthing.engine.call import Call, Settle
from farthing.engine.closed import closes, later, soon
from farthing.engine.core import Engine
from farthing.engine.drivers import adrive, drive
from farthing.engine.ends import outcome_of
from farthing.errors import FarthingError, InvalidUsage, LedgerError
from farthing.guard import Again
from farthing.ledger.store import Entry, Ledger, Reservation, Settlement
from farthing.log import say_once
from farthing.quote import Quote, billed, region_of
from farthing.records import Rates, Receipt, Usage
from farthing.settings import Who
from farthing.struck import pass_on, was_struck
from farthing.usage import Reading, believed

__all__ = ["Hold", "Made", "ahold", "book", "entry_of", "hold", "reading_of"]


@dataclass(slots=True, kw_only=True)
class Made:
    """A call that was made elsewhere, as its caller states it."""

    model: str
    reading: Reading
    who: Who
    provider: str | None = None
    base_url: str | None = None
    operation: str = "other"
    transaction_id: str | None = None
    started_ns: int = 0
    cost: int | None = None
    tier: str | None = None
    duration_ns: int | None = None
    flags: Sequence[str] = ("recorded",)
    given: Mapping[str, Any] | None = None


def entry_of(engine: Engine, made: Made) -> Entry:
    """What is to be booked: priced at the instant of the call, in the windows of that instant."""
    catalog = engine.catalog
    reading = believed(made.reading)
    asked = catalog.canonical(made.model, made.provider)
    served = catalog.canonical(reading.model, made.provider) if reading.model else None
    provider = made.provider or catalog.provider_of(served or asked, made.base_url)
    tier = made.tier or reading.service_tier

    def rates_of(model: str) -> Rates:
        return catalog.rates(
            model,
            provider=provider,
            base_url=made.base_url,
            at_ns=made.started_ns,
            tier=tier,
            region=region_of(reading.units),
            asked=made.model if model == (served or asked) else None,
        )

    rates = rates_of(served or asked)
    cost, source, absurd = billed(reading, rates, rates_of)
    if made.cost is not None:
        cost, source = made.cost, "reported"
    epoch, bounds = engine.guard.matched(made.who, provider=provider, model=asked)
    reservation = Reservation(
        id=engine.ids(),
        started_ns=made.started_ns,
        account=made.who.account or "default",
        context=made.who.context or "customer",
        tags=made.who.tags or {},
        run=made.who.run,
        provider=provider,
        requested_model=made.model,
        model=asked,
        operation=made.operation,
        service_tier=tier,
        lo=0,
        hi=0,
        expected=None,
        input_tokens=None,
        rates=rates,
        epoch=epoch,
        bounds=bounds,
        transaction_id=made.transaction_id,
    )
    flags = [*made.flags, *rates.flags]
    suspect = reading.suspect or absurd
    flags += [name for name, raised in (("clamped", reading.clamped), ("suspect", suspect)) if raised]
    settlement = Settlement(
        outcome="complete",
        ended_ns=engine.clock.time_ns(),
        duration_ns=made.duration_ns,
        cost=cost,
        counted=cost or 0,
        cost_source=source,
        usage=reading.usage,
        usage_source="reported" if reading.usage is not None else "unknown",
        rates=rates,
        model=served,
        provider=provider,
        service_tier=tier,
        response_id=reading.response_id,
        flags=flags,
        units=reading.units,
        raw=reading.raw,
    )
    return Entry(reservation=reservation, settlement=settlement, digest=_digest(made))


def book(engine: Engine, made: Made) -> None:
    """Book it; what the ledger does not take now is spilled, and booked under its id as soon as it can be."""
    entries: list[Entry] = []

    def record(ledger: Ledger) -> None:
        if not entries:
            entries.append(entry_of(engine, made))  # once the budgets have been read
        ledger.record(entries[0])

    try:
        engine.use(record)
        engine.retry()
    except BaseException as error:
        if not (isinstance(error, LedgerError) or was_struck(error)):
            raise
        entry = entries[0] if entries else entry_of(engine, made)
        wanted, end = entry.reservation, entry.settlement
        engine.guard.unbooked.goes_on(wanted.id, wanted.bounds, end.counted, wanted.started_ns)
        engine.settle(Settle(None, end, void=False, wanted=wanted))
        if was_struck(error):
            pass_on(error)
            raise
        say_once(
            ("record", type(error).__name__),
            logging.ERROR,
            "what a function returned could not be booked and will be tried again: %s",
            error,
        )


def _digest(made: Made) -> bytes:
    """Of what the caller stated; what was left to defaults does not count."""
    given = made.given
    if given is None:
        counts = made.reading.usage
        given = {"model": made.model, "usage": None if counts is None else asdict(counts), "cost": made.cost}
    text = json.dumps({k: v for k, v in given.items() if v is not None}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


class Hold:
    """Money set aside by hand. Settle it or void it; as a context manager it does so on an error.

    An error before `sent()` voids it, an error after it books the call as unknown. Leaving the block without
    either settles nothing: the money stays held until the lease of the process ends.
    """

    __slots__ = ("_call", "_engine", "_sent")

    def __init__(self, engine: Engine, call: Call) -> None:
        self._engine = engine
        self._call = call
        self._sent = False

    def __repr__(self) -> str:
        asked = self._call.hold.reservation
        return f"Hold({asked.id!r}, model={asked.requested_model!r}, held_nano={self._call.hold.held})"

    @property
    def id(self) -> str:
        """Of the call."""
        return self._call.hold.reservation.id

    @property
    def max_output_tokens(self) -> int:
        """The output that the hold pays for."""
        return self._call.quote.cap

    def sent(self) -> None:
        """The request is on its way: from now on it may be billed."""
        self._sent = True
        self._call.attempts = max(self._call.attempts, 1)

    def settle(self, usage: object) -> Receipt:
        """Book what the call was billed on: a `Usage`, a response body, or a dict of counts.

        Raises:
            FarthingError: if it was settled or voided before.
            InvalidUsage: if no usage can be read from it.
        """
        self._engine.settle(self._end(usage))
        return self._call.receipt()

    async def asettle(self, usage: object) -> Receipt:
        """`settle` from a coroutine."""
        await self._engine.aperform(self._end(usage))
        return self._call.receipt()

    def void(self) -> None:
        """Nothing was billed: the money is free again, and an `error` row of cost 0 stays."""
        want = self._call.finish("error")
        if want is not None:
            self._engine.settle(want)

    async def avoid(self) -> None:
        """`void` from a coroutine."""
        want = self._call.finish("error")
        if want is not None:
            await self._engine.aperform(want)

    def release(self) -> None:
        """The money is free again, and no row stays: something else books what it was held for."""
        call = self._call
        if not call.forget():
            return
        if call.hold.grant is not None:
            self._engine.release(call.hold.grant)
        else:
            self._engine.gone(call.hold.reservation.id)

    def fail(self, error: BaseException) -> None:
        """End it as an error in its block does."""
        want = self._fail(error)
        if want is not None:
            self._engine.settle(want)

    def settle_reading(self, reading: Reading) -> None:
        """`settle` with what has been read already; nothing if it was settled before."""
        want = self._call.finish("complete", reading)
        if want is not None:
            self._engine.settle(want)

    def _end(self, usage: object) -> Settle:
        reading = reading_of(usage, provider=self._call.hold.reservation.provider)
        if reading is None:
            raise InvalidUsage(f"no usage can be read from a {type(usage).__name__}; give a farthing.Usage")
        want = self._call.finish("complete", reading)
        if want is None:
            raise FarthingError("this hold was settled or voided before")
        return want

    def _fail(self, error: BaseException) -> Settle | None:
        return self._call.finish(
            outcome_of(error, self._call.hold.reservation.provider, sent=self._sent), error=error
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and closes(error):
            soon(self._engine, partial(self._fail, error))
        elif error is not None:
            self.fail(error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and closes(error):
            later(self._engine, partial(self._fail, error))
            return
        want = None if error is None else self._fail(error)
        if want is not None:
            await self._engine.aperform(want)


def hold(engine: Engine, quoted: Quote, who: Who) -> Hold:
    """Set money aside, or raise the refusal."""
    made: Hold = drive(engine, _held(engine, quoted, who), _sends_nothing)
    return made


async def ahold(engine: Engine, quoted: Quote, who: Who) -> Hold:
    """`hold` from a coroutine."""
    made: Hold = await adrive(engine, _held(engine, quoted, who), _sends_nothing)
    return made


def _held(engine: Engine, quoted: Quote, who: Who) -> Generator[Any, Any, Hold]:
    if not engine.enabled:
        return Hold(engine, Call(engine, engine.guard.unheld(quoted, who), quoted, None, server_known=False))
    held = yield from engine.guard.acquire(
        quoted,
        who,
        call_id=engine.ids(),
        now_ns=engine.clock.time_ns(),
        again=Again(engine.ids, engine.clock),
    )
    return Hold(engine, Call(engine, held, quoted, None, server_known=False))


def _sends_nothing(_: object) -> Any:
    raise FarthingError("a hold sends nothing")


_FIELDS = frozenset(Usage.__dataclass_fields__)


def reading_of(value: object, *, provider: str | None = None) -> Reading | None:
    """What a `Usage`, a dict of its fields, a response object or a body says; None if it says no usage.

    Raises:
        InvalidUsage: for fields of a `Usage` that cannot be.
    """
    if isinstance(value, Usage):
        return Reading(usage=value)
    if isinstance(value, Mapping) and value and set(value) <= _FIELDS:
        return Reading(usage=Usage(**value))
    if value is None or isinstance(value, (str, bytes, int, float)):
        return None
    reading = usage.read(value, provider=provider)
    return None if reading.usage is None and reading.reported_nano is None else reading
