"""Attempts that the SDK makes again. One that may have been billed stays paid for: its hold is kept, and the
next attempt needs one of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator

from farthing.engine.call import Call
from farthing.engine.core import Engine
from farthing.engine.ends import billed
from farthing.errors import LedgerError
from farthing.guard import Reload
from farthing.ledger.store import Grant, Reservation, Short, Stale
from farthing.settings import Who

__all__ = ["again", "may_be_lost"]


def may_be_lost(call: Call, error: BaseException | None, status: int | None) -> bool:
    """Whether the attempt that has just failed may have been billed."""
    if status is not None:
        return billed(status, call.hold.reservation.provider)
    return error is None or call.outcome_of(error) == "unknown"


def again(engine: Engine, call: Call) -> Generator[Reservation | Reload, Grant | Short | Stale | None, bool]:
    """Hold money for a further attempt, after one that may have been billed. False if there is none.

    It begins when its call did, so that it is held in the windows in which it will be booked, also after
    midnight. It is held where no budget binds the call, too: one may have come, and its row tells of it.
    """
    asked = call.hold.reservation
    if call.hold.grant is not None:
        wanted = dataclasses.replace(
            asked,
            id=engine.ids(),
            lo=call.hold.held,
            hi=call.hold.held,
            topped=call.hold.grant.call,
        )
        try:
            answer = yield wanted
            while isinstance(answer, Stale):
                yield Reload()
                answer = yield _matched_anew(engine, wanted)
        except LedgerError:
            if engine.policies.on_ledger_error == "refuse" and any(bound.hard for bound in asked.bounds):
                return False
        else:
            if not isinstance(answer, Grant):
                return False
            call.also.append(answer)
    call.lost += 1
    return True


def _matched_anew(engine: Engine, wanted: Reservation) -> Reservation:
    who = Who(wanted.account, wanted.context, wanted.tags)
    epoch, standing = engine.guard.matched(who, provider=wanted.provider, model=wanted.model)
    attached = (bound for bound in wanted.bounds if bound.attached)
    return dataclasses.replace(wanted, epoch=epoch, bounds=(*standing, *attached))
