"""Calls that go on after their first answer: given to the ledger to keep, and taken back to be ended."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from farthing import quote
from farthing.engine.call import Call, Settle
from farthing.engine.core import Engine
from farthing.guard import Held
from farthing.ledger.parking import JobRef, Parked
from farthing.ledger.store import Ledger

__all__ = ["Park", "call_of", "late"]


class Park(Settle):
    """A wish to let a call wait for the result of a job, whichever process learns it; with `then`, to book
    at once what is known of its end as well."""

    __slots__ = ("job", "notes", "then", "until_ns")

    can_be_spilled = False  # it is no end: without its row there is nothing to keep

    def __init__(
        self, call: Call, job: JobRef, waits_ns: int, notes: Mapping[str, str], then: Settle | None = None
    ) -> None:
        self.grant = call.hold.grant
        self.wanted = None
        self.also = ()
        self.void = False
        self.hurry = then is not None and then.hurry
        self.job = job
        self.notes = notes
        self.until_ns = call.hold.reservation.started_ns + waits_ns
        self.then = then
        call.engine.parked[call.hold.reservation.id] = call

    def post(self, ledger: Ledger) -> None:
        """Have the ledger keep it."""
        assert self.grant is not None  # noqa: S101  others are not booked
        ledger.park(self.grant, self.job, self.until_ns, self.notes)
        if self.then is not None:
            self.then.post(ledger)


def call_of(engine: Engine, parked: Parked, base_url: str | None) -> Call | None:
    """The call that waits for a job: the one that this process made, if somebody still looks at it, else one
    made anew from its row; None if that does not say enough."""
    reservation, grant = parked.grant.reservation, parked.grant
    known = engine.parked.get(reservation.id)
    if known is not None and not known.ended and known.pid == os.getpid():
        return known
    quoted = quote.asked_again(reservation, parked.notes)
    if quoted is None:
        return None
    held = Held(reservation, grant, grant.held, None, None, tuple(reservation.flags), quoted)
    call = Call(engine, held, quoted, base_url, server_known=engine.knows(base_url))
    call.started_mono -= max(engine.clock.time_ns() - reservation.started_ns, 0)
    return call


def late(engine: Engine, refs: Sequence[JobRef], base_url: str | None) -> list[tuple[Parked, Call]]:
    """The calls that wait for these jobs, of which a client of this address has heard.

    Raises:
        LedgerError: if the ledger cannot say.
    """
    found = ((parked, call_of(engine, parked, base_url)) for parked in engine.ledger.parked(refs))
    return [(parked, call) for parked, call in found if call is not None]
