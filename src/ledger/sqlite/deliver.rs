//! Claiming lanes and settling what came of it.

use std::{collections::BTreeMap, time::Duration};

use sqlx::{SqliteConnection, SqlitePool, query, query_as};

use super::{BEGIN, lead::json};
use crate::{
    domain::{DestinationId, Sequence, Timestamp, Token, Uid},
    ledger::{
        fault::failed,
        lanes::{self, HeldLane, Lane, LaneKey, MAX_DELAY, MAX_LEASE, ROW_MISSING},
        records::{HeldRecord, LaneRecord, OutboxRecord, by_stream, lane_columns},
        store::StoreError,
        types::{Claim, ClaimRequest, Settlement},
    },
};

/// Each part is one range of the index `lane_due`: retries first, then what a lost holder left, then what is fresh.
/// Those after the OR were written under a clock that has stepped back since.
const DUE: &str = "WITH \
     retry AS (SELECT * FROM (SELECT 1 AS turn, * FROM lane \
       WHERE destination = $1 AND phase = 2 AND due_at <= $4 ORDER BY due_at LIMIT $3) \
       UNION ALL SELECT * FROM (SELECT 1 AS turn, * FROM lane \
       WHERE destination = $1 AND phase = 2 AND due_at > $5 ORDER BY due_at LIMIT $3)), \
     lost AS (SELECT * FROM (SELECT 2 AS turn, * FROM lane \
       WHERE destination = $1 AND phase = 3 AND due_at <= $4 ORDER BY due_at LIMIT $2) \
       UNION ALL SELECT * FROM (SELECT 2 AS turn, * FROM lane \
       WHERE destination = $1 AND phase = 3 AND due_at > $6 ORDER BY due_at LIMIT $2)), \
     fresh AS (SELECT 3 AS turn, * FROM lane WHERE destination = $1 AND phase = 1 ORDER BY due_at LIMIT $2) \
     SELECT uid, acked, attempts, rewinds, first, \
       $4 - CASE WHEN phase = 3 THEN coalesce(doubt_since, held_at) ELSE doubt_since END AS doubt FROM (\
       SELECT * FROM (SELECT * FROM retry ORDER BY due_at LIMIT $3) UNION ALL SELECT * FROM lost \
       UNION ALL SELECT * FROM fresh) \
     ORDER BY turn, due_at LIMIT $2";

pub(super) async fn claim(pool: &SqlitePool, request: &ClaimRequest, now: Timestamp) -> Result<Vec<Claim>, StoreError> {
    let failed = failed("claiming lanes");
    let mut transaction = pool.begin_with(BEGIN).await.map_err(failed)?;
    let held = query_as::<_, HeldRecord>(DUE)
        .bind(request.destination.as_str())
        .bind(i64::from(request.lanes))
        .bind(i64::from(request.retries.min(request.lanes)))
        .bind(now.as_micros())
        .bind(now.plus(MAX_DELAY).as_micros())
        .bind(now.plus(MAX_LEASE).as_micros())
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed)?;
    if held.is_empty() {
        return Ok(Vec::new());
    }
    let held: Vec<HeldLane> = held.into_iter().map(Into::into).collect();
    hold(&mut transaction, request, &held, now).await.map_err(failed)?;
    let rows = next_rows(&mut transaction, request, &held).await.map_err(failed)?;
    let (claims, missing) = lanes::claims(request, held, by_stream(rows));
    if !missing.is_empty() {
        begin_anew(&mut transaction, request, &missing, now).await.map_err(failed)?;
        park(&mut transaction, request, &missing, now).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)?;
    Ok(claims)
}

async fn hold(
    connection: &mut SqliteConnection,
    request: &ClaimRequest,
    held: &[HeldLane],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    query(
        "UPDATE lane SET phase = 3, token = $3, due_at = $4, held_at = $5, \
         doubt_since = CASE WHEN phase = 3 THEN coalesce(doubt_since, held_at) ELSE doubt_since END \
         WHERE destination = $1 AND uid IN (SELECT value FROM json_each($2))",
    )
    .bind(request.destination.as_str())
    .bind(json(&held.iter().map(|lane| &lane.uid).collect::<Vec<_>>()))
    .bind(request.token.as_str())
    .bind(now.plus(request.lease.min(MAX_LEASE)).as_micros())
    .bind(now.as_micros())
    .execute(connection)
    .await
    .map(drop)
}

