-- What a state may be is asked with OR, not with IN.
--
-- For the list of an IN inside a CHECK, SQLite builds a table in memory each time that a
-- row is written: twice a turn, at a sixth of what the turn costs it.

BEGIN IMMEDIATE;

CREATE TABLE checked_runs (
    session           INTEGER NOT NULL REFERENCES sessions (number) ON DELETE CASCADE,
    run_id            TEXT    NOT NULL,
    provider          TEXT    NOT NULL,
    model             TEXT    NOT NULL,
    started_ms        INTEGER NOT NULL,
    state             TEXT    NOT NULL
        CHECK (state = 'done' OR state = 'running' OR state = 'failed'
               OR state = 'aborted' OR state = 'interrupted'),
    ended_ms          INTEGER,
    error_code        TEXT,
    prompt_tokens     INTEGER,
    completion_tokens INTEGER,
    total_tokens      INTEGER,
    cached_tokens     INTEGER,
    reasoning_tokens  INTEGER,
    kept_key          TEXT,
    PRIMARY KEY (session, run_id)
) STRICT, WITHOUT ROWID;

INSERT INTO checked_runs
    SELECT session, run_id, provider, model, started_ms, state, ended_ms, error_code,
           prompt_tokens, completion_tokens, total_tokens, cached_tokens,
           reasoning_tokens, kept_key
    FROM runs
    -- Whoever deleted a session by hand may have left its runs behind.
    WHERE session IN (SELECT number FROM sessions)
    ORDER BY session, run_id;

DROP TABLE runs;

ALTER TABLE checked_runs RENAME TO runs;

PRAGMA user_version = 5;

COMMIT;
