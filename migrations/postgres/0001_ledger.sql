-- The ledger: every change of a resource's state, once, in order.
--
-- Times are microseconds since 1970 in UTC, as a BIGINT: what the events carry, exactly, in both databases.
-- Identities compare as bytes (COLLATE "C"): one order everywhere, the one that locks are taken in, and the fastest.

-- Which cluster this ledger belongs to. At most one row.
CREATE TABLE installation (
    one         SMALLINT PRIMARY KEY CHECK (one = 1),
    id          TEXT     NOT NULL,
    cluster_uid TEXT     NOT NULL,
    era         BIGINT   NOT NULL
);

-- One row per shard: whoever moves it from where it was read may number rows. That makes positions dense, and their
-- order the order of commits; and it refuses a writer whose epoch has ended.
--
-- revision: moves with whatever else an append decides by: where events go, and the ledger's life.
CREATE TABLE shard (
    id          BIGINT PRIMARY KEY,
    epoch       BIGINT NOT NULL,
    holder      TEXT,
    head        BIGINT NOT NULL DEFAULT 0,
    revision    BIGINT NOT NULL DEFAULT 0,
    recorded_at BIGINT
) WITH (fillfactor = 10);

-- The head of each stream. Never deleted. The free tenth of each page lets a head move without touching an index.
CREATE TABLE resource (
    uid            TEXT COLLATE "C" PRIMARY KEY,
    shard          BIGINT NOT NULL,
    kind           TEXT   NOT NULL,
    namespace      TEXT,
    name           TEXT   NOT NULL,
    tenant         TEXT   NOT NULL,
    account        TEXT   NOT NULL,
    plan           TEXT   NOT NULL,
    previous_uid   TEXT,
    state          TEXT   NOT NULL,
    sequence       BIGINT NOT NULL,
    hash           BYTEA  NOT NULL,
    epoch          BIGINT NOT NULL,
    era            BIGINT NOT NULL,
    generation     BIGINT NOT NULL,
    replicas       BIGINT NOT NULL,
    cpu_millicores BIGINT NOT NULL,
    memory_bytes   BIGINT NOT NULL,
    storage_bytes  BIGINT NOT NULL,
    reason         TEXT   NOT NULL,
    message        TEXT   NOT NULL,
    effective_at   BIGINT NOT NULL,
    recorded_at    BIGINT NOT NULL,
    entered_at     BIGINT NOT NULL,
    opened_at      BIGINT NOT NULL,
    closed_at      BIGINT,
    -- The row that entered the present state: what was claimed under that state is named after it.
    entered        BIGINT NOT NULL,
    -- No row of it lies before or behind these. They spare whoever looks for its rows the other partitions.
    first_position BIGINT NOT NULL,
    last_position  BIGINT NOT NULL
) WITH (fillfactor = 80);

-- "What happened to the application called x": the one question that does not start from a UID.
CREATE INDEX resource_by_name ON resource (name, kind);
-- Sweeps look at open streams only, and closed ones are never deleted.
CREATE INDEX resource_open ON resource (uid) WHERE closed_at IS NULL;

-- Every transition, which is also what is delivered: `body` is sent as it stands.
--
-- In partitions by position, so that old rows go as whole tables. That (uid, sequence) is unique rests on the
-- compare-and-set of the stream's head: no index across partitions could say so.
CREATE TABLE transition (
    shard        BIGINT NOT NULL,
    position     BIGINT NOT NULL,
    uid          TEXT COLLATE "C" NOT NULL,
    sequence     BIGINT NOT NULL,
    event_id     TEXT COLLATE "C" NOT NULL,
    epoch        BIGINT NOT NULL,
    from_state   TEXT,
    to_state     TEXT   NOT NULL,
    reason       TEXT   NOT NULL,
    generation   BIGINT NOT NULL,
    tenant       TEXT   NOT NULL,
    effective_at BIGINT NOT NULL,
    not_before   BIGINT NOT NULL,
    not_after    BIGINT NOT NULL,
    time_source  TEXT   NOT NULL,
    recorded_at  BIGINT NOT NULL,
    body         BYTEA  NOT NULL,
    prev_hash    BYTEA  NOT NULL,
    hash         BYTEA  NOT NULL,
    PRIMARY KEY (shard, position)
) PARTITION BY RANGE (position);
CREATE INDEX transition_by_stream ON transition (uid, sequence);

-- What is still needed of partitions that were dropped: each stream's newest row, and what some lane is owed.
CREATE TABLE transition_held PARTITION OF transition FOR VALUES FROM (MINVALUE) TO (1);

-- The other partitions, and how many positions the next one gets. They are made before they are needed.
CREATE TABLE partition (
    lower BIGINT PRIMARY KEY,
    upper BIGINT NOT NULL
);
CREATE TABLE partitioning (
    one  SMALLINT PRIMARY KEY CHECK (one = 1),
    rows BIGINT NOT NULL CHECK (rows > 0)
);
INSERT INTO partitioning VALUES (1, 1000000);

-- Of each stream that lost rows to retention, the newest of them: where its chain of hashes goes on.
CREATE TABLE pruned (
    uid      TEXT COLLATE "C" PRIMARY KEY,
    sequence BIGINT NOT NULL,
    hash     BYTEA  NOT NULL
);

