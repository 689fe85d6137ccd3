"""What servers turned out not to understand, remembered for the life of the process."""

from __future__ import annotations

__all__ = ["Quirks"]

_MOST = 1_000


class Quirks:
    """Facts about servers, by base URL (and model). Bounded."""

    def __init__(self) -> None:
        self._no_usage: set[str | None] = set()
        self._cap_fields: dict[tuple[str | None, str], str] = {}
        self._uncapped: set[tuple[str | None, str]] = set()

    def refuses_usage(self, base_url: str | None) -> bool:
        """True if it refuses `stream_options`."""
        return base_url in self._no_usage

    def note_refuses_usage(self, base_url: str | None) -> bool:
        """Remember it; False if that was known already."""
        if base_url in self._no_usage or len(self._no_usage) >= _MOST:
            return False
        self._no_usage.add(base_url)
        return True

    def cap_field(self, base_url: str | None, model: str) -> str | None:
        """The field that limits output here, if it is not the usual one."""
        return self._cap_fields.get((base_url, model))

    def note_refused_cap(self, base_url: str | None, model: str, named: str, fields: tuple[str, ...]) -> bool:
        """Remember the other field than the one that was named; False if there is none or it was tried."""
        other = next((field for field in fields if field != named), None)
        if other is None or (base_url, model) in self._cap_fields or len(self._cap_fields) >= _MOST:
            return False
        self._cap_fields[base_url, model] = other
        return True

    def cap_is_ignored(self, base_url: str | None, model: str) -> bool:
        """True if it has answered with more than the cap that was sent."""
        return (base_url, model) in self._uncapped

    def ignores_cap(self, base_url: str | None, model: str) -> None:
        """Remember that it has."""
        if len(self._uncapped) < _MOST:
            self._uncapped.add((base_url, model))
