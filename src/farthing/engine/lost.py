"""What the attempts may cost that an SDK gave up: an estimate, and shown as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from farthing.ledger.calls.codes import LOST_NANO, LOST_TRIES
from farthing.money import usd
from farthing.records import Cost, CostLine

__all__ = ["added", "noted", "with_lost"]

Units = Mapping[str, int | str] | None


def noted(units: Units, lost: int, each: int | None) -> Units:
    """The counts of a row with so many lost attempts, of `each` nano-dollars for the prompt."""
    if not lost:
        return units
    more = {LOST_TRIES: lost} if each is None else {LOST_TRIES: lost, LOST_NANO: lost * each}
    return {**(units or {}), **more}


def added(units: Units) -> int:
    """Nano-dollars that are in the cost of a row for them; what is unknown adds nothing."""
    return int((units or {}).get(LOST_NANO, 0))


def with_lost(cost: Cost, units: Units) -> Cost:
    """The cost of an answer, with what the attempts before it may have cost in a line of its own."""
    lost = int((units or {}).get(LOST_TRIES, 0))
    if not lost:
        return cost
    tries = "an attempt" if lost == 1 else f"{lost} attempts"
    more = added(units)
    if units is None or LOST_NANO not in units:
        note = f"{tries} before the last may have been billed as well: nobody knows how much"
        return replace(cost, notes=(*cost.notes, note))
    nano = None if cost.nano is None else cost.nano + more
    line = CostLine(unit=LOST_TRIES, quantity=lost, rate=usd(more // lost), amount=usd(more))
    note = f"{tries} before the last may have been billed as well: {usd(more)} USD, estimated by the prompt"
    return replace(
        cost,
        usd=None if nano is None else usd(nano),
        nano=nano,
        lines=(*cost.lines, line),
        notes=(*cost.notes, note),
    )
