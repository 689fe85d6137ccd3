"""What the server says over one WebSocket, and the calls that it tells of.

No money can be held for them: the server decides when it answers, and what it is asked does not pass
`client.request`. What its events report is booked as finished calls, each priced at its own instant.
"""

from __future__ import annotations

import json
import os
import re
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from farthing import usage
from farthing.engine import Engine, Made
from farthing.settings import Who
from farthing.usage import Reading

__all__ = ["Ended", "Talk"]

_TELLING = re.compile(
    rb'"usage"|"session\.(?:created|updated|started|closed)"|"transcription_session\.updated"'
    rb'|"response\.(?:created|done|completed|failed|incomplete)"'
)
"""Stands in every event that matters here, and not in those of sound and text, which are nearly all."""

_MOST_OPEN = 1_000

_ENDS = {
    "response.done": "openai.realtime",  # SDK types/realtime/response_done_event.py
    # SDK types/responses/responses_server_event.py
    "response.completed": "openai.responses",
    "response.incomplete": "openai.responses",
    "response.failed": "openai.responses",
}
_TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
_SECONDS = ("session.usage.updated", "session.closed")
_UNNAMED = "unknown"


@dataclass(slots=True)
class Ended:
    """A call that is over. `guessed`: what it states need not be all that is billed."""

    made: Made
    outcome: str = "complete"
    guessed: bool = False


@dataclass(slots=True)
class _Begun:
    """What has begun and has not ended; `reading` is the last that it said of itself."""

    started_ns: int
    mono_ns: int
    model: str | None = None
    reading: Reading | None = None


