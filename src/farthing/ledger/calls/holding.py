"""Money set aside for a call: in all of its windows or in none, inside the reserve's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from farthing.errors import TransactionConflict
from farthing.ledger.budgets import standing
from farthing.ledger.budgets.windows import Place, Windows
from farthing.ledger.calls import sql
from farthing.ledger.store import Bound, Reservation, Short, StandingBudget
from farthing.limits import key_of, matches

__all__ = ["hold", "known_places", "left_of", "matched", "places", "redefines", "shortest", "twice"]

Taken = list[tuple[Place, Bound]]


def known_places(windows: Windows, want: Reservation) -> Taken | None:
    """What `places` gives, from memory; None if a window has to be looked for."""
    found: Taken = []
    for bound in want.bounds:
        place = windows.known(bound, want.started_ns)
        if place is None:
            return None
        found.append((place, bound))
    return _in_order(found) if len(found) > 1 else found


def places(conn: sqlite3.Connection, windows: Windows, want: Reservation) -> Taken:
    """The windows that bind a call, in ascending order of their ids, each once with its least limit."""
    return _in_order([(windows.find(conn, bound, want.started_ns), bound) for bound in want.bounds])


def redefines(conn: sqlite3.Connection, windows: Windows, want: Reservation, now: int) -> bool:
    """Redefine the attached budgets to which a call gives other rules than they have; False if there are
    none. What it writes is to be committed, and the call to be matched anew."""
    changed = windows.redefined(conn, want.bounds)
    for number, budget in changed:
        standing.redefine(conn, number, budget, now)
    return bool(changed)


def _in_order(found: Taken) -> Taken:
    taken: dict[int, tuple[Place, Bound]] = {}
    for place, bound in found:
        other = taken.get(place.id)
        if other is None or (bound.hard, -bound.limit) > (other[1].hard, -other[1].limit):
            taken[place.id] = (place, bound)
    return [taken[window] for window in sorted(taken)]


def matched(budgets: Iterable[StandingBudget], want: Reservation) -> list[Bound]:
    """The bounds of a call that was matched against other budgets than these, which there are now."""
    bounds = [bound for bound in want.bounds if bound.attached]
    for each in budgets:
        budget = each.budget
        if matches(
            budget,
            account=want.account,
            context=want.context,
            provider=want.provider,
            model=want.model,
            tags=want.tags,
        ):
            key = key_of(budget, account=want.account, tags=want.tags)
            if key is not None:
                bounds.append(Bound(budget.name, budget, key, budget.limit_nano, attached=False))
    return bounds


def hold(conn: sqlite3.Connection, want: Reservation, taken: Taken) -> int | Short | None:
    """Nano-dollars that were set aside in each window; or the window that has least left, where it is too
    little; or None if one is not there any more. Without a number the caller rolls back."""
    held = want.hi
    if want.lo != held:
        shorts = _stand(conn, taken, {})
        if shorts:
            left = min(map(left_of, shorts))
            if want.lo > 0 and left < want.lo:
                return shortest(shorts, want.lo)
            held = min(held, max(want.lo, left // 4))
    if held == 0:
        return 0
    done: dict[int, int] = {}
    for place, bound in taken:
        statement = sql.HOLD_GUARDED if bound.hard else sql.HOLD
        if conn.execute(statement, (held, bound.limit, place.id)).rowcount == 0:
            shorts = _stand(conn, taken, done)
            return shortest(shorts, held) if shorts else None
        done[place.id] = held
    return held


def _stand(conn: sqlite3.Connection, taken: Taken, done: Mapping[int, int]) -> list[Short]:
    """How the hard windows stand, without what this call has taken already."""
    found = []
    for place, bound in taken:
        if bound.hard:
            row = conn.execute(sql.WINDOW_LEFT, (place.id,)).fetchone()
            if row is not None:
                spent, held, ends = row
                found.append(Short(bound, bound.limit, spent, held - done.get(place.id, 0), ends))
    return found


def left_of(short: Short) -> int:
    """What a window has left."""
    return short.limit - short.spent - short.held


def shortest(shorts: Iterable[Short], needed: int) -> Short:
    """Of windows, the one to be told of: one that running calls only hold may be waited for, but not as long
    as another has spent too much already; of equal ones that which has least left."""
    return min(shorts, key=lambda short: (short.limit - short.spent >= needed, left_of(short)))


def twice(error: sqlite3.IntegrityError, want: Reservation) -> Exception:
    """What to raise for a call that cannot be inserted."""
    if "transaction_id" in str(error):
        return TransactionConflict(
            f"transaction_id {want.transaction_id!r} of account {want.account!r} belongs to another call."
        )
    return error
