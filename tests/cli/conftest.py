"""Ledgers to ask about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from farthing import Meter, Usage

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def book(ledger_path):
    """Books a call of 1,000 input tokens, 400 of them cached, and 100 output tokens."""

    def one(cost, *, model="gpt-4o", days_ago=0, **given):
        usage = Usage(input_tokens=1000, cached_tokens=400, output_tokens=100)
        with Meter(ledger_path) as meter:
            return meter.record(
                model=model, usage=usage, cost=cost, occurred_at=NOON - timedelta(days=days_ago), **given
            )

    return one


@pytest.fixture
def ledger(ledger_path, book):
    """A ledger with three calls, one of them of an unknown cost."""
    book("0.1", account="acme", days_ago=1)
    book("0.000000001", account="zoe", model="gpt-4o-mini")
    book(None, account="zoe", model="mystery-1", tags={"user": "ann"})
    return ledger_path
