"""The fake provider as the real SDK sees it; the clock and ids; the guards that every test stands behind."""

from __future__ import annotations

import asyncio
import http.client
import multiprocessing
import os
import pickle
import re
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.testing import FakeClock, FakeIds, FakeProvider, Reply
from farthing.testing.shapes import pieces_of, to_json

ASK = {"model": "gpt-4o", "messages": [{"role": "user", "content": "What is a farthing?"}]}
WEATHER = {"name": "get_weather", "arguments": {"city": "Paris"}}


@pytest.fixture
def client(provider):
    with openai.OpenAI(base_url=provider.base_url, api_key="test", max_retries=0, timeout=30) as made:
        yield made


def usage_of(thing) -> dict:
    return thing.usage.model_dump(exclude_none=True)


# -- shapes


def test_a_chat_completion_parses_and_states_the_default_usage(client, provider):
    answer = client.chat.completions.create(**ASK)
    assert (answer.id, answer.model, answer.object) == ("chatcmpl-000001", "gpt-4o", "chat.completion")
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert usage_of(answer) == {
        "prompt_tokens": 1200,
        "prompt_tokens_details": {"cached_tokens": 1024},
        "completion_tokens": 150,
        "completion_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 1350,
    }
    assert answer._request_id == "req_000001"
    assert provider.served == 1


def test_a_response_parses_and_spells_usage_its_own_way(client, provider):
    provider.script(
        Reply("Four make a penny.", usage={"input_tokens": 7, "output_tokens": 5, "cached_tokens": 2})
    )
    answer = client.responses.create(model="gpt-5", input="What is a farthing?")
    assert (answer.status, answer.output_text, answer.model) == ("completed", "Four make a penny.", "gpt-5")
    assert usage_of(answer) == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 2},
        "output_tokens": 5,
        "total_tokens": 12,
    }


def test_a_completion_parses(client, provider):
    provider.script(Reply("a coin"))
    answer = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="A farthing is")
    assert (answer.choices[0].text, answer.usage.total_tokens) == ("a coin", 1350)


@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}])
def test_embeddings_parse_in_both_encodings(client, encoding):
    answer = client.embeddings.create(
        model="text-embedding-3-small", input=["a", "b"], dimensions=4, **encoding
    )
    assert [item.index for item in answer.data] == [0, 1]
    if encoding.get("encoding_format") != "base64":
        assert answer.data[0].embedding == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])
    assert usage_of(answer) == {"prompt_tokens": 1200, "total_tokens": 1200}


def test_a_chat_stream_states_usage_only_when_asked(client, provider):
    provider.script(Reply("abcd", chunks=4), Reply("abcd", chunks=4))
    with client.chat.completions.create(**ASK, stream=True) as stream:
        silent = list(stream)
    with client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}) as stream:
        told = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in silent) == "abcd"
    assert len(silent) == 6
    assert all("usage" not in chunk.model_fields_set for chunk in silent)
    assert len(told) == 7
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in told[:-1])
    assert told[-1].choices == []
    assert told[-1].usage.prompt_tokens_details.cached_tokens == 1024


def test_a_completion_stream_states_usage_only_when_asked(client):
    ask = {"model": "gpt-3.5-turbo-instruct", "prompt": "A farthing is", "stream": True}
    with client.completions.create(**ask) as stream:
        assert all(chunk.usage is None for chunk in stream)
    with client.completions.create(**ask, stream_options={"include_usage": True}) as stream:
        *_, last = stream
    assert (last.choices, last.usage.total_tokens) == ([], 1350)


def test_a_response_stream_runs_from_created_to_completed(client, provider):
    provider.script(Reply("abcd", chunks=2))
    with client.responses.create(model="gpt-5", input="?", stream=True) as stream:
        events = list(stream)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type.removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert events[0].response.usage is None
    assert events[-1].response.usage.input_tokens == 1200


