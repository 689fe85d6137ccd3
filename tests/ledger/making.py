"""Calls, settlements and budgets for the tests of ledgers, and the same in other processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from farthing.ledger import Ledger, open_ledger
from farthing.ledger.calls.summing import Summing
from farthing.ledger.store import Bound, Entry, Grant, Reservation, Settlement, StandingBudget
from farthing.records import Budget, Rates, Usage

NOON = 1_790_000_000 * 10**9 // 86_400_000_000_000 * 86_400_000_000_000 + 43_200 * 10**9
"""Noon of a day in September 2026."""
HOUR = 3_600 * 10**9
DAY = 24 * HOUR
USD = 10**9

RATES = Rates(
    provider="openai",
    model="gpt-4o",
    prices={"input": 2_500_000, "output": 10_000_000},
    source="genai-prices 0.2.3",
)
USAGE = Usage(input_tokens=1200, cached_tokens=1024, output_tokens=150, reasoning_tokens=64)


class Clock:
    """Stands still until it is told otherwise."""

    def __init__(self, now: int = NOON) -> None:
        self.now = now

    def time_ns(self) -> int:
        return self.now


_ids = iter(range(10**12))
_ids_lock = threading.Lock()


def new_id() -> str:
    with _ids_lock:
        return f"{os.getpid()}-{next(_ids):012d}"


def reservation(ledger: Ledger, bounds: Sequence[Bound] = (), hold: int = USD, **fields: Any) -> Reservation:
    known: dict[str, Any] = {
        "id": new_id(),
        "started_ns": NOON,
        "account": "acme",
        "context": "customer",
        "tags": {},
        "run": None,
        "provider": "openai",
        "requested_model": "gpt-4o",
        "model": "gpt-4o",
        "operation": "chat",
        "service_tier": None,
        "lo": hold,
        "hi": hold,
        "expected": hold // 10,
        "input_tokens": 1000,
        "rates": RATES,
        "epoch": ledger.standing()[0],
        "bounds": tuple(bounds),
    }
    return Reservation(**(known | fields))


def settlement(cost: int | None = USD // 2, **fields: Any) -> Settlement:
    known: dict[str, Any] = {
        "outcome": "complete",
        "ended_ns": NOON + 10**9,
        "duration_ns": 10**9,
        "cost": cost,
        "counted": cost or 0,
        "cost_source": "unpriced" if cost is None else "priced",
        "usage": USAGE,
        "usage_source": "reported",
        "rates": RATES,
        "model": "gpt-4o-2024-08-06",
    }
    return Settlement(**(known | fields))


def standing_bound(budget: Budget, key: str = "") -> Bound:
    return Bound(budget.name, budget, key, budget.limit_nano, attached=False)


def attached_bound(budget: Budget, identity: str = "scope|acme|day", key: str = "") -> Bound:
    return Bound(identity, budget, key, budget.limit_nano, attached=True)


def with_budget(ledger: Ledger, budget: Budget, *, origin: Any = "code") -> Bound:
    ledger.set_budget(budget, origin=origin)
    return standing_bound(budget)


def reserved(ledger: Ledger, bounds: Sequence[Bound] = (), hold: int = USD, **fields: Any) -> Grant:
    answer = ledger.reserve(reservation(ledger, bounds, hold, **fields))
    assert isinstance(answer, Grant), answer
    return answer


def entry(ledger: Ledger, bounds: Sequence[Bound] = (), cost: int = USD, **fields: Any) -> Entry:
    digest = fields.pop("digest", b"content")
    return Entry(
        reservation=reservation(ledger, bounds, 0, **fields), settlement=settlement(cost), digest=digest
    )


def add_up_often() -> None:
    """Have this process add up its calls every few: what can go wrong as it does is to go wrong in tests."""
    Summing.often, Summing.latest = 7, 5


def names(budgets: Sequence[StandingBudget]) -> list[str]:
    return [each.budget.name for each in budgets]


def opened(path: Path | str, clock: Clock | None = None, **options: Any) -> Ledger:
    return open_ledger(path, clock=clock or Clock(), **({"durability": "fast", "timeout": 20.0} | options))


def python(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """A Python process that can import the project and this module."""
    root = Path(__file__).resolve().parents[2]
    paths = os.pathsep.join([str(root / "src"), str(root / "tests")])
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        **options,
    )
