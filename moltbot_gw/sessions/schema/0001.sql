-- The first schema.  Each file of this folder is one transaction that ends by setting
-- user_version to the number in its name; application_id is "mbgw".
--
-- A session key has one row per session id it ever had; exactly one is current.  The
-- integers that tie the tables together make the entries and runs of fresh sessions
-- neighbours at the end of their trees, so that a group commit dirties few pages.

BEGIN IMMEDIATE;

CREATE TABLE sessions (
    number           INTEGER PRIMARY KEY,
    session_key      TEXT    NOT NULL,
    session_id       TEXT    NOT NULL,
    is_current       INTEGER NOT NULL,
    agent_id         TEXT    NOT NULL,
    created_ms       INTEGER NOT NULL,
    updated_ms       INTEGER NOT NULL,
    anonymous        INTEGER NOT NULL,
    aborted_last_run INTEGER NOT NULL,
    provider         TEXT,
    model            TEXT,
    input_tokens     INTEGER NOT NULL,
    output_tokens    INTEGER NOT NULL,
    total_tokens     INTEGER NOT NULL,
    -- The end of the hash chain over the entries.
    last_seq         INTEGER NOT NULL,
    head             BLOB    NOT NULL,
    UNIQUE (session_key, session_id)
) STRICT;

-- Append-only.  message is JSON; hash covers it, its place and everything before it.
CREATE TABLE entries (
    session    INTEGER NOT NULL REFERENCES sessions (number) ON DELETE CASCADE,
    seq        INTEGER NOT NULL,
    run_id     TEXT    NOT NULL,
    created_ms INTEGER NOT NULL,
    message    BLOB    NOT NULL,
    hash       BLOB    NOT NULL,
    PRIMARY KEY (session, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
    session           INTEGER NOT NULL REFERENCES sessions (number) ON DELETE CASCADE,
    run_id            TEXT    NOT NULL,
    provider          TEXT    NOT NULL,
    model             TEXT    NOT NULL,
    started_ms        INTEGER NOT NULL,
    state             TEXT    NOT NULL
        CHECK (state IN ('running', 'done', 'failed', 'aborted', 'interrupted')),
    ended_ms          INTEGER,
    error_code        TEXT,
    prompt_tokens     INTEGER,
    completion_tokens INTEGER,
    total_tokens      INTEGER,
    cached_tokens     INTEGER,
    reasoning_tokens  INTEGER,
    PRIMARY KEY (session, run_id)
) STRICT, WITHOUT ROWID;

PRAGMA application_id = 1835165559;
PRAGMA user_version = 1;

COMMIT;
