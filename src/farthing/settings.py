"""Whom a call is booked on: what `wrap`, `track_usage` and `scope` say of it, and which of them wins.

Per field: the innermost scope, then outer ones, then the client, then the Meter. Tags merge, inner wins.
All of it is captured when the call is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Protocol, TypeVar

from farthing.errors import FarthingError, InvalidBudget, shown
from farthing.ledger.store import Bound
from farthing.records import Budget
from farthing.records.text import clean

__all__ = [
    "BudgetLike",
    "Frame",
    "Policies",
    "Who",
    "attach",
    "checked_context",
    "checked_tags",
    "checked_text",
    "current",
    "is_within",
    "leave",
    "put_back",
    "resolve",
]

BudgetLike = Budget | str | int | float | Decimal

T = TypeVar("T")

_NO_TAGS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Policies:
    """What is done where a call cannot be guarded as it should, how large a hold is, and how many seconds a
    call waits for money that running calls hold."""

    on_unpriced: str = "refuse"
    on_unbounded: str = "refuse"
    on_ledger_error: str = "refuse"
    on_tight: str = "cap"
    min_output_tokens: int | None = None
    output_cap: int | None = None
    inject_usage: bool = True
    wait: float = 2.0


@dataclass(frozen=True, slots=True)
class Who:
    """The settings of one surface, or of one call when all are merged."""

    account: str | None = None
    context: str | None = None
    tags: Mapping[str, str] | None = None
    budgets: tuple[Bound, ...] = ()
    run: str | None = None

    def over(self, outer: Who) -> Who:
        """These settings, with those of `outer` where these say nothing."""
        return Who(
            self.account or outer.account,
            self.context or outer.context,
            {**(outer.tags or _NO_TAGS), **self.tags} if self.tags else outer.tags,
            (*outer.budgets, *self.budgets) if self.budgets else outer.budgets,
            self.run or outer.run,
        )


class OnMetered(Protocol):
    """Told when the first metered call starts inside a scope."""

    def __call__(self, *, may_wait: bool) -> None: ...


class Frame:
    """One open scope: its merged settings, and whether a metered call has started inside."""

    __slots__ = ("__weakref__", "metered", "on_metered", "parent", "who")

    def __init__(self, own: Who, parent: Frame | None) -> None:
        self.parent = parent
        self.who: Who = own.over(parent.who) if parent else own
        self.metered = False
        self.on_metered: OnMetered | None = None

    def mark(self, *, may_wait: bool = True) -> None:
        """A metered call starts inside: this scope and all around it know. `may_wait` is False where an event
        loop would be held up."""
        frame: Frame | None = self
        while frame is not None:
            if not frame.metered:
                frame.metered = True
                if frame.on_metered is not None:
                    frame.on_metered(may_wait=may_wait)
            frame = frame.parent


current: ContextVar[Frame | None] = ContextVar("farthing_scope", default=None)


def put_back(variable: ContextVar[T], token: Token[T]) -> bool:
    """Undo the `set` that gave this token. A coroutine or a generator that is closed by a garbage collection
    ends in another context, which never knew the value: nothing is to be undone there, and False returned."""
    try:
        variable.reset(token)
    except ValueError:
        return False
    return True


def leave(frame: Frame, token: Token[Frame | None]) -> None:
    """End what was set in force by this token. An outer scope that was left inside has put back what was
    around it, and that stays."""
    if is_within(frame):
        put_back(current, token)


def is_within(frame: Frame) -> bool:
    """Whether what runs here runs in this frame, or in one inside of it."""
    here = current.get()
    while here is not None and here is not frame:
        here = here.parent
    return here is frame


def resolve(client: Who, meter: Who, *, pinned: bool = False) -> Who:
    """What a call made here and now is booked on."""
    frame = current.get()
    if frame is None:
        return client.over(meter)
    if pinned:
        return replace(client.over(frame.who).over(meter), run=frame.who.run)
    return frame.who.over(client).over(meter)


def attach(given: BudgetLike | None, *, surface: str, account: str, run: str) -> tuple[Bound, ...]:
    """The budget of a surface. A `Budget` has its own name and windows; a text shares its window with every
    surface of equal (surface, account, period); without a period its window is the run's.

    Raises:
        InvalidBudget: if it is not understood.
    """
    if given is None:
        return ()
    if isinstance(given, Budget):
        key = run if given.period == "run" else ""
        return (Bound(given.name, given, key, given.limit_nano, True),)  # noqa: FBT003  a record's field
    if isinstance(given, bool) or not isinstance(given, (str, int, float, Decimal)):
        raise InvalidBudget(
            f"a budget must be a text such as '$5/day', an amount or a Budget; got {shown(given)}"
        )
    budget = Budget.parse(given)
    identity = f"{_part(surface)}|{_part(account)}|{budget.period}"
    budget = Budget(identity[:200], budget.limit, budget.period)
    key = run if budget.period == "run" else ""
    return (Bound(identity, budget, key, budget.limit_nano, True),)  # noqa: FBT003  a record's field


def _part(text: str) -> str:
    """A part of an identity: names are the users', and must not be able to look like two parts."""
    return text.replace("%", "%25").replace("|", "%7C")


def checked_text(value: object, what: str, *, empty: bool = False) -> str | None:
    """The text, as the ledger holds it, or None. An empty one is allowed where that is said.

    Raises:
        FarthingError: for anything else.
    """
    if value is None:
        return None
    if isinstance(value, str) and (value or empty):
        return clean(value)
    raise FarthingError(f"{what} must be a text; got {shown(value)}")


def checked_context(value: object) -> str | None:
    """ "customer", "system" or None.

    Raises:
        FarthingError: for anything else.
    """
    if value is None or value in ("customer", "system"):
        return value if value is None else str(value)
    raise FarthingError(f"context must be 'customer' or 'system'; got {shown(value)}")


def checked_tags(tags: object) -> dict[str, str] | None:
    """A copy of the tags, as the ledger holds them.

    Raises:
        FarthingError: if they are not text to text.
    """
    if tags is None:
        return None
    if not isinstance(tags, Mapping) or not all(
        isinstance(k, str) and isinstance(v, str) for k, v in tags.items()
    ):
        raise FarthingError(f"tags must map text to text; got {shown(tags)}")
    return {clean(k): clean(v) for k, v in tags.items()}
