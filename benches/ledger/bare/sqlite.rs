//! By hand on SQLite.

use std::path::Path;

use sqlx::{
    Connection, Error, QueryBuilder, SqliteConnection, query,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::{HASH, Line};

/// Rows in one statement: more of them gain nothing.
const ROWS: usize = 100;

pub async fn connect(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", "-16384")
        .pragma("wal_autocheckpoint", "4000")
        .foreign_keys(false);
    SqliteConnection::connect_with(&options).await.unwrap()
}

/// One transaction.
pub async fn batch(connection: &mut SqliteConnection, lines: &[Line<'_>], body: &[u8]) -> Result<(), Error> {
    let head = lines.last().map_or(0, |line| line.position);
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    query("UPDATE shard SET head = ?, recorded_at = ? WHERE id = 0")
        .bind(head)
        .bind(1_767_225_600_000_000_i64 + head)
        .execute(&mut *transaction)
        .await?;
    for some in lines.chunks(ROWS) {
        let mut rows = QueryBuilder::new(
            "INSERT OR ROLLBACK INTO transition (shard, position, uid, sequence, event_id, epoch, from_state, to_state, reason, \
             generation, tenant, effective_at, not_before, not_after, time_source, recorded_at, body, prev_hash, hash) ",
        );
        rows.push_values(some, |mut row, line| {
            row.push("0").push_bind(line.position).push_bind(line.uid).push_bind(line.sequence);
            row.push_bind(line.event_id.as_str()).push("1").push_bind(line.from).push_bind(line.to);
            row.push_bind(line.said.reason).push_bind(line.said.generation).push_bind(line.said.tenant);
            row.push_bind(line.at).push_bind(line.at).push_bind(line.at).push_bind(line.said.time_source);
            row.push_bind(line.at).push_bind(body).push_bind(HASH).push_bind(HASH);
        });
        rows.build().execute(&mut *transaction).await?;
        let mut heads = QueryBuilder::new(
            "WITH new (uid, state, sequence, hash, at, reason, message, tenant, generation, replicas, cpu_millicores, \
             memory_bytes, storage_bytes) AS (",
        );
        heads.push_values(some, |mut row, line| {
            row.push_bind(line.uid).push_bind(line.to).push_bind(line.sequence).push_bind(HASH).push_bind(line.at);
            row.push_bind(line.said.reason).push_bind(line.said.message).push_bind(line.said.tenant);
            row.push_bind(line.said.generation).push_bind(line.said.replicas).push_bind(line.said.cpu_millicores);
            row.push_bind(line.said.memory_bytes).push_bind(line.said.storage_bytes);
        });
        heads.push(
            ") UPDATE OR ROLLBACK resource SET state = new.state, sequence = new.sequence, hash = new.hash, epoch = 1, \
             era = 0, effective_at = new.at, recorded_at = new.at, entered_at = new.at, entered = new.sequence, \
             reason = new.reason, message = new.message, tenant = new.tenant, generation = new.generation, \
             replicas = new.replicas, cpu_millicores = new.cpu_millicores, memory_bytes = new.memory_bytes, \
             storage_bytes = new.storage_bytes FROM new WHERE resource.uid = new.uid",
        );
        heads.build().execute(&mut *transaction).await?;
        let mut lanes = QueryBuilder::new("INSERT INTO lane (destination, uid, acked, phase, due_at) ");
        lanes.push_values(some, |mut row, line| {
            row.push("'billing'").push_bind(line.uid).push("0, 1").push_bind(line.at);
        });
        lanes.push(
            " ON CONFLICT (destination, uid) DO UPDATE SET phase = 1, due_at = excluded.due_at WHERE lane.phase = 0",
        );
        lanes.build().execute(&mut *transaction).await?;
    }
    transaction.commit().await
}
