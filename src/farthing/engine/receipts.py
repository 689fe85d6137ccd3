"""From what the caller holds to what it cost: by identity, without touching the object."""

from __future__ import annotations

import json
import weakref
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from farthing import money, pricing
from farthing.engine.call import Call
from farthing.records import Rates, Receipt, Usage

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
            calls[key] = (weakref.ref(obj, lambda _, key=key: calls.pop(key, None)), call)  # type: ignore[misc]
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
    reported = cost if row["cost_source"] == "reported" else None
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
        breakdown=None
        if rates is None or usage is None
        else pricing.price(usage, rates, reported_nano=reported),
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


_COLUMNS = ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
_UNITS = frozenset(Usage.__dataclass_fields__)


def _usage(row: Mapping[str, Any]) -> Usage | None:
    counts: dict[str, Any] = {name: row[name] for name in _COLUMNS if row[name] is not None}
    for name, value in json.loads(row["units"] or "{}").items():
        if name in _UNITS:
            counts[name] = Decimal(str(value)) if name == "seconds" else value
    return Usage.trusted(**counts) if counts else None


def _rates(text: str | None) -> Rates | None:
    if not text:
        return None
    stored = json.loads(text)
    prices = {unit: _rate(value) for unit, value in stored.get("prices", {}).items()}
    return Rates(
        provider=stored.get("provider"),
        model=stored.get("model", ""),
        prices=prices,
        status=stored.get("status", "priced"),
        source=stored.get("source", ""),
        tier=stored.get("tier"),
        notes=tuple(stored.get("notes", ())),
    )


def _rate(value: int | str) -> int | Fraction:
    return value if isinstance(value, int) else Fraction(value)
