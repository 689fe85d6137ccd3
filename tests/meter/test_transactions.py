"""The same transaction_id books once: what was left out is what is meant by default."""

from __future__ import annotations

from pathlib import Path

import pytest

from farthing import Meter, TransactionConflict, Usage

ONE = {"model": "gpt-4o", "usage": {"input_tokens": 10, "output_tokens": 1}, "transaction_id": "t"}


@pytest.fixture
def meter(tmp_path: Path):
    with Meter(tmp_path / "ledger.db") as made:
        yield made


@pytest.mark.parametrize(
    "stated",
    [
        {},
        {"context": "customer"},
        {"operation": "other"},
        {"account": "default"},
        {"tags": {}},
        {"usage": Usage(input_tokens=10, output_tokens=1)},
    ],
    ids=str,
)
def test_what_is_left_out_is_the_same_as_the_default_in_words(meter, stated):
    first = meter.record(**ONE)
    assert meter.record(**(ONE | stated)).id == first.id
    assert meter.reports.summary().calls == 1


@pytest.mark.parametrize(
    "stated",
    [
        {"context": "system"},
        {"operation": "embedding"},
        {"tags": {"a": "b"}},
        {"usage": {"input_tokens": 11, "output_tokens": 1}},
        {"cost": "1"},
        {"model": "gpt-4o-mini"},
    ],
    ids=str,
)
def test_other_content_is_a_conflict(meter, stated):
    meter.record(**ONE)
    with pytest.raises(TransactionConflict):
        meter.record(**(ONE | stated))
    assert meter.reports.summary().calls == 1


def test_another_account_has_transactions_of_its_own(meter):
    assert meter.record(**ONE).id != meter.record(**ONE, account="other").id
