"""Calls that cannot be written into the ledger are kept beside it, and are booked when they can be."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from decimal import Decimal
from pathlib import Path

import pytest

from farthing import InsufficientCredits, LedgerError, Meter
from farthing.engine import overdue
from farthing.errors import LedgerFull, LedgerLocked
from farthing.ledger.calls.ids import find
from farthing.ledger.spilled import Spilled, from_document, to_document
from farthing.ledger.upkeep import spill, taking_in
from farthing.records import Budget, Usage
from farthing.testing import FakeProvider
from faults.world import COST, SPILLS_AN_END, ask, client_of, ended, metered, python, says, spills
from ledger.making import (
    DAY,
    NOON,
    USD,
    Clock,
    attached_bound,
    entry,
    opened,
    reservation,
    reserved,
    settlement,
    with_budget,
)

DEAD = """
import os, sys
from farthing.testing import FakeProvider
from faults.world import *
with FakeProvider(usage=USAGE) as provider:
    meter = metered(sys.argv[1])
    client = client_of(meter, provider, account="acme", tags={"feature": "search"})
    ask(client)
    if sys.argv[2] == "running":
        meter.reserve(model="gpt-4o", amount="0.25", account="acme").sent()
    print("asked", flush=True)
    sys.stdin.readline()
"""


def rows(meter: Meter) -> list[dict[str, object]]:
    return meter.engine.ledger.calls()


def adds_up(meter: Meter) -> bool:
    return meter.engine.ledger.check() == []


def in_the_way(path: Path) -> None:
    """A ledger that cannot be opened."""
    path.mkdir()


def test_a_call_without_a_ledger_is_booked_when_there_is_one(
    ledger_path: Path, provider: FakeProvider, home: Path
) -> None:
    in_the_way(ledger_path)
    with metered(ledger_path) as meter:
        client = client_of(meter, provider, account="acme", tags={"feature": "search"})
        answer = ask(client)
        assert meter.receipt(answer).flags == ("ledger_error",)
        [file] = spills(home)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        ledger_path.rmdir()
        ask(client)
        first, second = sorted(rows(meter), key=lambda row: str(row["started_at"]))
        assert first["id"] == meter.receipt(answer).id
        assert first["flags"] == '["ledger_error","spilled"]'
        assert (first["cost_nano"], first["account"], first["tags"]) == (COST, "acme", '{"feature":"search"}')
        assert second["flags"] == "[]"
        assert spills(home) == []
        assert adds_up(meter)


def test_another_process_books_what_a_dead_one_spilled(
    ledger_path: Path, provider: FakeProvider, home: Path
) -> None:
    in_the_way(ledger_path)
    process = python(DEAD, ledger_path, "ended")
    assert says(process) == "asked"
    ended(process)
    assert len(spills(home)) == 1
    ledger_path.rmdir()
    with metered(ledger_path) as meter:
        assert [row["cost_nano"] for row in rows(meter)] == [COST]
        assert spills(home) == []
        assert adds_up(meter)


def test_a_call_that_its_process_did_not_survive_is_booked_at_its_prompt_and_counted_at_its_hold(
    ledger_path: Path, home: Path
) -> None:
    in_the_way(ledger_path)
    process = python(DEAD, ledger_path, "running")
    assert says(process) == "asked"
    ended(process)
    ledger_path.rmdir()
    with metered(ledger_path) as meter:
        booked = {row["outcome"]: row for row in rows(meter)}
        assert set(booked) == {"complete", "expired"}
        assert booked["expired"]["counted_nano"] == USD // 4
        assert booked["expired"]["flags"] == '["ledger_error","spilled"]'
        assert adds_up(meter)
        assert spills(home) == []


def test_the_file_of_a_process_that_lives_is_left_alone(ledger_path: Path, home: Path) -> None:
    in_the_way(ledger_path)
    process = python(DEAD, ledger_path, "running")
    assert says(process) == "asked"
    ledger_path.rmdir()
    with metered(ledger_path) as meter:
        assert rows(meter) == []
        assert len(spills(home)) == 1
        ended(process)
        meter.engine.tick()
        assert len(rows(meter)) == 2


def test_without_its_lock_the_file_of_a_living_process_would_be_taken(
    ledger_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_way(ledger_path)
    process = python(DEAD, ledger_path, "running")
    assert says(process) == "asked"
    ledger_path.rmdir()
    monkeypatch.setattr(spill, "try_lock", lambda fd: True)
    with metered(ledger_path) as meter:
        assert len(rows(meter)) == 2  # one of which still runs
    ended(process)


def test_the_end_of_a_held_call_is_spilled_and_then_booked_on_its_row(
    ledger_path: Path, provider: FakeProvider, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with metered(ledger_path, budgets=[Budget("all", 5)]) as meter:
        client = client_of(meter, provider)
        ask(client)

        def fails(*_: object, **__: object) -> object:
            raise LedgerFull("no room")

        with monkeypatch.context() as broken:
            broken.setattr(meter.engine.ledger, "settle", fails)
            answer = ask(client)
            assert len(spills(home)) == 1
            assert meter.engine.ledger.windows()[0].held > 0
        ask(client)
        assert spills(home) == []
        [window] = meter.engine.ledger.windows()
        assert (window.held, window.spent) == (0, 3 * COST)
        row = meter.engine.ledger.call(meter.receipt(answer).id)
        assert row is not None
        assert row["flags"] == '["spilled"]'
        assert adds_up(meter)


def test_a_held_call_whose_process_died_after_spilling_its_end_is_not_booked_as_expired(
    ledger_path: Path, home: Path
) -> None:
    process = python(SPILLS_AN_END, ledger_path)
    assert says(process) == "asked"
    ended(process)
    with metered(ledger_path) as meter:
        assert [(row["outcome"], row["cost_nano"]) for row in rows(meter)] == [("complete", COST)]
        assert [(w.held, w.spent) for w in meter.engine.ledger.windows()] == [(0, COST)]
        assert adds_up(meter)


def test_what_is_brought_twice_and_in_any_order_is_booked_once(tmp_path: Path) -> None:
    ledger = opened(tmp_path / "ledger.db")
    bound = attached_bound(Budget("b", 100, "day"))
    asked = [reservation(ledger, [bound]) for _ in range(3)]
    lines = [Spilled(state="ended", reservation=want, held=USD, end=settlement(USD)) for want in asked]
    sent = Spilled(state="sent", reservation=reservation(ledger, [bound]), held=USD)
    assert ledger.take_in([*lines, sent], 0) == [True] * 4
    assert ledger.take_in([sent, *reversed(lines)], 0) == [False] * 4
    assert ledger.totals()[0].calls == 4
    assert ledger.windows()[0].spent == 4 * USD
    assert ledger.check() == []
    ledger.close()


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
def test_what_has_no_row_is_booked_without_reading_all_rows(
    guarded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others wait meanwhile: with all rows read for each of them, they would have to spill, too."""
    if not guarded:
        monkeypatch.setattr(taking_in, "find_begun", lambda conn, call_id, _: find(conn, call_id))
    steps = []
    for rows_there in (10, 2_000):
        ledger = opened(tmp_path / f"{rows_there}.db")
        ledger.record_many(entry(ledger, started_ns=NOON - n * 10**9) for n in range(rows_there))
        asked = [reservation(ledger, started_ns=NOON + n * 10**9) for n in range(1, 6)]
        lines = [Spilled(state="ended", reservation=want, held=USD, end=settlement()) for want in asked]
        connection: sqlite3.Connection = ledger._connections._conn  # type: ignore[attr-defined]
        taken: list[int] = []
        connection.set_progress_handler(lambda taken=taken: taken.append(1), 100)
        assert ledger.take_in(lines, 0) == [True] * 5
        connection.set_progress_handler(None, 0)
        steps.append(len(taken))
        ledger.close()
    assert (steps[1] < 2 * steps[0] + 10) is guarded


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
def test_what_was_expired_and_pruned_before_its_end_is_found_is_not_booked_again(
    guarded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(NOON - 3 * DAY)
    ledger = opened(tmp_path / "ledger.db", clock)
    bound = with_budget(ledger, Budget("all", 100, "total"))
    grant = reserved(ledger, [bound], started_ns=clock.now)
    clock.now = NOON
    ledger.expire(NOON)
    assert ledger.prune(NOON // DAY) == 1
    if not guarded:
        monkeypatch.setattr(taking_in, "_PRUNED", "SELECT 1 WHERE ? IS NULL")
    line = Spilled(
        state="ended", reservation=grant.reservation, held=USD, end=settlement(USD), call=grant.call
    )
    assert ledger.take_in([line], NOON) == [not guarded]
    assert ledger.totals()[0].calls == (1 if guarded else 2)
    ledger.close()


def test_a_reserve_that_came_too_late_is_the_row_of_the_call_that_went_on_without_it(tmp_path: Path) -> None:
    ledger = opened(tmp_path / "ledger.db")
    bound = attached_bound(Budget("b", 100, "day"))
    want = reservation(ledger, [bound])
    ledger.reserve(want)
    ledger.give_up(want.id)
    lines = [Spilled(state="ended", reservation=want, held=USD, end=settlement(USD))]
    assert ledger.take_in(lines, 0) == [True]
    assert ledger.take_in(lines, 0) == [False]
    [row] = ledger.calls()
    assert (row["outcome"], row["cost_nano"]) == ("complete", USD)
    assert (ledger.windows()[0].spent, ledger.windows()[0].held) == (USD, 0)
    assert ledger.check() == []
    ledger.close()


def test_a_line_says_all_that_is_to_be_booked(tmp_path: Path) -> None:
    ledger = opened(tmp_path / "ledger.db")
    budget = Budget("b", "5.5", "day", tags={"a": "b"}, timezone="Asia/Kathmandu")
    want = reservation(
        ledger,
        [attached_bound(budget)],
        tags={"quote": "'\"; DROP TABLE call; --", "nul": "a\0b", "lone": "\ud800", "face": "\U0001f600"},
        run="a/b",
        flags=("unpriced_allowed",),
    )
    end = settlement(
        usage=Usage(input_tokens=7, seconds=Decimal("1.5")), units={"other": 3}, flags=("clamped",), raw="{}"
    )
    before = Spilled(state="ended", reservation=want, held=3, end=end, call=9, also=((4, "x"),))
    raw = spill.line_of(before, "id", "/ledger.db", "owner", 1, 2)
    assert raw.isascii()
    assert raw.count(b"\n") == 1
    line = spill.parsed(raw.rstrip(b"\n"))
    assert line.spilled is not None
    assert to_document(line.spilled) == to_document(before)
    assert line.spilled.reservation.bounds == want.bounds
    assert from_document(to_document(before)).end == end
    assert line.belongs_to("id", "elsewhere")
    assert not line.belongs_to("another", "/ledger.db")
    ledger.close()


@pytest.mark.parametrize("damage", ["torn", "flipped", "foreign"])
def test_lines_that_are_damaged_are_kept_and_the_others_are_booked(
    ledger_path: Path, home: Path, provider: FakeProvider, damage: str
) -> None:
    in_the_way(ledger_path)
    with metered(ledger_path) as meter:
        client = client_of(meter, provider)
        for _ in range(3):
            ask(client)
    ledger_path.rmdir()
    [file] = spills(home)
    lines = file.read_bytes().splitlines(keepends=True)
    last = lines[-1]
    broken = {
        "torn": last[: len(last) // 2],
        "flipped": last.replace(b'"cost":', b'"coss":'),
        "foreign": b"hello\n",
    }[damage]
    file.write_bytes(b"".join([*lines[:-1], broken]))
    with metered(ledger_path) as meter:
        outcomes = sorted(str(row["outcome"]) for row in rows(meter))
        assert outcomes == ["complete", "complete", "expired"]
        assert adds_up(meter)
    assert spills(home) == []
    [bad] = home.rglob("*.bad")
    assert bad.read_bytes().strip() == broken.strip()


def test_calls_of_another_ledger_under_the_same_path_wait_for_theirs(
    ledger_path: Path, home: Path, tmp_path: Path
) -> None:
    process = python(
        DEAD.replace("ask(client)", "fail(meter); ask(client)").replace(
            "with Fake",
            """
def fail(meter):
    def fails(*_, **__):
        from farthing.errors import LedgerFull
        raise LedgerFull("no room")
    meter.engine.ledger.settle = fails
with Fake""",
        ),
        ledger_path,
        "ended",
    )
    assert says(process) == "asked"
    ended(process)
    aside = tmp_path / "aside"
    aside.mkdir()
    for file in tmp_path.glob("ledger.db*"):
        shutil.move(file, aside)
    with metered(ledger_path) as meter:
        assert rows(meter) == []
    assert len(spills(home)) == 1
    with metered(aside / "ledger.db") as meter:
        assert [row["cost_nano"] for row in rows(meter)] == [COST]
    assert spills(home) == []


def test_where_the_state_folder_cannot_be_written_it_lies_beside_the_ledger(
    tmp_path: Path, home: Path, provider: FakeProvider
) -> None:
    (home / ".local").write_text("in the way")
    path = tmp_path / "ledger.db"
    in_the_way(path)
    with metered(path) as meter:
        ask(client_of(meter, provider))
        assert len(list(tmp_path.glob("*.spill"))) == 1
        path.rmdir()
        assert len(rows(meter)) == 1


def test_without_any_file_calls_are_kept_in_memory_and_the_rest_is_counted_as_lost(
    ledger_path: Path,
    provider: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    in_the_way(ledger_path)
    monkeypatch.setattr(overdue, "openings", lambda *_: iter(()))
    monkeypatch.setattr(overdue, "_MOST", 4)  # two for each call
    with metered(ledger_path) as meter:
        client = client_of(meter, provider)
        for _ in range(3):
            ask(client)
        assert meter.engine._overdue.lost == 2
        assert "lost to the ledger" in caplog.text
        ledger_path.rmdir()
        ask(client)
        assert [row["cost_nano"] for row in rows(meter)] == [COST] * 3


def test_files_of_other_users_are_not_read(ledger_path: Path, home: Path, provider: FakeProvider) -> None:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can make a file of another user's")
    in_the_way(ledger_path)
    with metered(ledger_path) as meter:
        ask(client_of(meter, provider))
    ledger_path.rmdir()
    [file] = spills(home)
    os.chown(file, 65534, 65534)
    with metered(ledger_path) as meter:
        assert rows(meter) == []
    assert file.exists()


def test_a_forked_child_neither_books_nor_unlocks_what_its_parent_spilled(
    ledger_path: Path, home: Path, provider: FakeProvider
) -> None:
    in_the_way(ledger_path)
    with metered(ledger_path) as meter:
        ask(client_of(meter, provider))
        pid = os.fork()
        if pid == 0:
            meter.engine._overdue.close()
            os._exit(0 if not meter.engine._overdue else 1)
        assert os.waitpid(pid, 0)[1] == 0
        [file] = spills(home)
        assert list(spill.left_behind(str(ledger_path))) == []
        ledger_path.rmdir()
        assert len(rows(meter)) == 1
        assert not file.exists()


# What budgets do meanwhile


def test_a_hard_budget_that_may_be_let_go_is_kept_by_what_was_last_known(
    ledger_path: Path, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    with metered(ledger_path, on_ledger_error="allow", budgets=[Budget("all", "0.01")]) as meter:
        client = client_of(meter, provider)
        ask(client)  # 0.0030125 of it

        def fails(*_: object, **__: object) -> object:
            raise LedgerLocked("held")

        ledger = meter.engine.ledger
        with monkeypatch.context() as broken:
            for verb in ("reserve", "settle", "take_in", "look"):
                broken.setattr(ledger, verb, fails)
            ask(client)
            ask(client)
            with pytest.raises(InsufficientCredits):
                ask(client)
        with pytest.raises(InsufficientCredits):
            ask(client)
        ledger_rows = rows(meter)
        assert [row["cost_nano"] for row in ledger_rows] == [COST] * 3
        assert [w.spent for w in ledger.windows()] == [3 * COST]
        assert adds_up(meter)


def test_a_soft_budget_is_charged_when_the_call_is_taken_in(
    ledger_path: Path, provider: FakeProvider, home: Path
) -> None:
    in_the_way(ledger_path)
    with metered(ledger_path) as meter:
        client = client_of(meter, provider, budget=Budget("soft", 1, "day", mode="soft"))
        ask(client)
        ledger_path.rmdir()
        rows(meter)
        assert [(w.budget, w.spent) for w in meter.engine.ledger.windows()] == [("soft", COST)]


def test_a_hold_by_hand_that_was_given_back_leaves_no_row(ledger_path: Path, home: Path) -> None:
    in_the_way(ledger_path)
    with metered(ledger_path) as meter:
        meter.reserve(model="gpt-4o", amount=1).release()
        meter.reserve(model="gpt-4o", amount=1).void()
        ledger_path.rmdir()
        assert [row["outcome"] for row in rows(meter)] == ["error"]
        assert spills(home) == []
        assert adds_up(meter)


def test_closing_with_a_ledger_that_cannot_be_used_raises_nothing(
    ledger_path: Path, provider: FakeProvider, home: Path
) -> None:
    meter = metered(ledger_path, on_ledger_error="allow")
    client = client_of(meter, provider)
    ask(client)
    ledger_path.unlink()
    ask(client)
    meter.close()
    assert len(spills(home)) == 1


def test_a_path_that_cannot_be_is_an_error_of_the_ledger(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="no path"):
        metered(tmp_path / "\0").warm()
