"""The statements of the hot path: constant text, values bound by position.

`day_sum` keeps nine sums for each key of the two rollups: by model (account 0), and by account (operation,
provider and model 0). A correction adds the difference, so the same statement takes back and adds.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "BOOK",
    "BOOK_WINDOW",
    "DAY_SUMS",
    "EPOCH",
    "HOLD",
    "HOLD_GUARDED",
    "INSERT_CALL",
    "INSERT_LINE",
    "REBOOK",
    "RESERVE_CALL",
    "WINDOW_LEFT",
]

EPOCH: Final = "SELECT number FROM meta WHERE key = 'budget_epoch'"

HOLD_GUARDED: Final = """UPDATE budget_window SET held = held + ?1, limit_nano = ?2
WHERE id = ?3 AND ?2 - spent - held >= ?1"""

HOLD: Final = "UPDATE budget_window SET held = held + ?1, limit_nano = ?2 WHERE id = ?3"

WINDOW_LEFT: Final = "SELECT spent, held, ends FROM budget_window WHERE id = ?"

_CALL: Final = """INSERT INTO call (seq, owner, id, state, account, context, tags, run, provider, requested,
  asked, model, operation, tier, attempts, input, expected, held, price, budget_window, fallback_from,
  transaction_id, digest, flags)"""

_VALUES: Final = """?1, ?2, ?3, 0, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10, ?11, ?12, 1, ?13, ?14, ?15, ?16, ?17,
  ?18, ?19, ?20, ?21"""

INSERT_CALL: Final = f"{_CALL} VALUES ({_VALUES})"

RESERVE_CALL: Final = f"""{_CALL} SELECT {_VALUES}
WHERE EXISTS (SELECT 1 FROM owner WHERE id = ?2 AND ?1 BETWEEN first_seq AND last_seq)
  AND (SELECT number FROM meta WHERE key = 'budget_epoch') = ?22"""  # noqa: S608  constant names
"""No row if the budgets have changed, or if the owner would not know its open call by the key."""

INSERT_LINE: Final = "INSERT INTO more_line (call, budget_window) VALUES (?, ?)"

_ENDING: Final = """outcome = ?, recorded = ?, duration = ?, provider = ?, model = ?, tier = ?,
  attempts = ?, input = ?, cached = ?, cache_write = ?, output = ?, reasoning = ?, usage_source = ?,
  cost = ?, counted = ?, cost_source = ?, price = coalesce(?, price), overrun = ?, capped_at = ?,
  request_id = ?, response_id = ?, error = ?, flags = flags | ?, units = ?, raw = ?"""

BOOK: Final = f"""UPDATE call SET state = ?, {_ENDING} WHERE seq = ? AND id = ? AND state = 0
  AND (SELECT number FROM meta WHERE key = 'budget_epoch') = ?"""  # noqa: S608  constant names

REBOOK: Final = f"UPDATE call SET state = ?, {_ENDING} WHERE seq = ?"  # noqa: S608  constant names

BOOK_WINDOW: Final = """UPDATE budget_window SET held = held - ?, spent = spent + ?, cost = cost + ?
WHERE id = ?"""

_SUMS: Final = """calls = calls + excluded.calls, errors = errors + excluded.errors,
  input = input + excluded.input, cached = cached + excluded.cached, output = output + excluded.output,
  cost = cost + excluded.cost, counted = counted + excluded.counted,
  unpriced = unpriced + excluded.unpriced, estimated = estimated + excluded.estimated"""

DAY_SUMS: Final = f"""INSERT INTO day_sum (day, account, context, operation, provider, model,
  calls, errors, input, cached, output, cost, counted, unpriced, estimated)
VALUES (?1, 0, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15),
  (?1, ?2, ?3, 0, 0, 0, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
ON CONFLICT (day, account, context, operation, provider, model) DO UPDATE SET {_SUMS}"""  # noqa: S608  constant names
