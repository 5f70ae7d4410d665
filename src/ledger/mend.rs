//! Interventions: what people do to lanes, each in one short transaction under the lane's lock.
//!
//! Compiled once in each of the SQL stores, with its `Pool`.

use std::collections::BTreeMap;

use sqlx::{FromRow, query, query_as, query_scalar};

use super::{Connection, Pool, begin, clock, deliver, lane_lock};
use crate::{
    domain::{DestinationId, Sequence, Timestamp, Uid},
    ledger::{
        fault::failed,
        interventions::{self, Decided, Intervention, Refusal, Request, Standing},
        records::{LaneRecord, OutboxRecord, VoidedRecord, lane_columns},
        store::StoreError,
        types::Voided,
    },
};

const DOING: &str = "intervening in a lane";

pub(super) async fn intervene(
    pool: &Pool,
    request: &Request,
    now: Timestamp,
) -> Result<Result<(), Refusal>, StoreError> {
    let failed = failed(DOING);
    let mut transaction = begin(pool).await.map_err(failed)?;
    let now = clock(&mut transaction, now).await.map_err(failed)?;
    let standing = read(&mut transaction, request).await?;
    let known = standing.as_ref().map(|standing| &standing.lane);
    let (park_reason, last_error) =
        known.map(|lane| (lane.park_reason.clone(), lane.last_error.clone())).unwrap_or_default();
    let decided = standing.ok_or(Refusal::NoLane).and_then(|standing| interventions::decide(request, standing, now));
    let Decided { lane, voided } = match decided {
        Ok(decided) => decided,
        Err(refusal) => {
            // Waited for: a claim must not pass over the lane because its lock is still on its way out.
            transaction.rollback().await.map_err(failed)?;
            return Ok(Err(refusal));
        }
    };
    if let Some(voided) = voided {
        void(&mut transaction, &voided).await.map_err(failed)?;
    }
    let key = (request.destination.clone(), request.uid.clone());
    deliver::store(&mut transaction, &BTreeMap::from([(key, lane)])).await.map_err(failed)?;
    note(&mut transaction, request, now, (park_reason, last_error)).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(Ok(()))
}

pub(super) async fn reinstate_void(pool: &Pool, request: &Request, voided: &Voided) -> Result<bool, StoreError> {
    let failed = failed("taking back a void");
    let mut transaction = begin(pool).await.map_err(failed)?;
    let is_new = void(&mut transaction, voided).await.map_err(failed)? > 0;
    if is_new {
        note(&mut transaction, request, voided.recorded_at, (None, None)).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)?;
    Ok(is_new)
}

