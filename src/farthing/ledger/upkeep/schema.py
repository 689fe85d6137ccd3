"""The tables and views of a SQLite ledger.

Amounts are integer nano-dollars, instants integer nanoseconds since 1970 (UTC), `duration` is in
microseconds and `day` in days since 1970. `call.seq` says when the call began (see `keys`). Words are codes
(see `codes`), names are ids of `name`.
An alert of a window's `threshold` (in millionths of the limit) is raised once; each `delivery` says when
it is due on one channel, NULL once it has gone out (see `outbox`).
There is no CHECK on spent + held against a limit: a bill above its hold is the truth, and a limit may be
lowered below what is spent; the guard is the WHERE of the reserve.

A commit costs by the pages that it touches, so what is written together lies together: the row of a call
says which `windows` it is charged to, the id of one or minus the id of the `window_set` of several (whose
members are in `set_line`; `more_line` has those that were made for it later), and the amount of a line is
what the row says (held, then counted or cost). Both rollups are rows of `day_sum` (by model those of account
0, by account those of operation, provider and model 0), to which calls are added many at a time (see
`summing`). The views `line`, `day_model` and `day_account` show them as what they are. And no index is
written by a call of certain cost that has neither a run nor a transaction_id: calls are found by their keys
(see `keys` and `ids`), the open ones of an owner between its `first_seq` and `last_seq`. A call that waits
for the result of a job has no owner: its row of `job` says what the provider calls the job, and until when it
waits (NULL once that is past, or where the call had ended before). What is held for a further attempt of a
call is a pending row, of which `top_up` says whose it is (see `topped`). A row that is changed after its end
keeps what it said in `correction`.

Calls of days before `pruned_before` of `meta` may be deleted: their sums by day stay, `pruned_window` has
what they spent in their windows and the key of the last of them, and `pruned_key` their transaction_ids. A
window of a run (`run`) goes when the run has ended (see `ended`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, get_args

from farthing.ledger.amending import Kind
from farthing.ledger.calls.codes import CORRECTED, COST_SOURCE, COST_SOURCES, OUTCOME, USAGE_SOURCES
from farthing.ledger.calls.keys import BITS, DAY
from farthing.ledger.calls.summing import ROW_SUMS, SUMMED, SUMS
from farthing.records import CONTEXTS, FLAGS, OPERATIONS, OUTCOMES

__all__ = ["APPLICATION_ID", "CALL_FROM", "CALL_SELECT", "KINDS", "TABLES", "UNCERTAIN", "VIEWS"]

APPLICATION_ID: Final = 0x46727468
"""Stands in the header of the file: "Frth"."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""Of corrections, by their codes."""

UNCERTAIN: Final = f"""state <> 0 AND outcome <> {OUTCOME["error"]} AND flags & {CORRECTED} = 0
  AND (cost IS NULL OR counted <> cost OR cost_source = {COST_SOURCE["partial"]})"""
"""Of a finished row: what it cost is not known, or only in part, or is less than what is counted for it."""

