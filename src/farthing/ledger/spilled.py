"""Calls that could not be written into the ledger when they were made: what is kept of each,
and what a ledger promises about taking them in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from farthing.ledger.calls.codes import budget_from_json, budget_to_json, rates_from_json, rates_to_json
from farthing.records import Rates, Usage

if TYPE_CHECKING:
    from farthing.ledger.store import Bound, Grant, Reservation, Settlement

__all__ = ["Spilled", "Spills", "State", "flagged", "from_document", "to_document"]

State = Literal["sent", "ended", "gone"]

_NO_EPOCH: Final = -1
"""Of no budgets: whoever takes it in matches the standing ones anew, or reads what stands."""


@dataclass(slots=True, kw_only=True)
class Spilled:
    """One call, or the end of one.

    Attributes:
        state: "sent" (nobody knows its end yet), "ended", or "gone" (nothing is to be booked for it).
        reservation: the call with all its dimensions.
        held: nano-dollars that are to be counted for it if its end never comes.
        end: None unless it has ended.
        void: True if nothing was billed.
        call: the ledger's key of its row; None if it was sent without one.
        also: (key, id) of the rows of further holds, which end with it.
    """

    state: State
    reservation: Reservation
    held: int
    end: Settlement | None = None
    void: bool = False
    call: int | None = None
    also: tuple[tuple[int, str], ...] = ()

    def grant(self) -> Grant | None:
        """The hold that it had; its windows are to be looked up."""
        from farthing.ledger.store import Grant  # noqa: PLC0415  which promises to take this in

        return None if self.call is None else Grant(self.call, self.reservation, self.held)


class Spills(Protocol):
    """The verbs of a ledger for what was spilled."""

    @property
    def patience(self) -> float:
        """Seconds that somebody waits for it."""
        ...

    def ledger_id(self) -> str:
        """What tells this ledger from any other, also after it was moved."""
        ...

    def take_in(self, spilled: Sequence[Spilled], now_ns: int) -> list[bool | Exception]:
        """Book each, in any order; the order of the answers is theirs.

        True if it is booked now, False if it was before; an error of one is its answer and stops no other.
        Nothing is refused: a call that had no hold is booked in the windows of its own instant, as one that
        is recorded. One that was sent and has no end is booked as expired.
        """
        ...


def to_document(spilled: Spilled) -> dict[str, Any]:
    """What JSON can hold, and `from_document` understands."""
    want, end = spilled.reservation, spilled.end
    return {
        "state": spilled.state,
        "held": spilled.held,
        "call": spilled.call,
        "void": spilled.void,
        "also": [list(each) for each in spilled.also],
        "reservation": _plain(want)
        | {
            "tags": dict(want.tags),
            "rates": _rates(want.rates),
            "bounds": [_bound(bound) for bound in want.bounds if bound.attached],
            "flags": list(want.flags),
        },
        "end": None
        if end is None
        else _plain(end)
        | {
            "usage": _usage(end.usage),
            "rates": _rates(end.rates),
            "flags": list(end.flags),
            "units": None if end.units is None else dict(end.units),
        },
    }


def from_document(raw: Any) -> Spilled:
    """What `to_document` gave.

    Raises:
        ValueError, KeyError, TypeError: for anything else.
    """
    from farthing.ledger.store import Reservation, Settlement  # noqa: PLC0415  which promises to take this in

    asked, ended = raw["reservation"], raw["end"]
    reservation = Reservation(
        **{name: asked[name] for name in _names(Reservation) if name in asked}
        | {
            "rates": _rates_from(asked["rates"]),
            "bounds": tuple(_bound_from(bound) for bound in asked["bounds"]),
            "flags": tuple(asked["flags"]),
            "epoch": _NO_EPOCH,
        }
    )
    end = None
    if ended is not None:
        end = Settlement(
            **{name: ended[name] for name in _names(Settlement) if name in ended}
            | {
                "usage": _usage_from(ended["usage"]),
                "rates": _rates_from(ended["rates"]),
                "flags": tuple(ended["flags"]),
            }
        )
    if raw["state"] not in {"sent", "ended", "gone"} or (raw["state"] == "ended") != (end is not None):
        raise ValueError("it has no end that fits its state")
    return Spilled(
        state=raw["state"],
        reservation=reservation,
        held=int(raw["held"]),
        end=end,
        void=bool(raw["void"]),
        call=raw["call"],
        also=tuple((int(key), str(name)) for key, name in raw["also"]),
    )


def flagged(spilled: Spilled) -> Spilled:
    """With what its row is to say of how it got there."""
    flags = ("spilled",) if spilled.call is not None else ("ledger_error", "spilled")
    want = spilled.reservation
    added = [flag for flag in flags if flag not in want.flags]
    return replace(spilled, reservation=replace(want, flags=(*want.flags, *added)))


def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


_OWN: Final = frozenset({"tags", "rates", "bounds", "flags", "usage", "units", "epoch"})


def _plain(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in _names(type(record)) if name not in _OWN}


def _rates(rates: Rates | None) -> str | None:
    return None if rates is None else rates_to_json(rates)[1]


def _rates_from(text: str | None) -> Rates | None:
    return None if text is None else rates_from_json(text)


def _usage(usage: Usage | None) -> dict[str, int | str] | None:
    if usage is None:
        return None
    counts = ((name, getattr(usage, name)) for name in _names(Usage))
    return {
        name: str(count) if isinstance(count, Decimal) else count
        for name, count in counts
        if count is not None
    }


def _usage_from(counts: Mapping[str, Any] | None) -> Usage | None:
    if counts is None:
        return None
    seconds = counts.get("seconds")
    return Usage.trusted(**{**counts, "seconds": None if seconds is None else Decimal(seconds)})


def _bound(bound: Bound) -> dict[str, Any]:
    return {
        "identity": bound.identity,
        "budget": budget_to_json(bound.budget),
        "key": bound.key,
        "limit": bound.limit,
    }


def _bound_from(raw: Mapping[str, Any]) -> Bound:
    from farthing.ledger.store import Bound  # noqa: PLC0415  which promises to take this in

    return Bound(raw["identity"], budget_from_json(raw["budget"]), raw["key"], raw["limit"], attached=True)
