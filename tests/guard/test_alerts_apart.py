"""The ways on which alerts go out: none waits for another, and no attempt goes on for ever."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import queue
import socket
import threading
from pathlib import Path
from typing import Any, Self
from urllib.error import URLError

import pytest

from farthing import Budget, Meter, Usage
from farthing.alerts import Messenger, Webhook, webhook
from farthing.alerts.timed import Deadline
from farthing.records import Alert
from farthing.testing import FakeProvider, Reply
from guard.making import PATIENCE, metered
from guard.test_alerts_posted import ALERT
from ledger.making import python

OK: dict[str, Any] = {"ok": True}

GUARDED = pytest.mark.parametrize("guarded", [True, False], ids=["", "control"])


def spend(meter: Meter, usd: str) -> None:
    meter.record(model="gpt-4o", usage=Usage(input_tokens=0, output_tokens=0), cost=usd)


# One beside the other


def one_thread(patch: pytest.MonkeyPatch) -> None:
    """The control: one thread for all ways."""
    start, deliver = Messenger._start, Messenger.deliver

    def first_alone(messenger: Messenger, channel: Any) -> None:
        if channel == "call":
            start(messenger, channel)

    patch.setattr(Messenger, "_start", first_alone)
    patch.setattr(Messenger, "deliver", lambda messenger, *_: deliver(messenger))


@GUARDED
@pytest.mark.parametrize("slow", ["call", "post"])
def test_a_way_that_hangs_holds_up_nothing_on_the_other(
    ledger_path: Path, monkeypatch: pytest.MonkeyPatch, slow: str, guarded: bool
) -> None:
    monkeypatch.setattr(webhook, "_TIMEOUT", 2 * PATIENCE)
    if not guarded:
        one_thread(monkeypatch)
    hangs, all_there = threading.Event(), threading.Event()
    there: list[str] = []
    in_time: queue.Queue[bool] = queue.Queue()

    def arrives(way: str) -> None:
        if way == slow:
            hangs.set()
            in_time.put(all_there.wait(PATIENCE if guarded else 0.1))
        else:
            there.append(way)
            if len(there) == 3:
                all_there.set()

    def answer(_: object) -> Reply:
        arrives("post")
        return Reply(body=OK)

    with (
        FakeProvider(answer) as hook,
        metered(ledger_path, on_alert=lambda _: arrives("call"), alert_url=hook.base_url) as meter,
    ):
        meter.set_budget(Budget("all", 1, "total"))
        spend(meter, "0.8")
        assert hangs.wait(PATIENCE)
        spend(meter, "0.15")
        spend(meter, "0.2")
        assert in_time.get(timeout=PATIENCE + 5) == guarded
        assert all_there.wait(PATIENCE)


def test_a_meter_that_is_closed_has_no_thread_left_on_any_way(ledger_path: Path) -> None:
    threads: queue.Queue[threading.Thread] = queue.Queue()
    with (
        FakeProvider(lambda _: Reply(body=OK)) as hook,
        metered(
            ledger_path,
            on_alert=lambda _: threads.put(threading.current_thread()),
            alert_url=hook.base_url,
        ) as meter,
    ):
        meter.set_budget(Budget("all", 1, "total", alerts=(1.0,)))
        spend(meter, "2")
        threads.get(timeout=PATIENCE)
        hook.wait_for(1)
        running = [each.thread for each in meter.engine.alerts._running.values()]
        meter.close()
        assert len(running) == 2
        for thread in running:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def test_where_a_thread_can_be_started_for_one_way_alone_the_next_alert_tries_again_for_the_other(
    ledger_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: queue.Queue[Alert] = queue.Queue()
    start, begun = threading.Thread.start, []

    def refused(thread: threading.Thread) -> None:
        if thread.name == "farthing-alerts":
            begun.append(thread)
            if len(begun) > 1:
                raise RuntimeError("can't start new thread")
        start(thread)

    with (
        FakeProvider(lambda _: Reply(body=OK)) as hook,
        metered(ledger_path, on_alert=heard.put, alert_url=hook.base_url) as meter,
    ):
        meter.set_budget(Budget("all", 1, "total", alerts=(0.5, 1.0)))
        with monkeypatch.context() as patch:
            meter.close()
            patch.setattr(threading.Thread, "start", refused)
            spend(meter, "0.6")
            assert heard.get(timeout=PATIENCE).threshold == 0.5
            assert hook.requests == []
        spend(meter, "0.6")
        assert heard.get(timeout=PATIENCE).threshold == 1
        assert sorted(request.body["threshold"] for request in hook.wait_for(2)) == [0.5, 1]


FORKS = """
import os, sys, threading, warnings
from farthing import Budget, Usage
from farthing.alerts import Messenger, messenger
from guard.making import metered

warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
messenger._LOOK_SECONDS = 1e5
path, url, guarded = sys.argv[1:]
if not guarded:
    Messenger.forked = lambda _: None
arrived, deliver, deaf = threading.Semaphore(0), Messenger.deliver, False

def delivers(self, *channels):
    came = 0 if deaf and os.getpid() == parent else deliver(self, *channels)
    if came:
        arrived.release()
    return came

Messenger.deliver = delivers

def told(alert):
    print(os.getpid() == parent, alert.threshold, flush=True)

def spend():
    meter.record(model="gpt-4o", usage=Usage(input_tokens=0, output_tokens=0), cost="0.6")

parent = os.getpid()
meter = metered(path, on_alert=told, alert_url=url)
meter.set_budget(Budget("all", 1, "total", alerts=(0.5, 1.0)))
spend()
for way in range(2):
    arrived.acquire(timeout=60)
deaf = True  # the rest is the child's
child = os.fork()
if not child:
    spend()
    meter.engine.sweep()
    for way in range(2):
        arrived.acquire(timeout=60 if guarded else 0.1)
    meter.close()
    os._exit(0)
os.waitpid(child, 0)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@GUARDED
def test_a_forked_child_has_threads_of_its_own_for_every_way(ledger_path: Path, guarded: bool) -> None:
    with FakeProvider(lambda _: Reply(body=OK)) as hook:
        process = python(FORKS, ledger_path, hook.base_url, guarded or "")
        out, errors = process.communicate(timeout=2 * PATIENCE)
        assert process.returncode == 0, errors
        assert out.splitlines() == ["True 0.5"] + ["False 1.0"] * guarded
        assert (1.0 in [request.body["threshold"] for request in hook.requests]) == guarded


# An end


class Dripping:
    """Answers whoever connects: something at once, then byte by byte, then the rest, or nothing more."""

    def __init__(self, at_once: bytes, slowly: bytes, rest: bytes | None) -> None:
        self._parts = at_once, slowly, rest
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        with socket.create_connection(self._listening.getsockname()):  # if nobody else has come in time
            self._listening.close()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        at_once, slowly, rest = self._parts
        connected, _ = self._listening.accept()
        with connected, contextlib.suppress(OSError):  # it has left
            connected.settimeout(PATIENCE)
            connected.recv(65_536)
            connected.sendall(at_once)
            for byte in slowly:
                connected.sendall(bytes([byte]))
                self._closed.wait(0.02)
            if rest is not None:
                connected.sendall(rest)
                connected.shutdown(socket.SHUT_WR)
            while connected.recv(65_536):
                pass


REST = b"\r\nContent-Length: 0\r\n\r\n"


def brief(patch: pytest.MonkeyPatch, guarded: bool) -> None:
    """An attempt is over after 0.3 s, long before what drips; for the control each wait has all the time."""
    patch.setattr(webhook, "_TIMEOUT", 0.3)
    if not guarded:
        patch.setattr(Deadline, "left", lambda _: PATIENCE)


