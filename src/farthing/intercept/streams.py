"""Streams: what of them passes the caller, and what they say when they end.

A call settles once: at the end, on an error, when its stream is closed, when that is garbage-collected, or
at exit. Where the bytes are seen: `taps`.
"""

from __future__ import annotations

import json
import re
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from farthing import usage
from farthing.engine import Call, promptly
from farthing.engine.broken_off import hides
from farthing.intercept.events import EVENT_END, EVENT_ENDS, data_of, payload, split, whole_events
from farthing.struck import pass_on, was_struck
from farthing.usage import Reading

__all__ = ["EVERY", "Tee"]

_KEEP = 1 << 20
"""Bytes of a stream that are kept before they are digested to text and usage."""

_LAST_EVENTS = 4
"""Events at the end of a stream that are looked at first: the last chunk, its usage, and [DONE]."""

EVERY = 255
"""Every so many chunks (a power of two less one) the kept bytes are added up."""

_empty_list = re.compile(rb"\[\s*\]").search
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_ERROR = b'"error"'


class Tee:
    """What has passed of one stream, and what it says."""

    __slots__ = (
        "__weakref__",
        "_done",
        "_ended",
        "_failed",
        "_final",
        "_heard",
        "_partial",
        "_text",
        "_unfinished",
        "_unpack",
        "broken",
        "call",
        "choices",
        "decoded",
        "flavour",
        "held_back",
        "is_json",
        "kept",
        "leaves_open",
        "reader",
        "reading",
        "swallows",
    )

    def __init__(
        self,
        call: Call,
        flavour: str,
        *,
        swallows: bool,
        is_json: bool,
        choices: int = 1,
        leaves_open: bool = False,
    ) -> None:
        self.call = call
        self.flavour = flavour
        self.swallows = swallows
        self.is_json = is_json
        self.choices = choices  # how many answers the request asks for
        self.leaves_open = leaves_open  # its reader stops at an error event, and does not close the response
        self.reader: weakref.ref[Any] | None = None  # the generator that its bytes pass through
        self.decoded = False  # it is read where its bytes are decoded
        self.broken = False  # an error event has passed, and the reader stops there
        self.held_back = b""
        self.reading: Reading | None = None
        self.kept: list[bytes] = []
        self._partial = b""
        self._unfinished = b""
        self._unpack: Callable[[bytes], bytes] | None = None
        self._text: list[str] = []
        self._ended: frozenset[int] = frozenset()
        self._heard = False
        self._final = False  # the answer is over
        self._done = False  # and so is the stream: no more comes, not even its usage
        self._failed = False

    def watcher(self) -> Callable[[bytes], bool] | None:
        """Tells of each chunk that was kept whether it is plain; None if all are but every `EVERY`th, which
        is fed for its sake."""
        if self._unpack is not None:
            return _always
        if self.leaves_open:
            return self._plain_so_far
        return self.plain if self.swallows or type(self).plain is not Tee.plain else None

    def plain(self, chunk: bytes) -> bool:
        """True if the caller may see this chunk as it is and nothing is to be done yet: nearly always."""
        return not (
            len(self.kept) & EVERY == 0
            or (
                self.swallows
                # A regular expression takes a third of the time of `in` for these two bytes.
                and (self.held_back or not chunk.endswith(EVENT_ENDS) or _empty_list(chunk))
            )
        )

    def _plain_so_far(self, chunk: bytes) -> bool:
        """The same, where an error event has to be noticed when it passes."""
        return (
            self.plain(chunk)
            and not self._unfinished
            and chunk.endswith(EVENT_ENDS)
            and chunk.find(_ERROR) < 0
        )

    def packed(self, unpack: Callable[[bytes], bytes]) -> None:
        """The chunks are compressed, and pass the caller so: what they say is unpacked when they have ended.
        `unpack` takes also what was broken off."""
        self._unpack = unpack

    def feed(self, chunk: bytes) -> bytes:
        """A chunk that was kept and is not plain; returns what the caller shall see of it."""
        if not self.is_json and sum(map(len, self.kept)) > _KEEP:
            try:
                self._digest()
            except Exception:
                self.call.engine.bug("reading a stream")
        if self.leaves_open and not self.broken:
            self._listen(chunk)
        return self._without_usage(chunk) if self.swallows else chunk

    def _listen(self, chunk: bytes) -> None:
        """Note an error event once it is whole."""
        data = self._unfinished + chunk
        cut = whole_events(data)
        self._unfinished = data[cut:]
        if data.find(_ERROR, 0, cut) >= 0:
            self.broken = any((data_of(event) or {}).get("error") for event in split(data[:cut]))

    def flush(self) -> bytes:
        """What was held back when the stream ended."""
        rest, self.held_back = self.held_back, b""
        return self._kept_events(rest) if rest and self.swallows else rest

    def _without_usage(self, chunk: bytes) -> bytes:
        """Whole events only, less the one that we asked for."""
        if self.held_back:
            chunk = self.held_back + chunk
            self.held_back = b""
        if not chunk.endswith(EVENT_ENDS):
            cut = whole_events(chunk)
            self.held_back = chunk[cut:]
            chunk = chunk[:cut]
        return self._kept_events(chunk)

    def _kept_events(self, whole: bytes) -> bytes:
        if not _NO_CHOICES.search(whole):
            return whole
        return b"".join(event for event in split(whole) if not self._is_ours(event))

    @staticmethod
    def _is_ours(event: bytes) -> bool:
        """True for the extra chunk that `include_usage` brings: no choices, and usage."""
        if not _NO_CHOICES.search(event):
            return False
        data = data_of(event)
        return (
            data is not None
            and data.get("choices") == []
            and bool(data.get("usage"))
            and data.get("object") in {"chat.completion.chunk", "text_completion"}
        )

    def _digest(self) -> None:
        """Turn the bytes that were kept into text and usage."""
        data = self._partial + b"".join(self.kept)
        self.kept.clear()
        if self.is_json:
            self._partial = data
            return
        events = split(data)
        self._partial = b"" if not events or EVENT_END.search(events[-1]) else events.pop()
        self._look(events)

    def _told_at_the_end(self) -> bool:
        """Whether the last events say how the stream ended and what it was billed on.

        Then nothing before them matters: the last usage wins, and the text is not needed. To parse every
        chunk of a stream would cost a third of what the SDK itself does with it.
        """
        data = self._partial + b"".join(self.kept)
        cut = len(data)
        for _ in range(_LAST_EVENTS + 1):
            cut = data.rfind(b"\n\n", 0, cut)
            if cut < 0:
                return False
        if data.find(b'"cost', 0, cut) >= 0:  # money may be stated apart from the last usage
            return False
        before = self.reading, self._final, self._done, self._failed, self._ended
        self._look(split(data[cut + 2 :]), text=False)
        reading = self.reading
        if self._final and reading is not None and reading.usage is not None and reading.found is None:
            return True
        self.reading, self._final, self._done, self._failed, self._ended = before
        return False

    def _look(self, events: list[bytes], *, text: bool = True) -> None:
        parsed: list[Mapping[str, Any]] = []
        for event in events:
            if b"[DONE]" in event and payload(event).strip() == b"[DONE]":
                self._final = self._done = self._heard = True
                continue
            data = data_of(event)
            if data is None:
                continue
            self._heard = True
            parsed.append(data)
            if usage.failed(data, self.flavour):
                self._failed = True
            if usage.finished(data, self.flavour):
                ended = usage.choices_ended(data, self.flavour)
                self._ended |= ended
                self._done = self._done or not ended
                self._final = self._final or not ended or len(self._ended) >= self.choices
            new = usage.read_event(data, flavour=self.flavour, provider=self.call.hold.reservation.provider)
            if new is not None:
                self.reading = usage.merge(self.reading, new)
                if data.get("choices") == []:
                    self._final = True
        if text:
            self._text.append(usage.visible(self.flavour, parsed))

    def end(self, *, whole: bool, error: BaseException | None = None, hurry: bool = False) -> Any:
        """What is to be booked, the first time: `whole` if the server has said all that it would."""
        call = self.call
        call.engine.unwatch(call)
        if call.ended:
            return None
        try:
            if self._unpack is not None and not self._unpacked(self._unpack):
                return call.finish("unknown", None, error=error, hurry=hurry)
            judge = self._end_of_json if self.is_json else self._end_of_events
            outcome, seen = judge(whole=whole, error=error)
        except Exception:
            call.engine.bug("reading a stream")
            return call.finish("unknown", None, error=error, hurry=hurry)
        return call.finish(outcome, self.reading, seen=seen, error=error, hurry=hurry)

    def _unpacked(self, unpack: Callable[[bytes], bytes]) -> bool:
        """Whether what was kept can be read."""
        try:
            self.kept = [unpack(b"".join(self.kept))]
        except Exception as error:  # the server's doing: what the body says nobody can know
            pass_on(error)
            return False
        return True

    def _end_of_events(self, *, whole: bool, error: BaseException | None) -> tuple[str, str]:
        """The outcome, and what was seen of the answer where that matters."""
        if self._told_at_the_end():
            return "complete", ""
        self._digest()
        if self._partial:
            self._look([self._partial])
            self._partial = b""
        reading = self.reading
        piecemeal = reading is not None and reading.found is not None  # a part of the counts is no usage yet
        told = self._final and reading is not None and reading.usage is not None
        if self._failed and (piecemeal or not told):
            outcome = "unknown"
        elif (self._final and self._is_sure(error)) or (whole and self._heard and not piecemeal):
            outcome = "complete"
        elif whole or _broke(error):
            outcome = "unknown"
        else:
            outcome = "aborted"
        return outcome, "".join(self._text)

    def _is_sure(self, error: BaseException | None) -> bool:
        """Whether an answer that is over is billed on what is known of it, though its stream was perhaps left
        before it said on what."""
        reading = self.reading
        if self._done or (reading is not None and (reading.says or reading.unread)):
            return True
        return not _broke(error) and not hides(self.call.quote, reading)

    def _end_of_json(self, *, whole: bool, error: BaseException | None) -> tuple[str, str]:
        self._digest()
        try:
            body = json.loads(self._partial)
        except (ValueError, RecursionError):
            body = None
        if isinstance(body, dict):
            reading = usage.read(body, flavour=self.flavour, provider=self.call.hold.reservation.provider)
            self.reading = reading
            told = reading.usage is not None or reading.suspect
            return "complete", "" if told else usage.visible_in(self.flavour, body)
        return "unknown" if whole or _broke(error) else "aborted", ""

    def judged(self, content: bytes) -> tuple[str, str]:
        """The outcome of a stream that is here whole, and what was seen of it."""
        self.kept.append(content)
        return self._end_of_events(whole=True, error=None)

    def settle_later(self, error: BaseException | None = None) -> None:
        """Book the end of a stream whose reader is being closed, perhaps by a collection: nobody waits."""
        promptly(self.call.engine, partial(self.end, whole=False, error=error))

    def settle(self, *, whole: bool, error: BaseException | None = None) -> None:
        """Book the end, in this thread. Nothing that goes wrong here reaches the reader of the stream."""
        try:
            want = self.end(whole=whole, error=error)
            if want is not None:
                self.call.engine.settle(want)
        except Exception:
            self.call.engine.bug("booking a stream")

    async def asettle(self, *, whole: bool, error: BaseException | None = None) -> None:
        """The same from a coroutine. A cancelled task does not wait."""
        try:
            hurry = error is not None and was_struck(error)
            want = self.end(whole=whole, error=error, hurry=hurry)
            if want is not None:
                await self.call.engine.aperform(want)
        except Exception:
            self.call.engine.bug("booking a stream")

    def abandon(self) -> Any:
        """The end of a stream that nobody reads any more."""
        return self.end(whole=False)


def _always(_: bytes) -> bool:
    return True


def _broke(error: BaseException | None) -> bool:
    """Whether the other side broke a stream off, and not its reader, who was cancelled or interrupted."""
    return error is not None and not was_struck(error)
