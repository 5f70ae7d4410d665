//! Partitions of `transition`: made before they are needed, by whoever appends. No cron, and nobody to forget it.

use std::sync::atomic::{AtomicI64, Ordering};

use sqlx::{AssertSqlSafe, Executor, PgConnection, PgPool, query, query_as, query_scalar};

use super::transaction::begin;
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
    let mut transaction = begin(pool).await?;
    transaction.execute(ALONE).await?;
    let size = size(&mut transaction).await?;
    let head: i64 = query_scalar("SELECT coalesce(max(head), 0) FROM shard").fetch_one(&mut *transaction).await?;
    let end = extend(&mut transaction, 1, head.saturating_add(rows).saturating_add(size)).await?;
    transaction.commit().await?;
    Ok(end - size / 2)
}

/// Makes room for rows that are being restored, up to the position `last`, in a ledger that has none yet. Answers up to
/// where there is room now.
///
/// What retention had left of older partitions stays in the one that stands before all others.
pub(in crate::ledger) async fn make_for_restored(connection: &mut PgConnection, last: i64) -> Result<i64, sqlx::Error> {
    connection.execute(ALONE).await?;
    let (first, fresh): (i64, bool) = query_as(
        "SELECT coalesce(min(coalesce(p.position, 0)), 0) + 1, NOT EXISTS (SELECT 1 FROM partition) \
         FROM shard s LEFT JOIN pruned_shard p ON p.shard = s.id",
    )
    .fetch_one(&mut *connection)
    .await?;
    if fresh && first > 1 {
        let widen = format!(
            "ALTER TABLE transition DETACH PARTITION transition_held; \
             ALTER TABLE transition ATTACH PARTITION transition_held FOR VALUES FROM (MINVALUE) TO ({first})"
        );
        connection.execute(sqlx::raw_sql(AssertSqlSafe(widen))).await?;
    }
    extend(connection, first, last).await
}

async fn size(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    query_scalar("SELECT rows FROM partitioning").fetch_one(connection).await
}

/// Makes partitions until the position `last` has one; if there are none, from `first` on. Answers the first position
/// that has none.
async fn extend(connection: &mut PgConnection, first: i64, last: i64) -> Result<i64, sqlx::Error> {
    let size = size(connection).await?;
    let mut end: i64 =
        query_scalar("SELECT coalesce(max(upper), $1) FROM partition").bind(first).fetch_one(&mut *connection).await?;
    while end <= last {
        let upper = end.saturating_add(size);
        // Made by itself and attached empty, which waits for nobody who is writing.
        let make = format!(
            "CREATE TABLE transition_from_{end} (LIKE transition INCLUDING ALL); \
             ALTER TABLE transition ATTACH PARTITION transition_from_{end} FOR VALUES FROM ({end}) TO ({upper})"
        );
        connection.execute(sqlx::raw_sql(AssertSqlSafe(make))).await?;
        query("INSERT INTO partition (lower, upper) VALUES ($1, $2)")
            .bind(end)
            .bind(upper)
            .execute(&mut *connection)
            .await?;
        end = upper;
    }
    Ok(end)
}
