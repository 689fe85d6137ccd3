"""What finished calls cost at the prices of today, by what their rows keep: which would change, and why.

A row does not keep the address that its call was sent to. Where the rates that it was priced with hold in one
region or at one address only, they say so; another price of that kind cannot be found for it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fnmatch import fnmatchcase

from farthing import money, pricing
from farthing.catalog import Catalog
from farthing.engine.lost import added
from farthing.ledger import Ledger
from farthing.ledger.amending import Finished, Repricing
from farthing.ledger.calls.codes import LOST_NANO, LOST_TRIES
from farthing.quote import as_asked, billed, region_of
from farthing.records import CostSource, Rates, Usage
from farthing.records.shown import Shown
from farthing.usage import MANY, Part, Reading, read

__all__ = ["Change", "Repriced", "Which", "reprice"]

RatesOf = Callable[[str], Rates]

REPORTED = "the provider stated the cost"
ESTIMATED = "the usage is estimated"
CORRECTED = "somebody has corrected it"
NOT_STATED = "a price of yours was used that is not stated here"
NO_PRICE = "not all of it has a price today"
STEPS = "it was billed in steps that are not kept"

_USER = "user"
_STEPS = (("iterations", "anthropic.messages"), ("steps", "openai.evals"))
"""Where a usage object keeps its steps, and the flavour that reads them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """The calls that are looked at.

    Attributes:
        start_ns, end_ns: they started in [start, end); None is open.
        model: a glob on the model that served or was asked for, in any case.
        reported, estimated: whether costs that the provider stated, and those of estimated usage, are among
            them.
    """

    start_ns: int | None = None
    end_ns: int | None = None
    model: str | None = None
    reported: bool = False
    estimated: bool = False

    def names(self, row: Finished) -> bool:
        """Whether the glob matches."""
        if self.model is None:
            return True
        glob = self.model.lower()
        return any(fnmatchcase(name.lower(), glob) for name in (row.model, row.asked, row.requested_model))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Change(Shown):
    """Calls whose cost changes for the same reason.

    Attributes:
        provider, model: that served them.
        reason: why.
        old_prices, prices: where the rates came from, and come from.
        calls: how many.
        old_cost: USD, the sum of what was known of their cost; None if nothing was.
        cost: USD, the sum of what they cost by the new price.
    """

    provider: str | None
    model: str
    reason: str
    old_prices: str
    prices: str
    calls: int
    old_cost: Decimal | None
    cost: Decimal


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Repriced(Shown):
    """What came of a repricing.

    Attributes:
        written: False if it was only asked what would change.
        calls: that were looked at; most of them cost what they cost before.
        changes: the largest first.
        left: why calls were left alone -> how many.
        overtaken: calls that something else changed at the same moment: the next repricing looks at them.
    """

    written: bool
    calls: int
    changes: tuple[Change, ...]
    left: Mapping[str, int]
    overtaken: int = 0

    @property
    def changed(self) -> int:
        """How many calls change."""
        return sum(change.calls for change in self.changes)


def reprice(ledger: Ledger, catalog: Catalog, which: Which, *, dry_run: bool = False) -> Repriced:
    """Price finished calls anew, at the instant of each; where that gives another cost, it is written, and
    the old one kept. A second time nothing changes.

    Others may write in between: it is done in commits of a few milliseconds each.

    Raises:
        LedgerError: if the ledger cannot be used. What has been written stays.
    """
    calls = after = overtaken = 0
    left: Counter[str] = Counter()
    sums = _Sums()
    while rows := ledger.finished(after=after, start_ns=which.start_ns, end_ns=which.end_ns):
        after = rows[-1].key
        wanted: list[Repricing] = []
        for row in rows:
            if not which.names(row):
                continue
            calls += 1
            verdict = _verdict(row, catalog, which)
            if isinstance(verdict, str):
                left[verdict] += 1
            elif verdict is not None:
                wanted.append(verdict)
        done = [True] * len(wanted) if dry_run else ledger.reprice(wanted)
        overtaken += done.count(False)
        sums.add(want for want, as_expected in zip(wanted, done, strict=True) if as_expected)
    return Repriced(
        written=not dry_run, calls=calls, changes=sums.changes(), left=dict(left), overtaken=overtaken
    )


class _Sums:
    """Adds up what changes: there may be millions of calls."""

    def __init__(self) -> None:
        self._found: dict[tuple[str | None, str, str, str, str], list[int | None]] = {}

    def add(self, wanted: Iterable[Repricing]) -> None:
        for want in wanted:
            was, cost = want.was, want.cost
            old = "" if was.rates is None else was.rates.source
            key = (was.provider, was.model, want.reason, old, want.rates.source)
            calls, before, after = self._found.get(key, (0, None, 0))
            if was.cost is not None:
                before = (before or 0) + was.cost
            self._found[key] = [(calls or 0) + 1, before, (after or 0) + (cost or 0)]

    def changes(self) -> tuple[Change, ...]:
        found = sorted(self._found.items(), key=lambda pair: -abs((pair[1][2] or 0) - (pair[1][1] or 0)))
        return tuple(
            Change(
                provider=provider,
                model=model,
                reason=reason,
                old_prices=old,
                prices=new,
                calls=calls or 0,
                old_cost=None if before is None else money.usd(before),
                cost=money.usd(after or 0),
            )
            for (provider, model, reason, old, new), (calls, before, after) in found
        )


