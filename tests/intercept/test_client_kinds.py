"""Every kind of client, used in every way: one call, one row."""

from __future__ import annotations

import copy
import importlib
import sys

import openai
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI

import farthing
from farthing import FarthingError
from farthing.testing import Reply
from intercept.kit import ASK, HTTP, SDK, USUAL

KINDS = ["azure", "bedrock", "provider bedrock", "provider vertex", "http client", "aiohttp", "subclass"]
WAYS = [
    "create",
    "bound before",
    "raw before",
    "raw",
    "streaming",
    "with_options",
    "copy",
    "copy.copy",
    "with_options before",
    "post",
    "stream",
]
MODELS = {"azure": "my-deployment"}


class House(OpenAI):
    """A house's own client, with hooks that do not call the SDK's."""

    def _prepare_request(self, request):
        request.headers["x-house"] = "mint"


class AsyncHouse(AsyncOpenAI):
    async def _prepare_request(self, request):
        request.headers["x-house"] = "mint"


def _provided(module, make, kit, options):
    if {"bedrock": (2, 54), "vertex": (3, 0)}[module] > SDK:
        pytest.skip(f"this version of openai has no providers.{module}")
    provider = make(importlib.import_module(f"openai.providers.{module}"))
    return kit.pick(OpenAI, AsyncOpenAI)(provider=provider, **options)


def _made(kit, kind):
    """A plain client of this kind."""
    at = {"base_url": kit.provider.base_url, "max_retries": 0}
    keyed = {**at, "api_key": "k"}
    if kind == "azure":
        host = kit.provider.base_url.removesuffix("/v1")
        made = kit.pick(AzureOpenAI, AsyncAzureOpenAI)
        client = made(azure_endpoint=host, api_key="k", api_version="2026-01-01", max_retries=0)
    elif kind == "bedrock":
        made = getattr(openai, kit.pick("BedrockOpenAI", "AsyncBedrockOpenAI"), None)
        if made is None:
            pytest.skip("this version of openai has no client of Bedrock")
        client = made(aws_region="us-east-1", **keyed)
    elif kind == "provider bedrock":
        client = _provided(
            "bedrock",
            lambda m: m.bedrock(base_url=kit.provider.base_url, region="us-east-1", api_key="k"),
            kit,
            {"max_retries": 0},
        )
    elif kind == "provider vertex":
        client = _provided(
            "vertex",
            lambda m: m.vertex(base_url=kit.provider.base_url, token_provider=lambda: "k"),
            kit,
            {"max_retries": 0},
        )
    elif kind == "http client":
        made = kit.pick(openai.DefaultHttpxClient, openai.DefaultAsyncHttpxClient)
        client = kit.plain(http_client=made(timeout=30))
    elif kind == "aiohttp":
        pytest.importorskip("aiohttp" if SDK >= (3, 0) else "httpx_aiohttp")
        if not kit.is_async:
            pytest.skip("aiohttp is for coroutines")
        client = kit.run(_inside_a_loop(lambda: kit.plain(http_client=openai.DefaultAioHttpClient())))
    else:
        client = kit.pick(House, AsyncHouse)(**keyed)
    kit._clients.append(client)
    return client


async def _inside_a_loop(make):
    return make()


def _prepared(client, way):
    """What a program has in its hands before the client is wrapped."""
    completions = client.chat.completions
    return {
        "bound before": lambda: completions.create,
        "raw before": lambda: completions.with_raw_response.create,
        "with_options before": lambda: client.with_options(timeout=9),
    }.get(way, lambda: None)()


def _used(kit, client, way, before, ask):
    """One call in this way."""
    create = client.chat.completions.create
    if way in {"bound before", "raw before"}:
        kit.run(before(**ask))
    elif way == "raw":
        kit.run(client.chat.completions.with_raw_response.create(**ask))
    elif way == "streaming":
        with kit.inside(client.chat.completions.with_streaming_response.create(**ask)) as response:
            kit.run(response.read())
    elif way in {"with_options", "copy"}:
        kit.run(getattr(client, way)(timeout=9).chat.completions.create(**ask))
    elif way == "copy.copy":
        kit.run(copy.copy(client).chat.completions.create(**ask))
    elif way == "post":
        kit.run(client.post("/chat/completions", body=ask, cast_to=HTTP.Response))
    elif way == "stream":
        assert list(kit.items(kit.run(create(**ask, stream=True))))
    else:
        kit.run(create(**ask))


