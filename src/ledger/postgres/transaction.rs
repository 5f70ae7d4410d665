//! Beginning a transaction, also when whoever asked for it goes away meanwhile.

use sqlx::{PgPool, PgTransaction, query};

/// Like [`PgPool::begin`], which must not be dropped while its BEGIN is under way: the session would go back to the pool
/// inside a transaction that nobody knows of, and whatever its next users are told was written would be undone with it
/// (<https://github.com/transact-rs/sqlx/issues/4393>). So it runs in a task of its own, which lives on; a transaction that
/// nobody waits for any more is rolled back there.
pub(super) async fn begin(pool: &PgPool) -> Result<PgTransaction<'static>, sqlx::Error> {
    let pool = pool.clone();
    #[expect(clippy::disallowed_methods, reason = "this is the one place, and nobody can drop it halfway")]
    let beginning = tokio::spawn(async move { pool.begin().await });
    beginning.await.unwrap_or(Err(sqlx::Error::PoolClosed))
}

/// Begins to change what appends decide by: where events go, and the ledger's life.
///
/// Every append writes a row of `shard` first, so until this ends there is none: neither in a shard that exists
/// nor in one that is being made. What was decided before and is written after is decided anew.
pub(super) async fn begin_alone(pool: &PgPool) -> Result<PgTransaction<'static>, sqlx::Error> {
    let mut transaction = begin(pool).await?;
    query("LOCK TABLE shard IN EXCLUSIVE MODE").execute(&mut *transaction).await?;
    query("UPDATE shard SET revision = revision + 1").execute(&mut *transaction).await?;
    Ok(transaction)
}
