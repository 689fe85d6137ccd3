"""Alerts: once for each window, threshold and limit, and to everybody who wants them."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from farthing import Budget, FarthingError, Meter, Usage
from farthing.alerts.webhook import signature
from farthing.ledger.budgets import outbox
from farthing.ledger.upkeep import schema
from farthing.records import Alert
from farthing.testing import FakeClock, FakeProvider, Reply
from guard.making import PATIENCE, adds_up, metered
from ledger.making import python

OK: dict[str, Any] = {"ok": True}

SPENDS = """
import sys
from farthing import Usage
from guard.making import metered
path, url = sys.argv[1:]
with metered(path, alert_url=url or None) as meter:
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(20):
        meter.record(model="gpt-4o", usage=Usage(output_tokens=5_000))
"""
"""Twenty calls of $0.05."""


def spend(meter: Meter, usd: str, **options: Any) -> None:
    meter.record(model="gpt-4o", usage=Usage(input_tokens=0, output_tokens=0), cost=usd, **options)


class Heard:
    """What an `on_alert` has been told."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []
        self._told = threading.Semaphore(0)

    def __call__(self, alert: Alert) -> None:
        self.alerts.append(alert)
        self._told.release()

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self._told.acquire(timeout=PATIENCE)

    @property
    def thresholds(self) -> list[float]:
        return [alert.threshold for alert in self.alerts]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def telling(ledger_path: Path, clock: FakeClock, heard: Heard) -> Iterator[Meter]:
    with metered(ledger_path, clock=clock, on_alert=heard) as made:
        yield made
        assert adds_up(made)


@pytest.fixture
def hook() -> Iterator[FakeProvider]:
    with FakeProvider(lambda _: Reply(body=OK)) as server:
        yield server


def address(hook: FakeProvider) -> str:
    return f"{hook.base_url}/hook?token=t"


def posted(hook: FakeProvider) -> list[dict[str, Any]]:
    return [request.body for request in hook.requests]


# When


def test_each_threshold_is_told_once_when_what_is_spent_reaches_it(telling: Meter, heard: Heard) -> None:
    telling.set_budget(Budget("all", 1, "day"))
    spend(telling, "0.74")
    spend(telling, "0.01")
    heard.wait_for(1)
    spend(telling, "0.14")
    assert heard.thresholds == [0.75]
    spend(telling, "0.5")
    heard.wait_for(2)
    spend(telling, "0.5")
    telling.close()
    assert heard.thresholds == [0.75, 0.9, 1.0]


def test_an_alert_says_what_and_when(telling: Meter, heard: Heard, clock: FakeClock) -> None:
    telling.set_budget(Budget("each", 2, "day", per="account", alerts=(0.5,)))
    hold = telling.reserve(model="gpt-4o", amount="0.25", account="acme")
    clock.advance(3600)
    spend(telling, "1.1", account="acme")
    spend(telling, "0.9", account="other")
    heard.wait_for(1)
    [alert] = heard.alerts
    assert (alert.budget, alert.key, alert.threshold) == ("each", "acme", 0.5)
    assert (alert.limit, alert.spent, alert.held) == (2, Decimal("1.1"), Decimal("0.25"))
    day = datetime(2026, 1, 1, tzinfo=UTC)
    assert (alert.starts_at, alert.ends_at) == (day, day + timedelta(days=1))
    assert alert.raised_at == day + timedelta(hours=1)
    hold.void()


def test_each_window_tells_for_itself(telling: Meter, heard: Heard, clock: FakeClock) -> None:
    telling.set_budget(Budget("all", 1, "day", alerts=(1.0,)))
    spend(telling, "2")
    clock.advance(timedelta(days=1))
    spend(telling, "2")
    heard.wait_for(2)
    first, second = heard.alerts
    assert first.ends_at == second.starts_at
    assert first.id != second.id


def test_another_limit_has_thresholds_of_its_own(telling: Meter, heard: Heard) -> None:
    telling.set_budget(Budget("all", 1, "day", alerts=(0.5,)))
    spend(telling, "0.6")
    heard.wait_for(1)
    telling.set_budget(Budget("all", 2, "day", alerts=(0.5,)))
    spend(telling, "0.1")
    telling.set_budget(Budget("all", 1, "day", alerts=(0.5,)))
    spend(telling, "0.1")
    telling.set_budget(Budget("all", "0.5", "day", alerts=(0.5,)))
    spend(telling, "0.1")
    heard.wait_for(1)
    telling.close()
    assert [alert.limit for alert in heard.alerts] == [1, Decimal("0.5")]


