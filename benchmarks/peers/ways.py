# ruff: noqa: PLC0415  each of them is installed in an environment of its own
"""How each library is put in front of a client, as its own documentation says, with a limit in US dollars.

Each way is a context manager that takes a plain client and a limit, and gives what makes a call and what says
how much the library thinks was spent. Nothing of the libraries is imported until its way is taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

__all__ = ["WAYS", "Way"]

Call = Callable[..., Any]
Told = Callable[[], object]
Way = Callable[[Any, str], contextlib.AbstractContextManager[tuple[Call, Told]]]


@contextlib.contextmanager
def farthing(client: Any, limit: str) -> Iterator[tuple[Call, Told]]:
    import farthing

    folder = tempfile.mkdtemp()
    with farthing.Meter(f"{folder}/ledger.db", durability="fast") as meter:
        meter.warm()
        budget = farthing.Budget("all", Decimal(limit), "total")
        wrapped = meter.wrap(client, budget=budget)

        yield wrapped.chat.completions.create, lambda: meter.reports.summary().total_cost_usd


@contextlib.contextmanager
def shekel(client: Any, limit: str) -> Iterator[tuple[Call, Told]]:
    from shekel import budget

    with budget(max_usd=float(limit)) as bound:
        yield client.chat.completions.create, lambda: bound.spent


@contextlib.contextmanager
def agentbudget(client: Any, limit: str) -> Iterator[tuple[Call, Told]]:
    from agentbudget import AgentBudget, wrap_client

    # Calls that are alike are what is measured, and no loop of an agent's.
    with AgentBudget(max_spend=f"${limit}", max_repeated_calls=1_000_000).session() as session:
        yield wrap_client(client, session).chat.completions.create, lambda: session.spent


@contextlib.contextmanager
def llm_cost_guard(client: Any, limit: str) -> Iterator[tuple[Call, Told]]:
    from llm_cost_guard import CostTracker
    from llm_cost_guard.budget import Budget, BudgetAction
    from llm_cost_guard.clients import TrackedOpenAI

    whole = Budget(name="all", limit=float(limit), period="day", action=BudgetAction.BLOCK)
    tracker = CostTracker(budgets=[whole], audit_enabled=False)
    wrapped = TrackedOpenAI(tracker=tracker, client=client)
    yield wrapped.chat.completions.create, lambda: tracker._budget_tracker.get_spending("all")


@contextlib.contextmanager
def tokencap(client: Any, limit: str) -> Iterator[tuple[Call, Told]]:
    """It counts tokens: the limit is that of as many calls of 500 tokens and $0.002 as the money affords."""
    import tokencap

    wrapped = tokencap.wrap(client, limit=int(Decimal(limit) / Decimal("0.002") * 500), quiet=True)
    yield wrapped.chat.completions.create, lambda: "tokens"
    tokencap.teardown()


@contextlib.contextmanager
def backstop_ai(client: Any, limit: str) -> Iterator[tuple[Call, Told]]:
    from backstop import Backstop, BackstopConfig

    config = BackstopConfig(ledger_enabled=False)
    wrapped = Backstop.wrap(client, budget=None, budget_usd=Decimal(limit), config=config)
    yield wrapped.chat.completions.create, lambda: wrapped._backstop_state.budget.spent_usd


@contextlib.contextmanager
def paygent(client: Any, limit: str) -> Iterator[tuple[Call, Told]]:
    from paygent import Paygent, paygent_context
    from paygent.models import ModelCostRate, PlanConfig

    guard = Paygent.init()
    rates = {"gpt-4o": ModelCostRate(input=0.0025, output=0.01)}
    plan = PlanConfig(max_spend_per_period=float(limit), cost_rates=rates)
    guard.start_session("user", plan="plan", plan_config=plan)

    def call(**arguments: Any) -> Any:
        with paygent_context(user_id="user"):
            return client.chat.completions.create(**arguments)

    yield call, lambda: guard.get_usage("user").period_cost


@contextlib.contextmanager
def agentguard47(client: Any, limit: str) -> Iterator[tuple[Call, Told]]:
    from agentguard import BudgetGuard, JsonFileStateStore, Tracer, patch_openai, unpatch_openai

    store = JsonFileStateStore(str(Path(tempfile.mkdtemp(), "state")))
    guard = BudgetGuard(max_cost_usd=float(limit), store=store, key="all")
    patch_openai(Tracer(), budget_guard=guard)
    copy = client.with_options()  # it patches clients when they are made
    yield copy.chat.completions.create, lambda: guard.state.cost_used
    unpatch_openai()


@contextlib.contextmanager
def snipz(client: Any, limit: str) -> Iterator[tuple[Call, Told]]:
    """It wraps no client: the caller states what a call will cost, here exactly what it does. It is for
    coroutines: a loop of its own runs in another thread."""
    from snipz import Budget, Scope

    cents, scope = Decimal("0.2"), Scope("user", "user")
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    budget = Budget(str(Path(tempfile.mkdtemp(), "snipz.db")))

    def wait(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    async def guarded(arguments: dict[str, Any]) -> Any:
        async with await budget.reserve(scope, cents) as reserved:
            answer = await asyncio.to_thread(client.chat.completions.create, **arguments)
            await reserved.observe(cents)
            return answer

    wait(budget.migrate())
    wait(budget.set_limit(scope, Decimal(limit) * 100))
    yield lambda **arguments: wait(guarded(arguments)), lambda: "the caller's"
    wait(budget.close())
    loop.call_soon_threadsafe(loop.stop)


WAYS: dict[str, Way] = {
    "farthing": farthing,
    "shekel": shekel,
    "agentbudget": agentbudget,
    "llm-cost-guard": llm_cost_guard,
    "tokencap": tokencap,
    "backstop-ai": backstop_ai,
    "paygent": paygent,
    "agentguard47": agentguard47,
    "snipz": snipz,
}
"""By the name of the package."""
