"""Requests other than the usual four: what is metered of them, what passes, and what is refused."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.resources.responses import Responses

from farthing import Budget, Meter, Unmeterable, UnpricedModel
from farthing.testing import Reply
from farthing.wire import ROUTES, fate_of, read_request, route_of

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # of the SDK's own methods

PNG = b"\x89PNG\r\n\x1a\n"
TOKENS = {
    "input_tokens": 50,
    "input_tokens_details": {"text_tokens": 50, "image_tokens": 0},
    "output_tokens": 1056,
    "total_tokens": 1106,
}


def lines(caplog, level=logging.INFO):
    return [r.getMessage() for r in caplog.records if r.name == "farthing" and r.levelno >= level]


def allowing(kit, tmp_path, **settings):
    return Meter(tmp_path / "allowing.db", durability="fast", on_unpriced="allow", **settings)


# -- what is not metered --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "url", "fate"),
    [
        ("get", "/responses/resp_1", "passes"),
        ("delete", "/files/file-1", "passes"),
        ("post", "/files", "free"),
        ("post", "/responses/input_tokens", "free"),
        ("post", "/v1/messages/count_tokens?beta=true", "free"),
        ("post", "/chat/completions/chatcmpl-1", "free"),
        ("post", "/threads/t/messages", "free"),
        ("post", "/threads/t/runs/r/submit_tool_outputs", "free"),
        ("post", "/threads/t/runs/r/cancel", "free"),
        ("post", "/fine_tuning/jobs/j/cancel", "free"),
        ("post", "/fine_tuning/jobs/j/resume", "billed"),
        ("post", "/realtime/client_secrets", "billed"),
        ("post", "/realtime/calls/c/hangup", "free"),
        ("POST", "https://api.openai.com/v1/videos/characters", "billed"),
        ("post", "/containers", "billed"),
        ("post", "/evals", "free"),
        ("post", "/rerank", "unknown"),
    ],
)
def test_what_becomes_of_a_request_of_no_metered_route(method, url, fate):
    assert route_of(url) is None
    assert fate_of(method, url) == fate


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/v1/messages?beta=true", "/v1/messages"),
        ("https://api.anthropic.com/v1/messages", "/v1/messages"),
        ("https://h/v1/chat/completions", "/chat/completions"),
        ("/deployments/d/images/edits", "/images/edits"),
        ("/responses?beta=true", "/responses"),
        ("/responses/compact?beta=true", "/responses/compact"),
        ("https://h/openai/v1/audio/speech", "/audio/speech"),
        ("/chat/completions/chatcmpl-1", None),
        ("/threads/t/messages", None),
        ("/batches", "/batches"),
        ("/threads/t/runs", "/threads/*/runs"),
        ("/threads/runs", "/threads/runs"),
        ("/threads/t/runs/r/submit_tool_outputs", None),
        ("https://h/v1/evals/e/runs?x=1", "/evals/*/runs"),
        ("/videos/v/remix", "/videos/*/remix"),
        ("/videos/edits", "/videos/edits"),
        ("/v1/messages/batches?beta=true", "/v1/messages/batches"),
        ("https://h/v1/threads/t/messages", None),
    ],
)
def test_the_route_of_a_url(url, path):
    route = route_of(url)
    assert (route and route.path) == path


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    "model",
    "input",
    "messages",
    "n",
    "max_tokens",
    "tools",
    "mcp_servers",
    "thinking",
    "size",
    "speed",
)


@given(route=st.sampled_from(ROUTES), body=st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_body_of_a_metered_route_can_be_read(route, body):
    ask = read_request("post", route.path, body)
    assert ask is not None
    assert ask.route is route
    assert ask.choices >= 1
    assert all(isinstance(value, str) for value in ask.labels.values())


@given(url=st.text(), base=st.sampled_from(["", "/", "https://h/v1/", "/deployments/d/"]))
def test_any_url_has_a_fate(url, base):
    assert fate_of("post", base + url) in {"free", "billed", "unknown"}
    assert read_request("get", base + url, {}) is None


def test_an_unknown_path_passes_with_one_line_for_its_kind(kit, caplog):
    caplog.set_level(logging.INFO, "farthing")
    client = kit.client(budget="$5/day")
    kit.provider.script(lambda _: Reply(body={"ok": True}))
    for name in ("a1", "b2"):
        assert kit.run(client.post(f"/things/{name}/poke", body={"x": 1}, cast_to=object)) == {"ok": True}
    (line,) = lines(caplog)
    assert "/things/*/poke is not metered" in line
    assert kit.rows() == []


@pytest.mark.parametrize("method", ["get", "delete", "put", "patch"])
def test_requests_that_create_nothing_pass_in_silence(kit, caplog, method):
    caplog.set_level(logging.INFO, "farthing")
    client = kit.client(budget="$5/day")
    kit.provider.script(lambda _: Reply(body={"id": "batch_1"}))
    kit.run(getattr(client, method)("/batches", cast_to=object))
    assert lines(caplog) == []
    assert kit.rows() == []


def _container(kit, client):
    return kit.run(client.containers.create(name="pennies"))


def test_a_path_that_is_billed_unseen_passes_with_a_warning_without_a_hard_budget(kit, caplog):
    client = kit.client(budget=Budget("soft", "1", "day", mode="soft"))
    kit.provider.script(lambda _: Reply(body={"id": "cntr_1"}))
    for _ in range(2):
        assert _container(kit, client).id == "cntr_1"
    (line,) = lines(caplog, logging.WARNING)
    assert "/containers is not metered" in line
    assert kit.rows() == []


def test_a_path_that_is_billed_unseen_is_refused_under_a_hard_budget(kit):
    with pytest.raises(Unmeterable, match="/containers cannot be metered"):
        _container(kit, kit.client(budget="$5/day"))
    assert kit.provider.requests == []
    assert kit.rows() == []


def test_a_hard_budget_that_only_the_ledger_knows_refuses_it_too(kit, ledger_path):
    with Meter(ledger_path) as other:
        other.set_budget(Budget("house", "5", "day"))
    with pytest.raises(Unmeterable):
        _container(kit, kit.client())
    assert kit.provider.requests == []


# -- moderation -----------------------------------------------------------------------------------------


def test_a_moderation_is_a_free_row_which_passes_any_budget(kit):
    client = kit.client(budget="$0/day", provider="openai")
    kit.provider.script(
        lambda _: Reply(body={"id": "modr-1", "model": "omni-moderation-latest", "results": []})
    )
    kit.run(client.moderations.create(input="pennies"))
    row = kit.row()
    assert (row.operation, row.model, row.outcome) == ("moderation", "omni-moderation-latest", "complete")
    assert (row.cost_nano, row.cost_source, row.counted_nano) == (0, "free", 0)


# -- images ---------------------------------------------------------------------------------------------


def image_body(n=1, usage=TOKENS):
    return {"created": 1, "data": [{"b64_json": "AA=="}] * n, **({"usage": usage} if usage else {})}


def test_images_are_priced_by_the_tokens_that_they_state(kit):
    client = kit.client(provider="openai")
    kit.provider.script(lambda _: Reply(body=image_body(2)))
    answer = kit.run(
        client.images.generate(model="gpt-image-1", prompt="a penny", n=2, size="1024x1024", quality="low")
    )
    row = kit.row()
    assert (row.operation, row.input_tokens, row.output_tokens) == ("image", 50, 1056)
    assert (row.cost_source, row.usage_source) == ("priced", "reported")
    assert row.cost_nano == 50 * 5_000 + 1056 * 40_000
    assert json.loads(row.units).items() >= {"size": "1024x1024", "quality": "low", "images": 2}.items()
    assert kit.meter.receipt(answer).usage.images == 2


def test_edits_and_variations_are_images_too(kit):
    client = kit.client(provider="openai")
    kit.provider.script(lambda _: Reply(body=image_body()))
    kit.run(client.images.edit(model="gpt-image-1", image=PNG, prompt="a bigger penny"))
    kit.run(client.images.create_variation(model="gpt-image-1", image=PNG))
    assert [row.operation for row in kit.rows()] == ["image", "image"]
    assert {row.cost_nano for row in kit.rows()} == {50 * 5_000 + 1056 * 40_000}


def test_images_without_tokens_have_an_unknown_cost_unless_each_has_a_price(kit, tmp_path):
    kit.provider.script(lambda _: Reply(body=image_body(3, usage=None)))
    kit.run(kit.client(provider="openai").images.generate(model="gpt-image-1", prompt="a penny", n=3))
    row = kit.row()
    assert (row.cost_nano, row.cost_source, json.loads(row.units)["images"]) == (None, "unpriced", 3)
    prices = {"dall-e-3": {"image": "0.04"}}
    with Meter(tmp_path / "l.db", prices=prices, durability="fast") as meter:
        client = meter.wrap(kit.plain(), budget="$0.12/day")
        answer = kit.run(client.images.generate(model="dall-e-3", prompt="a penny", n=3))
        assert str(meter.receipt(answer).cost) == "0.12"
        assert meter.receipt(answer).held == meter.receipt(answer).cost


def test_images_of_tokens_are_refused_under_a_hard_budget_unless_allowed(kit, tmp_path):
    client = kit.client(budget="$5/day", provider="openai")
    with pytest.raises(UnpricedModel, match="not known before its answer"):
        kit.run(client.images.generate(model="gpt-image-1", prompt="a penny"))
    assert kit.provider.requests == []
    with allowing(kit, tmp_path) as meter:
        client = meter.wrap(kit.plain(), budget="$5/day", provider="openai")
        kit.provider.script(lambda _: Reply(body=image_body()))
        answer = kit.run(client.images.generate(model="gpt-image-1", prompt="a penny"))
        assert "unpriced_allowed" in meter.receipt(answer).flags
        assert meter.receipt(answer).counted == meter.receipt(answer).cost


def test_a_streamed_image_states_its_tokens_at_the_end(kit):
    client = kit.client(provider="openai")
    kit.provider.script(
        lambda _: Reply(
            events=[
                {"type": "image_generation.partial_image", "b64_json": "AA==", "partial_image_index": 0},
                {"type": "image_generation.completed", "b64_json": "AA==", "usage": TOKENS},
            ]
        )
    )
    stream = kit.run(client.images.generate(model="gpt-image-1", prompt="a penny", stream=True))
    assert len(list(kit.items(stream))) == 2
    assert kit.row().cost_nano == 50 * 5_000 + 1056 * 40_000


# -- speech ---------------------------------------------------------------------------------------------


def speak(kit, client, model="tts-1", **more):
    return kit.run(client.audio.speech.create(model=model, voice="alloy", input="A penny saved", **more))


SOUND = {"content-type": "audio/mpeg"}


def test_speech_is_priced_by_the_characters_of_its_text_which_are_held(kit):
    client = kit.client(budget="$1/day", provider="openai")
    kit.provider.script(lambda _: Reply(body=b"\xff\xfb\x90", headers=SOUND))
    answer = speak(kit, client)
    assert answer.content == b"\xff\xfb\x90"
    row = kit.row()
    assert (row.operation, row.outcome, row.usage_source) == ("speech", "complete", "estimated")
    assert row.cost_nano == row.held_nano == 13 * 15_000
    assert json.loads(row.units) == {"characters": 13}
    assert (row.input_tokens, row.output_tokens) == (None, None)


def test_streamed_speech_passes_untouched_and_is_booked_at_its_end(kit):
    client = kit.client(provider="openai")
    sound = b"\xff\xfb\x90" * 10_000
    kit.provider.script(lambda _: Reply(body=sound, headers=SOUND))
    made = client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="A penny saved"
    )
    with kit.inside(made) as response:
        assert b"".join(kit.items(response.iter_bytes())) == sound
    assert (kit.row().outcome, kit.row().cost_nano) == ("complete", 13 * 15_000)


def test_speech_that_is_billed_by_tokens_has_an_unknown_cost(kit):
    client = kit.client(provider="openai")
    kit.provider.script(lambda _: Reply(body=b"\xff\xfb\x90", headers=SOUND))
    speak(kit, client, "gpt-4o-mini-tts")
    row = kit.row()
    assert (row.cost_nano, row.cost_source, row.outcome) == (None, "unpriced", "complete")
    with pytest.raises(UnpricedModel):
        speak(kit, kit.client(budget="$5/day", provider="openai"), "gpt-4o-mini-tts")


def test_speech_as_events_states_its_tokens(kit):
    client = kit.client(provider="openai")
    kit.provider.script(
        lambda _: Reply(
            events=[
                {"type": "speech.audio.delta", "audio": "AA=="},
                {
                    "type": "speech.audio.done",
                    "usage": {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115},
                },
            ]
        )
    )
    speak(kit, client, "gpt-4o-mini-tts", stream_format="sse")
    row = kit.row()
    assert (row.input_tokens, row.output_tokens, row.cost_source) == (14, 101, "priced")


# -- what was said --------------------------------------------------------------------------------------


def hear(kit, client, model="whisper-1", to="transcriptions", **more):
    return kit.run(getattr(client.audio, to).create(model=model, file=("a.wav", b"RIFF"), **more))


def test_a_transcription_is_priced_by_the_seconds_that_it_states(kit):
    client = kit.client(provider="openai")
    kit.provider.script(lambda _: Reply(body={"text": "penny", "usage": {"type": "duration", "seconds": 9}}))
    assert hear(kit, client).text == "penny"
    row = kit.row()
    assert (row.operation, row.cost_nano, row.cost_source) == ("transcription", 900_000, "priced")
    assert float(json.loads(row.units)["seconds"]) == 9


def test_a_transcription_is_priced_by_the_tokens_that_it_states(kit):
    client = kit.client(provider="openai")
    usage = {
        "type": "tokens",
        "input_tokens": 14,
        "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
        "output_tokens": 101,
        "total_tokens": 115,
    }
    kit.provider.script(lambda _: Reply(body={"text": "penny", "usage": usage}))
    hear(kit, client, "gpt-4o-transcribe")
    assert kit.row().cost_nano == 4 * 2_500 + 10 * 6_000 + 101 * 10_000


def test_a_translation_is_priced_by_its_duration(kit):
    client = kit.client(provider="openai")
    body = {"text": "penny", "duration": 8.5, "language": "english", "segments": []}
    kit.provider.script(lambda _: Reply(body=body))
    hear(kit, client, to="translations", response_format="verbose_json")
    row = kit.row()
    assert (row.operation, row.cost_nano) == ("translation", 850_000)


@pytest.mark.parametrize("to", ["transcriptions", "translations"])
def test_an_answer_of_plain_text_is_complete_and_its_cost_is_unknown(kit, to):
    client = kit.client(provider="openai")
    kit.provider.script(lambda _: Reply(body=b"penny\n", headers={"content-type": "text/plain"}))
    assert hear(kit, client, to=to, response_format="text") == "penny\n"
    row = kit.row()
    assert (row.outcome, row.usage_source) == ("complete", "unknown")
    assert (row.cost_nano, row.cost_source, row.units) == (None, "unpriced", "{}")


def test_the_length_of_a_recording_is_not_known_so_a_hard_budget_refuses_it(kit):
    with pytest.raises(UnpricedModel, match="on_unpriced='allow'"):
        hear(kit, kit.client(budget="$5/day", provider="openai"))
    assert kit.provider.requests == []


def test_a_streamed_transcription_states_its_tokens_at_the_end(kit):
    client = kit.client(provider="openai")
    usage = {"type": "tokens", "input_tokens": 14, "output_tokens": 101, "total_tokens": 115}
    kit.provider.script(
        lambda _: Reply(
            events=[
                {"type": "transcript.text.delta", "delta": "pen"},
                {"type": "transcript.text.done", "text": "penny", "usage": usage},
            ]
        )
    )
    assert len(list(kit.items(hear(kit, client, "gpt-4o-transcribe", stream=True)))) == 2
    row = kit.row()
    assert (row.input_tokens, row.output_tokens, row.cost_source) == (14, 101, "priced")


# -- responses ------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(Responses, "compact"), reason="this version of openai has no compaction")
def test_a_compaction_is_held_at_the_models_most_output(kit):
    client = kit.client(budget="$5/day", provider="openai")
    kit.provider.script(
        lambda _: Reply(
            body={
                "id": "resp_1",
                "object": "response.compaction",
                "created_at": 1,
                "output": [],
                "usage": {"input_tokens": 1000, "output_tokens": 10, "total_tokens": 1010},
            }
        )
    )
    kit.run(client.responses.compact(model="gpt-4o", input="pennies"))
    row = kit.row()
    assert (row.operation, row.input_tokens, row.output_tokens) == ("responses", 1000, 10)
    assert row.held_nano > 16_384 * 10_000
    assert "max_output_tokens" not in kit.provider.requests[0].body


def going_on(status, usage=None, **more):
    body = {"id": "resp_bg", "object": "response", "created_at": 1, "model": "gpt-4o", "status": status}
    return Reply(
        body={**body, "output": [], "parallel_tool_calls": True, "tools": [], "usage": usage, **more}
    )


SPENT = {"input_tokens": 1000, "output_tokens": 10, "total_tokens": 1010}


def in_background(kit, client):
    return kit.run(
        client.responses.create(model="gpt-4o", input="pennies", background=True, max_output_tokens=1000)
    )


def test_a_background_response_is_held_until_a_later_answer_says_how_it_ended(kit):
    client = kit.client(budget="$5/day", provider="openai")
    kit.provider.script(
        going_on("queued"),
        going_on("in_progress"),
        going_on("completed", SPENT),
        going_on("completed", SPENT),
    )
    first = in_background(kit, client)
    with pytest.raises(LookupError):
        kit.meter.receipt(first)
    (window,) = kit.meter.engine.ledger.windows()
    assert window.held >= 1000 * 10_000
    assert kit.run(client.responses.retrieve("resp_bg")).status == "in_progress"
    assert kit.meter.engine.ledger.facts()["open_calls"] == 1
    last = kit.run(client.with_options(timeout=9).responses.retrieve("resp_bg"))
    assert kit.meter.receipt(last).cost == kit.meter.receipt(first).cost
    kit.run(client.responses.retrieve("resp_bg"))
    row = kit.row()
    assert (row.outcome, row.input_tokens, row.output_tokens) == ("complete", 1000, 10)
    assert row.cost_nano == 1000 * 2_500 + 10 * 10_000
    assert row.response_id == "resp_bg"


def test_a_background_response_that_is_cancelled_is_counted_at_its_hold(kit):
    client = kit.client(budget="$5/day", provider="openai")
    kit.provider.script(going_on("queued"), going_on("cancelled"))
    in_background(kit, client)
    kit.run(client.responses.cancel("resp_bg"))
    row = kit.row()
    assert (row.outcome, row.usage_source) == ("unknown", "estimated")
    assert row.counted_nano == row.held_nano > row.cost_nano


def test_a_response_that_was_stored_is_not_booked_again_when_it_is_read(kit):
    client = kit.client(provider="openai")
    kit.provider.script(going_on("completed", SPENT), going_on("completed", SPENT))
    kit.run(client.responses.create(model="gpt-4o", input="pennies"))
    kit.run(client.responses.retrieve("resp_bg"))
    assert kit.row().cost_nano == 1000 * 2_500 + 10 * 10_000


def test_a_raw_answer_settles_a_background_response_too(kit):
    client = kit.client(provider="openai")
    kit.provider.script(going_on("queued"), going_on("completed", SPENT))
    in_background(kit, client)
    kit.run(client.responses.with_raw_response.retrieve("resp_bg"))
    assert kit.row().outcome == "complete"


def test_a_background_stream_that_is_left_goes_on_and_is_counted_at_its_hold(kit):
    client = kit.client(budget="$5/day", provider="openai")
    kit.provider.script(Reply(chunks=3, piecewise=True, pause_after=1))
    made = client.responses.create(
        model="gpt-4o", input="pennies", background=True, stream=True, max_output_tokens=1000
    )
    stream = kit.run(made)
    next(kit.items(stream))
    kit.close(stream)
    kit.provider.resume()
    row = kit.row()
    assert (row.outcome, row.counted_nano) == ("unknown", row.held_nano)
