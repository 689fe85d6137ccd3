"""Errors that are raised before a request is sent, told from those that look like them and come later."""

from __future__ import annotations

from typing import Any

import h11
import openai
import pytest

from intercept.kit import ASK, HTTP


def fail(kit: Any, client: Any, **more: Any) -> None:
    with pytest.raises((openai.APIConnectionError, RuntimeError, h11.LocalProtocolError)):
        kit.run(client.chat.completions.create(**ASK, **more))


def through(kit: Any, made: type) -> Any:
    """A client whose requests go through a transport of `made`."""
    http = kit.pick(HTTP.Client, HTTP.AsyncClient)(transport=made())
    return kit.client(options={"http_client": http}, budget="$5/day")


def test_a_key_with_a_line_feed_costs_nothing_however_often_it_is_tried(kit):
    client = kit.client(options={"api_key": "sk-test\n", "max_retries": 2}, budget="$5/day")
    fail(kit, client)
    row = kit.row()
    assert (row.outcome, row.attempts, row.cost_nano, row.counted_nano, row.flags) == ("error", 3, 0, 0, [])
    assert kit.provider.requests == []
    assert all(window.spent == 0 for window in kit.meter.windows())


def test_a_header_that_http_does_not_allow_costs_nothing(kit):
    fail(kit, kit.client(), extra_headers={"x-a": "a\x00b"})
    assert (kit.row().outcome, kit.row().counted_nano) == ("error", 0)
    assert kit.provider.requests == []


def test_a_closed_client_costs_nothing(kit):
    client = kit.client(budget="$5/day")
    kit.run(client.close())
    fail(kit, client)
    assert (kit.row().outcome, kit.row().counted_nano) == ("error", 0)
    assert kit.provider.requests == []


def test_a_body_that_is_longer_than_was_said_may_have_been_sent(kit):
    if kit.is_async:

        class Shortened(HTTP.AsyncHTTPTransport):  # type: ignore[misc, name-defined]
            async def handle_async_request(self, request: Any) -> Any:
                request.headers["content-length"] = "5"
                return await super().handle_async_request(request)
    else:

        class Shortened(HTTP.HTTPTransport):  # type: ignore[misc, name-defined, no-redef]
            def handle_request(self, request: Any) -> Any:
                request.headers["content-length"] = "5"
                return super().handle_request(request)

    fail(kit, through(kit, Shortened))
    assert (kit.row().outcome, kit.row().counted_nano) == ("unknown", kit.row().held_nano)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("Cannot send a request, as the client has been closed."), HTTP.LocalProtocolError("late")],
    ids=["runtime", "protocol"],
)
def test_an_error_of_the_same_class_after_sending_may_have_cost_the_hold(kit, error):
    if kit.is_async:

        class Late(HTTP.AsyncHTTPTransport):  # type: ignore[misc, name-defined]
            async def handle_async_request(self, request: Any) -> Any:
                await (await super().handle_async_request(request)).aclose()
                raise error
    else:

        class Late(HTTP.HTTPTransport):  # type: ignore[misc, name-defined, no-redef]
            def handle_request(self, request: Any) -> Any:
                super().handle_request(request).close()
                raise error

    fail(kit, through(kit, Late))
    assert len(kit.provider.requests) == 1
    assert (kit.row().outcome, kit.row().counted_nano) == ("unknown", kit.row().held_nano)
