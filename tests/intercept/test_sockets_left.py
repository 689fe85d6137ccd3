"""WebSockets whose end nobody tells of, and accounting that must not hold up whoever reads them."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from farthing.intercept import sockets_watched
from intercept.kit import SDK, Kit
from intercept.socket_kit import HEARD_COST, SOUND, SocketServer, created, done, session, told

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of how the SDK uses websockets

PATIENCE = 30


@pytest.fixture
def half():
    """A server that begins to answer and does not end."""
    with SocketServer(told(session(), created(), SOUND)) as server:
        yield server


def client_of(kit, server, **settings):
    options = dict(server.options)
    return kit.meter.wrap(kit.plain(options.pop("base_url"), **options), **settings)


def take(kit, connection, count):
    """So many events."""
    return [kit.run(connection.recv()) for _ in range(count)]


def test_a_connection_that_is_collected_is_booked(kit, half, monkeypatch):
    booked = threading.Event()
    book = sockets_watched._Books.book

    def book_and_tell(self, calls):
        book(self, calls)
        if calls:
            booked.set()

    monkeypatch.setattr(sockets_watched._Books, "book", book_and_tell)
    connection = kit.run(client_of(kit, half).realtime.connect(model="gpt-realtime").enter())
    take(kit, connection, 3)
    kit.run(connection._connection.close())
    del connection
    gc.collect()
    assert booked.wait(PATIENCE)
    assert [(row.response_id, row.outcome, row.cost_nano) for row in kit.rows()] == [
        ("resp_1", "aborted", None)
    ]


def test_a_meter_that_is_closed_books_what_is_open(kit, half):
    connection = kit.run(client_of(kit, half).realtime.connect(model="gpt-realtime").enter())
    take(kit, connection, 3)
    kit.meter.close()
    assert kit.row().outcome == "aborted"
    kit.run(connection.close())
    assert len(kit.rows()) == 1


PROGRAM = """
import asyncio, sys
from openai import AsyncOpenAI, OpenAI
from farthing import Meter

colour, path, base_url, websocket_base_url = sys.argv[1:]
meter = Meter(path)
options = {"api_key": "sk-test", "base_url": base_url, "websocket_base_url": websocket_base_url}

def talk():
    connection = meter.wrap(OpenAI(**options)).realtime.connect(model="gpt-realtime").enter()
    for _ in range(3):
        connection.recv()
    return connection

async def atalk():
    connection = await meter.wrap(AsyncOpenAI(**options)).realtime.connect(model="gpt-realtime").enter()
    for _ in range(3):
        await connection.recv()
    return connection

kept = talk() if colour == "sync" else asyncio.run(atalk())
"""


def test_a_program_that_ends_with_an_open_connection_books_it(kit, half, ledger_path):
    colour = kit.pick("sync", "async")
    options = half.options
    command = [sys.executable, "-c", PROGRAM, colour, ledger_path, options["base_url"]]
    ran = subprocess.run(
        [*command, options["websocket_base_url"]], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    row = kit.row()
    assert (row.outcome, row.requested_model, row.cost_nano) == ("aborted", "gpt-realtime", None)


@pytest.mark.skipif(SDK < (2, 54), reason="this SDK does not connect again")
def test_a_connection_that_is_made_again_goes_on_being_metered(kit):
    def script(line):
        line.say(session(), created(f"resp_{len(server.lines)}"))
        if len(server.lines) == 1:
            line.hear()
            line.drop()
        else:
            line.say(done("resp_2"))

    with SocketServer(script) as server:
        client = client_of(kit, server)
        manager = client.realtime.connect(
            model="gpt-realtime", on_reconnecting=lambda _: None, initial_delay=0.01
        )
        with kit.inside(manager) as connection:
            take(kit, connection, 2)
            kit.run(connection.response.cancel())
            for event in kit.items(connection):
                if event.type == "response.done":
                    break
    rows = {row.response_id: row for row in kit.rows()}
    assert (rows["resp_1"].outcome, rows["resp_1"].cost_nano) == ("unknown", None)
    assert (rows["resp_2"].outcome, rows["resp_2"].cost_nano) == ("complete", HEARD_COST)
    assert len(server.lines) == 2


@contextlib.contextmanager
def locked(path):
    """Another program writes to the ledger."""
    with Path(f"{path}.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.mark.one_colour("a thread may wait for the ledger")
def test_a_coroutine_receives_while_the_ledger_cannot_be_written(provider, meter, ledger_path):
    kit = Kit("async", provider, meter)
    meter.warm()
    with SocketServer(told(session(), created(), done(), SOUND)) as server:
        client = client_of(kit, server)

        async def talk():
            async with client.realtime.connect(model="gpt-realtime") as connection:
                with locked(ledger_path):
                    return [(await connection.recv()).type for _ in range(4)]

        seen = kit.run(talk())
    kit.finish()
    assert seen[-2:] == ["response.done", SOUND["type"]]
    assert kit.row().cost_nano == HEARD_COST


@pytest.mark.one_colour("a thread may wait for the ledger")
@pytest.mark.parametrize("aside", [True, False])
def test_no_coroutine_writes_the_ledger_itself(provider, meter, monkeypatch, aside):
    kit = Kit("async", provider, meter)
    meter.warm()
    if not aside:
        monkeypatch.setattr(sockets_watched._Books, "post", lambda self, calls: self.book(calls))
    ledger, writers = meter.engine.ledger, set()
    record = ledger.record

    def record_and_tell(entry):
        writers.add(threading.current_thread())
        return record(entry)

    monkeypatch.setattr(ledger, "record", record_and_tell)
    with SocketServer(told(session(), created(), done(), created("resp_2"))) as server:
        client = client_of(kit, server)
        with kit.inside(client.realtime.connect(model="gpt-realtime")) as connection:
            take(kit, connection, 4)
    kit.finish()
    assert len(kit.rows()) == 2
    assert (threading.current_thread() not in writers) == aside


@pytest.mark.one_colour("threads are not cancelled")
def test_a_task_that_is_cancelled_while_it_receives_loses_no_event(provider, meter):
    kit = Kit("async", provider, meter)
    may_go = threading.Event()

    def script(line):
        line.say(session())
        assert may_go.wait(PATIENCE)
        line.say(created(), done())

    with SocketServer(script) as server:
        client = client_of(kit, server)

        async def talk():
            async with client.realtime.connect(model="gpt-realtime") as connection:
                await connection.recv()
                reader = asyncio.create_task(connection.recv())
                await asyncio.sleep(0)
                reader.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reader
                may_go.set()
                return [(await connection.recv()).type for _ in range(2)]

        assert kit.run(talk()) == ["response.created", "response.done"]
    kit.finish()
    assert kit.row().cost_nano == HEARD_COST


def test_a_function_in_which_a_socket_is_used_is_not_booked_itself(kit):
    with SocketServer(told(session(), done())) as server:
        client = client_of(kit, server)

        @kit.meter.track_usage(account="acme")
        def talk():
            with kit.inside(client.realtime.connect(model="gpt-realtime")) as connection:
                take(kit, connection, 2)
            return {"model": "gpt-4o", "usage": {"input_tokens": 10, "output_tokens": 10}}

        talk()
    row = kit.row()
    assert (row.account, row.cost_nano) == ("acme", HEARD_COST)
    assert row.tags["function"].endswith("talk")
