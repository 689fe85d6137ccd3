"""What several tasks wish of the ledger at the same time, in one commit."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from farthing.engine.call import Settle
from farthing.errors import LedgerError
from farthing.ledger.store import Reservation

if TYPE_CHECKING:
    from farthing.engine.core import Engine

__all__ = ["can_be_grouped", "together"]


def can_be_grouped(want: object) -> bool:
    """Whether `together` can do it."""
    if type(want) is Settle:
        return want.grant is not None and not want.also
    return type(want) is Reservation


def together(engine: Engine, wants: list[Any]) -> list[Any]:
    """The answer or the error of each reservation; None for each settle, which is tried again if it fails."""
    if len(wants) == 1:
        return [engine.perform(wants[0])]
    engine.sweep()
    answers: list[Any]
    try:
        engine.catch_up()
        answers = list(
            engine.ledger.together(
                [want if type(want) is Reservation else (want.grant, want.end, want.void) for want in wants]
            )
        )
    except BaseException as error:
        answers = [error] * len(wants)
    failed = False
    for place, want in enumerate(wants):
        answer = answers[place]
        if type(want) is not Settle:
            if isinstance(answer, LedgerError):
                answers[place] = _own(answer)
            continue
        answers[place] = None
        if isinstance(answer, BaseException):
            failed = True
            engine.postpone(want, answer)
    if not failed:
        engine.retry()
    engine.guard.line.freed()
    return answers


def _own(error: LedgerError) -> LedgerError:
    """One for each caller: where it is raised is written into it."""
    own = copy(error)
    own.__cause__ = error
    return own