/// Keeps what was done, who asked and why; and why the lane was parked then, and what had gone wrong.
async fn note(
    connection: &mut Connection,
    request: &Request,
    now: Timestamp,
    (park_reason, last_error): (Option<String>, Option<String>),
) -> Result<(), sqlx::Error> {
    query(
        "INSERT INTO intervention \
         (recorded_at, who, action, destination, uid, sequence, park_reason, last_error, reason) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(now.as_micros())
    .bind(request.who.as_str())
    .bind(request.action.as_str())
    .bind(request.destination.as_str())
    .bind(request.uid.as_str())
    .bind(request.sequence.get())
    .bind(park_reason)
    .bind(last_error)
    .bind(request.reason.as_str())
    .execute(connection)
    .await
    .map(drop)
}

/// The lane, locked, and then what waits in it.
async fn read(connection: &mut Connection, request: &Request) -> Result<Option<Standing>, StoreError> {
    let failed = failed(DOING);
    let lane = query_as::<_, LaneRecord>(concat!(
        "SELECT ",
        lane_columns!(),
        " FROM lane l WHERE l.destination = $1 AND l.uid = $2",
        lane_lock!()
    ))
    .bind(request.destination.as_str())
    .bind(request.uid.as_str())
    .fetch_optional(&mut *connection)
    .await
    .map_err(failed)?;
    let Some(lane) = lane else { return Ok(None) };
    let lane = lane.lane()?;
    let head: Option<i64> = query_scalar("SELECT sequence FROM resource WHERE uid = $1")
        .bind(request.uid.as_str())
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
    let row = query_as::<_, OutboxRecord>(
        "SELECT uid, sequence, event_id, body, recorded_at, sequence AS head, false AS stands_in FROM transition \
         WHERE uid = $1 AND sequence > $2 ORDER BY sequence LIMIT 1",
    )
    .bind(request.uid.as_str())
    .bind(lane.acked.get())
    .fetch_optional(&mut *connection)
    .await
    .map_err(failed)?;
    let voided: i64 = query_scalar("SELECT count(*) FROM voided WHERE destination = $1 AND uid = $2 AND sequence = $3")
        .bind(request.destination.as_str())
        .bind(request.uid.as_str())
        .bind(lane.acked.next().get())
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    let head = Sequence::new(head.unwrap_or_default());
    Ok(Some(Standing { lane, head, row: row.map(Into::into), voided: voided > 0 }))
}

/// Answers how many it wrote: none where one stands already, which a lane's lock rules out but for one that comes back.
async fn void(connection: &mut Connection, voided: &Voided) -> Result<u64, sqlx::Error> {
    query(
        "INSERT INTO voided (destination, uid, sequence, event_id, body, recorded_at) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT DO NOTHING",
    )
    .bind(voided.destination.as_str())
    .bind(voided.uid.as_str())
    .bind(voided.sequence.get())
    .bind(voided.event_id.as_str())
    .bind(voided.body.as_slice())
    .bind(voided.recorded_at.as_micros())
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}

#[derive(FromRow)]
struct InterventionRecord {
    id: i64,
    recorded_at: i64,
    who: String,
    action: String,
    destination: String,
    uid: String,
    sequence: i64,
    park_reason: Option<String>,
    last_error: Option<String>,
    reason: String,
    outcome: Option<String>,
}

impl TryFrom<InterventionRecord> for Intervention {
    type Error = StoreError;

    fn try_from(record: InterventionRecord) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { doing: "reading interventions", what };
        Ok(Self {
            id: record.id,
            recorded_at: Timestamp::from_micros(record.recorded_at),
            request: Request {
                action: record.action.parse().map_err(corrupt)?,
                destination: DestinationId::new(record.destination),
                uid: Uid::new(record.uid),
                sequence: Sequence::new(record.sequence),
                who: record.who,
                reason: record.reason,
            },
            park_reason: record.park_reason,
            last_error: record.last_error,
            outcome: record.outcome,
        })
    }
}

pub(super) async fn interventions(pool: &Pool, after: i64, limit: u32) -> Result<Vec<Intervention>, StoreError> {
    let records = query_as::<_, InterventionRecord>(
        "SELECT i.id, i.recorded_at, i.who, i.action, i.destination, i.uid, i.sequence, i.park_reason, i.last_error, \
         i.reason, a.outcome FROM intervention i LEFT JOIN amendment a ON a.intervention = i.id \
         WHERE i.id > $1 ORDER BY i.id LIMIT $2",
    )
    .bind(after)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await
    .map_err(failed("reading interventions"))?;
    records.into_iter().map(Intervention::try_from).collect()
}

pub(super) async fn amendments_due(pool: &Pool, limit: u32) -> Result<Vec<Intervention>, StoreError> {
    let records = query_as::<_, InterventionRecord>(
        "SELECT i.id, i.recorded_at, i.who, i.action, i.destination, i.uid, i.sequence, i.park_reason, i.last_error, \
         i.reason, a.outcome FROM intervention i LEFT JOIN amendment a ON a.intervention = i.id \
         WHERE i.action = 'amend' AND a.intervention IS NULL ORDER BY i.id LIMIT $1",
    )
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await
    .map_err(failed("looking for amendments"))?;
    records.into_iter().map(Intervention::try_from).collect()
}

pub(super) async fn conclude_amendment(
    pool: &Pool,
    intervention: i64,
    outcome: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    query("INSERT INTO amendment (intervention, recorded_at, outcome) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
        .bind(intervention)
        .bind(now.as_micros())
        .bind(outcome)
        .execute(pool)
        .await
        .map(drop)
        .map_err(failed("concluding an amendment"))
}

pub(super) async fn voids(
    pool: &Pool,
    after: Option<(&DestinationId, &Uid, Sequence)>,
    limit: u32,
) -> Result<Vec<Voided>, StoreError> {
    let (destination, uid, sequence) =
        after.map_or(("", "", 0), |(destination, uid, sequence)| (destination.as_str(), uid.as_str(), sequence.get()));
    let records = query_as::<_, VoidedRecord>(
        "SELECT destination, uid, sequence, event_id, body, recorded_at FROM voided \
         WHERE (destination, uid, sequence) > ($1, $2, $3) ORDER BY destination, uid, sequence LIMIT $4",
    )
    .bind(destination)
    .bind(uid)
    .bind(sequence)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await
    .map_err(failed("reading what was voided"))?;
    Ok(records.into_iter().map(Into::into).collect())
}