class Talk:
    """The calls of one connection. Fed with its messages by whoever reads it, ended by whoever comes first.

    Args:
        model: that the connection was asked for; None if its events name it.
        attached: the id of the session or telephone call that it joins; its opener may be metered as well.
        translates: its server states no usage at all.
    """

    __slots__ = (
        "__weakref__",
        "_attached",
        "_base_url",
        "_hears",
        "_lock",
        "_model",
        "_open",
        "_pid",
        "_provider",
        "_served",
        "_session",
        "_silent",
        "_translates",
        "_who",
        "engine",
    )

    def __init__(
        self,
        engine: Engine,
        who: Who,
        *,
        provider: str | None,
        base_url: str | None,
        model: str | None,
        attached: str | None,
        translates: bool,
    ) -> None:
        self.engine = engine
        self._who = who
        self._provider = provider
        self._base_url = base_url
        self._model = model
        self._served: str | None = None
        self._hears: str | None = None
        self._attached = attached
        self._translates = translates
        self._silent = False
        self._session: _Begun | None = None
        self._open: dict[str, _Begun] = {}
        self._lock = threading.Lock()
        self._pid = os.getpid()
        if attached is not None:
            self._join(attached)

    def hear(self, message: bytes | str) -> list[Ended]:
        """The calls that end with a message."""
        data = message.encode() if isinstance(message, str) else message
        if not _TELLING.search(data):
            return []
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            return []
        if not isinstance(event, dict):
            return []
        with self._lock:
            ended = self._told(event)
        return [] if self._silent else ended

    def end(self, *, broken: bool, closing: bool = True) -> list[Ended]:
        """What had begun when the connection was closed, or `broken` by the other side: it may be billed, and
        nobody says on what. Without `closing` the session may go on over another connection."""
        if self._pid != os.getpid():
            return []
        with self._lock:
            left, self._open = self._open, {}
            outcome = "unknown" if broken else "aborted"
            ended = [
                self._ended(begun, Reading(usage=None, model=begun.model, response_id=name), outcome=outcome)
                for name, begun in left.items()
            ]
            if closing:
                ended += self._leave(None)
        return [] if self._silent else ended

    # -- events ----------------------------------------------------------------------------------------

    def _told(self, event: Mapping[str, Any]) -> list[Ended]:
        kind = event.get("type")
        inner = event.get("event")
        if isinstance(inner, Mapping) and kind in {"response.event", "decision.event"}:  # of a Live session
            return self._told(inner)
        if kind == "response.created":
            self._begin(event)
        elif kind in _ENDS:
            return self._responded(event, _ENDS[kind])
        elif kind == _TRANSCRIBED:
            return [self._transcribed(event)]
        elif kind == "decision.completed":
            reading = usage.read(event.get("decision"), flavour="openai.responses", provider=self._provider)
            return [self._ended(self._now(), reading)]
        elif isinstance(event.get("session"), Mapping) or kind in _SECONDS:
            return self._of_session(str(kind), event)
        return []

    def _begin(self, event: Mapping[str, Any]) -> None:
        response = event.get("response")
        name = response.get("id") if isinstance(response, Mapping) else None
        if isinstance(response, Mapping) and isinstance(name, str) and len(self._open) < _MOST_OPEN:
            begun = self._open[name] = self._now()
            begun.model = _text(response.get("model"))

    def _responded(self, event: Mapping[str, Any], flavour: str) -> list[Ended]:
        reading = usage.read(event, flavour=flavour, provider=self._provider)
        begun = self._open.pop(reading.response_id or "", None) or self._now()
        operation = "other"
        if flavour == "openai.responses":
            operation = "responses"
        else:
            reading = replace(reading, model=reading.model or self._served)
        outcome = "complete" if reading.says or reading.unread else "unknown"
        return [self._ended(begun, reading, operation=operation, outcome=outcome)]

    def _transcribed(self, event: Mapping[str, Any]) -> Ended:
        """It is billed by the prices of the model that writes down, not of the one that talks."""
        reading = usage.read(event, flavour="openai.transcriptions", provider=self._provider)
        reading = replace(reading, model=self._hears, response_id=_text(event.get("item_id")))
        asked = self._hears or (self._model if self._served is None else None)
        return self._ended(self._now(), reading, operation="transcription", asked=asked or _UNNAMED)

    def _of_session(self, kind: str, event: Mapping[str, Any]) -> list[Ended]:
        session = event.get("session")
        if not isinstance(session, Mapping):
            session = {}
        name = _text(session.get("id"))
        if name is not None:
            self._join(name)
        self._served = _text(session.get("model")) or self._served
        self._hears = _model_of_transcripts(session) or self._hears
        ended: list[Ended] = []
        if kind == "session.started" and self._session is not None:
            before = self._session.reading and self._session.reading.response_id
            if before != name:
                ended = self._leave(None)
        if kind in {"session.started", *_SECONDS} or (self._translates and kind == "session.created"):
            if self._session is None:
                self._session = self._now()
            self._session.model = self._served
            self._session.reading = self._last(event, name)
        return ended + self._leave(kind) if kind == "session.closed" else ended

    def _last(self, event: Mapping[str, Any], name: str | None) -> Reading:
        """What a session has said so far: its seconds are sums, the last one stands."""
        before = self._session.reading if self._session is not None else None
        new = usage.read(event, flavour="openai.live", provider=self._provider)
        new = replace(new, model=new.model or self._served, response_id=name or self._attached)
        return new if before is None else usage.merge(before, new)

    # -- calls -----------------------------------------------------------------------------------------

    def _leave(self, kind: str | None) -> list[Ended]:
        """The session, if there is one; only its last event confirms what it said before
        (SDK types/live/session_closed_event.py)."""
        session, self._session = self._session, None
        if session is None or session.reading is None:
            return []
        operation = "translation" if self._translates else "other"
        sure = kind == "session.closed" and session.reading.usage is not None
        ended = self._ended(
            session, session.reading, operation=operation, outcome="complete" if sure else "unknown"
        )
        ended.guessed = not sure
        return [ended]

    def _ended(
        self,
        begun: _Begun,
        reading: Reading,
        *,
        operation: str = "other",
        outcome: str = "complete",
        asked: str | None = None,
    ) -> Ended:
        made = Made(
            model=asked or self._model or reading.model or self._served or _UNNAMED,
            reading=reading,
            who=self._who,
            provider=self._provider,
            base_url=self._base_url,
            operation=operation,
            started_ns=begun.started_ns,
            duration_ns=max(self.engine.clock.monotonic_ns() - begun.mono_ns, 0),
            flags=(),
        )
        return Ended(made, outcome)

    def _now(self) -> _Begun:
        clock = self.engine.clock
        return _Begun(clock.time_ns(), clock.monotonic_ns())

    def _join(self, name: str) -> None:
        """Of two connections to one session, both metered here, the one that opened it counts."""
        place = (self._base_url, name)
        if self._attached is None:
            _openers[place] = self
        else:
            self._silent = _openers.setdefault(place, self) is not self or self._silent


_openers: weakref.WeakValueDictionary[tuple[str | None, str], Talk] = weakref.WeakValueDictionary()


def _model_of_transcripts(session: Mapping[str, Any]) -> str | None:
    """SDK types/realtime/realtime_audio_config_input.py; of the beta, types/beta/realtime/session.py."""
    audio = session.get("audio")
    heard = audio.get("input") if isinstance(audio, Mapping) else None
    new = heard.get("transcription") if isinstance(heard, Mapping) else None
    for found in (new, session.get("input_audio_transcription")):
        if isinstance(found, Mapping):
            return _text(found.get("model"))
    return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
