//! What a batch writes: everything or nothing, in one statement.

use sqlx::{PgConnection, query};

use super::{append::DOING, server_now};
use crate::{
    domain::{Position, State, Timestamp, Uid},
    ledger::{
        batch::Batch,
        fault::commit_failed,
        records::head_columns,
        store::AppendError,
        types::{Head, Row},
    },
};

/// Every part draws from `mine`, so none begins before the shard's row is moved, and none does anything if it is not.
///
/// Lanes: those of new streams are made, and those that had nothing to do are woken. A lane that is awake already is not
/// written, but it is locked, and must be: whoever settles it at this moment has either read the head before us, and then
/// waits here to be seen, or waits for us and reads the head after.
///
/// A destination that does not hear of all streams gets no new lanes but those that were chosen for it.
///
/// Whoever opens or closes a destination moves every shard's row, so `destination` is as it was when the batch was decided.
const WRITE: &str = concat!(
    "WITH mine AS (UPDATE shard SET head = $4, recorded_at = $5 \
       WHERE id = $1 AND epoch = $2 AND head = $3 AND revision = $52 RETURNING id), \
     said AS (INSERT INTO evidence (uid, sequence, text) \
       SELECT new.* FROM mine CROSS JOIN UNNEST ($6::text[], $7::bigint[], $8::text[]) AS new), \
     heads AS (INSERT INTO resource (",
    head_columns!(),
    ") SELECT new.* FROM mine CROSS JOIN UNNEST ($9::text[], $10::bigint[], $11::text[], $12::text[], $13::text[], \
       $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::bigint[], $20::bytea[], $21::bigint[], \
       $22::bigint[], $23::bigint[], $24::bigint[], $25::bigint[], $26::bigint[], $27::bigint[], $28::text[], \
       $29::text[], $30::bigint[], $31::bigint[], $32::bigint[], $33::bigint[], $34::bigint[], $35::bigint[]) AS new \
       ON CONFLICT (uid) DO UPDATE SET namespace = EXCLUDED.namespace, name = EXCLUDED.name, \
       tenant = EXCLUDED.tenant, account = EXCLUDED.account, plan = EXCLUDED.plan, state = EXCLUDED.state, \
       sequence = EXCLUDED.sequence, hash = EXCLUDED.hash, epoch = EXCLUDED.epoch, era = EXCLUDED.era, \
       generation = EXCLUDED.generation, replicas = EXCLUDED.replicas, \
       cpu_millicores = EXCLUDED.cpu_millicores, memory_bytes = EXCLUDED.memory_bytes, \
       storage_bytes = EXCLUDED.storage_bytes, reason = EXCLUDED.reason, message = EXCLUDED.message, \
       effective_at = EXCLUDED.effective_at, recorded_at = EXCLUDED.recorded_at, \
       entered_at = EXCLUDED.entered_at, closed_at = EXCLUDED.closed_at, entered = EXCLUDED.entered), \
     lanes AS (INSERT INTO lane (destination, uid, acked, phase, due_at) SELECT d.id, moved.uid, 0, 1, ",
    server_now!(),
    "  FROM mine CROSS JOIN destination d CROSS JOIN UNNEST ($9::text[]) AS moved (uid) \
       WHERE d.selector IS NULL OR EXISTS (SELECT 1 FROM lane l WHERE l.destination = d.id AND l.uid = moved.uid) \
         OR (d.id, moved.uid) IN (SELECT * FROM UNNEST ($53::text[], $54::text[])) \
       ORDER BY d.id, moved.uid COLLATE \"C\" \
       ON CONFLICT (destination, uid) DO UPDATE SET phase = 1, due_at = EXCLUDED.due_at WHERE lane.phase = 0) \
     INSERT INTO transition (shard, epoch, position, uid, sequence, event_id, from_state, to_state, reason, \
       generation, tenant, effective_at, not_before, not_after, time_source, body, prev_hash, hash, recorded_at) \
     SELECT $1, $2, new.* FROM mine CROSS JOIN UNNEST ($36::bigint[], $37::text[], $38::bigint[], $39::text[], \
       $40::text[], $41::text[], $42::text[], $43::bigint[], $44::text[], $45::bigint[], $46::bigint[], $47::bigint[], \
       $48::text[], $49::bytea[], $50::bytea[], $51::bytea[], $55::bigint[]) AS new"
);

