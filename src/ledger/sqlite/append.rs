//! Appending a batch: take the write lock, read the heads, decide, write.

use std::{collections::HashMap, sync::LazyLock};

use sqlx::{SqliteConnection, SqlitePool, query, query_as};

use super::{BEGIN, lead::json, multi::Multi, openings, read::INSTALLATION};
use crate::{
    domain::{Epoch, Shard, State, Tables, Timestamp, Uid},
    ledger::{
        batch::{self, Batch, Standing},
        fault::{commit_failed, not_committed},
        known::{Known, Memory},
        records::{HeadRecord, InstallationRecord, ShardRecord, head_columns},
        store::{AppendError, StoreError},
        types::{Draft, Head, Outcome, Row, ShardRow},
    },
};

const DOING: &str = "appending to the ledger";

/// All else that a decision stands on is read under the lock each time.
const REVISION: i64 = 0;

pub(super) async fn append(
    pool: &SqlitePool,
    known: &Known,
    tables: Tables,
    shard: Shard,
    epoch: Epoch,
    now: Timestamp,
    drafts: &[Draft],
) -> Result<Vec<Outcome>, AppendError> {
    let failed = not_committed(DOING);
    let mut transaction = pool.begin_with(BEGIN).await.map_err(failed)?;
    // Put back only when the outcome is known.
    let mut memory = read(&mut transaction, shard, drafts, known.take(shard)).await?;
    let batch = batch::decide(tables, memory.standing(drafts), epoch, now, drafts)?;
    if !batch.rows.is_empty() {
        write(&mut transaction, &batch, now).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(commit_failed(DOING))?;
    memory.advance(&batch);
    known.put(memory);
    Ok(batch.outcomes)
}

/// How the shard stands, with the heads that are not `known` already.
async fn read(
    connection: &mut SqliteConnection,
    shard: Shard,
    drafts: &[Draft],
    known: Option<Memory>,
) -> Result<Memory, AppendError> {
    let failed = not_committed(DOING);
    let found = query_as::<_, ShardRecord>("SELECT id, epoch, holder, head, recorded_at FROM shard WHERE id = $1")
        .bind(shard.get())
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
    let installation = query_as::<_, InstallationRecord>(INSTALLATION)
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?
        .ok_or(AppendError::NotCommitted(StoreError::NoInstallation { doing: DOING }))?;
    let selectors = openings::selectors(&mut *connection).await.map_err(AppendError::NotCommitted)?;
    let shard = found.map_or_else(|| ShardRow::unclaimed(shard), Into::into);
    let known = known.filter(|memory| memory.is_at(&shard, REVISION));
    let mut unknown = batch::uids(drafts);
    unknown.retain(|uid| !known.as_ref().is_some_and(|memory| memory.knows(uid)));
    let heads = heads(connection, &unknown).await?;
    let read = Memory::new(Standing { shard, installation: installation.into(), heads, selectors }, REVISION);
    Ok(match known {
        Some(known) => known.and(read),
        None => read,
    })
}

async fn heads(connection: &mut SqliteConnection, uids: &[Uid]) -> Result<HashMap<Uid, Head>, AppendError> {
    if uids.is_empty() {
        return Ok(HashMap::new());
    }
    let records = query_as::<_, HeadRecord>(concat!(
        "SELECT ",
        head_columns!(),
        " FROM resource WHERE uid IN (SELECT value FROM json_each($1))"
    ))
    .bind(json(uids))
    .fetch_all(connection)
    .await
    .map_err(not_committed(DOING))?;
    let heads = records.into_iter().map(|record| {
        let head = Head::try_from(record).map_err(AppendError::NotCommitted)?;
        Ok((head.subject.uid.clone(), head))
    });
    heads.collect()
}

async fn write(connection: &mut SqliteConnection, batch: &Batch, now: Timestamp) -> Result<(), sqlx::Error> {
    insert_rows(connection, &batch.rows).await?;
    insert_evidence(connection, &batch.rows).await?;
    move_heads(connection, &batch.heads).await?;
    wake_lanes(connection, batch, now).await?;
    move_shard(connection, &batch.shard).await
}

async fn insert_rows(connection: &mut SqliteConnection, rows: &[Row]) -> Result<(), sqlx::Error> {
    static INSERT: LazyLock<Multi> = LazyLock::new(|| {
        Multi::new(
            "INSERT INTO transition (shard, position, uid, sequence, event_id, epoch, from_state, to_state, reason, \
             generation, tenant, effective_at, not_before, not_after, time_source, recorded_at, body, prev_hash, hash)",
            19,
            "",
        )
    });
    INSERT
        .run(connection, rows, |query, row| {
            query
                .bind(row.shard.get())
                .bind(row.position.get())
                .bind(row.uid.as_str())
                .bind(row.sequence.get())
                .bind(row.event_id.as_str())
                .bind(row.epoch.get())
                .bind(row.from.as_ref().map(State::as_str))
                .bind(row.to.as_str())
                .bind(row.reason.as_str())
                .bind(row.generation)
                .bind(row.tenant.as_str())
                .bind(row.effective.at.as_micros())
                .bind(row.effective.not_before.as_micros())
                .bind(row.effective.not_after.as_micros())
                .bind(row.effective.source.as_str())
                .bind(row.recorded_at.as_micros())
                .bind(row.body.as_slice())
                .bind(row.prev_hash.as_bytes().as_slice())
                .bind(row.hash.as_bytes().as_slice())
        })
        .await
}

async fn insert_evidence(connection: &mut SqliteConnection, rows: &[Row]) -> Result<(), sqlx::Error> {
    static INSERT: LazyLock<Multi> = LazyLock::new(|| Multi::new("INSERT INTO evidence (uid, sequence, text)", 3, ""));
    let said: Vec<_> = rows.iter().filter_map(|row| Some((row, row.evidence.as_deref()?))).collect();
    INSERT
        .run(connection, &said, |query, (row, text)| query.bind(row.uid.as_str()).bind(row.sequence.get()).bind(*text))
        .await
}

async fn move_heads(connection: &mut SqliteConnection, heads: &[Head]) -> Result<(), sqlx::Error> {
    static UPSERT: LazyLock<Multi> = LazyLock::new(|| {
        Multi::new(
            concat!("INSERT INTO resource (", head_columns!(), ")"),
            27,
            "ON CONFLICT (uid) DO UPDATE SET namespace = excluded.namespace, name = excluded.name, \
             tenant = excluded.tenant, account = excluded.account, plan = excluded.plan, state = excluded.state, \
             sequence = excluded.sequence, hash = excluded.hash, epoch = excluded.epoch, era = excluded.era, \
             generation = excluded.generation, replicas = excluded.replicas, \
             cpu_millicores = excluded.cpu_millicores, memory_bytes = excluded.memory_bytes, \
             storage_bytes = excluded.storage_bytes, reason = excluded.reason, message = excluded.message, \
             effective_at = excluded.effective_at, recorded_at = excluded.recorded_at, \
             entered_at = excluded.entered_at, closed_at = excluded.closed_at, entered = excluded.entered",
        )
    });
    UPSERT
        .run(connection, heads, |query, head| {
            query
                .bind(head.subject.uid.as_str())
                .bind(head.shard.get())
                .bind(head.subject.kind.as_str())
                .bind(head.subject.namespace.as_deref())
                .bind(head.subject.name.as_str())
                .bind(head.subject.tenant.as_str())
                .bind(head.subject.account.as_str())
                .bind(head.subject.plan.as_str())
                .bind(head.subject.previous_uid.as_ref().map(Uid::as_str))
                .bind(head.state.as_str())
                .bind(head.sequence.get())
                .bind(head.hash.as_bytes().as_slice())
                .bind(head.epoch.get())
                .bind(head.era.get())
                .bind(head.generation)
                .bind(i64::from(head.billable.replicas))
                .bind(head.billable.cpu_millicores.cast_signed())
                .bind(head.billable.memory_bytes.cast_signed())
                .bind(head.billable.storage_bytes.cast_signed())
                .bind(head.reason.as_str())
                .bind(head.message.as_str())
                .bind(head.effective_at.as_micros())
                .bind(head.recorded_at.as_micros())
                .bind(head.entered_at.as_micros())
                .bind(head.opened_at.as_micros())
                .bind(head.closed_at.map(Timestamp::as_micros))
                .bind(head.entered.get())
        })
        .await
}

/// Makes the lanes of new streams, and wakes those that had nothing to do.
///
/// A destination that does not hear of all streams gets no new lanes but those that were chosen for it.
async fn wake_lanes(connection: &mut SqliteConnection, batch: &Batch, now: Timestamp) -> Result<(), sqlx::Error> {
    let uids: Vec<&Uid> = batch.heads.iter().map(|head| &head.subject.uid).collect();
    query(
        "INSERT INTO lane (destination, uid, acked, phase, due_at) SELECT d.id, moved.value, 0, 1, $2 \
         FROM destination d CROSS JOIN json_each($1) moved \
         WHERE d.selector IS NULL \
           OR EXISTS (SELECT 1 FROM lane l WHERE l.destination = d.id AND l.uid = moved.value) \
           OR (d.id, moved.value) IN (SELECT value ->> 0, value ->> 1 FROM json_each($3)) \
         ON CONFLICT (destination, uid) DO UPDATE SET phase = 1, due_at = excluded.due_at WHERE lane.phase = 0",
    )
    .bind(json(&uids))
    .bind(now.as_micros())
    .bind(json(&batch.chosen))
    .execute(connection)
    .await
    .map(drop)
}

async fn move_shard(connection: &mut SqliteConnection, shard: &ShardRow) -> Result<(), sqlx::Error> {
    let moved = query("UPDATE shard SET head = $3, recorded_at = $4 WHERE id = $1 AND epoch = $2")
        .bind(shard.id.get())
        .bind(shard.epoch.get())
        .bind(shard.head.get())
        .bind(shard.recorded_at.map(Timestamp::as_micros))
        .execute(connection)
        .await?;
    // The file is locked and the row was just read, so one row it is.
    if moved.rows_affected() == 1 { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
}
