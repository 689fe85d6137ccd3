"""What the guard asks of whoever drives a call, and what it gives it in the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from farthing.guard.waiting import Place
from farthing.ledger.store import Bound, Clock, Grant, Reservation, Short
from farthing.quote import Quote

__all__ = ["Again", "Held", "Look", "Refusal", "Reload", "Tight", "Unheld", "Wait"]


@dataclass(slots=True)
class Held:
    """What a call may be sent with.

    Attributes:
        grant: None if the ledger could not be used and the call goes on without it.
        cap: the output cap to write into the request; None to leave the request alone.
        tool_calls: `max_tool_calls` to write; None to leave it alone.
        quoted: what was held for; of the fallback, with its request, if `reservation.fallback_from` is set.
    """

    reservation: Reservation
    grant: Grant | None
    held: int
    cap: int | None
    tool_calls: int | None
    flags: tuple[str, ...]
    quoted: Quote


@dataclass(slots=True)
class Again:
    """How a call that does not fit may be asked for once more.

    Attributes:
        ids, clock: give each further reserve an id and an instant of its own.
        instead: the quote of the same request to another model; None if it cannot go there. Itself None for a
            call that has no request to change.
    """

    ids: Callable[[], str]
    clock: Clock
    instead: Callable[[str, int], Quote | None] | None = None


@dataclass(slots=True)
class Tight:
    """What was denied.

    Attributes:
        short: the window that has too little left.
        lo: nano-dollars that would have done.
        wanted: the reserve; None if nothing was to be held.
    """

    short: Short
    lo: int
    bounds: Sequence[Bound]
    wanted: Reservation | None = None

    @property
    def transient(self) -> bool:
        """True if the money is only held by running calls."""
        return self.short.limit - self.short.spent >= self.lo


@dataclass(slots=True)
class Refusal:
    """A refusal to be counted."""

    at_ns: int
    account: str
    model: str
    budget: str
    reason: str


class Reload:
    """A wish to read the standing budgets anew."""

    __slots__ = ()


@dataclass(slots=True)
class Look:
    """A wish to know how the windows of these budgets stand at an instant; nothing is held."""

    bounds: Sequence[Bound]
    at_ns: int


@dataclass(slots=True)
class Unheld:
    """A wish to remember that a call goes on without the ledger. If its end is never known, `held`
    nano-dollars are counted for it."""

    wanted: Reservation
    held: int


@dataclass(slots=True)
class Wait:
    """A wish to wait in line until money may be free. The answer is False when the time is up: then there is
    one last try."""

    place: Place
