"""Where the bytes of an answer are seen: the SDK's own stream object is handed on untouched.

Two places of the HTTP response are hooked, on that one instance. `iter_bytes`, which `read`, `iter_text` and
`iter_lines` go through, gives decoded bytes, so that compression does not matter. The stream below tells when
it is closed; it is where a reader of raw bytes is seen, who passes `iter_bytes` by.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from functools import lru_cache, partial
from itertools import filterfalse, islice
from typing import Any, TypeVar

from farthing.engine import Driven, closes, soon
from farthing.intercept.streams import EVERY, Tee

__all__ = ["attach"]

T = TypeVar("T")


def attach(response: Any, tee: Tee) -> None:
    """Observe a response whose body has not been read yet."""
    call, engine = tee.call, tee.call.engine
    library = _library_of(response)
    tapped_sync, tapped_async = _tapped(library)
    unpack = _unpacker(library, response.headers.get("content-encoding"))
    if hasattr(response.stream, "__aiter__") and not hasattr(response.stream, "__iter__"):
        response.aiter_bytes = _AsyncBytes(weakref.ref(response), type(response).aiter_bytes, tee)
        response.stream = tapped_async(response.stream, tee, unpack)
    else:
        response.iter_bytes = _SyncBytes(weakref.ref(response), type(response).iter_bytes, tee)
        response.stream = tapped_sync(response.stream, tee, unpack)
    engine.watch(call, tee.abandon)
    engine.receipts.keep(response, call)
    weakref.finalize(response, engine.leave, tee.abandon).atexit = False


class _Bytes:
    """The method of one response. A copy of that, which is pickled or deep, has the plain one again."""

    __slots__ = ("_alive", "_original", "_tee")

    def __init__(self, alive: weakref.ref[Any], original: Any, tee: Tee) -> None:
        self._alive = alive
        self._original = original
        self._tee = tee

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self._alive(), self._original.__name__)

    def chunks(self, chunk_size: int | None) -> Any:
        self._tee.decoded = True
        return self._original(self._alive(), chunk_size)


class _SyncBytes(_Bytes):
    __slots__ = ()

    def __call__(self, chunk_size: int | None = None) -> Iterator[bytes]:
        return _read(_pieces(self.chunks(chunk_size), self._tee), self._tee)


class _AsyncBytes(_Bytes):
    __slots__ = ()

    def __call__(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        return _read(_apieces(self.chunks(chunk_size), self._tee), self._tee)


def _read(pieces: T, tee: Tee) -> T:
    """These are what the caller reads now. The tee does not keep them alive: they keep it."""
    tee.reader = weakref.ref(pieces)
    return pieces


def _at_work(tee: Tee, running: str) -> bool:
    """Whether the reader is between two chunks of its own: what it runs into, it settles itself."""
    reader = None if tee.reader is None else tee.reader()
    return bool(reader is not None and getattr(reader, running))


def _pieces(chunks: Iterable[bytes], tee: Tee) -> Iterator[bytes]:
    """What the caller shall see of these chunks; the call is settled when they end."""
    kept = filterfalse(tee.kept.append, chunks)  # `append` returns None: each is kept, and let through
    plain = tee.watcher()
    try:
        if plain is None:
            for chunk in kept:
                yield chunk
                yield from islice(kept, EVERY)
                tee.feed(b"")
        else:
            for chunk in kept:
                if plain(chunk):
                    yield chunk
                    continue
                seen = tee.feed(chunk)
                if tee.broken:
                    tee.settle(whole=False)
                if seen:
                    yield seen
        rest = tee.flush()
        if rest:
            yield rest
    except GeneratorExit:
        raise  # closing the response settles
    except BaseException as error:
        tee.settle(whole=False, error=error)
        raise
    else:
        tee.settle(whole=True)


async def _apieces(chunks: AsyncIterable[bytes], tee: Tee) -> AsyncIterator[bytes]:
    """The same for a coroutine."""
    keep, plain, driven = tee.kept.append, tee.watcher() or tee.plain, Driven()
    try:
        async for chunk in chunks:
            keep(chunk)
            if plain(chunk):
                yield chunk
                continue
            seen = tee.feed(chunk)
            if tee.broken:
                await tee.asettle(whole=False)
            if seen:
                yield seen
        rest = tee.flush()
        if rest:
            yield rest
    except GeneratorExit:
        raise  # closing the response settles
    except BaseException as error:
        if closes(error) or (type(error) is RuntimeError and driven.elsewhere()):
            tee.settle_later(error)
        else:
            await tee.asettle(whole=False, error=error)
        raise
    else:
        await tee.asettle(whole=True)


def _library_of(response: Any) -> str:
    """The top-level module that made the response: httpx or httpx2."""
    for cls in type(response).__mro__:
        name = cls.__module__.partition(".")[0]
        if hasattr(sys.modules.get(name), "SyncByteStream"):
            return name
    raise TypeError(f"{type(response).__name__} is no response of httpx or httpx2")


class _Tap:
    """What the streams below have in common; `unpack` is None for a body that is not compressed."""

    def __init__(self, inner: Any, tee: Tee, unpack: Callable[[bytes], bytes] | None) -> None:
        self._inner = inner
        self._tee = tee
        self._unpack = unpack
        self._driven = Driven()

    def read_raw(self) -> bool:
        """Whether the reader who begins here is one of raw bytes, and not `iter_bytes`, which sees more."""
        if self._tee.decoded or self._tee.call.ended:
            return False
        if self._unpack is not None:
            self._tee.packed(self._unpack)
        return True


@lru_cache(maxsize=8)
def _tapped(library: str) -> tuple[Any, Any]:
    """Streams that tell when they are closed, and what they bring to a reader of raw bytes. A response of
    httpx takes only those of httpx, and so on."""
    module = sys.modules[library]

    class TappedSync(_Tap, module.SyncByteStream):  # type: ignore[name-defined,misc]
        def __iter__(self) -> Iterator[bytes]:
            tee = self._tee
            return _read(_pieces(self._inner, tee), tee) if self.read_raw() else iter(self._inner)

        def close(self) -> None:
            try:
                self._inner.close()
            finally:
                if not _at_work(self._tee, "gi_running"):  # else the reader settles
                    soon(self._tee.call.engine, partial(self._tee.settle, whole=False))

    class TappedAsync(_Tap, module.AsyncByteStream):  # type: ignore[name-defined,misc]
        def __aiter__(self) -> AsyncIterator[bytes]:
            tee = self._tee
            return _read(_apieces(self._inner, tee), tee) if self.read_raw() else aiter(self._inner)

        async def aclose(self) -> None:
            error: BaseException | None = None
            try:
                await self._inner.aclose()
            except BaseException as caught:
                error = caught
                raise
            finally:
                if not _at_work(self._tee, "ag_running"):
                    if self._driven.elsewhere() and (error is not None or closes(sys.exception())):
                        self._tee.settle_later(error)
                    else:
                        await self._tee.asettle(whole=False, error=error)

    return TappedSync, TappedAsync


def _unpacker(library: str, encoding: str | None) -> Callable[[bytes], bytes] | None:
    """What unpacks a body of this `Content-Encoding`, with the decoders of the library that made the
    response; None for one that is not packed."""
    if encoding is None or encoding.strip().lower() in {"", "identity"}:
        return None
    return partial(_unpacked, library, encoding)


def _unpacked(library: str, encoding: str, data: bytes) -> bytes:
    content: bytes = (
        sys.modules[library].Response(200, headers={"content-encoding": encoding}, content=data).content
    )
    return content
