"""The readings of one stream, put together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from farthing.records.fees import FEES
from farthing.usage.counts import Absurd, Found, settle, units_of
from farthing.usage.flavours import row_of
from farthing.usage.flavours.row import Row
from farthing.usage.paths import shown
from farthing.usage.reading import Reading

__all__ = ["merge"]


def merge(previous: Reading | None, new: Reading) -> Reading:
    """Two readings of one stream, in order. The last usage wins, nothing is ever summed.

    Where the events of a flavour state some of the counts each, the last of each count wins. Names are
    taken from the later reading that gives them. Money belongs to the usage that it was stated with.
    """
    if previous is None:
        return new
    names: dict[str, Any] = {
        "model": new.model or previous.model,
        "service_tier": new.service_tier or previous.service_tier,
        "response_id": new.response_id or previous.response_id,
        "status": new.status or previous.status,
    }
    if new.usage is None and not new.suspect:
        if new.reported_nano is not None:
            names["reported_nano"] = new.reported_nano
        return replace(previous, **names)
    row = row_of(new.flavour)
    if new.found is not None and previous.found is not None and row is not None and not new.suspect:
        new = _merged(row, previous, new)
    elif previous.units and not new.suspect:
        hosted = {name: count for name, count in previous.units.items() if name in FEES}
        if hosted:  # which an event may show long before the one that states the last usage
            names["units"] = {**hosted, **(new.units or {})}
    if new.reported_nano is None and new.usage == previous.usage:
        names["reported_nano"] = previous.reported_nano
    return replace(new, **names)


def _merged(row: Row, previous: Reading, new: Reading) -> Reading:
    found: Found = {**(previous.found or {}), **(new.found or {})}
    raw = new.raw or previous.raw
    try:
        usage, clamped, loses = settle(row, found)
    except Absurd:
        return replace(new, usage=None, suspect=True, raw=raw or shown(found))
    if new.parts:
        usage = new.usage
    units = {**(previous.units or {}), **(new.units or {}), **(units_of(found) or {})}
    return replace(
        new,
        usage=usage,
        clamped=clamped,
        raw=raw or (shown(found) if loses else None),
        units=units or None,
        found=found,
    )
