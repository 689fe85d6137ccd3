"""Where a call's row lies: keys are instants, ids are found by them, owners know their part."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.errors import LedgerError
from farthing.ledger import Ledger
from farthing.ledger.calls import ids
from farthing.ledger.calls.keys import BITS, DAY, Keys, bound, key_at, started_ns
from farthing.ledger.calls.owner import LEASE
from farthing.ledger.store import Grant, Stale
from farthing.records import Budget
from ledger import making
from ledger.making import (
    HOUR,
    NOON,
    USD,
    Clock,
    entry,
    opened,
    reservation,
    reserved,
    settlement,
    with_budget,
)

SECOND = 10**9
FULL = 1 << BITS
LATEST = 8_993_721_600 * SECOND
INSTANTS = st.integers(0, LATEST - 1)


def uuid7(ns: int, number: int = 0) -> str:
    stamp = f"{ns // 10**6:012x}"
    return f"{stamp[:8]}-{stamp[8:]}-7000-8000-{number:012x}"


@pytest.fixture
def file(tmp_path: Path, clock: Clock) -> Ledger:
    store = opened(tmp_path / "ledger.db", clock)
    yield store
    assert store.check() == []
    store.close()


def connection(ledger: Ledger) -> sqlite3.Connection:
    conn = ledger._connections._conn
    assert conn is not None
    return conn


# Keys


@given(INSTANTS)
def test_a_key_gives_its_instant_back_to_the_microsecond(ns: int) -> None:
    assert started_ns(key_at(ns)) == ns // 1000 * 1000
    assert started_ns(key_at(ns) + FULL - 1) == ns // 1000 * 1000
    assert key_at(ns) // DAY == ns // making.DAY


@given(INSTANTS, st.integers())
def test_a_bound_parts_the_keys_before_an_instant_from_the_others(ns: int, cut: int) -> None:
    stored = started_ns(key_at(ns))
    assert (key_at(ns) >= bound(cut)) is (stored >= cut)
    assert 0 <= bound(cut) < 2**63


@pytest.mark.parametrize("ns", [-1, LATEST, 10**30, -(10**30)])
def test_an_instant_that_no_key_can_hold_is_an_error_that_says_so(ledger: Ledger, ns: int) -> None:
    with pytest.raises(LedgerError, match="1970 to 2254"):
        ledger.reserve(reservation(ledger, started_ns=ns))
    good, bad, other = entry(ledger), entry(ledger, started_ns=ns), entry(ledger)
    answers = ledger.record_many([good, bad, other])
    assert answers[0] == (good.reservation.id, True)
    assert isinstance(answers[1], LedgerError)
    assert answers[2] == (other.reservation.id, True)


@pytest.mark.parametrize("ns", [0, LATEST - 1])
def test_the_first_and_the_last_instant_can_be_recorded(ledger: Ledger, ns: int) -> None:
    """More of them than one microsecond has keys for."""
    ledger.record_many([entry(ledger, started_ns=ns) for _ in range(FULL + 2)])
    [first] = {row["started_at"][:19] for row in ledger.calls(limit=FULL + 2)}
    assert first in {"1970-01-01T00:00:00", "2254-12-31T23:59:59"}
    assert ledger.totals()[0].calls == FULL + 2


@pytest.mark.parametrize("ns", [NOON, NOON + SECOND - 1000])
def test_calls_of_one_instant_stay_in_their_second_however_many(file: Ledger, ns: int) -> None:
    """As in an import whose rows all carry the last instant of a day."""
    keys, conn = Keys(), connection(file)
    insert = """INSERT INTO call (seq, id, state, outcome, counted, held, account, context, requested,
  asked, model, operation, attempts, flags) VALUES (?, ?, 1, 0, 0, 0, 1, 0, 1, 1, 1, 0, 1, 0)"""
    taken = []
    conn.execute("BEGIN IMMEDIATE")
    for number in range(5 * FULL):
        key = keys.propose(key_at(ns))
        try:
            conn.execute(insert, (key, str(number)))
        except sqlite3.IntegrityError:
            key = keys.free(conn, key_at(ns))
            conn.execute(insert, (key, str(number)))
        taken.append(key)
    found = Keys().free(conn, key_at(ns))  # another process, which does not know of any of them
    conn.execute("ROLLBACK")
    assert found not in taken
    assert len(set(taken)) == 5 * FULL
    assert {started_ns(key) // SECOND for key in [*taken, found]} == {ns // SECOND}
    assert taken[:FULL] == sorted(taken[:FULL])
    assert abs(found - key_at(ns)) <= 6 * FULL


def test_calls_of_one_instant_are_shown_in_the_order_they_came(ledger: Ledger) -> None:
    for _ in range(5):
        assert ledger.settle(reserved(ledger), settlement())
    shown = [row["id"] for row in ledger.calls()]
    assert shown == sorted(shown, reverse=True)


def test_two_processes_of_one_instant_take_different_keys(file: Ledger) -> None:
    ours = reserved(file)
    code = (
        "import sys; from ledger.making import *; l = opened(sys.argv[1]); print(reserved(l).call); l.close()"
    )
    output, errors = making.python(code, file.where).communicate(timeout=60)
    assert errors == ""
    assert int(output) == ours.call + 1
    assert reserved(file).call == ours.call + 2


# Ids


def test_a_call_is_found_by_a_uuid_that_was_made_near_its_start(file: Ledger) -> None:
    made = {after: uuid7(NOON - after, n) for n, after in enumerate((0, SECOND, -SECOND, HOUR))}
    for call in made.values():
        assert file.settle(reserved(file, id=call), settlement())
    for after, call in made.items():
        assert file.call(call)["id"] == call, after
    assert file.call(uuid7(NOON, 99)) is None


def test_a_uuid_is_looked_for_by_its_time_and_not_in_all_rows(
    file: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = uuid7(NOON)
    reserved(file, id=call)
    monkeypatch.setattr(ids, "_ALL", "SELECT seq FROM call WHERE id = ? AND 0")
    assert ids.find(connection(file), call) is not None
    assert ids.find(connection(file), uuid7(NOON - HOUR)) is None
    for statement in (ids._RECORDED, ids._NEAR):
        values = (call, 0, 1)[: statement.count("?")]
        [plan] = connection(file).execute(f"EXPLAIN QUERY PLAN {statement}", values)
        assert plan[3].startswith("SEARCH call USING"), plan


def test_a_recorded_call_of_long_ago_is_found_by_its_id(
    file: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ids, "_ALL", "SELECT seq FROM call WHERE id = ? AND 0")
    one = entry(file, id=uuid7(NOON), started_ns=NOON - 1000 * making.DAY)
    file.record(one)
    assert file.call(one.reservation.id)["started_at"] < "2025"
    assert file.record(one) == (one.reservation.id, False)


def test_pages_go_on_after_an_id_of_any_kind(ledger: Ledger) -> None:
    mixed = [uuid7(NOON), "call-000001", uuid7(NOON - HOUR), "call-000002"]
    for n, call in enumerate(mixed):
        assert ledger.settle(reserved(ledger, id=call, started_ns=NOON + n * SECOND), settlement())
    for page, call in itertools.pairwise(reversed(mixed)):
        assert ledger.calls(limit=1, before=page)[0]["id"] == call
    assert ledger.calls(before="nobody") == []


# Owners


def test_open_calls_are_found_after_many_renewals(ledger: Ledger, clock: Clock) -> None:
    grant = reserved(ledger)
    for _ in range(30):
        clock.now += LEASE // 2
        assert ledger.settle(reserved(ledger, started_ns=clock.now), settlement())
        assert ledger.check() == []
    last = reserved(ledger, started_ns=clock.now)
    assert ledger.expire(clock.now + HOUR) == 2
    assert ledger.call(grant.reservation.id)["outcome"] == ledger.call(last.reservation.id)["outcome"]
    assert ledger.facts()["owners"] == 0


def test_the_part_of_an_owner_follows_its_open_calls(file: Ledger, clock: Clock) -> None:
    first = reserved(file)
    for _ in range(3):
        clock.now += LEASE
        file.renew(clock.now)
    [(low, high)] = connection(file).execute("SELECT first_seq, last_seq FROM owner").fetchall()
    assert low == first.call
    assert file.settle(first, settlement())
    file.renew(clock.now)
    [(low, high)] = connection(file).execute("SELECT first_seq, last_seq FROM owner").fetchall()
    assert clock.now - HOUR < started_ns(low) < clock.now < started_ns(high) < clock.now + HOUR


@pytest.mark.parametrize("jump", [-100 * making.DAY, 100 * making.DAY])
def test_calls_of_a_clock_that_jumped_expire_like_others(ledger: Ledger, clock: Clock, jump: int) -> None:
    reserved(ledger)
    clock.now += jump
    reserved(ledger, started_ns=clock.now)
    clock.now -= jump
    reserved(ledger, started_ns=clock.now)
    assert ledger.check() == []
    assert ledger.expire(max(NOON, NOON + jump) + HOUR) == 3


def test_a_batch_of_expiries_ends_where_the_next_begins(ledger: Ledger, clock: Clock) -> None:
    bound_ = with_budget(ledger, Budget("all", 10_000))
    for n in range(1203):
        reserved(ledger, [bound_], started_ns=NOON + n * 1000)
    assert ledger.expire(NOON + HOUR) == 1203
    assert [(w.spent, w.held) for w in ledger.windows()] == [(1203 * USD, 0)]
    assert ledger.facts()["owners"] == 0


def test_a_reserve_between_two_batches_of_expiries_is_still_found(ledger: Ledger, clock: Clock) -> None:
    for n in range(3):
        reserved(ledger, started_ns=NOON + n * SECOND)
    conn = connection(ledger)
    conn.execute("UPDATE owner SET first_seq = ?", (key_at(NOON + 5 * SECOND),))  # as a batch leaves it
    conn.execute("UPDATE owner SET lease_until = 0")
    late = reserved(ledger, started_ns=NOON + 4 * SECOND)
    assert ledger.check() == []
    assert ledger.expire(NOON + HOUR) == 4
    assert ledger.call(late.reservation.id) is not None


def test_check_tells_of_an_open_call_that_its_owner_would_not_find(file: Ledger) -> None:
    grant = reserved(file)
    conn = connection(file)
    before = conn.execute("SELECT first_seq FROM owner").fetchone()
    conn.execute("UPDATE owner SET first_seq = last_seq")
    assert "would never expire" in " ".join(file.check())
    assert file.expire(NOON + HOUR // 10) == 0
    conn.execute("UPDATE owner SET first_seq = ?", before)
    assert file.settle(grant, settlement())


def test_check_tells_of_an_id_that_two_calls_have(file: Ledger) -> None:
    first = reserved(file)
    assert file.settle(first, settlement())
    second = reserved(file, id=first.reservation.id, started_ns=NOON + HOUR)
    assert "Two calls have the id" in " ".join(file.check())
    assert file.release(second)


def test_a_reserve_that_was_rolled_back_does_not_keep_its_id(
    file: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = reservation(file)
    reserved(file)
    conn = connection(file)
    with monkeypatch.context() as patch:
        began = file._owner.began
        patch.setattr(file._owner, "began", lambda *call: (began(*call), conn.execute("no SQL")))
        with pytest.raises(LedgerError):
            file.reserve(want)
    assert file.settle(file.reserve(want), settlement())


def test_a_child_renews_its_own_lease_and_not_its_parents(file: Ledger) -> None:
    reserved(file)
    code = """