/// CROSS JOIN, because SQLite then keeps the order of the loops: from the few lanes into the index, never a scan.
const NEXT_ROWS: &str = "WITH held AS MATERIALIZED (SELECT value ->> 0 AS uid, value ->> 1 AS acked FROM json_each($1)) \
     SELECT t.uid, t.sequence, t.event_id, t.body, t.recorded_at, r.sequence AS head, 0 AS stands_in \
     FROM held CROSS JOIN resource r ON r.uid = held.uid CROSS JOIN transition t ON t.uid = held.uid \
       AND t.sequence > held.acked AND t.sequence <= held.acked + $2 \
     UNION ALL SELECT v.uid, v.sequence, v.event_id, v.body, v.recorded_at, r.sequence AS head, 1 AS stands_in \
     FROM held CROSS JOIN resource r ON r.uid = held.uid CROSS JOIN voided v ON v.destination = $3 \
       AND v.uid = held.uid AND v.sequence > held.acked AND v.sequence <= held.acked + $2";

async fn next_rows(
    connection: &mut SqliteConnection,
    request: &ClaimRequest,
    held: &[HeldLane],
) -> Result<Vec<OutboxRecord>, sqlx::Error> {
    query_as(NEXT_ROWS)
        .bind(json(&held.iter().map(|lane| (&lane.uid, lane.acked)).collect::<Vec<_>>()))
        .bind(i64::from(request.rows.max(1)))
        .bind(request.destination.as_str())
        .fetch_all(connection)
        .await
}

/// Lanes whose next row was removed begin behind what was, with a snapshot.
async fn begin_anew(
    connection: &mut SqliteConnection,
    request: &ClaimRequest,
    uids: &[Uid],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    query(
        "UPDATE lane SET phase = 1, token = NULL, due_at = $4, acked = p.sequence, first = p.sequence + 1 FROM pruned p \
         WHERE destination = $1 AND lane.uid IN (SELECT value FROM json_each($2)) AND token = $3 \
           AND p.uid = lane.uid AND p.sequence > acked",
    )
    .bind(request.destination.as_str())
    .bind(json(uids))
    .bind(request.token.as_str())
    .bind(now.as_micros())
    .execute(connection)
    .await
    .map(drop)
}

async fn park(
    connection: &mut SqliteConnection,
    request: &ClaimRequest,
    uids: &[Uid],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    query(
        "UPDATE lane SET phase = 4, token = NULL, park_reason = $4, due_at = $5 \
         WHERE destination = $1 AND uid IN (SELECT value FROM json_each($2)) AND token = $3",
    )
    .bind(request.destination.as_str())
    .bind(json(uids))
    .bind(request.token.as_str())
    .bind(ROW_MISSING)
    .bind(now.as_micros())
    .execute(connection)
    .await
    .map(drop)
}

pub(super) async fn settle(
    pool: &SqlitePool,
    claims: &[(DestinationId, Uid, Token, Settlement)],
    now: Timestamp,
) -> Result<Vec<bool>, StoreError> {
    let failed = failed("settling claims");
    let mut transaction = pool.begin_with(BEGIN).await.map_err(failed)?;
    let mut found = find(&mut transaction, claims).await?;
    if found.is_empty() {
        return Ok(vec![false; claims.len()]);
    }
    let heads = heads(&mut transaction, &found).await.map_err(failed)?;
    let head_of = |uid: &Uid| heads.get(uid).copied().unwrap_or_default();
    let held = lanes::settle(&mut found, head_of, claims, now);
    store(&mut transaction, &found).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(held)
}

