//! Appending a batch: lock the shard, read the heads, decide, write.

use std::collections::HashMap;

use sqlx::{PgConnection, PgPool, query, query_as};

use super::{clock, lead::installation_of, openings, server_now};
use crate::{
    domain::{Epoch, Position, Shard, State, Tables, Timestamp, Uid},
    ledger::{
        batch::{self, Batch, Standing},
        fault::{commit_failed, not_committed},
        records::{HeadRecord, ShardRecord, head_columns},
        store::{AppendError, StoreError},
        types::{Draft, Head, Outcome, Row, ShardRow},
    },
};

const DOING: &str = "appending to the ledger";

/// Answers what became of each draft, and where the shard ends now.
pub(super) async fn append(
    pool: &PgPool,
    tables: Tables,
    shard: Shard,
    epoch: Epoch,
    now: Timestamp,
    drafts: &[Draft],
) -> Result<(Vec<Outcome>, Position), AppendError> {
    let failed = not_committed(DOING);
    let mut transaction = pool.begin().await.map_err(failed)?;
    let standing = read(&mut transaction, shard, drafts).await?;
    let batch = batch::decide(tables, standing, epoch, now, drafts)?;
    if !batch.rows.is_empty() {
        write(&mut transaction, &batch, now).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(commit_failed(DOING))?;
    Ok((batch.outcomes, batch.shard.head))
}

async fn read(connection: &mut PgConnection, shard: Shard, drafts: &[Draft]) -> Result<Standing, AppendError> {
    let failed = not_committed(DOING);
    // Statements after this one see everything that the previous holder of the lock committed.
    let locked = query_as::<_, ShardRecord>(
        "SELECT id, epoch, holder, head, recorded_at FROM shard WHERE id = $1 FOR NO KEY UPDATE",
    )
    .bind(shard.get())
    .fetch_optional(&mut *connection)
    .await
    .map_err(failed)?;
    let installation = installation_of(&mut *connection)
        .await
        .map_err(failed)?
        .ok_or(AppendError::NotCommitted(StoreError::NoInstallation { doing: DOING }))?;
    let selectors = if installation.selective {
        openings::selectors(&mut *connection).await.map_err(AppendError::NotCommitted)?
    } else {
        vec![]
    };
    let uids = batch::uids(drafts);
    let uids: Vec<&str> = uids.iter().map(Uid::as_str).collect();
    let records = query_as::<_, HeadRecord>(concat!("SELECT ", head_columns!(), " FROM resource WHERE uid = ANY ($1)"))
        .bind(uids)
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    let mut heads = HashMap::with_capacity(records.len());
    for record in records {
        let head = Head::try_from(record).map_err(AppendError::NotCommitted)?;
        heads.insert(head.subject.uid.clone(), head);
    }
    let shard = locked.map_or_else(|| ShardRow::unclaimed(shard), Into::into);
    Ok(Standing { shard, installation: installation.into(), heads, selectors })
}

async fn write(connection: &mut PgConnection, batch: &Batch, now: Timestamp) -> Result<(), sqlx::Error> {
    insert_rows(connection, &batch.rows).await?;
    insert_evidence(connection, &batch.rows).await?;
    move_heads(connection, &batch.heads).await?;
    wake_lanes(connection, &batch.heads).await?;
    if let Some(chosen) = &batch.chosen {
        let now = clock(connection, now).await?;
        openings::wake(connection, chosen, &batch.heads, now).await?;
    }
    move_shard(connection, &batch.shard).await
}

/// One array for each column, in the rows' order.
fn column<'a, T, U>(rows: &'a [T], of: impl Fn(&'a T) -> U) -> Vec<U> {
    rows.iter().map(of).collect()
}

async fn insert_rows(connection: &mut PgConnection, rows: &[Row]) -> Result<(), sqlx::Error> {
    query(
        "INSERT INTO transition (shard, position, uid, sequence, event_id, epoch, from_state, to_state, reason, \
         generation, tenant, effective_at, not_before, not_after, time_source, recorded_at, body, prev_hash, hash) \
         SELECT * FROM UNNEST ($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::bigint[], \
         $7::text[], $8::text[], $9::text[], $10::bigint[], $11::text[], $12::bigint[], $13::bigint[], \
         $14::bigint[], $15::text[], $16::bigint[], $17::bytea[], $18::bytea[], $19::bytea[])",
    )
    .bind(column(rows, |row| row.shard.get()))
    .bind(column(rows, |row| row.position.get()))
    .bind(column(rows, |row| row.uid.as_str()))
    .bind(column(rows, |row| row.sequence.get()))
    .bind(column(rows, |row| row.event_id.as_str()))
    .bind(column(rows, |row| row.epoch.get()))
    .bind(column(rows, |row| row.from.as_ref().map(State::as_str)))
    .bind(column(rows, |row| row.to.as_str()))
    .bind(column(rows, |row| row.reason.as_str()))
    .bind(column(rows, |row| row.generation))
    .bind(column(rows, |row| row.tenant.as_str()))
    .bind(column(rows, |row| row.effective.at.as_micros()))
    .bind(column(rows, |row| row.effective.not_before.as_micros()))
    .bind(column(rows, |row| row.effective.not_after.as_micros()))
    .bind(column(rows, |row| row.effective.source.as_str()))
    .bind(column(rows, |row| row.recorded_at.as_micros()))
    .bind(column(rows, |row| row.body.as_slice()))
    .bind(column(rows, |row| row.prev_hash.as_bytes().as_slice()))
    .bind(column(rows, |row| row.hash.as_bytes().as_slice()))
    .execute(connection)
    .await
    .map(drop)
}

async fn insert_evidence(connection: &mut PgConnection, rows: &[Row]) -> Result<(), sqlx::Error> {
    let said: Vec<_> = rows.iter().filter_map(|row| Some((row, row.evidence.as_deref()?))).collect();
    if said.is_empty() {
        return Ok(());
    }
    query("INSERT INTO evidence (uid, sequence, text) SELECT * FROM UNNEST ($1::text[], $2::bigint[], $3::text[])")
        .bind(column(&said, |(row, _)| row.uid.as_str()))
        .bind(column(&said, |(row, _)| row.sequence.get()))
        .bind(column(&said, |(_, text)| *text))
        .execute(connection)
        .await
        .map(drop)
}

async fn move_heads(connection: &mut PgConnection, heads: &[Head]) -> Result<(), sqlx::Error> {
    query(concat!(
        "INSERT INTO resource (",
        head_columns!(),
        ") SELECT * FROM UNNEST ($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], \
         $7::text[], $8::text[], $9::text[], $10::text[], $11::bigint[], $12::bytea[], $13::bigint[], \
         $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[], $18::bigint[], $19::bigint[], $20::text[], \
         $21::text[], $22::bigint[], $23::bigint[], $24::bigint[], $25::bigint[], $26::bigint[], \
         $27::bigint[]) \
         ON CONFLICT (uid) DO UPDATE SET namespace = EXCLUDED.namespace, name = EXCLUDED.name, \
         tenant = EXCLUDED.tenant, account = EXCLUDED.account, plan = EXCLUDED.plan, state = EXCLUDED.state, \
         sequence = EXCLUDED.sequence, hash = EXCLUDED.hash, epoch = EXCLUDED.epoch, era = EXCLUDED.era, \
         generation = EXCLUDED.generation, replicas = EXCLUDED.replicas, \
         cpu_millicores = EXCLUDED.cpu_millicores, memory_bytes = EXCLUDED.memory_bytes, \
         storage_bytes = EXCLUDED.storage_bytes, reason = EXCLUDED.reason, message = EXCLUDED.message, \
         effective_at = EXCLUDED.effective_at, recorded_at = EXCLUDED.recorded_at, \
         entered_at = EXCLUDED.entered_at, closed_at = EXCLUDED.closed_at, entered = EXCLUDED.entered"
    ))
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
    .bind(column(heads, |head| head.closed_at.map(Timestamp::as_micros)))
    .bind(column(heads, |head| head.entered.get()))
    .execute(connection)
    .await
    .map(drop)
}

/// Makes the lanes of new streams to destinations that hear of all, and wakes those that had nothing to do.
///
/// A lane that is awake already is not written, but it is locked, and must be: whoever settles it at this moment has
/// either read the head before us, and then waits here to be seen, or waits for us and reads the head after.
async fn wake_lanes(connection: &mut PgConnection, heads: &[Head]) -> Result<(), sqlx::Error> {
    query(concat!(
        "INSERT INTO lane (destination, uid, acked, phase, due_at) SELECT d.id, moved.uid, 0, 1, ",
        server_now!(),
        " FROM destination d CROSS JOIN UNNEST ($1::text[]) AS moved (uid) WHERE d.selector IS NULL \
         ORDER BY d.id, moved.uid COLLATE \"C\" \
         ON CONFLICT (destination, uid) DO UPDATE SET phase = 1, due_at = EXCLUDED.due_at WHERE lane.phase = 0"
    ))
    .bind(column(heads, |head| head.subject.uid.as_str()))
    .execute(connection)
    .await
    .map(drop)
}

async fn move_shard(connection: &mut PgConnection, shard: &ShardRow) -> Result<(), sqlx::Error> {
    let moved = query("UPDATE shard SET head = $3, recorded_at = $4 WHERE id = $1 AND epoch = $2")
        .bind(shard.id.get())
        .bind(shard.epoch.get())
        .bind(shard.head.get())
        .bind(shard.recorded_at.map(Timestamp::as_micros))
        .execute(connection)
        .await?;
    // It is locked and was just read, so one row it is.
    if moved.rows_affected() == 1 { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
}
