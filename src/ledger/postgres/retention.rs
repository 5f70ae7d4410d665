//! Dropping old partitions, with what is still needed of them moved aside first.
//!
//! The rows that stay go into a table of their own, which takes the dropped partition's place: whoever reads
//! `transition` finds them where they always were.

use sqlx::{AssertSqlSafe, Executor, PgConnection, PgPool, query, query_as, query_scalar};

use super::transaction::begin;
use crate::{
    domain::{Position, Shard, Timestamp, Uid},
    ledger::{
        fault::failed,
        records::{PrunedRecord, all},
        store::StoreError,
        types::{PruneReport, PruneStep, PrunedRow},
    },
};

/// Not two at once. Whoever makes new partitions does not wait for this.
const ALONE: &str = "SELECT pg_advisory_xact_lock(hashtext('trueup'), hashtext('retention'))";

/// The oldest partition, if all its rows in all shards are there and the last of them was recorded before $1.
const OLDEST: &str = "SELECT p.lower, p.upper FROM partition p \
     WHERE p.lower = (SELECT min(lower) FROM partition) \
     AND NOT EXISTS (SELECT 1 FROM shard s WHERE s.head < p.upper - 1) \
     AND NOT EXISTS (SELECT 1 FROM shard s JOIN transition t ON t.shard = s.id AND t.position = p.upper - 1 \
       WHERE t.recorded_at >= $1) \
     AND EXISTS (SELECT 1 FROM shard)";

/// What is kept of two tables of rows: each stream's newest row, and what some lane has not behind it.
///
/// Both can only become fewer while this runs. (A lane that goes back, or a new one, finds a snapshot in their place.)
fn keep(oldest: &str) -> String {
    format!(
        "CREATE TABLE transition_kept (LIKE transition INCLUDING ALL); \
         INSERT INTO transition_kept SELECT t.* FROM \
           (SELECT * FROM transition_held UNION ALL SELECT * FROM {oldest}) t JOIN resource r ON r.uid = t.uid \
           LEFT JOIN (SELECT uid, min(acked) AS acked FROM lane GROUP BY uid) l ON l.uid = t.uid \
         WHERE t.sequence >= r.sequence OR t.sequence > coalesce(l.acked, t.sequence)"
    )
}

/// Notes of each stream the newest row that is not kept.
fn mark(oldest: &str) -> String {
    format!(
        "INSERT INTO pruned (uid, sequence, hash) SELECT DISTINCT ON (t.uid) t.uid, t.sequence, t.hash FROM \
           (SELECT uid, sequence, hash FROM transition_held UNION ALL SELECT uid, sequence, hash FROM {oldest}) t \
         WHERE NOT EXISTS (SELECT 1 FROM transition_kept k WHERE k.uid = t.uid AND k.sequence = t.sequence) \
         ORDER BY t.uid, t.sequence DESC \
         ON CONFLICT (uid) DO UPDATE SET sequence = EXCLUDED.sequence, hash = EXCLUDED.hash; \
         DELETE FROM evidence e USING pruned p WHERE e.uid = p.uid AND e.sequence <= p.sequence"
    )
}

/// Puts the kept rows where the dropped ones were. The check spares a scan under the lock, and whoever cannot have the lock
/// soon gives up until the next time, since appends queue behind it.
fn exchange(oldest: &str, upper: i64) -> String {
    format!(
        "SET LOCAL lock_timeout = '1s'; \
         ALTER TABLE transition_kept ADD CHECK (position < {upper}); \
         ALTER TABLE transition DETACH PARTITION transition_held; \
         ALTER TABLE transition DETACH PARTITION {oldest}; \
         DROP TABLE transition_held; DROP TABLE {oldest}; \
         ALTER TABLE transition_kept RENAME TO transition_held; \
         ALTER TABLE transition ATTACH PARTITION transition_held FOR VALUES FROM (MINVALUE) TO ({upper})"
    )
}

pub(super) async fn prune(pool: &PgPool, step: &PruneStep) -> Result<PruneReport, StoreError> {
    let failed = failed("removing old rows");
    let mut transaction = begin(pool).await.map_err(failed)?;
    let report = prune_oldest(&mut transaction, step.before).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(report)
}

async fn prune_oldest(connection: &mut PgConnection, before: Timestamp) -> Result<PruneReport, sqlx::Error> {
    connection.execute(ALONE).await?;
    let oldest: Option<(i64, i64)> = query_as(OLDEST).bind(before.as_micros()).fetch_optional(&mut *connection).await?;
    let Some((lower, upper)) = oldest else { return Ok(PruneReport::default()) };
    let table = format!("transition_from_{lower}");
    if has_younger(connection, &table, before).await? {
        return Ok(PruneReport::default());
    }
    let all = count(connection, "transition_held").await? + count(connection, &table).await?;
    for statements in [keep(&table), mark(&table)] {
        connection.execute(sqlx::raw_sql(AssertSqlSafe(statements))).await?;
    }
    let kept = count(connection, "transition_kept").await?;
    // From here on writers wait; before it, nobody did.
    connection.execute(sqlx::raw_sql(AssertSqlSafe(exchange(&table, upper)))).await?;
    query("DELETE FROM partition WHERE lower = $1").bind(lower).execute(&mut *connection).await?;
    query(
        "INSERT INTO pruned_shard (shard, position) SELECT id, $1 FROM shard \
         ON CONFLICT (shard) DO UPDATE SET position = EXCLUDED.position",
    )
    .bind(upper - 1)
    .execute(connection)
    .await?;
    // Where the next step goes on is known here, not to the caller; that there may be one is what counts.
    let next = Some((Shard::default(), Position::new(upper - 1)));
    Ok(PruneReport { removed: u64::try_from(all - kept).unwrap_or(0), next })
}

/// Rows that were lost and fetched back stand behind younger ones, so the last row does not speak for all.
async fn has_younger(connection: &mut PgConnection, table: &str, before: Timestamp) -> Result<bool, sqlx::Error> {
    let sql = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE recorded_at >= $1)");
    query_scalar(AssertSqlSafe(sql)).bind(before.as_micros()).fetch_one(connection).await
}

async fn count(connection: &mut PgConnection, table: &str) -> Result<i64, sqlx::Error> {
    query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {table}"))).fetch_one(connection).await
}

pub(super) async fn pruned(pool: &PgPool, uids: &[Uid]) -> Result<Vec<PrunedRow>, StoreError> {
    let records = query_as::<_, PrunedRecord>("SELECT uid, sequence, hash FROM pruned WHERE uid = ANY ($1)")
        .bind(uids.iter().map(Uid::as_str).collect::<Vec<_>>())
        .fetch_all(pool)
        .await
        .map_err(failed("reading what was removed"))?;
    all(records)
}