/// Those lanes that are still held by one of `claims`.
async fn find(
    connection: &mut SqliteConnection,
    claims: &[(DestinationId, Uid, Token, Settlement)],
) -> Result<BTreeMap<LaneKey, Lane>, StoreError> {
    let records = query_as::<_, LaneRecord>(concat!(
        "SELECT ",
        lane_columns!(),
        " FROM json_each($1) held CROSS JOIN lane l ON l.destination = held.value ->> 0 \
         AND l.uid = held.value ->> 1 AND l.token = held.value ->> 2"
    ))
    .bind(json(&claims.iter().map(|(destination, uid, token, _)| (destination, uid, token)).collect::<Vec<_>>()))
    .fetch_all(connection)
    .await
    .map_err(failed("settling claims"))?;
    records.into_iter().map(|record| Ok((record.key(), record.lane()?))).collect()
}

async fn heads(
    connection: &mut SqliteConnection,
    lanes: &BTreeMap<LaneKey, Lane>,
) -> Result<BTreeMap<Uid, Sequence>, sqlx::Error> {
    let heads: Vec<(String, i64)> =
        query_as("SELECT uid, sequence FROM resource WHERE uid IN (SELECT value FROM json_each($1))")
            .bind(json(&lanes.keys().map(|(_, uid)| uid).collect::<Vec<_>>()))
            .fetch_all(connection)
            .await?;
    Ok(heads.into_iter().map(|(uid, sequence)| (Uid::new(uid), Sequence::new(sequence))).collect())
}

pub(super) async fn store(
    connection: &mut SqliteConnection,
    lanes: &BTreeMap<LaneKey, Lane>,
) -> Result<(), sqlx::Error> {
    let new: Vec<_> = lanes
        .iter()
        .map(|((destination, uid), lane)| {
            let Lane {
                acked,
                phase,
                due_at,
                token,
                attempts,
                rewinds,
                furthest,
                park_reason,
                last_error,
                first,
                held_at,
                doubt_since,
            } = lane;
            let place = (destination, uid, acked, phase.number(), due_at.as_micros(), first, furthest);
            let times = (held_at.map(Timestamp::as_micros), doubt_since.map(Timestamp::as_micros));
            (place, token, attempts, rewinds, park_reason, last_error, times)
        })
        .collect();
    query(
        "UPDATE lane SET acked = new.value ->> '$[0][2]', phase = new.value ->> '$[0][3]', \
         due_at = new.value ->> '$[0][4]', token = new.value ->> 1, attempts = new.value ->> 2, \
         rewinds = new.value ->> 3, park_reason = new.value ->> 4, last_error = new.value ->> 5, \
         first = new.value ->> '$[0][5]', furthest = new.value ->> '$[0][6]', \
         held_at = new.value ->> '$[6][0]', doubt_since = new.value ->> '$[6][1]' \
         FROM json_each($1) new \
         WHERE lane.destination = new.value ->> '$[0][0]' AND lane.uid = new.value ->> '$[0][1]'",
    )
    .bind(json(&new))
    .execute(connection)
    .await
    .map(drop)
}

/// The first of each range of the index, and whether any lies implausibly far ahead.
const NEXT_DUE: &str = "SELECT CASE \
       WHEN EXISTS (SELECT 1 FROM lane WHERE destination = $1 AND phase = 1) \
         OR EXISTS (SELECT 1 FROM lane WHERE destination = $1 AND phase = 2 AND due_at > $3) \
         OR EXISTS (SELECT 1 FROM lane WHERE destination = $1 AND phase = 3 AND due_at > $4) THEN 0 \
       ELSE (SELECT max(0, min(due_at) - $2) FROM (\
         SELECT min(due_at) AS due_at FROM lane WHERE destination = $1 AND phase = 2 \
         UNION ALL SELECT min(due_at) FROM lane WHERE destination = $1 AND phase = 3)) END";

pub(super) async fn next_due(
    pool: &SqlitePool,
    destination: &DestinationId,
    now: Timestamp,
) -> Result<Option<Duration>, StoreError> {
    let (wait,): (Option<i64>,) = query_as(NEXT_DUE)
        .bind(destination.as_str())
        .bind(now.as_micros())
        .bind(now.plus(MAX_DELAY).as_micros())
        .bind(now.plus(MAX_LEASE).as_micros())
        .fetch_one(pool)
        .await
        .map_err(failed("asking when a lane falls due"))?;
    Ok(wait.map(|micros| Duration::from_micros(u64::try_from(micros).unwrap_or(0))))
}
