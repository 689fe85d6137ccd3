"""Streams that their callers leave: settled once, promptly, at what may have been billed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading

import pytest
from openai import AsyncOpenAI, OpenAI

from farthing.testing import Reply
from intercept.kit import ASK, USUAL, rows_of

STREAM = {**ASK, "stream": True}


def _stream(kit, **more):
    kit.provider.script(Reply(piecewise=True, pause_after=1, **more))
    return kit.run(kit.client().chat.completions.create(**STREAM))


def _aborted(row):
    assert (row.outcome, row.usage_source, row.cost_source) == ("aborted", "estimated", "priced")
    assert row.counted_nano == row.held_nano > row.cost_nano > 0  # a server that nobody knows may go on
    return True


def test_with_and_break(kit):
    with kit.inside(_stream(kit)) as stream:
        for _ in kit.items(stream):
            break
    assert _aborted(kit.row())
    assert kit.meter.receipt(stream).outcome == "aborted"


def test_close_twice(kit):
    stream = _stream(kit)
    next(kit.items(stream))
    kit.run(stream.close())
    kit.run(stream.close())
    assert _aborted(kit.row())


def test_closing_the_response(kit):
    stream = _stream(kit)
    kit.close(stream.response)
    assert _aborted(kit.row())


def test_an_exception_in_the_consumer(kit):
    with contextlib.suppress(ZeroDivisionError), kit.inside(_stream(kit)) as stream:
        for _ in kit.items(stream):
            1 / 0  # noqa: B018
    assert _aborted(kit.row())


def test_a_bare_break_is_settled_when_it_is_collected(kit):
    kit.watch_bookings()
    stream = _stream(kit)
    items = kit.items(stream)
    next(items)
    items.close()
    del stream, items
    gc.collect()
    kit.wait_booked()
    assert _aborted(kit.row())


def test_a_stream_that_is_never_read_is_settled_when_it_is_collected(kit):
    kit.watch_bookings()
    stream = _stream(kit)
    del stream
    gc.collect()
    kit.wait_booked()
    assert _aborted(kit.row())


@pytest.mark.one_colour("an asynchronous generator is closed by its loop, whenever that runs")
def test_reports_book_what_was_collected_before_they_read(meter, provider):
    meter.engine._keeper = threading.Thread()  # which is never started: nobody is faster
    with OpenAI(base_url=provider.base_url, api_key="k") as client, meter.scope() as run:
        stream = meter.wrap(client).chat.completions.create(**STREAM)
        del stream
        gc.collect()
        assert run.calls == 1
    assert _aborted(rows_of(meter)[0])


def test_a_response_left_at_its_last_event_is_complete(kit):
    stream = kit.run(
        kit.client().responses.create(model="gpt-4o", input="hi", max_output_tokens=2_000, stream=True)
    )
    for event in kit.items(stream):
        if event.type == "response.completed":
            break
    kit.run(stream.close())
    assert (kit.row().outcome, kit.row().cost_nano) == ("complete", USUAL)


def test_what_was_seen_counts_with_a_margin_where_the_provider_is_known_to_stop(kit, monkeypatch):
    monkeypatch.setattr(kit.meter.engine, "knows", lambda base_url: True)
    with kit.inside(_stream(kit, text="a farthing is a quarter of a penny " * 8)) as stream:
        for chunk in kit.items(stream):
            if chunk.choices[0].delta.content:
                break
    row = kit.row()
    assert row.outcome == "aborted"
    assert row.cost_nano < row.counted_nano < row.held_nano
    prompt = 2_500 * row.input_tokens
    assert row.counted_nano == prompt + (row.cost_nano - prompt) * 6 // 5


def test_a_reasoning_model_that_is_left_counts_its_hold(kit, monkeypatch):
    monkeypatch.setattr(kit.meter.engine, "knows", lambda base_url: True)
    kit.provider.script(Reply(piecewise=True, pause_after=1))
    client = kit.client()
    ask = {"model": "gpt-5", "messages": ASK["messages"], "max_completion_tokens": 900, "stream": True}
    with kit.inside(kit.run(client.chat.completions.create(**ask))) as stream:
        next(kit.items(stream))
    assert _aborted(kit.row())


@pytest.mark.one_colour("only tasks are cancelled")
@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_a_task_that_is_cancelled_in_mid_stream(provider, meter, how):

    async def read(client, arrived):
        stream = await client.chat.completions.create(**STREAM)
        async for _ in stream:
            arrived()

    async def main():
        provider.script(Reply(piecewise=True, pause_after=1))
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as client:
            meter.wrap(client)
            if how == "cancel":
                arrived = asyncio.Event()
                task = asyncio.create_task(read(client, arrived.set))
                await arrived.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            else:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(None) as limit:
                        await read(client, lambda: limit.reschedule(0))

    asyncio.run(main())
    meter.engine.courier.stop()
    (row,) = rows_of(meter)
    assert _aborted(row)


@pytest.mark.one_colour("only tasks are cancelled")
def test_a_task_that_is_cancelled_before_its_answer_may_have_cost_its_hold(provider, meter):

    async def main():
        provider.hold()
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as client:
            task = asyncio.create_task(meter.wrap(client).chat.completions.create(**ASK))
            await asyncio.to_thread(provider.wait_for, 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    meter.engine.courier.stop()
    (row,) = rows_of(meter)
    assert (row.outcome, row.error) == ("unknown", "CancelledError")
    assert row.counted_nano == row.held_nano


@pytest.mark.one_colour("collections run on whichever thread holds the ledger; coroutines never do")
def test_a_stream_that_is_collected_while_its_thread_writes_the_ledger_is_booked_afterwards(provider, meter):
    meter.engine._keeper = threading.Thread()  # which is never started: nobody is faster
    with OpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as client:
        meter.wrap(client)
        provider.script(Reply(piecewise=True, pause_after=1))
        stream = client.chat.completions.create(**STREAM)
        next(iter(stream))
        ledger = meter.engine.ledger
        inside = ledger._reserve

        def collecting(conn, want):
            gc.collect()  # closes the stream in this thread, which is writing
            return inside(conn, want)

        ledger._reserve = collecting
        gc.disable()
        try:
            del stream
            client.chat.completions.create(**ASK)
        finally:
            gc.enable()
            del ledger._reserve
        meter.engine.sweep()
    first, second = rows_of(meter)
    assert _aborted(first)
    assert second.cost_nano == USUAL
