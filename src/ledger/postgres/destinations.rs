//! Opening and closing destinations, with no append in between.

use sqlx::{PgPool, query, query_scalar};

use super::{clock, openings, transaction::begin_alone};
use crate::{
    domain::{DestinationId, Tables, Timestamp},
    ledger::{fault::failed, store::StoreError, types::Opening},
};

pub(super) async fn open(pool: &PgPool, tables: Tables, opening: &Opening, now: Timestamp) -> Result<bool, StoreError> {
    let failed = failed("opening a destination");
    let mut transaction = begin_alone(pool).await.map_err(failed)?;
    let now = clock(&mut transaction, now).await.map_err(failed)?;
    let new = openings::open(&mut transaction, tables, opening, now).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(new)
}

pub(super) async fn close(pool: &PgPool, destination: &DestinationId) -> Result<u64, StoreError> {
    let failed = failed("closing a destination");
    let mut transaction = begin_alone(pool).await.map_err(failed)?;
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
