//! Removing old rows, a few at a time.

use std::collections::BTreeMap;

use sqlx::{FromRow, SqlitePool, query, query_as};

use super::{BEGIN, lead::json};
use crate::{
    domain::{Position, Shard, Uid},
    ledger::{
        fault::failed,
        records::{PrunedRecord, all},
        store::StoreError,
        types::{PruneReport, PruneStep, PrunedRow},
    },
};

/// A row that is old enough, and whether anything still needs it.
#[derive(FromRow)]
struct OldRecord {
    shard: i64,
    position: i64,
    uid: String,
    sequence: i64,
    needed: bool,
}

const OLD: &str = "SELECT t.shard, t.position, t.uid, t.sequence, \
     t.sequence >= r.sequence OR t.sequence > ifnull((SELECT min(l.acked) FROM destination d \
       JOIN lane l ON l.destination = d.id AND l.uid = t.uid), t.sequence) AS needed \
     FROM transition t JOIN resource r ON r.uid = t.uid \
     WHERE (t.shard, t.position) > ($1, $2) AND t.recorded_at < $3 ORDER BY t.shard, t.position LIMIT $4";

pub(super) async fn prune(pool: &SqlitePool, step: &PruneStep) -> Result<PruneReport, StoreError> {
    let failed = failed("removing old rows");
    let mut transaction = pool.begin_with(BEGIN).await.map_err(failed)?;
    let (shard, position) = step.after.map_or((i64::MIN, 0), |(shard, position)| (shard.get(), position.get()));
    let old = query_as::<_, OldRecord>(OLD)
        .bind(shard)
        .bind(position)
        .bind(step.before.as_micros())
        .bind(i64::from(step.limit.max(1)))
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed)?;
    let next = old.last().map(|row| (Shard::new(row.shard), Position::new(row.position)));
    // Of each stream, up to where; and of each shard, up to where.
    let mut streams = BTreeMap::new();
    let mut shards = BTreeMap::new();
    for row in old.iter().filter(|row| !row.needed) {
        streams.insert(row.uid.as_str(), row.sequence);
        shards.insert(row.shard, row.position);
    }
    let mut removed = 0;
    for (uid, sequence) in streams {
        // First the mark: the table lets go of nothing that is not marked.
        query(
            "INSERT INTO pruned (uid, sequence, hash) SELECT uid, sequence, hash FROM transition \
             WHERE uid = $1 AND sequence = $2 \
             ON CONFLICT (uid) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash",
        )
        .bind(uid)
        .bind(sequence)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        // By stream, so that a row that was still needed when the walk came by goes before those behind it.
        for table in ["evidence", "transition"] {
            let delete = format!("DELETE FROM {table} WHERE uid = $1 AND sequence <= $2");
            let gone = query(sqlx::AssertSqlSafe(delete))
                .bind(uid)
                .bind(sequence)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            removed += if table == "transition" { gone.rows_affected() } else { 0 };
        }
    }
    for (shard, position) in shards {
        query(
            "INSERT INTO pruned_shard (shard, position) VALUES ($1, $2) \
             ON CONFLICT (shard) DO UPDATE SET position = max(position, excluded.position)",
        )
        .bind(shard)
        .bind(position)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)?;
    Ok(PruneReport { removed, next })
}

pub(super) async fn pruned(pool: &SqlitePool, uids: &[Uid]) -> Result<Vec<PrunedRow>, StoreError> {
    let records = query_as::<_, PrunedRecord>(
        "SELECT uid, sequence, hash FROM pruned WHERE uid IN (SELECT value FROM json_each($1))",
    )
    .bind(json(uids))
    .fetch_all(pool)
    .await
    .map_err(failed("reading what was removed"))?;
    all(records)
}
