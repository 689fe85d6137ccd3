"""What strikes between a reserve and its end leaves no hold behind and lets no call past a budget."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from farthing import Budget, InsufficientCredits, LedgerError, LedgerLocked, Meter, Usage
from farthing.engine import Engine
from farthing.guard import Guard
from farthing.ledger.store import Reservation
from farthing.settings import Who
from farthing.struck import pass_on, was_struck
from farthing.testing import FakeProvider, Reply
from guard.making import CALL, COST, PATIENCE, ask, held_and_spent, limit_for, metered, openai, upper
from ledger.making import python

BOMBARD = Path(__file__).with_name("bombard.py")
FIVE = {"model": "gpt-4o", "input_tokens": 5, "max_output_tokens": 300}


def rows(meter: Meter) -> list[tuple[str, int]]:
    return [(row["outcome"], row["counted_nano"]) for row in meter.engine.ledger.calls()]


class SoftTimeLimit(Exception):
    """As those of task queues."""


class Alarm(TimeoutError):
    """As those of a timeout by alarm: an `OSError`."""


@pytest.fixture(params=[KeyboardInterrupt, SoftTimeLimit, Alarm])
def interrupt(request: pytest.FixtureRequest) -> Iterator[type[BaseException]]:
    """What the handler of SIGINT raises."""

    def handler(*_: object) -> None:
        raise request.param

    before = signal.signal(signal.SIGINT, handler)
    yield request.param
    signal.signal(signal.SIGINT, before)


class Struck:
    """A ledger whose verb is struck by SIGINT just after its commit, once."""

    def __init__(self, meter: Meter, verb: str) -> None:
        self.store = meter.engine.ledger
        self.verb = verb

    def __enter__(self) -> None:
        write = self.store._write

        def struck(operation: Any, argument: Any, *, full: bool) -> Any:
            answer = write(operation, argument, full=full)
            if operation.__name__ == self.verb:
                del self.store._write
                signal.raise_signal(signal.SIGINT)
            return answer

        self.store._write = struck

    def __exit__(self, *_: object) -> None:
        assert "_write" not in vars(self.store)


def test_an_interrupt_during_the_reserve_leaves_no_hold(still: Meter, interrupt: type[BaseException]) -> None:
    still.set_budget(Budget("all", limit_for(still, 1), "day"))
    with Struck(still, "_reserve"), pytest.raises(interrupt):
        still.reserve(**FIVE)
    still.close()
    assert held_and_spent(still) == [(0, 0)]
    assert rows(still) == [("error", 0)]


@pytest.fixture
def _later(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a reserve left is up to the ledger's next writes."""
    monkeypatch.setattr(Engine, "give_up", lambda *_: None)


@pytest.mark.usefixtures("_later")
def test_what_is_to_be_voided_is_not_forgotten_when_the_next_reserve_is_refused(still: Meter) -> None:
    still.set_budget(Budget("all", limit_for(still, 1), "day"))
    with Struck(still, "_reserve"), pytest.raises(KeyboardInterrupt):
        still.reserve(**FIVE)
    with pytest.raises(InsufficientCredits):
        still.reserve(model="gpt-4o", amount=1)
    still.reserve(model="gpt-4o", amount=0).void()
    assert held_and_spent(still) == [(0, 0)]


@pytest.mark.usefixtures("_later")
def test_what_is_to_be_voided_is_voided_when_the_meter_closes(still: Meter) -> None:
    still.set_budget(Budget("all", limit_for(still, 1), "day"))
    with Struck(still, "_reserve"), pytest.raises(KeyboardInterrupt):
        still.reserve(**FIVE)
    still.close()
    assert held_and_spent(still) == [(0, 0)]


def test_an_interrupt_during_the_settle_books_the_call_once(
    still: Meter, provider: FakeProvider, interrupt: type[BaseException]
) -> None:
    client = still.wrap(openai(provider), budget="$5/day")
    with Struck(still, "_settle"), pytest.raises(interrupt):
        client.chat.completions.create(**CALL)
    ask(client)
    assert rows(still) == [("complete", COST)] * 2
    assert held_and_spent(still) == [(0, 2 * COST)]


def test_a_settle_that_could_not_be_booked_is_booked_later(still: Meter, provider: FakeProvider) -> None:
    """The answer that was paid for is returned all the same."""
    client = still.wrap(openai(provider), budget="$5/day")
    store = still.engine.ledger

    def locked(*_: Any, **__: Any) -> bool:
        del store.settle
        raise LedgerLocked("somebody holds it")

    store.settle = locked
    assert client.chat.completions.create(**CALL).choices
    assert held_and_spent(still) == [(int(upper(still) * 10**9), 0)]
    ask(client)
    assert held_and_spent(still) == [(0, 2 * COST)]
    assert rows(still) == [("complete", COST)] * 2


