"""A clock that moves when told, and ids that can be foreseen."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

__all__ = ["FakeClock", "FakeIds"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEW_YEAR_2026 = 1_767_225_600_000_000_000


class FakeClock:
    """Stands still until told to move. Safe to use from several threads; a copy made by pickle is its own
    clock.

    Args:
        start_ns: nanoseconds since 1970 in UTC; by default the start of 2026.
    """

    def __init__(self, start_ns: int = _NEW_YEAR_2026) -> None:
        self._lock = threading.Lock()
        self._wall = start_ns
        self._elapsed = 0

    def time_ns(self) -> int:
        """Nanoseconds since 1970 in UTC: what the wall clock shows."""
        with self._lock:
            return self._wall

    def monotonic_ns(self) -> int:
        """Nanoseconds that `advance` let pass since this clock was made. `set` does not change it."""
        with self._lock:
            return self._elapsed

    def advance(self, by: float | Decimal | timedelta) -> None:
        """Let time pass, on both clocks.

        Args:
            by: seconds, or a timedelta; rounded to the nanosecond.

        Raises:
            ValueError: if it is negative: time that passes never runs back. `set` moves the wall clock alone.
        """
        ns = _nanoseconds(by)
        if ns < 0:
            raise ValueError(f"time cannot pass backwards by {by!r}; use set() to turn the wall clock back")
        with self._lock:
            self._wall += ns
            self._elapsed += ns

    def set(self, at: datetime) -> None:
        """Turn the wall clock to `at`, forwards or back, as somebody who corrects a wrong clock does.

        Raises:
            ValueError: if `at` has no time zone.
        """
        if at.tzinfo is None:
            raise ValueError(f"{at!r} has no time zone")
        ns = _nanoseconds(at - _EPOCH)
        with self._lock:
            self._wall = ns

    def __getstate__(self) -> dict[str, int]:
        with self._lock:
            return {"wall": self._wall, "elapsed": self._elapsed}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.__init__(state["wall"])  # type: ignore[misc]
        self._elapsed = state["elapsed"]

    def __repr__(self) -> str:
        shown = _EPOCH + timedelta(microseconds=self.time_ns() // 1000)
        return f"FakeClock({shown.isoformat()})"


class FakeIds:
    """Calling it gives `call-000001`, then `call-000002`, and so on: rising as text, at a fixed width.

    Safe to call from several threads. A copy made by pickle goes on where the original stood, so processes
    that share a ledger need a prefix each.

    Args:
        prefix: what every id begins with.
        width: the number of digits.
    """

    def __init__(self, prefix: str = "call", width: int = 6) -> None:
        self._lock = threading.Lock()
        self._prefix = prefix
        self._width = width
        self._last = 0

    def __call__(self) -> str:
        """The next id.

        Raises:
            OverflowError: when the digits no longer hold the number, as ids would stop rising.
        """
        with self._lock:
            number = self._last + 1
            if number >= 10**self._width:
                raise OverflowError(f"no id of {self._width} digits is left")
            self._last = number
        return f"{self._prefix}-{number:0{self._width}d}"

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {"prefix": self._prefix, "width": self._width, "last": self._last}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["prefix"], state["width"])  # type: ignore[misc]
        self._last = state["last"]

    def __repr__(self) -> str:
        return f"FakeIds({self._prefix!r}, last={self._last})"


def _nanoseconds(span: float | Decimal | timedelta) -> int:
    if isinstance(span, timedelta):
        return span // timedelta(microseconds=1) * 1000
    return round(Decimal(repr(span) if isinstance(span, float) else span) * 1_000_000_000)
