"""What was spent, by whom, on what; and how budgets stand."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from farthing import limits, money
from farthing.answers.span import Edge, span
from farthing.answers.values import (
    BudgetState,
    Corrected,
    ModelSpend,
    Page,
    Spend,
    Summary,
    known_cost,
    state_of,
    used,
)
from farthing.engine import Engine, receipt_of_row
from farthing.errors import InvalidUsage, UnknownCall, shown
from farthing.ledger.amending import Correction
from farthing.ledger.store import Ledger, StandingBudget, Totals, WindowRow
from farthing.records import CONTEXTS, OPERATIONS, Receipt

__all__ = ["Answers"]

P = ParamSpec("P")
R = TypeVar("R")

_GROUPS: Final = ("day", "week", "month", "account", "context", "provider", "model", "operation")
_OF_DAYS: Final = frozenset({"day", "week", "month"})
_WORDS: Final = {"context": CONTEXTS, "operation": OPERATIONS}
_MOST: Final = 10_000


def _from_coroutine(
    question: Callable[Concatenate[Answers, P], R],
) -> Callable[Concatenate[Answers, P], Coroutine[Any, Any, R]]:
    """The same question from a coroutine: the courier waits for the ledger."""

    async def ask(self: Answers, /, *args: P.args, **kwargs: P.kwargs) -> R:
        engine = self.engine  # of this context: the courier has another
        asked = Answers(lambda: engine)
        answer: R = await engine.courier.bring(lambda: question(asked, *args, **kwargs), _ignore)
        return answer

    functools.update_wrapper(ask, question)
    ask.__name__ = f"a{question.__name__}"
    ask.__qualname__ = f"Answers.{ask.__name__}"
    ask.__doc__ = f"`{question.__name__}` from a coroutine."
    return ask


class Answers:
    """Questions to the ledger of a meter, about finished calls. Nothing is written.

    Ranges are half-open: from `start` (None: the first call) until before `end` (None: all that is booked by
    now). Both are aware datetimes or dates; days are those of UTC, and a date as `end` includes that day.
    `account`, `context`, `provider`, `model` (that served) and `operation` narrow a question down.

    All raise `LedgerError` where the ledger cannot be used, and `InvalidUsage` for a naive datetime and for
    arguments that make no sense. Each has a twin for coroutines: `aspend`, `atop`, `asummary`, ...

    Args:
        find: gives the engine whose ledger is asked, each time anew.
    """

    def __init__(self, find: Callable[[], Engine]) -> None:
        self._find = find

    @property
    def engine(self) -> Engine:
        """The engine of the meter that is asked. Not for programs that only read reports."""
        return self._find()

    def spend(
        self,
        by: str | Sequence[str] = ("day",),
        *,
        start: Edge = None,
        end: Edge = None,
        account: str | None = None,
        context: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        operation: str | None = None,
    ) -> list[Spend]:
        """Sums of calls by any of day, week (its Monday), month ("2026-11"), account, context, provider,
        model, operation, in the order of those; without `by`, one for all calls."""
        groups = _checked_groups(by)
        first, after = span(start, end)
        rows = self._ledger().totals(
            tuple(dict.fromkeys("day" if group in _OF_DAYS else group for group in groups)),
            start_ns=first,
            end_ns=after,
            where=_where(
                account=account, context=context, provider=provider, model=model, operation=operation
            ),
        )
        if {"week", "month"} & set(groups):
            rows = _merged(rows, groups)
        found = [_spend(dict(zip(groups, row.group, strict=True)), row) for row in rows]
        return sorted(found, key=lambda row: [(v is not None, v or "") for v in row.group.values()])

    def top(
        self,
        by: str = "model",
        n: int = 20,
        *,
        start: Edge = None,
        end: Edge = None,
        account: str | None = None,
        context: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        operation: str | None = None,
    ) -> list[Spend]:
        """The `n` dearest by one of the groups of `spend`, dearest first, those without a known cost last."""
        _checked_count(n, "n")
        rows = self.spend(
            by,
            start=start,
            end=end,
            account=account,
            context=context,
            provider=provider,
            model=model,
            operation=operation,
        )
        return sorted(rows, key=lambda row: (row.cost is None, -(row.cost or 0)))[:n]

    def summary(
        self,
        *,
        start: Edge = None,
        end: Edge = None,
        account: str | None = None,
        context: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        operation: str | None = None,
    ) -> Summary:
        """Totals, by context and by model. `context` narrows all but `by_context`."""
        first, after = span(start, end)
        where = _where(account=account, provider=provider, model=model, operation=operation)
        one = _where(context=context)
        ledger = self._ledger()
        contexts = ledger.totals(("context",), start_ns=first, end_ns=after, where=where)
        models = ledger.totals(("model",), start_ns=first, end_ns=after, where=where | one)
        total = _sum(models)
        by_context: dict[str, Decimal | None] = {
            name: known_cost(_sum(row for row in contexts if row.group == (name,))) for name in CONTEXTS
        }
        return Summary(
            calls=total.calls,
            errors=total.errors,
            total_cost_usd=known_cost(total),
            total_input_tokens=total.input_tokens,
            total_output_tokens=total.output_tokens,
            total_cached_tokens=total.cached_tokens,
            by_context=by_context,
            by_model={
                str(row.group[0]): ModelSpend(cost_usd=known_cost(row), count=row.calls)
                for row in sorted(models, key=lambda row: str(row.group[0]))
            },
            unpriced_calls=total.unpriced,
            estimated_calls=total.estimated,
            uncertain_usd=money.usd(total.counted - total.cost),
            partial_calls=total.partial,
        )

    def records(
        self,
        *,
        account: str | None = None,
        model: str | None = None,
        context: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """Finished calls, newest first; `cursor` is that of the page before.

        Raises:
            InvalidUsage: for a `cursor` that is no call of this ledger.
        """
        _checked_count(limit, "limit")
        where = _where(account=account, model=model, context=context)
        ledger = self._ledger()
        if cursor is not None and (not isinstance(cursor, str) or ledger.call(cursor) is None):
            raise InvalidUsage(f"cursor must be that of a page of this ledger; got {shown(cursor)}")
        rows = ledger.calls(**where, limit=limit + 1, before=cursor)
        page = rows[:limit]
        return Page((receipt_of_row(row) for row in page), page[-1]["id"] if len(rows) > limit else None)

    def uncertain(self, *, limit: int = 100) -> list[Receipt]:
        """Finished calls whose cost is unknown, a lower bound, or less than what budgets were charged, newest
        first: `correct` settles them, and `reprice` those that only lack a price."""
        _checked_count(limit, "limit")
        return [receipt_of_row(row) for row in self._ledger().uncertain(limit=limit)]

    def corrections(self, call_id: str) -> list[Corrected]:
        """How a finished call has been changed since its end, oldest first.

        Raises:
            UnknownCall: (a LookupError) if no finished call has this id.
        """
        ledger = self._ledger()
        found = ledger.corrections(call_id)
        if not found and ledger.call(call_id) is None:
            raise UnknownCall(f"there is no finished call {shown(call_id)}")
        return [_corrected(each) for each in found]

    def budgets(self) -> list[BudgetState]:
        """Where every budget stands now: the standing ones by name, then the attached ones in use.

        Budgets for the life of one client, scope or function call are left out: their owner can ask them.
        """
        now = self.engine.clock.time_ns()
        ledger = self._ledger()
        _, standing = ledger.standing(fresh=True)
        windows = ledger.windows(at_ns=now)
        found: list[BudgetState] = []
        for each in sorted(standing, key=lambda each: each.budget.name):
            own = [w for w in windows if not w.attached and w.budget == each.budget.name]
            own = own or [_unused(each, now)]
            found += (_state(window, each) for window in sorted(own, key=lambda w: w.key))
        attached = (w for w in windows if w.attached and not _of_a_run(w))
        found += (_state(window) for window in sorted(attached, key=lambda w: (w.budget, w.key)))
        return found

    aspend = _from_coroutine(spend)
    atop = _from_coroutine(top)
    asummary = _from_coroutine(summary)
    arecords = _from_coroutine(records)
    auncertain = _from_coroutine(uncertain)
    acorrections = _from_coroutine(corrections)
    abudgets = _from_coroutine(budgets)

    def _ledger(self) -> Ledger:
        """The ledger, with what this process has still to book in it."""
        engine = self.engine
        engine.sweep()
        return engine.ledger


def _where(**given: str | None) -> dict[str, str]:
    for name, value in given.items():
        if value is not None and not isinstance(value, str):
            raise InvalidUsage(f"{name} must be a text; got {shown(value)}")
        known = _WORDS.get(name)
        if value is not None and known is not None and value not in known:  # it would be a bill of nothing
            raise InvalidUsage(f"{name} must be one of {', '.join(known)}; got {value!r}")
    return {name: value for name, value in given.items() if value is not None}


def _checked_groups(by: str | Sequence[str]) -> tuple[str, ...]:
    groups = (by,) if isinstance(by, str) or not isinstance(by, Iterable) else tuple(by)
    for group in groups:
        if group not in _GROUPS:
            raise InvalidUsage(f"by knows {', '.join(_GROUPS)}; got {shown(group)}")
    return tuple(dict.fromkeys(groups))


def _checked_count(value: object, name: str) -> None:
    if type(value) is not int or not 1 <= value <= _MOST:
        raise InvalidUsage(f"{name} must be a number from 1 to {_MOST:,}; got {shown(value)}")


def _merged(rows: Iterable[Totals], groups: Sequence[str]) -> list[Totals]:
    """Rows by day as rows by weeks and months."""
    asked = tuple(dict.fromkeys("day" if group in _OF_DAYS else group for group in groups))
    found: dict[tuple[str | None, ...], list[Totals]] = {}
    for row in rows:
        values = dict(zip(asked, row.group, strict=True))
        group = tuple(_period(g, values["day"]) if g in _OF_DAYS else values[g] for g in groups)
        found.setdefault(group, []).append(row)
    return [_sum(same, group) for group, same in found.items()]


def _period(group: str, day: str | None) -> str | None:
    if day is None or group == "day":
        return day
    if group == "month":
        return day[:7]
    on = date.fromisoformat(day)
    return (on - timedelta(days=on.weekday())).isoformat()


def _sum(rows: Iterable[Totals], group: tuple[str | None, ...] = ()) -> Totals:
    total = Totals(group=group)
    for row in rows:
        total.calls += row.calls
        total.errors += row.errors
        total.input_tokens += row.input_tokens
        total.cached_tokens += row.cached_tokens
        total.output_tokens += row.output_tokens
        total.cost += row.cost
        total.counted += row.counted
        total.unpriced += row.unpriced
        total.estimated += row.estimated
        total.partial += row.partial
    return total


def _spend(group: Mapping[str, str | None], row: Totals) -> Spend:
    return Spend(
        group=group,
        calls=row.calls,
        errors=row.errors,
        input_tokens=row.input_tokens,
        cached_tokens=row.cached_tokens,
        output_tokens=row.output_tokens,
        cost=known_cost(row),
        counted=money.usd(row.counted),
        unpriced_calls=row.unpriced,
        estimated_calls=row.estimated,
        partial_calls=row.partial,
    )


def _corrected(each: Correction) -> Corrected:
    return Corrected(
        at=Engine.aware(each.at_ns),
        kind=each.kind,
        reason=each.reason,
        outcome=each.outcome,
        cost=None if each.cost is None else money.usd(each.cost),
        counted=money.usd(each.counted),
        cost_source=each.cost_source,
        old_outcome=each.old_outcome,
        old_cost=None if each.old_cost is None else money.usd(each.old_cost),
        old_counted=money.usd(each.old_counted),
        old_cost_source=each.old_cost_source,
    )


def _unused(each: StandingBudget, now: int) -> WindowRow:
    """The window that a first call would open: a budget without one has no call in its period."""
    window = limits.window_at(each.budget, now)
    return WindowRow(
        budget=each.budget.name,
        attached=False,
        key="",
        starts_ns=window.starts_ns,
        ends_ns=window.ends_ns,
        limit=each.budget.limit_nano,
        spent=0,
        held=0,
        cost=0,
    )


def _of_a_run(window: WindowRow) -> bool:
    """Whether it belongs to one client, scope or function call, by whose id it is keyed."""
    return window.ends_ns is None and (window.budget.endswith("|run") or bool(window.key))


def _state(window: WindowRow, each: StandingBudget | None = None) -> BudgetState:
    waiting = each is not None and each.budget.per is not None and not window.key
    return BudgetState(
        name=window.budget,
        attached=window.attached,
        budget=None if each is None else each.budget,
        origin=None if each is None else each.origin,
        key=None if waiting else window.key,
        limit=money.usd(window.limit),
        spent=money.usd(window.spent),
        held=money.usd(window.held),
        remaining=money.usd(window.limit - window.spent - window.held),
        used_percent=used(window.spent, window.limit),
        state=state_of(window),
        uncertain=money.usd(window.spent - window.cost),
        starts_at=_instant(window.starts_ns),
        resets_at=limits.resets_at(limits.Window(window.starts_ns, window.ends_ns)),
    )


def _instant(ns: int) -> datetime | None:
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1000)
    except OverflowError:
        return None


def _ignore(_: object) -> None:
    """An answer that nobody waits for any more."""
