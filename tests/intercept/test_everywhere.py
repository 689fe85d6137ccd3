"""All clients of the process at once, with undo, and no call counted twice."""

from __future__ import annotations

import functools
import os
import subprocess
import sys

import openai._base_client as base
import pytest

import farthing
from farthing import FarthingError, InsufficientCredits, Meter
from farthing.testing import Reply
from intercept.kit import ASK, USUAL, rows_of

BASES = (base.SyncAPIClient, base.AsyncAPIClient)


@pytest.fixture(autouse=True)
def _undone():
    before = [dict(vars(cls)) for cls in BASES]
    yield
    farthing.uninstrument()
    assert [dict(vars(cls)) for cls in BASES] == before


def ask(kit, client, **more):
    return kit.run(client.chat.completions.create(**ASK, **more))


def test_clients_that_were_there_and_those_to_come_are_metered(kit):
    there = kit.plain()
    kit.meter.instrument(account="acme", tags={"team": "mint"})
    answer = ask(kit, there)
    ask(kit, kit.plain())
    ask(kit, kit.plain().with_options(timeout=7))
    assert [(row.account, row.tags, row.cost_nano) for row in kit.rows()] == [
        ("acme", {"team": "mint"}, USUAL)
    ] * 3
    assert kit.meter.receipt(answer).account == "acme"


def test_undo_gives_the_classes_back_as_they_were(kit):
    before = [dict(vars(cls)) for cls in BASES]
    client = kit.plain()
    kit.meter.instrument()
    ask(kit, client)
    kit.meter.uninstrument()
    kit.meter.uninstrument()
    assert [dict(vars(cls)) for cls in BASES] == before
    ask(kit, client)
    assert len(kit.rows()) == 1
    kit.meter.instrument(account="again")
    ask(kit, client)
    assert [row.account for row in kit.rows()] == ["default", "again"]


@pytest.mark.parametrize("first", ["wrap", "instrument"])
def test_a_wrapped_client_is_counted_once_and_by_its_own_settings(kit, first):
    client = kit.plain(max_retries=1)
    if first == "wrap":
        kit.meter.wrap(client, account="own")
        kit.meter.instrument(account="all")
    else:
        kit.meter.instrument(account="all")
        kit.meter.wrap(client, account="own")
    kit.provider.script(Reply(status=500, headers={"retry-after-ms": "1"}))
    ask(kit, client)
    ask(kit, client.with_options(timeout=7))
    assert [(row.account, row.attempts) for row in kit.rows()] == [("own", 2), ("own", 1)]
    kit.meter.unwrap(client)
    ask(kit, client)
    assert [row.account for row in kit.rows()] == ["own", "own", "all"]


def test_again_with_arguments_replaces_the_settings_and_without_does_nothing(kit):
    kit.meter.instrument(account="acme", tags={"a": "1"})
    kit.meter.instrument()
    ask(kit, kit.plain())
    kit.meter.instrument(account="bolt")
    ask(kit, kit.plain())
    assert [(row.account, row.tags) for row in kit.rows()] == [("acme", {"a": "1"}), ("bolt", {})]


def test_a_second_meter_is_told_that_there_is_one(kit):
    kit.meter.instrument()
    with Meter(":memory:") as other, pytest.raises(FarthingError, match="another meter"):
        other.instrument()
    farthing.uninstrument()
    with Meter(":memory:") as other:
        other.instrument()
        ask(kit, kit.plain())
        assert len(rows_of(other)) == 1
    assert kit.rows() == []


def test_the_function_acts_on_the_default_meter_of_the_moment(kit, no_default):
    farthing.instrument(account="acme")
    with farthing.using(kit.meter):
        ask(kit, kit.plain())
    assert kit.row().account == "acme"


def test_attempts_are_counted_and_lost_ones_paid_for_as_with_a_wrapped_client(kit):
    def lost(client):
        kit.provider.script(Reply(status=504, headers={"retry-after-ms": "1"}))
        ask(kit, client)

    lost(kit.client(options={"max_retries": 2}))
    kit.meter.instrument()
    lost(kit.plain(max_retries=2))
    wrapped, seen = kit.rows()
    for field in ("attempts", "flags", "cost_nano", "counted_nano", "outcome"):
        assert getattr(seen, field) == getattr(wrapped, field)
    assert (seen.attempts, seen.flags) == (2, ["lost_attempts"])


def test_streams_are_metered_and_stay_as_they_are(kit):
    kind = type(ask(kit, kit.plain(), stream=True))
    kit.meter.instrument()
    stream = ask(kit, kit.plain(), stream=True)
    assert type(stream) is kind
    list(kit.items(stream))
    assert (kit.row().cost_nano, kit.row().usage_source) == (USUAL, "reported")


def test_a_budget_without_a_period_is_one_for_all_clients_until_the_undo(kit):
    kit.meter.instrument(budget="$0.024")
    ask(kit, kit.plain())
    with pytest.raises(InsufficientCredits):
        ask(kit, kit.plain(), extra_body={"max_tokens": 2_100})
    assert len(kit.provider.requests) == 1
    kit.meter.uninstrument()
    kit.meter.instrument(budget="$0.024")
    ask(kit, kit.plain(), extra_body={"max_tokens": 2_100})


