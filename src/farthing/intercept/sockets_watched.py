"""A connection of the SDK, watched where its messages are received; it stays what and whose it is.

`recv_bytes` is what `recv`, iteration, `dispatch_events` and the SDK's sessions go through. A coroutine does
not wait for the ledger when it receives, as a message that it has in hand would be lost if it were cancelled;
it does when it closes.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from farthing.engine import Engine, closes, entry_of, later, soon
from farthing.errors import LedgerError
from farthing.intercept.sockets_told import Ended, Talk
from farthing.ledger.store import Entry
from farthing.log import say_once

__all__ = ["attach"]

_LATE_MOST = 1_000


def attach(connection: Any, talk: Talk, *, is_async: bool) -> None:
    """Book what is said over a connection from now on."""
    books = _Books(talk)
    receive, close = connection.recv_bytes, connection.close
    connection.recv_bytes = (_areceiving if is_async else _receiving)(receive, books)
    connection.close = (_aclosing if is_async else _closing)(close, books)
    books.engine.watch(books, books.abandon)  # type: ignore[arg-type]  # all that it takes is its id
    weakref.finalize(connection, books.engine.leave, books.abandon).atexit = False


class _Books:
    """What one connection owes the ledger. Nothing that goes wrong here reaches its reader."""

    __slots__ = ("_late", "_pid", "engine", "talk")

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.engine = talk.engine
        self._late: deque[Entry] = deque(maxlen=_LATE_MOST)
        self._pid = os.getpid()

    def heard(self, message: bytes | str) -> list[Ended]:
        """The calls that a message ends."""
        try:
            return self.talk.hear(message)
        except Exception:
            Engine.bug("reading an event")
            return []

    def left(self, error: BaseException | None, *, closing: bool) -> list[Ended]:
        """The calls that a closed connection ends."""
        try:
            return self.talk.end(broken=error is not None, closing=closing)
        except Exception:
            Engine.bug("ending a connection")
            return []

    def book(self, calls: list[Ended]) -> None:
        """In this thread; with what could not be booked before."""
        for call in calls:
            try:
                self._late.append(_entry(self.engine, call))
            except Exception:
                Engine.bug("pricing a call")
        while self._late:
            try:
                self.engine.ledger.record(self._late[0])
            except LedgerError as error:
                say_once(
                    ("socket", type(error).__name__),
                    logging.ERROR,
                    "a call over a WebSocket could not be booked and will be tried again: %s",
                    error,
                )
                return
            except Exception:  # it will never do: it must not keep the others from being booked
                Engine.bug("booking a call over a WebSocket")
            self._late.popleft()

    def post(self, calls: list[Ended]) -> None:
        """The same soon, in the thread that waits for the ledger."""
        if calls:
            self.engine.courier.post(lambda: self.book(calls))

    def close(self, error: BaseException | None = None) -> None:
        """The connection is closed: book what is left."""
        self.engine.unwatch(self)  # type: ignore[arg-type]
        self.book(self.left(error, closing=True))

    def abandon(self) -> None:
        """Nobody has closed it and nobody can."""
        if self._pid == os.getpid():
            self.close()


def _entry(engine: Engine, call: Ended) -> Entry:
    entry = entry_of(engine, call.made)
    end = entry.settlement
    end.outcome = call.outcome
    if call.guessed and end.usage is not None:
        end.usage_source = "estimated"
    return entry


def _is_closed(error: BaseException) -> bool:
    """True for ConnectionClosed of websockets, and what is derived from it: the other side is gone."""
    return any(cls.__name__ == "ConnectionClosed" for cls in type(error).__mro__)


def _receiving(receive: Callable[..., Any], books: _Books) -> Callable[..., Any]:
    @functools.wraps(receive)
    def recv_bytes(*args: Any, **kwargs: Any) -> Any:
        try:
            message = receive(*args, **kwargs)
        except Exception as error:
            if _is_closed(error):  # the SDK may connect again
                books.book(books.left(error, closing=False))
            raise
        calls = books.heard(message)
        if calls:
            books.book(calls)
        return message

    return recv_bytes


def _areceiving(receive: Callable[..., Any], books: _Books) -> Callable[..., Any]:
    @functools.wraps(receive)
    async def recv_bytes(*args: Any, **kwargs: Any) -> Any:
        try:
            message = await receive(*args, **kwargs)
        except Exception as error:
            if _is_closed(error):
                books.post(books.left(error, closing=False))
            raise
        books.post(books.heard(message))
        return message

    return recv_bytes


def _closing(close: Callable[..., Any], books: _Books) -> Callable[..., Any]:
    @functools.wraps(close)
    def closed(*args: Any, **kwargs: Any) -> Any:
        try:
            return close(*args, **kwargs)
        finally:
            soon(books.engine, books.close)

    return closed


def _aclosing(close: Callable[..., Any], books: _Books) -> Callable[..., Any]:
    @functools.wraps(close)
    async def closed(*args: Any, **kwargs: Any) -> Any:
        try:
            result = await close(*args, **kwargs)
        except BaseException:  # cancelled, perhaps: nobody waits
            later(books.engine, books.close)
            raise
        if closes(sys.exception()):
            later(books.engine, books.close)
            return result
        try:
            await books.engine.courier.bring(books.close, _ignore)
        except Exception:
            Engine.bug("ending a connection")
        return result

    return closed


def _ignore(_: object) -> None:
    """It is booked even if nobody waits for it."""