def test_what_is_held_raises_nothing(telling: Meter, heard: Heard) -> None:
    telling.set_budget(Budget("all", 1, "day"))
    hold = telling.reserve(model="gpt-4o", amount="0.99")
    hold.void()
    telling.close()
    assert heard.alerts == []


def test_calls_raise_them_as_records_do(telling: Meter, heard: Heard) -> None:
    telling.set_budget(Budget("soft", "0.002", "day", mode="soft"))
    with telling.scope(budget=Budget("own", "0.01", "day", alerts=(0.25,))):
        hold = telling.reserve(model="gpt-4o", input_tokens=1_000, max_output_tokens=100)
        hold.settle(Usage(input_tokens=1_000, output_tokens=50))
    heard.wait_for(4)
    told = [(alert.budget, alert.threshold) for alert in heard.alerts]
    assert sorted(told) == [("own", 0.25), ("soft", 0.75), ("soft", 0.9), ("soft", 1.0)]


def test_callers_of_one_window_with_limits_of_their_own_are_told_once_each(
    telling: Meter, heard: Heard
) -> None:
    for _ in range(4):
        for limit in ("0.004", "0.008"):
            with telling.scope(budget=Budget("own", limit, "day", mode="soft")):
                telling.reserve(model="gpt-4o", amount="0.001").settle({"input_tokens": 400})
    telling.close()
    told = [(str(alert.limit), alert.threshold) for alert in heard.alerts]
    assert sorted(told) == [(limit, share) for limit in ("0.004", "0.008") for share in (0.75, 0.9, 1.0)]


def test_a_call_that_expires_raises_them(telling: Meter, heard: Heard, clock: FakeClock) -> None:
    telling.set_budget(Budget("all", 1, "day", alerts=(0.9,)))
    telling.reserve(model="gpt-4o", amount="0.95")
    clock.advance(3600)
    telling.engine.ledger.expire(clock.time_ns())
    heard.wait_for(1)


SIXTY_CENTS = Usage(input_tokens=0, output_tokens=60_000)
"""As gpt-4o answers."""


def ended_after(meter: Meter, change: Callable[[], object], **scope: Any) -> None:
    """A call of $0.60 of which one learns only after a change."""
    with meter.scope(**scope):
        hold = meter.reserve(model="gpt-4o", amount="0.6")
    meter.engine.clock.advance(3600)
    change()
    hold.settle(SIXTY_CENTS)


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
@pytest.mark.parametrize("attached", [False, True])
def test_what_ends_after_the_rules_have_changed_is_told_by_the_rules_of_now_alone(
    telling: Meter, heard: Heard, monkeypatch: pytest.MonkeyPatch, attached: bool, guarded: bool
) -> None:
    """The call counts in the window that was closed and in the one that follows; the control has both tell,
    the former by rules that it never had."""
    if not guarded:
        monkeypatch.setattr(outbox, "_WINDOW", outbox._WINDOW.replace("b.removed IS NULL AND", "1 OR"))
    old = Budget("all", 1, "day", alerts=(0.9,))
    new = Budget("all", 1, "day", alerts=(0.5,), timezone="Asia/Kolkata")

    def change() -> None:
        if attached:
            with telling.scope(budget=new):
                telling.reserve(model="gpt-4o", amount="0.01").void()
        else:
            telling.set_budget(new)

    if not attached:
        telling.set_budget(old)
    ended_after(telling, change, budget=old if attached else None)
    assert [window.spent for window in telling.engine.ledger.windows()] == [600_000_000] * 2
    telling.close()
    assert heard.thresholds == ([0.5] if guarded else [0.5, 0.5])


def test_a_limit_that_a_closed_window_had_is_told_of_no_more(telling: Meter, heard: Heard) -> None:
    telling.set_budget(Budget("all", "0.61", "day", alerts=(0.5,)))
    ended_after(telling, lambda: telling.set_budget(Budget("all", 5, "month", alerts=(0.5,))))
    assert [window.spent for window in telling.engine.ledger.windows()] == [600_000_000] * 2
    telling.close()
    assert heard.alerts == []


