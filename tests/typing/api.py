"""What users' type checkers see. Never run: mypy and pyright check it, both strictly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from decimal import Decimal
from typing import Literal, assert_type

from openai import AsyncOpenAI, AzureOpenAI, OpenAI

import farthing
from farthing import (
    Affordability,
    Budget,
    Candidate,
    Cost,
    Estimate,
    Hold,
    InsufficientCredits,
    Meter,
    Receipt,
    Scope,
    Usage,
)
from farthing.answers import BudgetState, Corrected, Spend, Summary
from farthing.testing import FakeClock, FakeIds, FakeProvider

# -- clients keep their type -------------------------------------------------------------------------

assert_type(farthing.wrap(OpenAI()), OpenAI)
assert_type(farthing.wrap(AsyncOpenAI(), account="acme", tags={"user": "u1"}, budget="$5/day"), AsyncOpenAI)
assert_type(farthing.unwrap(farthing.wrap(OpenAI())), OpenAI)
farthing.instrument(account="acme", tags={"user": "u1"}, budget="$5/day", name="batch", pin=True)
farthing.uninstrument()

meter = Meter(":memory:", budgets=[Budget("house", "100", "month")], clock=FakeClock(), ids=FakeIds())
assert_type(meter.wrap(AzureOpenAI(), name="batch", pin=True), AzureOpenAI)
assert_type(farthing.configure(account="acme"), Meter)
assert_type(farthing.default_meter(), Meter)

# -- decorated functions keep their signature --------------------------------------------------------


@farthing.track_usage
def bare(text: str, *, times: int = 1) -> str:
    return text * times


@farthing.track_usage(account="acme", tags={"feature": "summary"}, budget="$0.50", estimate="0.01")
def given(text: str, *, times: int = 1) -> str:
    return text * times


def dearest(text: str) -> Decimal:
    return Decimal(len(text)) / 1000


@meter.track_usage(budget=Budget("per entry", Decimal("0.5"), "run"), estimate=dearest)
async def coroutine(text: str) -> int:
    await asyncio.sleep(0)
    return len(text)


@meter.track_usage
def generator(count: int) -> Iterator[int]:
    yield from range(count)


def counted(last: int) -> Usage:
    return Usage(input_tokens=last)


@meter.track_usage(usage=counted)
async def async_generator(count: int) -> AsyncIterator[int]:
    yield count


class Agent:
    @farthing.track_usage
    def method(self, text: str) -> bytes:
        return text.encode()

    @farthing.track_usage(budget="$2/run")
    async def amethod(self, text: str) -> bytes:
        return text.encode()

    @classmethod
    @farthing.track_usage
    def outside(cls, text: str) -> Agent:
        return cls()

    @staticmethod
    @farthing.track_usage(account="acme")
    def static(text: str) -> float:
        return float(text)


def passed_on(fn: Callable[[str], Awaitable[int]]) -> None:
    assert_type(fn, Callable[[str], Awaitable[int]])


def functions() -> None:
    assert_type(bare("a", times=2), str)
    assert_type(given("a"), str)
    assert_type(list(generator(3)), list[int])
    assert_type(Agent().method("a"), bytes)
    assert_type(Agent.outside("a"), Agent)
    assert_type(Agent.static("1"), float)
    passed_on(coroutine)

    bare(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    given("a", often=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Agent().method(b"a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    farthing.track_usage(acount="acme")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


async def coroutines() -> None:
    assert_type(await coroutine("a"), int)
    assert_type(await Agent().amethod("a"), bytes)
    assert_type([item async for item in async_generator(1)], list[int])


# -- what is asked and answered ----------------------------------------------------------------------


def answers(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "?"}])
    receipt = farthing.receipt(answer)
    assert_type(receipt, Receipt)
    assert_type(farthing.receipt(answer, None), Receipt | None)
    assert_type(meter.receipt(answer), Receipt)
    assert_type(receipt.cost, Decimal | None)
    assert_type(receipt.usage, Usage | None)
    assert_type(receipt.breakdown, Cost | None)
    assert_type(receipt.context, Literal["customer", "system"])

    assert_type(farthing.estimate(model="gpt-4o", messages=[], max_output_tokens=9), Estimate)
    assert_type(farthing.estimate(model="gpt-4o").upper, Decimal | None)
    assert_type(farthing.can_afford("0.01"), Affordability)
    assert_type(farthing.cheapest(["gpt-4o", "gpt-4o-mini"], messages=[]), list[Candidate])
    assert_type(farthing.cost_of(answer, provider="openai"), Cost)
    assert_type(farthing.record(model="gpt-4o", usage=Usage(input_tokens=1)), Receipt)


def scopes() -> None:
    with farthing.scope(account="acme", budget="$0.10", name="agent") as run:
        assert_type(run, Scope)
    assert_type(run.cost, Decimal)
    assert_type(run.calls, int)
    assert_type(run.remaining, Decimal | None)
    assert_type(run.receipts(), list[Receipt])
    assert_type(run.bind(bare)("a", times=2), str)
    with farthing.using(meter) as used:
        assert_type(used, Meter)
    with meter as entered:
        assert_type(entered, Meter)


async def ascopes() -> None:
    async with meter.scope() as run:
        assert_type(run, Scope)
    assert_type(await farthing.acan_afford(model="gpt-4o"), Affordability)
    assert_type(await farthing.arecord(model="gpt-4o", usage={"input_tokens": 1}), Receipt)
    assert_type(await farthing.acorrect("id", void=True, reason="not billed"), Receipt)
    assert_type(await farthing.areserve(model="gpt-4o", amount="0.5"), Hold)
    assert_type((await meter.areprice(model="gpt-*", dry_run=True)).changed, int)
    await meter.aclose()


def reports() -> None:
    assert_type(farthing.reports.spend(by=("day", "model")), list[Spend])
    assert_type(meter.reports.top(n=3)[0].cost, Decimal | None)
    assert_type(farthing.reports.summary(), Summary)
    assert_type(farthing.reports.budgets(), list[BudgetState])
    assert_type(farthing.correct("id", cost="0.1", reason="the invoice"), Receipt)
    assert_type(meter.correct("id", void=True, reason="not billed"), Receipt)
    assert_type(farthing.reports.corrections("id"), list[Corrected])
    assert_type(farthing.reports.uncertain(), list[Receipt])
    assert_type(meter.reprice(model="gpt-*", dry_run=True).changed, int)
    for receipt in farthing.reports.records(account="acme"):
        assert_type(receipt, Receipt)


async def areports() -> None:
    assert_type(await farthing.reports.aspend(by="account"), list[Spend])


def holds() -> None:
    with farthing.reserve(model="gpt-4o", input_tokens=10, max_output_tokens=10) as hold:
        assert_type(hold, Hold)
        hold.sent()
        assert_type(hold.settle(Usage(input_tokens=10, output_tokens=3)), Receipt)


def limits() -> None:
    assert_type(Budget.parse("$5/day"), Budget)
    assert_type(Budget("house", 5).limit, Decimal)
    Budget("house", "5", "fortnight")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    farthing.set_budget(Budget("per user", "0.20", "day", per="tag:user", mode="soft"))
    assert_type(farthing.budgets(), list[Budget])
    assert_type(farthing.budget("house"), Budget)
    assert_type(farthing.remove_budget("house"), bool)
    try:
        farthing.can_afford(1)
    except InsufficientCredits as refusal:
        assert_type(refusal.required, Decimal | None)
        assert_type(refusal.retry_after, float | None)


def provider() -> None:
    with FakeProvider() as fake:
        assert_type(fake.base_url, str)
