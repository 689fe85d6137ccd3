"""Ids of names, tag sets, rates and sets of windows: looked up once, then remembered.

What was inserted in a transaction that is rolled back is forgotten again.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from farthing.ledger.calls.codes import clean, rates_to_json, tags_to_json
from farthing.records import Rates

__all__ = ["ACCOUNT", "MODEL", "PROVIDER", "TIER", "Names"]

ACCOUNT: Final = 1
PROVIDER: Final = 2
MODEL: Final = 3
TIER: Final = 4

_MOST: Final = 16_384
"""Entries that are remembered; users may have any number of accounts and tag sets."""


class Names:
    """Per connection; used under the writer's mutex."""

    def __init__(self) -> None:
        self.known: tuple[dict[str, int], dict[str, int], dict[str, int], dict[str, int]] = ({}, {}, {}, {})
        """What is remembered of accounts, providers, models and tiers; ids are never 0."""
        self._tagsets: dict[frozenset[tuple[str, str]], int] = {}
        self._prices: dict[int, tuple[Rates, int]] = {}
        self._window_sets: dict[tuple[int, ...], int] = {}
        self._fresh: list[tuple[dict[Any, Any], Any]] = []

    def keep(self) -> None:
        """The transaction was committed."""
        if self._fresh:
            self._fresh.clear()

    def forget(self) -> None:
        """The transaction was rolled back."""
        for cache, key in self._fresh:
            cache.pop(key, None)
        self._fresh.clear()

    def _remember(self, cache: dict[Any, Any], key: Any, value: Any) -> None:
        if len(cache) >= _MOST:
            cache.clear()
        cache[key] = value
        self._fresh.append((cache, key))

    def name(self, conn: sqlite3.Connection, kind: int, name: str) -> int:
        """The id of a name, inserted if it is new."""
        remembered = self.known[kind - 1]
        known = remembered.get(name)
        if known is not None:
            return known
        text = clean(name)
        row = conn.execute("SELECT id FROM name WHERE kind = ? AND name = ?", (kind, text)).fetchone()
        found = (
            row[0] if row else _inserted(conn, "INSERT INTO name (kind, name) VALUES (?, ?)", (kind, text))
        )
        self._remember(remembered, name, found)
        return found

    def tagset(self, conn: sqlite3.Connection, tags: Mapping[str, str]) -> int | None:
        """The id of a set of tags; None for no tags."""
        if not tags:
            return None
        key = frozenset(tags.items())
        known = self._tagsets.get(key)
        if known is not None:
            return known
        text = tags_to_json(tags)
        digest = hashlib.sha256(text.encode()).digest()[:16]
        row = conn.execute("SELECT id FROM tagset WHERE digest = ?", (digest,)).fetchone()
        found = (
            row[0]
            if row
            else _inserted(conn, "INSERT INTO tagset (digest, json) VALUES (?, ?)", (digest, text))
        )
        self._remember(self._tagsets, key, found)
        return found

    def price(self, conn: sqlite3.Connection, rates: Rates | None) -> int | None:
        """The id of rates. They are frozen, so the same object (kept alive here) has the same id."""
        if rates is None:
            return None
        known = self._prices.get(id(rates))
        if known is not None:
            return known[1]
        digest, text = rates_to_json(rates)
        row = conn.execute("SELECT id FROM price WHERE digest = ?", (digest,)).fetchone()
        found = (
            row[0]
            if row
            else _inserted(
                conn,
                "INSERT INTO price (digest, source, json) VALUES (?, ?, ?)",
                (digest, clean(rates.source), text),
            )
        )
        self._remember(self._prices, id(rates), (rates, found))
        return found

    def windows(self, conn: sqlite3.Connection, windows: Sequence[int]) -> int | None:
        """What the row of a call says of its windows (in ascending order): the id of the one, or minus the id
        of the set of several; None for none."""
        if len(windows) < 2:
            return windows[0] if windows else None
        key = tuple(windows)
        known = self._window_sets.get(key)
        if known is not None:
            return known
        text = ",".join(map(str, key))
        row = conn.execute("SELECT id FROM window_set WHERE windows = ?", (text,)).fetchone()
        if row is None:
            found = _inserted(conn, "INSERT INTO window_set (windows) VALUES (?)", (text,))
            conn.executemany("INSERT INTO set_line VALUES (?, ?)", [(found, window) for window in key])
        else:
            found = row[0]
        self._remember(self._window_sets, key, -found)
        return -found


def _inserted(conn: sqlite3.Connection, statement: str, values: tuple[object, ...]) -> int:
    found = conn.execute(statement, values).lastrowid
    assert found is not None  # noqa: S101  an INSERT has one
    return found
