"""Tokens of one text. No text can break it, hang it or make it print."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from farthing.loops import is_running
from farthing.tokens.ranks import encoding, loaded_encoding
from farthing.tokens.sizes import byte_length

__all__ = ["Count", "Method", "Tokenizer", "tokenizer"]

Method = Literal["exact", "approximate", "heuristic"]
Encode = Callable[[str], list[int]]

_SLICE: Final = 1 << 16
_WHOLE: Final = 1 << 21
_SHORT: Final = 32
_REMEMBERED: Final = 4096


@dataclass(slots=True)
class Count:
    """Tokens of an input before it is sent. Not to be changed.

    Attributes:
        tokens: expected.
        upper: at most, for a guard; not cut to the model's context window.
        method: "exact" (the model's own tokenizer and known overhead), "approximate" (another
            tokenizer, or parts whose tokens follow no published rule) or "heuristic" (by length).
        shown: False if a part is known by its size at most (images, sound, files) or not at all, so that a
            bill says nothing of how well texts are counted.
    """

    tokens: int
    upper: int
    method: Method
    shown: bool = True


class Tokenizer:
    """Counts texts with one vocabulary, or by their length where that cannot be loaded."""

    __slots__ = ("_encode", "_known", "_short", "by_length")

    def __init__(self, encode: Encode | None) -> None:
        self._encode = encode
        self._known: dict[int, tuple[int, int]] = {}
        self._short: dict[str, int] = {}
        self.by_length = encode is None

    def count(self, text: str) -> int:
        """Tokens of a text; by samples above 2 million characters.

        Remembered for the latest texts: a chat sends its instructions and all that was said with each call.
        """
        if self._encode is None:
            return -(-byte_length(text) // 4)
        # By hash and length, so that no prompt is kept.
        key, size = hash(text), len(text)
        known = self._known.get(key)
        if known is not None and known[0] == size:
            return known[1]
        tokens = (_sliced if size > _SLICE else _piece)(self._encode, text)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[key] = size, tokens
        return tokens

    def sampled(self, text: str, most: int) -> int:
        """About how many tokens a text has, by looking at so many of its characters."""
        if self._encode is None or len(text) <= most:
            return self.count(text)
        samples = max(most // 1024, 1)
        return _by_samples(self._encode, text, samples, most // samples)

    def guesses(self, text: str) -> bool:
        """True if `count` cannot say how many tokens the text has, but only about how many. Then its
        bytes are the upper bound: no token is shorter than one."""
        return self.by_length or len(text) > _WHOLE

    def short(self, text: str) -> int:
        """As `count`, remembered: for roles and names, of which there are few."""
        known = self._short.get(text)
        if known is None:
            known = self.count(text)
            if len(text) <= _SHORT and len(self._short) < 1024:
                self._short[text] = known
        return known


def _piece(encode: Encode, text: str) -> int:
    try:
        return len(encode(text))
    except BaseException as error:
        # A panic in tiktoken's compiled part is no `Exception`; slices are short enough for none.
        if type(error).__name__ != "PanicException":
            raise
        return byte_length(text)


def _sliced(encode: Encode, text: str) -> int:
    """A run of a million spaces overflows the stack of tiktoken's regular expressions, and a run of a
    million letters takes it a second: hence in slices. They are cut before a space after a non-space
    where there is one; no token crosses that, so that the sum is exact."""
    size = len(text)
    if size > _WHOLE:
        return _by_samples(encode, text, 32, _SLICE)
    total = start = 0
    while start < size:
        end = _cut(text, start, min(start + _SLICE, size))
        total += _piece(encode, text[start:end])
        start = end
    return total


def _by_samples(encode: Encode, text: str, samples: int, size: int) -> int:
    """From samples that lie evenly over the text."""
    step = len(text) // samples
    found = [text[at : at + size] for at in range(0, step * samples, step)]
    counted = sum(_piece(encode, sample) for sample in found)
    return -(-counted * len(text) // sum(map(len, found)))


def _cut(text: str, start: int, end: int) -> int:
    if end == len(text):
        return end
    at = end
    for _ in range(64):
        at = text.rfind(" ", start + 1, at)
        if at < 0:
            break
        if not text[at - 1].isspace():
            return at
    return end


_tokenizers: dict[str, Tokenizer] = {}
_by_length: Final = Tokenizer(None)
_coming: set[str] = set()


def tokenizer(name: str) -> Tokenizer:
    """The tokenizer of a vocabulary, loaded once per process.

    An event loop is not made to wait for that: until another thread has loaded it, length counts.
    """
    known = _tokenizers.get(name)
    if known is not None:
        return known
    if not loaded_encoding(name) and is_running():
        _load_aside(name)
        return _by_length
    loaded = encoding(name)
    return _tokenizers.setdefault(name, Tokenizer(loaded.encode_ordinary if loaded else None))


def _load_aside(name: str) -> None:
    if name not in _coming:
        _coming.add(name)
        with contextlib.suppress(RuntimeError):  # no thread can be started while the interpreter exits
            threading.Thread(target=tokenizer, args=(name,), name="farthing-vocabulary", daemon=True).start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_coming.clear)  # whoever was loading does not exist in the child