def test_the_sdk_assembles_both_kinds_of_stream(client, provider):
    provider.script(Reply("one two", tool_calls=[WEATHER]), Reply("one two", tool_calls=[WEATHER]))
    options = {"include_usage": True}
    with client.chat.completions.stream(**ASK, stream_options=options) as stream:
        done = stream.get_final_completion()
    with client.responses.stream(model="gpt-5", input="?") as stream:
        response = stream.get_final_response()
    call = done.choices[0].message.tool_calls[0].function
    assert (done.choices[0].message.content, call.name, call.arguments) == (
        "one two",
        "get_weather",
        '{"city":"Paris"}',
    )
    assert done.usage.total_tokens == 1350
    assert response.output_text == "one two"
    assert response.output[1].arguments == '{"city":"Paris"}'


def test_tool_calls_without_text_finish_as_tool_calls(client, provider):
    provider.script(Reply(tool_calls=[WEATHER]), Reply(tool_calls=[WEATHER]))
    choice = client.chat.completions.create(**ASK).choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert choice.message.tool_calls[0].function.name == "get_weather"
    assert client.responses.create(model="gpt-5", input="?").output[0].type == "function_call"


def test_each_choice_that_was_asked_for_comes(client):
    assert len(client.chat.completions.create(**ASK, n=3).choices) == 3
    with client.chat.completions.create(**ASK, n=3, stream=True) as stream:
        assert {chunk.choices[0].index for chunk in stream} == {0, 1, 2}


def test_an_answer_can_end_early_or_fail(client, provider):
    provider.script(
        Reply(end="incomplete"), Reply(end="incomplete"), Reply(end="failed"), Reply(end="failed")
    )
    assert client.chat.completions.create(**ASK).choices[0].finish_reason == "length"
    incomplete = client.responses.create(model="gpt-5", input="?")
    assert (incomplete.status, incomplete.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert client.responses.create(model="gpt-5", input="?").error.code == "server_error"
    with client.responses.create(model="gpt-5", input="?", stream=True) as stream:
        *_, last = stream
    assert (last.type, last.response.usage.total_tokens) == ("response.failed", 1350)


# -- what a reply may say


def test_a_count_that_is_left_out_is_not_stated(client, provider):
    provider.usage = {"input_tokens": 3, "output_tokens": 4}
    assert usage_of(client.chat.completions.create(**ASK)) == {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "total_tokens": 7,
    }


def test_a_usage_object_goes_out_as_it_is(client, provider):
    raw = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 99, "prompt_cache_hit_tokens": 7}
    provider.script(Reply(usage=raw))
    assert usage_of(client.chat.completions.create(**ASK)) == raw


def test_an_answer_can_state_no_usage(client, provider):
    provider.script(Reply(usage=None), Reply(usage=None))
    assert client.chat.completions.create(**ASK).usage is None
    assert client.responses.create(model="gpt-5", input="?").usage is None


@pytest.mark.parametrize(
    ("cost", "sent"),
    [
        (Decimal("0.10"), b'"cost":0.10}'),
        ("0.000000000000000000001", b'"cost":1E-21}'),
        ({"total_cost": Decimal("0.3")}, b'"cost":{"total_cost":0.3}}'),
    ],
)
def test_money_keeps_its_digits_on_the_wire(client, provider, cost, sent):
    provider.script(Reply(cost=cost))
    assert sent in client.chat.completions.with_raw_response.create(**ASK).content


def test_the_served_tier_is_the_asked_one_unless_the_reply_says_otherwise(client, provider):
    provider.script(Reply(), Reply(), Reply(), Reply(service_tier="default"))
    tiers = [
        client.chat.completions.create(**ASK, **asked).service_tier
        for asked in ({}, {"service_tier": "flex"}, {"service_tier": "auto"}, {"service_tier": "priority"})
    ]
    assert tiers == [None, "flex", "default", "default"]


def test_headers_and_the_serving_model_can_be_chosen(client, provider):
    provider.script(Reply(model="gpt-4o-2024-08-06", headers={"X-Request-Id": "mine", "x-more": "1"}))
    raw = client.chat.completions.with_raw_response.create(**ASK)
    assert (raw.headers["x-request-id"], raw.headers["x-more"]) == ("mine", "1")
    assert raw.parse().model == "gpt-4o-2024-08-06"


