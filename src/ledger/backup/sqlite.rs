//! Reading SQLite's tables out of one snapshot, and writing them back.

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use futures::TryStreamExt as _;
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, SqliteConnection, query, query_as, query_scalar,
    sqlite::{SqliteConnectOptions, SqliteLockingMode, SqliteSynchronous},
};

use super::{BackupError, EachRow, TableSession};
use crate::ledger::{fault::failed, store::StoreError};

const READING: &str = "reading the ledger for a backup";
const WRITING: &str = "restoring the ledger";

/// How long to wait for whoever is writing.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct SqliteTables(SqliteConnection);

impl SqliteTables {
    /// What readers of the log see does not change, and writers go on beside them.
    pub(super) async fn begin_reading(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        Self::begin(options, "BEGIN", READING).await
    }

    pub(super) async fn begin_writing(path: &Path) -> Result<Self, StoreError> {
        Self::begin(SqliteConnectOptions::new().filename(path), "BEGIN IMMEDIATE", WRITING).await
    }

    /// For a database that is thrown away: nothing has to survive.
    pub(super) async fn begin_scratch(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new().filename(path).synchronous(SqliteSynchronous::Off);
        Self::begin(options, "BEGIN IMMEDIATE", WRITING).await
    }

    /// Whether another process has the file open: whoever uses a write-ahead log holds a lock for as long.
    pub(super) async fn is_in_use(path: &Path) -> Result<bool, StoreError> {
        let options = SqliteConnectOptions::new().filename(path).locking_mode(SqliteLockingMode::Exclusive);
        let failed = failed("asking who uses the ledger");
        let asked = async {
            let mut connection = SqliteConnection::connect_with(&options.busy_timeout(Duration::ZERO)).await?;
            connection.execute("BEGIN EXCLUSIVE; ROLLBACK").await?;
            connection.close().await
        };
        match asked.await {
            Ok(()) => Ok(false),
            Err(error) if is_busy(&error) => Ok(true),
            Err(error) => Err(failed(error)),
        }
    }

    async fn begin(
        options: SqliteConnectOptions,
        begin: &'static str,
        doing: &'static str,
    ) -> Result<Self, StoreError> {
        let options = options.foreign_keys(false).busy_timeout(PATIENCE);
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(failed(doing))?;
        connection.execute(begin).await.map_err(failed(doing))?;
        Ok(Self(connection))
    }

    /// The columns of `table`, and whether each holds bytes.
    async fn columns(&mut self, table: &str) -> Result<Vec<(String, bool)>, StoreError> {
        let columns: Vec<(String, String)> = query_as("SELECT name, type FROM pragma_table_info($1)")
            .bind(table)
            .fetch_all(&mut self.0)
            .await
            .map_err(failed(READING))?;
        Ok(columns.into_iter().map(|(name, type_name)| (name, type_name == "BLOB")).collect())
    }
}

/// SQLite's codes 5 and 6 in all their variants: somebody else has a lock.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.and_then(|code| code.parse::<i64>().ok()).is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

#[async_trait]
impl TableSession for SqliteTables {
    async fn version(&mut self) -> Result<i64, StoreError> {
        let sql = "SELECT max(version) FROM _sqlx_migrations";
        query_scalar(sql).fetch_one(&mut self.0).await.map_err(failed(READING))
    }

    async fn tables(&mut self) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name";
        query_scalar(sql).fetch_all(&mut self.0).await.map_err(failed(READING))
    }

    async fn read(&mut self, table: &str, each: &mut EachRow<'_>) -> Result<(), BackupError> {
        let pairs: Vec<String> = (self.columns(table).await?.iter())
            .map(|(name, bytes)| {
                let hex = || format!("iif(\"{name}\" IS NULL, NULL, '\\x' || lower(hex(\"{name}\")))");
                format!("'{name}', {}", if *bytes { hex() } else { format!("\"{name}\"") })
            })
            .collect();
        let sql = format!("SELECT json_object({}) FROM \"{table}\"", pairs.join(", "));
        let mut rows = query_scalar::<_, String>(AssertSqlSafe(sql)).fetch(&mut self.0);
        while let Some(row) = rows.try_next().await.map_err(failed(READING))? {
            each(&row)?;
        }
        Ok(())
    }

    async fn is_empty(&mut self, table: &str) -> Result<bool, StoreError> {
        let sql = format!("SELECT NOT EXISTS (SELECT 1 FROM \"{table}\")");
        query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.0).await.map_err(failed(WRITING))
    }

    async fn write(&mut self, table: &str, rows: &str) -> Result<(), StoreError> {
        let columns = self.columns(table).await?;
        let (names, values): (Vec<_>, Vec<_>) = (columns.iter())
            .map(|(name, bytes)| {
                let value = format!("value ->> '$.{name}'");
                (format!("\"{name}\""), if *bytes { format!("unhex(substr({value}, 3))") } else { value })
            })
            .unzip();
        let (names, values) = (names.join(", "), values.join(", "));
        let sql = format!("INSERT INTO \"{table}\" ({names}) SELECT {values} FROM json_each($1)");
        query(AssertSqlSafe(sql)).bind(rows).execute(&mut self.0).await.map(drop).map_err(failed(WRITING))
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        self.0.execute("COMMIT").await.map(drop).map_err(failed(WRITING))
    }
}
