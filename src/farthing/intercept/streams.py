"""Streams, observed where their bytes pass; the SDK's own stream object is handed on untouched.

Two places of the HTTP response are hooked, on that one instance: `iter_bytes` (decoded bytes, so that
compression does not matter) and `close` of the stream below. A call settles once: at the end, on an error,
when it is closed, when it is garbage-collected, or at exit.
"""

from __future__ import annotations

import json
import re
import sys
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from farthing import usage
from farthing.engine import Call
from farthing.intercept.events import EVENT_END, data_of, payload, split
from farthing.usage import Reading

__all__ = ["Tee", "attach"]

_KEEP = 1 << 20
"""Bytes of a stream that are kept before they are digested to text and usage."""

_LAST_EVENTS = 4
"""Events at the end of a stream that are looked at first: the last chunk, its usage, and [DONE]."""

_EVERY = 255
"""Every so many chunks (a power of two less one) the kept bytes are added up."""

_WHOLE_EVENTS = (b"\n\n", b"\r\n\r\n", b"\r\r")
_EMPTY_LIST = re.compile(rb"\[\s*\]")
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')


class Tee:
    """What has passed of one stream, and what it says."""

    __slots__ = (
        "__weakref__",
        "_failed",
        "_final",
        "_partial",
        "_text",
        "call",
        "flavour",
        "held_back",
        "is_json",
        "kept",
        "reading",
        "running",
        "swallows",
    )

    def __init__(self, call: Call, flavour: str, *, swallows: bool, is_json: bool) -> None:
        self.call = call
        self.flavour = flavour
        self.swallows = swallows
        self.is_json = is_json
        self.running = False
        self.held_back = b""
        self.reading: Reading | None = None
        self.kept: list[bytes] = []
        self._partial = b""
        self._text: list[str] = []
        self._final = False
        self._failed = False

    def plain(self, chunk: bytes) -> bool:
        """True if the caller may see this chunk as it is and nothing is to be done yet: nearly always."""
        return not (
            len(self.kept) & _EVERY == 0
            or (
                self.swallows
                # A regular expression takes a third of the time of `in` for these two bytes.
                and (self.held_back or not chunk.endswith(_WHOLE_EVENTS) or _EMPTY_LIST.search(chunk))
            )
        )

    def feed(self, chunk: bytes) -> bytes:
        """A chunk that was kept and is not plain; returns what the caller shall see of it."""
        if not self.is_json and sum(map(len, self.kept)) > _KEEP:
            try:
                self._digest()
            except Exception:
                self.call.engine.bug("reading a stream")
        return self._without_usage(chunk) if self.swallows else chunk

    def flush(self) -> bytes:
        """What was held back when the stream ended."""
        rest, self.held_back = self.held_back, b""
        return self._kept_events(rest) if rest and self.swallows else rest

    def _without_usage(self, chunk: bytes) -> bytes:
        """Whole events only, less the one that we asked for."""
        if self.held_back:
            chunk = self.held_back + chunk
            self.held_back = b""
        if not chunk.endswith(_WHOLE_EVENTS):
            last = max(chunk.rfind(b"\n\n") + 2, chunk.rfind(b"\r\n\r\n") + 4, chunk.rfind(b"\r\r") + 2)
            cut = last if last > 4 or chunk[:last].endswith((b"\n\n", b"\r\r")) else 0
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
        before = self.reading, self._final, self._failed
        self._look(split(data[cut + 2 :]), text=False)
        reading = self.reading
        if self._final and reading is not None and reading.usage is not None and reading.found is None:
            return True
        self.reading, self._final, self._failed = before
        return False

    def _look(self, events: list[bytes], *, text: bool = True) -> None:
        parsed: list[Mapping[str, Any]] = []
        for event in events:
            if b"[DONE]" in event and payload(event).strip() == b"[DONE]":
                self._final = True
                continue
            data = data_of(event)
            if data is None:
                continue
            parsed.append(data)
            if usage.failed(data, self.flavour):
                self._failed = True
            if usage.finished(data, self.flavour):
                self._final = True
            new = usage.read_event(data, flavour=self.flavour)
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
            judge = self._end_of_json if self.is_json else self._end_of_events
            outcome, seen = judge(whole=whole, error=error)
        except Exception:
            call.engine.bug("reading a stream")
            return call.finish("unknown", None, error=error, hurry=hurry)
        return call.finish(outcome, self.reading, seen=seen, error=error, hurry=hurry)

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
        elif self._final or (whole and not piecemeal):
            outcome = "complete"
        elif whole or (isinstance(error, Exception) and not isinstance(error, GeneratorExit)):
            outcome = "unknown"
        else:
            outcome = "aborted"
        return outcome, "".join(self._text)

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
        return "unknown" if whole or isinstance(error, Exception) else "aborted", ""

    def judged(self, content: bytes) -> tuple[str, str]:
        """The outcome of a stream that is here whole, and what was seen of it."""
        self.kept.append(content)
        return self._end_of_events(whole=True, error=None)

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
            hurry = error is not None and not isinstance(error, Exception)
            want = self.end(whole=whole, error=error, hurry=hurry)
            if want is not None:
                await self.call.engine.aperform(want)
        except Exception:
            self.call.engine.bug("booking a stream")

    def abandon(self) -> Any:
        """The end of a stream that nobody reads any more."""
        return self.end(whole=False)


