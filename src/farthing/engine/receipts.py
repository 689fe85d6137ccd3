"""From what the caller holds to what it cost: by identity, without touching the object."""

from __future__ import annotations

import json
import weakref
from collections.abc import Mapping
from datetime import datetime, timedelta
from fractions import Fraction
from functools import partial
from typing import Any

from farthing import money, pricing
from farthing.engine.call import Call
from farthing.engine.lost import added, with_lost
from farthing.ledger.calls.codes import usage_from
from farthing.records import Band, Cost, Rates, Receipt, Usage

__all__ = ["Receipts", "receipt_of_row"]

_WAYS_TO_RESPONSE = ("http_response", "response", "_response")


class Receipts:
    """Calls by the objects that their callers got. Holds none of them alive."""

    def __init__(self) -> None:
        self._calls: dict[int, tuple[weakref.ref[Any], Call]] = {}

    def keep(self, obj: object, call: Call) -> None:
        """Remember the call that returned `obj`, for as long as that lives."""
        key = id(obj)
        calls = self._calls
        try:
            # The dead reference is what `pop` is given as its default: nothing of Python runs.
            calls[key] = weakref.ref(obj, partial(calls.pop, key)), call
        except TypeError:  # texts and bytes cannot be watched
            return

    def find(self, obj: object) -> Call | None:
        """The call that returned `obj`, or the HTTP response behind it."""
        found = self._of(obj)
        if found is None:
            for name in _WAYS_TO_RESPONSE:
                behind = getattr(obj, name, None)
                found = None if behind is None else self._of(behind)
                if found is not None:
                    break
        return found

    def _of(self, obj: object) -> Call | None:
        entry = self._calls.get(id(obj))
        return entry[1] if entry is not None and entry[0]() is obj else None


def receipt_of_row(row: Mapping[str, Any]) -> Receipt:
    """A row of the view `calls` (with `rates`, the stored rates as JSON) as a receipt."""
    usage = _usage(row)
    cost = row["cost_nano"]
    rates = _rates(row.get("rates"))
    return Receipt(
        id=row["id"],
        account=row["account"],
        context=row["context"],
        tags=json.loads(row["tags"] or "{}"),
        run=row["run"],
        provider=row["provider"],
        requested_model=row["requested_model"],
        model=row["model"],
        operation=row["operation"],
        service_tier=row["service_tier"],
        outcome=row["outcome"],
        attempts=row["attempts"],
        usage=usage,
        usage_source=row["usage_source"],
        cost=None if cost is None else money.usd(cost),
        counted=money.usd(row["counted_nano"]),
        cost_source=row["cost_source"],
        breakdown=None if rates is None or usage is None else _breakdown(row, usage, rates),
        held=money.usd(row["held_nano"]),
        overrun=None if not row["overrun"] else money.usd(row["overrun"]),
        capped_at=row["capped_at"],
        fallback_from=row["fallback_from"],
        started_at=datetime.fromisoformat(row["started_at"]),
        duration=None if row["duration_ms"] is None else timedelta(milliseconds=row["duration_ms"]),
        request_id=row["request_id"],
        response_id=row["response_id"],
        transaction_id=row["transaction_id"],
        error=row["error"],
        flags=tuple(json.loads(row["flags"] or "[]")),
    )


def _breakdown(row: Mapping[str, Any], usage: Usage, rates: Rates) -> Cost | None:
    cost, source = row["cost_nano"], row["cost_source"]
    flags = json.loads(row["flags"] or "[]")
    if cost is None and "suspect" in flags:
        return None  # what its counts come to cannot be
    if cost is not None and "corrected" in flags:
        notes = ("stated by a correction",)
        return Cost(usd=money.usd(cost), nano=cost, cost_source=source, rates=rates, usage=usage, notes=notes)
    units = json.loads(row["units"] or "{}")
    alone = None if cost is None else cost - added(units)
    made = pricing.price(usage, rates, units=units, reported_nano=alone if source == "reported" else None)
    if made.nano == alone or alone is None:
        return with_lost(made, units)
    note = "billed in steps, at rates of their own: the lines of each are not kept"
    return Cost(
        usd=money.usd(cost),
        nano=cost,
        cost_source=source,
        rates=rates,
        usage=usage,
        notes=(*rates.notes, note),
    )


_COLUMNS = ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")


def _usage(row: Mapping[str, Any]) -> Usage | None:
    return usage_from([row[name] for name in _COLUMNS], json.loads(row["units"] or "{}"))


def _rates(text: str | None) -> Rates | None:
    if not text:
        return None
    stored = json.loads(text)
    return Rates(
        provider=stored.get("provider"),
        model=stored.get("model", ""),
        prices=_prices(stored.get("prices", {})),
        bands=tuple(
            Band(above=band["above"], prices=_prices(band["prices"])) for band in stored.get("bands", ())
        ),
        status=stored.get("status", "priced"),
        source=stored.get("source", ""),
        tier=stored.get("tier"),
        notes=tuple(stored.get("notes", ())),
    )


def _prices(stored: Mapping[str, int | str]) -> dict[str, int | Fraction]:
    return {unit: _rate(value) for unit, value in stored.items()}


def _rate(value: int | str) -> int | Fraction:
    return value if isinstance(value, int) else Fraction(value)