def _verdict(row: Finished, catalog: Catalog, which: Which) -> Repricing | str | None:
    """What a call is to say, why it is left alone, or None if it costs what it did."""
    if "corrected" in row.flags:
        return CORRECTED
    if row.cost_source == "reported" and not which.reported:
        return REPORTED
    if (row.usage_source == "estimated" or LOST_TRIES in row.units) and not which.estimated:
        return ESTIMATED
    reading = _reading(row)
    if not isinstance(reading, Reading):
        return reading

    def rates_of(model: str) -> Rates:
        return catalog.rates(
            model,
            provider=row.provider,
            base_url=None if row.rates is None else row.rates.base_url,
            at_ns=row.started_ns,
            tier=row.service_tier,
            region=region_of(row.units) or (None if row.rates is None else row.rates.region),
            asked=row.requested_model if model in {row.model, row.asked} else None,
        )

    if not _is_reproduced(row, reading):
        return STEPS
    rates = rates_of(row.model)
    if rates.status == "unpriced" and row.model != row.asked:
        rates = as_asked(rates_of(row.asked), row.model)
    if row.rates is not None and row.rates.source == _USER != rates.source:
        return NOT_STATED
    cost, source = _billed(row, reading, rates, rates_of)
    if cost is None:
        return None if row.cost is None else NO_PRICE
    if source == "partial" and row.cost_source not in {"partial", "unpriced"}:
        return NO_PRICE
    if (cost, source) == (row.cost, row.cost_source):
        return None
    return Repricing(
        was=row,
        cost=cost,
        counted=_counted(row, cost, source),
        cost_source=source,
        rates=rates,
        reason=_why(row, rates, source),
    )


def _reading(row: Finished) -> Reading | str | None:
    """What a row says that its call was billed on; None if it does not say, or why that is not all."""
    usage = row.usage
    if usage is None:
        return None
    units = {name: count for name, count in row.units.items() if name not in {LOST_TRIES, LOST_NANO}} or None
    for key, flavour in _STEPS:
        if row.raw is not None and f'"{key}":[' in row.raw:
            return _in_steps(row.raw, usage, units, flavour)
    if row.operation == "batch" or (row.is_job and row.operation != "responses"):
        if row.cost is None and row.provider == "anthropic":
            return STEPS  # maybe of several models, which only the results said
        return Reading(usage=usage, parts=(Part(kind=MANY, model=None, usage=usage),), units=units)
    return Reading(usage=usage, units=units)


def _in_steps(raw: str, usage: Usage, units: Mapping[str, int | str] | None, flavour: str) -> Reading | str:
    try:
        stated = read({"usage": json.loads(raw)}, flavour=flavour)
    except ValueError:  # what was too long has been cut off
        return STEPS
    whole = stated.usage
    if (
        whole is None
        or whole.input_tokens != usage.input_tokens
        or whole.output_tokens != usage.output_tokens
    ):
        return STEPS
    parts = stated.parts
    if flavour == "openai.evals":
        parts = tuple(replace(part, kind=MANY) for part in parts)
    return Reading(usage=usage, units=units, parts=parts)


def _is_reproduced(row: Finished, reading: Reading) -> bool:
    """Whether what a row keeps comes to its cost at the rates that it was priced with. Where other models
    took part, their rates of then are not kept, and nothing can be told."""
    if row.cost is None or row.cost_source not in {"priced", "free", "partial"}:
        return True
    if any(part.model is not None for part in reading.parts):
        return True
    rates = row.rates
    return rates is not None and _billed(row, reading, rates, lambda _: rates)[0] == row.cost


def _billed(
    row: Finished, reading: Reading, rates: Rates, rates_of: RatesOf
) -> tuple[int | None, CostSource]:
    usage = reading.usage
    if row.outcome == "expired" and usage is not None and usage.output_tokens is None:
        cost = pricing.prompt(usage.input_tokens or 0, rates)  # which is all that was booked for it
        return cost, "unpriced" if cost is None else "priced"
    cost, source, _ = billed(reading, rates, rates_of)
    if cost is None or LOST_TRIES not in row.units:
        return cost, source
    whole = cost + added(row.units)
    if whole > money.MAX_CALL:  # as at its end: see `Call`
        return None, "unpriced"
    return whole, source if LOST_NANO in row.units else "partial"


def _counted(row: Finished, cost: int, source: CostSource) -> int:
    """What budgets are charged: as at the end of the call, but for an uncertain one no less than before."""
    if row.outcome != "complete":
        return max(row.counted, cost)
    lost = int(row.units.get(LOST_TRIES, 0)) * row.held
    alone = cost - added(row.units)
    return (max(row.held, alone) if source == "partial" else alone) + lost


def _why(row: Finished, rates: Rates, source: CostSource) -> str:
    if row.cost is None:
        return "its price became known"
    if row.cost_source == "partial" != source:
        return "the price of more of it became known"
    if row.cost_source == "reported":
        return "priced by its usage instead of what the provider stated"
    if row.rates is not None and row.rates.source != rates.source and rates.source == _USER:
        return "a price of yours is stated for it"
    return "its price was corrected"
