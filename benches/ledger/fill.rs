//! Standing rows, made by the database itself: ten million through an appender would take a quarter of an hour.

use crate::place::{Ledger, Place};

/// As long as a real event.
const BODY: u32 = 1_150;

/// What the lanes of new streams wait for.
#[derive(Clone, Copy)]
pub enum Lanes {
    /// For the next row: all was acknowledged.
    Idle,
    /// For the relay: nothing was.
    Ready,
    /// For a person.
    Parked,
}

impl Lanes {
    /// The columns `acked` and `phase`, for streams of so many rows.
    fn columns(self, rows: u64) -> String {
        match self {
            Self::Idle => format!("{rows}, 0"),
            Self::Ready => "0, 1".to_owned(),
            Self::Parked => "0, 4".to_owned(),
        }
    }
}

/// What the two databases spell differently.
struct Dialect {
    uid: &'static str,
    hash: &'static str,
    body: String,
}

fn dialect(place: &Place) -> Dialect {
    match place {
        Place::Postgres(_) => Dialect {
            uid: "gen_random_uuid()::text",
            hash: "decode(md5(uid || 1) || md5(uid || 2), 'hex')",
            body: format!("convert_to(repeat('x', {BODY}), 'UTF8')"),
        },
        Place::Sqlite(_) => Dialect {
            uid: "lower(printf('%s-%s-4%s-8%s-%s', hex(randomblob(4)), hex(randomblob(2)), substr(hex(randomblob(2)), 2), \
                  substr(hex(randomblob(2)), 2), hex(randomblob(6))))",
            hash: "randomblob(32)",
            body: format!("zeroblob({BODY})"),
        },
    }
}

/// Makes the partitions that rows up to `end` need, as an append does for its own.
async fn make_room(ledger: &Ledger, end: i64) {
    if matches!(ledger.place, Place::Sqlite(_)) {
        return;
    }
    ledger
        .execute(&format!(
            "DO $$ DECLARE first bigint; past bigint; BEGIN LOOP \
               SELECT coalesce(max(upper), 1) INTO first FROM partition; \
               EXIT WHEN first > {end}; \
               SELECT first + rows INTO past FROM partitioning; \
               EXECUTE format('CREATE TABLE transition_from_%s (LIKE transition INCLUDING ALL)', first); \
               EXECUTE format('ALTER TABLE transition ATTACH PARTITION transition_from_%s FOR VALUES FROM (%s) TO (%s)', \
                 first, first, past); \
               INSERT INTO partition (lower, upper) VALUES (first, past); \
             END LOOP; END $$"
        ))
        .await;
}

/// Adds so many `streams` of so many `rows`, called `name-1`, `name-2`, ..., with one lane each.
///
/// The rows of one stream lie far apart, as they do when all resources live at the same time.
pub async fn fill(ledger: &Ledger, name: &str, streams: u64, rows: u64, lanes: Lanes) {
    let Dialect { uid, hash, body } = dialect(&ledger.place);
    let shard = ledger.store.shard(crate::place::SHARD).await.unwrap();
    let (mut head, now) = (shard.head.get(), ledger.clock.now().as_micros());
    let end = head + i64::try_from(streams * rows).unwrap();
    make_room(ledger, end).await;
    // All of them live from the first of these rows to the last.
    let (located, at) = match ledger.place {
        Place::Postgres(_) => (", first_position, last_position", format!(", {}, {end}", head + 1)),
        Place::Sqlite(_) => ("", String::new()),
    };
    ledger
        .execute(&format!(
            "WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {streams}), \
             named AS (SELECT {uid} AS uid, n FROM series) \
             INSERT INTO resource (uid, shard, kind, namespace, name, tenant, account, plan, state, sequence, hash, epoch, \
             era, generation, replicas, cpu_millicores, memory_bytes, storage_bytes, reason, message, effective_at, \
             recorded_at, entered_at, opened_at, entered{located}) \
             SELECT uid, 0, 'AppDeployment', 'acme-production', '{name}-' || n, 'acme-corporation', 'acct-00000001', \
             'standard', '{state}', {rows}, {hash}, 1, 0, 7, 3, 1500, 3221225472, 10737418240, 'ReplicasChanged', \
             'The number of available replicas changed.', {now}, {now}, {now}, {now}, {rows}{at} FROM named",
            state = if rows.is_multiple_of(2) { "Degraded" } else { "Available" },
        ))
        .await;
    let own = format!("resource WHERE name LIKE '{name}-%'");
    for sequence in 1..=rows {
        let (from, to) = match sequence {
            1 => ("NULL", "'Available'"),
            n if n % 2 == 0 => ("'Available'", "'Degraded'"),
            _ => ("'Degraded'", "'Available'"),
        };
        ledger
            .execute(&format!(
                "INSERT INTO transition (shard, position, uid, sequence, event_id, epoch, from_state, to_state, reason, \
                 generation, tenant, effective_at, not_before, not_after, time_source, recorded_at, body, prev_hash, hash) \
                 SELECT 0, {head} + row_number() OVER (), uid, {sequence}, uid || '-0-{sequence}', 1, {from}, {to}, \
                 'ReplicasChanged', 7, 'acme-corporation', {now}, {now}, {now}, 'observed', {now}, {body}, {hash}, {hash} \
                 FROM {own}"
            ))
            .await;
        head += i64::try_from(streams).unwrap();
    }
    let lane = lanes.columns(rows);
    ledger
        .execute(&format!(
            "INSERT INTO lane (destination, uid, acked, phase, due_at) SELECT 'billing', uid, {lane}, {now} FROM {own}; \
             UPDATE shard SET head = {head}, recorded_at = {now}"
        ))
        .await;
    ledger.tidy().await;
}
