//! Partitions of `transition`: made before they are needed, by whoever appends. No cron, and nobody to forget it.

use std::sync::atomic::{AtomicI64, Ordering};

use sqlx::{AssertSqlSafe, Executor, PgPool, query, query_scalar};

use crate::domain::Position;

/// Not two at once: an old leader and a new one may meet.
const ALONE: &str = "SELECT pg_advisory_xact_lock(hashtext('trueup'), hashtext('partitions'))";

/// How far the ledger may grow before the next partition must be there.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// The newest position that this process has seen.
    seen: AtomicI64,
    /// The first position that has no partition, as far as this process knows.
    end: AtomicI64,
}

impl Room {
    /// The shard's newest position is `head` now.
    pub(super) fn saw(&self, head: Position) {
        self.seen.fetch_max(head.get(), Ordering::Relaxed);
    }

    /// Makes sure that `rows` more fit, with half of a partition to spare.
    pub(super) async fn make(&self, pool: &PgPool, rows: usize) -> Result<(), sqlx::Error> {
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        let needed = self.seen.load(Ordering::Relaxed).saturating_add(rows);
        if needed < self.end.load(Ordering::Relaxed) {
            return Ok(());
        }
        let end = ensure(pool, rows).await?;
        self.end.store(end, Ordering::Relaxed);
        Ok(())
    }
}

/// Makes the partitions that the next `rows` rows of every shard and one partition's worth more will need. Answers up to
/// where there is room before this must be asked again.
async fn ensure(pool: &PgPool, rows: i64) -> Result<i64, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    transaction.execute(ALONE).await?;
    let size: i64 = query_scalar("SELECT rows FROM partitioning").fetch_one(&mut *transaction).await?;
    let head: i64 = query_scalar("SELECT coalesce(max(head), 0) FROM shard").fetch_one(&mut *transaction).await?;
    let mut end: i64 =
        query_scalar("SELECT coalesce(max(upper), 1) FROM partition").fetch_one(&mut *transaction).await?;
    while end <= head.saturating_add(rows).saturating_add(size) {
        let upper = end.saturating_add(size);
        // Made by itself and attached empty, which waits for nobody who is writing.
        let make = format!(
            "CREATE TABLE transition_from_{end} (LIKE transition INCLUDING ALL); \
             ALTER TABLE transition ATTACH PARTITION transition_from_{end} FOR VALUES FROM ({end}) TO ({upper})"
        );
        transaction.execute(sqlx::raw_sql(AssertSqlSafe(make))).await?;
        query("INSERT INTO partition (lower, upper) VALUES ($1, $2)")
            .bind(end)
            .bind(upper)
            .execute(&mut *transaction)
            .await?;
        end = upper;
    }
    transaction.commit().await?;
    Ok(end - size / 2)
}
