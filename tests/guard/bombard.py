"""Signals whose handler raises, at any point of calls that the main thread makes.

    python tests/guard/bombard.py --signals 100000 [--seed 7] [--ledger FILE] [--task] [--exception [KIND]]

So strikes Ctrl-C; with `--exception` the soft time limit of a task queue, which is an `Exception`, or with
`--exception TimeoutError` a timeout by alarm. The server is a function in this process, so that a call
consists of what farthing does. It prints its seed and what came of the calls as JSON, with status 0 if every
promise was kept: what returned is there, complete; of what was struck there is a row that ended (booked, or
voided) or none; its caller saw what the handler raised, and nothing else; nothing is held, no call is open,
and neither a transaction nor the lock file is left to keep others from writing; and the meter closes soon.
If one was broken, the ledger stays where it says.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from farthing import Meter, struck  # noqa: E402  after the path
from farthing.engine import drivers  # noqa: E402
from guard.making import CALL, COST, held_and_spent, metered  # noqa: E402

LONGEST_PAUSE = 600e-6
"""Seconds from a call's beginning to the signal: more than a call takes, so that all of it is struck."""

PROBE_EVERY = 100
PATIENCE = 20.0
CLOSING = 5.0
"""Seconds that a close may take, on a machine that is busy: it waits for no thread to have idled."""

ANSWER = {"model": "gpt-4o", "usage": {"prompt_tokens": 5, "completion_tokens": 300, "total_tokens": 305}}
OPTIONS = SimpleNamespace(method="post", url="/chat/completions", json_data=CALL)


class Struck(BaseException):
    """What the signal handler raises, if it is none of these."""


KINDS: dict[str | None, type[BaseException]] = {
    None: Struck,
    **{kind.__name__: type("Struck", (kind,), {}) for kind in (Exception, TimeoutError, RuntimeError)},
}


class Body(dict[str, Any]):
    """An answer as far as the meter looks at it."""

    def model_dump(self) -> dict[str, Any]:
        return dict(self)


class Client:
    """As much of an SDK's client as is wrapped."""

    base_url = "http://127.0.0.1/v1"

    def request(self, cast_to: object, options: object) -> Body:
        return Body(ANSWER)


class AsyncClient(Client):
    """The same for a task."""

    async def request(self, cast_to: object, options: object) -> Body:  # type: ignore[override]
        return Body(ANSWER)


class Suspended:
    """What a call waits for, passed on to the loop."""

    def __init__(self, future: Any) -> None:
        self.future = future

    def __await__(self) -> Iterator[Any]:
        yield self.future


Request = Callable[[], Iterator[Any]]
"""Makes a call; the iterator stops when it has returned, and gives what it waits for meanwhile."""


def by_a_thread(meter: Meter) -> Request:
    client: Any = meter.wrap(Client(), budget="$1000000/total")  # type: ignore[type-var]

    def request() -> Iterator[Any]:
        client.request(None, OPTIONS)
        yield from ()

    return request


def by_a_task(meter: Meter) -> Request:
    client: Any = meter.wrap(AsyncClient(), budget="$1000000/total")  # type: ignore[type-var]
    return lambda: client.request(None, OPTIONS).__await__()


class Handlers:
    """Of the signal that strikes, and of Ctrl-C, from now on.

    Attributes:
        raised: how often one struck.
        lost: how often in a finalizer, which cannot raise.
    """

    def __init__(self, kind: type[BaseException]) -> None:
        self._kind = kind
        self.raised = 0
        self.lost = 0
        self._interrupted = False
        sys.unraisablehook = self._lose
        # Python would say that a finalizer was struck, and that a coroutine was, before it began.
        warnings.simplefilter("ignore", RuntimeWarning)
        signal.signal(signal.SIGINT, self._interrupt)
        signal.signal(signal.SIGALRM, self._strike)

    def _strike(self, *_: object) -> None:
        self.raised += 1
        raise self._kind

    def _lose(self, unraisable: Any) -> None:
        self.lost += isinstance(unraisable.exc_value, self._kind)

    def _interrupt(self, *_: object) -> None:
        self._interrupted = True
        raise KeyboardInterrupt

    def pass_on_an_interrupt(self) -> None:
        """Raise what another signal may have struck on top of."""
        if self._interrupted:
            raise KeyboardInterrupt


