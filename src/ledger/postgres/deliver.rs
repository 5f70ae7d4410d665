//! Claiming lanes and settling what came of it.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use sqlx::{FromRow, PgConnection, PgPool, query, query_as, query_scalar};

use super::{server_now, transaction::begin};
use crate::{
    domain::{DestinationId, Sequence, Timestamp, Token, Uid},
    ledger::{
        fault::failed,
        lanes::{self, Lane, LaneKey, MAX_DELAY, MAX_LEASE, ROW_MISSING},
        records::{HeldRecord, LaneRecord, OutboxRecord, by_stream, lane_columns},
        store::StoreError,
        types::{Claim, ClaimRequest, Settlement},
    },
};

/// Each part is one range of the index `lane_due`: retries first, then what a lost holder left, then what is fresh.
/// The `far` ones were written under a clock that has stepped back since.
///
/// SKIP LOCKED never waits, so the order of these locks cannot matter.
const HOLD: &str = concat!(
    "WITH clock AS MATERIALIZED (SELECT ",
    server_now!(),
    " AS now), \
     retry AS MATERIALIZED (SELECT uid FROM lane WHERE destination = $1 AND phase = 2 \
       AND due_at <= (SELECT now FROM clock) ORDER BY due_at LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED), \
     retry_far AS MATERIALIZED (SELECT uid FROM lane WHERE destination = $1 AND phase = 2 \
       AND due_at > (SELECT now FROM clock) + $6 ORDER BY due_at \
       LIMIT (SELECT $3 - count(*) FROM retry) FOR NO KEY UPDATE SKIP LOCKED), \
     retries AS MATERIALIZED (SELECT uid FROM retry UNION ALL SELECT uid FROM retry_far), \
     lost AS MATERIALIZED (SELECT uid FROM lane WHERE destination = $1 AND phase = 3 \
       AND due_at <= (SELECT now FROM clock) ORDER BY due_at \
       LIMIT (SELECT $2 - count(*) FROM retries) FOR NO KEY UPDATE SKIP LOCKED), \
     lost_far AS MATERIALIZED (SELECT uid FROM lane WHERE destination = $1 AND phase = 3 \
       AND due_at > (SELECT now FROM clock) + $7 ORDER BY due_at \
       LIMIT (SELECT $2 - count(*) FROM (TABLE retries UNION ALL TABLE lost) AS taken) \
       FOR NO KEY UPDATE SKIP LOCKED), \
     fresh AS MATERIALIZED (SELECT uid FROM lane WHERE destination = $1 AND phase = 1 ORDER BY due_at \
       LIMIT (SELECT $2 - count(*) FROM (TABLE retries UNION ALL TABLE lost UNION ALL TABLE lost_far) AS taken) \
       FOR NO KEY UPDATE SKIP LOCKED), \
     due AS (TABLE retries UNION ALL TABLE lost UNION ALL TABLE lost_far UNION ALL TABLE fresh) \
     UPDATE lane SET phase = 3, token = $4, due_at = (SELECT now FROM clock) + $5, held_at = (SELECT now FROM clock), \
       doubt_since = CASE WHEN lane.phase = 3 THEN coalesce(lane.doubt_since, lane.held_at) ELSE lane.doubt_since END \
     FROM due WHERE lane.destination = $1 AND lane.uid = due.uid \
     RETURNING lane.uid, lane.acked, lane.attempts, lane.rewinds, lane.first, lane.from_position, \
       (SELECT now FROM clock) - lane.doubt_since AS doubt"
);

/// The next rows of each held lane, found stream by stream in the index of (uid, sequence), and what stands in for some.
///
/// Each partition has an index of its own, and those before a lane's first position and behind its stream's last need not be
/// asked.
const NEXT_ROWS: &str = "WITH held AS MATERIALIZED (SELECT * \
       FROM UNNEST ($1::text[], $2::bigint[], $5::bigint[]) AS held (uid, acked, from_position)) \
     SELECT t.uid, t.sequence, t.event_id, t.body, t.recorded_at, r.sequence AS head, false AS stands_in \
     FROM held JOIN resource r ON r.uid = held.uid \
     CROSS JOIN LATERAL (SELECT uid, sequence, event_id, body, recorded_at FROM transition \
       WHERE transition.uid = held.uid AND transition.sequence > held.acked \
         AND transition.position BETWEEN held.from_position AND r.last_position ORDER BY sequence LIMIT $3) t \
     UNION ALL SELECT v.uid, v.sequence, v.event_id, v.body, v.recorded_at, r.sequence AS head, true AS stands_in \
     FROM held JOIN resource r ON r.uid = held.uid JOIN voided v ON v.destination = $4 AND v.uid = held.uid \
       AND v.sequence > held.acked AND v.sequence <= held.acked + $3";

