//! Opening and closing destinations, with no append in between.

use sqlx::{PgPool, Postgres, Transaction, query, query_scalar};

use super::server_now;
use crate::{
    domain::{DestinationId, Timestamp},
    ledger::{fault::failed, store::StoreError},
};

/// Every append writes a row of `shard` first, so while this is held there is none: neither in a shard that exists
/// nor in one that is being made. What was decided before and is written after is decided anew.
async fn lock_all_shards(pool: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    query("LOCK TABLE shard IN EXCLUSIVE MODE").execute(&mut *transaction).await?;
    query("UPDATE shard SET revision = revision + 1").execute(&mut *transaction).await?;
    Ok(transaction)
}

pub(super) async fn open(pool: &PgPool, destination: &DestinationId, now: Timestamp) -> Result<bool, StoreError> {
    let failed = failed("opening a destination");
    let mut transaction = lock_all_shards(pool).await.map_err(failed)?;
    let new = query("INSERT INTO destination (id, opened_at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(destination.as_str())
        .bind(now.as_micros())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    query(concat!(
        "INSERT INTO lane (destination, uid, acked, phase, due_at) SELECT $1, uid, 0, 1, ",
        server_now!(),
        " FROM resource ORDER BY uid ON CONFLICT DO NOTHING"
    ))
    .bind(destination.as_str())
    .execute(&mut *transaction)
    .await
    .map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(new.rows_affected() == 1)
}

pub(super) async fn close(pool: &PgPool, destination: &DestinationId) -> Result<u64, StoreError> {
    let failed = failed("closing a destination");
    let mut transaction = lock_all_shards(pool).await.map_err(failed)?;
    // In the order in which everybody locks them; a DELETE by itself takes them as they lie.
    query("SELECT 1 FROM lane WHERE destination = $1 ORDER BY uid FOR UPDATE")
        .bind(destination.as_str())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    let owing: i64 = query_scalar(
        "WITH gone AS (DELETE FROM lane WHERE destination = $1 RETURNING uid, acked), \
         closed AS (DELETE FROM destination WHERE id = $1) \
         SELECT count(*) FROM gone JOIN resource USING (uid) WHERE gone.acked < resource.sequence",
    )
    .bind(destination.as_str())
    .fetch_one(&mut *transaction)
    .await
    .map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(u64::try_from(owing).unwrap_or(0))
}
