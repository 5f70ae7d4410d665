//! Appending a batch: take the write lock, read the heads, decide, write.

use std::{collections::HashMap, sync::LazyLock};

use sqlx::{SqliteConnection, SqlitePool, query, query_as};

use super::{
    BEGIN,
    lead::json,
    multi::{Binding, Multi},
    write_one::{alone, write_one},
};
use crate::{
    domain::{Epoch, Shard, State, Tables, Timestamp, Uid},
    ledger::{
        ahead::Ahead,
        batch::{self, Batch, Standing},
        fault::{commit_failed, not_committed},
        known::{Known, Memory},
        records::{HeadRecord, StandingRecord, head_columns},
        reinstate::{self, Returned},
        store::{AppendError, StoreError},
        types::{Draft, Head, Outcome, Row, ShardRow},
    },
};

const DOING: &str = "appending to the ledger";

/// All else that a decision stands on is read under the lock each time.
const REVISION: i64 = 0;

/// Who appends, and where to.
pub(super) struct Writer<'a> {
    pub(super) pool: &'a SqlitePool,
    pub(super) known: &'a Known,
    pub(super) tables: Tables,
    pub(super) shard: Shard,
    pub(super) epoch: Epoch,
}

impl Writer<'_> {
    /// Answers what became of each draft.
    pub(super) async fn append(
        &self,
        now: Timestamp,
        drafts: &[Draft],
        ahead: Option<Ahead>,
    ) -> Result<Vec<Outcome>, AppendError> {
        let failed = not_committed(DOING);
        let decide = |memory: &Memory| batch::decide(self.tables, memory.standing(drafts), self.epoch, now, drafts);
        // By memory, where it covers everything: the file is not locked for anybody while this thinks.
        let (guess, decided) = match self.known.take(self.shard) {
            Some((memory, ticket)) if memory.covers(drafts) => {
                let decided = ahead.and_then(|ahead| ahead.behind(ticket)).or_else(|| decide(&memory).ok());
                (Some(memory), decided)
            }
            guess => (guess.map(|(memory, _)| memory), None),
        };
        let mut transaction = self.pool.begin_with(BEGIN).await.map_err(failed)?;
        let stands = standing(&mut transaction, self.shard).await?;
        let (mut memory, batch) = match (guess, decided) {
            (Some(memory), Some(batch)) if memory.holds(&stands) => (memory, batch),
            (guess, _) => {
                let memory = with_heads(&mut transaction, stands, batch::uids(drafts), guess).await?;
                let batch = decide(&memory)?;
                (memory, batch)
            }
        };
        memory.advance(&batch);
        let ticket = self.known.promise(memory);
        if !batch.rows.is_empty() {
            write(&mut transaction, &batch, now).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(commit_failed(DOING))?;
        self.known.keep(self.shard, ticket);
        Ok(batch.outcomes)
    }
}

/// The same for rows that come back. It is rare, so nothing is decided by memory.
pub(super) async fn reinstate(
    pool: &SqlitePool,
    tables: Tables,
    shard: Shard,
    epoch: Epoch,
    now: Timestamp,
    returned: &[Returned],
) -> Result<Vec<Outcome>, AppendError> {
    let failed = not_committed(DOING);
    let mut transaction = pool.begin_with(BEGIN).await.map_err(failed)?;
    let stands = standing(&mut transaction, shard).await?;
    let read = with_heads(&mut transaction, stands, reinstate::uids(returned), None).await?;
    let batch = reinstate::decide(tables, read.into_standing(), epoch, returned)?;
    if !batch.rows.is_empty() {
        write(&mut transaction, &batch, now).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(commit_failed(DOING))?;
    Ok(batch.outcomes)
}

/// How the shard stands, without heads.
async fn standing(connection: &mut SqliteConnection, shard: Shard) -> Result<Standing, AppendError> {
    let record = query_as::<_, StandingRecord>(
        "SELECT $1 AS shard_id, coalesce(s.epoch, 0) AS shard_epoch, s.holder, coalesce(s.head, 0) AS head, \
           0 AS revision, s.recorded_at AS shard_recorded_at, i.id AS installation_id, i.cluster_uid, \
           i.era AS installation_era, (SELECT json_group_array(json_array(id, selector)) FROM destination \
             WHERE selector IS NOT NULL) AS selectors \
         FROM installation i LEFT JOIN shard s ON s.id = $1",
    )
    .bind(shard.get())
    .fetch_optional(connection)
    .await
    .map_err(not_committed(DOING))?
    .ok_or(AppendError::NotCommitted(StoreError::NoInstallation { doing: DOING }))?;
    let selectors = record.selectors().map_err(AppendError::NotCommitted)?;
    let (shard, installation) = record.into();
    Ok(Standing { shard, installation, heads: HashMap::new(), selectors })
}

/// What was read and the heads of `uids`, as far as they are not `known` already.
async fn with_heads(
    connection: &mut SqliteConnection,
    mut stands: Standing,
    mut uids: Vec<Uid>,
    known: Option<Memory>,
) -> Result<Memory, AppendError> {
    let known = known.filter(|memory| memory.is_at(&stands.shard, REVISION));
    uids.retain(|uid| !known.as_ref().is_some_and(|memory| memory.knows(uid)));
    stands.heads = heads(connection, &uids).await?;
    let read = Memory::new(stands, REVISION);
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
    if let Some((row, head)) = alone(batch) {
        return write_one(connection, &batch.shard, row, head, now).await;
    }
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
    INSERT.run(connection, rows, bind_row).await
}

/// Binds what a row holds, in the order of the columns of every statement that inserts one.
pub(super) fn bind_row(query: Binding, row: &Row) -> Binding {
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
