"""Which clients are metered, and by whom."""

from __future__ import annotations

import copy
import importlib
import socket

import openai
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI

import farthing
from farthing import FarthingError, Meter
from farthing.testing import Reply
from intercept.kit import ASK, HTTP, SDK, USUAL


def _follow(client):
    return {
        "with_options": lambda: client.with_options(timeout=7),
        "copy": lambda: client.copy(max_retries=0),
        "copy of a copy": lambda: client.with_options(timeout=7).with_options(max_retries=0),
        "copy.copy": lambda: copy.copy(client),
    }


@pytest.mark.parametrize("how", ["with_options", "copy", "copy of a copy", "copy.copy"])
def test_a_copy_is_metered_once_as_its_original(kit, how):
    client = kit.client(account="acme", tags={"team": "mint"})
    kit.run(_follow(client)[how]().chat.completions.create(**ASK))
    assert (kit.row().account, kit.row().tags) == ("acme", {"team": "mint"})
    assert kit.meter.engine.ledger.totals()[0].calls == 1
    kit.run(client.chat.completions.create(**ASK))
    assert len(kit.rows()) == 2


def test_resources_that_were_touched_before_are_metered(kit):
    client = kit.plain()
    create, raw = client.chat.completions.create, client.chat.completions.with_raw_response
    kit.meter.wrap(client)
    kit.run(create(**ASK))
    kit.run(raw.create(**ASK))
    assert [row.cost_nano for row in kit.rows()] == [USUAL, USUAL]


def test_wrap_is_in_place_and_keeps_what_the_client_is(kit):
    client = kit.plain()
    kind = type(client)
    assert kit.meter.wrap(client) is client
    assert isinstance(client, kind)
    assert type(client).__name__ == kind.__name__
    assert type(client).__qualname__ == kind.__qualname__
    assert type(client).__module__ == kind.__module__


def test_unwrap_gives_the_client_back_as_it_was(kit):
    client = kit.plain()
    kind = type(client)
    kit.meter.wrap(client)
    assert kit.meter.unwrap(client) is client
    assert type(client) is kind
    assert farthing.unwrap(client) is client
    kit.run(client.chat.completions.create(**ASK))
    assert kit.rows() == []
    kit.meter.wrap(client, account="again")
    kit.run(client.chat.completions.create(**ASK))
    assert kit.row().account == "again"


def test_wrapping_twice_counts_once(kit):
    client = kit.client(account="acme")
    assert kit.meter.wrap(client) is client
    kit.run(client.chat.completions.create(**ASK))
    assert kit.row().account == "acme"


def test_wrapping_again_with_arguments_replaces_the_settings(kit):
    client = kit.client(account="acme", tags={"a": "1"})
    kit.meter.wrap(client, account="bolt")
    kit.run(client.chat.completions.create(**ASK))
    assert (kit.row().account, kit.row().tags) == ("bolt", {})


def test_another_meter_may_not_wrap_a_wrapped_client(kit, tmp_path):
    client = kit.client()
    with Meter(tmp_path / "other.db") as other, pytest.raises(FarthingError, match="another meter"):
        other.wrap(client)


@pytest.mark.parametrize(
    "thing", [42, None, "client", object(), OpenAI, AsyncOpenAI], ids=lambda thing: repr(thing)[:20]
)
def test_what_is_no_client_is_refused_in_one_sentence(meter, thing):
    with pytest.raises(FarthingError, match=r"wrap an OpenAI\(\) or AsyncOpenAI\(\) client"):
        meter.wrap(thing)


def test_an_http_client_is_no_client_of_a_provider(meter):
    with HTTP.Client() as client, pytest.raises(FarthingError, match="wrap an OpenAI"):
        meter.wrap(client)


def test_unwrapping_what_was_never_wrapped_does_nothing(meter):
    for thing in (42, None, object()):
        assert meter.unwrap(thing) is thing


def test_a_client_that_cannot_change_its_class_is_metered_on_the_instance(kit):
    base = type(kit.plain())

    class Rigid(base):
        __slots__ = ("extra",)

        def __setattr__(self, name, value):
            if name == "__class__":
                raise TypeError("object layout differs")
            super().__setattr__(name, value)

    client = Rigid(base_url=kit.provider.base_url, api_key="k", max_retries=0)
    kit._clients.append(client)
    kit.meter.wrap(client)
    kit.run(client.chat.completions.create(**ASK))
    assert kit.row().cost_nano == USUAL
    kit.meter.unwrap(client)
    kit.run(client.chat.completions.create(**ASK))
    assert len(kit.rows()) == 1


def test_an_instance_that_is_metered_books_a_failure_that_may_have_cost_money(kit):

    base = type(kit.plain())

    class Rigid(base):
        def __setattr__(self, name, value):
            if name == "__class__":
                raise TypeError("object layout differs")
            super().__setattr__(name, value)

    client = Rigid(base_url=kit.provider.base_url, api_key="k", max_retries=0)
    kit._clients.append(client)
    kit.meter.wrap(client)
    kit.provider.script(Reply(no_answer=True))
    with pytest.raises(Exception, match="Connection error"):
        kit.run(client.chat.completions.create(**ASK))
    assert (kit.row().outcome, kit.row().counted_nano) == ("unknown", kit.row().held_nano)


