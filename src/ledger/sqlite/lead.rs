//! Whose ledger it is, who may write, and where events go.

use serde::Serialize;
use sqlx::{SqlitePool, query, query_scalar};

use super::{BEGIN, openings, whose};
use crate::{
    domain::{DestinationId, Epoch, Shard, Tables, Timestamp},
    ledger::{
        fault::{commit_failed, failed, not_committed},
        store::{AppendError, StoreError},
        types::{Installation, Opening},
    },
};

/// A list as one parameter, for `json_each`.
pub(super) fn json(list: &(impl Serialize + ?Sized)) -> String {
    // Lists of texts and numbers always can be written as JSON.
    serde_json::to_string(list).unwrap_or_default()
}

pub(super) async fn replace_installation(
    pool: &SqlitePool,
    shard: Shard,
    mine: Epoch,
    installation: &Installation,
) -> Result<(), AppendError> {
    const DOING: &str = "recording whose ledger this is from now on";
    let failed = not_committed(DOING);
    let mut transaction = pool.begin_with(BEGIN).await.map_err(failed)?;
    let current = whose::replace(&mut transaction, shard, mine, installation).await.map_err(failed)?;
    if current != mine {
        return Err(AppendError::Fenced { shard, mine, current });
    }
    transaction.commit().await.map_err(commit_failed(DOING))
}

pub(super) async fn take_over(pool: &SqlitePool, shard: Shard, holder: &str) -> Result<Epoch, StoreError> {
    let failed = failed("taking over a shard");
    let mut transaction = pool.begin_with(BEGIN).await.map_err(failed)?;
    let epoch: i64 = query_scalar(
        "INSERT INTO shard (id, epoch, holder) VALUES ($1, 1, $2) \
         ON CONFLICT (id) DO UPDATE SET epoch = shard.epoch + 1, holder = excluded.holder RETURNING epoch",
    )
    .bind(shard.get())
    .bind(holder)
    .fetch_one(&mut *transaction)
    .await
    .map_err(failed)?;
    query("UPDATE lane SET due_at = 0 WHERE phase = 3 AND uid IN (SELECT uid FROM resource WHERE shard = $1)")
        .bind(shard.get())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(Epoch::new(epoch))
}

pub(super) async fn open(
    pool: &SqlitePool,
    tables: Tables,
    opening: &Opening,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let failed = failed("opening a destination");
    let mut transaction = pool.begin_with(BEGIN).await.map_err(failed)?;
    let new = openings::open(&mut transaction, tables, opening, now).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(new)
}

pub(super) async fn close_destination(pool: &SqlitePool, destination: &DestinationId) -> Result<u64, StoreError> {
    let failed = failed("closing a destination");
    let mut transaction = pool.begin_with(BEGIN).await.map_err(failed)?;
    let owing: i64 =
        query_scalar("SELECT count(*) FROM lane JOIN resource USING (uid) WHERE destination = $1 AND acked < sequence")
            .bind(destination.as_str())
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
    for sql in ["DELETE FROM lane WHERE destination = $1", "DELETE FROM destination WHERE id = $1"] {
        query(sql).bind(destination.as_str()).execute(&mut *transaction).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)?;
    Ok(u64::try_from(owing).unwrap_or(0))
}