def attach(response: Any, tee: Tee) -> None:
    """Observe a response whose body has not been read yet."""
    call, engine = tee.call, tee.call.engine
    close_sync, close_async = _closers(_library_of(response))
    if hasattr(response.stream, "__aiter__") and not hasattr(response.stream, "__iter__"):
        response.aiter_bytes = _async_bytes(weakref.ref(response), type(response).aiter_bytes, tee)
        response.stream = close_async(response.stream, tee)
    else:
        response.iter_bytes = _sync_bytes(weakref.ref(response), type(response).iter_bytes, tee)
        response.stream = close_sync(response.stream, tee)
    engine.watch(call, tee.abandon)
    engine.receipts.keep(response, call)
    weakref.finalize(response, engine.leave, tee.abandon).atexit = False


def _sync_bytes(alive: weakref.ref[Any], original: Any, tee: Tee) -> Callable[..., Iterator[bytes]]:
    def iter_bytes(chunk_size: int | None = None) -> Iterator[bytes]:
        response = alive()
        keep, plain = tee.kept.append, tee.plain
        tee.running = True
        try:
            for chunk in original(response, chunk_size):
                keep(chunk)
                seen = chunk if plain(chunk) else tee.feed(chunk)
                if seen:
                    tee.running = False
                    yield seen
                    tee.running = True
            rest = tee.flush()
            if rest:
                tee.running = False
                yield rest
        except GeneratorExit:
            raise  # closing the response settles
        except BaseException as error:
            tee.settle(whole=False, error=error)
            raise
        else:
            tee.settle(whole=True)
        finally:
            tee.running = False

    return iter_bytes


def _async_bytes(alive: weakref.ref[Any], original: Any, tee: Tee) -> Callable[..., AsyncIterator[bytes]]:
    async def aiter_bytes(chunk_size: int | None = None) -> AsyncIterator[bytes]:
        response = alive()
        keep, plain = tee.kept.append, tee.plain
        tee.running = True
        try:
            async for chunk in original(response, chunk_size):
                keep(chunk)
                seen = chunk if plain(chunk) else tee.feed(chunk)
                if seen:
                    tee.running = False
                    yield seen
                    tee.running = True
            rest = tee.flush()
            if rest:
                tee.running = False
                yield rest
        except GeneratorExit:
            raise  # closing the response settles
        except BaseException as error:
            await tee.asettle(whole=False, error=error)
            raise
        else:
            await tee.asettle(whole=True)
        finally:
            tee.running = False

    return aiter_bytes


def _library_of(response: Any) -> str:
    """The top-level module that made the response: httpx or httpx2."""
    for cls in type(response).__mro__:
        name = cls.__module__.partition(".")[0]
        if hasattr(sys.modules.get(name), "SyncByteStream"):
            return name
    raise TypeError(f"{type(response).__name__} is no response of httpx or httpx2")


@lru_cache(maxsize=8)
def _closers(library: str) -> tuple[Any, Any]:
    """Streams that tell when they are closed. A response of httpx takes only those of httpx, and so on."""
    module = sys.modules[library]

    class ClosingSync(module.SyncByteStream):  # type: ignore[name-defined,misc]
        def __init__(self, inner: Any, tee: Tee) -> None:
            self._inner = inner
            self._tee = tee

        def __iter__(self) -> Iterator[bytes]:
            return iter(self._inner)

        def close(self) -> None:
            try:
                self._inner.close()
            finally:
                if not self._tee.running:  # else the reader, which is still at work, settles
                    self._tee.settle(whole=False)

    class ClosingAsync(module.AsyncByteStream):  # type: ignore[name-defined,misc]
        def __init__(self, inner: Any, tee: Tee) -> None:
            self._inner = inner
            self._tee = tee

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self._inner.__aiter__()  # type: ignore[no-any-return]

        async def aclose(self) -> None:
            error: BaseException | None = None
            try:
                await self._inner.aclose()
            except BaseException as caught:
                error = caught
                raise
            finally:
                if not self._tee.running:
                    await self._tee.asettle(whole=False, error=error)

    return ClosingSync, ClosingAsync
