"""What arrives at the fake provider, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from decimal import Decimal
from typing import Any, Literal

__all__ = ["Reply", "Request"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it arrived.

    Attributes:
        order: 1 for the first that the provider received, and so on; it does not start again at `clear()`.
        method: in capitals.
        path: without the query, as sent: `/v1/chat/completions`.
        query: what followed the question mark, or "".
        headers: names in lower case.
        raw: the body's bytes.
        body: the parsed JSON of the body; None when there is none or it is not JSON.
    """

    order: int
    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes = field(default=b"", repr=False)
    body: Any = None

    @property
    def model(self) -> str | None:
        """The model that was asked for."""
        model = self.body.get("model") if isinstance(self.body, dict) else None
        return model if isinstance(model, str) else None

    @property
    def stream(self) -> bool:
        """Whether a stream was asked for."""
        return isinstance(self.body, dict) and self.body.get("stream") is True


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. Everything left out is as the provider answers by default.

    The pieces of a streamed reply, which `chunks`, `die_after` and `pause_after` count, are its deltas of
    text or of a tool call's arguments, or the items of `events`.

    Attributes:
        text: of the answer; of the message when `status` is an error.
        usage: `"default"` for the provider's own; None for an answer that states none; else a mapping, either
            of `input_tokens`, `cached_tokens`, `cache_write_tokens`, `output_tokens`, `reasoning_tokens`,
            `audio_input_tokens`, `audio_output_tokens`, which is spelled as the request's API spells it (a
            count that is left out is not stated), or the usage object itself, sent as it is.
        cost: put into the usage object as `cost`, in US dollars: a number, its digits, or an object.
        model: that served it; by default the model that was asked for.
        service_tier: that served it; by default the one asked for (`default` for `auto`), or not stated.
        end: `incomplete` for an answer cut short by its token limit; `failed`, on Responses, for one that
            failed.
        tool_calls: mappings with `name`, `arguments` (JSON text, or a mapping) and perhaps `id`.
        status: of HTTP; from 400 on, the answer is an error object.
        headers: added to the answer's, or put in the place of them.
        body: sent instead of an answer made of the above: a JSON value, or bytes as they are.
        events: sent as the events of a stream instead: JSON values, or the text of `data:` lines.
        chunks: how many pieces a stream has, for each text and each tool call.
        piecewise: write a stream's pieces one by one. By default what needs no waiting is one write.
        pause_after: that many pieces are sent, then the stream waits for `provider.resume()`.
        die_after: that many pieces are sent, then the connection is cut. An answer that is no stream is cut
            in the middle of its body.
        no_answer: the connection is cut before a byte of the answer.
        error_event: after its pieces the stream ends with this event, or for True with an error made up.
        no_done: the stream ends in good order but without its end mark: `[DONE]`, or the last event of
            Responses.

    Raises:
        ValueError: for counts that cannot be, or a status that is no HTTP status of an answer.
    """

    text: str | None = None
    _: KW_ONLY
    usage: Mapping[str, Any] | Literal["default"] | None = "default"
    cost: Decimal | str | float | Mapping[str, Any] | None = None
    model: str | None = None
    service_tier: str | None = None
    end: Literal["completed", "incomplete", "failed"] = "completed"
    tool_calls: Sequence[Mapping[str, Any]] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    events: Sequence[Any] | None = None
    chunks: int = 3
    piecewise: bool = False
    pause_after: int | None = None
    die_after: int | None = None
    no_answer: bool = False
    error_event: Mapping[str, Any] | bool = False
    no_done: bool = False

    def __post_init__(self) -> None:
        if self.chunks < 1:
            raise ValueError(f"a stream has at least one piece; got chunks={self.chunks}")
        for name in ("pause_after", "die_after"):
            count = getattr(self, name)
            if count is not None and count < 0:
                raise ValueError(f"{name} counts pieces; got {count}")
        if not 200 <= self.status <= 599:
            raise ValueError(f"status must be from 200 to 599; got {self.status}")