def test_a_scope_is_nearer_than_the_settings_unless_they_are_pinned(kit):
    with kit.meter.scope(account="scoped") as run:
        kit.meter.instrument(account="all")
        ask(kit, kit.plain())
        kit.meter.instrument(account="all", pin=True)
        ask(kit, kit.plain())
    assert [row.account for row in kit.rows()] == ["scoped", "all"]
    assert run.calls == 2


@pytest.mark.parametrize("tells", [True, False], ids=["wraps tells", "wraps does not tell"])
def test_what_others_have_put_on_top_stays_and_nothing_is_counted_twice(kit, monkeypatch, tells):
    cls = BASES[kit.is_async]
    kit.meter.instrument()
    ours = cls.request
    seen = []

    def theirs(self, *args, **kwargs):
        seen.append(self)
        return ours(self, *args, **kwargs)

    async def atheirs(self, *args, **kwargs):
        seen.append(self)
        return await ours(self, *args, **kwargs)

    over = atheirs if kit.is_async else theirs
    over = functools.wraps(ours)(over) if tells else over
    monkeypatch.setattr(cls, "request", over)
    kit.meter.uninstrument()
    assert cls.request is over
    ask(kit, kit.plain())
    assert (len(seen), kit.rows()) == (1, [])
    kit.meter.instrument()
    ask(kit, kit.plain())
    assert (len(seen), len(kit.rows())) == (2, 1)
    kit.meter.uninstrument()
    assert cls.request is over
    monkeypatch.undo()
    original = ours.__wrapped__
    assert cls.request is ours  # what they saved; it does nothing any more
    ask(kit, kit.plain())
    assert len(kit.rows()) == 1
    cls.request = original


def test_a_meter_that_is_switched_off_leaves_the_classes_alone(kit, caplog):
    before = [dict(vars(cls)) for cls in BASES]
    with Meter(":memory:", enabled=False) as off:
        off.instrument(budget="$1")
    assert [dict(vars(cls)) for cls in BASES] == before
    assert "hard budgets are not enforced" in caplog.text


def test_settings_that_make_no_sense_change_nothing(kit):
    kit.meter.instrument(account="acme")
    for wrong in ({"budget": "€5"}, {"account": 5}, {"context": "x"}, {"tags": {"a": 1}}, {"name": ""}):
        with pytest.raises(FarthingError):
            kit.meter.instrument(**wrong)
    ask(kit, kit.plain())
    assert kit.row().account == "acme"


def _process(code, meter, *arguments):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(meter.ledger_path), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


LATER = """
import sys, threading
from farthing import Meter
meter = Meter(sys.argv[1], durability="fast")
meter.instrument(account="later")
assert "openai" not in sys.modules
from openai import OpenAI
with OpenAI(base_url=sys.argv[2], api_key="k", max_retries=0) as client:
    ask = dict(model="gpt-4o", messages=[{"role": "user", "content": "hi"}], max_tokens=2000)
    client.chat.completions.create(**ask)
"""


@pytest.mark.one_colour("the classes of both are in one module")
def test_an_sdk_that_is_loaded_later_is_metered_and_none_is_loaded_by_us(meter, provider):
    _process(LATER, meter, provider.base_url)
    assert [row.account for row in rows_of(meter)] == ["later"]


@pytest.mark.one_colour("the classes of both are in one module")
def test_an_sdk_that_is_loaded_after_the_undo_is_left_alone(meter, provider):
    code = LATER.replace("from openai", "meter.uninstrument()\nfrom openai", 1)
    _process(code, meter, provider.base_url)
    assert rows_of(meter) == []


@pytest.mark.one_colour("the shape is that of both")
def test_an_sdk_of_the_same_make_is_known_by_its_shape(meter, tmp_path):
    package = tmp_path / "anthropic"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "_base_client.py").write_text(
        "class SyncAPIClient:\n    def request(self, cast_to, options): return 'sent'\n"
        "class AsyncAPIClient:\n    async def request(self, cast_to, options): return 'sent'\n"
        "class Transport:\n    def request(self, method, url): return 'not ours'\n"
    )
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from farthing import Meter
meter = Meter(sys.argv[1])
meter.instrument()
import anthropic._base_client as base
kinds = base.SyncAPIClient, base.AsyncAPIClient, base.Transport
print([hasattr(cls.request, "__wrapped__") for cls in kinds])
meter.uninstrument()
print([hasattr(cls.request, "__wrapped__") for cls in kinds])
"""
    assert _process(code, meter).stdout.splitlines() == ["[True, True, False]", "[False, False, False]"]


FORK = (
    LATER
    + """
    import os
    pid = os.fork()
    with OpenAI(base_url=sys.argv[2], api_key="k", max_retries=0) as other:  # a connection has one process
        other.chat.completions.create(**ask)
    if pid == 0:
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.one_colour("a fork inside of a running loop is none of ours")
def test_a_forked_child_goes_on_being_metered(meter, provider):
    _process(FORK, meter, provider.base_url)
    assert [row.account for row in rows_of(meter)] == ["later"] * 3
