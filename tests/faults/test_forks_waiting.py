"""What a fork waits for, and what it holds up meanwhile: nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from farthing import Meter
from faults.test_forks import run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def test_a_fork_waits_for_what_a_thread_is_loading(tmp_path: Path) -> None:
    """Else the module that is being imported stays locked in the child."""
    out = run(
        """
thread = threading.Thread(target=lambda: meter.engine.catalog.rates("gpt-4o", at_ns=time.time_ns()))
thread.start()
while "genai_prices" not in sys.modules:
    time.sleep(0.0005)
pid = child(lambda: print(meter.engine.catalog.rates("gpt-4o", at_ns=time.time_ns()) is not None, flush=True))
thread.join()
print(went_well(pid))
""",
        tmp_path / "ledger.db",
    )
    assert out.split() == ["True", "True"]


@pytest.mark.parametrize("waits", [True, False], ids=["", "control"])
def test_a_fork_waits_for_a_thread_that_looks_for_the_temporary_folder(tmp_path: Path, waits: bool) -> None:
    """`tempfile` does so under a lock of its own, which nobody gives back in the child."""
    Meter(tmp_path / "ledger.db").warm()
    out = run(
        f"""
import tempfile
from farthing import forks
if not {waits}:
    forks._finished.remove((sys.modules["farthing.ledger.upkeep.spill"], "_lock"))
looks, takes = tempfile._get_default_tempdir, forks._loading.take
reached, forking = threading.Event(), threading.Event()
def slowly():
    reached.set()
    forking.wait(60)
    return looks()
def take(*given):
    if {waits}:
        forking.set()
    takes(*given)
tempfile._get_default_tempdir, forks._loading.take = slowly, take
thread = threading.Thread(target=record, args=(meter,))
thread.start()
reached.wait(60)
def look():
    if tempfile._once_lock.locked():  # by a thread that is not here: to look would take for ever
        os._exit(3)
    tempfile.gettempdir()
pid = child(look)
forking.set()
thread.join()
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""",
        tmp_path / "ledger.db",
    )
    assert out == ("0" if waits else "3")


SLOWLY = """
import importlib.abc, importlib._bootstrap
from importlib.machinery import PathFinder
from farthing import Budget, forks
name = sys.argv[2]
assert name not in sys.modules
asks, reached, go, answers = forks._is_imported_for_us, threading.Event(), threading.Event(), []

class Slow(importlib.abc.MetaPathFinder):
    '''To run the module takes until it may go on; finders are asked under a lock that forks take.'''
    def find_spec(self, asked, path, target=None):
        if asked != name:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(asked, path)
        runs = spec.loader.exec_module
        def slowly(module):
            reached.set()
            go.wait(60)
            runs(module)
        spec.loader.exec_module = slowly
        return spec

def asked():
    answers.append(asks())
    if answers[-1]:
        go.set()
    return answers[-1]

def left_locked():
    '''In a child: whether a thread that it does not have is importing the module, which takes for ever.'''
    lock = importlib._bootstrap._module_locks.get(name, lambda: None)()
    return lock is not None and lock.owner is not None

sys.meta_path.insert(0, Slow())
forks._is_imported_for_us = asked
"""


@pytest.mark.parametrize("waits", [True, False], ids=["", "control"])
@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("zoneinfo", "Budget('all', 1, 'day', timezone='Europe/Berlin')"),
        ("zoneinfo._tzpath", "Budget('all', 1, 'day', timezone='Europe/Berlin')"),
        ("farthing.meter.default", "farthing.cheapest"),
        ("farthing.meter.declared", "farthing.reports"),
    ],
    ids=["by a statement", "by what that imports", "by import_module", "by what import_module imports"],
)
def test_a_fork_waits_for_what_a_thread_imports_for_us(
    tmp_path: Path, name: str, use: str, waits: bool
) -> None:
    out = run(
        f"""{SLOWLY}
if not {waits}:
    forks._is_imported_for_us = lambda: False
def uses():
    {use}
thread = threading.Thread(target=uses)
thread.start()
reached.wait(60)
def use_it():
    if left_locked():
        os._exit(3)
    uses()
pid = child(use_it)
go.set()
thread.join()
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), answers[:1])
""",
        tmp_path / "ledger.db",
        name,
    )
    assert out == ("0 [True]" if waits else "3 []")


@pytest.mark.parametrize("way", ["import colorsys", "importlib.import_module('colorsys')"])
@pytest.mark.parametrize(
    "call",
    [
        "meter.track_usage()(app)()",
        "asyncio.run(meter.track_usage()(aapp)())",
        "list(meter.track_usage()(steps)())",
        "bound()",
    ],
    ids=["function", "coroutine function", "generator", "bound"],
)
def test_a_fork_does_not_wait_for_what_a_program_imports_inside_of_ours(
    tmp_path: Path, call: str, way: str
) -> None:
    """It may take as long as the program runs, and wait for the very thread that forks."""
    out = run(
        f"""{SLOWLY}
import asyncio, importlib
def app():
    {way}
async def aapp():
    {way}
def steps():
    yield 1
    {way}
with meter.scope(account="a") as scope:
    bound = scope.bind(app)
thread = threading.Thread(target=lambda: {call})
thread.start()
reached.wait(60)
pid = child(lambda: None)
waits = go.is_set()
go.set()
thread.join()
print(went_well(pid), waits, answers)
""",
        tmp_path / "ledger.db",
        "colorsys",
    )
    assert out == "True False [False]"


@pytest.mark.parametrize("first", [True, False], ids=["", "control"])
def test_a_fork_that_waits_for_what_a_thread_is_loading_holds_up_no_record(
    tmp_path: Path, first: bool
) -> None:
    """To copy a large ledger may take as long as that."""
    out = run(
        """
from farthing import forks
from farthing.ledger.upkeep import pruning
mine = Meter(sys.argv[1], durability="fast", ledger_timeout=float(sys.argv[2]))
record(mine)
held, forking, go, pids = threading.Event(), threading.Event(), threading.Event(), []
takes = forks._loading.take
def take(*given):
    forking.set()
    takes(*given)
forks._loading.take = take
def copy():
    with pruning._copying:
        held.set()
        go.wait(60)
threads = [threading.Thread(target=copy), threading.Thread(target=lambda: pids.append(child(lambda: None)))]
threads[0].start()
held.wait(60)
threads[1].start()
forking.wait(60)
try:
    record(mine)
except farthing.LedgerLocked:
    print("LedgerLocked", pids, flush=True)
else:
    print("recorded", pids, flush=True)
go.set()
for thread in threads:
    thread.join()
print(*map(went_well, pids))
""",
        tmp_path / "ledger.db",
        20 if first else 0.2,
        before="" if first else "from farthing import forks\nforks.wait_before_others = lambda: None\n",
    )
    assert out.splitlines() == ["recorded []" if first else "LedgerLocked []", "True"]
