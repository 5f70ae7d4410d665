-- The ledger: every change of a resource's state, once, in order.
--
-- The same tables as on PostgreSQL. Times are microseconds since 1970 in UTC. SQLite has one writer at a time, so its
-- write lock is the shard's lock; STRICT, because SQLite would otherwise store whatever it is given.

-- Which cluster this ledger belongs to. At most one row.
CREATE TABLE installation (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    id          TEXT    NOT NULL,
    cluster_uid TEXT    NOT NULL,
    era         INTEGER NOT NULL
) STRICT;

-- One row per shard: who may write, and the newest position.
CREATE TABLE shard (
    id          INTEGER PRIMARY KEY,
    epoch       INTEGER NOT NULL,
    holder      TEXT,
    head        INTEGER NOT NULL DEFAULT 0,
    recorded_at INTEGER
) STRICT;

-- The head of each stream. Never deleted.
CREATE TABLE resource (
    uid            TEXT    PRIMARY KEY NOT NULL,
    shard          INTEGER NOT NULL,
    kind           TEXT    NOT NULL,
    namespace      TEXT,
    name           TEXT    NOT NULL,
    tenant         TEXT    NOT NULL,
    account        TEXT    NOT NULL,
    plan           TEXT    NOT NULL,
    previous_uid   TEXT,
    state          TEXT    NOT NULL,
    sequence       INTEGER NOT NULL,
    hash           BLOB    NOT NULL,
    epoch          INTEGER NOT NULL,
    era            INTEGER NOT NULL,
    generation     INTEGER NOT NULL,
    replicas       INTEGER NOT NULL,
    cpu_millicores INTEGER NOT NULL,
    memory_bytes   INTEGER NOT NULL,
    storage_bytes  INTEGER NOT NULL,
    reason         TEXT    NOT NULL,
    message        TEXT    NOT NULL,
    effective_at   INTEGER NOT NULL,
    recorded_at    INTEGER NOT NULL,
    entered_at     INTEGER NOT NULL,
    opened_at      INTEGER NOT NULL,
    closed_at      INTEGER,
    -- The row that entered the present state: what was claimed under that state is named after it.
    entered        INTEGER NOT NULL
) STRICT;

-- "What happened to the application called x": the one question that does not start from a UID.
CREATE INDEX resource_by_name ON resource (name, kind);
-- Sweeps look at open streams only, and closed ones are never deleted.
CREATE INDEX resource_open ON resource (uid) WHERE closed_at IS NULL;

-- Every transition, which is also what is delivered: `body` is sent as it stands.
CREATE TABLE transition (
    shard        INTEGER NOT NULL,
    position     INTEGER NOT NULL,
    uid          TEXT    NOT NULL,
    sequence     INTEGER NOT NULL,
    event_id     TEXT    NOT NULL,
    epoch        INTEGER NOT NULL,
    from_state   TEXT,
    to_state     TEXT    NOT NULL,
    reason       TEXT    NOT NULL,
    generation   INTEGER NOT NULL,
    tenant       TEXT    NOT NULL,
    effective_at INTEGER NOT NULL,
    not_before   INTEGER NOT NULL,
    not_after    INTEGER NOT NULL,
    time_source  TEXT    NOT NULL,
    recorded_at  INTEGER NOT NULL,
    body         BLOB    NOT NULL,
    prev_hash    BLOB    NOT NULL,
    hash         BLOB    NOT NULL,
    PRIMARY KEY (shard, position),
    UNIQUE (uid, sequence)
) STRICT;

-- What was told cannot be untold, not even by hand. (Whoever may drop a trigger can; the hash chain is for that.)
CREATE TRIGGER transition_is_not_updated BEFORE UPDATE ON transition BEGIN
    SELECT RAISE(ABORT, 'transition is insert-only: UPDATE refused');
