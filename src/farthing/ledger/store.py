"""What a ledger promises, whatever it is stored in.

The life of a call is one row: `reserve` inserts it as pending with the money it holds in every window
that binds it, `settle` turns it once into posted or voided, `expire` books what dead processes left.
Amounts are nano-dollars, instants nanoseconds since 1970 (UTC).

At every commit, for every window: spent = sum of the amounts of its posted and expired lines,
held = sum of the amounts of its pending lines; and the rollups by day equal the finished rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from farthing.ledger.alerting import Alerting
from farthing.ledger.amending import Amending
from farthing.ledger.figures import Totals, WindowRow
from farthing.ledger.keeping import Keeping
from farthing.ledger.parking import Parking
from farthing.ledger.pricestore import PriceStore
from farthing.ledger.questions.margins import Margins
from farthing.ledger.spilled import Spills
from farthing.records import Budget, Rates, Usage

__all__ = [
    "Bound",
    "Clock",
    "Durability",
    "Ending",
    "Entry",
    "Grant",
    "Ledger",
    "Reservation",
    "Settlement",
    "Short",
    "Stale",
    "StandingBudget",
    "Totals",
    "WindowRow",
]

Origin = Literal["code", "cli", "http", "config"]
Durability = Literal["safe", "fast", "strict"]


class Clock(Protocol):
    """Tells the time; a deterministic one serves in tests."""

    def time_ns(self) -> int:
        """Nanoseconds since 1970 (UTC)."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds since some instant, never running back: for durations."""
        ...


@dataclass(frozen=True, slots=True)
class Bound:
    """One budget that binds one call, and which of its windows.

    Attributes:
        identity: unique among all budgets: the standing budget's name, or `surface|account|period`, or
            the name of an attached `Budget`; `attached` tells the two name spaces apart.
        budget: its rules; the limit is `limit`, which for an attached budget is the caller's.
        key: which of the budget's windows: "" or the account, the value of the tag, the id of the run.
        limit: nano-dollars.
        attached: True if it was given to `wrap`, `track_usage` or `scope`: then its windows count only
            calls that name it, and are never seeded from rows.
    """

    identity: str
    budget: Budget
    key: str
    limit: int
    attached: bool

    @property
    def hard(self) -> bool:
        return self.budget.mode == "hard"


@dataclass(slots=True, kw_only=True)
class Reservation:
    """A call that wants to be sent, with all its dimensions.

    Attributes:
        id: of the call, made by the client and unique, best a UUIDv7; using one twice is a programming
            error, which is noticed only while the first is open.
        started_ns: of the years 1970 to 2254; kept to the microsecond.
        lo, hi: nano-dollars that it needs at least and would like to hold; equal unless an output cap
            may be written into it.
        expected: nano-dollars of its prompt alone, at which it is booked if its process dies; None if
            unpriced.
        epoch: of the standing budgets it was matched against (see `Ledger.standing`).
        bounds: every budget that binds it, standing and attached.
        model: canonical name of the requested model, whose `rates` it is expected to be priced with.
        input_tokens: expected; `counted_input` the same if all of it shows, to be compared with the bill.
        topped: the ledger's key of the call of which this is a further attempt (see `topped`).
    """

    id: str
    started_ns: int
    account: str
    context: str
    tags: Mapping[str, str]
    run: str | None
    provider: str | None
    requested_model: str
    model: str
    operation: str
    service_tier: str | None
    lo: int
    hi: int
    expected: int | None
    input_tokens: int | None
    rates: Rates | None
    epoch: int
    bounds: Sequence[Bound] = ()
    transaction_id: str | None = None
    fallback_from: str | None = None
    flags: Sequence[str] = ()
    counted_input: int | None = None
    topped: int | None = None


@dataclass(slots=True)
class Grant:
    """The call may be sent: `held` nano-dollars are set aside in each of its windows."""

    call: int  # the ledger's own key of the row
    reservation: Reservation
    held: int
    lines: tuple[tuple[int, bool], ...] = ()  # (window, True if it is charged the expected cost)