/// Where the shard's row was read, the epoch apart.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) head: Position,
    /// Moves with whatever else was decided by.
    pub(super) revision: i64,
}

/// One array for each column, in the rows' order.
fn column<'a, T, U>(rows: &'a [T], of: impl Fn(&'a T) -> U) -> Vec<U> {
    rows.iter().map(of).collect()
}

/// Writes `batch` if the shard is still at `before` in the batch's epoch, and answers whether it was.
pub(super) async fn write(connection: &mut PgConnection, before: Place, batch: &Batch) -> Result<bool, AppendError> {
    let Batch { rows, heads, shard, chosen, .. } = batch;
    let said: Vec<(&Row, &str)> = rows.iter().filter_map(|row| Some((row, row.evidence.as_deref()?))).collect();
    let written = query(WRITE)
        .bind(shard.id.get())
        .bind(shard.epoch.get())
        .bind(before.head.get())
        .bind(shard.head.get())
        .bind(shard.recorded_at.map(Timestamp::as_micros))
        .bind(column(&said, |(row, _)| row.uid.as_str()))
        .bind(column(&said, |(row, _)| row.sequence.get()))
        .bind(column(&said, |(_, text)| *text))
        .bind(column(heads, |head| head.subject.uid.as_str()))
        .bind(column(heads, |head| head.shard.get()))
        .bind(column(heads, |head| head.subject.kind.as_str()))
        .bind(column(heads, |head| head.subject.namespace.as_deref()))
        .bind(column(heads, |head| head.subject.name.as_str()))
        .bind(column(heads, |head| head.subject.tenant.as_str()))
        .bind(column(heads, |head| head.subject.account.as_str()))
        .bind(column(heads, |head| head.subject.plan.as_str()))
        .bind(column(heads, |head| head.subject.previous_uid.as_ref().map(Uid::as_str)))
        .bind(column(heads, |head| head.state.as_str()))
        .bind(column(heads, |head| head.sequence.get()))
        .bind(column(heads, |head| head.hash.as_bytes().as_slice()))
        .bind(column(heads, |head| head.epoch.get()))
        .bind(column(heads, |head| head.era.get()))
        .bind(column(heads, |head| head.generation))
        .bind(column(heads, |head| i64::from(head.billable.replicas)))
        .bind(column(heads, |head| head.billable.cpu_millicores.cast_signed()))
        .bind(column(heads, |head| head.billable.memory_bytes.cast_signed()))
        .bind(column(heads, |head| head.billable.storage_bytes.cast_signed()))
        .bind(column(heads, |head| head.reason.as_str()))
        .bind(column(heads, |head| head.message.as_str()))
        .bind(column(heads, |head| head.effective_at.as_micros()))
        .bind(column(heads, |head| head.recorded_at.as_micros()))
        .bind(column(heads, |head| head.entered_at.as_micros()))
        .bind(column(heads, |head| head.opened_at.as_micros()))
        .bind(column(heads, |head: &Head| head.closed_at.map(Timestamp::as_micros)))
        .bind(column(heads, |head| head.entered.get()))
        .bind(column(rows, |row| row.position.get()))
        .bind(column(rows, |row| row.uid.as_str()))
        .bind(column(rows, |row| row.sequence.get()))
        .bind(column(rows, |row| row.event_id.as_str()))
        .bind(column(rows, |row| row.from.as_ref().map(State::as_str)))
        .bind(column(rows, |row| row.to.as_str()))
        .bind(column(rows, |row| row.reason.as_str()))
        .bind(column(rows, |row| row.generation))
        .bind(column(rows, |row| row.tenant.as_str()))
        .bind(column(rows, |row| row.effective.at.as_micros()))
        .bind(column(rows, |row| row.effective.not_before.as_micros()))
        .bind(column(rows, |row| row.effective.not_after.as_micros()))
        .bind(column(rows, |row| row.effective.source.as_str()))
        .bind(column(rows, |row| row.body.as_slice()))
        .bind(column(rows, |row| row.prev_hash.as_bytes().as_slice()))
        .bind(column(rows, |row| row.hash.as_bytes().as_slice()))
        .bind(before.revision)
        .bind(column(chosen, |(destination, _)| destination.as_str()))
        .bind(column(chosen, |(_, uid)| uid.as_str()))
        .bind(column(rows, |row| row.recorded_at.as_micros()))
        .execute(connection)
        .await
        .map_err(commit_failed(DOING))?;
    Ok(written.rows_affected() > 0)
}