async def bombard(
    request: Request, path: Path, signals: int, seed: int, kind: type[BaseException]
) -> dict[str, Any]:
    """Call until so many signals have struck a call; who was told what. A Ctrl-C ends it, whatever strikes
    on top of it."""
    rng = random.Random(seed)
    returned, struck, beside = 0, 0, 0
    told: Counter[str] = Counter()
    handlers = Handlers(kind)
    while struck < signals:
        handlers.pass_on_an_interrupt()
        steps, goes_on = request(), True
        while goes_on:
            calling, waits = False, None
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(20e-6, LONGEST_PAUSE))
                calling = True
                waits = next(steps, None)
                calling = False
                goes_on = waits is not None
                if not goes_on:
                    returned += 1
                    for _ in range(100_000):
                        pass
            except (Exception, Struck) as error:  # noqa: BLE001  whatever it is, the figures say so
                told[type(error).__name__] += 1
                if calling:
                    struck += 1
                    goes_on = False
                else:
                    beside += 1
            finally:
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except kind:
                    told["Struck"] += 1
                    beside += 1
            if goes_on and waits is not None:
                await Suspended(waits)
        if struck % PROBE_EVERY == 0 and not can_be_written(path):
            break
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    swallowed = handlers.raised - handlers.lost - told.pop("Struck", 0)
    return {"struck": struck, "beside": beside, "returned": returned, "swallowed": swallowed, "other": told}


def unsuspended(coroutine: Coroutine[Any, None, dict[str, Any]]) -> dict[str, Any]:
    """What comes of it in no loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        told: dict[str, Any] = end.value
        return told
    raise AssertionError("A thread's call has waited for a loop.")


def can_be_written(path: Path) -> bool:
    """Whether another program gets the lock file and a transaction, at the latest when it has waited."""
    deadline = time.monotonic() + PATIENCE
    with Path(f"{path}.lock").open("rb") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return False
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as conn:
                conn.execute("BEGIN IMMEDIATE")
                conn.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
    return True


def outcome(
    path: Path, signals: int, seed: int, *, rescued: bool, task: bool = False, exception: str | None = None
) -> dict[str, Any]:
    """What is left of it all; `faults` is empty if every promise was kept."""
    kind = KINDS[exception]
    if not rescued and exception is not None:
        struck._frames = lambda _: iter(())
    elif not rescued:
        drivers._Course.broken = lambda *_, **__: None  # type: ignore[method-assign]
    meter = metered(path)
    meter.warm()
    if task:
        told = asyncio.run(bombard(by_a_task(meter), path, signals, seed, kind))
    else:
        told = unsuspended(bombard(by_a_thread(meter), path, signals, seed, kind))
    unlocked = can_be_written(path)
    meter.wrap(Client()).request(None, OPTIONS)  # type: ignore[type-var]
    began = time.monotonic()
    meter.close()
    closing = time.monotonic() - began
    ledger = meter.engine.ledger
    faults = ledger.check()
    rows = ledger.calls(limit=10**7)
    outcomes = Counter(row["outcome"] for row in rows)
    held, spent = (sum(each) for each in zip((0, 0), *held_and_spent(meter), strict=True))  # or no window
    still_open = ledger.facts()["open_calls"]
    meter.close()
    if told["swallowed"] or told["other"]:
        faults.append(f"{told['swallowed']} signals were not seen as such, but as {dict(told['other'])}.")
    if not unlocked:
        faults.append("A transaction or the lock file is left.")
    if closing > CLOSING:
        faults.append(f"It took {closing:.0f} s to close.")
    if still_open or held:
        faults.append(f"{still_open} calls are open and {held} nano-dollars are held.")
    if outcomes["complete"] < told["returned"] + 1:
        faults.append(f"{told['returned'] + 1} calls returned, and {outcomes['complete']} are complete.")
    if len(rows) > told["returned"] + told["struck"] + 1:
        faults.append(f"There are {len(rows)} rows of fewer calls.")
    counted = {"complete": COST, "error": 0}
    if any(row["counted_nano"] != counted.get(row["outcome"], row["counted_nano"]) for row in rows):
        faults.append("A row has another amount than its outcome.")
    if spent != sum(row["counted_nano"] for row in rows) - COST:  # the last call matched no budget
        faults.append(f"The budget has {spent} spent.")
    left = {"open_calls": still_open, "held": held, "rows": len(rows)}
    return {**told, **left, "outcomes": dict(outcomes), "unlocked": unlocked, "faults": faults}


def main() -> int:
    parser = argparse.ArgumentParser(description="Raise from a signal handler in the midst of calls.")
    parser.add_argument("--signals", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--ledger", type=Path)
    parser.add_argument("--task", action="store_true", help="by a task, whose writes are done in its loop")
    parser.add_argument("--exception", nargs="?", const="Exception", choices=[kind for kind in KINDS if kind])
    parser.add_argument("--without-rescue", action="store_true", help="the control: take the guard out")
    given = parser.parse_args()
    if given.signals < 1:
        parser.error("signals are 1 or more")
    folder = None if given.ledger else Path(tempfile.mkdtemp(prefix="farthing-signals-"))
    path = folder / "ledger.db" if folder else given.ledger
    left = outcome(
        path,
        given.signals,
        given.seed,
        rescued=not given.without_rescue,
        task=given.task,
        exception=given.exception,
    )
    sys.stdout.write(f"{json.dumps({'seed': given.seed, 'ledger': str(path), **left})}\n")
    if folder and not left["faults"]:
        shutil.rmtree(folder)
    return int(bool(left["faults"]))


if __name__ == "__main__":
    raise SystemExit(main())
