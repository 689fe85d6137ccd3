"""Calls that wait for the result of a job, on every store."""

from __future__ import annotations

from pathlib import Path

import pytest

from farthing.ledger import Ledger
from farthing.ledger.parking import JobRef, Parked
from farthing.records import Budget
from ledger.making import DAY, HOUR, NOON, RATES, USD, Clock, opened, reserved, settlement, with_budget

REF = JobRef("https://api.openai.com/v1", "batch", "batch_1")


def window(ledger: Ledger) -> tuple[int, int]:
    [only] = ledger.windows()
    return only.spent, only.held


def found(ledger: Ledger, ref: JobRef = REF) -> Parked:
    [parked] = ledger.parked([ref])
    return parked


def test_a_parked_call_keeps_its_hold_and_is_found_by_what_the_provider_calls_it(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 10))
    grant = reserved(
        ledger, [bound], tags={"user": "ü"}, run="r/s", service_tier="batch", flags=("multiplier",)
    )
    ledger.park(grant, REF, NOON + DAY, {"route": "/batches"})
    assert window(ledger) == (0, USD)
    parked = found(ledger)
    assert (parked.ref, parked.open, parked.notes) == (REF, True, {"route": "/batches"})
    assert (parked.grant.call, parked.grant.held, parked.grant.lines) == (grant.call, USD, grant.lines)
    kept, asked = parked.grant.reservation, grant.reservation
    for name in ("id", "started_ns", "account", "context", "tags", "run", "provider", "requested_model"):
        assert getattr(kept, name) == getattr(asked, name), name
    for name in ("model", "operation", "service_tier", "expected", "input_tokens", "flags"):
        assert getattr(kept, name) == getattr(asked, name), name
    assert kept.rates == RATES


@pytest.mark.parametrize(
    "other",
    [
        JobRef("https://api.openai.com/v1", "batch", "batch_2"),
        JobRef("https://api.openai.com/v1", "video", "batch_1"),
        JobRef("https://elsewhere/v1", "batch", "batch_1"),
    ],
)
def test_another_job_finds_nothing(ledger: Ledger, other: JobRef) -> None:
    ledger.park(reserved(ledger), REF, NOON + DAY, {})
    assert ledger.parked([other]) == []


