"""What every store promises about changes of calls that have ended."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest

from farthing.errors import UnknownCall
from farthing.ledger import Ledger
from farthing.ledger.amending import Repricing
from farthing.ledger.calls import corrections
from farthing.ledger.calls.booking import late
from farthing.ledger.calls.summing import add_up
from farthing.ledger.parking import JobRef
from farthing.ledger.upkeep.schema import UNCERTAIN
from farthing.records import Budget
from ledger.making import (
    HOUR,
    NOON,
    RATES,
    USAGE,
    USD,
    Clock,
    entry,
    opened,
    reservation,
    reserved,
    settlement,
    standing_bound,
    with_budget,
)

NEW_RATES = replace(
    RATES, prices={"input": 2_000_000, "output": 9_000_000}, source="user", flags=("multiplier",)
)


def unknown(ledger, bounds=(), *, cost=USD // 10, hold=USD, **fields):
    """A call of uncertain end, of which the whole hold is counted."""
    grant = reserved(ledger, bounds, hold, **fields)
    end = settlement(cost, counted=hold, outcome="unknown", usage_source="estimated")
    ledger.settle(grant, end)
    return grant


def spent(ledger, name="daily", at=NOON):
    [window] = [window for window in ledger.windows(at_ns=at) if window.budget == name]
    return window.spent, window.held, window.cost


def repricing(ledger, call_id, cost, *, counted=None, source="priced", rates=NEW_RATES, reason="dearer"):
    [was] = [row for row in ledger.finished() if row.id == call_id]
    return Repricing(
        was=was,
        cost=cost,
        counted=cost if counted is None else counted,
        cost_source=source,
        rates=rates,
        reason=reason,
    )


def opened_elsewhere(path):
    """As by another program, that knows nothing of the lock file."""
    return sqlite3.connect(path, isolation_level=None)


class Asked:
    """A `find` that notes whether its connection is in a transaction that writes."""

    def __init__(self, find, ledger):
        self.find, self.ledger, self.locked = find, ledger, []

    def __call__(self, conn, call_id):
        self.locked.append(conn is self.ledger._connections._conn and conn.in_transaction)
        return self.find(conn, call_id)


# -- corrections ----------------------------------------------------------------------------------


def test_a_correction_brings_cost_and_counted_together_in_every_window_and_total(
    ledger: Ledger, clock: Clock
):
    daily = with_budget(ledger, Budget("daily", 5, "day"))
    soft = with_budget(ledger, Budget("soft", 5, "day", mode="soft"))
    grant = unknown(ledger, [daily, soft])
    assert (spent(ledger)[0], spent(ledger, "soft")[0]) == (USD, USD // 10)
    clock.now += HOUR
    assert ledger.correct(grant.reservation.id, cost=3 * USD, reason="the invoice") is True
    assert spent(ledger) == spent(ledger, "soft") == (3 * USD, 0, 3 * USD)
    [total] = ledger.totals()
    assert (total.calls, total.cost, total.counted, total.estimated, total.unpriced) == (
        1,
        3 * USD,
        3 * USD,
        0,
        0,
    )
    row = ledger.call(grant.reservation.id)
    assert (row["outcome"], row["cost_nano"], row["counted_nano"]) == ("unknown", 3 * USD, 3 * USD)
    assert (row["cost_source"], row["flags"]) == ("reported", '["corrected"]')


def test_what_a_call_said_before_is_kept(ledger: Ledger, clock: Clock):
    grant = unknown(ledger)
    clock.now += HOUR
    ledger.correct(grant.reservation.id, cost=7, reason="first")
    clock.now += HOUR
    ledger.correct(grant.reservation.id, void=True, reason="second")
    first, second = ledger.corrections(grant.reservation.id)
    assert (first.kind, first.reason, first.at_ns) == ("correct", "first", NOON + HOUR)
    assert (first.old_outcome, first.old_cost, first.old_counted) == ("unknown", USD // 10, USD)
    assert (first.old_cost_source, first.old_prices_version) == ("priced", "genai-prices 0.2.3")
    assert (first.cost, first.counted, first.cost_source, first.old_usage) == (7, 7, "reported", None)
    assert (second.old_cost, second.old_cost_source, second.cost, second.outcome) == (
        7,
        "reported",
        0,
        "error",
    )
    assert second.old_usage["input"] == USAGE.input_tokens
    assert ledger.corrections("nobody") == []


def test_a_voided_call_is_an_error_that_cost_nothing(ledger: Ledger):
    daily = with_budget(ledger, Budget("daily", 5, "day"))
    grant = unknown(ledger, [daily])
    ledger.correct(grant.reservation.id, void=True, reason="not billed")
    assert spent(ledger) == (0, 0, 0)
    row = ledger.call(grant.reservation.id)
    assert (row["outcome"], row["cost_nano"], row["counted_nano"]) == ("error", 0, 0)
    assert (row["cost_source"], row["input_tokens"], row["usage_source"]) == ("none", None, "unknown")
    [total] = ledger.totals()
    assert (total.calls, total.errors, total.input_tokens, total.cost) == (1, 1, 0, 0)


def test_the_same_correction_again_changes_nothing(ledger: Ledger):
    grant = unknown(ledger)
    assert ledger.correct(grant.reservation.id, cost=5, reason="a") is True
    assert ledger.correct(grant.reservation.id, cost=5, reason="b") is False
    assert ledger.correct(grant.reservation.id, void=True, reason="c") is True
    assert ledger.correct(grant.reservation.id, void=True, reason="d") is False
    assert [each.reason for each in ledger.corrections(grant.reservation.id)] == ["a", "c"]


def test_an_expired_call_can_be_settled(ledger: Ledger, clock: Clock):
    daily = with_budget(ledger, Budget("daily", 5, "day"))
    grant = reserved(ledger, [daily])
    clock.now += HOUR
    assert ledger.expire(clock.now) == 1
    assert spent(ledger)[0] == USD
    ledger.correct(grant.reservation.id, cost=2, reason="the invoice")
    assert spent(ledger) == (2, 0, 2)
    assert ledger.call(grant.reservation.id)["outcome"] == "expired"


def test_a_recorded_call_can_be_corrected(ledger: Ledger):
    daily = with_budget(ledger, Budget("daily", 5, "day"))
    call_id, _ = ledger.record(entry(ledger, [daily]))
    ledger.correct(call_id, cost=2 * USD, reason="the invoice")
    assert spent(ledger)[0] == 2 * USD


def test_there_is_nothing_to_correct_in_a_call_that_runs_or_is_not_there(ledger: Ledger):
    grant = reserved(ledger)
    with pytest.raises(UnknownCall, match="nothing is booked yet for the running call"):
        ledger.correct(grant.reservation.id, cost=1, reason="?")
    with pytest.raises(UnknownCall, match="there is no call 'nobody'"):
        ledger.correct("nobody", void=True, reason="?")
    assert ledger.settle(grant, settlement())


def test_a_call_that_is_not_there_is_looked_for_while_others_write(tmp_path):
    ledger = opened(tmp_path / "ledger.db", timeout=1.0)
    other = opened_elsewhere(tmp_path / "ledger.db")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnknownCall, match="there is no call 'nobody'"):
        ledger.correct("nobody", void=True, reason="?")
    other.rollback()
    other.close()
    ledger.close()


def test_no_row_but_its_own_is_read_under_the_lock_for_a_correction(tmp_path, monkeypatch):
    ledger = opened(tmp_path / "ledger.db")
    ids = [unknown(ledger).reservation.id for _ in range(3)]
    monkeypatch.setattr(corrections, "find", asked := Asked(corrections.find, ledger))
    assert ledger.correct(ids[1], cost=5, reason="the invoice")
    assert asked.locked == [False]
    statements = corrections._READ_NAMED
    [plan] = ledger._connections._conn.execute(f"EXPLAIN QUERY PLAN {statements}", (1, "x"))
    assert plan[3] == "SEARCH call USING INTEGER PRIMARY KEY (rowid=?)"
    assert [ledger.call(each)["cost_nano"] for each in ids] == [USD // 10, 5, USD // 10]
    ledger.close()


def test_a_call_that_was_pruned_after_it_was_found_is_not_there(tmp_path, monkeypatch):
    ledger = opened(tmp_path / "ledger.db")
    first, second = (entry(ledger, started_ns=NOON - 48 * HOUR, cost=cost) for cost in (1, 2))
    call_id, _ = ledger.record(first)

    def found(conn, asked):
        key = find(conn, asked)
        ledger.prune(NOON // (24 * HOUR))
        ledger.record(second)  # at the same instant: it may be given the key of the one that has gone
        return key

    find = corrections.find
    monkeypatch.setattr(corrections, "find", found)
    monkeypatch.setattr(ledger._connections, "read", lambda question: question(reader))
    reader = opened_elsewhere(tmp_path / "ledger.db")
    with pytest.raises(UnknownCall, match="there is no call"):
        ledger.correct(call_id, cost=5, reason="?")
    reader.close()
    monkeypatch.undo()
    assert ledger.call(second.reservation.id)["cost_nano"] == 2
    ledger.close()


def test_a_late_settle_does_not_undo_a_correction(ledger: Ledger):
    corrected, control = unknown(ledger), unknown(ledger)
    ledger.correct(corrected.reservation.id, cost=5, reason="the invoice")
    assert ledger.settle(corrected, settlement(9)) is False
    assert ledger.settle(control, settlement(9)) is True
    assert ledger.call(corrected.reservation.id)["cost_nano"] == 5


def test_a_corrected_call_waits_for_no_job(ledger: Ledger):
    ref = JobRef("http://localhost/v1", "batch", "b1")
    grant = reserved(ledger)
    ledger.park(grant, ref, NOON + HOUR, {})
    ledger.settle(grant, settlement(1, outcome="unknown"))
    assert [parked.grant.reservation.id for parked in ledger.parked([ref])] == [grant.reservation.id]
    ledger.correct(grant.reservation.id, cost=5, reason="the invoice")
    assert ledger.parked([ref]) == []


def test_an_error_that_was_billed_after_all_counts_also_in_windows_made_since(ledger: Ledger):
    budget = Budget("daily", 5, "day")
    grant = reserved(ledger, [with_budget(ledger, budget)])
    ledger.settle(grant, settlement(), void=True)
    ledger.set_budget(Budget("daily", 5, "day", timezone="Europe/Berlin"), origin="code")
    ledger.set_budget(Budget("later", 5, "day"), origin="code")
    ledger.correct(grant.reservation.id, cost=3, reason="billed all the same")
    assert [spent(ledger, name)[0] for name in ("daily", "later")] == [3, 3]
    row = ledger.call(grant.reservation.id)
    assert (row["outcome"], row["cost_nano"], row["cost_source"]) == ("unknown", 3, "reported")


def test_a_correction_of_an_old_call_changes_the_window_and_the_day_of_that_call(
    ledger: Ledger, clock: Clock
):
    daily = with_budget(ledger, Budget("daily", 5, "day"))
    grant = unknown(ledger, [daily])
    clock.now += 48 * HOUR
    ledger.settle(reserved(ledger, [daily], started_ns=clock.now), settlement(1))
    ledger.correct(grant.reservation.id, cost=2 * USD, reason="the invoice")
    assert spent(ledger)[0] == 2 * USD
    assert spent(ledger, at=clock.now)[0] == 1
    assert [total.cost for total in ledger.totals(["day"])] == [2 * USD, 1]


def test_a_bill_above_its_hold_that_is_corrected_below_it_is_no_overrun(ledger: Ledger):
    grant = reserved(ledger, hold=10)
    ledger.settle(grant, settlement(15, overrun=5, flags=("overrun",)))
    ledger.correct(grant.reservation.id, cost=12, reason="a")
    assert ledger.call(grant.reservation.id)["overrun"] == 2
    ledger.correct(grant.reservation.id, cost=9, reason="b")
    assert ledger.call(grant.reservation.id)["overrun"] is None


def test_uncertain_calls_are_those_whose_bill_is_not_known_newest_first(ledger: Ledger):
    sure = reserved(ledger)
    ledger.settle(sure, settlement())
    failed = reserved(ledger)
    ledger.settle(failed, settlement(), void=True)
    lost = unknown(ledger, started_ns=NOON + 1000)
    unpriced = reserved(ledger, started_ns=NOON + 2000)
    ledger.settle(unpriced, settlement(None, counted=USD))
    partial, _ = ledger.record(
        replace(entry(ledger, started_ns=NOON + 3000), settlement=settlement(1, cost_source="partial"))
    )
    settled = unknown(ledger)
    ledger.correct(settled.reservation.id, cost=1, reason="the invoice")
    ids = [row["id"] for row in ledger.uncertain()]
    assert ids == [partial, unpriced.reservation.id, lost.reservation.id]
    assert [row["id"] for row in ledger.uncertain(limit=1)] == [partial]


def test_no_call_of_certain_cost_is_read_for_those_of_uncertain(tmp_path):
    """They are in an index of their own until they are settled, and it is all that is gone through."""
    ledger = opened(tmp_path / "ledger.db")
    conn = ledger._connections._conn
    wanted = f"SELECT count(*) FROM call INDEXED BY call_uncertain WHERE {UNCERTAIN}"
    first, left = (unknown(ledger, started_ns=NOON + at) for at in (0, 1000))
    ledger.settle(reserved(ledger), settlement())
    assert conn.execute(wanted).fetchone() == (2,)
    ledger.correct(first.reservation.id, cost=1, reason="the invoice")
    assert conn.execute(wanted).fetchone() == (1,)
    assert [row["id"] for row in ledger.uncertain()] == [left.reservation.id]

    plan = [step[3] for step in conn.execute(f"EXPLAIN QUERY PLAN {corrections._UNCERTAIN}", (1,))]
    assert plan[0] == "SCAN c USING INDEX call_uncertain"
    assert [step for step in plan[1:] if not step.startswith("SEARCH")] == []
    conn.execute("DROP INDEX call_uncertain")
    statement = f"EXPLAIN QUERY PLAN {corrections._UNCERTAIN} -- not the one that sqlite3 has kept"
    assert next(conn.execute(statement, (1,)))[3] == "SCAN c"  # without the index, every row
    ledger.close()


# -- repricing ------------------------------------------------------------------------------------


def test_a_repricing_changes_row_windows_and_totals_and_keeps_what_was(ledger: Ledger, clock: Clock):
    daily = with_budget(ledger, Budget("daily", 5, "day"))
    grant = reserved(ledger, [daily])
    ledger.settle(grant, settlement(None, counted=USD))
    clock.now += HOUR
    call_id = grant.reservation.id
    assert ledger.reprice([repricing(ledger, call_id, 42)]) == [True]
    assert spent(ledger) == (42, 0, 42)
    row = ledger.call(call_id)
    assert (row["cost_nano"], row["cost_source"], row["prices_version"]) == (42, "priced", "user")
    assert row["flags"] == '["repriced","multiplier"]'
    [total] = ledger.totals()
    assert (total.cost, total.counted, total.unpriced) == (42, 42, 0)
    [kept] = ledger.corrections(call_id)
    assert (kept.kind, kept.reason, kept.at_ns) == ("reprice", "dearer", NOON + HOUR)
    assert (kept.old_cost, kept.old_counted, kept.old_cost_source) == (None, USD, "unpriced")
    assert (kept.prices_version, kept.old_prices_version) == ("user", "genai-prices 0.2.3")


def test_a_call_that_has_changed_since_it_was_read_is_left_alone(ledger: Ledger):
    grant = unknown(ledger)
    stale = repricing(ledger, grant.reservation.id, 42)
    ledger.settle(grant, settlement(9))
    assert ledger.reprice([stale]) == [False]
    assert ledger.call(grant.reservation.id)["cost_nano"] == 9
    assert ledger.corrections(grant.reservation.id) == []


def test_others_write_between_the_commits_of_a_long_repricing(ledger: Ledger, monkeypatch):
    ledger.record_many(entry(ledger) for _ in range(1_200))
    rows = ledger.finished(limit=2_000)
    wanted = [
        Repricing(was=row, cost=1, counted=1, cost_source="priced", rates=NEW_RATES, reason="r")
        for row in rows
    ]
    others, sizes = [], []
    write = ledger._write

    def watched(operation, argument, *, full):
        answer = write(operation, argument, full=full)
        if isinstance(argument, list):
            sizes.append(len(answer))
            others.append(reserved(ledger, hold=0))
        return answer

    monkeypatch.setattr(ledger, "_write", watched)
    assert ledger.reprice(wanted) == [True] * 1_200
    assert sum(sizes) == 1_200
    assert max(sizes) <= 500
    assert len(others) >= 3
    assert ledger.totals()[0].cost == 1_200


@pytest.mark.parametrize(
    ("counted", "cost", "full"), [(USD, 5, False), (USD, USD // 2, True), (2 * USD, 5, True)]
)
def test_a_repricing_that_may_charge_a_window_more_survives_a_power_cut(
    ledger: Ledger, monkeypatch, counted, cost, full
):
    """Windows are charged what is counted, or the cost."""
    unknown(ledger)
    [was] = ledger.finished()
    said = []
    write = ledger._write
    monkeypatch.setattr(ledger, "_write", lambda *args, full: (said.append(full), write(*args, full=full))[1])
    want = Repricing(was=was, cost=cost, counted=counted, cost_source="priced", rates=NEW_RATES, reason="r")
    assert ledger.reprice([want]) == [True]
    assert said == [full]


def test_finished_calls_are_read_in_pages_by_their_time(ledger: Ledger):
    ids = [ledger.record(entry(ledger, started_ns=NOON + n * 1000))[0] for n in range(5)]
    first = ledger.finished(limit=2)
    assert [row.id for row in first] == ids[:2]
    assert [row.id for row in ledger.finished(after=first[-1].key)] == ids[2:]
    between = ledger.finished(start_ns=NOON + 1000, end_ns=NOON + 3000)
    assert [row.id for row in between] == ids[1:3]
    reserved(ledger)
    ledger.settle(reserved(ledger), settlement(), void=True)
    assert len(ledger.finished()) == 5
    [row, *_] = first
    assert (row.started_ns, row.model, row.asked, row.usage, row.rates) == (
        NOON,
        "gpt-4o-2024-08-06",
        "gpt-4o",
        USAGE,
        RATES,
    )


# -- partial costs --------------------------------------------------------------------------------


def test_lower_bounds_are_counted_in_every_total(ledger: Ledger):
    for source in ("partial", "partial", "priced"):
        grant = reserved(ledger, run="r1")
        ledger.settle(grant, settlement(5, counted=USD, cost_source=source))
    assert ledger.totals()[0].partial == 2
    assert [row.partial for row in ledger.totals(["account", "model"])] == [2]
    assert ledger.run_totals("r1").partial == 2
    ledger.correct(ledger.uncertain()[0]["id"], cost=5, reason="the invoice")
    assert ledger.totals(["account"])[0].partial == ledger.run_totals("r1").partial


# -- controls -------------------------------------------------------------------------------------


def test_the_guard_of_late_settles_is_what_keeps_a_correction(monkeypatch):
    ledger = opened(":memory:")
    grant = unknown(ledger)
    ledger.correct(grant.reservation.id, cost=5, reason="the invoice")
    monkeypatch.setitem(late.__globals__, "CORRECTED", 0)
    assert ledger.settle(grant, settlement(9)) is True  # the control: without it the correction is lost
    assert ledger.call(grant.reservation.id)["cost_nano"] == 9
    ledger.close()


def test_the_check_sees_a_change_that_forgot_the_totals():
    ledger = opened(":memory:")
    grant = unknown(ledger, [with_budget(ledger, Budget("daily", 5, "day"))])
    add_up(ledger._connections._conn, grant.call + 1)
    ledger._connections._conn.execute("UPDATE call SET cost = cost + 1, counted = counted + 1")
    faults = " ".join(ledger.check())
    assert "day_model differs" in faults
    assert "Window" in faults
    ledger._connections._conn.execute("UPDATE call SET cost = cost - 1, counted = counted - 1")
    ledger._connections._conn.execute(
        "INSERT INTO correction VALUES (1, 7, 0, 0, '', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '')"
    )
    assert ledger.check() == ["A correction is of call 7, which is not there."]
    assert ledger.call(grant.reservation.id) is not None
    ledger.close()


def test_a_reserve_of_a_budget_finds_the_money_that_a_correction_frees(ledger: Ledger):
    budget = Budget("daily", 1, "day")
    bound = with_budget(ledger, budget)
    grant = unknown(ledger, [bound])
    assert type(ledger.reserve(reservation(ledger, [standing_bound(budget)]))).__name__ == "Short"
    ledger.correct(grant.reservation.id, void=True, reason="not billed")
    assert type(ledger.reserve(reservation(ledger, [standing_bound(budget)]))).__name__ == "Grant"
