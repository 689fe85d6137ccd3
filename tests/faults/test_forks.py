"""Forks while other threads of the parent are at work: what these were doing, nobody ends in the child."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from farthing import Budget, Meter
from farthing.testing import FakeProvider
from faults.world import ask, client_of, metered, python

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

BEGIN = """
import faulthandler, os, sys, threading, time, traceback, warnings
import farthing
from farthing import Meter
warnings.filterwarnings("ignore", "This process", DeprecationWarning)  # that it has threads is the point

def child(do):
    '''Fork; the child does this, or is ended as one that hangs.'''
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(20, exit=True)
        try:
            do()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return pid

def went_well(pid):
    return os.waitpid(pid, 0)[1] == 0

def record(meter):
    meter.record(model="gpt-4o", usage={"input_tokens": 1, "output_tokens": 1})

meter = Meter(sys.argv[1], durability="fast", ledger_timeout=20)
"""


def run(code: str, *arguments: object, before: str = "") -> str:
    process = python(before + BEGIN + code, *arguments)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    return out.strip()


@pytest.mark.parametrize("step", ["meter.engine, '_open_ledger'", "meter.engine._overdue, 'opened'"])
def test_a_child_forked_while_a_thread_opens_the_ledger_opens_it_itself(tmp_path: Path, step: str) -> None:
    Meter(tmp_path / "ledger.db").warm()
    out = run(
        f"""
reached, go = threading.Event(), threading.Event()
engine, step = meter.engine, getattr({step})
def slowly(*given):
    reached.set()
    go.wait(60)
    return step(*given)
setattr({step}, slowly)
thread = threading.Thread(target=record, args=(meter,))
thread.start()
reached.wait(60)
def use():
    go.set()
    record(meter)
pid = child(use)
go.set()
thread.join()
print(went_well(pid), len(engine.ledger.calls()))
""",
        tmp_path / "ledger.db",
    )
    assert out == "True 2"


@pytest.mark.parametrize("delay", ["0.002", "0.005", "0.02"])
def test_a_child_forked_during_the_first_record_of_a_thread_records(tmp_path: Path, delay: str) -> None:
    """What that imports is not left half imported, either."""
    Meter(tmp_path / "ledger.db").warm()
    out = run(
        """
thread = threading.Thread(target=record, args=(meter,))
thread.start()
time.sleep(float(sys.argv[2]))
pid = child(lambda: record(meter))
thread.join()
print(went_well(pid), len(meter.engine.ledger.calls()))
""",
        tmp_path / "ledger.db",
        delay,
    )
    assert out == "True 2"


def test_a_child_has_a_courier_of_its_own_also_where_the_ledger_was_never_opened(
    tmp_path: Path, provider: FakeProvider
) -> None:
    out = run(
        """
import asyncio
from openai import AsyncOpenAI
async def call():
    async with AsyncOpenAI(base_url=sys.argv[2], api_key="k", max_retries=0) as client:
        await meter.wrap(client).chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "hi"}], max_tokens=10
        )
opens, engine = meter.engine._open_ledger, meter.engine
def refused():
    raise farthing.LedgerError("not now")
engine._open_ledger = refused
asyncio.run(call())
engine._open_ledger = opens
print(engine._ledger is None, went_well(child(lambda: asyncio.run(call()))))
""",
        tmp_path / "ledger.db",
        provider.base_url,
    )
    assert out == "True True"


def test_a_lock_that_another_thread_holds_at_the_fork_is_free_in_the_child(tmp_path: Path) -> None:
    out = run(
        """
import farthing.meter.default
from farthing import forks
from farthing.catalog.pricefile import PriceFile
forks._PATIENCE = 0.01
module = sys.modules.__getitem__
holders = [
    (PriceFile("none.json"), "_lock"),
    (meter.engine, "_opening"),
    (meter.engine.alerts, "_starting"),
    (module("farthing.log"), "_lock"),
    (module("farthing.catalog.source"), "_lock"),
    (module("farthing.tokens.ranks"), "_lock"),
    (module("farthing.meter.ids"), "_lock"),
    (module("farthing.meter.default"), "_lock"),
    (module("farthing.intercept.clients"), "_making"),
    (module("farthing.ledger.upkeep.spill"), "_lock"),
]
def free(holder, name):
    return getattr(holder, name).acquire(timeout=0)
held, go = threading.Event(), threading.Event()
def hold():
    for holder, name in holders:
        getattr(holder, name).acquire()
    held.set()
    go.wait(60)
    for holder, name in holders:
        getattr(holder, name).release()
