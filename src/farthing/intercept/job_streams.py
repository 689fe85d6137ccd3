"""Streams that tell of a job: its events as it goes, or its results, one to a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from farthing import usage
from farthing.engine import Call
from farthing.engine.call import Settle
from farthing.intercept.events import data_of, payload
from farthing.intercept.job_ends import has_ended, later, started
from farthing.intercept.streams import Tee
from farthing.wire import Job

__all__ = ["JobTee", "ResultsTee"]


class JobTee(Tee):
    """What has passed of the events of a job, or of its state where that is read piece by piece.

    When its stream ends and the job does not, the call waits for a later answer.
    """

    __slots__ = ("_open", "_over", "_starts", "_state", "job")

    def __init__(
        self,
        call: Call,
        job: Job,
        *,
        is_json: bool,
        starts: bool = False,
        is_open: bool = True,
        leaves_open: bool = False,
    ) -> None:
        super().__init__(call, job.flavour, swallows=False, is_json=is_json, leaves_open=leaves_open)
        self.job = job
        self._starts = starts  # it is the first answer
        self._open = is_open  # the call has not been booked as expired or unknown
        self._state: Mapping[str, Any] | None = None
        self._over = False

    def end(self, *, whole: bool, error: BaseException | None = None, hurry: bool = False) -> Settle | None:
        """What is to be booked, the first time."""
        call = self.call
        call.engine.unwatch(call)
        if self._over or call.ended:
            return None
        self._over = True
        try:
            if self._unpack is None or self._unpacked(self._unpack):
                self._read()
            return self._booked(whole=whole or self._final, error=error, hurry=hurry)
        except Exception:
            call.engine.bug("reading a stream")
            return call.finish("unknown", None, error=error, hurry=hurry) if self._starts else None

    def _booked(self, *, whole: bool, error: BaseException | None, hurry: bool) -> Settle | None:
        state, seen = self._state, "".join(self._text)
        if self._starts:
            return started(self.call, self.job, state, whole=whole, seen=seen, error=error, hurry=hurry)
        if state is None or not has_ended(self.job, state):
            return None
        return later(self.call, self.job, state, certain=not self._open)

    def _read(self) -> None:
        self._digest()
        rest, self._partial = self._partial, b""
        if not self.is_json:
            self._look([rest] if rest else [])
            return
        try:
            state = json.loads(rest)
        except (ValueError, RecursionError):
            return
        self._state = state if isinstance(state, dict) else None

    def _look(self, events: list[bytes], *, text: bool = True) -> None:
        self._final = self._final or any(payload(event) == b"[DONE]" for event in events)
        parsed = [data for event in events if (data := data_of(event)) is not None]
        for data in parsed:
            state = data.get(self.job.within) if self.job.within else data
            if isinstance(state, Mapping) and state.get("object") == self.job.object:
                self._state = state
        if text and self._starts:
            self._text.append(usage.visible(self.flavour, parsed))


class ResultsTee(JobTee):
    """The results of a batch of Anthropic's: each line may bring a message with its usage."""

    __slots__ = ("_messages", "_unread")

    def __init__(self, call: Call, job: Job, *, is_open: bool = True) -> None:
        super().__init__(call, job, is_json=False, is_open=is_open)
        self._messages: list[Mapping[str, Any]] = []
        self._unread = False

    def _booked(self, *, whole: bool, error: BaseException | None, hurry: bool) -> Settle | None:
        """Nothing of results that were not read to their end: they can be asked for again."""
        if not whole or self._unread:
            return None
        if not self._messages:
            return self.call.finish("error")  # no request succeeded
        reading = usage.read_results(self._messages, provider=self.call.hold.reservation.provider)
        outcome = "complete" if reading.says or reading.unread else "unknown"
        if outcome == "unknown" and not self._open:
            return None
        return self.call.finish(outcome, reading, error=error, hurry=hurry)

    def _digest(self) -> None:
        *lines, self._partial = (self._partial + b"".join(self.kept)).split(b"\n")
        self.kept.clear()
        for line in lines:
            self._take(line)

    def _read(self) -> None:
        self._digest()
        self._take(self._partial)
        self._partial = b""

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            result = json.loads(line)["result"]
            if result["type"] == "succeeded":
                message = result["message"]
                self._messages.append({name: message.get(name) for name in ("type", "model", "usage")})
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            self._unread = True