/// A lane that was just held.
#[derive(FromRow)]
struct Held {
    #[sqlx(flatten)]
    lane: HeldRecord,
    from_position: i64,
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

pub(super) async fn claim(pool: &PgPool, request: &ClaimRequest) -> Result<Vec<Claim>, StoreError> {
    let failed = failed("claiming lanes");
    let mut connection = pool.acquire().await.map_err(failed)?;
    let held = query_as::<_, Held>(HOLD)
        .bind(request.destination.as_str())
        .bind(i64::from(request.lanes))
        .bind(i64::from(request.retries.min(request.lanes)))
        .bind(request.token.as_str())
        .bind(micros(request.lease.min(MAX_LEASE)))
        .bind(micros(MAX_DELAY))
        .bind(micros(MAX_LEASE))
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    if held.is_empty() {
        return Ok(Vec::new());
    }
    let (held, from_positions): (Vec<lanes::HeldLane>, Vec<i64>) =
        held.into_iter().map(|held| (held.lane.into(), held.from_position)).unzip();
    // A statement of its own: the one above may have taken a lane that an append had just woken, but it could not see
    // that append's row. (Not in one transaction with it: if this fails, the lease simply ends.)
    let rows = query_as::<_, OutboxRecord>(NEXT_ROWS)
        .bind(held.iter().map(|lane| lane.uid.as_str()).collect::<Vec<_>>())
        .bind(held.iter().map(|lane| lane.acked.get()).collect::<Vec<_>>())
        .bind(i64::from(request.rows.max(1)))
        .bind(request.destination.as_str())
        .bind(from_positions)
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    let (claims, missing) = lanes::claims(request, held, by_stream(rows));
    if !missing.is_empty() {
        begin_anew(&mut connection, request, &missing).await.map_err(failed)?;
        park(&mut connection, request, &missing).await.map_err(failed)?;
    }
    Ok(claims)
}

/// Lanes whose next row was removed begin behind what was, with a snapshot.
async fn begin_anew(connection: &mut PgConnection, request: &ClaimRequest, uids: &[Uid]) -> Result<(), sqlx::Error> {
    query(concat!(
        "UPDATE lane SET phase = 1, token = NULL, acked = p.sequence, first = p.sequence + 1, due_at = ",
        server_now!(),
        " FROM pruned p WHERE destination = $1 AND lane.uid = ANY ($2) AND token = $3 \
           AND p.uid = lane.uid AND p.sequence > acked"
    ))
    .bind(request.destination.as_str())
    .bind(uids.iter().map(Uid::as_str).collect::<Vec<_>>())
    .bind(request.token.as_str())
    .execute(connection)
    .await
    .map(drop)
}

async fn park(connection: &mut PgConnection, request: &ClaimRequest, uids: &[Uid]) -> Result<(), sqlx::Error> {
    query(concat!(
        "UPDATE lane SET phase = 4, token = NULL, park_reason = $4, due_at = ",
        server_now!(),
        " \
         WHERE destination = $1 AND uid = ANY ($2) AND token = $3"
    ))
    .bind(request.destination.as_str())
    .bind(uids.iter().map(Uid::as_str).collect::<Vec<_>>())
    .bind(request.token.as_str())
    .bind(ROW_MISSING)
    .execute(connection)
    .await
    .map(drop)
}

pub(super) async fn settle(
    pool: &PgPool,
    claims: &[(DestinationId, Uid, Token, Settlement)],
) -> Result<Vec<bool>, StoreError> {
    let failed = failed("settling claims");
    let mut transaction = begin(pool).await.map_err(failed)?;
    let mut found = lock(&mut transaction, claims).await?;
    if found.is_empty() {
        return Ok(vec![false; claims.len()]);
    }
    // After the lock, never with it: see `lanes::settle`.
    let (heads, now) = heads(&mut transaction, &found).await.map_err(failed)?;
    let head_of = |uid: &Uid| heads.get(uid).copied().unwrap_or_default();
    let held = lanes::settle(&mut found, head_of, claims, now);
    store(&mut transaction, &found).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(held)
}

/// Locks those lanes that are still held by one of `claims`, in the order in which everybody locks lanes.
async fn lock(
    connection: &mut PgConnection,
    claims: &[(DestinationId, Uid, Token, Settlement)],
) -> Result<BTreeMap<LaneKey, Lane>, StoreError> {
    let records = query_as::<_, LaneRecord>(concat!(
        "SELECT ",
        lane_columns!(),
        " FROM UNNEST ($1::text[], $2::text[], $3::text[]) AS held (destination, uid, token) \
         JOIN lane l ON l.destination = held.destination AND l.uid = held.uid AND l.token = held.token \
         ORDER BY l.destination, l.uid FOR NO KEY UPDATE OF l"
    ))
    .bind(claims.iter().map(|(destination, ..)| destination.as_str()).collect::<Vec<_>>())
    .bind(claims.iter().map(|(_, uid, ..)| uid.as_str()).collect::<Vec<_>>())
    .bind(claims.iter().map(|(_, _, token, _)| token.as_str()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await
    .map_err(failed("settling claims"))?;
    records.into_iter().map(|record| Ok((record.key(), record.lane()?))).collect()
}

/// The newest sequence of each lane's stream, and the server's clock.
async fn heads(
    connection: &mut PgConnection,
    lanes: &BTreeMap<LaneKey, Lane>,
) -> Result<(HashMap<Uid, Sequence>, Timestamp), sqlx::Error> {
    let found: Vec<(i64, Option<String>, Option<i64>)> = query_as(concat!(
        "SELECT clock.now, r.uid, r.sequence FROM (SELECT ",
        server_now!(),
        " AS now) AS clock LEFT JOIN resource r ON r.uid = ANY ($1)"
    ))
    .bind(lanes.keys().map(|(_, uid)| uid.as_str()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    let now = found.first().map_or(0, |(now, ..)| *now);
    let heads = found.into_iter().filter_map(|(_, uid, sequence)| Some((Uid::new(uid?), Sequence::new(sequence?))));
    Ok((heads.collect(), Timestamp::from_micros(now)))
}

pub(super) async fn store(connection: &mut PgConnection, lanes: &BTreeMap<LaneKey, Lane>) -> Result<(), sqlx::Error> {
    let lanes: Vec<(&LaneKey, &Lane)> = lanes.iter().collect();
    let count = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    query(
        "UPDATE lane SET acked = new.acked, phase = new.phase, due_at = new.due_at, token = new.token, \
         from_position = CASE WHEN new.acked < lane.acked THEN 0 ELSE lane.from_position END, attempts = new.attempts, rewinds = new.rewinds, park_reason = new.park_reason, last_error = new.last_error, \
         first = new.first, held_at = new.held_at, doubt_since = new.doubt_since, furthest = new.furthest \
         FROM UNNEST ($1::text[], $2::text[], $3::bigint[], $4::smallint[], $5::bigint[], $6::text[], $7::int[], \
         $8::int[], $9::text[], $10::text[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[]) \
         AS new (destination, uid, acked, phase, due_at, token, attempts, rewinds, park_reason, last_error, first, \
         held_at, doubt_since, furthest) \
         WHERE lane.destination = new.destination AND lane.uid = new.uid",
    )
    .bind(lanes.iter().map(|((destination, _), _)| destination.as_str()).collect::<Vec<_>>())
    .bind(lanes.iter().map(|((_, uid), _)| uid.as_str()).collect::<Vec<_>>())
    .bind(lanes.iter().map(|(_, lane)| lane.acked.get()).collect::<Vec<_>>())
    .bind(lanes.iter().map(|(_, lane)| lane.phase.number()).collect::<Vec<_>>())
    .bind(lanes.iter().map(|(_, lane)| lane.due_at.as_micros()).collect::<Vec<_>>())
    .bind(lanes.iter().map(|(_, lane)| lane.token.as_ref().map(Token::as_str)).collect::<Vec<_>>())
    .bind(lanes.iter().map(|(_, lane)| count(lane.attempts)).collect::<Vec<_>>())
    .bind(lanes.iter().map(|(_, lane)| count(lane.rewinds)).collect::<Vec<_>>())
    .bind(lanes.iter().map(|(_, lane)| lane.park_reason.as_deref()).collect::<Vec<_>>())
    .bind(lanes.iter().map(|(_, lane)| lane.last_error.as_deref()).collect::<Vec<_>>())
    .bind(lanes.iter().map(|(_, lane)| lane.first.get()).collect::<Vec<_>>())
    .bind(lanes.iter().map(|(_, lane)| lane.held_at.map(Timestamp::as_micros)).collect::<Vec<_>>())
    .bind(lanes.iter().map(|(_, lane)| lane.doubt_since.map(Timestamp::as_micros)).collect::<Vec<_>>())
    .bind(lanes.iter().map(|(_, lane)| lane.furthest.get()).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map(drop)
}

/// The first of each range of the index, and whether any lies implausibly far ahead.
const NEXT_DUE: &str = concat!(
    "WITH clock AS MATERIALIZED (SELECT ",
    server_now!(),
    " AS now) SELECT CASE \
       WHEN EXISTS (SELECT 1 FROM lane WHERE destination = $1 AND phase = 1) \
         OR EXISTS (SELECT 1 FROM lane WHERE destination = $1 AND phase = 2 AND due_at > (SELECT now FROM clock) + $2) \
         OR EXISTS (SELECT 1 FROM lane WHERE destination = $1 AND phase = 3 AND due_at > (SELECT now FROM clock) + $3) \
       THEN 0 \
       ELSE (SELECT greatest(0, first - (SELECT now FROM clock)) FROM (SELECT least( \
         (SELECT min(due_at) FROM lane WHERE destination = $1 AND phase = 2), \
         (SELECT min(due_at) FROM lane WHERE destination = $1 AND phase = 3)) AS first) AS next \
         WHERE first IS NOT NULL) END"
);

pub(super) async fn next_due(pool: &PgPool, destination: &DestinationId) -> Result<Option<Duration>, StoreError> {
    let wait: Option<i64> = query_scalar(NEXT_DUE)
        .bind(destination.as_str())
        .bind(micros(MAX_DELAY))
        .bind(micros(MAX_LEASE))
        .fetch_one(pool)
        .await
        .map_err(failed("asking when a lane falls due"))?;
    Ok(wait.map(|micros| Duration::from_micros(u64::try_from(micros).unwrap_or(0))))
}
