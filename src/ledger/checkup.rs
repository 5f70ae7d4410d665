//! What a database says of itself that matters to a ledger: for `trueup doctor`, which judges it.

use std::{path::Path, str::FromStr as _, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, SqliteConnection, postgres::PgConnectOptions, query_as,
    query_scalar, sqlite::SqliteConnectOptions,
};

use super::{fault::failed, open::Address, postgres, sqlite, store::StoreError};
use crate::domain::Timestamp;

const DOING: &str = "checking the ledger's database";
/// How long a database may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkup {
    /// `SQLite 3.50` or `PostgreSQL 17.2`.
    pub server: String,
    /// The newest migration that was applied; `None` if none was.
    pub migration: Option<i64>,
    /// The newest that this program knows.
    pub known_migration: i64,
    /// Settings that decide whether what was committed survives a crash, each with what it is and what it should be.
    pub settings: Vec<Setting>,
    /// What its clock says, if it has one of its own.
    pub clock: Option<Timestamp>,
}

/// A setting that durability depends on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub value: String,
    /// What it may be.
    pub safe: &'static [&'static str],
}

impl Setting {
    /// Whether what was committed survives a crash.
    pub fn is_safe(&self) -> bool {
        self.safe.contains(&self.value.as_str())
    }
}

/// Asks the database at `url`. Changes nothing, and makes no file.
pub async fn checkup(url: &str) -> Result<Checkup, StoreError> {
    let asked = async {
        match Address::parse(url)? {
            Address::File(path) => of_sqlite(path).await,
            Address::Server => of_postgres(url).await,
        }
    };
    let late = || StoreError::Unavailable { doing: DOING, source: sqlx::Error::PoolTimedOut };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(late()))
}

async fn of_postgres(url: &str) -> Result<Checkup, StoreError> {
    let failed = failed(DOING);
    let options = PgConnectOptions::from_str(url).map_err(|why| StoreError::Address { why: why.to_string() })?;
    let mut connection: PgConnection = options.application_name("trueup doctor").connect().await.map_err(failed)?;
    let sql = "SELECT split_part(current_setting('server_version'), ' ', 1), current_setting('synchronous_commit'), \
               current_setting('fsync'), current_setting('full_page_writes'), \
               (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let (version, synchronous, fsync, pages, clock): (String, String, String, String, i64) =
        query_as(sql).fetch_one(&mut connection).await.map_err(failed)?;
    let made: bool = query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
    let migration = if made {
        query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(&mut connection).await.map_err(failed)?
    } else {
        None
    };
    connection.close().await.map_err(failed)?;
    Ok(Checkup {
        server: format!("PostgreSQL {version}"),
        migration,
        known_migration: postgres::newest_migration(),
        settings: vec![
            Setting { name: "synchronous_commit", value: synchronous, safe: &["on", "remote_write", "remote_apply"] },
            Setting { name: "fsync", value: fsync, safe: &["on"] },
            Setting { name: "full_page_writes", value: pages, safe: &["on"] },
        ],
        clock: Some(Timestamp::from_micros(clock)),
    })
}

async fn of_sqlite(path: &Path) -> Result<Checkup, StoreError> {
    let failed = failed(DOING);
    if !path.exists() {
        return Err(StoreError::Missing { path: path.to_owned() });
    }
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(failed)?;
    let version: String = query_scalar("SELECT sqlite_version()").fetch_one(&mut connection).await.map_err(failed)?;
    let journal: String = query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await.map_err(failed)?;
    let made: Option<i64> = query_scalar("SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations'")
        .fetch_optional(&mut connection)
        .await
        .map_err(failed)?;
    let migration = match made {
        Some(_) => query_scalar("SELECT max(version) FROM _sqlx_migrations")
            .fetch_one(&mut connection)
            .await
            .map_err(failed)?,
        None => None,
    };
    connection.close().await.map_err(failed)?;
    Ok(Checkup {
        server: format!("SQLite {version}"),
        migration,
        known_migration: sqlite::newest_migration(),
        // What a connection syncs, it says itself; every one of Trueup's does.
        settings: vec![Setting { name: "journal_mode", value: journal, safe: &["wal"] }],
        clock: None,
    })
}
