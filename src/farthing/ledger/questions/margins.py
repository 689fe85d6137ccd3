"""What the bills of the last calls say of the counts that were made before them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from farthing.ledger.calls.codes import OUTCOME, USAGE_SOURCE

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Margins", "margins"]

_LATEST: Final = 20_000
"""Rows that are looked at: some 20 ms. Of a model that is called rarely among many others, fewer than 1,000
calls may be among them."""

_CALLS: Final = 1_000
"""Calls of each model that count."""


class Margins(Protocol):
    """The part of `farthing.ledger.store.Ledger` that tells how good counts were."""

    def margins(self) -> list[tuple[str, int, int]]:
        """Of each model's last 1,000 calls that were counted whole and stated their usage: (model, input
        tokens counted, input tokens billed), for each count the highest bill.

        Left out are bills so far below their counts that a margin of a twentieth covers them.
        """
        ...


_MARGINS: Final = f"""SELECT name.name, counted, max(billed) FROM (
  SELECT asked, counted, billed, row_number() OVER (PARTITION BY asked ORDER BY seq DESC) AS place FROM (
    SELECT seq, asked, counted_input AS counted, input AS billed, state, outcome, usage_source FROM call
    ORDER BY seq DESC LIMIT {_LATEST})
  WHERE counted > 0 AND billed IS NOT NULL AND state = 1 AND outcome = {OUTCOME["complete"]}
    AND usage_source = {USAGE_SOURCE["reported"]}) AS latest
JOIN name ON name.id = latest.asked
WHERE place <= {_CALLS} AND billed * 105 > counted * 100 GROUP BY asked, counted"""  # noqa: S608  constants


def margins(conn: sqlite3.Connection) -> list[tuple[str, int, int]]:
    """See `Margins.margins`."""
    return conn.execute(_MARGINS).fetchall()