-- Up to here, rows of a shard may be missing; behind it, none is.
CREATE TABLE pruned_shard (
    shard    BIGINT PRIMARY KEY,
    position BIGINT NOT NULL
);

-- What was told cannot be untold, not even by hand. (A superuser can drop the trigger; the hash chain is for that.)
CREATE FUNCTION transition_is_insert_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'transition is insert-only: % refused', TG_OP
        USING HINT = 'Correct the record with a new transition (trueup outbox amend).';
END $$;
CREATE TRIGGER transition_is_insert_only BEFORE UPDATE OR DELETE ON transition
    FOR EACH ROW EXECUTE FUNCTION transition_is_insert_only();
CREATE TRIGGER transition_is_not_truncated BEFORE TRUNCATE ON transition
    FOR EACH STATEMENT EXECUTE FUNCTION transition_is_insert_only();

-- Free text that belongs to a row and is never sent: the tail of a log, say. Apart, so that the ledger stays narrow.
CREATE TABLE evidence (
    uid      TEXT COLLATE "C" NOT NULL,
    sequence BIGINT NOT NULL,
    text     TEXT   NOT NULL,
    PRIMARY KEY (uid, sequence)
);

-- Where events go.
--
-- selector: which streams it hears of, as JSON; null for all of them. One that had a selector once keeps one, so that it
-- stays known that streams may have no lane to it.
CREATE TABLE destination (
    id        TEXT COLLATE "C" PRIMARY KEY,
    opened_at BIGINT NOT NULL,
    selector  TEXT
);

-- How far one destination is in one stream. The stream's head is not repeated here: an append then changes a lane only
-- when it wakes it, and locks it otherwise.
--
-- phase: 0 idle (all acknowledged), 1 ready since due_at, 2 waiting until due_at, 3 held until due_at, 4 parked since
-- due_at. first: the place where it begins; if that is not 1, with a snapshot. held_at: when the last holder took it.
-- doubt_since: when its next row was first sent without anybody knowing what became of that. furthest: how far it was
-- before the receiver asked for rows again. from_position: no row that it is owed lies before; 0 where that is not known.
-- It spares a claim the partitions before.
CREATE TABLE lane (
    destination TEXT COLLATE "C" NOT NULL,
    uid         TEXT COLLATE "C" NOT NULL,
    acked       BIGINT   NOT NULL,
    first       BIGINT   NOT NULL DEFAULT 1,
    phase       SMALLINT NOT NULL CHECK (phase BETWEEN 0 AND 4),
    due_at      BIGINT   NOT NULL,
    token       TEXT,
    held_at     BIGINT,
    doubt_since BIGINT,
    attempts    INTEGER  NOT NULL DEFAULT 0,
    rewinds     INTEGER  NOT NULL DEFAULT 0,
    furthest    BIGINT   NOT NULL DEFAULT 0,
    park_reason TEXT,
    last_error  TEXT,
    from_position BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (destination, uid)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

-- What can be claimed, in the order in which it is. Idle and parked lanes are not in it, however many there are.
CREATE INDEX lane_due ON lane (destination, phase, due_at) WHERE phase BETWEEN 1 AND 3;

-- What one destination is sent in the place of a row that it is not sent. Insert-only, like the rows.
CREATE TABLE voided (
    destination TEXT COLLATE "C" NOT NULL,
    uid         TEXT COLLATE "C" NOT NULL,
    sequence    BIGINT NOT NULL,
    event_id    TEXT   NOT NULL,
    recorded_at BIGINT NOT NULL,
    body        BYTEA  NOT NULL,
    PRIMARY KEY (destination, uid, sequence)
);

-- What people did to lanes, and why. Insert-only.
CREATE TABLE intervention (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recorded_at BIGINT NOT NULL,
    who         TEXT   NOT NULL,
    action      TEXT   NOT NULL,
    destination TEXT COLLATE "C" NOT NULL,
    uid         TEXT COLLATE "C" NOT NULL,
    sequence    BIGINT NOT NULL,
    park_reason TEXT,
    last_error  TEXT,
    reason      TEXT   NOT NULL
);

-- Those that ask the leader for a row, and what came of it. Insert-only; what is not here is still to be done.
CREATE TABLE amendment (
    intervention BIGINT PRIMARY KEY,
    recorded_at  BIGINT NOT NULL,
    outcome      TEXT   NOT NULL
);
CREATE INDEX intervention_amends ON intervention (id) WHERE action = 'amend';

CREATE FUNCTION is_insert_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is insert-only: % refused', TG_TABLE_NAME, TG_OP;
END $$;
CREATE TRIGGER voided_is_insert_only BEFORE UPDATE OR DELETE ON voided
    FOR EACH ROW EXECUTE FUNCTION is_insert_only();
CREATE TRIGGER intervention_is_insert_only BEFORE UPDATE OR DELETE ON intervention
    FOR EACH ROW EXECUTE FUNCTION is_insert_only();
CREATE TRIGGER amendment_is_insert_only BEFORE UPDATE OR DELETE ON amendment
    FOR EACH ROW EXECUTE FUNCTION is_insert_only();
