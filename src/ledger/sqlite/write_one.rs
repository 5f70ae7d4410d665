//! What an append of one row writes to a stream that is open already: what most appends are while nothing much happens.
//!
//! The same as a batch of one, commit and all, in one go: each way to SQLite's thread and back costs more than such a statement.

use sqlx::{Error, SqliteConnection, error::ErrorKind, query};

use super::{begin_immediate, multi::Binding, write::bind_row};
use crate::{
    domain::{Position, Timestamp},
    ledger::{
        batch::Batch,
        types::{Head, Installation, Row, ShardRow},
    },
};

/// What is written into `$shard`. The parameters have the same numbers in all of it.
macro_rules! write_into {
    ($shard:literal) => {
        concat!(
            "INSERT OR ROLLBACK INTO transition (shard, position, uid, sequence, event_id, epoch, from_state, to_state, reason, \
       generation, tenant, effective_at, not_before, not_after, time_source, recorded_at, body, prev_hash, hash) \
     VALUES (",
            $shard,
            ", $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19); \
     UPDATE resource SET tenant = $11, account = $20, plan = $21, state = $8, sequence = $4, hash = $19, epoch = $6, \
       era = $22, generation = $10, replicas = $23, cpu_millicores = $24, memory_bytes = $25, storage_bytes = $26, \
       reason = $9, message = $27, effective_at = $12, recorded_at = $16, entered_at = $28, entered = $29 WHERE uid = $3; \
     UPDATE resource SET closed_at = $30 WHERE uid = $3 AND closed_at IS NOT $30; \
     UPDATE lane SET phase = 1, due_at = $31 \
       WHERE destination IN (SELECT id FROM destination) AND uid = $3 AND +phase = 0; \
     UPDATE shard SET head = $2, recorded_at = $32 WHERE id = $1 AND epoch = $6; \
     COMMIT"
        )
    };
}

/// Under the lock.
pub(super) const WRITE: &str = write_into!("$1");

/// From the lock on. If the shard is not where it was, or the ledger became another installation's, there is no shard to write
/// into, which is refused, and everything undone.
pub(super) const WRITE_AT_ONCE: &str = concat!(
    begin_immediate!(),
    "; ",
    write_into!(
        "(SELECT s.id FROM shard s JOIN installation i ON i.id = $34 AND i.cluster_uid = $35 AND i.era = $36 \
           WHERE s.id = $1 AND s.epoch = $6 AND s.head = $33)"
    )
);

/// The one row that `batch` is, and the head that it makes, if nothing is written besides.
pub(super) fn alone(batch: &Batch) -> Option<(&Row, &Head)> {
    match (&batch.rows[..], &batch.heads[..]) {
        ([row], [head]) if row.from.is_some() && row.evidence.is_none() => Some((row, head)),
        _ => None,
    }
}

/// Writes and commits `row`, which makes `head` of its stream and `shard` of its shard.
pub(super) async fn write_one(
    connection: &mut SqliteConnection,
    shard: &ShardRow,
    row: &Row,
    head: &Head,
    now: Timestamp,
) -> Result<(), Error> {
    bind(query(WRITE), shard, row, head, now).execute(connection).await.map(drop)
}

/// The same from taking the lock on, if the shard is still at `before` and in the batch's epoch, and the ledger that of
/// `installation`. Answers whether it was.
pub(super) async fn write_at_once(
    connection: &mut SqliteConnection,
    before: Position,
    installation: &Installation,
    shard: &ShardRow,
    row: &Row,
    head: &Head,
    now: Timestamp,
) -> Result<bool, Error> {
    let written = bind(query(WRITE_AT_ONCE), shard, row, head, now)
        .bind(before.get())
        .bind(installation.id.as_str())
        .bind(installation.cluster_uid.as_str())
        .bind(installation.era.get())
        .execute(connection)
        .await;
    match written {
        Ok(_) => Ok(true),
        Err(Error::Database(refused)) if refused.kind() == ErrorKind::NotNullViolation => Ok(false),
        Err(error) => Err(error),
    }
}

fn bind(query: Binding, shard: &ShardRow, row: &Row, head: &Head, now: Timestamp) -> Binding {
    let subject = &head.subject;
    bind_row(query, row)
        .bind(subject.account.as_str())
        .bind(subject.plan.as_str())
        .bind(head.era.get())
        .bind(i64::from(head.billable.replicas))
        .bind(head.billable.cpu_millicores.cast_signed())
        .bind(head.billable.memory_bytes.cast_signed())
        .bind(head.billable.storage_bytes.cast_signed())
        .bind(head.message.as_str())
        .bind(head.entered_at.as_micros())
        .bind(head.entered.get())
        .bind(head.closed_at.map(Timestamp::as_micros))
        .bind(now.as_micros())
        .bind(shard.recorded_at.map(Timestamp::as_micros))
}
