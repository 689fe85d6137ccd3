"""Ledgers and calls to measure with: three budgets, tags, 200 models, 1,000 accounts, a million rows."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from farthing.ledger import Ledger, open_ledger
from farthing.ledger.store import Bound, Reservation, Settlement
from farthing.records import Budget, Rates, Usage

__all__ = [
    "ACCOUNTS",
    "BUDGETS",
    "COST",
    "DAY",
    "HOLD",
    "MODELS",
    "Calls",
    "at",
    "big",
    "bound",
    "copy",
    "fresh",
]

MODELS, ACCOUNTS, TAGSETS = 200, 1_000, 50
HOLD, COST = 4_000_000, 3_220_000
LIMIT = 1_000_000_000
DAY = 86_400 * 10**9
BUDGETS = (
    Budget("house", LIMIT, "day"),
    Budget("each-account", LIMIT, "day", per="account"),
    Budget("feature", LIMIT, "month", tags={"team": "search"}),
)
RATES = [
    Rates(
        provider="openai", model=f"model-{n}", prices={"input": 2_500_000, "output": 10_000_000}, source="x"
    )
    for n in range(MODELS)
]
USAGE = Usage(input_tokens=1200, cached_tokens=1024, output_tokens=150, reasoning_tokens=64)


def at(path: Path, durability: str = "fast") -> Ledger:
    """The ledger of a path."""
    return open_ledger(path, clock=time, durability=durability, timeout=10.0)  # type: ignore[arg-type]


def fresh(path: Path, budgets: Sequence[Budget] = BUDGETS) -> Path:
    """A new ledger with these budgets, closed again."""
    ledger = at(path)
    for budget in budgets:
        ledger.set_budget(budget, origin="code")
    calls = Calls(ledger, [bound(budget) for budget in budgets if budget.per is None], "first")
    calls.pair(ledger)  # which makes the windows
    ledger.close()
    return path


def big(path: Path, rows: int) -> Path:
    """A ledger with as many finished calls, spread over the 90 days before today."""
    ledger = at(path)
    calls = Calls(ledger, bounds=())
    for n in range(ACCOUNTS):  # which also stores every name
        grant = ledger.reserve(calls.reservation(n, n % MODELS))
        ledger.settle(grant, calls.settlement(n % MODELS))
    ledger.close()
    conn = sqlite3.connect(path)
    columns = [row[1] for row in conn.execute("PRAGMA table_info (call)")]
    changed = {"seq": "?1 + n * ?2", "id": "c.id || '-' || n", "recorded": "(?1 + n * ?2) / 1024 * 1000"}
    values = ", ".join(changed.get(name, f"c.{name}") for name in columns)
    today = time.time_ns() // DAY * DAY
    first, step = (today - 90 * DAY) // 1000 * 1024, 89 * DAY // 1000 // rows * 1024
    conn.execute("CREATE TEMP TABLE pattern AS SELECT * FROM call")
    conn.execute("CREATE TEMP TABLE place AS SELECT row_number() OVER () - 1 AS place, seq FROM pattern")
    conn.execute("CREATE UNIQUE INDEX temp.by_place ON place (place)")
    conn.execute("CREATE UNIQUE INDEX temp.by_seq ON pattern (seq)")
    conn.execute(
        f"""WITH RECURSIVE many (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM many WHERE n + 1 < ?3)
        INSERT INTO call SELECT {values} FROM many
        JOIN place ON place.place = many.n % ?4 JOIN pattern AS c ON c.seq = place.seq""",
        (first, step, rows, ACCOUNTS),
    )
    sums = f"""count(*), 0, sum(input), sum(cached), sum(output), sum(cost), sum(counted), 0, 0, 0
        FROM call WHERE seq < {today // 1000 * 1024}"""
    day = f"seq / {DAY // 1000 * 1024}"
    conn.execute(
        f"""INSERT INTO day_sum SELECT {day}, 0, context, operation, provider, model, {sums}
        GROUP BY 1, 3, 4, 5, 6"""
    )
    conn.execute(f"INSERT INTO day_sum SELECT {day}, account, context, 0, 0, 0, {sums} GROUP BY 1, 2, 3")
    conn.execute("UPDATE meta SET number = ? WHERE key = 'summed'", (today // 1000 * 1024,))
    conn.commit()
    conn.execute("PRAGMA wal_checkpoint (TRUNCATE)")
    conn.close()
    return fresh(path)


def copy(path: Path, to: Path) -> Path:
    """A copy of a ledger that is closed."""
    return Path(shutil.copyfile(path, to))


class Calls:
    """Makes calls and their ends, as a program does that knows them.

    Args:
        bounds: the budgets that bind each; None for the three, by account.
    """

    def __init__(self, ledger: Ledger, bounds: Sequence[Bound] | None = None, name: str = "call") -> None:
        self.epoch = ledger.standing()[0]
        self.name = name
        self.number = 0
        self.accounts = [f"account-{n}" for n in range(ACCOUNTS)]
        self.tags = [{"team": "search", "user": f"user-{n}"} for n in range(TAGSETS)]
        house, account, feature = (bound(budget) for budget in BUDGETS)
        each = [bound(BUDGETS[1], key) for key in self.accounts] if bounds is None else [account]
        self.bounds = [(house, one, feature) for one in each] if bounds is None else [tuple(bounds)]

    def reservation(self, account: int, model: int) -> Reservation:
        """The next call."""
        self.number += 1
        rates = RATES[model]
        return Reservation(
            id=f"0199{self.name:>12}{self.number:020d}",
            started_ns=time.time_ns(),
            account=self.accounts[account],
            context="customer",
            tags=self.tags[account % TAGSETS],
            run=None,
            provider="openai",
            requested_model=rates.model,
            model=rates.model,
            operation="chat",
            service_tier=None,
            lo=HOLD,
            hi=HOLD,
            expected=HOLD // 10,
            input_tokens=1200,
            rates=rates,
            epoch=self.epoch,
            bounds=self.bounds[account % len(self.bounds)],
        )

    @staticmethod
    def settlement(model: int) -> Settlement:
        """How it ended."""
        return Settlement(
            outcome="complete",
            ended_ns=time.time_ns(),
            duration_ns=800_000_000,
            cost=COST,
            counted=COST,
            cost_source="priced",
            usage=USAGE,
            usage_source="reported",
            rates=RATES[model],
            request_id="req_0123456789abcdef",
            response_id="chatcmpl-0123456789abcdefghij",
        )

    def next(self) -> tuple[Reservation, Settlement]:
        """The next call and its end."""
        n = self.number
        model = n * 7 % MODELS
        return self.reservation(n * 13 % ACCOUNTS, model), self.settlement(model)

    def pair(self, ledger: Ledger) -> None:
        """One guarded call: its reserve and its settle."""
        want, end = self.next()
        ledger.settle(ledger.reserve(want), end)  # type: ignore[arg-type]


def bound(budget: Budget, key: str = "") -> Bound:
    """A standing budget as the guard gives it to the ledger."""
    return Bound(budget.name, budget, key, budget.limit_nano, attached=False)
