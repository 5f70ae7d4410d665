//! What an append of one row writes to a stream that is open already, and called what it was: what most appends are while
//! nothing much happens.
//!
//! The same as a batch of one, as plain values: the server then spends less on the statement than on the row.

use sqlx::{PgConnection, query};

use super::{append::DOING, server_now, write::Place};
use crate::{
    domain::{State, Timestamp},
    ledger::{
        fault::commit_failed,
        store::AppendError,
        types::{Head, Row, ShardRow},
    },
};

/// See the statement for many. The destinations are a list, and no join: as one, lanes were looked for by their UID alone, which
/// reads the whole index, wherever the planner took that for the shorter way.
const WRITE: &str = concat!(
    "WITH mine AS (UPDATE shard SET head = $4, recorded_at = $5 \
       WHERE id = $1 AND epoch = $2 AND head = $3 AND revision = $6 RETURNING id), \
     moved AS (UPDATE resource SET state = $8, \
       sequence = $9, hash = $10, epoch = $2, era = $11, generation = $12, replicas = $13, cpu_millicores = $14, \
       memory_bytes = $15, storage_bytes = $16, reason = $17, message = $18, effective_at = $19, recorded_at = $20, \
       entered_at = $21, closed_at = $22, entered = $23, last_position = $4 FROM mine WHERE uid = $24), \
     woken AS (UPDATE lane SET phase = CASE lane.phase WHEN 0 THEN 1 ELSE lane.phase END, \
       due_at = CASE lane.phase WHEN 0 THEN ",
    server_now!(),
    " ELSE lane.due_at END, from_position = CASE lane.phase WHEN 0 THEN $4 ELSE lane.from_position END \
       WHERE lane.destination = ANY (ARRAY (SELECT d.id FROM mine CROSS JOIN destination d)) \
         AND lane.uid = $24) \
     INSERT INTO transition (shard, epoch, position, uid, sequence, event_id, from_state, to_state, reason, \
       generation, tenant, effective_at, not_before, not_after, time_source, body, prev_hash, hash, recorded_at) \
     SELECT $1, $2, $4, $24, $9, $25, $26, $8, $17, $12, $7, $19, $27, $28, $29, $30, $31, $10, $20 FROM mine"
);

/// Writes `row`, which makes `head` of its stream, if the shard is still at `before`, and answers whether it was.
pub(super) async fn write_one(
    connection: &mut PgConnection,
    before: Place,
    shard: &ShardRow,
    row: &Row,
    head: &Head,
) -> Result<bool, AppendError> {
    let written = query(WRITE)
        .bind(shard.id.get())
        .bind(shard.epoch.get())
        .bind(before.head.get())
        .bind(row.position.get())
        .bind(shard.recorded_at.map(Timestamp::as_micros))
        .bind(before.revision)
        .bind(head.subject.tenant.as_str())
        .bind(row.to.as_str())
        .bind(row.sequence.get())
        .bind(row.hash.as_bytes().as_slice())
        .bind(head.era.get())
        .bind(row.generation)
        .bind(i64::from(head.billable.replicas))
        .bind(head.billable.cpu_millicores.cast_signed())
        .bind(head.billable.memory_bytes.cast_signed())
        .bind(head.billable.storage_bytes.cast_signed())
        .bind(row.reason.as_str())
        .bind(head.message.as_str())
        .bind(row.effective.at.as_micros())
        .bind(row.recorded_at.as_micros())
        .bind(head.entered_at.as_micros())
        .bind(head.closed_at.map(Timestamp::as_micros))
        .bind(head.entered.get())
        .bind(row.uid.as_str())
        .bind(row.event_id.as_str())
        .bind(row.from.as_ref().map(State::as_str))
        .bind(row.effective.not_before.as_micros())
        .bind(row.effective.not_after.as_micros())
        .bind(row.effective.source.as_str())
        .bind(row.body.as_slice())
        .bind(row.prev_hash.as_bytes().as_slice())
        .execute(connection)
        .await
        .map_err(commit_failed(DOING))?;
    Ok(written.rows_affected() > 0)
}