@GUARDED
@pytest.mark.parametrize(
    ("at_once", "slowly"),
    [
        (b"", b"HTTP/1.1 200 " + b"O" * 60),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a" * 60),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + b"HTTP/1.1 200 OK"),
    ],
    ids=["status", "header", "continue"],
)
def test_an_answer_that_drips_ends_an_attempt_in_time(
    monkeypatch: pytest.MonkeyPatch, at_once: bytes, slowly: bytes, guarded: bool
) -> None:
    brief(monkeypatch, guarded)
    with Dripping(at_once, slowly, REST) as hook:
        if guarded:
            with pytest.raises(OSError, match="timed out"):
                Webhook(hook.url).post(ALERT, "secret", 1)
        else:
            Webhook(hook.url).post(ALERT, "secret", 1)


@GUARDED
def test_a_proxy_that_drips_ends_an_attempt_in_time(monkeypatch: pytest.MonkeyPatch, guarded: bool) -> None:
    brief(monkeypatch, guarded)
    with Dripping(b"HTTP/1.1 403 ", b"o" * 60, REST) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        with pytest.raises(URLError, match="timed out" if guarded else "403"):
            Webhook("https://hooks.example.com/").post(ALERT, "secret", 1)


def test_a_handshake_that_is_not_answered_ends_an_attempt_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    brief(monkeypatch, guarded=True)
    with Dripping(b"", b"", None) as hook, pytest.raises(URLError, match="timed out"):
        Webhook(hook.url.replace("http:", "https:")).post(ALERT, "secret", 1)


def test_an_alert_has_arrived_where_the_status_says_so_whatever_becomes_of_the_body(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin, begun = http.client.HTTPResponse.begin, threading.Event()

    def begins(answer: http.client.HTTPResponse) -> None:
        begin(answer)
        begun.set()

    def left(_: Deadline) -> float:
        if begun.is_set():
            raise TimeoutError
        return PATIENCE

    monkeypatch.setattr(http.client.HTTPResponse, "begin", begins)
    monkeypatch.setattr(Deadline, "left", left)
    with Dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"", None) as hook:
        Webhook(hook.url).post(ALERT, "secret", 1)
    assert begun.is_set()


NO_FAMILY = 9_999


def leads_to(patch: pytest.MonkeyPatch, *addresses: tuple[int, Any]) -> None:
    """Every host has these, each with its family, in this order."""
    found = [(family, socket.SOCK_STREAM, 0, "", at) for family, at in addresses]
    patch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def port_of(hook: FakeProvider) -> int:
    return int(hook.base_url.removesuffix("/v1").rpartition(":")[2])


def test_a_host_whose_first_address_refuses_is_reached_at_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with FakeProvider(lambda _: Reply(body=OK)) as hook, socket.create_server(("127.0.0.1", 0)) as gone:
        nowhere = gone.getsockname()
        gone.close()
        at = ("127.0.0.1", port_of(hook))
        leads_to(monkeypatch, (socket.AF_INET, nowhere), (socket.AF_INET, at))
        Webhook(f"http://localhost:{at[1]}/").post(ALERT, "secret", 1)
        assert len(hook.requests) == 1


def test_a_host_whose_first_address_is_of_a_family_without_sockets_is_reached_at_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As that of IPv6 on a machine that has none."""
    with pytest.raises(OSError, match=os.strerror(errno.EAFNOSUPPORT)):
        socket.socket(NO_FAMILY, socket.SOCK_STREAM)
    with FakeProvider(lambda _: Reply(body=OK)) as hook:
        at = ("127.0.0.1", port_of(hook))
        leads_to(monkeypatch, (NO_FAMILY, at), (socket.AF_INET, at))
        Webhook(f"http://localhost:{at[1]}/").post(ALERT, "secret", 1)
        assert len(hook.requests) == 1


def test_a_host_with_no_address_of_a_family_with_sockets_fails_as_one_that_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leads_to(monkeypatch, (NO_FAMILY, ("127.0.0.1", 9)))
    with pytest.raises(URLError, match=os.strerror(errno.EAFNOSUPPORT)):
        Webhook("http://localhost:9/").post(ALERT, "secret", 1)
