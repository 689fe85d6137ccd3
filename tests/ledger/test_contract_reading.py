"""Questions to a ledger, on every store."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest

from farthing.ledger import Ledger
from farthing.ledger.store import Totals
from farthing.records import Budget, Usage
from ledger.making import DAY, HOUR, NOON, USD, reserved, settlement, with_budget


def spend(ledger: Ledger, cost: int = USD, **fields: object) -> str:
    grant = reserved(ledger, **fields)
    assert ledger.settle(grant, settlement(cost, model=grant.reservation.model))
    return grant.reservation.id


def test_calls_are_newest_first_in_pages(ledger: Ledger) -> None:
    ids = [spend(ledger, started_ns=NOON + n // 2) for n in range(7)]
    pages, before = [], None
    while page := ledger.calls(limit=3, before=before):
        pages.append([row["id"] for row in page])
        before = page[-1]["id"]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert list(itertools.chain(*pages)) == ids[::-1]


def test_calls_can_be_filtered(ledger: Ledger) -> None:
    spend(ledger, account="a", model="m", context="system")
    spend(ledger, account="b", model="m")
    reserved(ledger, account="a")
    assert len(ledger.calls()) == 2
    assert [row["account"] for row in ledger.calls(account="a")] == ["a"]
    assert len(ledger.calls(model="m")) == 2
    assert [row["account"] for row in ledger.calls(context="system")] == ["a"]
    assert ledger.calls(account="nobody") == ledger.calls(context="other") == []


def test_a_running_call_is_not_shown_as_finished(ledger: Ledger) -> None:
    grant = reserved(ledger, run="r")
    assert ledger.call(grant.reservation.id) is None
    assert ledger.calls() == ledger.run_calls("r") == []
    assert ledger.totals()[0].calls == 0
    assert ledger.call("nobody") is None


def test_a_run_has_its_own_calls_and_those_below_it(ledger: Ledger) -> None:
    for run in ("a", "a/b", "a/b/c", "a0", "a.b", "ab", "b", None):
        spend(ledger, run=run)
    assert [row["run"] for row in ledger.run_calls("a")] == ["a", "a/b", "a/b/c"]
    assert ledger.run_totals("a").calls == 3
    assert ledger.run_totals("a/b").calls == 2
    assert ledger.run_totals("none").calls == 0


def test_a_runs_usage_adds_what_is_known(ledger: Ledger) -> None:
    for usage in (
        Usage(input_tokens=10, cached_tokens=4, seconds=Decimal("1.25")),
        Usage(input_tokens=5, output_tokens=2, images=1, seconds=Decimal("0.5")),
    ):
        assert ledger.settle(reserved(ledger, run="r"), settlement(USD, usage=usage))
    total = ledger.run_totals("r")
    assert total.usage == Usage(
        input_tokens=15, cached_tokens=4, output_tokens=2, images=1, seconds=Decimal("1.75")
    )
    assert (total.cost, total.counted) == (2 * USD, 2 * USD)
    assert ledger.run_totals("none").usage == Usage()


@pytest.mark.parametrize(
    "by", [(), ("day",), ("model", "provider"), ("account", "day"), ("account", "model")]
)
@pytest.mark.parametrize(
    "span",
    [
        (None, None),
        (NOON - DAY, NOON + DAY),
        (NOON - 2 * HOUR, NOON + HOUR),
        (NOON, NOON),
        (NOON, None),
        (None, NOON),
    ],
)
def test_totals_are_the_sums_of_the_rows(
    ledger: Ledger, by: tuple[str, ...], span: tuple[int | None, int | None]
) -> None:
    rows = []
    spread = itertools.product(range(-2, 3), ("acme", "other"), ("gpt-4o", "o3"), (None, "openai"))
    for n, (day, account, model, provider) in enumerate(spread):
        started = NOON + day * DAY + (n % 3 - 1) * HOUR
        spend(ledger, USD + n, account=account, model=model, provider=provider, started_ns=started)
        date = f"2026-09-{21 + day}"
        rows.append(
            (started, {"day": date, "account": account, "model": model, "provider": provider}, USD + n)
        )
    start, end = span
    wanted: dict[tuple[str | None, ...], list[int]] = {}
    for started, dimensions, cost in rows:
        if (start is None or started >= start) and (end is None or started < end):
            wanted.setdefault(tuple(dimensions[name] for name in by), []).append(cost)
    found = {total.group: total for total in ledger.totals(by, start_ns=start, end_ns=end) if total.calls}
    assert {group: (t.calls, t.cost, t.input_tokens) for group, t in found.items()} == {
        group: (len(costs), sum(costs), 1200 * len(costs)) for group, costs in wanted.items()
    }


def test_totals_can_be_filtered_by_what_they_are_not_grouped_by(ledger: Ledger) -> None:
    spend(ledger, account="a", model="m", context="system", operation="embedding")
    spend(ledger, account="b", model="m")
    cases = [
        ({"account": "a"}, 1), ({"model": "m"}, 2), ({"context": "system"}, 1), ({"operation": "chat"}, 1),
        ({"account": "b", "operation": "embedding"}, 0), ({"account": "nobody"}, 0),
        ({"day": "2026-09-21"}, 2),
    ]  # fmt: skip
    for where, calls in cases:
        assert sum(total.calls for total in ledger.totals(("provider",), where=where)) == calls, where
    with pytest.raises(ValueError, match="totals know"):
        ledger.totals(("feature",))


def test_totals_of_an_empty_ledger_are_zero(ledger: Ledger) -> None:
    assert ledger.totals() == [Totals()]
    assert ledger.totals(("day",)) == []
    assert ledger.totals(start_ns=NOON, end_ns=NOON + 1) == [Totals()]


def test_facts_say_what_is_there(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 9))
    reserved(ledger, [bound])
    facts = ledger.facts()
    assert facts["path"] == ledger.where
    assert (facts["open_calls"], facts["owners"], facts["rows"]["budget"]) == (1, 1, 1)
    assert facts["ledger_id"]
