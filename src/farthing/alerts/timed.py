"""Requests that come to an end. The timeout of urllib is that of each wait alone: a byte now and then, or one
address after another, would keep a request going for as long as anybody likes."""

from __future__ import annotations

import http.client
import io
import socket
import time
import urllib.request
from functools import partial
from typing import Any

__all__ = ["Deadline", "ending"]


class Deadline:
    """An instant in so many seconds from now."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until then.

        Raises:
            TimeoutError: if it has come.
        """
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


def ending(deadline: Deadline) -> list[urllib.request.BaseHandler]:
    """What makes an opener of urllib end its requests then, with a `TimeoutError` or a `URLError` of one.

    Only to ask for the addresses of a host takes as long as the system has it take.
    """

    class Plain(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(partial(_timed, http.client.HTTPConnection, deadline), req)

    class Secured(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(partial(_timed, http.client.HTTPSConnection, deadline), req)

    return [Plain(), Secured()]


def _timed(kind: type[http.client.HTTPConnection], deadline: Deadline, host: str, /, **options: Any) -> Any:
    made: Any = kind(host, **options)
    made.response_class = partial(_Answer, deadline=deadline)  # of a proxy, too
    made._create_connection = partial(_connected, deadline)  # noqa: SLF001  without it, a timeout for each address
    return made


def _connected(deadline: Deadline, address: tuple[str, int], *_: object) -> socket.socket:
    """A connection to a host; each of its addresses gets its share of what is left, so that one that does not
    answer leaves the others theirs."""
    failure = OSError("a host without an address")
    found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    for tried, (family, kind, protocol, _name, at) in enumerate(found):
        try:
            made = socket.socket(family, kind, protocol)
        except OSError as error:  # of a kind that this machine does not have
            failure = error
            continue
        try:
            made.settimeout(deadline.left() / (len(found) - tried))
            made.connect(at)
            made.settimeout(deadline.left())
        except OSError as error:
            made.close()
            failure = error
        else:
            return made
    raise failure


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, deadline: Deadline, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        made: Any = self.fp
        self.fp = io.BufferedReader(_Raw(sock, made.detach(), deadline))


class _Raw(io.RawIOBase):
    """What comes from a socket, for as long as there is time."""

    def __init__(self, sock: socket.socket, inner: io.RawIOBase, deadline: Deadline) -> None:
        self._sock, self._inner, self._deadline = sock, inner, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._deadline.left())
        count: int | None = self._inner.readinto(buffer)
        self._sock.settimeout(self._deadline.left())  # a handshake may follow what a proxy answers
        return count

    def close(self) -> None:
        self._inner.close()
        super().close()
