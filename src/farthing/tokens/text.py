"""Tokens of one text. No text can break it, hang it or make it print."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from farthing.tokens.ranks import encoding

__all__ = ["Count", "Method", "Tokenizer", "byte_length", "tokenizer"]

Method = Literal["exact", "approximate", "heuristic"]
Encode = Callable[[str], list[int]]

_SLICE: Final = 1 << 16
_WHOLE: Final = 1 << 21
_SHORT: Final = 32


@dataclass(frozen=True, slots=True)
class Count:
    """Tokens of an input before it is sent.

    Attributes:
        tokens: expected.
        upper: at most, for a guard; not cut to the model's context window.
        method: "exact" (the model's own tokenizer and known overhead), "approximate" (another
            tokenizer, or parts whose tokens follow no published rule) or "heuristic" (by length).
    """

    tokens: int
    upper: int
    method: Method


class Tokenizer:
    """Counts texts with one vocabulary, or by their length where that cannot be loaded."""

    __slots__ = ("_encode", "_short", "by_length")

    def __init__(self, encode: Encode | None) -> None:
        self._encode = encode
        self._short: dict[str, int] = {}
        self.by_length = encode is None

    def count(self, text: str) -> int:
        """Tokens of a text; by samples above 2 million characters."""
        if self._encode is None:
            return -(-byte_length(text) // 4)
        if len(text) > _SLICE:
            return _sliced(self._encode, text)
        return _piece(self._encode, text)

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
        step = size // 32
        samples = [text[at : at + _SLICE] for at in range(0, step * 32, step)]
        counted = sum(_piece(encode, sample) for sample in samples)
        return -(-counted * size // sum(map(len, samples)))
    total = start = 0
    while start < size:
        end = _cut(text, start, min(start + _SLICE, size))
        total += _piece(encode, text[start:end])
        start = end
    return total


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


def byte_length(text: str) -> int:
    """Bytes in UTF-8; a lone surrogate counts as what replaces it."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


_tokenizers: dict[str, Tokenizer] = {}


def tokenizer(name: str) -> Tokenizer:
    """The tokenizer of a vocabulary, loaded once per process."""
    known = _tokenizers.get(name)
    if known is None:
        loaded = encoding(name)
        known = _tokenizers.setdefault(name, Tokenizer(loaded.encode_ordinary if loaded else None))
    return known