TABLES: Final[tuple[str, ...]] = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, number INTEGER, text TEXT) STRICT, WITHOUT ROWID",
    """CREATE TABLE name (
  id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, name TEXT NOT NULL, UNIQUE (kind, name)) STRICT""",
    """CREATE TABLE tagset (
  id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, json TEXT NOT NULL) STRICT""",
    """CREATE TABLE owner (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  token BLOB NOT NULL UNIQUE,
  lease_until INTEGER NOT NULL,
  first_seq INTEGER NOT NULL,
  last_seq INTEGER NOT NULL) STRICT""",
    """CREATE TABLE price (
  id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, source TEXT NOT NULL, json TEXT NOT NULL) STRICT""",
    """CREATE TABLE call (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 3),
  outcome INTEGER,
  owner INTEGER,
  recorded INTEGER,
  duration INTEGER,
  account INTEGER NOT NULL,
  context INTEGER NOT NULL,
  tags INTEGER,
  run TEXT,
  provider INTEGER,
  requested INTEGER NOT NULL,
  asked INTEGER NOT NULL,
  model INTEGER NOT NULL,
  operation INTEGER NOT NULL,
  tier INTEGER,
  attempts INTEGER NOT NULL,
  input INTEGER, cached INTEGER, cache_write INTEGER, output INTEGER, reasoning INTEGER,
  usage_source INTEGER,
  expected INTEGER,
  cost INTEGER,
  counted INTEGER,
  held INTEGER NOT NULL CHECK (held >= 0),
  cost_source INTEGER,
  price INTEGER,
  windows INTEGER,
  overrun INTEGER,
  capped_at INTEGER,
  fallback_from INTEGER,
  request_id TEXT,
  response_id TEXT,
  transaction_id TEXT,
  digest BLOB,
  error TEXT,
  flags INTEGER NOT NULL,
  units TEXT,
  raw TEXT,
  counted_input INTEGER,
  CHECK ((state = 0) = (outcome IS NULL) AND (state = 0) = (counted IS NULL))) STRICT""",
    "CREATE UNIQUE INDEX call_recorded ON call (id) WHERE owner IS NULL",
    f"CREATE INDEX call_uncertain ON call (seq) WHERE {UNCERTAIN}",
    "CREATE INDEX call_run ON call (run) WHERE run IS NOT NULL",
    """CREATE UNIQUE INDEX call_transaction ON call (account, transaction_id)
  WHERE transaction_id IS NOT NULL""",
    """CREATE TABLE budget (
  id INTEGER PRIMARY KEY,
  attached INTEGER NOT NULL CHECK (attached IN (0, 1)),
  name TEXT NOT NULL,
  rules TEXT NOT NULL,
  origin TEXT,
  pinned INTEGER NOT NULL DEFAULT 0,
  declared TEXT,
  since INTEGER NOT NULL,
  removed INTEGER,
  UNIQUE (attached, name)) STRICT""",
    """CREATE TABLE budget_window (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  budget INTEGER NOT NULL REFERENCES budget (id),
  key TEXT NOT NULL,
  starts INTEGER NOT NULL,
  ends INTEGER,
  expected INTEGER NOT NULL CHECK (expected IN (0, 1)),
  limit_nano INTEGER NOT NULL CHECK (limit_nano >= 0),
  spent INTEGER NOT NULL DEFAULT 0,
  held INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),
  cost INTEGER NOT NULL DEFAULT 0,
  alert_at INTEGER DEFAULT 0,
  run INTEGER NOT NULL DEFAULT 0 CHECK (run IN (0, 1)),
  UNIQUE (budget, key, starts)) STRICT""",
    """CREATE TABLE alert (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  budget_window INTEGER NOT NULL,
  threshold INTEGER NOT NULL,
  limit_nano INTEGER NOT NULL,
  budget TEXT NOT NULL, key TEXT NOT NULL,
  spent INTEGER NOT NULL, held INTEGER NOT NULL,
  starts INTEGER NOT NULL, ends INTEGER,
  raised INTEGER NOT NULL,
  UNIQUE (budget_window, threshold, limit_nano)) STRICT""",
    """CREATE TABLE delivery (
  alert INTEGER NOT NULL REFERENCES alert (id),
  channel TEXT NOT NULL,
  due INTEGER,
  tries INTEGER NOT NULL,
  PRIMARY KEY (alert, channel)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX delivery_due ON delivery (channel, due) WHERE due IS NOT NULL",
    "CREATE TABLE window_set (id INTEGER PRIMARY KEY, windows TEXT NOT NULL UNIQUE) STRICT",
    """CREATE TABLE set_line (
  window_set INTEGER NOT NULL REFERENCES window_set (id) ON DELETE CASCADE,
  budget_window INTEGER NOT NULL,
  PRIMARY KEY (window_set, budget_window)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX set_line_window ON set_line (budget_window)",
    """CREATE TABLE more_line (
  call INTEGER NOT NULL,
  budget_window INTEGER NOT NULL,
  PRIMARY KEY (call, budget_window)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE day_sum (
  day INTEGER NOT NULL, account INTEGER NOT NULL, context INTEGER NOT NULL, operation INTEGER NOT NULL,
  provider INTEGER NOT NULL, model INTEGER NOT NULL,
  calls INTEGER NOT NULL, errors INTEGER NOT NULL, input INTEGER NOT NULL, cached INTEGER NOT NULL,
  output INTEGER NOT NULL, cost INTEGER NOT NULL, counted INTEGER NOT NULL, unpriced INTEGER NOT NULL,
  estimated INTEGER NOT NULL, partial INTEGER NOT NULL,
  PRIMARY KEY (day, account, context, operation, provider, model)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE refusal (
  day INTEGER NOT NULL, account INTEGER NOT NULL, model INTEGER NOT NULL, budget TEXT NOT NULL,
  reason TEXT NOT NULL, calls INTEGER NOT NULL,
  PRIMARY KEY (day, account, model, budget, reason)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE user_price (
  name TEXT PRIMARY KEY, json TEXT NOT NULL, written INTEGER NOT NULL) STRICT, WITHOUT ROWID""",
    """CREATE TABLE job (
  call INTEGER PRIMARY KEY, address TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL,
  until INTEGER, notes TEXT NOT NULL) STRICT""",
    "CREATE INDEX job_id ON job (id, kind, address)",
    "CREATE INDEX job_until ON job (until) WHERE until IS NOT NULL",
    "CREATE TABLE top_up (call INTEGER PRIMARY KEY, topped INTEGER NOT NULL) STRICT",
    "CREATE INDEX top_up_topped ON top_up (topped)",
    """CREATE TABLE correction (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  call INTEGER NOT NULL,
  at INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  reason TEXT NOT NULL,
  outcome INTEGER NOT NULL, cost INTEGER, counted INTEGER NOT NULL, cost_source INTEGER NOT NULL,
  price INTEGER,
  old_outcome INTEGER NOT NULL, old_cost INTEGER, old_counted INTEGER NOT NULL,
  old_cost_source INTEGER NOT NULL, old_price INTEGER, old_usage TEXT) STRICT""",
    "CREATE INDEX correction_call ON correction (call)",
    """CREATE TABLE pruned_key (
  account INTEGER NOT NULL, transaction_id TEXT NOT NULL, call TEXT NOT NULL, digest BLOB,
  PRIMARY KEY (account, transaction_id)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE pruned_window (
  budget_window INTEGER PRIMARY KEY, spent INTEGER NOT NULL, cost INTEGER NOT NULL,
  last INTEGER NOT NULL) STRICT""",
    "INSERT INTO meta (key, number) VALUES ('budget_epoch', 1), ('summed', 0)",
)


