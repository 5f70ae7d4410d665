//! What a batch writes: everything or nothing, in one statement.

use std::{collections::HashMap, sync::Arc};

use sqlx::{PgConnection, query};

use super::{append::DOING, server_now, write_one::write_one};
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

/// What of a head changes with each row.
macro_rules! state_columns {
    () => {
        "state, sequence, hash, epoch, era, generation, replicas, cpu_millicores, memory_bytes, storage_bytes, reason, \
         message, effective_at, recorded_at, entered_at, closed_at, entered"
    };
}

/// The same, taken from `next`.
macro_rules! set_state {
    () => {
        "state = next.state, sequence = next.sequence, hash = next.hash, epoch = next.epoch, era = next.era, \
         generation = next.generation, replicas = next.replicas, cpu_millicores = next.cpu_millicores, \
         memory_bytes = next.memory_bytes, storage_bytes = next.storage_bytes, reason = next.reason, \
         message = next.message, effective_at = next.effective_at, recorded_at = next.recorded_at, \
         entered_at = next.entered_at, closed_at = next.closed_at, entered = next.entered, \
         last_position = next.last_position"
    };
}

/// Every part draws from `mine`, so none begins before the shard's row is moved, and none does anything if it is not.
///
/// Lanes: those that had nothing to do are woken, and those of new streams are made. A lane that is awake already is
/// written too, as it is, and so is waited for: whoever settles it at this moment has either read the head before us, and
/// is seen here, or waits for us and reads the head after. (A condition on the phase would not wait, and miss it.)
///
/// Heads: `next` has what changes with each row, and `named` the rest of those in which that is new. It rarely is, and to
/// send and write it always cost a twentieth of a large batch.
///
/// A destination that does not hear of all streams gets no new lanes but those that were chosen for it.
///
/// Whoever opens or closes a destination moves every shard's row, so `destination` is as it was when the batch was decided.
const WRITE: &str = concat!(
    "WITH mine AS (UPDATE shard SET head = $4, recorded_at = $5 \
       WHERE id = $1 AND epoch = $2 AND head = $3 AND revision = $6 RETURNING id), \
     said AS (INSERT INTO evidence (uid, sequence, text) \
       SELECT new.* FROM mine CROSS JOIN UNNEST ($7::text[], $8::bigint[], $9::text[]) AS new), \
     next AS MATERIALIZED (SELECT new.* FROM mine CROSS JOIN UNNEST ($10::text[], $11::text[], $12::bigint[], \
       $13::bytea[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[], $18::bigint[], $19::bigint[], \
       $20::bigint[], $21::text[], $22::text[], $23::bigint[], $24::bigint[], $25::bigint[], $26::bigint[], $27::bigint[], \
       $28::bigint[], $29::bigint[], $30::boolean[], $31::boolean[]) AS new (uid, ",
    state_columns!(),
    ", last_position, from_position, is_named, opens)), \
     named AS MATERIALIZED (SELECT new.* FROM mine CROSS JOIN UNNEST ($32::text[], $33::bigint[], $34::text[], \
       $35::text[], $36::text[], $37::text[], $38::text[], $39::text[], $40::text[], $41::bigint[]) \
       AS new (uid, shard, kind, namespace, name, tenant, account, plan, previous_uid, opened_at)), \
     moved AS (UPDATE resource SET ",
    set_state!(),
    " FROM next WHERE resource.uid = next.uid AND NOT next.is_named), \
     renamed AS (UPDATE resource SET namespace = named.namespace, name = named.name, tenant = named.tenant, \
       account = named.account, plan = named.plan, ",
    set_state!(),
    " FROM next JOIN named USING (uid) WHERE resource.uid = next.uid AND NOT next.opens), \
     opened AS (INSERT INTO resource (",
    head_columns!(),
    ", first_position, last_position) SELECT ",
    head_columns!(),
    ", from_position, last_position FROM next JOIN named USING (uid) WHERE next.opens), \
     woken AS (UPDATE lane SET phase = CASE lane.phase WHEN 0 THEN 1 ELSE lane.phase END, \
       due_at = CASE lane.phase WHEN 0 THEN moved.now ELSE lane.due_at END, \
       from_position = CASE lane.phase WHEN 0 THEN moved.from_position ELSE lane.from_position END \
       FROM (SELECT d.id, next.uid, next.from_position, ",
    server_now!(),
    " AS now FROM destination d CROSS JOIN next WHERE NOT next.opens ORDER BY d.id, next.uid COLLATE \"C\") AS moved \
       WHERE lane.destination = moved.id AND lane.uid = moved.uid), \
     made AS (INSERT INTO lane (destination, uid, acked, phase, due_at, from_position) SELECT d.id, next.uid, 0, 1, ",
    server_now!(),
    ", next.from_position FROM destination d CROSS JOIN next WHERE next.opens \
       AND (d.selector IS NULL OR (d.id, next.uid) IN (SELECT * FROM UNNEST ($59::text[], $60::text[])))) \
     INSERT INTO transition (shard, epoch, position, uid, sequence, event_id, from_state, to_state, reason, \
       generation, tenant, effective_at, not_before, not_after, time_source, body, prev_hash, hash, recorded_at) \
     SELECT $1, $2, new.* FROM mine CROSS JOIN UNNEST ($42::bigint[], $43::text[], $44::bigint[], $45::text[], $46::text[], \
       $47::text[], $48::text[], $49::bigint[], $50::text[], $51::bigint[], $52::bigint[], $53::bigint[], \
       $54::text[], $55::bytea[], $56::bytea[], $57::bytea[], $58::bigint[]) AS new"
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

/// A stream that moves: where to, by which rows, whether it is named anew, and whether that opens it.
struct Moved<'a> {
    head: &'a Head,
    from_position: Position,
    last_position: Position,
    is_named: bool,
    opens: bool,
}