def test_azure_is_metered_by_its_clean_path(kit):
    host = kit.provider.base_url.removesuffix("/v1")
    made = AsyncAzureOpenAI if kit.is_async else AzureOpenAI
    client = made(azure_endpoint=host, api_key="k", api_version="2026-01-01", max_retries=0)
    kit._clients.append(client)
    kit.meter.wrap(client, provider="azure")
    kit.run(client.chat.completions.create(**ASK))
    assert (kit.row().provider, kit.row().operation) == ("azure", "chat")
    assert "/deployments/gpt-4o/" in kit.provider.requests[0].path


def test_the_default_meter_is_found_when_a_call_is_made(kit, no_default, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FARTHING_LEDGER", str(tmp_path / "env.db"))
    client = farthing.wrap(kit.plain(), account="acme")

    kit.run(client.chat.completions.create(**ASK))
    first = farthing.default_meter() if hasattr(farthing, "default_meter") else no_default.default_meter()
    assert str(first.ledger_path) == str(tmp_path / "env.db")
    assert len(first.engine.ledger.calls()) == 1

    second = farthing.configure(ledger=tmp_path / "configured.db")
    assert farthing.configure(ledger=tmp_path / "configured.db") is second
    answer = kit.run(client.chat.completions.create(**ASK))
    assert [row["account"] for row in second.engine.ledger.calls()] == ["acme"]
    assert farthing.receipt(answer).account == "acme"

    with farthing.using(kit.meter):
        kit.run(client.chat.completions.create(**ASK))
    assert kit.row().account == "acme"


def test_a_disabled_meter_wraps_and_writes_nothing(kit, tmp_path):
    off = Meter(tmp_path / "off.db", enabled=False)
    client = kit.plain()
    assert off.wrap(client, account="acme") is client
    answer = kit.run(client.chat.completions.create(**ASK))
    assert off.receipt(answer).cost is None
    assert not (tmp_path / "off.db").exists()


@pytest.mark.one_colour("the module's own client is a synchronous one")
def test_the_client_of_the_module_is_metered(provider, meter, monkeypatch):
    monkeypatch.setattr(openai, "api_key", "k")
    monkeypatch.setattr(openai, "base_url", provider.base_url)
    monkeypatch.setattr(openai, "_client", None)
    monkeypatch.setattr(openai, "http_client", None)
    meter.wrap(openai._load_client())
    openai.chat.completions.create(**ASK)
    assert [row["cost_nano"] for row in meter.engine.ledger.calls()] == [USUAL]
    openai._client.close()


def _http_client(kit, library, *, soon):
    """A client of either HTTP library, of the colour of the kit."""
    if library == "httpx2" and SDK < (2, 54):
        pytest.skip("openai 1 takes no client of httpx2")
    module = importlib.import_module(library)
    timeout = module.Timeout(30, read=0.2 if soon else 30)
    return kit.pick(module.Client, module.AsyncClient)(timeout=timeout)


def _on(kit, library, base_url=None, *, soon=False, max_retries=0):
    """A metered client on an HTTP client of that library."""
    options = {"http_client": _http_client(kit, library, soon=soon), "max_retries": max_retries}
    return kit.client(base_url, options=options)


either_library = pytest.mark.parametrize("library", ["httpx", "httpx2"])


@either_library
def test_a_client_on_either_http_library_is_metered(kit, library):
    client = _on(kit, library)
    kit.run(client.chat.completions.create(**ASK))
    assert kit.row().cost_nano == USUAL


@either_library
def test_streams_on_either_http_library_are_metered(kit, library):
    client = _on(kit, library)
    assert all(
        chunk.choices for chunk in kit.items(kit.run(client.chat.completions.create(**ASK, stream=True)))
    )
    with kit.inside(kit.run(client.chat.completions.create(**ASK, stream=True))) as stream:
        next(kit.items(stream))
    assert [row.outcome for row in kit.rows()] == ["complete", "aborted"]
    assert next(row.cost_nano for row in kit.rows()) == USUAL


@either_library
def test_a_read_timeout_of_either_http_library_may_have_cost_the_hold(kit, library):
    kit.provider.hold()
    with pytest.raises(openai.APITimeoutError):
        kit.run(_on(kit, library, soon=True).chat.completions.create(**ASK))
    kit.provider.release()
    assert (kit.row().outcome, kit.row().counted_nano) == ("unknown", kit.row().held_nano)


@either_library
def test_a_connection_that_either_http_library_could_not_make_costs_nothing(kit, library):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(openai.APIConnectionError):
        kit.run(_on(kit, library, f"http://127.0.0.1:{port}/v1").chat.completions.create(**ASK))
    assert (kit.row().outcome, kit.row().counted_nano) == ("error", 0)


@either_library
def test_an_attempt_that_is_lost_on_either_http_library_is_counted(kit, library):
    kit.provider.script(Reply(no_answer=True), Reply())
    kit.run(_on(kit, library, max_retries=1).chat.completions.create(**ASK))
    assert (kit.row().attempts, kit.row().flags) == (2, ["lost_attempts"])
    assert kit.row().counted_nano == USUAL + kit.row().held_nano
