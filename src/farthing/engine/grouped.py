"""What several tasks wish of the ledger at the same time, in one commit."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

from farthing.engine.call import Settle
from farthing.errors import LedgerError
from farthing.ledger.store import Reservation
from farthing.struck import was_struck

if TYPE_CHECKING:
    from farthing.engine.core import Engine

__all__ = ["at_once", "can_be_grouped", "together"]


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
    answers: Sequence[Any]
    try:
        engine.catch_up()
        writes, ledger = [_write(want) for want in wants], engine.ledger
        answers = ledger.together(writes)
        if engine.ledger is not ledger and all(type(each) is LedgerError for each in answers):
            answers = engine.ledger.together(writes)  # it was closed before anything was done
    except BaseException as error:
        if was_struck(error):
            _struck(engine, wants)
            raise
        answers = [error] * len(wants)
    return _answered(engine, wants, answers)


def at_once(engine: Engine, wants: list[Any]) -> list[Any] | None:
    """The same in an event loop, which must not be held up: None, with nothing done, if it would be."""
    if not engine.is_quiet():
        return None
    try:
        answers = engine.ledger.at_once([_write(want) for want in wants])
    except BaseException as error:
        if was_struck(error):
            _struck(engine, wants)
            raise
        answers = [error] * len(wants)
    return None if answers is None else _answered(engine, wants, answers)


def _struck(engine: Engine, wants: list[Any]) -> None:
    for want in wants:
        if type(want) is Settle:
            engine.struck(want)


def _write(want: Any) -> Any:
    return want if type(want) is Reservation else (want.grant, want.end, want.void)


def _answered(engine: Engine, wants: list[Any], answers: Sequence[Any]) -> list[Any]:
    found = list(answers)
    failed = settled = False
    for place, want in enumerate(wants):
        answer = found[place]
        if type(want) is not Settle:
            if isinstance(answer, LedgerError):
                found[place] = _own(answer)
            continue
        found[place] = None
        settled = True
        if engine.guard.allows:
            engine.noted(want)
        if isinstance(answer, BaseException):
            failed = True
            engine.postpone(want, answer)
    if settled:
        if not failed:
            engine.retry()
        engine.guard.line.freed()
    return found


def _own(error: LedgerError) -> LedgerError:
    """One for each caller: where it is raised is written into it."""
    own = copy(error)
    own.__cause__ = error
    return own
