"""What a call was billed on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, make_dataclass
from decimal import Decimal
from operator import attrgetter
from typing import Any, Literal

from farthing.errors import InvalidUsage, shown
from farthing.records.shown import Shown

__all__ = ["Usage", "UsageSource"]

UsageSource = Literal["reported", "estimated", "unknown"]

_MAX = 2**53
"""Above any count that makes sense; exact in JSON and in SQLite."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Usage(Shown):
    """Counts of one call. None means that the provider did not say; it is not 0.

    Attributes:
        input_tokens: all input, what was read from or written to a cache included.
        cached_tokens: the part of the input that was read from a cache.
        cache_write_tokens: the part of the input that was written to a cache, of which
            `cache_write_5m_tokens` and `cache_write_1h_tokens` by how long it stays there.
        output_tokens: all output, reasoning included, of which `reasoning_tokens`.
        audio_input_tokens, image_input_tokens: parts of the input.
        audio_output_tokens, image_output_tokens: parts of the output.
        seconds: of audio or video.
        characters: of text that was spoken.
        images: that were made.
        web_searches: that the provider ran.

    Raises:
        InvalidUsage: for a negative count, a count that is no integer, or a part larger than its whole.
    """

    input_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_5m_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    image_input_tokens: int | None = None
    image_output_tokens: int | None = None
    seconds: Decimal | None = None
    characters: int | None = None
    images: int | None = None
    web_searches: int | None = None

    def __post_init__(self) -> None:
        for name, value in zip(_COUNTS, _counts(self), strict=True):
            if value is not None and (type(value) is not int or not 0 <= value <= _MAX):
                raise InvalidUsage(f"{name} must be an integer from 0 to 2**53; got {shown(value)}")
        if self.seconds is not None:
            object.__setattr__(self, "seconds", _seconds(self.seconds))
        inputs = (self.cached_tokens or 0) + (self.cache_write_tokens or 0)
        if inputs > (self.input_tokens or 0):
            raise InvalidUsage(
                f"cached_tokens and cache_write_tokens are parts of input_tokens: {inputs} of "
                f"{self.input_tokens} cannot be"
            )
        written = (self.cache_write_5m_tokens or 0) + (self.cache_write_1h_tokens or 0)
        if written > (self.cache_write_tokens or 0):
            raise InvalidUsage(
                "cache_write_5m_tokens and cache_write_1h_tokens are parts of cache_write_tokens: "
                f"{written} of {self.cache_write_tokens} cannot be"
            )
        for part, whole in _PARTS:
            value = getattr(self, part)
            if value is not None and value > (getattr(self, whole) or 0):
                raise InvalidUsage(
                    f"{part} is a part of {whole}: {value} of {getattr(self, whole)} cannot be"
                )

    @classmethod
    def trusted(cls, **counts: int | Decimal | None) -> Usage:
        """As `Usage(**counts)` without the checks, for counts that are known to be possible."""
        return cls.in_order(map(counts.get, _NAMES))

    @classmethod
    def in_order(cls, counts: Iterable[int | Decimal | None]) -> Usage:
        """As `trusted`, of every field in the order of the class: the fastest way."""
        new = _Unfrozen(*counts)
        new.__class__ = cls
        return new  # type: ignore[no-any-return]

    @property
    def total_tokens(self) -> int | None:
        """Input and output together; None if neither is known."""
        if self.input_tokens is None and self.output_tokens is None:
            return None
        return (self.input_tokens or 0) + (self.output_tokens or 0)

    def __add__(self, other: Usage) -> Usage:
        """The counts of both; a count that neither knows stays unknown."""
        if not isinstance(other, Usage):
            return NotImplemented
        return Usage(**{f.name: _plus(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)})


def _plus(a: Any, b: Any) -> Any:
    if a is None:
        return b
    return a if b is None else a + b


def _seconds(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        raise InvalidUsage(f"seconds must be a number; got {shown(value)}")
    try:
        seconds = Decimal(value if isinstance(value, int) else str(value))
    except ArithmeticError:
        raise InvalidUsage(f"seconds must be a number; got {shown(value)}") from None
    if not seconds.is_finite() or not 0 <= seconds <= _MAX:
        raise InvalidUsage(f"seconds must be a number from 0 on; got {shown(value)}")
    return seconds


_NAMES = tuple(f.name for f in fields(Usage))
_Unfrozen: Any = make_dataclass("_Unfrozen", _NAMES, bases=(Shown,), slots=True)
"""A `Usage` whose fields may be set, by plain stores: a frozen one's go through the descriptor of each, which
takes four times as long, and every call has a usage."""
_COUNTS = tuple(name for name in _NAMES if name != "seconds")
_counts = attrgetter(*_COUNTS)
_PARTS = (
    ("audio_input_tokens", "input_tokens"),
    ("image_input_tokens", "input_tokens"),
    ("reasoning_tokens", "output_tokens"),
    ("audio_output_tokens", "output_tokens"),
    ("image_output_tokens", "output_tokens"),
)
