"""OpenAI's events over WebSockets: Realtime and Live."""

from __future__ import annotations

from dataclasses import replace

from farthing.records import Usage
from farthing.usage.flavours.row import Row, under
from farthing.usage.reading import Part, Reading

__all__ = ["LIVE", "REALTIME"]


def _by_kind(reading: Reading) -> Reading:
    """A reading of Realtime in parts: sound, images and text, each with what of it was read from a cache,
    which has a price of its own for each. As it is where it does not say that, or contradicts itself."""
    counts, units = reading.usage, reading.units or {}
    heard, looked = units.get("audio_cached_tokens", 0), units.get("image_cached_tokens", 0)
    if counts is None or counts.input_tokens is None or not (heard or looked):
        return reading
    audio, image = counts.audio_input_tokens or 0, counts.image_input_tokens or 0
    text, cached = counts.input_tokens - audio - image, counts.cached_tokens or 0
    if not (isinstance(heard, int) and isinstance(looked, int)):
        return reading
    read = cached - heard - looked
    if heard > audio or looked > image or not 0 <= read <= text:
        return reading
    told = Usage.trusted(
        input_tokens=text,
        cached_tokens=read,
        output_tokens=counts.output_tokens,
        audio_output_tokens=counts.audio_output_tokens,
    )
    sound = Usage.trusted(input_tokens=audio, cached_tokens=heard, audio_input_tokens=audio, output_tokens=0)
    sight = Usage.trusted(input_tokens=image, cached_tokens=looked, image_input_tokens=image, output_tokens=0)
    parts = (("text", told), ("audio", sound), ("image", sight))
    return replace(reading, parts=tuple(Part(kind=kind, model=None, usage=usage) for kind, usage in parts))


REALTIME = Row(
    name="openai.realtime",
    sources=(
        "SDK types/realtime/realtime_response_usage.py: cached tokens are a subset of the input tokens",
        "SDK types/realtime/realtime_response_usage_input_token_details.py: what of them was audio",
        "SDK types/realtime/realtime_response_usage_output_token_details.py",
        "SDK types/realtime/response_done_event.py, types/realtime/realtime_response.py: status",
        "SDK types/beta/realtime/realtime_response_usage.py: the same, without images",
    ),
    counts={
        "input_tokens": "input_tokens",
        "output_tokens": "output_tokens",
        "total_tokens": "total_tokens",
        **under(
            ("input_token_details",),
            {
                "cached_tokens": "cached_tokens",
                "audio_tokens": "audio_input_tokens",
                "image_tokens": "image_input_tokens",
                "text_tokens": "",  # the rest
                "cached_tokens_details.audio_tokens": "audio_cached_tokens",
                "cached_tokens_details.image_tokens": "image_cached_tokens",
                "cached_tokens_details.text_tokens": "",
            },
        ),
        **under(("output_token_details",), {"audio_tokens": "audio_output_tokens", "text_tokens": ""}),
    },
    inside=("response",),
    status_at=("status",),
    objects=frozenset({"realtime.response", "response.done"}),
    ends=frozenset({"response.done"}),
    apart=_by_kind,
)

LIVE = Row(
    name="openai.live",
    sources=(
        "SDK types/live/session_usage.py: seconds of the session so far, not to be summed",
        "SDK types/live/session_usage_updated_event.py, types/live/session_closed_event.py",
    ),
    counts={"seconds": "seconds"},
    total_binds=False,
    model_at=("session.model",),
    id_at=("session.id",),
    objects=frozenset({"session.usage.updated", "session.closed"}),
    ends=frozenset({"session.closed"}),
)