def test_a_removed_budget_tells_nobody(telling: Meter, heard: Heard) -> None:
    telling.set_budget(Budget("all", 1, "day", alerts=(0.5,)))
    ended_after(telling, lambda: telling.remove_budget("all"))
    telling.close()
    assert heard.alerts == []


def test_what_ends_after_its_window_has_is_told(telling: Meter, heard: Heard, clock: FakeClock) -> None:
    """Nobody has changed the rules: that window stands as it was."""
    telling.set_budget(Budget("all", 1, "day", alerts=(0.5,)))
    ended_after(telling, lambda: clock.advance(timedelta(days=1)))
    telling.close()
    assert heard.thresholds == [0.5]


def test_a_write_that_is_taken_back_raises_none(
    telling: Meter, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    telling.set_budget(Budget("all", 1, "day"))
    raises = telling.engine.ledger.outbox._raise

    def fails(conn: Any) -> None:
        raises(conn)
        raise OSError

    monkeypatch.setattr(telling.engine.ledger._connections, "before_commit", fails)
    with pytest.raises(FarthingError):
        spend(telling, "0.95")
    monkeypatch.undo()
    telling.close()
    assert heard.alerts == []


# To whom


def test_the_log_is_always_told(still: Meter, caplog: pytest.LogCaptureFixture) -> None:
    still.set_budget(Budget("all", 1, "day", alerts=(0.75,)))
    spend(still, "0.8")
    still.close()
    [record] = [r for r in caplog.records if "budget 'all'" in r.getMessage()]
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "budget 'all' has reached 75% of its limit: $0.80 of $1.00 spent; it ends at 2026-01-02 00:00 UTC"
    )


def test_a_clock_that_is_set_back_makes_no_attempts_without_pause(
    ledger_path: Path, clock: FakeClock
) -> None:
    tried: list[Alert] = []

    def on_alert(alert: Alert) -> None:
        tried.append(alert)
        if len(tried) == 1:
            clock.advance(-7_200)
        if len(tried) < 50:
            raise RuntimeError

    with metered(ledger_path, clock=clock, on_alert=on_alert) as meter:
        meter.engine.alerts.wake = lambda: None  # type: ignore[method-assign]  nobody else delivers
        meter.set_budget(Budget("all", 1, "day", alerts=(1.0,)))
        spend(meter, "2")
        assert meter.engine.alerts.deliver() == 0
        assert len(tried) == 1


def test_without_anybody_to_tell_there_is_no_thread(still: Meter) -> None:
    still.set_budget(Budget("all", 1, "day"))
    spend(still, "2")
    still.engine.sweep()
    assert "farthing-alerts" not in {thread.name for thread in threading.enumerate()}


def test_a_function_that_fails_changes_nothing_and_is_told_again(ledger_path: Path, clock: FakeClock) -> None:
    heard = Heard()

    def on_alert(alert: Alert) -> None:
        heard(alert)
        if len(heard.alerts) < 3:
            raise RuntimeError

    with metered(ledger_path, clock=clock, on_alert=on_alert) as meter:
        meter.set_budget(Budget("all", 1, "day", alerts=(1.0,)))
        spend(meter, "2")
        heard.wait_for(1)
        assert meter.engine.alerts.deliver() == 0
        clock.advance(1)
        meter.engine.alerts.deliver()
        heard.wait_for(1)
        clock.advance(2)
        meter.engine.alerts.deliver()
        heard.wait_for(1)
    assert len({alert.id for alert in heard.alerts}) == 1
    assert len(heard.alerts) == 3


def test_a_coroutine_function_is_run(ledger_path: Path) -> None:
    heard = Heard()

    async def on_alert(alert: Alert) -> None:
        heard(alert)

    with metered(ledger_path, on_alert=on_alert) as meter:
        meter.set_budget(Budget("all", 1, "total", alerts=(1.0,)))
        spend(meter, "2")
        heard.wait_for(1)


