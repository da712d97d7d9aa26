-- Summaries, which stand for the older entries when a model reads a session.

BEGIN IMMEDIATE;

-- The first entry that the model still reads; the last summary stands for those before.
ALTER TABLE sessions ADD COLUMN first_kept INTEGER NOT NULL DEFAULT 1;

-- How many summaries there were, and how many tokens the context had before the last.
ALTER TABLE sessions ADD COLUMN compactions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN tokens_before INTEGER NOT NULL DEFAULT 0;

-- The last entry that total_tokens includes, 0 if they say nothing of the context.
ALTER TABLE sessions ADD COLUMN counted_seq INTEGER NOT NULL DEFAULT 0;

-- Append-only.  The last one of a session has its ordinal in compactions; text is UTF-8.
-- A table of their own, because the row of a session is written with every turn.
CREATE TABLE summaries (
    session       INTEGER NOT NULL REFERENCES sessions (number) ON DELETE CASCADE,
    ordinal       INTEGER NOT NULL,
    created_ms    INTEGER NOT NULL,
    text          BLOB    NOT NULL,
    hash          BLOB    NOT NULL,
    PRIMARY KEY (session, ordinal)
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 3;

COMMIT;
