"""Many calls of all kinds at once, from threads and from tasks, against a provider in a process of its own.

    python tests/intercept/many.py --calls 10000

Each call leaves one row, none stays open, no money stays held, no memory and no socket is kept. The suite
runs a short version.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import itertools
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
from openai import AsyncOpenAI, OpenAI

from farthing import Meter
from farthing.testing import FakeProvider, Reply, Request

HTTP: Any = sys.modules[openai.DefaultHttpxClient.__base__.__module__.partition(".")[0]]
ASK: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": "What is a farthing?"}],
    "max_tokens": 300,
}
STREAM: dict[str, Any] = {**ASK, "stream": True}
FAILS = 500
"""An output cap that makes the provider answer with this status."""

NOISE = 1 << 16
"""Bytes that caches and the interpreter may come to hold, however many calls are made."""

KEPT = 8
"""Bytes that may be kept for each call beyond it: a pointer. Any object is more."""


@dataclass
class Campaign:
    """What was made, and what was found when it was over."""

    made: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    open_calls: int = 0
    held: int = 0
    problems: list[str] = field(default_factory=list)
    kept_per_call: float = 0.0
    sockets: int | None = None
    seconds: float = 0.0

    def faults(self) -> list[str]:
        """All that is not as it must be."""
        found = list(self.problems)
        if self.rows != self.made:
            found.append(f"made {dict(self.made)}, booked {dict(self.rows)}")
        if self.open_calls or self.held:
            found.append(f"{self.open_calls} open calls, {self.held} nano-dollars held")
        half = self.made.total() // 2
        if self.kept_per_call * half > NOISE + KEPT * half:
            found.append(f"{self.kept_per_call:.0f} bytes kept for each call")
        if self.sockets:
            found.append(f"{self.sockets} sockets left open")
        return found


# -- one call of each kind ---------------------------------------------------------------------------------


def whole(client: OpenAI) -> None:
    client.chat.completions.create(**ASK)


def raw(client: OpenAI) -> None:
    client.chat.completions.with_raw_response.create(**ASK).parse()


def read(client: OpenAI) -> None:
    for _ in client.chat.completions.create(**STREAM):
        pass


def closed(client: OpenAI) -> None:
    with client.chat.completions.create(**STREAM) as stream:
        next(iter(stream))


def dropped(client: OpenAI) -> None:
    for _ in client.chat.completions.create(**STREAM):
        break


def bytewise(client: OpenAI) -> None:
    with client.chat.completions.with_streaming_response.create(**STREAM) as response:
        for _ in response.http_response.iter_raw():
            pass


def failed(client: OpenAI) -> None:
    with contextlib.suppress(openai.APIStatusError):
        client.chat.completions.create(**{**ASK, "max_tokens": FAILS})


async def awhole(client: AsyncOpenAI) -> None:
    await client.chat.completions.create(**ASK)


async def aread(client: AsyncOpenAI) -> None:
    async for _ in await client.chat.completions.create(**STREAM):
        pass


async def aclosed(client: AsyncOpenAI) -> None:
    async with await client.chat.completions.create(**STREAM) as stream:
        await anext(aiter(stream))


async def adropped(client: AsyncOpenAI) -> None:
    async for _ in await client.chat.completions.create(**STREAM):
        break


async def afailed(client: AsyncOpenAI) -> None:
    with contextlib.suppress(openai.APIStatusError):
        await client.chat.completions.create(**{**ASK, "max_tokens": FAILS})


async def acancelled(client: AsyncOpenAI) -> None:
    """Cancelled when its request has been made and no answer is here."""
    await _cancelled(client.chat.completions.create(**ASK, extra_headers={"x-cancel": "1"}))


async def acancelled_amid(client: AsyncOpenAI) -> None:
    """Cancelled in the middle of its stream."""

    async def reader() -> None:
        async for _ in await client.chat.completions.create(**STREAM):
            _cancel_this()
        await asyncio.sleep(0)

    await _cancelled(reader())


async def _cancelled(made: Any) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.ensure_future(made)


def _cancel_this() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def _cancel_if_asked(request: Any) -> None:
    if "x-cancel" in request.headers:
        _cancel_this()


SYNC: tuple[Callable[[OpenAI], None], ...] = (whole, raw, read, closed, dropped, bytewise, failed)
ASYNC: tuple[Callable[[AsyncOpenAI], Any], ...] = (
    awhole,
    aread,
    aclosed,
    adropped,
    afailed,
    acancelled,
    acancelled_amid,
)


# -- many --------------------------------------------------------------------------------------------------


def campaign(calls: int, ledger: Path, *, threads: int = 8, tasks: int = 32) -> Campaign:
    """Make these calls, half from threads and half from tasks, and look at what they left."""
    done = Campaign()
    started = time.monotonic()
    with _provider() as base_url, Meter(ledger, durability="fast") as meter:
        meter.warm()
        before = _sockets()
        tracemalloc.start()
        try:
            kept = []
            for _ in range(2):  # what the first half brings is warmth
                for run in (_Threads(base_url, meter, threads), _Tasks(base_url, meter, tasks)):
                    done.made += run.make(calls // 4)
                    run.close()
                meter.engine.sweep()
                kept.append(_traced())
        finally:
            tracemalloc.stop()
        done.kept_per_call = max(0.0, (kept[1] - kept[0]) / (calls // 2))
        done.sockets = None if before is None else (_sockets() or 0) - before
        _look(meter, done)
    done.seconds = time.monotonic() - started
    return done


class _Threads:
    def __init__(self, base_url: str, meter: Meter, width: int) -> None:
        self._client = meter.wrap(
            OpenAI(base_url=base_url, api_key="k", max_retries=0), budget="$1000000/day", name="threads"
        )
        self._meter = meter
        self._width = width

    def make(self, calls: int) -> Counter[str]:
        barrier = threading.Barrier(self._width)
        kinds = itertools.islice(itertools.cycle(SYNC), calls)
        lock = threading.Lock()
        made: Counter[str] = Counter()

        def work(_: int) -> None:
            barrier.wait(60)
            while True:
                with lock:
                    kind = next(kinds, None)
                    if kind is None:
                        return
                    made[kind.__name__] += 1
                with self._meter.scope(account=kind.__name__):
                    kind(self._client)

        with _uncollected(), ThreadPoolExecutor(self._width) as pool:
            list(pool.map(work, range(self._width)))
        return made

    def close(self) -> None:
        gc.collect()
        self._client.close()


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Streams that were dropped are collected afterwards. A collection that strikes a thread while it holds
    the lock of the HTTP library's pool waits for that lock for ever, metered or not."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


class _Tasks:
    def __init__(self, base_url: str, meter: Meter, width: int) -> None:
        http = HTTP.AsyncClient(event_hooks={"request": [_cancel_if_asked]}, timeout=60)
        self._client = meter.wrap(
            AsyncOpenAI(base_url=base_url, api_key="k", max_retries=0, http_client=http),
            budget="$1000000/day",
            name="tasks",
        )
        self._meter = meter
        self._width = width
        self._runner = asyncio.Runner()

    def make(self, calls: int) -> Counter[str]:
        made: Counter[str] = Counter()
        kinds = itertools.islice(itertools.cycle(ASYNC), calls)

        async def work() -> None:
            for kind in kinds:
                made[kind.__name__] += 1
                async with self._meter.scope(account=kind.__name__):
                    await kind(self._client)

        async def all_of_them() -> None:
            await asyncio.gather(*(work() for _ in range(self._width)))
            gc.collect()
            await asyncio.sleep(0)  # generators that were left are closed by the loop
            await asyncio.sleep(0)

        self._runner.run(all_of_them())
        return made

    def close(self) -> None:
        async def last() -> None:
            gc.collect()
            await asyncio.sleep(0)
            await self._client.close()

        self._runner.run(last())
        self._runner.close()


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _sockets() -> int | None:
    """How many sockets this process has open; None where nobody can say."""
    folder = Path("/proc/self/fd")
    if not folder.exists():
        return None
    count = 0
    for entry in folder.iterdir():
        with contextlib.suppress(OSError):
            count += str(entry.readlink()).startswith("socket:")
    return count


def _look(meter: Meter, done: Campaign) -> None:
    ledger = meter.engine.ledger
    before = None
    while True:
        page = ledger.calls(limit=1000, before=before)
        for row in page:
            done.rows[row["account"]] += 1
            done.outcomes[row["outcome"]] += 1
        if len(page) < 1000:
            break
        before = page[-1]["id"]
    done.open_calls = ledger.facts()["open_calls"]
    done.held = sum(window.held for window in ledger.windows())
    done.problems = [str(problem) for problem in ledger.check()]


# -- the provider ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _provider() -> Iterator[str]:
    """The address of a provider in another process, whose memory is not ours."""
    with subprocess.Popen(
        [sys.executable, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()  # which it waits for
            process.wait(60)


def _answer(request: Request) -> Reply:
    if request.body["max_tokens"] == FAILS:
        return Reply(status=FAILS)
    return Reply(chunks=8, piecewise=request.stream)


def _serve() -> None:
    with FakeProvider() as provider:
        provider.script(_answer)
        sys.stdout.write(f"{provider.base_url}\n")
        sys.stdout.flush()
        sys.stdin.read()


def told(done: Campaign) -> list[str]:
    """What was found, line by line."""
    return [
        f"openai {openai.__version__}, Python {sys.version.split()[0]}",
        f"{done.made.total()} calls in {done.seconds:.0f} s",
        *(
            f"  {kind:16} made {count:6}  rows {done.rows[kind]:6}"
            for kind, count in sorted(done.made.items())
        ),
        f"  outcomes         {dict(done.outcomes)}",
        f"  rows             {done.rows.total()}",
        f"  open calls       {done.open_calls}, held {done.held}",
        f"  kept             {done.kept_per_call:.1f} bytes a call over the second half",
        f"  sockets left     {done.sockets}",
        *(f"FAULT: {fault}" for fault in done.faults()),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Many calls of all kinds at once.")
    parser.add_argument("--calls", type=int, default=10_000, help="a multiple of 4 (default: 10000)")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--tasks", type=int, default=32)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        _serve()
        return 0
    with tempfile.TemporaryDirectory() as folder:
        done = campaign(given.calls, Path(folder) / "ledger.db", threads=given.threads, tasks=given.tasks)
    sys.stdout.write("\n".join(told(done)) + "\n")
    return 1 if done.faults() else 0


if __name__ == "__main__":
    sys.exit(main())
