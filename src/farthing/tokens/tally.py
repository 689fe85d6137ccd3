"""The running count of one request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from farthing.loops import is_running
from farthing.tokens.families import Family, family_of
from farthing.tokens.sizes import LARGE, byte_length
from farthing.tokens.text import Count, Method, tokenizer

__all__ = ["UNSEEN", "Tally", "as_json", "as_mapping", "as_weight"]

UNSEEN: Final = 1 << 21
"""Stands, in `Count.upper`, for input that the request does not show; above any context window."""

_WHOLE: Final = 1 << 22
"""Bytes of a request that are counted; of what is above, its bytes are the upper bound."""

_SAMPLED: Final = 1 << 16
"""Characters of all that is looked at of texts that are not counted whole."""

_METHODS: Final[tuple[Method, ...]] = ("exact", "approximate", "heuristic")


class Tally:
    """Adds up what a request consists of: texts, which are counted, and other parts, which are guessed
    with an upper bound."""

    __slots__ = (
        "_bounded",
        "_guessed",
        "_guessed_upper",
        "_most",
        "_samples",
        "_seen",
        "_size",
        "_worst",
        "answered",
        "counted",
        "family",
        "messages",
        "shown",
        "tokenizer",
    )

    def __init__(self, model: str) -> None:
        self.family: Family = family_of(model)
        self.tokenizer = tokenizer(self.family.encoding)
        self.counted = 0
        """Tokens of texts and of the known overhead."""
        self.messages = 0
        self.answered = False
        """True if the items of a Responses request have an earlier answer."""
        self._bounded = 0  # what texts may have above their count
        self._guessed = 0
        self._guessed_upper = 0
        self._worst = 2 if self.tokenizer.by_length else 0 if self.family.exact else 1
        self.shown = True
        """False if a part is known by its size at most."""
        self._size = 0  # bytes of texts
        self._most = LARGE
        self._samples = _SAMPLED
        self._seen = (0, 1)  # tokens and bytes of texts that were sampled

    def text(self, text: str) -> None:
        """Count a text as it is."""
        tokens, more = self.measure(text)
        self.counted += tokens
        self._bounded += more

    def measure(self, text: str) -> tuple[int, int]:
        """Tokens of a text by this vocabulary, and how many more it may have; nothing is added up."""
        size = len(text) if text.isascii() else byte_length(text)
        self._size += size
        if self._size > self._most and self._is_too_much():
            return self._sampled(text, size)
        tokens = self.tokenizer.count(text)
        if (size > LARGE or self.tokenizer.by_length) and self.tokenizer.guesses(text):
            self._worst = 2
            return tokens, size - tokens
        if not self.family.exact and size > len(text):
            # Other vocabularies are weaker than o200k_base on other scripts than Latin: a token more for
            # each character of three bytes.
            return tokens, (size - len(text)) // 2
        return tokens, 0

    def _is_too_much(self) -> bool:
        """Whether there is no time to count the text that has just been added to the size."""
        if self._most == LARGE and not is_running():
            self._most = _WHOLE
        return self._size > self._most

    def _sampled(self, text: str, size: int) -> tuple[int, int]:
        """As `measure`, by a look at some of the text: the first of such texts get most of the time."""
        self._worst = 2
        share = self._samples // 4
        if share >= 512:
            self._samples -= share
            tokens = self.tokenizer.sampled(text, share)
            self._seen = self._seen[0] + tokens, self._seen[1] + size
        else:
            tokens = -(-size * self._seen[0] // self._seen[1])
        return tokens, max(size - tokens, 0)

    @property
    def guesses(self) -> bool:
        """True if a text was guessed that may be counted the next time."""
        return self._size > self._most or self.tokenizer.by_length

    def guess(self, tokens: int, upper: int) -> None:
        """Add a part whose tokens follow no known rule."""
        self._guessed += tokens
        self._guessed_upper += max(tokens, upper)
        self._worst = self._worst or 1

    def unseen(self, tokens: int = 0) -> None:
        """Add a part of which nothing is known."""
        self.shown = False
        self.guess(tokens, UNSEEN)

    def beside(self, value: object) -> None:
        """Add what may be input or not: nobody says, so only the upper figure has it."""
        tokens, more = self.measure(value if isinstance(value, str) else as_json(value))
        self.guess(0, self.at_most(tokens) + more)

    def at_most(self, tokens: int) -> int:
        """The upper figure of so many counted tokens of a text that the model sees in another form."""
        return tokens * 13 * self.family.percent_upper // 1000

    def json(self, value: object) -> None:
        """Count a value by its JSON, of which the model may see another form."""
        tokens, more = self.measure(value if isinstance(value, str) else as_json(value))
        self.guess(tokens * self.family.percent // 100, self.at_most(tokens) + more + 8)

    def total(self, *, margin: int = 64, least: int = 0) -> Count:
        """The count of all; `margin` are tokens that the known overhead may be off for a long request, and
        `least` for any."""
        family, counted = self.family, self.counted
        if family.exact:
            tokens = counted
            upper = counted + min(counted // 4, margin + counted // 50)
        else:
            tokens = -(-counted * family.percent // 100)
            upper = -(-counted * family.percent_upper // 100) + self.messages * family.message_upper
        tokens = max(0, tokens + self._guessed)
        upper = max(tokens + least, upper + self._bounded + self._guessed_upper)
        return Count(tokens, upper, _METHODS[self._worst], self.shown)


def as_mapping(value: object) -> Mapping[str, Any] | None:
    """A mapping, or a model object of an SDK as one; None for anything else."""
    if isinstance(value, Mapping):
        return value
    dump = getattr(value, "model_dump", None)
    if not callable(dump) or isinstance(value, type):
        return None
    dumped = dump(exclude_none=True)
    return dumped if isinstance(dumped, Mapping) else None


def as_json(value: object) -> str:
    """Compact JSON of any value; what JSON cannot say is written as Python does."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def as_weight(value: object) -> Count:
    """A count of last resort, of any value of any depth: by the bytes of the texts in it."""
    seen: set[int] = set()
    waiting, size, hidden = [value], 0, 0
    while waiting:
        item = waiting.pop()
        size += 8
        if isinstance(item, str):
            size += byte_length(item)
        elif isinstance(item, (Mapping, list, tuple)):
            if id(item) not in seen:
                seen.add(id(item))
                waiting.extend(item)
                waiting.extend(item.values() if isinstance(item, Mapping) else ())
        elif item is not None and not isinstance(item, (bool, int, float)):
            hidden = UNSEEN
    return Count(-(-size // 4), size + hidden, "heuristic", shown=False)
