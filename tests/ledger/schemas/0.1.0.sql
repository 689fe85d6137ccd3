PRAGMA application_id = 1181906024;
BEGIN TRANSACTION;
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
INSERT INTO "_sqlite_migrations" VALUES(1,'farthing','0001 tables','2026-11-21 21:02:07.967732+00:00');
INSERT INTO "_sqlite_migrations" VALUES(2,'farthing','0001 views','2026-11-21 21:02:07.969249+00:00');
CREATE TABLE alert (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  budget_window INTEGER NOT NULL,
  threshold INTEGER NOT NULL,
  limit_nano INTEGER NOT NULL,
  budget TEXT NOT NULL, key TEXT NOT NULL,
  spent INTEGER NOT NULL, held INTEGER NOT NULL,
  starts INTEGER NOT NULL, ends INTEGER,
  raised INTEGER NOT NULL,
  UNIQUE (budget_window, threshold, limit_nano)) STRICT;
CREATE TABLE budget (
  id INTEGER PRIMARY KEY,
  attached INTEGER NOT NULL CHECK (attached IN (0, 1)),
  name TEXT NOT NULL,
  rules TEXT NOT NULL,
  origin TEXT,
  pinned INTEGER NOT NULL DEFAULT 0,
  declared TEXT,
  since INTEGER NOT NULL,
  removed INTEGER,
  UNIQUE (attached, name)) STRICT;
INSERT INTO "budget" VALUES(1,0,'all','{"account":null,"alerts":[0.75,0.9,1.0],"anchor":null,"context":null,"fallback":null,"limit":"1000","mode":"hard","model":null,"name":"all","per":null,"period":"month","provider":null,"tags":null,"timezone":"UTC","uncertain":null,"wait":null}','code',0,'{"account":null,"alerts":[0.75,0.9,1.0],"anchor":null,"context":null,"fallback":null,"limit":"1000","mode":"hard","model":null,"name":"all","per":null,"period":"month","provider":null,"tags":null,"timezone":"UTC","uncertain":null,"wait":null}',1789992000000000000,NULL);
INSERT INTO "budget" VALUES(2,1,'scope|acme|day','{"account":null,"alerts":[0.75,0.9,1.0],"anchor":null,"context":null,"fallback":null,"limit":"1000","mode":"hard","model":null,"name":"one","per":null,"period":"day","provider":null,"tags":null,"timezone":"UTC","uncertain":null,"wait":null}',NULL,0,NULL,0,NULL);
CREATE TABLE budget_window (
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
  UNIQUE (budget, key, starts)) STRICT;
INSERT INTO "budget_window" VALUES(1,1,'',1788220800000000000,1790812800000000000,0,1000000000000,2000000000,1000000000,1000000000,750000000000,0);
INSERT INTO "budget_window" VALUES(2,2,'',1789948800000000000,1790035200000000000,0,1000000000000,2000000000,1000000000,1000000000,750000000000,0);
CREATE TABLE call (
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
  CHECK ((state = 0) = (outcome IS NULL) AND (state = 0) = (counted IS NULL))) STRICT;