def test_what_is_found_settles_the_call_once(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 10))
    grant = reserved(ledger, [bound])
    ledger.park(grant, REF, NOON + DAY, {})
    parked = found(ledger)
    assert ledger.settle(parked.grant, settlement(USD // 4))
    assert not ledger.settle(grant, settlement(USD))
    assert window(ledger) == (USD // 4, 0)
    assert ledger.parked([REF]) == []
    assert ledger.facts()["open_calls"] == 0


def test_a_budget_that_changed_meanwhile_is_charged_as_it_now_stands(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 10))
    ledger.park(reserved(ledger, [bound]), REF, NOON + DAY, {})
    ledger.set_budget(Budget("all", 10, "day"), origin="code")
    assert ledger.settle(found(ledger).grant, settlement(USD // 4))
    assert [(w.spent, w.held) for w in ledger.windows() if w.budget == "all"][-1] == (USD // 4, 0)


def test_it_expires_at_its_own_limit_and_not_with_a_lease(ledger: Ledger, clock: Clock) -> None:
    bound = with_budget(ledger, Budget("all", 10))
    grant = reserved(ledger, [bound])
    ledger.park(grant, REF, NOON + DAY, {})
    assert ledger.expire(NOON + 23 * HOUR) == 0
    assert window(ledger) == (0, USD)
    assert ledger.expire(NOON + DAY + 1) == 1
    assert ledger.expire(NOON + 2 * DAY) == 0
    assert window(ledger) == (USD, 0)
    row = ledger.call(grant.reservation.id)
    assert row is not None
    assert (row["outcome"], row["cost_nano"], row["counted_nano"]) == ("expired", USD // 10, USD)


def test_a_call_of_the_same_process_that_is_not_parked_expires_with_the_lease(
    ledger: Ledger, clock: Clock
) -> None:
    """The control of the test above: parking is what makes the difference."""
    reserved(ledger)
    ledger.park(reserved(ledger), REF, NOON + DAY, {})
    assert ledger.expire(NOON + 23 * HOUR) == 1


def test_one_that_has_expired_takes_the_true_figures_later(ledger: Ledger) -> None:
    bound = with_budget(ledger, Budget("all", 10))
    ledger.park(reserved(ledger, [bound]), REF, NOON + HOUR, {})
    ledger.expire(NOON + DAY)
    parked = found(ledger)
    assert not parked.open
    assert ledger.settle(parked.grant, settlement(USD // 4))
    assert window(ledger) == (USD // 4, 0)
    assert ledger.parked([REF]) == []


def test_one_that_was_booked_as_unknown_is_found_and_never_open(ledger: Ledger) -> None:
    grant = reserved(ledger)
    assert ledger.settle(grant, settlement(None, outcome="unknown", counted=USD))
    ledger.park(grant, REF, NOON + DAY, {})
    assert not found(ledger).open
    assert ledger.expire(NOON + 2 * DAY) == 0
    assert ledger.settle(found(ledger).grant, settlement(USD // 4))
    assert ledger.parked([REF]) == []


def test_calls_that_were_given_the_same_job_are_ended_one_by_one(ledger: Ledger) -> None:
    first, second = reserved(ledger), reserved(ledger)
    for grant in (second, first):
        ledger.park(grant, REF, NOON + DAY, {})
    for grant in (first, second):
        assert found(ledger).grant.call == grant.call
        ledger.settle(found(ledger).grant, settlement(USD))
    assert ledger.parked([REF]) == []


def test_many_jobs_expire_in_as_many_steps_as_it_takes(ledger: Ledger) -> None:
    for number in range(1_003):
        ledger.park(reserved(ledger), JobRef("", "video", str(number)), NOON + HOUR, {})
    for _ in range(3):
        reserved(ledger)
    assert ledger.expire(NOON + DAY) == 1_006
    assert ledger.facts()["open_calls"] == 0


def test_names_of_any_spelling_are_kept(ledger: Ledger) -> None:
    odd = JobRef("http://h/ü\ud800", "batch", "id\0\udfff")
    ledger.park(reserved(ledger), odd, NOON + DAY, {"size": "\ud800"})
    assert ledger.settle(found(ledger, odd).grant, settlement(USD))


def test_an_open_call_that_is_parked_is_shown_with_the_others(tmp_path: Path) -> None:
    import sqlite3  # noqa: PLC0415  a reader of the file

    ledger = opened(tmp_path / "shown.db")
    parked, plain = reserved(ledger), reserved(ledger)
    ledger.park(parked, REF, NOON + DAY, {})
    with sqlite3.connect(f"file:{tmp_path / 'shown.db'}?mode=ro", uri=True) as conn:
        shown = {row[0] for row in conn.execute("SELECT id FROM open_calls")}
    conn.close()
    assert shown == {parked.reservation.id, plain.reservation.id}
    ledger.settle(parked, settlement(USD))
    ledger.settle(plain, settlement(USD))
    ledger.close()


def test_a_parked_call_outlives_its_process_and_a_closed_ledger(tmp_path: Path) -> None:
    clock = Clock()
    first = opened(tmp_path / "ledger.db", clock)
    bound = with_budget(first, Budget("all", 10))
    grant = reserved(first, [bound])
    first.park(grant, REF, NOON + DAY, {"route": "/batches"})
    first.close()
    clock.now = NOON + 20 * HOUR
    second = opened(tmp_path / "ledger.db", clock)
    assert window(second) == (0, USD)
    assert second.facts()["owners"] == 0
    assert second.settle(found(second).grant, settlement(USD // 2))
    assert window(second) == (USD // 2, 0)
    assert second.check() == []
    second.close()


def test_the_check_tells_of_a_call_that_nobody_waits_for(tmp_path: Path) -> None:
    ledger = opened(tmp_path / "ledger.db")
    ledger.park(reserved(ledger), REF, NOON + DAY, {})
    assert ledger.check() == []
    write = ledger._write  # type: ignore[attr-defined]
    write(lambda conn, _: conn.execute("UPDATE job SET until = NULL"), None, full=False)
    assert any("waits for no job" in fault for fault in ledger.check())
    write(lambda conn, _: conn.execute("UPDATE job SET call = 7"), None, full=False)
    assert any("A job waits for call 7" in fault for fault in ledger.check())
    ledger.close()