def test_one_end_that_cannot_be_booked_keeps_no_other_from_it(still: Meter) -> None:
    first, second = still.reserve(**FIVE), still.reserve(**FIVE)
    store = still.engine.ledger
    settle = store.settle

    def picky(grant: Any, end: Any, *, void: bool = False) -> bool:
        if grant.reservation.id == first.id:
            raise OverflowError("a number that no column holds")
        return settle(grant, end, void=void)

    store.settle = picky
    first.settle(Usage(input_tokens=5, output_tokens=300))
    second.settle(Usage(input_tokens=5, output_tokens=300))
    del store.settle
    assert rows(still) == [("complete", COST)]


def test_a_call_is_reserved_under_the_budgets_that_it_was_matched_against(still: Meter) -> None:
    """Another thread learns of a changed limit between the two: the ledger must answer that it is stale."""
    still.set_budget(Budget("all", 5, "day"))

    class Interrupting:
        """Policies that are asked for after the budgets were matched, and before the wish is made."""

        def __getattr__(self, name: str) -> Any:
            if name == "on_tight":
                still.set_budget(Budget("all", "0.0001", "day"))
                guard.load(still.engine.ledger, fresh=True)
            return getattr(still.engine.policies, name)

    policies: Any = Interrupting()
    guard = Guard(policies)
    guard.load(still.engine.ledger)
    before, bounds = guard.matched(Who(), provider="openai", model="gpt-4o")
    assert bounds[0].limit == 5 * 10**9
    quoted = still._quoted("gpt-4o", None, 5, 300, None, None)
    wanted = next(guard.acquire(quoted, Who(), call_id="c", now_ns=still.engine.clock.time_ns()))
    assert isinstance(wanted, Reservation)
    assert (wanted.epoch, wanted.bounds) == (before, bounds)
    assert guard.matched(Who(), provider="openai", model="gpt-4o")[1][0].limit == 100_000


def test_limits_that_change_while_threads_call_bind_at_once(still: Meter) -> None:
    """Whatever thread learns of it first: after the last limit is set, nothing is granted above it."""
    still.set_budget(Budget("all", 100, "day"))
    stop = threading.Event()
    errors: list[BaseException] = []

    def work() -> None:
        while not stop.is_set():
            try:
                still.reserve(**FIVE).void()
            except InsufficientCredits:
                continue
            except BaseException as error:  # noqa: BLE001  for the test to judge
                errors.append(error)
                return

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(60):
            still.set_budget(Budget("all", "0.0001" if turn % 2 == 0 else 100, "day"))
            if turn % 2 == 0:
                with pytest.raises(InsufficientCredits):
                    still.reserve(**FIVE)
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert errors == []


def test_a_ledger_that_cannot_be_read_stops_only_what_a_hard_budget_binds(
    ledger_path: Path, provider: FakeProvider
) -> None:
    ledger_path.mkdir()
    with metered(ledger_path) as meter:
        assert ask(meter.wrap(openai(provider))).choices
        with pytest.raises(LedgerError):
            ask(meter.wrap(openai(provider), budget="$5/day"))
    with metered(ledger_path, on_ledger_error="allow") as meter:
        client = meter.wrap(openai(provider), budget="$5/day")
        assert "ledger_error" in meter.receipt(ask(client)).flags
    with metered(ledger_path, budgets=[Budget("all", 5)]) as meter, pytest.raises(LedgerError):
        ask(meter.wrap(openai(provider)))
    assert len(provider.requests) == 2


def test_a_closed_meter_works_again(still: Meter, provider: FakeProvider) -> None:
    client = still.wrap(openai(provider), budget="$5/day")
    ask(client)
    first = still.engine._keeper
    still.close()
    first.join(PATIENCE)
    assert not first.is_alive()
    ask(client)
    assert still.engine._keeper.is_alive()
    assert held_and_spent(still) == [(0, 2 * COST)]


