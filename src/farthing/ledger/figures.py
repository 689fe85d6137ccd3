"""Sums that a ledger answers with. Amounts are nano-dollars, instants nanoseconds since 1970 (UTC)."""

from __future__ import annotations

from dataclasses import dataclass

from farthing.records import Usage

__all__ = ["Totals", "WindowRow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowRow:
    """One window of one budget as stored. `ends_ns` is None where it does not end by itself."""

    budget: str
    attached: bool
    key: str
    starts_ns: int
    ends_ns: int | None
    limit: int
    spent: int
    held: int
    cost: int  # of the calls in it: `spent` less this is the uncertain part


@dataclass(slots=True, kw_only=True)
class Totals:
    """Sums over finished calls; `group` are the values grouped by, in order.

    Attributes:
        cost: of the calls whose cost is known; `unpriced` are not in it, `partial` with less than they cost.
        estimated: calls whose cost rests on estimates.
    """

    group: tuple[str | None, ...] = ()
    calls: int = 0
    errors: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    counted: int = 0
    unpriced: int = 0
    estimated: int = 0
    partial: int = 0
    usage: Usage | None = None
