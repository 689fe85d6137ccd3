"""Prices that the user has stored in a ledger, for every program on it."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from farthing.catalog import UserPrice
from farthing.ledger.calls import sql
from farthing.ledger.calls.codes import clean
from farthing.log import say_once

if TYPE_CHECKING:
    from farthing.ledger.budgets.standing import Standing

__all__ = ["Prices", "read"]

_T = TypeVar("_T")

_ALL: Final = "SELECT name, json FROM user_price ORDER BY written, name"
_PUT: Final = """INSERT INTO user_price (name, json, written) VALUES (?, ?, ?)
ON CONFLICT (name) DO UPDATE SET json = excluded.json, written = excluded.written"""


class _Writes(Protocol):
    def __call__(
        self, operation: Callable[[sqlite3.Connection, Any], _T], argument: Any, *, full: bool
    ) -> _T: ...


class Prices:
    """The part of `farthing.ledger.store.Ledger` that is about stored prices."""

    _standing: Standing
    _write: _Writes
    _change: Callable[[sqlite3.Connection, Callable[[sqlite3.Connection, int], bool]], bool]

    def prices(self) -> Sequence[UserPrice]:
        return self._standing.prices

    def set_price(self, price: UserPrice) -> bool:
        replaced = any(old.key == price.key for old in self.prices())
        self._write(self._change, lambda conn, now: _put(conn, price, now), full=True)
        return replaced

    def remove_price(self, key: str) -> bool:
        return self._write(self._change, lambda conn, _: _remove(conn, key), full=True)


def read(conn: sqlite3.Connection) -> tuple[UserPrice, ...]:
    """All of them, the oldest first. One that this release does not understand is said once and left out."""
    found: list[UserPrice] = []
    for name, text in conn.execute(_ALL):
        try:
            found.append(UserPrice.from_dict(json.loads(text)))
        except (ValueError, KeyError, TypeError):
            say_once(("price", name), logging.ERROR, "the stored price of %r is not understood", name)
    return tuple(found)


def _put(conn: sqlite3.Connection, price: UserPrice, now: int) -> bool:
    text = json.dumps(price.to_dict(), sort_keys=True, separators=(",", ":"))
    conn.execute(_PUT, (clean(price.key), clean(text), now))
    conn.execute(sql.RAISE_EPOCH)
    return True


def _remove(conn: sqlite3.Connection, key: str) -> bool:
    if not conn.execute("DELETE FROM user_price WHERE name = ?", (clean(key),)).rowcount:
        return False
    conn.execute(sql.RAISE_EPOCH)
    return True