def test_bodies_and_events_are_sent_as_given(client, provider):
    provider.script(
        Reply(body={"object": "list", "data": [{"id": "m", "object": "model"}]}),
        Reply(events=['{"choices":[],"x_groq":{"id":"r"}}']),
        Reply(body=b'data: {"id":"raw","choices":[]}\n\ndata: [DONE]\n\n'),
    )
    assert [model.id for model in client.models.list()] == ["m"]
    for expected in ({"x_groq": {"id": "r"}}, {}):
        with client.chat.completions.create(**ASK, stream=True) as stream:
            (chunk,) = stream
        assert chunk.model_extra == expected


# -- errors and endings


@pytest.mark.parametrize(
    ("status", "raised"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_status_raises_what_the_sdk_raises_for_it(client, provider, status, raised, stream):
    provider.script(Reply("Not today.", status=status))
    with pytest.raises(raised, match="Not today"):
        client.chat.completions.create(**ASK, stream=stream)
    assert provider.served == 1


def test_the_sdk_retries_what_is_scripted_to_fail(client, provider):
    provider.script(
        Reply(status=429, headers={"retry-after-ms": "1"}), Reply(status=500, headers={"retry-after-ms": "1"})
    )
    client.with_options(max_retries=2).chat.completions.create(**ASK)
    assert [r.headers["x-stainless-retry-count"] for r in provider.requests] == ["0", "1", "2"]


def test_an_unknown_path_is_an_error_object(client):
    with pytest.raises(openai.NotFoundError, match=r"GET /v1/models"):
        client.models.list()


def test_a_body_that_is_no_object_is_refused(client):
    with pytest.raises(openai.BadRequestError, match="not a JSON object"):
        client.post("/chat/completions", content=b"{", cast_to=object)


def test_a_connection_can_be_cut_before_the_answer(client, provider):
    provider.script(Reply(no_answer=True))
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(**ASK)
    assert (provider.served, provider.gone, provider.in_flight) == (0, 0, 0)


def test_a_connection_can_be_cut_in_the_middle_of_a_body(client, provider):
    provider.script(Reply(die_after=0))
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(**ASK)
    assert provider.served == 0


@pytest.mark.parametrize("die_after", [0, 1, 2, 99])
def test_a_stream_dies_after_so_many_pieces(client, provider, die_after):
    provider.script(Reply("abc", chunks=3, die_after=die_after), Reply("abc", chunks=3, die_after=die_after))
    seen: list[str] = []
    with (
        client.chat.completions.create(**ASK, stream=True) as stream,
        pytest.raises(openai.APIConnectionError),
    ):
        seen.extend(chunk.choices[0].delta.content for chunk in stream)
    assert "".join(seen) == "abc"[:die_after]
    deltas: list[str] = []
    with (
        client.responses.create(model="gpt-5", input="?", stream=True) as stream,
        pytest.raises(openai.APIConnectionError),
    ):
        deltas.extend(event.delta for event in stream if event.type == "response.output_text.delta")
    assert "".join(deltas) == "abc"[:die_after]


def test_an_error_event_ends_a_stream(client, provider):
    provider.script(Reply(error_event=True), Reply(error_event={"error": {"message": "Overloaded."}}))
    for words in ("fake provider", "Overloaded"):
        with (
            client.chat.completions.create(**ASK, stream=True) as stream,
            pytest.raises(openai.APIError, match=words),
        ):
            list(stream)
    provider.script(Reply(error_event=True))
    with client.responses.create(model="gpt-5", input="?", stream=True) as stream:
        assert list(stream)[-1].type == "error"


def test_a_stream_can_lack_its_end_mark(client, provider):
    provider.script(Reply(no_done=True), Reply(no_done=True))
    with client.chat.completions.with_streaming_response.create(**ASK, stream=True) as response:
        lines = [line for line in response.iter_lines() if line]
    assert '"finish_reason":"stop"' in lines[-1]
    with client.responses.create(model="gpt-5", input="?", stream=True) as stream:
        assert list(stream)[-1].type == "response.output_item.done"


def test_a_stream_pauses_until_it_is_resumed(client, provider):
    provider.script(Reply("abc", chunks=3, pause_after=1))
    with client.chat.completions.create(**ASK, stream=True) as stream:
        chunks = iter(stream)
        assert [next(chunks).choices[0].delta.content for _ in range(2)] == ["", "a"]
        assert (provider.in_flight, provider.served) == (1, 0)
        provider.resume()
        assert [chunk.choices[0].delta.content for chunk in chunks] == ["b", "c", None]
    assert (provider.in_flight, provider.served) == (0, 1)


def test_a_client_that_has_gone_is_counted_and_breaks_nothing(client, provider):
    provider.script(Reply("x" * 50_000_000, chunks=50, piecewise=True, pause_after=1))
    with client.chat.completions.create(**ASK, stream=True) as stream:
        next(iter(stream))
    provider.resume()
    for thread in threading.enumerate():
        if thread.name.startswith("fake-provider") and thread is not provider._server._accepting:
            thread.join(30)
    assert (provider.gone, provider.served, provider.in_flight) == (1, 0, 0)
    assert client.chat.completions.create(**ASK).usage.total_tokens == 1350


# -- scripts and the log


def test_scripted_replies_come_before_the_callable_and_that_before_the_default(client, provider):
    provider.script(lambda request: Reply("odd") if request.order % 2 else None, Reply("first"))
    said = [client.chat.completions.create(**ASK).choices[0].message.content for _ in range(3)]
    assert said[0] == "first"
    assert said[2] == "odd"
    assert said[1] not in said[::2]


@pytest.mark.parametrize("broken", [lambda request: 1 / 0, lambda request: Reply(body=object())])
def test_a_broken_script_is_told_to_the_client_and_not_retried(client, provider, broken):
    provider.script(broken)
    with pytest.raises(openai.InternalServerError, match=r"script of the fake provider failed: (Zero|Type)"):
        client.with_options(max_retries=2).chat.completions.create(**ASK)
    assert len(provider.requests) == 1


def test_requests_are_logged_as_they_were_sent(client, provider):
    client.chat.completions.create(**ASK, stream=True, extra_query={"api-version": "1"}).close()
    (request,) = provider.requests
    assert (request.order, request.method, request.path) == (1, "POST", "/v1/chat/completions")
    assert (request.query, request.model, request.stream) == ("api-version=1", "gpt-4o", True)
    assert request.headers["authorization"] == "Bearer test"
    assert request.body == {**ASK, "stream": True}
    assert b"What is a farthing?" in request.raw


def test_clear_forgets_requests_counts_and_script_but_not_the_order(client, provider):
    provider.script(Reply("never"), lambda request: Reply("never"))
    provider.script(Reply("now"))
    client.chat.completions.create(**ASK)
    provider.clear()
    assert (provider.requests, provider.served, provider.most_in_flight) == ([], 0, 0)
    answer = client.chat.completions.create(**ASK)
    assert (answer.id, "never" in answer.choices[0].message.content) == ("chatcmpl-000002", False)


@pytest.mark.parametrize("wrong", [{"chunks": 0}, {"die_after": -1}, {"pause_after": -1}, {"status": 99}])
def test_a_reply_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="got"):
        Reply(**wrong)


# -- many at once


def test_answers_are_held_until_all_have_asked(client, provider):
    provider.hold()
    with ThreadPoolExecutor(50) as pool:
        calls = [pool.submit(client.chat.completions.create, **ASK) for _ in range(50)]
        assert len(provider.wait_for(50)) == 50
        assert (provider.in_flight, provider.served) == (50, 0)
        assert not any(call.done() for call in calls)
        provider.release()
        assert len({call.result().id for call in calls}) == 50
    assert (provider.most_in_flight, provider.in_flight, provider.served) == (50, 0, 50)


def test_without_hold_answers_do_not_wait_for_each_other(client, provider):
    for _ in range(20):
        client.chat.completions.create(**ASK)
    assert (provider.most_in_flight, provider.in_flight, provider.served) == (1, 0, 20)


def test_release_lets_go_of_the_first_to_come(client, provider):
    provider.hold()
    with ThreadPoolExecutor(6) as pool:
        calls = []
        for number in range(1, 5):
            calls.append(pool.submit(client.chat.completions.create, **ASK))
            provider.wait_for(number)
        provider.release(3)
        assert [call.result().id for call in calls[:3]] == [f"chatcmpl-00000{n}" for n in (1, 2, 3)]
        assert (provider.in_flight, provider.served, calls[3].done()) == (1, 3, False)
        provider.release(2)
        assert calls[3].result().id == "chatcmpl-000004"
        assert client.chat.completions.create(**ASK).id == "chatcmpl-000005"
        calls.append(pool.submit(client.chat.completions.create, **ASK))
        provider.wait_for(6)
        assert (provider.in_flight, provider.served) == (1, 5)
        provider.release()
    assert provider.served == 6


def test_waiting_in_vain_says_how_many_came(client, provider):
    client.chat.completions.create(**ASK)
    with pytest.raises(TimeoutError, match="1 of 2 requests"):
        provider.wait_for(2, timeout=0.01)


def test_two_hundred_tasks_at_once_are_all_answered(provider):
    async def ask_all():
        async with openai.AsyncOpenAI(base_url=provider.base_url, api_key="test", max_retries=0) as client:
            provider.hold()
            calls = [asyncio.create_task(client.chat.completions.create(**ASK)) for _ in range(200)]
            await asyncio.to_thread(provider.wait_for, 200)
            provider.release()
            return await asyncio.gather(*calls)

    answers = asyncio.run(ask_all())
    assert len({answer.id for answer in answers}) == 200
    assert provider.most_in_flight == 200


def test_the_async_client_streams_and_raises(provider):
    async def use():
        async with openai.AsyncOpenAI(base_url=provider.base_url, api_key="test", max_retries=0) as client:
            provider.script(Reply("abc"), Reply("abc"), Reply(status=429), Reply(die_after=1))
            async with await client.chat.completions.create(**ASK, stream=True) as stream:
                assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "abc"
            async with client.responses.stream(model="gpt-5", input="?") as stream:
                assert (await stream.get_final_response()).output_text == "abc"
            with pytest.raises(openai.RateLimitError):
                await client.chat.completions.create(**ASK)
            async with await client.chat.completions.create(**ASK, stream=True) as stream:
                with pytest.raises(openai.APIConnectionError):
                    _ = [chunk async for chunk in stream]
            assert len((await client.embeddings.create(model="e", input="a")).data) == 1

    asyncio.run(use())
    assert provider.served == 4


def test_one_connection_carries_many_requests(provider):
    connection = http.client.HTTPConnection("127.0.0.1", provider._server.port, timeout=30)
    connection.connect()
    own_end = connection.sock.getsockname()
    for _ in range(500):
        connection.request("POST", "/v1/chat/completions", to_json(ASK))
        assert connection.getresponse().read()
    assert connection.sock.getsockname() == own_end
    connection.close()
    assert (provider.served, provider.most_in_flight) == (500, 1)


# -- the wire


def talk(provider, *sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", provider._server.port), timeout=30) as sock:
        for part in sent:
            sock.sendall(part)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65_536), b""))