INSERT INTO "call" VALUES(1832951808000000000,'1314-000000000000',1,0,1,1789992001000000000,1000000,2,0,NULL,NULL,3,1,1,4,0,NULL,1,1200,1024,NULL,150,64,0,100000000,500000000,500000000,1000000000,1,1,-1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "call" VALUES(1832951808000000001,'1314-000000000001',1,0,1,1789992001000000000,1000000,2,0,1,NULL,3,1,1,4,0,NULL,1,1200,1024,NULL,150,64,0,100000000,500000000,500000000,1000000000,1,1,-1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "call" VALUES(1832951808000000002,'1314-000000000002',1,0,1,1789992001000000000,1000000,2,0,NULL,NULL,3,1,1,4,0,NULL,1,1200,1024,NULL,150,64,0,100000000,NULL,1000000000,1000000000,4,1,-1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "call" VALUES(1832951808000000003,'1314-000000000003',2,2,1,1789992001000000000,1000000,2,0,NULL,NULL,3,1,1,4,0,NULL,1,NULL,NULL,NULL,NULL,NULL,2,100000000,0,0,1000000000,5,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "call" VALUES(1832951808000000004,'1314-000000000004',1,0,NULL,1789992001000000000,1000000,2,0,NULL,NULL,3,1,1,4,0,NULL,1,1200,1024,NULL,150,64,0,0,1000000000,1000000000,0,1,1,NULL,NULL,NULL,NULL,NULL,NULL,'t-1',X'636F6E74656E74',NULL,0,NULL,NULL,NULL);
INSERT INTO "call" VALUES(1832951808000000005,'1314-000000000005',0,NULL,1,NULL,NULL,2,0,NULL,NULL,3,1,1,1,0,NULL,1,1000,NULL,NULL,NULL,NULL,NULL,100000000,NULL,NULL,1000000000,NULL,1,-1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL);
CREATE TABLE correction (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  call INTEGER NOT NULL,
  at INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  reason TEXT NOT NULL,
  outcome INTEGER NOT NULL, cost INTEGER, counted INTEGER NOT NULL, cost_source INTEGER NOT NULL,
  price INTEGER,
  old_outcome INTEGER NOT NULL, old_cost INTEGER, old_counted INTEGER NOT NULL,
  old_cost_source INTEGER NOT NULL, old_price INTEGER, old_usage TEXT) STRICT;
CREATE TABLE day_sum (
  day INTEGER NOT NULL, account INTEGER NOT NULL, context INTEGER NOT NULL, operation INTEGER NOT NULL,
  provider INTEGER NOT NULL, model INTEGER NOT NULL,
  calls INTEGER NOT NULL, errors INTEGER NOT NULL, input INTEGER NOT NULL, cached INTEGER NOT NULL,
  output INTEGER NOT NULL, cost INTEGER NOT NULL, counted INTEGER NOT NULL, unpriced INTEGER NOT NULL,
  estimated INTEGER NOT NULL, partial INTEGER NOT NULL,
  PRIMARY KEY (day, account, context, operation, provider, model)) STRICT, WITHOUT ROWID;
CREATE TABLE delivery (
  alert INTEGER NOT NULL REFERENCES alert (id),
  channel TEXT NOT NULL,
  due INTEGER,
  tries INTEGER NOT NULL,
  PRIMARY KEY (alert, channel)) STRICT, WITHOUT ROWID;
CREATE TABLE job (
  call INTEGER PRIMARY KEY, address TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL,
  until INTEGER, notes TEXT NOT NULL) STRICT;
CREATE TABLE meta (key TEXT PRIMARY KEY, number INTEGER, text TEXT) STRICT, WITHOUT ROWID;
INSERT INTO "meta" VALUES('budget_epoch',2,NULL);
INSERT INTO "meta" VALUES('ledger_id',NULL,'91d8d15be44789b22f145a83af330547');
INSERT INTO "meta" VALUES('summed',0,NULL);
CREATE TABLE more_line (
  call INTEGER NOT NULL,
  budget_window INTEGER NOT NULL,
  PRIMARY KEY (call, budget_window)) STRICT, WITHOUT ROWID;
CREATE TABLE name (
  id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, name TEXT NOT NULL, UNIQUE (kind, name)) STRICT;
INSERT INTO "name" VALUES(1,3,'gpt-4o');
INSERT INTO "name" VALUES(2,1,'acme');
INSERT INTO "name" VALUES(3,2,'openai');
INSERT INTO "name" VALUES(4,3,'gpt-4o-2024-08-06');
CREATE TABLE owner (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  token BLOB NOT NULL UNIQUE,
  lease_until INTEGER NOT NULL,
  first_seq INTEGER NOT NULL,
  last_seq INTEGER NOT NULL) STRICT;
INSERT INTO "owner" VALUES(1,X'AAB0CB4169DBF06EEE302558670C0542',1789992600000000000,1832951746560000000,1832952422400000000);
CREATE TABLE price (
  id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, source TEXT NOT NULL, json TEXT NOT NULL) STRICT;
INSERT INTO "price" VALUES(1,X'4EDB638DC822C43F2C636515F3D64862','genai-prices 0.2.3','{"provider":"openai","model":"gpt-4o","prices":{"input":2500000,"output":10000000},"bands":[],"status":"priced","source":"genai-prices 0.2.3","starts_at":null,"ends_at":null,"tier":null,"notes":[],"flags":[],"region":null,"base_url":null}');
CREATE TABLE pruned_key (
  account INTEGER NOT NULL, transaction_id TEXT NOT NULL, call TEXT NOT NULL, digest BLOB,
  PRIMARY KEY (account, transaction_id)) STRICT, WITHOUT ROWID;
CREATE TABLE pruned_window (
  budget_window INTEGER PRIMARY KEY, spent INTEGER NOT NULL, cost INTEGER NOT NULL,
  last INTEGER NOT NULL) STRICT;
CREATE TABLE refusal (
  day INTEGER NOT NULL, account INTEGER NOT NULL, model INTEGER NOT NULL, budget TEXT NOT NULL,
  reason TEXT NOT NULL, calls INTEGER NOT NULL,
  PRIMARY KEY (day, account, model, budget, reason)) STRICT, WITHOUT ROWID;
CREATE TABLE set_line (
  window_set INTEGER NOT NULL REFERENCES window_set (id) ON DELETE CASCADE,
  budget_window INTEGER NOT NULL,
  PRIMARY KEY (window_set, budget_window)) STRICT, WITHOUT ROWID;
INSERT INTO "set_line" VALUES(1,1);
INSERT INTO "set_line" VALUES(1,2);
CREATE TABLE tagset (
  id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, json TEXT NOT NULL) STRICT;
INSERT INTO "tagset" VALUES(1,X'F452A1DDCACAAF54EE4EDBB777CDE7F1','{"feature":"search"}');
CREATE TABLE top_up (call INTEGER PRIMARY KEY, topped INTEGER NOT NULL) STRICT;
CREATE TABLE user_price (
  name TEXT PRIMARY KEY, json TEXT NOT NULL, written INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE window_set (id INTEGER PRIMARY KEY, windows TEXT NOT NULL UNIQUE) STRICT;
INSERT INTO "window_set" VALUES(1,'1,2');
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
CREATE UNIQUE INDEX call_recorded ON call (id) WHERE owner IS NULL;
CREATE INDEX call_uncertain ON call (seq) WHERE state <> 0 AND outcome <> 2 AND flags & 512 = 0
  AND (cost IS NULL OR counted <> cost OR cost_source = 3);
CREATE INDEX call_run ON call (run) WHERE run IS NOT NULL;
CREATE UNIQUE INDEX call_transaction ON call (account, transaction_id)
  WHERE transaction_id IS NOT NULL;
CREATE INDEX delivery_due ON delivery (channel, due) WHERE due IS NOT NULL;
CREATE INDEX set_line_window ON set_line (budget_window);
CREATE INDEX job_id ON job (id, kind, address);
CREATE INDEX job_until ON job (until) WHERE until IS NOT NULL;
CREATE INDEX top_up_topped ON top_up (topped);
CREATE INDEX correction_call ON correction (call);
CREATE VIEW line AS SELECT seq AS call, windows AS budget_window FROM call WHERE windows > 0
UNION ALL SELECT c.seq, s.budget_window FROM call AS c JOIN set_line AS s ON s.window_set = -c.windows
UNION ALL SELECT call, budget_window FROM more_line;
CREATE VIEW day_model AS SELECT day, context, operation, provider, model, calls, errors, input, cached, output, cost, counted, unpriced, estimated, partial FROM day_sum WHERE account = 0
UNION ALL SELECT seq / 88473600000000 AS day, context, operation, coalesce(provider, 0), model, 1 AS calls, outcome = 2 AS errors, coalesce(input, 0) AS input,
  coalesce(cached, 0) AS cached, coalesce(output, 0) AS output, coalesce(cost, 0) AS cost,
  counted, cost IS NULL AND outcome <> 2 AS unpriced,
  (usage_source = 1 OR flags & 2) AND flags & 512 = 0
    AND outcome <> 2 AS estimated,
  cost_source = 3 AS partial
FROM call WHERE seq >= (SELECT number FROM meta WHERE key = 'summed') AND state <> 0;
CREATE VIEW day_account AS SELECT day, account, context, calls, errors, input, cached, output, cost, counted, unpriced, estimated, partial FROM day_sum WHERE account > 0
UNION ALL SELECT seq / 88473600000000 AS day, account, context, 1 AS calls, outcome = 2 AS errors, coalesce(input, 0) AS input,
  coalesce(cached, 0) AS cached, coalesce(output, 0) AS output, coalesce(cost, 0) AS cost,
  counted, cost IS NULL AND outcome <> 2 AS unpriced,
  (usage_source = 1 OR flags & 2) AND flags & 512 = 0
    AND outcome <> 2 AS estimated,
  cost_source = 3 AS partial
FROM call WHERE seq >= (SELECT number FROM meta WHERE key = 'summed') AND state <> 0;
CREATE VIEW calls AS SELECT c.id AS id, strftime('%Y-%m-%dT%H:%M:%S', (c.seq >> 10) / 1000000, 'unixepoch') || printf('.%06dZ', (c.seq >> 10) % 1000000) AS started_at,
  CASE WHEN c.recorded IS NOT NULL THEN strftime('%Y-%m-%dT%H:%M:%S', (c.recorded / 1000) / 1000000, 'unixepoch') || printf('.%06dZ', (c.recorded / 1000) % 1000000) END AS recorded_at,
  account.name AS account, CASE c.context WHEN 0 THEN 'customer' WHEN 1 THEN 'system' END AS context,
  coalesce(tagset.json, '{}') AS tags, c.run AS run, provider.name AS provider,
  requested.name AS requested_model, model.name AS model, CASE c.operation WHEN 0 THEN 'chat' WHEN 1 THEN 'responses' WHEN 2 THEN 'completion' WHEN 3 THEN 'embedding' WHEN 4 THEN 'image' WHEN 5 THEN 'speech' WHEN 6 THEN 'transcription' WHEN 7 THEN 'translation' WHEN 8 THEN 'moderation' WHEN 9 THEN 'video' WHEN 10 THEN 'batch' WHEN 11 THEN 'other' END AS operation,
  tier.name AS service_tier, CASE c.outcome WHEN 0 THEN 'complete' WHEN 1 THEN 'aborted' WHEN 2 THEN 'error' WHEN 3 THEN 'unknown' WHEN 4 THEN 'expired' END AS outcome, c.attempts AS attempts,
  c.input AS input_tokens, c.cached AS cached_tokens, c.cache_write AS cache_write_tokens,
  c.output AS output_tokens, c.reasoning AS reasoning_tokens,
  CASE c.usage_source WHEN 0 THEN 'reported' WHEN 1 THEN 'estimated' WHEN 2 THEN 'unknown' END AS usage_source,
  c.cost AS cost_nano, c.cost / 1e9 AS cost_usd, c.counted AS counted_nano,
  CASE c.cost_source WHEN 0 THEN 'reported' WHEN 1 THEN 'priced' WHEN 2 THEN 'free' WHEN 3 THEN 'partial' WHEN 4 THEN 'unpriced' WHEN 5 THEN 'none' END AS cost_source, c.held AS held_nano, c.overrun AS overrun,
  c.capped_at AS capped_at, fallback.name AS fallback_from, c.duration / 1e3 AS duration_ms,
  c.request_id AS request_id, c.response_id AS response_id, c.transaction_id AS transaction_id,
  c.error AS error, '[' || ltrim(CASE WHEN c.flags & 1 THEN ',"overrun"' ELSE '' END || CASE WHEN c.flags & 2 THEN ',"lost_attempts"' ELSE '' END || CASE WHEN c.flags & 4 THEN ',"unpriced_allowed"' ELSE '' END || CASE WHEN c.flags & 8 THEN ',"unbounded_allowed"' ELSE '' END || CASE WHEN c.flags & 16 THEN ',"ledger_error"' ELSE '' END || CASE WHEN c.flags & 32 THEN ',"spilled"' ELSE '' END || CASE WHEN c.flags & 64 THEN ',"recorded"' ELSE '' END || CASE WHEN c.flags & 128 THEN ',"imported"' ELSE '' END || CASE WHEN c.flags & 256 THEN ',"repriced"' ELSE '' END || CASE WHEN c.flags & 512 THEN ',"corrected"' ELSE '' END || CASE WHEN c.flags & 1024 THEN ',"clamped"' ELSE '' END || CASE WHEN c.flags & 2048 THEN ',"suspect"' ELSE '' END || CASE WHEN c.flags & 4096 THEN ',"cap_ignored"' ELSE '' END || CASE WHEN c.flags & 8192 THEN ',"multiplier"' ELSE '' END, ',') || ']' AS flags, coalesce(c.units, '{}') AS units,
  price.source AS prices_version
FROM call AS c
  JOIN name AS account ON account.id = c.account
  JOIN name AS requested ON requested.id = c.requested
  JOIN name AS model ON model.id = c.model
  LEFT JOIN name AS provider ON provider.id = c.provider
  LEFT JOIN name AS tier ON tier.id = c.tier
  LEFT JOIN name AS fallback ON fallback.id = c.fallback_from
  LEFT JOIN tagset ON tagset.id = c.tags
  LEFT JOIN price ON price.id = c.price
WHERE c.state <> 0;
CREATE VIEW open_calls AS SELECT c.id AS id, strftime('%Y-%m-%dT%H:%M:%S', (c.seq >> 10) / 1000000, 'unixepoch') || printf('.%06dZ', (c.seq >> 10) % 1000000) AS started_at,
  CASE WHEN c.recorded IS NOT NULL THEN strftime('%Y-%m-%dT%H:%M:%S', (c.recorded / 1000) / 1000000, 'unixepoch') || printf('.%06dZ', (c.recorded / 1000) % 1000000) END AS recorded_at,
  account.name AS account, CASE c.context WHEN 0 THEN 'customer' WHEN 1 THEN 'system' END AS context,
  coalesce(tagset.json, '{}') AS tags, c.run AS run, provider.name AS provider,
  requested.name AS requested_model, model.name AS model, CASE c.operation WHEN 0 THEN 'chat' WHEN 1 THEN 'responses' WHEN 2 THEN 'completion' WHEN 3 THEN 'embedding' WHEN 4 THEN 'image' WHEN 5 THEN 'speech' WHEN 6 THEN 'transcription' WHEN 7 THEN 'translation' WHEN 8 THEN 'moderation' WHEN 9 THEN 'video' WHEN 10 THEN 'batch' WHEN 11 THEN 'other' END AS operation,
  tier.name AS service_tier, CASE c.outcome WHEN 0 THEN 'complete' WHEN 1 THEN 'aborted' WHEN 2 THEN 'error' WHEN 3 THEN 'unknown' WHEN 4 THEN 'expired' END AS outcome, c.attempts AS attempts,
  c.input AS input_tokens, c.cached AS cached_tokens, c.cache_write AS cache_write_tokens,
  c.output AS output_tokens, c.reasoning AS reasoning_tokens,
  CASE c.usage_source WHEN 0 THEN 'reported' WHEN 1 THEN 'estimated' WHEN 2 THEN 'unknown' END AS usage_source,
  c.cost AS cost_nano, c.cost / 1e9 AS cost_usd, c.counted AS counted_nano,
  CASE c.cost_source WHEN 0 THEN 'reported' WHEN 1 THEN 'priced' WHEN 2 THEN 'free' WHEN 3 THEN 'partial' WHEN 4 THEN 'unpriced' WHEN 5 THEN 'none' END AS cost_source, c.held AS held_nano, c.overrun AS overrun,
  c.capped_at AS capped_at, fallback.name AS fallback_from, c.duration / 1e3 AS duration_ms,
  c.request_id AS request_id, c.response_id AS response_id, c.transaction_id AS transaction_id,
  c.error AS error, '[' || ltrim(CASE WHEN c.flags & 1 THEN ',"overrun"' ELSE '' END || CASE WHEN c.flags & 2 THEN ',"lost_attempts"' ELSE '' END || CASE WHEN c.flags & 4 THEN ',"unpriced_allowed"' ELSE '' END || CASE WHEN c.flags & 8 THEN ',"unbounded_allowed"' ELSE '' END || CASE WHEN c.flags & 16 THEN ',"ledger_error"' ELSE '' END || CASE WHEN c.flags & 32 THEN ',"spilled"' ELSE '' END || CASE WHEN c.flags & 64 THEN ',"recorded"' ELSE '' END || CASE WHEN c.flags & 128 THEN ',"imported"' ELSE '' END || CASE WHEN c.flags & 256 THEN ',"repriced"' ELSE '' END || CASE WHEN c.flags & 512 THEN ',"corrected"' ELSE '' END || CASE WHEN c.flags & 1024 THEN ',"clamped"' ELSE '' END || CASE WHEN c.flags & 2048 THEN ',"suspect"' ELSE '' END || CASE WHEN c.flags & 4096 THEN ',"cap_ignored"' ELSE '' END || CASE WHEN c.flags & 8192 THEN ',"multiplier"' ELSE '' END, ',') || ']' AS flags, coalesce(c.units, '{}') AS units,
  price.source AS prices_version
FROM owner AS o CROSS JOIN call AS c ON c.seq BETWEEN o.first_seq AND o.last_seq AND c.owner = o.id
  JOIN name AS account ON account.id = c.account
  JOIN name AS requested ON requested.id = c.requested
  JOIN name AS model ON model.id = c.model
  LEFT JOIN name AS provider ON provider.id = c.provider
  LEFT JOIN name AS tier ON tier.id = c.tier
  LEFT JOIN name AS fallback ON fallback.id = c.fallback_from
  LEFT JOIN tagset ON tagset.id = c.tags
  LEFT JOIN price ON price.id = c.price
WHERE c.state = 0
UNION ALL SELECT c.id AS id, strftime('%Y-%m-%dT%H:%M:%S', (c.seq >> 10) / 1000000, 'unixepoch') || printf('.%06dZ', (c.seq >> 10) % 1000000) AS started_at,
  CASE WHEN c.recorded IS NOT NULL THEN strftime('%Y-%m-%dT%H:%M:%S', (c.recorded / 1000) / 1000000, 'unixepoch') || printf('.%06dZ', (c.recorded / 1000) % 1000000) END AS recorded_at,
  account.name AS account, CASE c.context WHEN 0 THEN 'customer' WHEN 1 THEN 'system' END AS context,
  coalesce(tagset.json, '{}') AS tags, c.run AS run, provider.name AS provider,
  requested.name AS requested_model, model.name AS model, CASE c.operation WHEN 0 THEN 'chat' WHEN 1 THEN 'responses' WHEN 2 THEN 'completion' WHEN 3 THEN 'embedding' WHEN 4 THEN 'image' WHEN 5 THEN 'speech' WHEN 6 THEN 'transcription' WHEN 7 THEN 'translation' WHEN 8 THEN 'moderation' WHEN 9 THEN 'video' WHEN 10 THEN 'batch' WHEN 11 THEN 'other' END AS operation,
  tier.name AS service_tier, CASE c.outcome WHEN 0 THEN 'complete' WHEN 1 THEN 'aborted' WHEN 2 THEN 'error' WHEN 3 THEN 'unknown' WHEN 4 THEN 'expired' END AS outcome, c.attempts AS attempts,
  c.input AS input_tokens, c.cached AS cached_tokens, c.cache_write AS cache_write_tokens,
  c.output AS output_tokens, c.reasoning AS reasoning_tokens,
  CASE c.usage_source WHEN 0 THEN 'reported' WHEN 1 THEN 'estimated' WHEN 2 THEN 'unknown' END AS usage_source,
  c.cost AS cost_nano, c.cost / 1e9 AS cost_usd, c.counted AS counted_nano,
  CASE c.cost_source WHEN 0 THEN 'reported' WHEN 1 THEN 'priced' WHEN 2 THEN 'free' WHEN 3 THEN 'partial' WHEN 4 THEN 'unpriced' WHEN 5 THEN 'none' END AS cost_source, c.held AS held_nano, c.overrun AS overrun,
  c.capped_at AS capped_at, fallback.name AS fallback_from, c.duration / 1e3 AS duration_ms,
  c.request_id AS request_id, c.response_id AS response_id, c.transaction_id AS transaction_id,
  c.error AS error, '[' || ltrim(CASE WHEN c.flags & 1 THEN ',"overrun"' ELSE '' END || CASE WHEN c.flags & 2 THEN ',"lost_attempts"' ELSE '' END || CASE WHEN c.flags & 4 THEN ',"unpriced_allowed"' ELSE '' END || CASE WHEN c.flags & 8 THEN ',"unbounded_allowed"' ELSE '' END || CASE WHEN c.flags & 16 THEN ',"ledger_error"' ELSE '' END || CASE WHEN c.flags & 32 THEN ',"spilled"' ELSE '' END || CASE WHEN c.flags & 64 THEN ',"recorded"' ELSE '' END || CASE WHEN c.flags & 128 THEN ',"imported"' ELSE '' END || CASE WHEN c.flags & 256 THEN ',"repriced"' ELSE '' END || CASE WHEN c.flags & 512 THEN ',"corrected"' ELSE '' END || CASE WHEN c.flags & 1024 THEN ',"clamped"' ELSE '' END || CASE WHEN c.flags & 2048 THEN ',"suspect"' ELSE '' END || CASE WHEN c.flags & 4096 THEN ',"cap_ignored"' ELSE '' END || CASE WHEN c.flags & 8192 THEN ',"multiplier"' ELSE '' END, ',') || ']' AS flags, coalesce(c.units, '{}') AS units,
  price.source AS prices_version
FROM job AS j CROSS JOIN call AS c ON c.seq = j.call AND j.until > 0
  JOIN name AS account ON account.id = c.account
  JOIN name AS requested ON requested.id = c.requested
  JOIN name AS model ON model.id = c.model
  LEFT JOIN name AS provider ON provider.id = c.provider
  LEFT JOIN name AS tier ON tier.id = c.tier
  LEFT JOIN name AS fallback ON fallback.id = c.fallback_from
  LEFT JOIN tagset ON tagset.id = c.tags
  LEFT JOIN price ON price.id = c.price
WHERE c.state = 0;
CREATE VIEW corrections AS SELECT c.id AS call, strftime('%Y-%m-%dT%H:%M:%S', (k.at / 1000) / 1000000, 'unixepoch') || printf('.%06dZ', (k.at / 1000) % 1000000) AS at, CASE k.kind WHEN 0 THEN 'correct' WHEN 1 THEN 'reprice' END AS kind,
  k.reason AS reason,
  k.old_cost AS old_cost_nano, k.cost AS cost_nano, k.old_counted AS old_counted_nano,
  k.counted AS counted_nano, CASE k.old_cost_source WHEN 0 THEN 'reported' WHEN 1 THEN 'priced' WHEN 2 THEN 'free' WHEN 3 THEN 'partial' WHEN 4 THEN 'unpriced' WHEN 5 THEN 'none' END AS old_cost_source,
  CASE k.cost_source WHEN 0 THEN 'reported' WHEN 1 THEN 'priced' WHEN 2 THEN 'free' WHEN 3 THEN 'partial' WHEN 4 THEN 'unpriced' WHEN 5 THEN 'none' END AS cost_source, CASE k.old_outcome WHEN 0 THEN 'complete' WHEN 1 THEN 'aborted' WHEN 2 THEN 'error' WHEN 3 THEN 'unknown' WHEN 4 THEN 'expired' END AS old_outcome,
  CASE k.outcome WHEN 0 THEN 'complete' WHEN 1 THEN 'aborted' WHEN 2 THEN 'error' WHEN 3 THEN 'unknown' WHEN 4 THEN 'expired' END AS outcome, o.source AS old_prices_version, p.source AS prices_version
FROM correction AS k JOIN call AS c ON c.seq = k.call LEFT JOIN price AS p ON p.id = k.price
  LEFT JOIN price AS o ON o.id = k.old_price;
CREATE VIEW budget_windows AS SELECT b.name AS budget, w.key AS key, strftime('%Y-%m-%dT%H:%M:%S', (w.starts / 1000) / 1000000, 'unixepoch') || printf('.%06dZ', (w.starts / 1000) % 1000000) AS starts_at,
  CASE WHEN w.ends IS NOT NULL THEN strftime('%Y-%m-%dT%H:%M:%S', (w.ends / 1000) / 1000000, 'unixepoch') || printf('.%06dZ', (w.ends / 1000) % 1000000) END AS ends_at,
  w.limit_nano AS limit_nano, w.spent AS spent_nano, w.held AS held_nano
FROM budget_window AS w JOIN budget AS b ON b.id = w.budget
WHERE b.removed IS NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('owner',1);
INSERT INTO "sqlite_sequence" VALUES('budget_window',2);
COMMIT;