/// The streams that `batch` moves, in the order of its heads.
fn moved(batch: &Batch) -> Vec<Moved<'_>> {
    let mut ends: HashMap<&Uid, (&Row, &Row)> = HashMap::with_capacity(batch.heads.len());
    for row in &batch.rows {
        ends.entry(&row.uid).or_insert((row, row)).1 = row;
    }
    let of = |head: &'_ Arc<Head>| ends.get(&head.subject.uid).copied();
    let moved = batch.heads.iter().filter_map(|head| Some((head, of(head)?)));
    let moved = moved.map(|(head, (first, last))| Moved {
        head,
        from_position: first.position,
        last_position: last.position,
        is_named: batch.named.contains(&head.subject.uid),
        opens: first.from.is_none(),
    });
    moved.collect()
}

/// Writes `batch` if the shard is still at `before` in the batch's epoch, and answers whether it was.
pub(super) async fn write(connection: &mut PgConnection, before: Place, batch: &Batch) -> Result<bool, AppendError> {
    let Batch { rows, shard, chosen, .. } = batch;
    let next = moved(batch);
    let named: Vec<&Head> = next.iter().filter(|moved| moved.is_named).map(|moved| moved.head).collect();
    let said: Vec<(&Row, &str)> = rows.iter().filter_map(|row| Some((row, row.evidence.as_deref()?))).collect();
    if let ([row], [Moved { head, opens: false, is_named: false, .. }], []) = (&rows[..], &next[..], &said[..]) {
        return write_one(connection, before, shard, row, head).await;
    }
    let written = query(WRITE)
        .bind(shard.id.get())
        .bind(shard.epoch.get())
        .bind(before.head.get())
        .bind(shard.head.get())
        .bind(shard.recorded_at.map(Timestamp::as_micros))
        .bind(before.revision)
        .bind(column(&said, |(row, _)| row.uid.as_str()))
        .bind(column(&said, |(row, _)| row.sequence.get()))
        .bind(column(&said, |(_, text)| *text))
        .bind(column(&next, |moved| moved.head.subject.uid.as_str()))
        .bind(column(&next, |moved| moved.head.state.as_str()))
        .bind(column(&next, |moved| moved.head.sequence.get()))
        .bind(column(&next, |moved| moved.head.hash.as_bytes().as_slice()))
        .bind(column(&next, |moved| moved.head.epoch.get()))
        .bind(column(&next, |moved| moved.head.era.get()))
        .bind(column(&next, |moved| moved.head.generation))
        .bind(column(&next, |moved| i64::from(moved.head.billable.replicas)))
        .bind(column(&next, |moved| moved.head.billable.cpu_millicores.cast_signed()))
        .bind(column(&next, |moved| moved.head.billable.memory_bytes.cast_signed()))
        .bind(column(&next, |moved| moved.head.billable.storage_bytes.cast_signed()))
        .bind(column(&next, |moved| moved.head.reason.as_str()))
        .bind(column(&next, |moved| moved.head.message.as_str()))
        .bind(column(&next, |moved| moved.head.effective_at.as_micros()))
        .bind(column(&next, |moved| moved.head.recorded_at.as_micros()))
        .bind(column(&next, |moved| moved.head.entered_at.as_micros()))
        .bind(column(&next, |moved| moved.head.closed_at.map(Timestamp::as_micros)))
        .bind(column(&next, |moved| moved.head.entered.get()))
        .bind(column(&next, |moved| moved.last_position.get()))
        .bind(column(&next, |moved| moved.from_position.get()))
        .bind(column(&next, |moved| moved.is_named))
        .bind(column(&next, |moved| moved.opens))
        .bind(column(&named, |head| head.subject.uid.as_str()))
        .bind(column(&named, |head| head.shard.get()))
        .bind(column(&named, |head| head.subject.kind.as_str()))
        .bind(column(&named, |head| head.subject.namespace.as_deref()))
        .bind(column(&named, |head| head.subject.name.as_str()))
        .bind(column(&named, |head| head.subject.tenant.as_str()))
        .bind(column(&named, |head| head.subject.account.as_str()))
        .bind(column(&named, |head| head.subject.plan.as_str()))
        .bind(column(&named, |head| head.subject.previous_uid.as_ref().map(Uid::as_str)))
        .bind(column(&named, |head| head.opened_at.as_micros()))
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
        .bind(column(rows, |row| row.recorded_at.as_micros()))
        .bind(column(chosen, |(destination, _)| destination.as_str()))
        .bind(column(chosen, |(_, uid)| uid.as_str()))
        .execute(connection)
        .await
        .map_err(commit_failed(DOING))?;
    Ok(written.rows_affected() > 0)
}
