"""What a meter changes in calls that have ended: what somebody knows better, and what prices say today."""

from __future__ import annotations

from typing import Any

from farthing import money
from farthing.answers.span import Edge, span
from farthing.engine import Engine, at_length, receipt_of_row
from farthing.errors import InvalidUsage, shown
from farthing.money import Amount
from farthing.records import Receipt
from farthing.repricing import Repriced, Which, reprice

__all__ = ["Correcting"]

_LONGEST = 1_000


class Correcting:
    """`correct` and `reprice`, each with its twin for coroutines."""

    _engine: Engine

    def correct(
        self, call_id: str, *, cost: Amount | None = None, void: bool = False, reason: str
    ) -> Receipt:
        """State what a finished call cost, where its end was uncertain or its figure is wrong.

        Budgets and reports follow, in the windows and on the day of the call; what it said before is kept
        (`reports.corrections`). The call has the flag "corrected" from then on: no late answer and no
        repricing changes it, another correction does. The same correction again changes nothing.

        Args:
            call_id: `Receipt.id`.
            cost: USD, in the place of the cost and of what budgets were charged.
            void: True if the provider has billed nothing: the call is an `error` that cost 0.
            reason: in words, for whoever reads the history; up to 1,000 characters.

        Raises:
            UnknownCall: (a LookupError) if no finished call has this id.
            InvalidUsage: without a reason, with both or neither of `cost` and `void`, or for a cost that is
                no amount.
            LedgerError: if the ledger cannot be used.
        """
        nano = _checked(call_id, cost, reason, void=void)
        engine = self._engine
        if not engine.enabled:
            return Receipt(id=call_id, account=engine.who.account or "default", cost_source="unpriced")
        engine.sweep()
        engine.ledger.correct(call_id, cost=nano, void=void, reason=reason.strip())
        engine.guard.line.freed()
        row = engine.ledger.call(call_id)
        assert row is not None  # noqa: S101  it was corrected just now
        return receipt_of_row(row)

    async def acorrect(
        self, call_id: str, *, cost: Amount | None = None, void: bool = False, reason: str
    ) -> Receipt:
        """`correct` from a coroutine."""
        receipt: Receipt = await self._engine.courier.bring(
            lambda: self.correct(call_id, cost=cost, void=void, reason=reason), _ignore
        )
        return receipt

    def reprice(
        self,
        *,
        start: Edge = None,
        end: Edge = None,
        model: str | None = None,
        include_reported: bool = False,
        include_estimated: bool = False,
        dry_run: bool = False,
    ) -> Repriced:
        """Price finished calls anew by the prices of today, each at its own instant: those whose price became
        known, and those whose price was corrected.

        Budgets and reports follow, in the windows and on the days of the calls; what they said before is
        kept. Changed calls have the flag "repriced". A second time nothing changes.

        Args:
            start, end: of the calls, half-open: aware datetimes, or dates of UTC (`end` includes its day).
            model: a glob on the model that served or was asked for.
            include_reported: also costs that providers have stated, which are priced by their usage then.
            include_estimated: also calls whose usage is an estimate.
            dry_run: only say what would change.

        Raises:
            InvalidUsage: for a naive datetime, or an end before the start.
            LedgerError: if the ledger cannot be used.
        """
        first, after = span(start, end)
        if model is not None and not isinstance(model, str):
            raise InvalidUsage(f"model must be a name or a glob; got {shown(model)}")
        which = Which(
            start_ns=first,
            end_ns=after,
            model=model,
            reported=include_reported,
            estimated=include_estimated,
        )
        engine = self._engine
        if not engine.enabled:
            return Repriced(written=False, calls=0, changes=(), left={})
        engine.sweep()
        engine.ledger.standing(fresh=True)  # and with it the prices that others have stored meanwhile
        done = reprice(engine.ledger, engine.catalog, which, dry_run=dry_run)
        if done.written:
            engine.guard.line.freed()
        return done

    async def areprice(
        self,
        *,
        start: Edge = None,
        end: Edge = None,
        model: str | None = None,
        include_reported: bool = False,
        include_estimated: bool = False,
        dry_run: bool = False,
    ) -> Repriced:
        """`reprice` from a coroutine. It takes a while where there are many calls; the calls of other tasks
        do not wait for it. A task that is cancelled does not stop it."""
        return await at_length(
            lambda: self.reprice(
                start=start,
                end=end,
                model=model,
                include_reported=include_reported,
                include_estimated=include_estimated,
                dry_run=dry_run,
            )
        )


def _checked(call_id: object, cost: Any, reason: object, *, void: object) -> int | None:
    """The cost in nano-dollars; None for a void."""
    if not isinstance(call_id, str) or not call_id:
        raise InvalidUsage(f"a call is named by its id, a text; got {shown(call_id)}")
    if not isinstance(reason, str) or not reason.strip() or len(reason) > _LONGEST:
        raise InvalidUsage(f"a correction needs a reason, a text of 1 to {_LONGEST:,} characters")
    if not isinstance(void, bool):
        raise InvalidUsage(f"void must be True or False; got {shown(void)}")
    if void is (cost is not None):
        raise InvalidUsage("a correction either states a cost or voids the call")
    return None if cost is None else money.parse_cost(cost)


def _ignore(_: object) -> None:
    """A correction stands even if nobody waits for its receipt."""
