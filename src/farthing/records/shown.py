"""How a record shows itself: what is known of it, on a line or as a small table in a notebook."""

from __future__ import annotations

import html
from dataclasses import fields
from typing import Any

__all__ = ["Shown"]

_EMPTY: tuple[Any, ...] = (None, (), {}, "", frozenset())


class Shown:
    """Base of the records: a short `repr` and `_repr_html_` that leave out what is unknown or empty."""

    __slots__ = ()

    def _known(self) -> list[tuple[str, Any]]:
        pairs = ((f.name, getattr(self, f.name)) for f in fields(self) if f.repr)  # type: ignore[arg-type]
        return [(name, value) for name, value in pairs if not any(value is e or value == e for e in _EMPTY)]

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in self._known())
        return f"{type(self).__name__}({inside})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>"
            for name, value in self._known()
        )
        return f"<table><caption>{type(self).__name__}</caption>{rows}</table>"
