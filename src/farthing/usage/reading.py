"""What a body says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from farthing.records import Usage

__all__ = ["Part", "Reading"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One step of an answer that the provider bills by itself, maybe at another model's price.

    Attributes:
        kind: as the provider names it ("message", "compaction", "advisor_message").
        model: that did it; None if it is the answer's own.
        usage: of this step.
    """

    kind: str
    model: str | None
    usage: Usage


@dataclass(slots=True)
class Reading:
    """What a body, or a stream so far, says of itself. Not to be changed, though nothing forbids it: one is
    made for every call, and a frozen one takes five times as long.

    Attributes:
        usage: what it was billed on; None if it does not say.
        model, service_tier, response_id: as the body spells them; the model and tier that served it.
        reported_nano: the provider's own figure for the bill in nano-dollars; None if it states none.
        raw: the usage object as compact JSON, at most 4 KB, only where the columns of a call and `units`
            cannot give it back. Only names in it are kept of any text; beyond 4 KB the JSON is cut off.
        units: the counts that are not 0 and have no column in a call: `audio_input_tokens`,
            `cache_write_1h_tokens`, `web_searches`, ... `seconds` is decimal text.
        clamped: the counts contradicted each other and were cut to what is possible.
        suspect: a count is absurd: negative, above 2**53, text, NaN. Then `usage` is None.
        status: of a response that may finish later ("completed", "queued", "in_progress", ...).
        parts: the steps that `usage` is the sum of, where the provider bills them one by one.
        flavour: the row of the table that it was read by.
        found: the counts as they were found; only of a stream whose events state some of them each.
    """

    usage: Usage | None
    model: str | None = None
    service_tier: str | None = None
    response_id: str | None = None
    reported_nano: int | None = None
    raw: str | None = None
    units: Mapping[str, int | str] | None = None
    clamped: bool = False
    suspect: bool = False
    status: str | None = None
    parts: tuple[Part, ...] = ()
    flavour: str | None = None
    found: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def says(self) -> bool:
        """Whether it says what was billed: counts, or the bill itself."""
        return self.usage is not None or self.reported_nano is not None

    @property
    def unread(self) -> bool:
        """Whether usage was stated that could not be read: what was billed is then unknown, not nothing."""
        return self.suspect or (self.usage is None and self.raw is not None)