def _word(column: str, words: Sequence[str]) -> str:
    cases = " ".join(f"WHEN {code} THEN '{word}'" for code, word in enumerate(words))
    return f"CASE {column} {cases} END"


def _flags() -> str:
    parts = " || ".join(
        f"CASE WHEN c.flags & {1 << place} THEN ',\"{word}\"' ELSE '' END" for place, word in enumerate(FLAGS)
    )
    return f"'[' || ltrim({parts}, ',') || ']'"


def _instant(us: str) -> str:
    """ISO-8601 UTC of microseconds."""
    return f"strftime('%Y-%m-%dT%H:%M:%S', {us} / 1000000, 'unixepoch') || printf('.%06dZ', {us} % 1000000)"


CALL_SELECT: Final = f"""SELECT c.id AS id, {_instant(f"(c.seq >> {BITS})")} AS started_at,
  CASE WHEN c.recorded IS NOT NULL THEN {_instant("(c.recorded / 1000)")} END AS recorded_at,
  account.name AS account, {_word("c.context", CONTEXTS)} AS context,
  coalesce(tagset.json, '{{}}') AS tags, c.run AS run, provider.name AS provider,
  requested.name AS requested_model, model.name AS model, {_word("c.operation", OPERATIONS)} AS operation,
  tier.name AS service_tier, {_word("c.outcome", OUTCOMES)} AS outcome, c.attempts AS attempts,
  c.input AS input_tokens, c.cached AS cached_tokens, c.cache_write AS cache_write_tokens,
  c.output AS output_tokens, c.reasoning AS reasoning_tokens,
  {_word("c.usage_source", USAGE_SOURCES)} AS usage_source,
  c.cost AS cost_nano, c.cost / 1e9 AS cost_usd, c.counted AS counted_nano,
  {_word("c.cost_source", COST_SOURCES)} AS cost_source, c.held AS held_nano, c.overrun AS overrun,
  c.capped_at AS capped_at, fallback.name AS fallback_from, c.duration / 1e3 AS duration_ms,
  c.request_id AS request_id, c.response_id AS response_id, c.transaction_id AS transaction_id,
  c.error AS error, {_flags()} AS flags, coalesce(c.units, '{{}}') AS units,
  price.source AS prices_version"""

