"""Budgets while the ledger cannot be used: what was last known of their windows, and what was spent since.

It is the best that a process can know alone: it cannot see what others spend meanwhile, so a limit may be
passed. Only `on_ledger_error="allow"` comes here; a call that a hard budget binds is refused otherwise.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from farthing.guard.waiting import Key, key_of
from farthing.ledger.store import Bound, Short

__all__ = ["Unbooked"]

_FRESH: Final = 5 * 10**9
"""Nanoseconds for which what is known of a window is good enough."""

_MOST: Final = 10_000


class _Sums:
    """Nano-dollars of calls that have ended, and of those that run. The latter are below zero if more has
    ended than has begun since."""

    __slots__ = ("held", "spent")

    def __init__(self) -> None:
        self.spent = 0
        self.held = 0


class _Window:
    """What is known of a window: how it stood when it was looked at, and what this process adds to that."""

    __slots__ = ("booked", "looked_ns", "looks", "seen", "unbooked")

    def __init__(self) -> None:
        self.seen: Short | None = None
        self.looked_ns: int | None = None
        self.looks = 0
        self.booked = _Sums()  # what the ledger knows as well: the next look has it
        self.unbooked = _Sums()


class _Call(NamedTuple):
    """One that runs."""

    windows: tuple[_Window, ...]
    held: int
    booked: bool

    def sums(self) -> list[_Sums]:
        return [window.booked if self.booked else window.unbooked for window in self.windows]


class Mark(NamedTuple):
    """A window as a look at it began."""

    bound: Bound
    window: _Window
    looks: int
    spent: int
    held: int


class Unbooked:
    """Of one guard. Usable from any thread, and from a finalizer.

    A signal handler may strike between two sums, and what the ledger answers may be older than the answer:
    such races cost precision, until the next look.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._mutex = threading.RLock()
        self._windows: dict[Key, _Window] = {}
        self._running: dict[str, _Call] = {}

    def forked(self) -> None:
        """In a child: calls that run are the parent's."""
        known = [(key, window.seen) for key, window in self._windows.items()]
        self._begin()
        for key, seen in known:
            self._windows[key] = _Window()
            self._windows[key].seen = seen

    def outdated(self, bounds: Sequence[Bound], now_ns: int) -> dict[Key, Mark]:
        """Those of the hard ones that it is time to look at."""
        found: dict[Key, Mark] = {}
        with self._mutex:
            for bound in bounds:
                if not bound.hard:
                    continue
                key = key_of(bound)
                window = self._window(key, now_ns)
                looked = window.looked_ns
                if looked is None or not 0 <= now_ns - looked < _FRESH:
                    found[key] = Mark(bound, window, window.looks, window.booked.spent, window.booked.held)
        return found

    def saw(self, shorts: Iterable[Short], began: dict[Key, Mark], now_ns: int) -> None:
        """How windows stand, by a look that began when `outdated` told of them."""
        with self._mutex:
            for short in shorts:
                mark = began[key_of(short.bound)]
                window = mark.window
                if mark.looks != window.looks:
                    continue  # another thread was faster
                window.seen, window.looked_ns, window.looks = short, now_ns, mark.looks + 1
                # What has come since the look began may be in it or not.
                window.booked.spent = max(window.booked.spent - mark.spent, 0)
                window.booked.held = max(window.booked.held - mark.held, 0)

    def hold(self, call_id: str, bounds: Sequence[Bound], lo: int, hi: int, now_ns: int) -> int | Short:
        """What a call may be sent with, without the ledger: as much as it would be given by that; or the hard
        window that has too little left, as far as is known."""
        with self._mutex:
            windows = self._of(bounds, now_ns)
            shorts = [_stands(windows[key_of(bound)], bound) for bound in bounds if bound.hard]
            least = min(map(_left, shorts), default=hi)
            if lo > 0 and least < lo:
                # As the ledger says it: what running calls hold may be waited for, what is spent may not.
                return min(shorts, key=lambda short: (short.limit - short.spent >= lo, _left(short)))
            amount = min(hi, max(lo, least // 4)) if shorts else hi
            self._runs(call_id, windows, amount, booked=False)
        return amount

    def goes_on(self, call_id: str, bounds: Sequence[Bound], held: int, now_ns: int) -> None:
        """A call goes on without the ledger, whatever is left."""
        with self._mutex:
            self._runs(call_id, self._of(bounds, now_ns), held, booked=False)

    def granted(self, call_id: str, bounds: Sequence[Bound], held: int, now_ns: int) -> None:
        """The ledger holds money for a call."""
        with self._mutex:
            self._runs(call_id, self._of(bounds, now_ns), held, booked=True)

    def _runs(self, call_id: str, windows: dict[Key, _Window], held: int, *, booked: bool) -> None:
        if not windows:
            return
        if len(self._running) >= _MOST:  # the ends of the oldest are not heard of any more, it seems
            self._running.pop(next(iter(self._running)))
        call = self._running[call_id] = _Call(tuple(windows.values()), held, booked)
        for sums in call.sums():
            sums.held += held

    def ended(self, call_id: str, counted: int) -> None:
        """A call has ended; the ledger may not know of it yet."""
        with self._mutex:
            call = self._running.pop(call_id, None)
            if call is not None:
                for sums in call.sums():
                    sums.held -= call.held
                    sums.spent += counted

    def gone(self, call_id: str) -> None:
        """Nothing is to be booked for a call."""
        self.ended(call_id, 0)

    def booked(self) -> None:
        """All that has ended is in the ledger: its windows are looked at anew."""
        with self._mutex:
            for window in self._windows.values():
                window.looked_ns = None
                window.booked.spent += window.unbooked.spent
                window.unbooked.spent = 0

    def _of(self, bounds: Sequence[Bound], now_ns: int) -> dict[Key, _Window]:
        keys = (key_of(bound) for bound in bounds if bound.hard)
        return {key: self._window(key, now_ns) for key in keys}

    def _window(self, key: Key, now_ns: int) -> _Window:
        """What is known of a window; nothing, if it is another one by now."""
        window = self._windows.get(key)
        ends = None if window is None or window.seen is None else window.seen.ends_ns
        if window is None or (ends is not None and ends <= now_ns):
            if len(self._windows) >= _MOST:
                self._windows.clear()
            window = self._windows[key] = _Window()
        return window


def _left(short: Short) -> int:
    return short.limit - short.spent - short.held


def _stands(window: _Window, bound: Bound) -> Short:
    seen = window.seen
    spent, held, ends = (0, 0, None) if seen is None else (seen.spent, seen.held, seen.ends_ns)
    ours = (window.booked, window.unbooked)
    return Short(
        bound,
        bound.limit,
        spent + sum(each.spent for each in ours),
        held + sum(each.held for each in ours),
        ends,
    )
