"""The exceptions: one tree, all picklable, refusals that tell everything or only what is public."""

import pickle
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from farthing import errors

REFUSAL = errors.InsufficientCredits(
    "no",
    budget="team",
    limit=Decimal(5),
    spent=Decimal(4),
    held=Decimal(1),
    remaining=Decimal(0),
    required=Decimal("0.01"),
    account="acme",
    model="gpt-4o",
    resets_at=datetime(2026, 12, 1, tzinfo=UTC),
    retry_after=3.5,
    transient=True,
)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_in_the_tree_drawn_in_its_room_and_can_be_pickled(name):
    cls = getattr(errors, name)
    assert issubclass(cls, errors.FarthingError)
    assert name in (errors.__doc__ or "")
    copy = pickle.loads(pickle.dumps(cls("a sentence")))
    assert (type(copy), str(copy)) == (cls, "a sentence")


def test_a_value_is_named_also_where_it_cannot_be_shown():
    assert errors.shown("x") == "'x'"
    assert errors.shown(10**4000) == repr(10**4000)
    assert errors.shown(10**5000) == "a value of type int that cannot be shown"
    assert errors.shown([10**5000]) == "a value of type list that cannot be shown"


def test_wrong_values_are_value_errors_too():
    assert issubclass(errors.InvalidBudget, ValueError)
    assert issubclass(errors.InvalidUsage, ValueError)


def test_a_refusal_keeps_all_its_fields_when_pickled():
    copy = pickle.loads(pickle.dumps(REFUSAL))
    assert copy.to_dict() == REFUSAL.to_dict()
    assert copy.to_dict()["limit"] == Decimal(5)
    assert copy.to_dict()["resets_at"] == "2026-12-01T00:00:00+00:00"


def test_the_public_form_shows_no_amounts_of_a_shared_budget():
    public = REFUSAL.public_dict()
    assert [public[name] for name in ("budget", "limit", "spent", "held", "remaining")] == [None] * 5
    assert "4" not in public["message"]
    assert public["required"] == Decimal("0.01")
    own = errors.InsufficientCredits("no", limit=Decimal(5), shared=False)
    assert own.public_dict()["limit"] == Decimal(5)


@pytest.mark.parametrize(
    "make",
    [errors.InvalidBudget, errors.LedgerError, errors.InsufficientCredits],
    ids=lambda kind: kind.__name__,
)
def test_a_message_that_names_a_whole_file_keeps_its_beginning_and_its_end(make):
    error = make(f"the budget named {'x' * 1_000_000} is not understood: say $5/day")
    assert len(str(error)) < 1_100
    assert str(error).startswith("the budget named xxx")
    assert str(error).endswith("x is not understood: say $5/day")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
