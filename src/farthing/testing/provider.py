"""A provider that answers as OpenAI's API does, on the loopback interface, as scripted."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from farthing.testing.answers import Halt, compose, framed, written
from farthing.testing.replies import Reply, Request
from farthing.testing.server import ClientGone, Incoming, Line, Server, head
from farthing.testing.shapes import Stream

__all__ = ["FakeProvider"]

Script = Callable[[Request], Reply | None]

_USAGE = {"input_tokens": 1200, "cached_tokens": 1024, "output_tokens": 150, "reasoning_tokens": 0}

_LAST_CHUNK = b"0\r\n\r\n"


@dataclass(slots=True)
class _Tally:
    """What has been counted since the start, or since `clear()`."""

    requests: list[Request] = field(default_factory=list)
    in_flight: int = 0
    most: int = 0
    served: int = 0
    gone: int = 0


@dataclass(slots=True)
class _Exchange:
    """One request on its way to its answer, with what was in force when it arrived."""

    request: Request
    tally: _Tally
    reply: Reply | None
    script: Script | None
    resumed: threading.Event
    free: bool
    """Whether the answer may go: it was not held, or has been released."""
    over: bool = False


class FakeProvider:
    """Serves `base_url` from construction to `close()`: to any number of threads, tasks and processes.

    It answers chat completions, Responses, completions (all three also streamed) and embeddings. Other paths
    get a 404, unless a reply with a `body` or `events` is scripted for them.

    Args:
        script: as for `script()`.
        usage: what every answer states unless its reply says otherwise; see `Reply.usage`.

    Attributes:
        usage: may be changed at any time.
        base_url: what a client is given, with `/v1`. A process that was handed it can connect too.
    """

    def __init__(self, *script: Reply | Script, usage: Mapping[str, Any] | None = _USAGE) -> None:
        self.usage = usage
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._gate = threading.Condition(self._lock)
        self._holding = False
        self._held: deque[_Exchange] = deque()
        self._passes = 0
        self._closed = False
        self._resumed = threading.Event()
        self._order = 0
        self._tally = _Tally()
        self._queue: deque[Reply] = deque()
        self._script: Script | None = None
        self.script(*script)
        self._server = Server(self._answer)
        self.base_url = f"http://127.0.0.1:{self._server.port}/v1"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"FakeProvider({self.base_url}, requests={len(self._tally.requests)}, in_flight={self.in_flight})"
        )

    def script(self, *replies: Reply | Script) -> None:
        """Say what is answered.

        Each Reply answers one request, in the order in which they arrive. A callable answers every request
        that arrives when no Reply is left, until another callable takes its place; None from it is the
        default answer. It is called in the thread that answers, so it may wait, and several threads may call
        it at once. If it raises, the client gets a 500 that names the exception and asks not to be retried.
        """
        with self._lock:
            for reply in replies:
                if isinstance(reply, Reply):
                    self._queue.append(reply)
                else:
                    self._script = reply

    def hold(self) -> None:
        """From now on requests are accepted and logged, and their answers wait for `release()`."""
        with self._lock:
            self._holding = True
            self._passes = 0

    def release(self, count: int | None = None) -> None:
        """Let all answers go, and those to come; or the next `count` in order of arrival, and no others."""
        with self._lock:
            now = len(self._held) if count is None else min(count, len(self._held))
            for _ in range(now):
                self._held.popleft().free = True
            if count is None:
                self._holding = False
            else:
                self._passes += count - now
            self._gate.notify_all()

    def resume(self) -> None:
        """Let the streams of all requests that have arrived go on, at `Reply.pause_after` or past it."""
        with self._lock:
            resumed, self._resumed = self._resumed, threading.Event()
        resumed.set()

    def wait_for(self, count: int, timeout: float = 30.0) -> list[Request]:
        """Wait until `count` requests have arrived since the start or `clear()`; returns all that have.

        Raises:
            TimeoutError: if they have not within `timeout` seconds.
        """
        with self._lock:
            if not self._arrived.wait_for(lambda: len(self._tally.requests) >= count, timeout):
                raise TimeoutError(
                    f"{len(self._tally.requests)} of {count} requests arrived within {timeout} s"
                )
            return list(self._tally.requests)

    @property
    def requests(self) -> list[Request]:
        """Those that arrived since the start or `clear()`, in order."""
        with self._lock:
            return list(self._tally.requests)

    @property
    def in_flight(self) -> int:
        """Requests that arrived and whose answer has not gone out whole.

        It goes down just before an answer's last byte goes out: a client that has the answer is not in it.
        """
        return self._tally.in_flight

    @property
    def most_in_flight(self) -> int:
        """The largest number that were in flight at once."""
        return self._tally.most

    @property
    def served(self) -> int:
        """Answers that went out whole, errors included; not those that were cut or whose client had gone."""
        return self._tally.served

    @property
    def gone(self) -> int:
        """Answers that found their client gone when they were written."""
        return self._tally.gone

    def clear(self) -> None:
        """Forget requests, counts and script. What is held stays held, and does not count when answered."""
        with self._lock:
            self._tally = _Tally()
            self._queue.clear()
            self._script = None

    def close(self) -> None:
        """Cut all connections, held answers included, and wait for the threads. Again, it does nothing.

        In a forked child it leaves the parent's provider alone.
        """
        if not self._server.forked:  # another thread may have held the lock at the fork
            with self._lock:
                self._closed = True
                self._gate.notify_all()
                self._resumed.set()
        self._server.close()

    def _answer(self, incoming: Incoming, line: Line) -> bool:
        """Answer one request, in the thread of its connection. Returns whether the connection lives on."""
        exchange = self._take(incoming)
        whole = False
        try:
            whole = self._wait(exchange) and self._send(exchange, line)
        except ClientGone:
            with self._lock:
                exchange.tally.gone += not self._closed
                exchange.tally.served -= exchange.over
        finally:
            if not whole:
                self._end(exchange, served=False)
        return whole

    def _take(self, incoming: Incoming) -> _Exchange:
        path, _, query = incoming.target.partition("?")
        try:
            body = json.loads(incoming.raw) if incoming.raw else None
        except ValueError:
            body = None
        with self._lock:
            self._order += 1
            request = Request(
                order=self._order,
                method=incoming.method,
                path=path,
                query=query,
                headers=incoming.headers,
                raw=incoming.raw,
                body=body,
            )
            tally = self._tally
            tally.requests.append(request)
            tally.in_flight += 1
            tally.most = max(tally.most, tally.in_flight)
            self._arrived.notify_all()
            reply = self._queue.popleft() if self._queue else None
            free = not self._holding or self._passes > 0
            exchange = _Exchange(request, tally, reply, self._script, self._resumed, free)
            if not free:
                self._held.append(exchange)
            elif self._holding:
                self._passes -= 1
            return exchange

    def _wait(self, exchange: _Exchange) -> bool:
        """Wait while the answer is held. Returns whether it is still wanted."""
        if not exchange.free:
            with self._lock:
                self._gate.wait_for(lambda: exchange.free or self._closed)
        return not self._closed

    def _end(self, exchange: _Exchange, *, served: bool) -> None:
        with self._lock:
            if not exchange.over:
                exchange.over = True
                exchange.tally.in_flight -= 1
                exchange.tally.served += served

    def _send(self, exchange: _Exchange, line: Line) -> bool:
        """Write the answer. Returns whether it went out whole."""
        request, reply = exchange.request, exchange.reply
        try:
            if reply is None:
                reply = (exchange.script and exchange.script(request)) or Reply()
            answer = compose(request, reply, self.usage)
        except Exception as error:  # noqa: BLE001 (whoever waits for the answer has to learn what went wrong)
            said = f"The script of the fake provider failed: {type(error).__name__}: {error}"
            reply = Reply(said, status=500, headers={"x-should-retry": "false"})
            answer = compose(request, reply, None)
        if reply.no_answer:
            return False
        headers = {"x-request-id": f"req_{request.order:06d}"}
        own = {name.lower(): value for name, value in reply.headers.items()}
        if isinstance(answer, Stream):
            headers |= {
                "content-type": "text/event-stream; charset=utf-8",
                "transfer-encoding": "chunked",
            } | own
            return self._send_stream(exchange, line, head(reply.status, headers), answer, reply)
        status, body = answer
        events = request.stream and isinstance(reply.body, bytes)
        headers["content-type"] = "text/event-stream; charset=utf-8" if events else "application/json"
        begun = head(status, headers | {"content-length": str(len(body))} | own)
        if reply.die_after is not None:
            line.send(begun + body[: len(body) // 2])
            return False
        self._end(exchange, served=True)
        line.send(begun + body)
        return True

    def _send_stream(
        self, exchange: _Exchange, line: Line, begun: bytes, stream: Stream, reply: Reply
    ) -> bool:
        unsent = begun
        for part in written(stream, reply):
            if isinstance(part, bytes):
                unsent += framed(part)
                continue
            line.send(unsent)
            unsent = b""
            if part is Halt.CUT:
                return False
            if part is Halt.PAUSE:
                exchange.resumed.wait()
                if self._closed:
                    return False
        self._end(exchange, served=True)
        line.send(unsent + _LAST_CHUNK)
        return True