def test_a_call_may_be_made_while_an_alert_is_told(ledger_path: Path) -> None:
    heard = Heard()

    def on_alert(alert: Alert) -> None:
        spend(meter, "0.5")
        heard(alert)

    with metered(ledger_path, on_alert=on_alert) as meter:
        meter.set_budget(Budget("all", 1, "total", alerts=(1.0,)))
        spend(meter, "1")
        heard.wait_for(1)
        assert len(meter.engine.ledger.calls()) == 2


def test_what_was_raised_while_nobody_could_be_told_is_told_later(
    ledger_path: Path, clock: FakeClock, heard: Heard
) -> None:
    with metered(ledger_path, clock=clock) as meter:
        meter.set_budget(Budget("all", 1, "day", alerts=(1.0,)))
        spend(meter, "2")
    clock.advance(timedelta(days=2))
    with metered(ledger_path, clock=clock, on_alert=heard) as meter:
        assert meter.windows() == []
        heard.wait_for(1)
    assert heard.alerts[0].raised_at == datetime(2026, 1, 1, tzinfo=UTC)


def test_what_is_older_than_three_days_is_not(ledger_path: Path, clock: FakeClock, heard: Heard) -> None:
    with metered(ledger_path, clock=clock) as meter:
        meter.set_budget(Budget("all", 1, "day", alerts=(1.0,)))
        spend(meter, "2")
    clock.advance(timedelta(days=3, seconds=1))
    with metered(ledger_path, clock=clock, on_alert=heard) as meter:
        assert meter.windows() == []
    assert heard.alerts == []


# The webhook


