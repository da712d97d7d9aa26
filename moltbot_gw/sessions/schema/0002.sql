-- What is set for a session, and runs that are found by the idempotency key of the
-- request that began them.

BEGIN IMMEDIATE;

-- A JSON object, see SessionSettings.
ALTER TABLE sessions ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';

-- The key in kept_runs under which the end of this run is to be kept.
ALTER TABLE runs ADD COLUMN kept_key TEXT;

-- These outlive their session.  outcome is JSON, NULL until the run has ended.
CREATE TABLE kept_runs (
    key         TEXT    PRIMARY KEY,
    fingerprint BLOB    NOT NULL,
    run_id      TEXT    NOT NULL,
    agent_id    TEXT    NOT NULL,
    session_key TEXT    NOT NULL,
    created_ms  INTEGER NOT NULL,
    outcome     BLOB
) STRICT, WITHOUT ROWID;

CREATE INDEX kept_runs_by_age ON kept_runs (created_ms);

PRAGMA user_version = 2;

COMMIT;
