"""WebSockets: refused under a hard budget, metered by what their servers say without one."""

from __future__ import annotations

import copy
import importlib
import inspect
import logging
import pkgutil

import openai
import openai.resources
import pytest

import farthing
from farthing import Budget, Meter, Unmeterable
from farthing.intercept import sockets
from intercept.kit import SDK, USUAL
from intercept.socket_kit import (
    HEARD_COST,
    READ,
    SOUND,
    SocketServer,
    answered,
    created,
    done,
    live,
    session,
    told,
    transcribed,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # of the SDK's beta methods, and of how it uses websockets

responses_sockets = pytest.mark.skipif(SDK < (2, 54), reason="this SDK's Responses have no WebSocket")
live_sockets = pytest.mark.skipif(SDK < (3, 52), reason="this SDK has no Live API")

TALK = (session(), created(), SOUND, done())


@pytest.fixture
def untouched():
    """What `connect` of each resource is while no client is metered, not even one that another test has left
    in a cycle or in a traceback."""
    sockets._wanting.clear()
    sockets.released()
    return connects()


@pytest.fixture
def talks():
    """A server that has one short talk with each client."""
    with SocketServer(told(*TALK)) as server:
        yield server


def client_of(kit, server, **settings):
    return kit.meter.wrap(plain_of(kit, server), **settings)


def plain_of(kit, server):
    options = dict(server.options)
    return kit.plain(options.pop("base_url"), **options)


def events_of(kit, connection, until="response.done"):
    """What a caller receives, as its types give it."""
    seen = []
    for event in kit.items(connection):
        seen.append(event)
        if event.type == until:
            return seen
    return seen


def listen(kit, client, until="response.done"):
    with kit.inside(client.realtime.connect(model="gpt-realtime")) as connection:
        return events_of(kit, connection, until)


# -- hard budgets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["attached", "standing", "stored", "scope"])
def test_a_hard_budget_refuses_before_anything_is_sent(kit, talks, ledger_path, by):
    client = client_of(kit, talks, budget="$5/day" if by == "attached" else None)
    if by == "standing":
        kit.meter.set_budget(Budget("all", 5, "day"))
    if by == "stored":
        with Meter(ledger_path) as other:
            other.set_budget(Budget("all", 5, "day"))
    with kit.meter.scope(budget="$1" if by == "scope" else None):
        manager = client.realtime.connect(model="gpt-realtime")
        with pytest.raises(Unmeterable, match=r"no money can be held.*farthing\.reserve"):
            kit.run(manager.__aenter__() if kit.is_async else manager.__enter__())
        with pytest.raises(Unmeterable):
            kit.run(manager.enter())
    assert talks.lines == []
    assert kit.rows() == []


def test_a_soft_budget_does_not_and_is_charged(kit, talks):
    kit.meter.set_budget(Budget("all", "0.001", "day", mode="soft"))
    listen(kit, client_of(kit, talks))
    assert kit.row().cost_nano == HEARD_COST
    (window,) = kit.meter.engine.ledger.windows()
    assert window.spent == HEARD_COST


def test_it_is_said_once_that_nothing_is_held(kit, talks, caplog):
    client = client_of(kit, talks)
    with caplog.at_level(logging.INFO, logger="farthing"):
        listen(kit, client)
        listen(kit, client)
    said = [r.getMessage() for r in caplog.records if "WebSocket" in r.getMessage()]
    assert said == [
        "a WebSocket (realtime.connect) is metered by what its server says: no money is held for it"
    ]


# -- what is booked -------------------------------------------------------------------------------------


def test_each_response_is_a_row_with_its_tokens_and_its_exact_cost(kit):
    with SocketServer(told(*TALK, created("resp_2"), done("resp_2"))) as server:
        client = client_of(kit, server, account="acme", tags={"team": "mint"})
        with kit.inside(client.realtime.connect(model="gpt-realtime")) as connection:
            events_of(kit, connection)
            events_of(kit, connection)
    rows = kit.rows()
    assert [row.response_id for row in rows] == ["resp_1", "resp_2"]
    for row in rows:
        assert (row.account, row.tags, row.operation, row.outcome) == (
            "acme",
            {"team": "mint"},
            "other",
            "complete",
        )
        assert (row.requested_model, row.model) == ("gpt-realtime", "gpt-realtime-2025-08-28")
        assert (row.input_tokens, row.cached_tokens, row.output_tokens) == (1000, 500, 300)
        assert (row.cost_source, row.usage_source, row.flags) == ("priced", "reported", [])
        assert (row.cost_nano, row.counted_nano) == (HEARD_COST, HEARD_COST)


@pytest.mark.parametrize("hooked", [True, False])
def test_without_the_hook_there_would_be_neither_row_nor_refusal(kit, talks, monkeypatch, hooked):
    if not hooked:
        monkeypatch.setattr(sockets, "_state_of", lambda client: None)
    listen(kit, client_of(kit, talks))
    assert len(kit.rows()) == hooked
    bound = client_of(kit, talks, budget="$5/day")
    if hooked:
        with pytest.raises(Unmeterable):
            listen(kit, bound)
    else:
        listen(kit, bound)
    assert len(kit.rows()) == hooked
    assert len(talks.lines) == 2 - hooked


def test_the_caller_receives_what_a_caller_of_a_plain_client_does(kit, talks):
    plain = listen(kit, plain_of(kit, talks))
    seen = listen(kit, client_of(kit, talks))
    assert [type(event) for event in seen] == [type(event) for event in plain]
    assert seen == plain
    assert len(seen) == len(TALK)


def test_the_connection_and_its_manager_are_of_the_types_of_the_sdk(kit, talks):
    made = plain_of(kit, talks).realtime.connect(model="gpt-realtime")
    manager = client_of(kit, talks).realtime.connect(model="gpt-realtime")
    assert isinstance(manager, type(made))
    assert type(manager).__name__ == type(made).__name__
    assert inspect.iscoroutinefunction(manager.enter) == kit.is_async
    with kit.inside(made) as plain, kit.inside(manager) as metered:
        assert type(metered) is type(plain)
        assert metered.recv_bytes.__name__ == "recv_bytes"


def test_bytes_can_be_received_as_well(kit, talks):
    with kit.inside(client_of(kit, talks).realtime.connect(model="gpt-realtime")) as connection:
        messages = [kit.run(connection.recv_bytes()) for _ in TALK]
        assert connection.parse_event(messages[-1]).type == "response.done"
    assert all(isinstance(message, bytes) for message in messages)
    assert kit.row().cost_nano == HEARD_COST


def test_a_connection_entered_without_a_block_is_metered_and_closed_by_hand(kit, talks):
    connection = kit.run(client_of(kit, talks).realtime.connect(model="gpt-realtime").enter())
    events_of(kit, connection)
    kit.run(connection.close())
    assert kit.row().cost_nano == HEARD_COST
    kit.run(connection.close())
    assert len(kit.rows()) == 1


@pytest.mark.skipif(not hasattr(openai.OpenAI, "beta"), reason="no beta")
def test_the_beta_of_realtime_is_metered_too(kit, talks):
    beta = client_of(kit, talks).beta
    if not hasattr(beta, "realtime"):
        pytest.skip("this SDK has no beta of Realtime")
    with kit.inside(beta.realtime.connect(model="gpt-4o-realtime-preview")) as connection:
        events_of(kit, connection)
    assert kit.row().requested_model == "gpt-4o-realtime-preview"


def test_a_transcription_is_a_row_at_the_prices_of_the_model_that_wrote_it_down(kit):
    by_tokens = {
        "type": "tokens",
        "input_tokens": 110,
        "output_tokens": 20,
        "total_tokens": 130,
        "input_token_details": {"audio_tokens": 100, "text_tokens": 10},
    }
    hears = {"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}
    with SocketServer(told(session(**hears), transcribed(by_tokens), done())) as server:
        listen(kit, client_of(kit, server))
    heard, said = kit.rows()
    assert (heard.operation, heard.model, heard.response_id) == (
        "transcription",
        "gpt-4o-transcribe",
        "item_9",
    )
    assert (heard.input_tokens, heard.output_tokens) == (110, 20)
    assert (heard.cost_nano, heard.cost_source) == (100 * 6_000 + 10 * 2_500 + 20 * 10_000, "priced")
    assert said.cost_nano == HEARD_COST


def test_a_transcription_may_be_billed_by_its_length(kit):
    hears = {"input_audio_transcription": {"model": "whisper-1"}}
    by_length = {"type": "duration", "seconds": 30}
    with SocketServer(told(session("session.updated", **hears), transcribed(by_length), done())) as server:
        listen(kit, client_of(kit, server))
    heard, _ = kit.rows()
    assert (heard.model, heard.cost_nano) == ("whisper-1", 30 * 100_000)


def test_a_transcription_by_nobody_knows_whom_is_of_unknown_cost(kit):
    with SocketServer(told(session(), transcribed({"type": "duration", "seconds": 30}), done())) as server:
        listen(kit, client_of(kit, server))
    heard, _ = kit.rows()
    assert (heard.requested_model, heard.cost_nano, heard.cost_source) == ("unknown", None, "unpriced")


def test_an_unknown_model_is_booked_at_an_unknown_cost(kit):
    with SocketServer(told(session(model="gpt-novel"), done())) as server:
        listen(kit, client_of(kit, server))
    row = kit.row()
    assert (row.model, row.cost_nano, row.cost_source) == ("gpt-novel", None, "unpriced")


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_response_that_states_no_usage_is_of_unknown_cost(kit, status):
    with SocketServer(told(session(), created(), done(usage=None, status=status))) as server:
        listen(kit, client_of(kit, server))
    row = kit.row()
    assert (row.outcome, row.cost_nano, row.usage_source) == ("unknown", None, "unknown")


def test_a_response_that_was_cut_off_with_its_usage_is_priced_by_it(kit):
    with SocketServer(told(session(), created(), done(status="cancelled"))) as server:
        listen(kit, client_of(kit, server))
    assert (kit.row().outcome, kit.row().cost_nano) == ("complete", HEARD_COST)


def test_a_response_that_is_left_running_is_a_row_of_unknown_cost(kit):
    with SocketServer(told(session(), created(), SOUND)) as server:
        listen(kit, client_of(kit, server), until=SOUND["type"])
    row = kit.row()
    assert (row.outcome, row.response_id, row.cost_nano) == ("aborted", "resp_1", None)
    assert row.usage_source == "unknown"


def test_a_server_that_dies_leaves_a_row_of_unknown_cost(kit):
    def dies(line):
        line.say(session(), created(), SOUND)
        line.hear()
        line.drop()

    with SocketServer(dies) as server:
        client = client_of(kit, server)
        with kit.inside(client.realtime.connect(model="gpt-realtime")) as connection:
            events_of(kit, connection, until=SOUND["type"])
            kit.run(connection.response.cancel())
            with pytest.raises(Exception, match="close frame"):
                kit.run(connection.recv())
            assert len(booked(kit)) == 1
    assert kit.row().outcome == "unknown"


def booked(kit):
    """The rows while the connection is open: what a coroutine left to the courier has been done."""
    if kit.is_async:
        kit.run(kit.meter.engine.courier.bring(lambda: None, lambda _: None))
    return kit.rows()


def test_messages_that_are_no_events_are_handed_on(kit):
    odd = [
        '"usage"',
        "[1]",
        '{"type": "response.done", "usage": 7}',
        '{"usage"',
        '{"type": "session.updated", "session": 1}',
    ]
    with SocketServer(told(*odd, *TALK)) as server:
        client = client_of(kit, server)
        with kit.inside(client.realtime.connect(model="gpt-realtime")) as connection:
            messages = [kit.run(connection.recv_bytes()).decode() for _ in odd]
            events_of(kit, connection)
    assert messages == odd
    assert kit.rows()[-1].cost_nano == HEARD_COST


def test_an_accounting_that_fails_breaks_nothing(kit, talks, monkeypatch, caplog):
    def fails(*_):
        raise RuntimeError("no")

    client = client_of(kit, talks)
    kit.meter.warm()
    monkeypatch.setattr(sockets.Talk, "hear", fails)
    monkeypatch.setattr(sockets.Talk, "end", fails)
    assert len(listen(kit, client)) == len(TALK)
    assert kit.rows() == []
    assert sum("farthing failed while" in record.getMessage() for record in caplog.records) == 2


def test_what_the_ledger_does_not_take_is_booked_with_the_next(kit, monkeypatch):
    ledger = kit.meter.engine.ledger
    record, tries = ledger.record, []

    def full_at_first(entry):
        tries.append(entry)
        if len(tries) == 1:
            raise farthing.LedgerFull("the disk is full")
        return record(entry)

    monkeypatch.setattr(ledger, "record", full_at_first)
    with (
        SocketServer(told(*TALK, created("resp_2"), done("resp_2"))) as server,
        kit.inside(client_of(kit, server).realtime.connect(model="gpt-realtime")) as connection,
    ):
        events_of(kit, connection)
        events_of(kit, connection)
    assert [row.response_id for row in kit.rows()] == ["resp_1", "resp_2"]


def test_rows_are_booked_in_the_scope_that_the_connection_was_made_in(kit, talks):
    client = client_of(kit, talks)
    with kit.meter.scope(account="bolt", tags={"job": "7"}) as run:
        connection = kit.run(client.realtime.connect(model="gpt-realtime").enter())
    with kit.meter.scope(account="other"):
        events_of(kit, connection)
        kit.run(connection.close())
    row = kit.row()
    assert (row.account, row.tags, row.run) == ("bolt", {"job": "7"}, run.run)


# -- Responses ------------------------------------------------------------------------------------------


@responses_sockets
@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete", "response.failed"])
def test_responses_over_a_socket_are_rows_of_their_own_kind(kit, kind):
    with (
        SocketServer(told(answered("response.created", usage=None), answered(kind, usage=READ))) as server,
        kit.inside(client_of(kit, server).responses.connect()) as connection,
    ):
        events_of(kit, connection, until=kind)
    row = kit.row()
    assert (row.operation, row.outcome, row.response_id) == ("responses", "complete", "resp_7")
    assert (row.requested_model, row.model) == ("gpt-4o-2024-08-06", "gpt-4o-2024-08-06")
    assert (row.cost_nano, row.service_tier) == (USUAL, "default")


@responses_sockets
def test_several_responses_at_once_are_each_booked(kit):
    events = [answered("response.created", name) for name in ("a", "b", "c")]
    events += [answered(name="b", usage=READ), answered(name="a", usage=READ)]
    with (
        SocketServer(told(*events)) as server,
        kit.inside(client_of(kit, server).responses.connect()) as connection,
    ):
        events_of(kit, connection, until="response.completed")
        events_of(kit, connection, until="response.completed")
    rows = {row.response_id: row for row in kit.rows()}
    assert (rows["a"].outcome, rows["b"].outcome, rows["c"].outcome) == ("complete", "complete", "aborted")
    assert rows["c"].cost_nano is None


@responses_sockets
def test_a_hard_budget_refuses_a_socket_of_responses(kit, talks):
    manager = client_of(kit, talks, budget="$5/day").responses.connect()
    with pytest.raises(Unmeterable, match=r"responses\.connect"):
        kit.run(manager.enter())
    assert talks.lines == []


@live_sockets
def test_sessions_of_the_sdk_over_a_socket_are_metered(kit):
    from openai.lib import responses_websocket as lib  # noqa: PLC0415  not in every SDK

    def answers(line):
        line.hear()
        line.say(answered("response.created"), answered(usage=READ))

    limits = lib.ResponsesWebSocketLimits(
        max_lanes=2, max_events_per_lane=99, max_events=99, max_bytes_per_lane=1 << 20, max_bytes=1 << 20
    )
    made = kit.pick("ResponsesWebSocketSession", "AsyncResponsesWebSocketSession")
    with (
        SocketServer(answers) as server,
        kit.inside(client_of(kit, server).responses.connect()) as connection,
        kit.inside(getattr(lib, made)(connection, limits=limits)) as lanes,
    ):
        kit.run(lanes.default.send({"type": "response.create", "model": "gpt-4o", "input": "?"}))
        final = kit.run(lanes.default.get_final_response())
    assert final.id == "resp_7"
    assert kit.row().cost_nano == USUAL


# -- Live -----------------------------------------------------------------------------------------------


@live_sockets
def test_a_live_session_is_one_row_by_the_last_sum_of_its_seconds(kit):
    events = [live("session.started"), live("session.usage.updated", seconds=10)]
    events += [live("session.usage.updated", seconds=20.5), live("session.closed", seconds=30)]
    with (
        SocketServer(told(*events)) as server,
        kit.inside(client_of(kit, server).live.connect()) as connection,
    ):
        events_of(kit, connection, until="session.closed")
    row = kit.row()
    assert (row.model, row.response_id, row.outcome) == ("gpt-live-1", "live_1", "complete")
    assert (row.cost_nano, row.cost_source, row.usage_source) == (25_000_000, "priced", "reported")


@live_sockets
def test_a_live_session_that_was_not_closed_may_have_cost_more_than_it_said(kit):
    events = [live("session.started"), live("session.usage.updated", seconds=30)]
    with (
        SocketServer(told(*events)) as server,
        kit.inside(client_of(kit, server).live.connect()) as connection,
    ):
        events_of(kit, connection, until="session.usage.updated")
        assert booked(kit) == []
    row = kit.row()
    assert (row.outcome, row.cost_nano, row.usage_source) == ("unknown", 25_000_000, "estimated")


@live_sockets
def test_a_live_session_that_said_nothing_is_of_unknown_cost(kit):
    with (
        SocketServer(told(live("session.started"))) as server,
        kit.inside(client_of(kit, server).live.connect()) as connection,
    ):
        events_of(kit, connection, until="session.started")
    assert (kit.row().outcome, kit.row().cost_nano) == ("unknown", None)


@live_sockets
def test_what_a_live_session_delegates_is_booked_apart(kit):
    answer = {"type": "response.event", "event_id": "event_8", "event": answered(usage=READ)}
    decision = {"id": "dec_1", "model": "gpt-4o", "usage": {"input_tokens": 100, "output_tokens": 10}}
    decided = {
        "type": "decision.event",
        "event_id": "event_9",
        "event": {"type": "decision.completed", "decision": decision},
    }
    closed = live("session.closed", seconds=30)
    with (
        SocketServer(told(live("session.started"), answer, decided, closed)) as server,
        kit.inside(client_of(kit, server).live.connect()) as connection,
    ):
        events_of(kit, connection, until="session.closed")
    costs = {row.response_id: (row.operation, row.cost_nano) for row in kit.rows()}
    assert costs == {
        "resp_7": ("responses", USUAL),
        "dec_1": ("other", 100 * 2_500 + 10 * 10_000),
        "live_1": ("other", 25_000_000),
    }


@live_sockets
def test_of_two_connections_to_one_session_the_opener_counts(kit):
    events = [live("session.started"), live("session.usage.updated", seconds=30)]
    with SocketServer(told(*events)) as server:
        api = client_of(kit, server).live
        with kit.inside(api.connect()) as opener:
            events_of(kit, opener, until="session.usage.updated")
            with kit.inside(api.sideband.connect(session_id="live_1")) as aside:
                events_of(kit, aside, until="session.usage.updated")
    assert len(kit.rows()) == 1
    with (
        SocketServer(told(live("session.closed", seconds=30, name="live_2"))) as server,
        kit.inside(client_of(kit, server).live.sideband.connect(session_id="live_2")) as aside,
    ):
        events_of(kit, aside, until="session.closed")
    assert [row.response_id for row in kit.rows()] == ["live_1", "live_2"]


@live_sockets
def test_a_translation_states_no_usage_and_is_of_unknown_cost(kit):
    with SocketServer(told(session(model="gpt-realtime-translate"))) as server:
        api = client_of(kit, server).realtime.translations
        with kit.inside(api.connect(model="gpt-realtime-translate")) as connection:
            events_of(kit, connection, until="session.created")
    row = kit.row()
    assert (row.operation, row.requested_model) == ("translation", "gpt-realtime-translate")
    assert (row.outcome, row.cost_nano) == ("unknown", None)


# -- clients --------------------------------------------------------------------------------------------


def test_a_resource_that_was_taken_before_wrapping_is_metered(kit, talks):
    client = plain_of(kit, talks)
    taken = client.realtime
    kit.meter.wrap(client)
    with kit.inside(taken.connect(model="gpt-realtime")) as connection:
        events_of(kit, connection)
    assert len(kit.rows()) == 1


def test_copies_are_metered(kit, talks):
    client = client_of(kit, talks, account="acme")
    for copied in (client.with_options(timeout=7), client.copy(), copy.copy(client)):
        listen(kit, copied)
    assert [row.account for row in kit.rows()] == ["acme"] * 3


def test_wrapping_twice_counts_once(kit, talks):
    client = client_of(kit, talks)
    kit.meter.wrap(client)
    kit.meter.wrap(client, account="acme")
    listen(kit, client)
    assert kit.row().account == "acme"


def test_unwrapping_gives_the_client_back_as_it_was(kit, talks, untouched):
    client = client_of(kit, talks, budget="$5/day")
    assert connects() != untouched
    kit.meter.unwrap(client)
    listen(kit, client)
    assert kit.rows() == []
    assert connects() == untouched


def test_every_client_of_the_process_is_metered_and_a_wrapped_one_once(kit, talks, untouched):
    own = client_of(kit, talks, account="own")
    kit.meter.instrument(account="all")
    try:
        listen(kit, plain_of(kit, talks))
        listen(kit, own)
        assert [row.account for row in kit.rows()] == ["all", "own"]
        kit.meter.unwrap(own)
        listen(kit, own)
        assert kit.rows()[-1].account == "all"
    finally:
        farthing.uninstrument()
    listen(kit, own)
    assert len(kit.rows()) == 3
    assert connects() == untouched


def test_a_hard_budget_of_the_process_refuses(kit, talks):
    kit.meter.instrument(budget="$5/day")
    try:
        with pytest.raises(Unmeterable):
            listen(kit, plain_of(kit, talks))
    finally:
        farthing.uninstrument()
    assert talks.lines == []


def test_a_connection_that_is_open_when_its_client_is_unwrapped_ends_as_it_began(kit, talks):
    client = client_of(kit, talks)
    with kit.inside(client.realtime.connect(model="gpt-realtime")) as connection:
        kit.meter.unwrap(client)
        events_of(kit, connection)
    assert len(kit.rows()) == 1


def test_a_switched_off_meter_leaves_sockets_alone(kit, talks):
    with Meter(":memory:", enabled=False) as off:
        listen(kit, off.wrap(plain_of(kit, talks), budget="$5/day"))
    assert len(talks.lines) == 1


def test_azure_is_metered_by_what_its_deployment_serves(kit, talks):
    made = kit.pick(openai.AzureOpenAI, openai.AsyncAzureOpenAI)
    client = made(
        api_key="sk-test",
        api_version="2025-08-28",
        azure_endpoint=f"http://{talks.place}",
        websocket_base_url=f"ws://{talks.place}/openai",
    )
    kit._clients.append(client)
    kit.meter.wrap(client)
    with kit.inside(client.realtime.connect(model="our-deployment")) as connection:
        events_of(kit, connection)
    assert "our-deployment" in talks.lines[0].path
    row = kit.row()
    assert (row.requested_model, row.model) == ("our-deployment", "gpt-realtime-2025-08-28")
    assert row.cost_nano == HEARD_COST


def connects():
    """Every `connect` of a resource of the SDK, with where it is."""
    found = {}
    for place in pkgutil.walk_packages(openai.resources.__path__, "openai.resources."):
        module = importlib.import_module(place.name)
        for name, cls in vars(module).items():
            if inspect.isclass(cls) and cls.__module__ == place.name and "connect" in vars(cls):
                found[place.name, name] = vars(cls)["connect"]
    return found


@pytest.mark.one_colour("it is about the SDK's classes, of both colours")
def test_no_connect_of_the_sdk_is_overlooked(meter, untouched):
    assert {module for module, _ in untouched} <= set(sockets.MODULES)
    client = meter.wrap(openai.OpenAI(api_key="sk-test"))
    assert all(method is not untouched[place] for place, method in connects().items())
    meter.unwrap(client)
    assert connects() == untouched
    client.close()
