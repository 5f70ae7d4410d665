//! Reading PostgreSQL's tables out of one snapshot, and writing them back.

use std::str::FromStr as _;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Executor as _, PgConnection, postgres::PgConnectOptions, query, query_scalar,
};

use super::{BackupError, EachRow, TableSession};
use crate::ledger::{fault::failed, store::StoreError};

const READING: &str = "reading the ledger for a backup";
const WRITING: &str = "restoring the ledger";

pub(super) struct PostgresTables(PgConnection);

impl PostgresTables {
    /// Every statement sees what the first one saw, and holds up nobody.
    pub(super) async fn begin_reading(url: &str) -> Result<Self, StoreError> {
        Self::begin(url, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", READING).await
    }

    pub(super) async fn begin_writing(url: &str) -> Result<Self, StoreError> {
        Self::begin(url, "BEGIN", WRITING).await
    }

    async fn begin(url: &str, begin: &'static str, doing: &'static str) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url).map_err(|why| StoreError::Address { why: why.to_string() })?;
        let mut connection = options.application_name("trueup backup").connect().await.map_err(failed(doing))?;
        // A large ledger takes what it takes.
        connection.execute("SET statement_timeout = 0").await.map_err(failed(doing))?;
        connection.execute(begin).await.map_err(failed(doing))?;
        Ok(Self(connection))
    }
}

#[async_trait]
impl TableSession for PostgresTables {
    async fn version(&mut self) -> Result<i64, StoreError> {
        let sql = "SELECT max(version) FROM _sqlx_migrations";
        query_scalar(sql).fetch_one(&mut self.0).await.map_err(failed(READING))
    }

    async fn tables(&mut self) -> Result<Vec<String>, StoreError> {
        // A partition's rows are its table's.
        query_scalar(
            "SELECT relname::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace \
             AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> '_sqlx_migrations' \
             ORDER BY relname COLLATE \"C\"",
        )
        .fetch_all(&mut self.0)
        .await
        .map_err(failed(READING))
    }

    async fn read(&mut self, table: &str, each: &mut EachRow<'_>) -> Result<(), BackupError> {
        let sql = format!("SELECT row_to_json(row)::text FROM \"{table}\" AS row");
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
        let sql = format!("INSERT INTO \"{table}\" SELECT * FROM json_populate_recordset(NULL::\"{table}\", $1::json)");
        query(AssertSqlSafe(sql)).bind(rows).execute(&mut self.0).await.map(drop).map_err(failed(WRITING))
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        self.0.execute("COMMIT").await.map(drop).map_err(failed(WRITING))
    }
}
