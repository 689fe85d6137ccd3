"""Whatever fails in the accounting, a call that was paid for gives its answer."""

from __future__ import annotations

import logging
import os

import pytest

from farthing import Budget, LedgerError, Meter, Unmeterable
from farthing.errors import LedgerFull
from farthing.intercept import observing
from farthing.testing import Reply
from intercept.kit import ASK, USUAL

STREAM = {**ASK, "stream": True}


@pytest.fixture(params=["whole", "stream"])
def ask(request, kit):
    """Asks once and reads the answer; returns its text."""

    def once(client):
        if request.param == "whole":
            return kit.run(client.chat.completions.create(**ASK)).choices[0].message.content
        stream = kit.run(client.chat.completions.create(**STREAM))
        return "".join(chunk.choices[0].delta.content or "" for chunk in kit.items(stream))

    return once


TEXT = "A farthing is a quarter of a penny."


def _lines(caplog):
    return [r for r in caplog.records if r.name == "farthing" and r.levelno >= logging.WARNING]


@pytest.mark.parametrize("error", [LedgerFull("no room"), RuntimeError("a bug")], ids=["full", "bug"])
def test_an_end_that_cannot_be_booked_is_booked_later(kit, ask, caplog, monkeypatch, error):
    client = kit.client(budget="$5/day")
    ledger = kit.meter.engine.ledger

    def fail(*_args, **_kwargs):
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(ledger, "settle", fail)
        broken.setattr(ledger, "at_once", lambda _: None)
        assert ask(client) == TEXT
        assert ask(client) == TEXT
        # What was spilled is booked before the next call is held; for a bug that would be too early.
        assert ledger.facts()["open_calls"] == (1 if isinstance(error, LedgerFull) else 2)
    assert len(_lines(caplog)) == 1
    assert ask(client) == TEXT
    assert [row.cost_nano for row in kit.rows()] == [USUAL] * 3


def test_what_is_overdue_is_booked_at_the_close(kit, ask, monkeypatch, ledger_path):
    client = kit.client()
    with monkeypatch.context() as broken:
        broken.setattr(
            kit.meter.engine.ledger, "settle", lambda *a, **k: (_ for _ in ()).throw(LedgerFull("no room"))
        )
        broken.setattr(kit.meter.engine.ledger, "at_once", lambda _: None)
        assert ask(client) == TEXT
    kit.meter.close()
    with Meter(ledger_path) as again:
        assert [row["cost_nano"] for row in again.engine.ledger.calls()] == [USUAL]


@pytest.mark.parametrize("place", ["read", "read_event"])
def test_an_answer_that_our_reader_chokes_on_is_returned(kit, ask, caplog, monkeypatch, place):
    def choke(*_args, **_kwargs):
        raise ZeroDivisionError

    for name in ("read", "read_event"):
        monkeypatch.setattr(observing.usage, name, choke)
    client = kit.client(budget="$5/day")
    assert ask(client) == TEXT
    assert len(_lines(caplog)) == 1
    row = kit.row()
    assert row.outcome == "unknown"
    assert row.counted_nano == row.held_nano


def test_a_call_that_cannot_be_prepared_is_sent_without_a_budget(kit, ask, caplog, monkeypatch):
    monkeypatch.setattr("farthing.quote.quote", lambda *a, **k: 1 / 0)
    assert ask(kit.client()) == TEXT
    assert len(_lines(caplog)) == 1
    assert kit.rows() == []


@pytest.mark.parametrize("attached", [True, False])
def test_a_call_that_cannot_be_prepared_is_not_sent_under_a_hard_budget(kit, monkeypatch, attached):
    client = kit.client(budget="$5/day") if attached else kit.client()
    if not attached:
        kit.meter.set_budget(Budget("all", "5", "day"))
    monkeypatch.setattr("farthing.quote.quote", lambda *a, **k: 1 / 0)
    with pytest.raises(Unmeterable):
        kit.run(client.chat.completions.create(**ASK))
    assert kit.provider.requests == []


def test_a_ledger_that_moves_between_reserve_and_settle(kit, caplog, ledger_path):
    client = kit.client()
    kit.meter.warm()
    moved = ledger_path.with_suffix(".moved")
    kit.provider.script(lambda request: ledger_path.rename(moved) and None)
    assert kit.run(client.chat.completions.create(**ASK)).choices
    assert len(_lines(caplog)) == 1
    kit.provider.script(lambda request: None)
    moved.rename(ledger_path)
    kit.run(client.chat.completions.create(**ASK))
    assert [row.cost_nano for row in kit.rows()] == [USUAL, USUAL]


def _unusable(tmp_path, kind):
    if kind == "under a file":
        (tmp_path / "file").write_text("")
        return tmp_path / "file" / "ledger.db"
    if kind == "not a ledger":
        (tmp_path / "ledger.db").write_bytes(b"not a database, and long enough to be looked at" * 100)
        return tmp_path / "ledger.db"
    (tmp_path / "folder.db").mkdir()
    return tmp_path / "folder.db"


@pytest.mark.parametrize("kind", ["under a file", "a folder", "not a ledger"])
def test_without_a_budget_a_ledger_that_cannot_be_used_stops_nothing(kit, ask, caplog, tmp_path, kind):
    meter = Meter(_unusable(tmp_path, kind))
    client = meter.wrap(kit.plain())
    assert ask(client) == TEXT
    assert ask(client) == TEXT
    assert len(_lines(caplog)) == 1
    meter.close()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_without_a_budget_a_folder_that_cannot_be_written_stops_nothing(kit, ask, caplog, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    client = Meter(tmp_path / "locked" / "ledger.db").wrap(kit.plain())
    assert ask(client) == TEXT
    assert len(_lines(caplog)) == 1


@pytest.mark.parametrize("standing", [True, False])
@pytest.mark.parametrize("kind", ["under a file", "not a ledger"])
def test_a_hard_budget_and_a_ledger_that_cannot_be_used_stop_the_call(kit, tmp_path, kind, standing):
    meter = Meter(_unusable(tmp_path, kind), budgets=[Budget("all", "5", "day")] if standing else ())
    client = meter.wrap(kit.plain(), **({} if standing else {"budget": "$5/day"}))
    with pytest.raises(LedgerError):
        kit.run(client.chat.completions.create(**ASK))
    assert kit.provider.requests == []
    meter.close()


def test_a_hard_budget_may_be_let_go_when_the_ledger_cannot_be_used(kit, caplog, tmp_path):
    meter = Meter(_unusable(tmp_path, "under a file"), on_ledger_error="allow")
    answer = kit.run(meter.wrap(kit.plain(), budget="$5/day").chat.completions.create(**ASK))
    assert meter.receipt(answer).flags == ("ledger_error",)
    assert len(_lines(caplog)) == 1
    meter.close()


def test_an_odd_request_is_left_to_the_server(kit):
    kit.provider.script(Reply(status=400))
    client = kit.client()
    with pytest.raises(Exception, match="status 400"):
        kit.run(client.chat.completions.create(model=None, messages="not a list", max_tokens="many"))
    assert kit.row().outcome == "error"