END;
-- Of each stream that lost rows to retention, the newest of them: where its chain of hashes goes on.
CREATE TABLE pruned (
    uid      TEXT    PRIMARY KEY,
    sequence INTEGER NOT NULL,
    hash     BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

-- Up to here, rows of a shard may be missing; behind it, none is.
CREATE TABLE pruned_shard (
    shard    INTEGER PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT;

CREATE TRIGGER transition_is_not_deleted BEFORE DELETE ON transition
    WHEN NOT EXISTS (SELECT 1 FROM pruned WHERE uid = OLD.uid AND sequence >= OLD.sequence)
BEGIN
    SELECT RAISE(ABORT, 'transition is insert-only: DELETE refused');
END;

-- Free text that belongs to a row and is never sent: the tail of a log, say. Apart, so that the ledger stays narrow.
CREATE TABLE evidence (
    uid      TEXT    NOT NULL,
    sequence INTEGER NOT NULL,
    text     TEXT    NOT NULL,
    PRIMARY KEY (uid, sequence)
) STRICT, WITHOUT ROWID;

-- Where events go.
--
-- selector: which streams it hears of, as JSON; null for all of them. One that had a selector once keeps one, so that it
-- stays known that streams may have no lane to it.
CREATE TABLE destination (
    id        TEXT    PRIMARY KEY NOT NULL,
    opened_at INTEGER NOT NULL,
    selector  TEXT
) STRICT, WITHOUT ROWID;

-- How far one destination is in one stream.
--
-- phase: 0 idle (all acknowledged), 1 ready since due_at, 2 waiting until due_at, 3 held until due_at, 4 parked since
-- due_at. first: the place where it begins; if that is not 1, with a snapshot. held_at: when the last holder took it.
-- doubt_since: when its next row was first sent without anybody knowing what became of that. furthest: how far it was
-- before the receiver asked for rows again.
CREATE TABLE lane (
    destination TEXT    NOT NULL,
    uid         TEXT    NOT NULL,
    acked       INTEGER NOT NULL,
    first       INTEGER NOT NULL DEFAULT 1,
    phase       INTEGER NOT NULL CHECK (phase BETWEEN 0 AND 4),
    due_at      INTEGER NOT NULL,
    token       TEXT,
    held_at     INTEGER,
    doubt_since INTEGER,
    attempts    INTEGER NOT NULL DEFAULT 0,
    rewinds     INTEGER NOT NULL DEFAULT 0,
    furthest    INTEGER NOT NULL DEFAULT 0,
    park_reason TEXT,
    last_error  TEXT,
    PRIMARY KEY (destination, uid)
) STRICT, WITHOUT ROWID;

-- What can be claimed, in the order in which it is.
CREATE INDEX lane_due ON lane (destination, phase, due_at);

-- What one destination is sent in the place of a row that it is not sent. Insert-only, like the rows.
CREATE TABLE voided (
    destination TEXT    NOT NULL,
    uid         TEXT    NOT NULL,
    sequence    INTEGER NOT NULL,
    event_id    TEXT    NOT NULL,
    recorded_at INTEGER NOT NULL,
    body        BLOB    NOT NULL,
    PRIMARY KEY (destination, uid, sequence)
) STRICT;

-- What people did to lanes, and why. Insert-only.
CREATE TABLE intervention (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    recorded_at INTEGER NOT NULL,
    who         TEXT    NOT NULL,
    action      TEXT    NOT NULL,
    destination TEXT    NOT NULL,
    uid         TEXT    NOT NULL,
    sequence    INTEGER NOT NULL,
    park_reason TEXT,
    last_error  TEXT,
    reason      TEXT    NOT NULL
) STRICT;

-- Those that ask the leader for a row, and what came of it. Insert-only; what is not here is still to be done.
CREATE TABLE amendment (
    intervention INTEGER PRIMARY KEY,
    recorded_at  INTEGER NOT NULL,
    outcome      TEXT    NOT NULL
) STRICT;
CREATE INDEX intervention_amends ON intervention (id) WHERE action = 'amend';

CREATE TRIGGER voided_is_not_updated BEFORE UPDATE ON voided BEGIN
    SELECT RAISE(ABORT, 'voided is insert-only: UPDATE refused');
END;
CREATE TRIGGER voided_is_not_deleted BEFORE DELETE ON voided BEGIN
    SELECT RAISE(ABORT, 'voided is insert-only: DELETE refused');
END;
CREATE TRIGGER intervention_is_not_updated BEFORE UPDATE ON intervention BEGIN
    SELECT RAISE(ABORT, 'intervention is insert-only: UPDATE refused');
END;
CREATE TRIGGER intervention_is_not_deleted BEFORE DELETE ON intervention BEGIN
    SELECT RAISE(ABORT, 'intervention is insert-only: DELETE refused');
END;
CREATE TRIGGER amendment_is_not_updated BEFORE UPDATE ON amendment BEGIN
    SELECT RAISE(ABORT, 'amendment is insert-only: UPDATE refused');
END;
CREATE TRIGGER amendment_is_not_deleted BEFORE DELETE ON amendment BEGIN
    SELECT RAISE(ABORT, 'amendment is insert-only: DELETE refused');
END;
