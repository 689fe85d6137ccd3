"""How far the bills of a model's last calls were above the counts of their requests.

A family's own margin is what is known of it in general. A model behind a gateway, with a template or a
tokenizer of its own, is known by its bills alone: the highest ratio of its last 1,000 calls, and a twentieth
more, is what a hold has to cover.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from farthing.errors import LedgerError
from farthing.ledger.store import Clock, Ledger

__all__ = ["Margins"]

_REACH = 16
"""A bill tells of inputs up to so many times its own. What a hidden template adds to "hi" is a constant, and
no multiple of what a long prompt will cost: beyond, its excess grows no more."""

_REST = 60 * 10**9
"""Nanoseconds for which what was read is good enough for a question."""


class Margins:
    """The margins of all models, in memory. Replaced whole, so that nobody has to wait to read them."""

    __slots__ = ("_bills", "_due", "known")

    def __init__(self) -> None:
        self._bills: Mapping[str, tuple[tuple[int, int], ...]] = {}
        self._due = 0
        self.known = False
        """True once a ledger has been read."""

    def upper(self, model: str, tokens: int) -> int:
        """Input tokens that a request to a model may be billed, by its bills so far; 0 without any.

        Args:
            model: canonical name.
            tokens: expected.
        """
        most = 0
        for counted, billed in self._bills.get(model, ()):
            if tokens <= _REACH * counted:
                upper = -(-tokens * billed * 105 // (counted * 100))
            else:
                upper = -(-(tokens + _REACH * (billed - counted)) * 105 // 100)
            most = max(most, upper)
        return most

    def read(self, ledger: Ledger, clock: Clock) -> None:
        """Learn from the calls in a ledger; where that cannot be read, what was known stays known."""
        self._due = clock.monotonic_ns() + _REST
        try:
            found = ledger.margins()
        except LedgerError:
            return
        bills: dict[str, list[tuple[int, int]]] = {}
        for model, counted, billed in found:
            bills.setdefault(model, []).append((counted, max(billed, counted)))
        self._bills = {model: _telling(pairs) for model, pairs in bills.items()}
        self.known = True

    def refresh(self, ledger: Ledger, clock: Clock) -> None:
        """`read`, unless that was done within the last minute."""
        if not self.known or clock.monotonic_ns() >= self._due:
            self.read(ledger, clock)


def _telling(pairs: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Those bills that others say less than: of larger inputs, or of a higher ratio."""
    kept: list[tuple[int, int]] = []
    for counted, billed in sorted(pairs, reverse=True):
        if not kept or billed * kept[-1][0] > kept[-1][1] * counted:
            kept.append((counted, billed))
    return tuple(kept)