def test_an_interrupt_while_a_call_is_prepared_is_no_bug(
    still: Meter, provider: FakeProvider, interrupt: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the caller would be told `Unmeterable`, and the task's time limit would be lost."""
    client = still.wrap(openai(provider), budget="$5/day")
    monkeypatch.setattr(still.engine, "ids", lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(interrupt):
        client.chat.completions.create(**CALL)
    assert rows(still) == []


class Callable:
    """Handlers of the other kinds."""

    def __call__(self, number: int, frame: object) -> None:
        raise SoftTimeLimit

    def method(self, number: int, frame: object) -> None:
        raise SoftTimeLimit


def handler(*_: object) -> None:
    raise SoftTimeLimit


def forgets(number: int, frame: object) -> None:
    del number, frame
    raise SoftTimeLimit


def stands_down(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise SoftTimeLimit


def decorated(*args: Any, **kwargs: Any) -> None:
    handler(*args, **kwargs)


@pytest.mark.parametrize(
    "registered",
    [
        handler,
        forgets,
        stands_down,
        functools.wraps(forgets)(decorated),
        functools.partial(functools.partial(forgets)),
        lambda number, _: handler(number),
        Callable(),
        Callable().method,
    ],
    ids=["function", "forgets", "stands down", "decorated", "partial", "lambda", "object", "method"],
)
def test_what_a_signal_handler_raises_is_told_from_other_errors(registered: Any) -> None:
    before = signal.signal(signal.SIGINT, registered)
    try:
        with pytest.raises(SoftTimeLimit) as caught:
            signal.raise_signal(signal.SIGINT)
        assert was_struck(caught.value)
        with pytest.raises(SoftTimeLimit):
            pass_on(caught.value)
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_error_on_top_of_what_a_signal_handler_raised_gives_way_to_it(
    interrupt: type[BaseException],
) -> None:
    def cleans_up() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            raise LedgerError("what was begun cannot be ended")

    with pytest.raises(LedgerError) as caught:
        cleans_up()
    with pytest.raises(interrupt):
        pass_on(caught.value)


def test_an_error_of_what_the_program_does_about_a_signal_is_its_own(interrupt: type[BaseException]) -> None:
    """A call that is made while the time limit is handled fails as any other."""

    def fails() -> None:
        raise LedgerError

    def calls() -> None:
        with pytest.raises(LedgerError) as caught:
            fails()
        assert isinstance(caught.value.__context__, interrupt)
        assert not was_struck(caught.value)
        pass_on(caught.value)

    try:
        signal.raise_signal(signal.SIGINT)
    except interrupt:
        calls()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no interval timers")
@pytest.mark.parametrize(
    "caller",
    [[], ["--task"], ["--exception"], ["--exception", "TimeoutError", "--task"]],
    ids=["by the main thread", "by a task", "an Exception", "an OSError in a task"],
)
@pytest.mark.parametrize("rescued", [True, False], ids=["rescued", "control"])
def test_whatever_an_interrupt_strikes_no_hold_is_left(
    ledger_path: Path, rescued: bool, caller: list[str]
) -> None:
    """A signal handler raises at any point of a call, as those of task queues do. Holds are left without the
    driver's care, and where its exceptions are not told from others: the control. `bombard.py` does the same
    as often as it is told."""
    without = [] if rescued else ["--without-rescue"]
    done = subprocess.run(
        [sys.executable, BOMBARD, "--signals", "700", "--ledger", ledger_path, *without, *caller],
        stdout=subprocess.PIPE,
        timeout=PATIENCE,
        check=False,
    )
    left = json.loads(done.stdout)
    assert left["struck"] == 700
    assert left["unlocked"]
    assert (left["open_calls"] == left["held"] == 0) is rescued
    assert (left["faults"] == []) is rescued
    assert (done.returncode == 0) is rescued


HELD_CALL = """
import sys
from guard.making import *
meter = metered(sys.argv[1])
client = meter.wrap(openai(sys.argv[2]), budget="$5/total")
try:
    client.chat.completions.create(**CALL)
except KeyboardInterrupt:
    print("interrupted", held_and_spent(meter), flush=True)
    raise SystemExit(3)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is a signal")
def test_ctrl_c_during_a_call_leaves_one_row_and_no_hold(ledger_path: Path, provider: FakeProvider) -> None:
    provider.hold()
    process = python(HELD_CALL, ledger_path, provider.base_url)
    provider.wait_for(1)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=PATIENCE)
    with metered(ledger_path) as meter:
        hold = int(upper(meter) * 10**9)
        assert (output, errors) == (f"interrupted [(0, {hold})]\n", "")
        assert process.returncode == 3
        assert rows(meter) == [("unknown", hold)]
        assert meter.engine.ledger.check() == []


EXITING = """
import sys, threading
from guard.making import *
from farthing.testing import FakeClock
meter = metered(sys.argv[1], clock=FakeClock())
client = meter.wrap(openai(sys.argv[2]), budget="$5/day")
left = meter.reserve(model="gpt-4o", amount="0.5")
stream = client.chat.completions.create(**CALL, stream=True)
print(next(stream).id, flush=True)
unread = client.chat.completions.create(**CALL, stream=True)
thread = threading.Thread(target=ask, args=(client,), daemon=True)
thread.start()
sys.stdin.readline()
"""


def test_at_exit_streams_are_settled_and_holds_stay_until_the_lease_ends(
    still: Meter, provider: FakeProvider, clock: Any, ledger_path: Path
) -> None:
    stream = Reply("one two three four", chunks=4, pause_after=1)
    ended = threading.Event()
    provider.script(stream, stream, lambda _: ended.wait(PATIENCE) and None)
    process = python(EXITING, ledger_path, provider.base_url)
    provider.wait_for(3)
    output, errors = process.communicate("\n", timeout=PATIENCE)
    assert (process.returncode, errors) == (0, "")
    assert output.startswith("chatcmpl")
    ended.set()
    provider.resume()
    hold = int(upper(still) * 10**9)
    assert rows(still) == [("aborted", hold)] * 2
    assert held_and_spent(still) == [(hold, 2 * hold)]
    clock.advance(601)
    assert still.engine.ledger.expire(clock.time_ns()) == 2
    assert held_and_spent(still) == [(0, 3 * hold)]
    assert sorted(rows(still)) == [
        ("aborted", hold),
        ("aborted", hold),
        ("expired", hold),
        ("expired", 500_000_000),
    ]