import os, sys
from ledger.making import *
ledger = opened(sys.argv[1])
reserved(ledger)
pid = os.fork()
if pid == 0:
    ledger.renew(NOON + 100 * HOUR)
    os._exit(0)
os.waitpid(pid, 0)
print("left")
os._exit(0)
"""
    assert making.python(code, file.where).communicate(timeout=60) == ("left\n", "")
    file.renew(NOON + HOUR)
    assert file.expire(NOON + HOUR) == 1


def test_a_window_that_another_process_took_away_makes_a_call_stale(file: Ledger, clock: Clock) -> None:
    """It is remembered here; the budget's rules were changed elsewhere before it began."""
    daily = with_budget(file, Budget("daily", 5, "day"))
    assert file.settle(reserved(file, [daily], started_ns=NOON + making.DAY), settlement())
    code = (
        "import sys; from ledger.making import *; l = opened(sys.argv[1]);"
        "l.set_budget(Budget('daily', 5, 'day', timezone='Europe/Berlin'), origin='code'); l.close()"
    )
    assert making.python(code, file.where).communicate(timeout=60) == ("", "")
    want = reservation(file, [daily], started_ns=NOON + making.DAY)
    assert isinstance(file.reserve(want), Stale)


def test_a_guarded_call_touches_five_pages(tmp_path: Path) -> None:
    ledger = opened(tmp_path / "ledger.db")
    bound_ = with_budget(ledger, Budget("all", 1_000_000))
    for _ in range(3):
        assert ledger.settle(reserved(ledger, [bound_]), settlement())
    log = Path(ledger.where + "-wal")
    before, calls = log.stat().st_size, 200
    empty = pages(ledger)
    for n in range(calls):
        want = reservation(
            ledger, [bound_], id=uuid7(NOON, n), started_ns=NOON + n * 1000, tags={"user": "u"}
        )
        grant = ledger.reserve(want)
        assert isinstance(grant, Grant)
        assert ledger.settle(grant, settlement(response_id="chatcmpl-" + "x" * 29))
    frames = (log.stat().st_size - before) / (24 + 2048)
    bytes_of_calls = (pages(ledger) - empty) * 2048
    ledger.close()
    assert frames / calls < 5.5  # the rest is new pages for new rows
    assert bytes_of_calls / calls < 350


def pages(ledger: Ledger) -> int:
    with closing(sqlite3.connect(ledger.where)) as conn:
        found: int = conn.execute("PRAGMA page_count").fetchone()[0]
    return found
