"""A small HTTP/1.1 server on 127.0.0.1: a thread for each connection, connections that are kept alive.

The standard library's own handler parses headers with the email package, which would take longer than the
rest of an answer; this one reads what HTTP clients send to an API and nothing more.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

__all__ = ["ClientGone", "Incoming", "Line", "Server", "head"]

_LARGEST_HEAD = 1 << 20


class ClientGone(Exception):
    """The other side closed the connection before the answer was written."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request as read from the connection; `headers` have lower-case names."""

    method: str
    target: str
    headers: dict[str, str]
    raw: bytes
    keep_alive: bool


class Line:
    """One connection, used by one thread; only `cut` may come from another."""

    def __init__(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):  # macOS refuses when the client has gone already
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._rest = b""

    def read(self) -> Incoming | None:
        """The next request; None when the client has closed, or sent no request of a stated length."""
        found = self._rest
        while (end := found.find(b"\r\n\r\n")) < 0:
            more = self._sock.recv(65_536)
            if not more or len(found) > _LARGEST_HEAD:
                return None
            found += more
        first, *lines = found[:end].decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        length = headers.get("content-length", "0")
        if first.count(" ") != 2 or not length.isdecimal() or "transfer-encoding" in headers:
            self._refuse()
            return None
        body = found[end + 4 :]
        need = int(length)
        if len(body) < need:
            body = self._fill(body, need)
            if len(body) < need:
                return None
        self._rest = body[need:]
        method, target, version = first.split(" ")
        keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        return Incoming(method, target, headers, body[:need], keep)

    def _fill(self, begun: bytes, need: int) -> bytes:
        parts, have = [begun], len(begun)
        while have < need and (more := self._sock.recv(1 << 20)):
            parts.append(more)
            have += len(more)
        return b"".join(parts)

    def _refuse(self) -> None:
        self._sock.sendall(head(411, {"content-length": "0", "connection": "close"}))

    def send(self, data: bytes) -> None:
        """Write all of `data`.

        Raises:
            ClientGone: if the client has closed, or `cut` was called.
        """
        try:
            self._sock.sendall(data)
        except OSError as gone:
            raise ClientGone from gone

    def cut(self) -> None:
        """End the connection at once, also for a forked process that has a copy, and wake its thread."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the socket back."""
        self._sock.close()


class Server:
    """Listens at once.

    Args:
        answer: called for each request in the thread of its connection; returns whether the connection lives
            on.
    """

    def __init__(self, answer: Callable[[Incoming, Line], bool]) -> None:
        self._answer = answer
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._talks: dict[Line, threading.Thread] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(
            target=self._accept, name=f"fake-provider-{self.port}", daemon=True
        )
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:  # out of descriptors, perhaps: wait for some to come back
                if self._closing.wait(0.01):
                    return
                continue
            if self._closing.is_set():
                sock.close()
                return
            line = Line(sock)
            talk = threading.Thread(
                target=self._talk, args=(line,), name=f"fake-provider-{self.port}", daemon=True
            )
            with self._lock:
                self._talks[line] = talk
            talk.start()

    def _talk(self, line: Line) -> None:
        try:
            with contextlib.suppress(OSError, ClientGone):
                while (incoming := line.read()) is not None:
                    if not self._answer(incoming, line) or not incoming.keep_alive:
                        break
            line.cut()
        finally:
            with self._lock:
                self._talks.pop(line, None)
            line.close()

    @property
    def forked(self) -> bool:
        """Whether this is a forked child's copy, which has the sockets but none of the threads."""
        return os.getpid() != self._pid

    def close(self) -> None:
        """Cut every connection and wait for the threads. In a forked child it only gives back the sockets."""
        if self.forked:
            self._listener.close()
            for line in list(self._talks):
                line.close()
            return
        self._closing.set()
        if self._accepting.is_alive():
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            self._accepting.join()
        with contextlib.suppress(OSError):  # a forked child may hold a copy, which would go on listening
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            talks = dict(self._talks)
        for line in talks:
            line.cut()
        for talk in talks.values():
            if talk is not threading.current_thread():
                talk.join(timeout=10)


_REASONS = {status.value: status.phrase for status in HTTPStatus}


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """The status line and the headers, with the empty line after them."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\n{lines}\r\n".encode("latin-1")