def test_a_webhook_gets_signed_json(ledger_path: Path, clock: FakeClock, hook: FakeProvider) -> None:
    with metered(ledger_path, clock=clock, alert_url=address(hook)) as meter:
        meter.set_budget(Budget("ü", "0.1", "day", alerts=(0.5,)))
        spend(meter, "0.07")
        [request] = hook.wait_for(1)
        secret = meter.alert_secret
        [window] = meter.windows()
    assert (request.method, request.path, request.query) == ("POST", "/v1/hook", "token=t")
    body = json.loads(request.raw, parse_float=Decimal)
    assert {name: body[name] for name in body if name != "id"} == {
        "type": "budget.alert",
        "budget": "ü",
        "key": "",
        "threshold": Decimal("0.5"),
        "limitUsd": Decimal("0.1"),
        "limitNano": 100_000_000,
        "spentUsd": Decimal("0.07"),
        "spentNano": window.spent,
        "heldUsd": 0,
        "heldNano": 0,
        "startsAt": "2026-01-01T00:00:00Z",
        "endsAt": "2026-01-02T00:00:00Z",
        "raisedAt": "2026-01-01T00:00:00Z",
    }
    stamp, signed = (part.partition("=")[2] for part in request.headers["farthing-signature"].split(","))
    assert int(stamp) == clock.time_ns() // 10**9
    made = hmac.new(secret.encode(), f"{stamp}.".encode() + request.raw, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(signed, made)
    assert request.headers["idempotency-key"] == body["id"]


def test_the_secret_is_one_for_all_processes_unless_it_is_given(
    ledger_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with metered(ledger_path) as one:
        secret = one.alert_secret
        assert len(secret) == 64
    with metered(ledger_path) as two:
        assert two.alert_secret == secret
        monkeypatch.setenv("FARTHING_ALERT_SECRET", "mine")
        assert two.alert_secret == "mine"


def test_a_webhook_that_fails_is_tried_again(ledger_path: Path, hook: FakeProvider) -> None:
    hook.script(Reply(status=500, body=OK), Reply(body=OK))
    with metered(ledger_path, alert_url=address(hook)) as meter:
        meter.set_budget(Budget("all", 1, "total", alerts=(1.0,)))
        spend(meter, "2")
        first, second = hook.wait_for(2)
    assert first.body == second.body
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


def test_whatever_a_webhook_answers_but_success_is_tried_again_after_twice_the_time_signed_anew(
    ledger_path: Path, clock: FakeClock, hook: FakeProvider
) -> None:
    statuses = (301, 400, 404, 429, 503)
    hook.script(*(Reply(status=status, body=OK) for status in statuses), Reply(body=OK))

    def delivered() -> int:
        """Requests that have come when a process has looked at what is due, and ended."""
        with metered(ledger_path, clock=clock, alert_url=address(hook)) as meter:
            meter.warm()
        return len(hook.requests)

    with metered(ledger_path, clock=clock, alert_url=address(hook)) as meter:
        meter.set_budget(Budget("all", 1, "total", alerts=(1.0,)))
        spend(meter, "2")
        hook.wait_for(1)
        secret = meter.alert_secret
    for tries in range(1, len(statuses) + 1):
        clock.advance(timedelta(seconds=2 ** (tries - 1), microseconds=-1))
        assert delivered() == tries
        clock.advance(timedelta(microseconds=1))
        assert delivered() == tries + 1
    clock.advance(timedelta(hours=1))
    assert delivered() == len(statuses) + 1
    signed = [request.headers["farthing-signature"] for request in hook.requests]
    assert len({request.raw for request in hook.requests}) == 1
    assert len({request.headers["idempotency-key"] for request in hook.requests}) == 1
    assert len(set(signed)) == len(signed)
    for request, header in zip(hook.requests, signed, strict=True):
        stamp = int(header.partition(",")[0].removeprefix("t="))
        assert header == signature(secret, stamp, request.raw)
        assert header != signature(secret, stamp, request.raw + b" ")
        assert header != signature(secret, stamp + 1, request.raw)
        assert header != signature("another", stamp, request.raw)


def test_a_webhook_that_nobody_answers_is_tried_again_by_whoever_opens_the_ledger(
    ledger_path: Path, clock: FakeClock
) -> None:
    with FakeProvider() as gone:
        nowhere = address(gone)
    with metered(ledger_path, clock=clock, alert_url=nowhere) as meter:
        meter.set_budget(Budget("all", 1, "total", alerts=(1.0,)))
        spend(meter, "2")
    clock.advance(timedelta(seconds=1))
    with FakeProvider(lambda _: Reply(body=OK)) as hook:
        with metered(ledger_path, clock=clock, alert_url=address(hook)) as meter:
            meter.warm()
        assert [body["threshold"] for body in posted(hook)] == [1.0]


def test_a_name_and_password_in_the_address_are_sent_as_such(
    ledger_path: Path, clock: FakeClock, hook: FakeProvider
) -> None:
    url = address(hook).replace("http://", "http://me:pass%20word@")
    with metered(ledger_path, clock=clock, alert_url=url) as meter:
        meter.set_budget(Budget("all", 1, "total", alerts=(1.0,)))
        spend(meter, "2")
        [request] = hook.wait_for(1)
    assert request.headers["authorization"] == "Basic bWU6cGFzcyB3b3Jk"
    assert "me" not in request.headers["host"]


@pytest.mark.parametrize(
    "url", ["http://hooks.example.com/T0/xyz", "ftp://127.0.0.1/", "hooks", "", "https://", "http://[::", 5]
)
def test_an_address_that_is_not_safe_is_refused_without_repeating_it(ledger_path: Path, url: Any) -> None:
    with pytest.raises(FarthingError, match="alert_url") as caught:
        Meter(ledger_path, alert_url=url)
    assert "xyz" not in str(caught.value)
    with pytest.raises(FarthingError, match="on_alert"):
        Meter(ledger_path, on_alert=url or 5)


@pytest.mark.parametrize("url", ["https://hooks.example.com/x", "http://localhost:1/x", "http://[::1]:8/x"])
def test_https_and_this_machine_are_allowed(ledger_path: Path, url: str) -> None:
    assert "example" not in repr(Meter(ledger_path, alert_url=url).engine.alerts._ways)


# Processes


def test_two_processes_tell_a_webhook_once(ledger_path: Path, hook: FakeProvider) -> None:
    assert told_by_two_processes(ledger_path, hook) == [0.75, 0.9, 1.0]


def test_without_the_unique_row_they_tell_it_more_than_once(
    ledger_path: Path, hook: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = [
        table.replace(",\n  UNIQUE (budget_window, threshold, limit_nano)", "") for table in schema.TABLES
    ]
    assert bare != list(schema.TABLES)
    monkeypatch.setattr("farthing.ledger.upkeep.migrations.TABLES", bare)
    unguarded = (
        "from farthing.ledger.budgets import outbox\n"
        "outbox._RAISE = outbox._RAISE.partition(' ON CONFLICT')[0]\n"
        "outbox._NEXT = 'UPDATE budget_window SET alert_at = 0 WHERE ? IS NULL OR id = ?'\n"
    )
    assert len(told_by_two_processes(ledger_path, hook, unguarded)) > 3


def told_by_two_processes(path: Path, hook: FakeProvider, before: str = "") -> list[float]:
    with metered(path) as meter:
        meter.set_budget(Budget("all", 1, "total"))
    both = [python(before + SPENDS, path, address(hook)) for _ in range(2)]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in both:
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors
    return sorted(body["threshold"] for body in posted(hook))


def raised_by_nobody(path: Path, clock: FakeClock, count: int) -> None:
    """So many alerts, in a ledger of which no process has anybody to tell."""
    with metered(path, clock=clock) as meter:
        meter.set_budget(Budget("all", 1, "total", alerts=tuple(n / 100 for n in range(1, count + 1))))
        spend(meter, "2")


def visited(path: Path, clock: FakeClock, heard: Heard) -> None:
    """Another process comes, delivers what is due, and ends."""
    with metered(path, clock=clock, on_alert=heard) as meter:
        meter.warm()


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
def test_many_that_arrive_slowly_arrive_once_each_whoever_else_looks(
    ledger_path: Path, clock: FakeClock, heard: Heard, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """Thirty of nine seconds are more than the two minutes for which nobody else tries; the control
    undertakes them all at once."""
    if not guarded:
        monkeypatch.setattr(outbox, "_MOST", 100)
    raised_by_nobody(ledger_path, clock, 30)

    def slow(alert: Alert) -> None:
        clock.advance(9)
        heard(alert)
        if len(heard.alerts) == 15:
            visited(ledger_path, clock, heard)

    with metered(ledger_path, clock=clock, on_alert=slow) as meter:
        meter.warm()
        heard.wait_for(30)
    told = [alert.id for alert in heard.alerts]
    assert len(set(told)) == 30
    assert (len(told) == 30) == guarded


@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
def test_one_that_fails_late_is_not_told_again_where_another_process_has_delivered_it(
    ledger_path: Path, clock: FakeClock, heard: Heard, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    if not guarded:
        monkeypatch.setattr(outbox, "_SET_DUE", outbox._SET_DUE.partition(" AND due IS NOT NULL")[0])
    raised_by_nobody(ledger_path, clock, 1)
    failed = threading.Event()

    def fails(alert: Alert) -> None:
        clock.advance(180)
        visited(ledger_path, clock, heard)
        failed.set()
        raise RuntimeError

    with metered(ledger_path, clock=clock, on_alert=fails) as meter:
        meter.warm()
        assert failed.wait(PATIENCE)
    clock.advance(3600)
    visited(ledger_path, clock, heard)
    assert (len(heard.alerts) == 1) == guarded


def test_a_messenger_that_has_been_closed_undertakes_no_more(
    ledger_path: Path, clock: FakeClock, heard: Heard
) -> None:
    raised_by_nobody(ledger_path, clock, 3)
    threads = []

    def on_alert(alert: Alert) -> None:
        threads.append(threading.current_thread())
        meter.engine.alerts.close()
        heard(alert)

    with metered(ledger_path, clock=clock, on_alert=on_alert) as meter:
        meter.warm()
        heard.wait_for(1)
        threads[0].join(PATIENCE)
        assert not threads[0].is_alive()
    assert len(heard.alerts) == 1
    visited(ledger_path, clock, heard)
    assert sorted(heard.thresholds) == [0.01, 0.02, 0.03]


def test_a_process_with_nobody_to_tell_leaves_it_to_one_that_has(
    ledger_path: Path, hook: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farthing.alerts.messenger._LOOK_SECONDS", 0.05)
    with metered(ledger_path, alert_url=address(hook)) as meter:
        meter.set_budget(Budget("all", 1, "total", alerts=(1.0,)))
        meter.warm()
        process = python(SPENDS, ledger_path, "")
        process.communicate("\n", timeout=PATIENCE)
        [request] = hook.wait_for(1)
    assert request.body["threshold"] == 1