@dataclass(slots=True)
class Short:
    """The call may not be sent: this window has less than `lo` left. Nothing was written."""

    bound: Bound
    limit: int
    spent: int
    held: int
    ends_ns: int | None


@dataclass(slots=True)
class Stale:
    """Budgets are others than at `Reservation.epoch`, by this very reserve if `changed`: match anew."""

    epoch: int
    changed: bool = False


@dataclass(slots=True, kw_only=True)
class Settlement:
    """How a call ended.

    Attributes:
        outcome: one of `records.OUTCOMES`.
        cost: nano-dollars, the best figure; None if unknown.
        counted: nano-dollars that budgets are charged.
        raw: the provider's own usage object as JSON text, only where the columns cannot give it back.
        units: the counts without a column, by name.
        flags: added to those of the reservation.
    """

    outcome: str
    ended_ns: int
    duration_ns: int | None
    cost: int | None
    counted: int
    cost_source: str
    usage: Usage | None
    usage_source: str
    rates: Rates | None
    model: str | None = None
    provider: str | None = None
    service_tier: str | None = None
    attempts: int = 1
    overrun: int | None = None
    capped_at: int | None = None
    request_id: str | None = None
    response_id: str | None = None
    error: str | None = None
    flags: Sequence[str] = ()
    units: Mapping[str, int | str] | None = None
    raw: str | None = None