@pytest.mark.parametrize("way", [way for way in WAYS if way != "with_options before"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_client_of_any_kind_used_in_any_way_leaves_one_row_a_call(kit, kind, way):
    client = _made(kit, kind)
    before = _prepared(client, way)
    assert kit.meter.wrap(client, provider="openai") is client
    kit.provider.script(Reply(model="gpt-4o"))
    _used(kit, client, way, before, {**ASK, "model": MODELS.get(kind, "gpt-4o")})
    row = kit.row()
    assert (row.outcome, row.attempts, row.cost_nano, row.model) == ("complete", 1, USUAL, "gpt-4o")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_instrumented_process_meters_any_kind_of_client_used_in_any_way(kit, kind, way):
    client = _made(kit, kind)
    before = _prepared(client, way)
    kit.meter.instrument(provider="openai")
    try:
        kit.provider.script(Reply(model="gpt-4o"))
        _used(
            kit,
            before if way == "with_options before" else client,
            way,
            before,
            {**ASK, "model": MODELS.get(kind, "gpt-4o")},
        )
    finally:
        kit.meter.uninstrument()
    row = kit.row()
    assert (row.outcome, row.attempts, row.cost_nano, row.model) == ("complete", 1, USUAL, "gpt-4o")


def test_a_copy_that_was_made_before_is_a_client_of_its_own(kit):
    client = kit.plain()
    copied = client.with_options(timeout=9)
    kit.meter.wrap(client)
    kit.run(copied.chat.completions.create(**ASK))
    assert kit.rows() == []


def test_a_deployment_is_priced_by_the_model_that_answers(kit):
    client = kit.meter.wrap(_made(kit, "azure"), provider="azure")
    kit.provider.script(Reply(model="gpt-4o-2024-08-06"))
    answer = kit.run(client.chat.completions.create(**{**ASK, "model": "my-deployment"}))
    row = kit.row()
    assert (row.requested_model, row.model) == ("my-deployment", "gpt-4o-2024-08-06")
    assert (row.cost_source, kit.meter.receipt(answer).requested_model) == ("priced", "my-deployment")
    assert "/deployments/my-deployment/" in kit.provider.requests[0].path


# -- the module as a client --------------------------------------------------------------------------------


@pytest.fixture
def module(monkeypatch, provider):
    """`openai` as a program uses it that has set its key and address."""
    monkeypatch.setattr(openai, "api_key", "k")
    monkeypatch.setattr(openai, "base_url", provider.base_url + "/")
    monkeypatch.setattr(openai, "max_retries", 0)
    monkeypatch.setattr(openai, "_client", None)
    monkeypatch.setattr(openai, "http_client", None)  # where the module keeps its client's own
    yield openai
    if openai._client is not None:
        openai._client.close()


def _costs(meter):
    return [row["cost_nano"] for row in meter.engine.ledger.calls()]


@pytest.mark.one_colour("the module's own client is a synchronous one")
def test_the_module_is_wrapped_as_its_client_is(module, meter):
    assert meter.wrap(module, account="acme") is openai
    answer = openai.chat.completions.create(**ASK)
    openai.chat.completions.with_raw_response.create(**ASK).parse()
    assert all(c.choices for c in openai.chat.completions.create(**ASK, stream=True))
    openai.embeddings.create(model="text-embedding-3-small", input="penny")
    rows = meter.engine.ledger.calls()
    assert [row["operation"] for row in rows] == ["embedding", "chat", "chat", "chat"]
    assert {row["account"] for row in rows} == {"acme"}
    assert meter.receipt(answer).account == "acme"


@pytest.mark.one_colour("the module's own client is a synchronous one")
def test_the_module_wrapped_again_and_unwrapped(module, meter, tmp_path):
    meter.wrap(openai, account="acme")
    meter.wrap(openai)
    meter.wrap(openai, account="bolt")
    openai.chat.completions.create(**ASK)
    assert [row["account"] for row in meter.engine.ledger.calls()] == ["bolt"]
    with farthing.Meter(tmp_path / "other.db") as other, pytest.raises(FarthingError, match="another meter"):
        other.wrap(openai)
    assert meter.unwrap(openai) is openai
    openai.chat.completions.create(**ASK)
    assert len(_costs(meter)) == 1


@pytest.mark.one_colour("the module's own client is a synchronous one")
def test_the_module_is_wrapped_by_the_default_meter_too(module, no_default, tmp_path):
    meter = farthing.configure(ledger=tmp_path / "own.db")
    farthing.wrap(openai)
    openai.chat.completions.create(**ASK)
    farthing.unwrap(openai)
    openai.chat.completions.create(**ASK)
    assert _costs(meter) == [USUAL]


@pytest.mark.one_colour("the module's own client is a synchronous one")
def test_a_hard_budget_of_the_module_refuses(module, meter, provider):
    meter.wrap(openai, budget="$0.001")
    with pytest.raises(farthing.InsufficientCredits):
        openai.chat.completions.create(**ASK)
    assert provider.requests == []


@pytest.mark.one_colour("the module's own client is a synchronous one")
def test_an_instrumented_process_meters_the_module(module, meter):
    meter.instrument()
    try:
        openai.chat.completions.create(**ASK)
    finally:
        meter.uninstrument()
    openai.chat.completions.create(**ASK)
    assert _costs(meter) == [USUAL]


@pytest.mark.one_colour("the module's own client is a synchronous one")
@pytest.mark.skipif(SDK >= (2, 0), reason="this version of openai makes its client without a key")
def test_a_module_without_a_key_is_told_of_in_one_sentence(module, meter, monkeypatch):
    monkeypatch.setattr(openai, "api_key", None)
    with pytest.raises(FarthingError, match="set its api_key before wrapping it"):
        meter.wrap(openai)
    assert meter.unwrap(openai) is openai


def test_another_module_is_no_client(meter):
    with pytest.raises(FarthingError, match="wrap an OpenAI"):
        meter.wrap(sys)
    assert meter.unwrap(sys) is sys
