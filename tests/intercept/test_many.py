"""Many calls at once: each leaves one row."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from openai import AsyncOpenAI, OpenAI

from farthing.testing import Reply
from intercept import many
from intercept.kit import ASK, rows_of

STREAM = {**ASK, "stream": True}


@pytest.mark.one_colour("its twin follows")
def test_threads_that_mix_whole_answers_and_streams_read_left_and_failed(provider, meter):
    barrier = threading.Barrier(6)
    provider.script(lambda request: Reply(status=500) if request.body["max_tokens"] == 500 else None)

    def work(client):
        barrier.wait()
        for _ in range(3):
            client.chat.completions.create(**ASK)
            list(client.chat.completions.create(**STREAM))
            with client.chat.completions.create(**STREAM) as stream:
                next(iter(stream))
            with pytest.raises(Exception, match="500"):
                client.chat.completions.create(**{**ASK, "max_tokens": 500})

    with OpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as client:
        meter.wrap(client, budget="$50/day")
        with ThreadPoolExecutor(6) as threads:
            list(threads.map(work, [client] * 6))
    _check(rows_of(meter), 18)


@pytest.mark.one_colour("its twin stands before it")
def test_tasks_that_mix_whole_answers_and_streams_read_left_and_failed(provider, meter):
    provider.script(lambda request: Reply(status=500) if request.body["max_tokens"] == 500 else None)

    async def work(client):
        for _ in range(3):
            await client.chat.completions.create(**ASK)
            async for _ in await client.chat.completions.create(**STREAM):
                pass
            async with await client.chat.completions.create(**STREAM) as stream:
                await anext(aiter(stream))
            with pytest.raises(Exception, match="500"):
                await client.chat.completions.create(**{**ASK, "max_tokens": 500})

    async def main():
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as client:
            meter.wrap(client, budget="$50/day")
            await asyncio.gather(*(work(client) for _ in range(6)))

    asyncio.run(main())
    _check(rows_of(meter), 18)


def _check(rows, each):
    ends = [row.outcome for row in rows]
    assert len(rows) == 4 * each
    assert ends.count("error") == each
    assert ends.count("complete") >= 2 * each  # a stream may have come whole before it was left
    assert ends.count("complete") + ends.count("aborted") == 3 * each


def test_nothing_is_kept_of_calls_that_have_ended(kit):
    engine = kit.meter.engine
    client = kit.client()
    for _ in range(3):
        kit.run(client.chat.completions.create(**ASK))
        list(kit.items(kit.run(client.chat.completions.create(**STREAM))))
    gc.collect()
    assert engine._streams == {}
    of_the_last_stream = 2 if kit.is_async else 0  # which the SDK itself keeps until its loop goes on
    assert len(engine.receipts._calls) <= of_the_last_stream
    assert not engine._overdue


@pytest.mark.slow
@pytest.mark.one_colour("threads and tasks, half of the calls each")
def test_a_campaign_leaves_one_row_a_call_and_nothing_else(tmp_path):
    done = many.campaign(560, tmp_path / "ledger.db")
    assert done.faults() == []
    assert done.made.total() == done.rows.total() == 560
    assert min(done.made.values()) == 40
    assert {"complete", "error", "unknown"} <= set(done.outcomes)


@pytest.mark.slow
@pytest.mark.one_colour("threads and tasks, half of the calls each")
def test_a_campaign_whose_calls_are_kept_or_lost_is_told_of(tmp_path, monkeypatch):
    kept = []
    calls = []

    def keeping(client):
        kept.append(bytearray(1 << 16))
        calls.append(client.chat.completions.create(**ASK))

    monkeypatch.setattr(many, "SYNC", (keeping, lambda client: None))
    monkeypatch.setattr(many, "ASYNC", (many.awhole,))
    faults = many.campaign(80, tmp_path / "ledger.db").faults()
    assert any("bytes kept for each call" in fault for fault in faults)
    assert any("<lambda>" in fault for fault in faults)