thread = threading.Thread(target=hold)
thread.start()
held.wait(60)
def use():
    print([name for holder, name in holders if not free(holder, name)], flush=True)
pid = child(use)
taken = [name for holder, name in holders if not free(holder, name)]
go.set()
thread.join()
print(went_well(pid), len(taken), all(free(*each) for each in holders))
""",
        tmp_path / "ledger.db",
    )
    assert out.splitlines() == ["[]", "True 10 True"]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system does not say what is open")
def test_a_child_closes_its_parents_connections_when_it_uses_a_ledger_and_not_before(tmp_path: Path) -> None:
    """A close needs locks of SQLite's own, which any thread of the parent may have held at the fork."""
    out = run(
        """
def opened():
    of = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    return of.count(sys.argv[1])
record(meter)
meter.engine.ledger.calls()
there = opened()
def use():
    before = opened()
    meter.budgets()
    print(there, before - there, flush=True)
    record(meter)
    meter.engine.ledger.calls()
    print(opened() - there, flush=True)
print(went_well(child(use)), went_well(child(lambda: None)), opened() - there)
""",
        tmp_path / "ledger.db",
    )
    first, *others = out.split("\n")
    assert int(first.split()[0]) >= 2
    assert first.split()[1] == "0"
    assert others == ["0", "True True 0"]


@pytest.mark.parametrize("reads", [True, False], ids=["reader", "writer"])
@pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])
def test_a_child_does_not_remove_the_log_of_a_process_that_was_killed(
    tmp_path: Path, reads: bool, guarded: bool
) -> None:
    """Whoever closes a ledger last does so, by name: its parent has closed it since the fork."""
    path = tmp_path / "ledger.db"
    killed = f"""
import os, sys
from farthing import Meter
meter = Meter({str(path)!r}, durability="fast")
for _ in range(3):
    meter.record(model="gpt-4o", usage={{"input_tokens": 1, "output_tokens": 1}})
os.kill(os.getpid(), 9)
"""
    out = run(
        f"""
import contextlib, subprocess
from farthing.ledger.writing import inherited
if not {guarded}:
    inherited._not_the_last = lambda *_: contextlib.nullcontext()
record(meter)
if {reads}:
    meter.engine.ledger.calls()
ours, theirs = os.pipe()
def use():
    os.read(ours, 1)
    record(meter)
    print(len(meter.engine.ledger.calls()), meter.engine.ledger.check(), flush=True)
pid = child(use)
meter.close()
print(subprocess.run([sys.executable, "-c", sys.argv[2]]).returncode, flush=True)
os.write(theirs, b"x")
went_well(pid)
""",
        path,
        killed,
    )
    ended, *rest = out.splitlines()
    assert ended == "-9"
    assert (rest == ["5 []"]) is guarded


def test_two_threads_fork_at_once(tmp_path: Path) -> None:
    out = run(
        """
forked = []
def fork():
    for _ in range(20):
        forked.append(child(lambda: None))
threads = [threading.Thread(target=fork) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
record(meter)
print(len(forked), all(map(went_well, forked)))
""",
        tmp_path / "ledger.db",
    )
    assert out == "60 True"


def test_a_fork_starts_no_thread_before_the_child_uses_its_meter(tmp_path: Path) -> None:
    """Where threads are greenlets, to start one runs the others of the program: in the child, once more."""
    out = run(
        """
record(meter)
def use():
    before = threading.active_count()
    record(meter)
    print(before, meter.engine._keeper.is_alive(), flush=True)
print(went_well(child(use)))
""",
        tmp_path / "ledger.db",
    )
    assert out.split() == ["1", "True", "True"]


def test_where_no_thread_can_be_started_calls_are_booked_and_the_next_use_tries_again(
    tmp_path: Path, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start, told = threading.Thread.start, []

    def refused(thread: threading.Thread) -> None:
        if thread.name in {"farthing-lease", "farthing-alerts"}:
            raise RuntimeError("can't start new thread")
        start(thread)

    with metered(tmp_path / "ledger.db", on_alert=told.append) as meter:
        client = client_of(meter, provider)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refused)
            for _ in range(2):
                ask(client)
            assert meter.engine._keeper is None
        assert "no thread can be started to renew the lease" in caplog.text
        meter.set_budget(Budget("all", "0.000001", mode="soft"))
        ask(client)
        assert meter.engine._keeper.is_alive()
        assert len(meter.engine.ledger.calls()) == 3
    assert told
