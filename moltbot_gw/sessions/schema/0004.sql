-- What may be large is no longer part of a key.
--
-- A table WITHOUT ROWID keeps whole rows as its keys, in inner nodes too, and compares
-- them whole: once a picture of 3 MB was stored, each later turn read it again.

BEGIN IMMEDIATE;

-- place is the session's number and seq in its last 28 bits, so that the entries of a
-- session still lie side by side, and those of a fresh one at the end.
CREATE TABLE placed_entries (
    place      INTEGER PRIMARY KEY,
    run_id     TEXT    NOT NULL,
    created_ms INTEGER NOT NULL,
    message    BLOB    NOT NULL,
    hash       BLOB    NOT NULL,
    session    INTEGER GENERATED ALWAYS AS (place >> 28) VIRTUAL,
    seq        INTEGER GENERATED ALWAYS AS (place & 268435455) VIRTUAL
) STRICT;

INSERT INTO placed_entries (place, run_id, created_ms, message, hash)
    SELECT (session << 28) | seq, run_id, created_ms, message, hash
    FROM entries ORDER BY session, seq;

DROP TABLE entries;

ALTER TABLE placed_entries RENAME TO entries;

-- As a foreign key would, which needs an index of its own.
CREATE TRIGGER entries_go_with_their_session AFTER DELETE ON sessions BEGIN
    DELETE FROM entries
    WHERE place BETWEEN (OLD.number << 28) AND ((OLD.number + 1) << 28) - 1;
END;

CREATE TABLE rowid_kept_runs (
    key         TEXT    PRIMARY KEY,
    fingerprint BLOB    NOT NULL,
    run_id      TEXT    NOT NULL,
    agent_id    TEXT    NOT NULL,
    session_key TEXT    NOT NULL,
    created_ms  INTEGER NOT NULL,
    outcome     BLOB
) STRICT;

INSERT INTO rowid_kept_runs SELECT * FROM kept_runs;

DROP TABLE kept_runs;

ALTER TABLE rowid_kept_runs RENAME TO kept_runs;

CREATE INDEX kept_runs_by_age ON kept_runs (created_ms);

CREATE TABLE rowid_summaries (
    session       INTEGER NOT NULL REFERENCES sessions (number) ON DELETE CASCADE,
    ordinal       INTEGER NOT NULL,
    created_ms    INTEGER NOT NULL,
    text          BLOB    NOT NULL,
    hash          BLOB    NOT NULL,
    PRIMARY KEY (session, ordinal)
) STRICT;

INSERT INTO rowid_summaries SELECT * FROM summaries;

DROP TABLE summaries;

ALTER TABLE rowid_summaries RENAME TO summaries;

PRAGMA user_version = 4;

COMMIT;
