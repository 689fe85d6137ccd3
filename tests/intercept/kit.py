"""One set of scenarios for clients of both colours: what a test does with a client, it does through a Kit."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, Self

import openai
from openai import AsyncOpenAI, OpenAI

from farthing import Meter
from farthing.testing import FakeProvider

SDK = tuple(int(part) for part in openai.__version__.split(".")[:2])
"""The version of openai that is installed."""

HTTP: Any = sys.modules[openai.DefaultHttpxClient.__base__.__module__.partition(".")[0]]
"""The HTTP library of that version: httpx before openai 3, httpx2 since."""

SOON = HTTP.Timeout(30, read=0.2)
"""A timeout that a provider which holds its answer does not meet."""

ASK: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": "What is a farthing?"}],
    "max_tokens": 2_000,
}
"""A chat whose hold ($0.02 and the prompt) is above what the fake provider's usual answer costs."""

USUAL = 3_220_000
"""Nano-dollars of the usual answer of gpt-4o: 176 x 2.50 + 1,024 x 1.25 + 150 x 10.00 USD per million."""


class Kit:
    """Clients of one colour. Its methods are synchronous: for coroutines it drives a loop of its own."""

    def __init__(self, colour: str, provider: FakeProvider, meter: Meter) -> None:
        self.is_async = colour == "async"
        self.provider = provider
        self.meter = meter
        self._runner = asyncio.Runner()
        self._clients: list[Any] = []
        self._booked: threading.Semaphore | None = None

    # -- clients -------------------------------------------------------------------------------------

    def plain(self, base_url: str | None = None, **options: Any) -> Any:
        """A client that nobody meters."""
        made = AsyncOpenAI if self.is_async else OpenAI
        options = {"api_key": "sk-test", "max_retries": 0, **options}
        client = made(base_url=base_url or self.provider.base_url, **options)
        self._clients.append(client)
        return client

    def client(self, base_url: str | None = None, *, options: Any = None, **settings: Any) -> Any:
        """A client that the meter has wrapped."""
        return self.meter.wrap(self.plain(base_url, **(options or {})), **settings)

    # -- both colours --------------------------------------------------------------------------------

    def run(self, made: Any) -> Any:
        """What a method of a client gives: a coroutine is run in the context of the caller."""
        if not self.is_async:
            return made
        return self._runner.run(_result_of(made), context=contextvars.copy_context())

    def items(self, stream: Any) -> Iterator[Any]:
        """The items of a stream, one by one."""
        if not self.is_async:
            yield from stream
            return
        iterator = aiter(stream)
        while True:
            try:
                item = self.run(anext(iterator))
            except StopAsyncIteration:
                return
            yield item

    @contextlib.contextmanager
    def inside(self, manager: Any) -> Iterator[Any]:
        """`with` or `async with`."""
        if not self.is_async:
            with manager as entered:
                yield entered
            return
        entered = self.run(manager.__aenter__())
        try:
            yield entered
        except BaseException as error:
            if not self.run(manager.__aexit__(type(error), error, error.__traceback__)):
                raise
        else:
            self.run(manager.__aexit__(None, None, None))

    def close(self, thing: Any) -> None:
        """`close()`, or `aclose()` of what has one."""
        self.run(getattr(thing, "aclose" if self.is_async and hasattr(thing, "aclose") else "close")())

    def pick(self, when_sync: Any, when_async: Any) -> Any:
        """A name that differs by colour."""
        return when_async if self.is_async else when_sync

    # -- what is booked ------------------------------------------------------------------------------

    def watch_bookings(self) -> None:
        """From now on `wait_booked` can wait."""
        self._booked = booked = threading.Semaphore(0)
        settle = self.meter.engine.settle

        def settle_and_tell(want: Any) -> None:
            settle(want)
            booked.release()

        self.meter.engine.settle = settle_and_tell  # type: ignore[method-assign]

    def wait_booked(self) -> None:
        """Until one more call has been booked by whichever thread; the loop goes on meanwhile."""
        assert self._booked is not None
        if self.is_async:
            assert self._runner.run(asyncio.to_thread(self._booked.acquire, timeout=30))
        else:
            assert self._booked.acquire(timeout=30)

    def rows(self) -> list[SimpleNamespace]:
        """The finished calls, oldest first; nothing may be open, and all must add up."""
        return rows_of(self.meter)

    def row(self) -> SimpleNamespace:
        """The one finished call."""
        (row,) = self.rows()
        return row

    def finish(self) -> None:
        """Close the clients and the loop."""
        for client in self._clients:
            self.run(client.close())
        self._runner.close()


async def _result_of(made: Any) -> Any:
    return await made


def rows_of(meter: Meter) -> list[SimpleNamespace]:
    """The finished calls of a meter, oldest first; nothing may be open, and all must add up."""
    ledger = meter.engine.ledger
    assert ledger.facts()["open_calls"] == 0
    assert all(window.held == 0 for window in ledger.windows())
    assert ledger.check() == []
    rows = [SimpleNamespace(**row) for row in reversed(ledger.calls())]
    for row in rows:
        row.flags = json.loads(row.flags)
        row.tags = json.loads(row.tags)
    return rows


class Wire:
    """A server of raw bytes: each connection reads one request and is handed to `script`, then closed."""

    def __init__(self, script: Callable[[socket.socket], None]) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with sock, contextlib.suppress(OSError):
                if self._read(sock):
                    self._script(sock)

    @staticmethod
    def _read(sock: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            more = sock.recv(65_536)
            if not more:
                return b""
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        need = next(
            int(line.split(b":")[1])
            for line in head.splitlines()
            if line.lower().startswith(b"content-length")
        )
        while len(body) < need:
            body += sock.recv(65_536)
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


def chunk(
    text: str | None = None, *, finish: str | None = None, usage: Any = None, **more: Any
) -> dict[str, Any]:
    """A `chat.completion.chunk`; without text and finish it has no choices."""
    choices = (
        []
        if text is None and finish is None
        else [{"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": finish}]
    )
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    return {**base, "choices": choices, "usage": usage, **more}


TOLD = {
    "prompt_tokens": 1200,
    "completion_tokens": 150,
    "total_tokens": 1350,
    "prompt_tokens_details": {"cached_tokens": 1024},
}
"""The usual usage, as chat completions spell it."""


def events(*data: Any, end: str = "\n\n") -> bytes:
    """Server-sent events; texts go as they are."""
    return b"".join(
        b"data: " + (item if isinstance(item, str) else json.dumps(item)).encode() + end.encode()
        for item in data
    )
