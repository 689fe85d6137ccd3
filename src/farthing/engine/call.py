"""One metered call between its reserve and its end, which comes exactly once."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from farthing import money, pricing
from farthing.catalog import Catalog
from farthing.engine.broken_off import at_most, guessed, hides
from farthing.engine.ends import cancels, of_prompt, outcome_of
from farthing.engine.lost import added, noted, with_lost
from farthing.guard import Held
from farthing.ledger.store import Grant, Ledger, Reservation, Settlement
from farthing.quote import Quote, as_asked, billed, charged, region_of
from farthing.records import Cost, Rates, Receipt
from farthing.usage import Reading, believed, with_headers

if TYPE_CHECKING:
    from farthing.engine.core import Engine

__all__ = ["Call", "Settle"]


class Settle:
    """A wish to book the end of a call, and to release what was `also` held for it. `hurry`: nobody may wait
    for it; `wanted`: the call, if it has no grant."""

    __slots__ = ("also", "end", "grant", "hurry", "void", "wanted")

    can_be_spilled = True

    def __init__(
        self,
        grant: Grant | None,
        end: Settlement,
        *,
        void: bool,
        hurry: bool = False,
        also: Sequence[Grant] = (),
        wanted: Reservation | None = None,
    ) -> None:
        self.grant = grant
        self.wanted = wanted
        self.also = also
        self.end = end
        self.void = void
        self.hurry = hurry

    def post(self, ledger: Ledger) -> None:
        """Book it."""
        assert self.grant is not None  # noqa: S101  others are not booked
        ledger.settle(self.grant, self.end, void=self.void)
        for grant in self.also:
            ledger.release(grant)


class Call:
    """One metered call. `finish` gives what is to be booked, to whoever comes first."""

    __slots__ = (
        "__weakref__",
        "_once",
        "also",
        "attempts",
        "base_url",
        "engine",
        "headers",
        "hold",
        "lost",
        "pid",
        "quote",
        "reading",
        "request_id",
        "server_known",
        "settlement",
        "started_mono",
    )

    def __init__(
        self, engine: Engine, hold: Held, quote: Quote, base_url: str | None, *, server_known: bool
    ) -> None:
        self.engine = engine
        self.hold = hold
        self.quote = quote
        self.base_url = base_url
        self.server_known = server_known
        self.attempts = 0
        self.lost = 0  # attempts before the last one that may have been billed
        self.also: list[Grant] = []  # what was held for attempts after those
        self.request_id: str | None = None
        self.headers: Mapping[str, str] | None = None
        self.reading: Reading | None = None  # of an answer that is billed in steps
        self.settlement: Settlement | None = None
        self.started_mono = engine.clock.monotonic_ns()
        self.pid = os.getpid()
        self._once = threading.Lock()

    @property
    def ended(self) -> bool:
        return self._once.locked()

    @property
    def heeds_headers(self) -> bool:
        """Whether the headers of its answer may say more of its bill than the body: those of proxies do, and
        those of a stream are sent before there is a bill."""
        known = self.server_known and self.hold.reservation.provider != "fireworks"
        return not known and not self.quote.ask.stream

    def outcome_of(self, error: BaseException) -> str:
        """The end that an error gives it, by what its provider bills."""
        return outcome_of(error, self.hold.reservation.provider, sent=self.attempts > 0)

    def forget(self) -> bool:
        """It shall never be booked; False if it was already."""
        return self.pid == os.getpid() and self._once.acquire(blocking=False)

    def finish(
        self,
        outcome: str,
        reading: Reading | None = None,
        *,
        seen: str = "",
        error: BaseException | None = None,
        hurry: bool = False,
    ) -> Settle | None:
        """What is to be booked, the first time; None afterwards and in a forked child."""
        if self.pid != os.getpid() or not self._once.acquire(blocking=False):
            return None
        end = self._plain(outcome, error)
        try:
            if reading is not None:
                if self.headers is not None:
                    reading, self.headers = with_headers(reading, self.headers), None
                reading = believed(reading)
                self._take_over(end, reading)
            if outcome != "error":
                self._figure(end, reading, seen)
            if error is not None and of_prompt(error, end.provider) and end.cost is not None:
                prompt = money.ceil_nano(self.quote.fixed)
                end.counted = min(end.counted, max(end.cost, prompt))
            if self.lost:
                self._add_lost(end)
        except Exception:
            self.engine.bug("pricing a call")
            end = self._uncertain(error)
        self.settlement = end
        if outcome == "complete" and end.duration_ns is not None:
            self.engine.guard.pace.note(end.duration_ns)
        return self._settle(end, hurry=hurry)

    def rescue(self, error: BaseException) -> Settle | None:
        """What is to be booked for a call that `error` broke off at any point: the end that it had already,
        perhaps not booked, else the one that the error gives it."""
        want = self.finish(self.outcome_of(error), error=error)
        if want is None and self.pid == os.getpid():
            end = self.settlement = self.settlement or self._uncertain(error)
            want = self._settle(end, hurry=False)
        return want

    def _settle(self, end: Settlement, *, hurry: bool) -> Settle:
        wanted = self.hold.reservation
        return Settle(
            self.hold.grant, end, void=end.outcome == "error", hurry=hurry, also=self.also, wanted=wanted
        )

    def _uncertain(self, error: BaseException | None) -> Settlement:
        """An end of which nothing more is known than what was held for it."""
        end = self._plain("unknown", error)
        end.cost, end.counted, end.cost_source = None, self.hold.held, "unpriced"
        return end

    def _plain(self, outcome: str, error: BaseException | None) -> Settlement:
        """An end that cost nothing. Made field by field, as `farthing.guard.holding.wanted` is."""
        hold, clock = self.hold, self.engine.clock
        end = object.__new__(Settlement)
        end.outcome = outcome
        end.ended_ns = clock.time_ns()
        end.duration_ns = max(clock.monotonic_ns() - self.started_mono, 0)
        end.cost = end.counted = 0
        end.cost_source = "none"
        end.usage_source = "unknown"
        end.provider = hold.reservation.provider
        end.attempts = max(self.attempts, 1)
        end.capped_at = hold.cap
        end.request_id = self.request_id
        end.error = None if error is None else type(error).__name__
        end.flags = ()
        end.usage = end.rates = end.units = None
        end.model = end.service_tier = end.response_id = end.raw = None
        end.overrun = None
        return end

    def _take_over(self, end: Settlement, reading: Reading) -> None:
        provider = self.hold.reservation.provider
        end.response_id = reading.response_id
        end.service_tier = reading.service_tier
        end.model = reading.model and Catalog.canonical(reading.model, provider)
        labels = self.quote.ask.labels
        end.units = {**labels, **(reading.units or {})} if labels else reading.units
        end.raw = reading.raw

    def _figure(self, end: Settlement, reading: Reading | None, seen: str) -> None:
        """What an end that may have been billed costs and counts."""
        outcome, asked, held = end.outcome, self.hold.reservation, self.hold.held
        rates = self._rates(end)
        end.rates = rates
        flags: list[str] = [*rates.flags]
        if reading is not None and reading.clamped:
            flags.append("clamped")
        if outcome == "complete" and reading is not None and reading.unread:
            if reading.suspect:
                flags.append("suspect")
            end.cost, end.counted, end.cost_source = None, held, "unpriced"
            if reading.reported_nano is not None:
                end.cost, end.cost_source = reading.reported_nano, "reported"
        elif outcome == "complete" and reading is not None and reading.says:
            self._book(end, reading, rates, flags)
            end.usage_source = "reported" if reading.usage else "unknown"
            end.counted = held if end.cost is None else end.cost
        else:
            guess = guessed(self.quote, reading, seen)
            self._book(end, Reading(usage=guess), rates, flags)
            end.usage_source = "unknown" if guess is None else "estimated"
            end.counted = held if end.cost is None else end.cost
            if outcome == "unknown":
                end.counted = max(held, end.counted)
            elif outcome == "aborted":
                end.counted = self._aborted(end.cost, rates, reading)
        if end.cost_source == "partial":  # a lower bound is no reason to free money
            end.counted = max(held, end.counted)
        if end.cost is not None and end.cost > held:
            end.overrun = end.cost - held
            flags.append("overrun")
        cap, usage = self.hold.cap, end.usage
        if (
            cap is not None
            and usage is not None
            and end.usage_source == "reported"
            and (usage.output_tokens or 0) > cap * self.quote.ask.choices
        ):
            flags.append("cap_ignored")
            self.engine.quirks.ignores_cap(self.base_url, asked.model)
        end.flags = flags

    def _add_lost(self, end: Settlement) -> None:
        """What the attempts may cost that the SDK gave up: the prompt each, and the hold is counted."""
        lost = self.lost
        if end.outcome == "error":  # the last attempt was not billed, but one before it may have been
            end.outcome, lost = "unknown", lost - 1
            self._figure(end, None, "")
        each = self.hold.reservation.expected
        end.units = noted(end.units, lost, each)
        if end.cost is not None:
            end.cost += added(end.units)
            end.cost_source = "partial" if each is None else end.cost_source
        end.counted = min(end.counted + lost * self.hold.held, money.MAX_CALL)
        end.flags = [*end.flags, "lost_attempts"]
        if end.cost is not None and end.cost > money.MAX_CALL:
            end.cost, end.cost_source, end.flags = None, "unpriced", [*end.flags, "suspect"]

    def _rates(self, end: Settlement) -> Rates:
        """Rates of the model and tier that were served; of what was asked for where nobody knows those."""
        asked = self.hold.reservation
        rates = self._rates_of(end.model or asked.model, end)
        if rates.status == "unpriced" and end.model not in (None, asked.model):
            return as_asked(self._rates_of(asked.model, end), str(end.model))
        return rates

    def _rates_of(self, model: str, end: Settlement) -> Rates:
        asked = self.hold.reservation
        catalog: Catalog = self.engine.catalog
        return catalog.rates(
            model,
            provider=asked.provider,
            base_url=self.base_url,
            at_ns=asked.started_ns,
            tier=end.service_tier or asked.service_tier,
            region=region_of(end.units) if end.units else None,
            asked=asked.requested_model if model in (end.model, asked.model) else None,
        )

    def _book(self, end: Settlement, reading: Reading, rates: Rates, flags: list[str]) -> None:
        end.usage = reading.usage
        end.cost, end.cost_source, absurd = billed(reading, rates, lambda other: self._rates_of(other, end))
        if absurd:
            flags.append("suspect")
        self.reading = reading if reading.parts else None

    def _aborted(self, cost: int | None, rates: Rates, reading: Reading | None) -> int:
        """An answer that was left: the hold, unless it is a stream that the provider is known to stop and
        nothing of it is unseen. Nobody stops making an answer that is no stream."""
        held, quote = self.hold.held, self.quote
        if cost is None:
            return held
        stops = quote.ask.stream and cancels(self.hold.reservation.provider, server_known=self.server_known)
        if not stops or hides(quote, reading):
            return max(held, cost)
        return max(min(held, at_most(quote, reading, rates, cost)), cost)

    def _breakdown(self, end: Settlement) -> Cost | None:
        if end.usage is None or end.rates is None or (end.cost is None and "suspect" in end.flags):
            return None
        if self.reading is not None:
            cost = charged(self.reading, end.rates, lambda other: self._rates_of(other, end))
        else:
            stated = end.cost is not None and end.cost_source == "reported"
            reported = (end.cost or 0) - added(end.units) if stated else None
            cost = pricing.price(end.usage, end.rates, units=end.units, reported_nano=reported)
        return with_lost(cost, end.units)

    def receipt(self) -> Receipt:
        """What it left.

        Raises:
            LookupError: if it has not ended yet.
        """
        end = self.settlement
        if end is None:
            raise LookupError("the call has not ended yet: read its stream to the end or close it")
        asked = self.hold.reservation
        if not self.engine.enabled:
            return Receipt(id=asked.id, account=asked.account, cost_source="unpriced")
        usd = money.usd
        cost: Decimal | None = None if end.cost is None else usd(end.cost)
        return Receipt(
            id=asked.id,
            account=asked.account,
            context=asked.context,  # type: ignore[arg-type]
            tags=dict(asked.tags),
            run=asked.run,
            provider=end.provider,
            requested_model=asked.requested_model,
            model=end.model or asked.model,
            operation=asked.operation,  # type: ignore[arg-type]
            service_tier=end.service_tier or asked.service_tier,
            outcome=end.outcome,  # type: ignore[arg-type]
            attempts=end.attempts,
            usage=end.usage,
            usage_source=end.usage_source,  # type: ignore[arg-type]
            cost=cost,
            counted=usd(end.counted),
            cost_source=end.cost_source,  # type: ignore[arg-type]
            breakdown=self._breakdown(end),
            held=usd(self.hold.held),
            overrun=None if end.overrun is None else usd(end.overrun),
            capped_at=end.capped_at,
            fallback_from=asked.fallback_from,
            started_at=self.engine.aware(asked.started_ns),
            duration=None if end.duration_ns is None else timedelta(microseconds=end.duration_ns // 1000),
            request_id=end.request_id,
            response_id=end.response_id,
            transaction_id=asked.transaction_id,
            error=end.error,
            flags=(*self.hold.flags, *end.flags, *(() if self.hold.grant else ("ledger_error",))),
        )
