"""`farthing demo`: everything that farthing is for, in a few seconds, without a key and without a network."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI, OpenAI
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from farthing import money
from farthing.errors import InsufficientCredits
from farthing.meter.meter import Meter
from farthing.records import Budget, Receipt
from farthing.testing import FakeProvider, Reply

__all__ = ["run"]

THREADS = 50
AFFORDED = 5

_WIDEST = 1_000
"""Columns of a terminal that any table fits into."""

_QUESTION: Any = [{"role": "user", "content": "Summarise this. " + "It was a dark and stormy night. " * 132}]
"""About 1,200 tokens, so that the canned usage of the provider fits the prompt."""


def run(ledger: Path | None = None, console: Console | None = None) -> None:
    """Show it all on a loopback provider, in a ledger that stays for you to look at.

    Args:
        ledger: the file to write to; a new one in a temporary folder without it.
    """
    out = console or Console(highlight=False)
    path = ledger or Path(tempfile.mkdtemp(prefix="farthing-demo-")) / "ledger.db"
    with FakeProvider() as provider, Meter(path, account="acme") as meter:
        out.print(
            f"A pretended provider answers on {provider.base_url}; the clients are OpenAI's own.\n",
            soft_wrap=True,
        )
        meter.warm()
        with OpenAI(base_url=provider.base_url, api_key="none") as plain:
            client = meter.wrap(plain)
            _plain_call(out, meter, client)
            asyncio.run(_stream(out, meter, provider))
            _broken_off(out, meter, client, provider)
            _tracked(out, meter, client)
            _burst(out, meter, provider)
        _report(out, meter)
    out.print(f"\nThe ledger is a SQLite file: {path}", soft_wrap=True)
    out.print(
        f"  sqlite3 {path} 'SELECT started_at, model, outcome, input_tokens, cached_tokens, output_tokens, "  # noqa: S608  shown, not run
        f"cost_usd FROM calls ORDER BY started_at DESC LIMIT 5'",
        soft_wrap=True,
        markup=False,
    )
    out.print(f"  farthing report --ledger {path}", soft_wrap=True)


def _plain_call(out: Console, meter: Meter, client: OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o", messages=_QUESTION, max_tokens=300)
    _line(out, "a call", meter.receipt(answer))


async def _stream(out: Console, meter: Meter, provider: FakeProvider) -> None:
    async with AsyncOpenAI(base_url=provider.base_url, api_key="none") as plain:
        client = meter.wrap(plain)
        stream = await client.chat.completions.create(
            model="gpt-4o",
            messages=_QUESTION,
            max_tokens=300,
            stream=True,
        )
        chunks = [chunk async for chunk in stream]
    _line(out, f"a stream ({len(chunks)} chunks)", meter.receipt(stream))


def _broken_off(out: Console, meter: Meter, client: OpenAI, provider: FakeProvider) -> None:
    provider.script(
        Reply("It was a dark and stormy night, and then it was not. " * 12, chunks=60, pause_after=20)
    )
    stream = client.chat.completions.create(model="gpt-4o", messages=_QUESTION, max_tokens=300, stream=True)
    with stream:
        for seen, _ in enumerate(stream, 1):
            if seen == 20:
                break
    provider.resume()
    receipt = meter.receipt(stream)
    _line(out, "a stream, broken off", receipt)
    out.print(
        f"{'':24}[dim]the provider never told its usage: the cost is an estimate, and budgets keep the "
        f"{_usd(receipt.counted)} that it may be at most[/dim]",
        soft_wrap=True,
    )


def _tracked(out: Console, meter: Meter, client: OpenAI) -> None:
    @meter.track_usage(tags={"feature": "summary"})
    def summarise(question: Any) -> str:
        answer = client.chat.completions.create(model="gpt-4o-mini", messages=question, max_tokens=300)
        return answer.choices[0].message.content or ""

    with meter.scope() as scope:
        summarise(_QUESTION)
    (receipt,) = scope.receipts()
    _line(out, "@track_usage", receipt)
    tags = ", ".join(f"{name}={value}" for name, value in receipt.tags.items())
    out.print(f"{'':24}[dim]tags: {tags}[/dim]", soft_wrap=True)


def _burst(out: Console, meter: Meter, provider: FakeProvider) -> None:
    """The same question from many threads at once, under a budget that affords a few of them."""
    upper = meter.estimate(model="gpt-4o", messages=_QUESTION, max_output_tokens=300).upper
    assert upper is not None  # noqa: S101  gpt-4o has a price
    limit = upper * AFFORDED + upper / 2
    with OpenAI(base_url=provider.base_url, api_key="none", max_retries=0) as plain:
        client = meter.wrap(plain, budget=Budget("burst", limit, "day"))
        start, refused = threading.Barrier(THREADS), threading.Semaphore(0)
        served: list[Receipt] = []
        refusals: list[InsufficientCredits] = []

        def ask() -> None:
            try:
                start.wait()
                answer = client.chat.completions.create(model="gpt-4o", messages=_QUESTION, max_tokens=300)
                served.append(meter.receipt(answer))
            except InsufficientCredits as refusal:
                refusals.append(refusal)
                refused.release()
            except threading.BrokenBarrierError:  # Ctrl-C before all were there
                pass

        def let_go() -> None:
            start.abort()
            provider.release()

        provider.clear()
        provider.hold()
        _all_at_once(ask, lambda: [refused.acquire() for _ in range(THREADS - AFFORDED)], let_go)
    spent = sum(money.parse_usd(receipt.cost) for receipt in served)
    out.print(
        f"\n{THREADS} threads ask at once, with a budget of ${limit} that affords {AFFORDED}: "
        f"[bold]{len(served)} served, {len(refusals)} refused[/bold], "
        f"{provider.most_in_flight} in flight together, {money.show(spent)} spent.",
        soft_wrap=True,
    )
    out.print(f"  InsufficientCredits: {refusals[0]}", soft_wrap=True, markup=False)


def _all_at_once(ask: Callable[[], None], wait: Callable[[], Any], let_go: Callable[[], None]) -> None:
    """Also after Ctrl-C no thread is left behind, to find its client closed."""
    threads = [threading.Thread(target=ask) for _ in range(THREADS)]
    started: list[threading.Thread] = []
    try:
        for thread in threads:
            thread.start()
            started.append(thread)
        wait()
    finally:
        let_go()
        for thread in started:
            thread.join()


def _report(out: Console, meter: Meter) -> None:
    table = Table(title="\nWhat it cost, by model", title_justify="left", title_style="bold")
    for name in ("model", "calls", "input", "cached", "output", "cost", "estimated"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for row in meter.engine.ledger.totals(("model",)):
        table.add_row(
            row.group[0],
            str(row.calls),
            f"{row.input_tokens:,}",
            f"{row.cached_tokens:,}",
            f"{row.output_tokens:,}",
            money.show(row.cost),
            str(row.estimated or ""),
        )
    wanted = Measurement.get(out, out.options.update(width=_WIDEST), table).maximum
    out.width = max(out.width, wanted)  # a narrow terminal breaks lines itself: no amount is cut
    out.print(table)


def _line(out: Console, what: str, receipt: Receipt) -> None:
    usage = receipt.usage
    assert usage is not None  # noqa: S101  each of these calls has one
    cached = f", of which {usage.cached_tokens:,} cached" if usage.cached_tokens else ""
    out.print(
        f"{what:<24}{receipt.model}: {usage.input_tokens:,} input{cached}, {usage.output_tokens:,} output -> "
        f"[bold]{_usd(receipt.cost)}[/bold] ({receipt.outcome}, {receipt.cost_source}, usage "
        f"{receipt.usage_source})",
        soft_wrap=True,
    )


def _usd(amount: Any) -> str:
    return "unknown" if amount is None else f"${amount}"