def test_requests_may_come_in_pieces_or_several_in_one(provider):
    body = to_json(ASK)
    one = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    assert talk(provider, *(bytes([byte]) for byte in one)).count(b"HTTP/1.1 200 OK") == 1
    assert talk(provider, one + one + one).count(b"HTTP/1.1 200 OK") == 3


@pytest.mark.parametrize(
    "sent", [b"nonsense\r\n\r\n", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
)
def test_what_has_no_stated_length_is_refused(provider, sent):
    assert talk(provider, sent).startswith(b"HTTP/1.1 411 ")
    assert provider.requests == []


def test_a_client_that_wants_to_close_is_closed(provider):
    assert talk(provider, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 404 ")


@given(st.text(max_size=40), st.integers(1, 12))
def test_pieces_make_up_the_text(text, count):
    pieces = pieces_of(text, count)
    assert (len(pieces), "".join(pieces)) == (count, text)


# -- the end of a provider


def test_closing_cuts_held_answers_and_leaves_no_thread():
    before = set(threading.enumerate())
    with (
        FakeProvider() as provider,
        openai.OpenAI(base_url=provider.base_url, api_key="t", max_retries=0) as client,
    ):
        provider.hold()
        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(client.chat.completions.create, **ASK) for _ in range(4)]
            provider.wait_for(4)
            provider.close()
            assert all(isinstance(call.exception(), openai.APIConnectionError) for call in calls)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", provider._server.port), timeout=30)
    assert set(threading.enumerate()) <= before  # those of other tests may end meanwhile
    assert (provider.served, provider.gone) == (0, 0)


def test_closing_ends_a_paused_stream():
    with (
        FakeProvider(Reply(pause_after=1)) as provider,
        openai.OpenAI(base_url=provider.base_url, api_key="test", max_retries=0) as client,
        client.chat.completions.create(**ASK, stream=True) as stream,
    ):
        next(stream)
        provider.close()
        with pytest.raises(openai.APIConnectionError):
            list(stream)


def test_a_whole_program_with_a_provider_writes_nothing_to_stderr():
    program = """
import openai
from farthing.testing import FakeProvider
with FakeProvider() as provider, openai.OpenAI(base_url=provider.base_url, api_key="test") as client:
    client.chat.completions.create(model="gpt-4o", messages=[])
    client.chat.completions.create(model="gpt-4o", messages=[], stream=True).close()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", program], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_importing_it_loads_no_sdk():
    program = "import sys, farthing.testing; sys.exit(bool({'openai', 'httpx', 'httpx2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_other_processes_ask_it_too(provider):
    program = """
import openai, sys
with openai.OpenAI(base_url=sys.argv[1], api_key="test", max_retries=0) as client:
    for _ in range(3):
        client.responses.create(model="gpt-5", input="?")
"""
    children = [subprocess.Popen([sys.executable, "-c", program, provider.base_url]) for _ in range(2)]
    assert [child.wait(60) for child in children] == [0, 0]
    assert provider.served == 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("guarded", [True, False])
def test_a_forked_child_does_not_close_its_parents_provider(client, provider, guarded):
    def close():
        if not guarded:  # the control: a child that takes itself for the owner
            provider._server._pid = os.getpid()
        provider.close()

    client.chat.completions.create(**ASK)
    child = multiprocessing.get_context("fork").Process(target=close)
    child.start()
    child.join(30)
    assert child.exitcode == 0
    if guarded:
        assert client.chat.completions.create(**ASK).id == "chatcmpl-000002"
    else:
        with pytest.raises(openai.APIConnectionError):
            client.chat.completions.create(**ASK)


# -- clock and ids


def test_the_clock_stands_until_it_is_moved():
    clock = FakeClock(start_ns=5)
    assert (clock.time_ns(), clock.monotonic_ns()) == (5, 0)
    clock.advance(1.5)
    clock.advance(Decimal("0.000000001"))
    clock.advance(timedelta(microseconds=1))
    assert (clock.time_ns(), clock.monotonic_ns()) == (1_500_001_006, 1_500_001_001)


def test_turning_the_wall_clock_lets_no_time_pass():
    clock = FakeClock()
    clock.advance(2)
    clock.set(datetime(2026, 3, 1, tzinfo=timezone(timedelta(hours=1))))
    assert datetime.fromtimestamp(clock.time_ns() / 1e9, UTC) == datetime(2026, 2, 28, 23, tzinfo=UTC)
    assert clock.monotonic_ns() == 2_000_000_000
    assert repr(clock) == "FakeClock(2026-02-28T23:00:00+00:00)"


def test_the_clock_refuses_what_has_no_meaning():
    with pytest.raises(ValueError, match="backwards"):
        FakeClock().advance(-1)
    with pytest.raises(ValueError, match="no time zone"):
        FakeClock().set(datetime(2026, 1, 1))  # noqa: DTZ001 (that is the point)


@given(st.integers(0, 10**6), st.integers(0, 999_999_999))
def test_the_clock_advances_exactly(seconds, ns):
    clock = FakeClock(0)
    clock.advance(Decimal(f"{seconds}.{ns:09d}"))
    assert clock.time_ns() == clock.monotonic_ns() == seconds * 10**9 + ns


def test_ids_rise_at_a_fixed_width_and_end_before_they_would_not():
    ids = FakeIds("run", width=2)
    made = [ids() for _ in range(99)]
    assert made[:2] == ["run-01", "run-02"]
    assert made == sorted(made)
    with pytest.raises(OverflowError, match="2 digits"):
        ids()


def test_clock_and_ids_can_be_used_by_many_threads():
    clock, ids = FakeClock(0), FakeIds()

    def step(_):
        clock.advance(1)
        return ids()

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(step, range(800)))
    assert len(set(made)) == 800
    assert clock.time_ns() == 800 * 10**9


def test_pickled_clock_and_ids_go_on_where_they_stood():
    clock, ids = FakeClock(7), FakeIds("a")
    clock.advance(1)
    ids()
    other_clock, other_ids = pickle.loads(pickle.dumps((clock, ids)))
    clock.advance(1)
    assert (other_clock.time_ns(), other_clock.monotonic_ns()) == (1_000_000_007, 1_000_000_000)
    assert (ids(), other_ids()) == ("a-000002", "a-000002")


# -- the guards of this suite


@pytest.mark.parametrize(
    "reach",
    [
        lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
        lambda: socket.create_connection(("api.openai.com", 443), timeout=1),
        lambda: socket.getaddrinfo(b"example.org", 80),
    ],
)
def test_nothing_reaches_beyond_this_machine(reach, network_tries):
    with pytest.raises(AssertionError, match="stay on this machine"):
        reach()
    assert len(network_tries) == 1
    network_tries.clear()


def test_a_client_without_a_base_url_cannot_call_out(network_tries):
    hidden_by_openai_1_and_2 = openai.APIConnectionError
    with (
        openai.OpenAI(api_key="t", max_retries=0) as client,
        pytest.raises((AssertionError, hidden_by_openai_1_and_2)),
    ):
        client.models.list()
    assert network_tries == ["getaddrinfo('api.openai.com')"]
    network_tries.clear()


def test_a_test_that_hides_the_refusal_fails_and_its_neighbour_does_not(tmp_path):
    (tmp_path / "test_it.py").write_text("""
import contextlib, socket

def test_hides_it():
    with contextlib.suppress(BaseException):
        socket.create_connection(("192.0.2.1", 80))

def test_harmless():
    assert True
""")
    run = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "conftest",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
    ]
    path = os.pathsep.join(
        [str(Path(__file__).parent), *map(str, map(Path.resolve, map(Path, filter(None, sys.path))))]
    )
    done = subprocess.run(
        [*run, str(tmp_path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        check=False,
    )
    assert b"2 passed, 1 error" in done.stdout
    assert b"ERROR test_it.py::test_hides_it - conftest.NetworkRefused" in done.stdout


def test_a_socket_that_only_asks_for_an_error_code_is_refused_too(network_tries):
    with socket.socket() as sock, pytest.raises(AssertionError, match=r"connect_ex\('192\.0\.2\.1'\)"):
        sock.connect_ex(("192.0.2.1", 80))
    network_tries.clear()


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")
def test_unix_sockets_and_loopback_names_pass(provider, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path may be no longer than about 100 bytes
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as sock:
        server.bind("s")
        server.listen()
        sock.connect("s")
    socket.create_connection(("localhost", provider._server.port), timeout=30).close()


def test_every_test_has_an_empty_home_and_no_keys(home, ledger_path):
    assert Path("~").expanduser() == home
    assert list(home.iterdir()) == []
    assert not ledger_path.exists()
    assert not [name for name in os.environ if name.startswith(("OPENAI_", "FARTHING_"))]


def test_the_examples_of_the_documentation_run():
    page = Path(__file__).parent.parent / "docs" / "testing.md"
    examples = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    assert len(examples) >= 5
    for example in examples:
        exec(compile(example, str(page), "exec"), {})