Ending = tuple[Grant, Settlement, bool]
"""The arguments of `Ledger.settle`: the last is `void`."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """A call that was made elsewhere: booked whole, never refused, in the windows of its own instant."""

    reservation: Reservation
    settlement: Settlement
    digest: bytes  # of the content that the caller gave; the same transaction_id must have the same


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingBudget:
    """A stored budget with where it came from."""

    budget: Budget
    origin: Origin
    pinned: bool = False  # set at run time over a declaration in code; holds until released


class Ledger(Alerting, Amending, Keeping, Margins, Parking, PriceStore, Spills, Protocol):
    """A store. Every verb is atomic: all of it is committed, or an error is raised and nothing is.

    Usable from any thread. All raise `LedgerError` (or a subclass) where the store cannot be used,
    after at most the ledger's timeout.
    """

    where: str
    """The path or URL, for a person."""

    def standing(self, *, fresh: bool = False) -> tuple[int, Sequence[StandingBudget]]:
        """The standing budgets and their epoch. From memory unless `fresh`; another process's change is
        noticed by `reserve`, which then answers `Stale`."""
        ...

    def reserve(self, wanted: Reservation) -> Grant | Short | Stale:
        """Insert the call as pending and hold its money in every window that binds it, or nothing.

        The grant is `hi` if lo == hi; otherwise min(hi, max(lo, a quarter of the least that a hard
        window has left)). Windows are taken in ascending order of their id. Hard windows must have the
        grant left; a `lo` of 0 always passes; soft windows are charged unconditionally and bind nothing.
        A window that does not exist yet is made, seeded from the rows and open holds of its period if its
        budget is standing.
        """
        ...

    def settle(self, grant: Grant, end: Settlement, *, void: bool = False) -> bool:
        """Turn a pending call into posted (or voided: an `error` of cost 0), once.

        Its windows give back the hold and are charged `counted` (`cost` where the window charges the
        expected). Never refused, also past a limit. A call that has been expired meanwhile, or was booked
        as unknown, takes the true figures instead. Returns False if it was posted, voided or
        corrected before.
        """
        ...

    def together(
        self, writes: Sequence[Reservation | Ending]
    ) -> Sequence[Grant | Short | Stale | bool | BaseException]:
        """`reserve` and `settle` for several callers, in order and, if all goes well, in one commit. The
        error of one is its answer and stops no other."""
        ...

    def at_once(
        self, writes: Sequence[Reservation | Ending]
    ) -> Sequence[Grant | Short | Stale | bool | BaseException] | None:
        """`together` for a caller that must not wait, as an event loop: None, with nothing done, if the store
        would have to wait for others or for the disk."""
        ...

    def give_up(self, call_id: str) -> None:
        """Void a call that nobody will send or settle, if it was reserved and is pending. Where its reserve
        may have been committed although its caller was interrupted, this leaves no hold behind."""
        ...

    def release(self, grant: Grant) -> bool:
        """Give back the hold of a pending call and delete its row: something else books what it was for."""
        ...

    def record(self, entry: Entry) -> tuple[str, bool]:
        """Book a finished call; (id of its row, True if it is new).

        Raises TransactionConflict if its (account, transaction_id) is there with another digest.
        """
        ...

    def record_many(self, entries: Iterable[Entry]) -> list[tuple[str, bool] | Exception]:
        """`record` for each, in one or few commits; a conflict of one is its answer and stops no other."""
        ...

    def refused(self, *, day_ns: int, account: str, model: str, budget: str, reason: str) -> None:
        """Count a refusal; it leaves no row."""
        ...

    def expire(self, now_ns: int) -> int:
        """Book every pending call whose owner's lease, or whose own limit, has ended before `now_ns`; returns
        how many."""
        ...

    def renew(self, now_ns: int) -> None:
        """Prolong the lease under which this process holds money."""
        ...

    def set_budget(self, budget: Budget, *, origin: Origin) -> None:
        """Store a standing budget under its name; a changed limit binds from the next reserve on.

        From "code" or "config" it is written only if this declaration differs from the one last written
        by them, and not over a limit set at run time ("cli", "http").
        """
        ...

    def remove_budget(self, name: str) -> bool:
        """Forget a standing budget; False if there was none."""
        ...

    def release_budget(self, name: str) -> bool:
        """Give a budget whose limit was set at run time back to its declaration in code; False if there is
        nothing to release."""
        ...

    def windows(self, *, at_ns: int | None = None) -> list[WindowRow]:
        """All windows, or those that contain an instant."""
        ...

    def room(self, bounds: Sequence[Bound], at_ns: int) -> list[tuple[Bound, int]]:
        """What each of these windows has left; a window that does not exist yet has its whole limit."""

    def look(self, bounds: Sequence[Bound], at_ns: int) -> list[Short]:
        """How each of these windows stands, too short or not, in the same order."""

    def call(self, call_id: str) -> dict[str, Any] | None:
        """The row of the view `calls` with this id, with its stored rates as `rates` (JSON text)."""
        ...

    def calls(
        self,
        *,
        account: str | None = None,
        model: str | None = None,
        context: str | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[dict[str, Any]]:
        """Finished calls, newest first, as rows of the view `calls`; `before` is the last id of a page."""
        ...

    def totals(
        self,
        by: Sequence[str] = (),
        *,
        start_ns: int | None = None,
        end_ns: int | None = None,
        where: Mapping[str, str] | None = None,
    ) -> list[Totals]:
        """Sums of finished calls that started in [start, end), grouped by any of "day", "account",
        "context", "provider", "model", "operation"; from the rollups where they can answer."""
        ...

    def run_totals(self, run: str) -> Totals:
        """Sums of the finished calls of a run and of everything below it, `usage` included."""
        ...

    def run_calls(self, run: str) -> list[dict[str, Any]]:
        """The finished calls of a run and of everything below it, oldest first."""
        ...

    def refusals(self, *, start_ns: int | None = None, end_ns: int | None = None) -> list[dict[str, Any]]:
        """Refusals by day, account, model, budget and reason."""
        ...

    def facts(self) -> dict[str, Any]:
        """For a doctor: path, versions, durability, file sizes, rows by table, open and expired holds."""
        ...

    def check(self) -> list[str]:
        """Sentences about what does not add up (rollups, windows, lines, integrity); empty if all does."""
        ...

    def writing_here(self) -> bool:
        """True if this thread is in the middle of a verb that writes: a garbage collection may run anywhere,
        and what it ends must be booked later."""
        ...

    def close(self) -> None:
        """Release the file. Pending calls of this process stay held until its lease ends, or are settled
        by whoever holds their grants through another opening."""
        ...
