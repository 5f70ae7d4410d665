//! Reading what was: the row of each stream that held at a moment, and the one that was taken to.
//!
//! Compiled once in each of the SQL stores, as `read` is. Times never go down along a stream, neither the effective nor
//! the recorded ones, so the row that held is the last one that both axes admit: a walk from the stream's end backwards
//! along its index.

use sqlx::{FromRow, query_as};

use super::Pool;
use crate::{
    domain::{Effective, Kind, Sequence, State, TenantName, Timestamp, Uid},
    ledger::{
        fault::failed,
        past::{Believed, Doubt, Held, PastQuery, PastState},
        records::{all, kind, time_source},
        store::StoreError,
    },
};

const PAST: &str = "\
    SELECT r.uid, r.kind, r.namespace, r.name, t.sequence, t.to_state, t.effective_at, t.not_before, t.not_after, \
           t.time_source, t.recorded_at, t.body, b.sequence AS believed_sequence, b.to_state AS believed_state, \
           EXISTS (SELECT 1 FROM transition f WHERE f.uid = r.uid AND f.sequence = 1) AS whole, n.to_state AS next_state, n.effective_at AS next_at, n.not_before AS next_not_before, \
           n.not_after AS next_not_after, n.time_source AS next_source \
    FROM resource r \
    LEFT JOIN transition t ON t.uid = r.uid AND t.sequence = \
        (SELECT x.sequence FROM transition x WHERE x.uid = r.uid AND x.effective_at <= $1 AND x.recorded_at <= $2 \
         ORDER BY x.sequence DESC LIMIT 1) \
    LEFT JOIN transition b ON b.uid = r.uid AND b.sequence = \
        (SELECT x.sequence FROM transition x WHERE x.uid = r.uid AND x.effective_at <= $1 AND x.recorded_at <= $3 \
         ORDER BY x.sequence DESC LIMIT 1) \
    LEFT JOIN transition n ON n.uid = r.uid AND n.sequence = t.sequence + 1 AND n.time_source = 'inferred' \
        AND n.not_before <= $1 AND n.recorded_at <= $2 \
    WHERE r.uid > $4 AND r.opened_at <= $1 \
        AND (t.uid IS NOT NULL OR NOT EXISTS (SELECT 1 FROM transition f WHERE f.uid = r.uid AND f.sequence = 1)) \
        AND ($5 IS NULL OR r.kind = $5) AND ($6 IS NULL OR coalesce(t.tenant, r.tenant) = $6) \
        AND ($7 OR r.closed_at IS NULL OR r.closed_at > $1 OR r.recorded_at > $3) \
    ORDER BY r.uid LIMIT $8";

pub(super) async fn past(pool: &Pool, query: &PastQuery) -> Result<Vec<PastState>, StoreError> {
    let records = query_as::<_, PastRecord>(PAST)
        .bind(query.at.as_micros())
        .bind(query.as_of.as_micros())
        .bind(query.then().as_micros())
        .bind(query.after.as_ref().map_or("", Uid::as_str))
        .bind(query.kind.map(Kind::as_str))
        .bind(query.tenant.as_ref().map(TenantName::as_str))
        .bind(query.ended)
        .bind(i64::from(query.limit.max(1)))
        .fetch_all(pool)
        .await
        .map_err(failed("reading what was"))?;
    all(records)
}

#[derive(FromRow)]
struct PastRecord {
    uid: String,
    kind: String,
    namespace: Option<String>,
    name: String,
    sequence: Option<i64>,
    to_state: Option<String>,
    effective_at: Option<i64>,
    not_before: Option<i64>,
    not_after: Option<i64>,
    time_source: Option<String>,
    recorded_at: Option<i64>,
    body: Option<Vec<u8>>,
    whole: bool,
    believed_sequence: Option<i64>,
    believed_state: Option<String>,
    next_state: Option<String>,
    next_at: Option<i64>,
    next_not_before: Option<i64>,
    next_not_after: Option<i64>,
    next_source: Option<String>,
}

impl TryFrom<PastRecord> for PastState {
    type Error = StoreError;

    fn try_from(record: PastRecord) -> Result<Self, StoreError> {
        let times = (record.effective_at, record.not_before, record.not_after);
        let held = match (record.sequence, record.to_state, record.recorded_at, record.body) {
            (Some(sequence), Some(state), Some(recorded_at), Some(body)) => {
                effective(times, record.time_source.as_deref())?.map(|effective| Held {
                    sequence: Sequence::new(sequence),
                    state: State::named(state),
                    effective,
                    recorded_at: Timestamp::from_micros(recorded_at),
                    body,
                })
            }
            _ => None,
        };
        let believed = match record.believed_sequence.zip(record.believed_state) {
            Some((sequence, state)) => Believed::Row { sequence: Sequence::new(sequence), state: State::named(state) },
            // What is left of a stream is always its end: with the first row, all of it is.
            None if record.whole => Believed::Nothing,
            None => Believed::NotKept,
        };
        let times = (record.next_at, record.next_not_before, record.next_not_after);
        let next = effective(times, record.next_source.as_deref())?;
        Ok(Self {
            uid: Uid::new(record.uid),
            kind: kind(&record.kind)?,
            namespace: record.namespace,
            name: record.name,
            held,
            believed,
            doubt: record
                .next_state
                .zip(next)
                .map(|(state, effective)| Doubt { state: State::named(state), effective }),
        })
    }
}

type Times = (Option<i64>, Option<i64>, Option<i64>);

fn effective(times: Times, source: Option<&str>) -> Result<Option<Effective>, StoreError> {
    let (Some(at), Some(not_before), Some(not_after)) = times else { return Ok(None) };
    let micros = Timestamp::from_micros;
    let source = time_source(source.unwrap_or_default())?;
    Ok(Some(Effective { at: micros(at), not_before: micros(not_before), not_after: micros(not_after), source }))
}
