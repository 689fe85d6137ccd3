"""The statements of the hot path: constant text, values bound by position."""

from __future__ import annotations

from typing import Final

from farthing.ledger.calls.summing import SUMMED

__all__ = [
    "BOOK",
    "BOOK_WINDOW",
    "EPOCH",
    "HOLD",
    "HOLD_GUARDED",
    "INSERT_CALL",
    "RAISE_EPOCH",
    "REBOOK",
    "RESERVE_CALL",
    "SET_LIMIT",
    "WINDOW_LEFT",
    "WINDOW_MONEY",
]

EPOCH: Final = "SELECT number FROM meta WHERE key = 'budget_epoch'"

RAISE_EPOCH: Final = "UPDATE meta SET number = number + 1 WHERE key = 'budget_epoch'"
"""Tells every process that budgets or their windows are others than it remembers."""

_SET_HELD: Final = """UPDATE budget_window SET held = held + ?1,
  alert_at = CASE WHEN limit_nano = ?2 THEN alert_at ELSE 0 END, limit_nano = ?2"""
"""A caller with another limit has other amounts at which somebody is to be told: 0 has them looked up."""

HOLD_GUARDED: Final = f"""{_SET_HELD}
WHERE id = ?3 AND ?2 - spent - held >= ?1"""

HOLD: Final = f"{_SET_HELD} WHERE id = ?3"

SET_LIMIT: Final = "UPDATE budget_window SET limit_nano = ?, alert_at = 0 WHERE id = ?"

WINDOW_LEFT: Final = "SELECT spent, held, ends FROM budget_window WHERE id = ?"

WINDOW_MONEY: Final = "SELECT spent, held, ends, limit_nano FROM budget_window WHERE id = ?"

_CALL: Final = """INSERT INTO call (seq, owner, id, state, account, context, tags, run, provider, requested,
  asked, model, operation, tier, attempts, input, expected, held, price, windows, fallback_from,
  transaction_id, digest, flags, counted_input)"""

_VALUES: Final = """?1, ?2, ?3, 0, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10, ?11, ?12, 1, ?13, ?14, ?15, ?16, ?17,
  ?18, ?19, ?20, ?21, ?22"""

INSERT_CALL: Final = f"{_CALL} VALUES ({_VALUES})"

RESERVE_CALL: Final = f"""{_CALL} SELECT {_VALUES}
WHERE EXISTS (SELECT 1 FROM owner WHERE id = ?2 AND ?1 BETWEEN first_seq AND last_seq)
  AND ({EPOCH}) = ?23"""  # noqa: S608  constant names
"""No row if the budgets have changed, or if the owner would not know its open call by the key."""

_ENDING: Final = """outcome = ?, recorded = ?, duration = ?, provider = ?, model = ?, tier = ?,
  attempts = ?, input = ?, cached = ?, cache_write = ?, output = ?, reasoning = ?, usage_source = ?,
  cost = ?, counted = ?, cost_source = ?, price = coalesce(?, price), overrun = ?, capped_at = ?,
  request_id = ?, response_id = ?, error = ?, flags = flags | ?, units = ?, raw = ?"""

BOOK: Final = f"""UPDATE call SET state = ?, {_ENDING} WHERE seq = ? AND id = ? AND state = 0
  AND ({EPOCH}) = ?
  AND seq >= ({SUMMED})"""  # noqa: S608  constant names
"""No row if the budgets have changed, or if the calls of its time are in the sums by day."""

REBOOK: Final = f"UPDATE call SET state = ?, {_ENDING} WHERE seq = ?"  # noqa: S608  constant names

BOOK_WINDOW: Final = """UPDATE budget_window SET held = held - ?1, spent = spent + ?2, cost = cost + ?3,
  alert_at = CASE WHEN ?2 > 0 AND spent + ?2 >= alert_at THEN coalesce(alert_due(id), 0) ELSE alert_at END
WHERE id = ?4"""
"""`alert_due` is a function of the connection: it remembers the window until the commit (see `posting`)."""