_NAMED: Final = """
  JOIN name AS account ON account.id = c.account
  JOIN name AS requested ON requested.id = c.requested
  JOIN name AS model ON model.id = c.model
  LEFT JOIN name AS provider ON provider.id = c.provider
  LEFT JOIN name AS tier ON tier.id = c.tier
  LEFT JOIN name AS fallback ON fallback.id = c.fallback_from
  LEFT JOIN tagset ON tagset.id = c.tags
  LEFT JOIN price ON price.id = c.price"""

CALL_FROM: Final = f"\nFROM call AS c{_NAMED}"

_OPEN_FROM: Final = f"""
FROM owner AS o CROSS JOIN call AS c ON c.seq BETWEEN o.first_seq AND o.last_seq AND c.owner = o.id{_NAMED}"""

_PARKED_FROM: Final = f"\nFROM job AS j CROSS JOIN call AS c ON c.seq = j.call AND j.until > 0{_NAMED}"

_OPEN: Final = "\nWHERE c.state = 0"

_SUMS: Final = ", ".join(SUMS)


def _rollup(kept: str, dimensions: str, of_row: str) -> str:
    """The rows of `day_sum`, and those of the calls that are not added up yet, each for itself."""
    return f"""SELECT {dimensions}, {_SUMS} FROM day_sum WHERE {kept}
UNION ALL SELECT seq / {DAY} AS day, {of_row}, {ROW_SUMS}
FROM call WHERE seq >= ({SUMMED}) AND state <> 0"""  # noqa: S608  constant names


VIEWS: Final[tuple[tuple[str, str], ...]] = (
    (
        "line",
        """SELECT seq AS call, windows AS budget_window FROM call WHERE windows > 0
UNION ALL SELECT c.seq, s.budget_window FROM call AS c JOIN set_line AS s ON s.window_set = -c.windows
UNION ALL SELECT call, budget_window FROM more_line""",
    ),
    (
        "day_model",
        _rollup(
            "account = 0",
            "day, context, operation, provider, model",
            "context, operation, coalesce(provider, 0), model",
        ),
    ),
    ("day_account", _rollup("account > 0", "day, account, context", "account, context")),
    ("calls", f"{CALL_SELECT}{CALL_FROM}\nWHERE c.state <> 0"),
    (
        "open_calls",
        f"{CALL_SELECT}{_OPEN_FROM}{_OPEN}\nUNION ALL {CALL_SELECT}{_PARKED_FROM}{_OPEN}",
    ),
    (
        "corrections",
        f"""SELECT c.id AS call, {_instant("(k.at / 1000)")} AS at, {_word("k.kind", KINDS)} AS kind,
  k.reason AS reason,
  k.old_cost AS old_cost_nano, k.cost AS cost_nano, k.old_counted AS old_counted_nano,
  k.counted AS counted_nano, {_word("k.old_cost_source", COST_SOURCES)} AS old_cost_source,
  {_word("k.cost_source", COST_SOURCES)} AS cost_source, {_word("k.old_outcome", OUTCOMES)} AS old_outcome,
  {_word("k.outcome", OUTCOMES)} AS outcome, o.source AS old_prices_version, p.source AS prices_version
FROM correction AS k JOIN call AS c ON c.seq = k.call LEFT JOIN price AS p ON p.id = k.price
  LEFT JOIN price AS o ON o.id = k.old_price""",  # noqa: S608  constant names
    ),
    (
        "budget_windows",
        f"""SELECT b.name AS budget, w.key AS key, {_instant("(w.starts / 1000)")} AS starts_at,
  CASE WHEN w.ends IS NOT NULL THEN {_instant("(w.ends / 1000)")} END AS ends_at,
  w.limit_nano AS limit_nano, w.spent AS spent_nano, w.held AS held_nano
FROM budget_window AS w JOIN budget AS b ON b.id = w.budget
WHERE b.removed IS NULL""",  # noqa: S608  constant names
    ),
)
