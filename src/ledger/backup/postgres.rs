//! Reading PostgreSQL's tables out of one snapshot, and writing them back.

use std::str::FromStr as _;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, postgres::PgConnectOptions,
    query, query_as, query_scalar,
};

use super::{BackupError, EachRow, TableSession};
use crate::ledger::{fault::failed, postgres::make_for_restored, store::StoreError};

const READING: &str = "reading the ledger for a backup";
const WRITING: &str = "restoring the ledger";

/// The last position of a stream of which none was said. It is behind all others, so that no row is missed meanwhile.
const UNKNOWN: i64 = i64::MAX;

pub(super) struct PostgresTables {
    connection: PgConnection,
    /// The first position that has no partition yet, once rows were written back.
    room: i64,
}

impl PostgresTables {
    /// Every statement sees what the first one saw, and holds up nobody.
    pub(super) async fn begin_reading(url: &str) -> Result<Self, StoreError> {
        Self::begin(url, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", READING).await
    }

    pub(super) async fn begin_writing(url: &str) -> Result<Self, StoreError> {
        Self::begin(url, "BEGIN", WRITING).await
    }

    /// Whether another process of Trueup is connected to the ledger.
    pub(super) async fn is_in_use(url: &str) -> Result<bool, StoreError> {
        let failed = failed("asking who uses the ledger");
        let options = PgConnectOptions::from_str(url).map_err(|why| StoreError::Address { why: why.to_string() })?;
        let mut connection = options.application_name("trueup asks").connect().await.map_err(failed)?;
        let sql = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() \
             AND pid <> pg_backend_pid() AND application_name LIKE 'trueup%')";
        let used = query_scalar(sql).fetch_one(&mut connection).await.map_err(failed)?;
        connection.close().await.map_err(failed)?;
        Ok(used)
    }

    async fn begin(url: &str, begin: &'static str, doing: &'static str) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url).map_err(|why| StoreError::Address { why: why.to_string() })?;
        let mut connection = options.application_name("trueup backup").connect().await.map_err(failed(doing))?;
        // A large ledger takes what it takes.
        connection.execute("SET statement_timeout = 0").await.map_err(failed(doing))?;
        connection.execute(begin).await.map_err(failed(doing))?;
        Ok(Self { connection, room: 0 })
    }

    /// The columns of `table`, each with what is written into it.
    async fn columns(&mut self, table: &str) -> Result<Vec<(String, String)>, sqlx::Error> {
        let sql = "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 \
             AND NOT attisdropped ORDER BY attnum";
        let columns: Vec<String> =
            query_scalar(sql).bind(format!("\"{table}\"")).fetch_all(&mut self.connection).await?;
        let written = |column: String| {
            let column = format!("\"{column}\"");
            let value = match (table, column.as_str()) {
                // SQLite has none. And what anybody read here before, in a ledger that is gone, holds no longer.
                ("shard", "\"revision\"") => "coalesce(\"revision\", 0) + 1".to_owned(),
                // Nor these: nothing is known of where the rows lie. Of streams it is found out in the end.
                ("lane", "\"from_position\"") => "coalesce(\"from_position\", 0)".to_owned(),
                ("resource", "\"first_position\"") => "coalesce(\"first_position\", 0)".to_owned(),
                ("resource", "\"last_position\"") => format!("coalesce(\"last_position\", {UNKNOWN})"),
                _ => column.clone(),
            };
            (column, value)
        };
        Ok(columns.into_iter().map(written).collect())
    }

    /// Makes the partitions that `rows` of the ledger need.
    async fn make_room(&mut self, rows: &str) -> Result<(), sqlx::Error> {
        let last: i64 =
            query_scalar("SELECT coalesce(max((value ->> 'position')::bigint), 0) FROM json_array_elements($1::json)")
                .bind(rows)
                .fetch_one(&mut self.connection)
                .await?;
        if last >= self.room {
            self.room = make_for_restored(&mut self.connection, last).await?;
        }
        Ok(())
    }

    /// Finds out where the rows of those streams lie of which that was not said.
    async fn locate(&mut self) -> Result<(), sqlx::Error> {
        let sql = "UPDATE resource SET first_position = found.first, last_position = found.last \
             FROM (SELECT uid, min(position) AS first, max(position) AS last FROM transition GROUP BY uid) AS found \
             WHERE found.uid = resource.uid AND resource.last_position = $1";
        query(sql).bind(UNKNOWN).execute(&mut self.connection).await.map(drop)
    }

    /// Lets the numbers that the server gives go on behind those that were restored.
    async fn go_on_counting(&mut self) -> Result<(), sqlx::Error> {
        let counted: Vec<(String, String)> = query_as(
            "SELECT c.relname::text, a.attname::text FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
             WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND a.attidentity <> ''",
        )
        .fetch_all(&mut self.connection)
        .await?;
        for (table, column) in counted {
            let sql = format!(
                "SELECT setval(pg_get_serial_sequence('\"{table}\"', '{column}'), coalesce(max(\"{column}\"), 0) + 1, false) \
                 FROM \"{table}\""
            );
            self.connection.execute(AssertSqlSafe(sql)).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl TableSession for PostgresTables {
    async fn version(&mut self) -> Result<i64, StoreError> {
        let sql = "SELECT max(version) FROM _sqlx_migrations";
        query_scalar(sql).fetch_one(&mut self.connection).await.map_err(failed(READING))
    }

    async fn tables(&mut self) -> Result<Vec<String>, StoreError> {
        // A partition's rows are its table's.
        query_scalar(
            "SELECT relname::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace \
             AND relkind IN ('r', 'p') AND NOT relispartition \
             ORDER BY relname COLLATE \"C\"",
        )
        .fetch_all(&mut self.connection)
        .await
        .map_err(failed(READING))
    }

    async fn read(&mut self, table: &str, each: &mut EachRow<'_>) -> Result<(), BackupError> {
        let sql = format!("SELECT row_to_json(row)::text FROM \"{table}\" AS row");
        let mut rows = query_scalar::<_, String>(AssertSqlSafe(sql)).fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await.map_err(failed(READING))? {
            each(&row)?;
        }
        Ok(())
    }

    async fn is_empty(&mut self, table: &str) -> Result<bool, StoreError> {
        let sql = format!("SELECT NOT EXISTS (SELECT 1 FROM \"{table}\")");
        query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.connection).await.map_err(failed(WRITING))
    }

    async fn write(&mut self, table: &str, rows: &str) -> Result<(), StoreError> {
        let failed = failed(WRITING);
        if table == "transition" {
            self.make_room(rows).await.map_err(failed)?;
        }
        let (names, values): (Vec<_>, Vec<_>) = self.columns(table).await.map_err(failed)?.into_iter().unzip();
        let (names, values) = (names.join(", "), values.join(", "));
        let sql = format!(
            "INSERT INTO \"{table}\" ({names}) OVERRIDING SYSTEM VALUE \
             SELECT {values} FROM json_populate_recordset(NULL::\"{table}\", $1::json)"
        );
        query(AssertSqlSafe(sql)).bind(rows).execute(&mut self.connection).await.map(drop).map_err(failed)
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        self.go_on_counting().await.map_err(failed(WRITING))?;
        self.locate().await.map_err(failed(WRITING))?;
        self.connection.execute("COMMIT").await.map(drop).map_err(failed(WRITING))
    }
}
