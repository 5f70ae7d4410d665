//! From an address to a ledger.

use std::{path::Path, sync::Arc};

use super::{
    postgres::PostgresStore,
    sqlite::SqliteStore,
    store::{Store, StoreError},
    types::Installation,
};
use crate::domain::Tables;

/// The ledger at `url`: `sqlite:PATH`, or `postgres://USER:PASSWORD@HOST/DATABASE`.
///
/// Nothing is connected or created yet, so a database that is down is found out by `migrate`, which may be tried again.
pub fn open(url: &str, tables: Tables) -> Result<Arc<dyn Store>, StoreError> {
    match Address::parse(url)? {
        Address::File(path) => Ok(Arc::new(SqliteStore::new(path, tables)?)),
        Address::Server => Ok(Arc::new(PostgresStore::new(url, tables)?)),
    }
}

/// The ledger at `url` as it is: for commands that only read, which create neither files nor tables.
///
/// It is asked whose ledger it is, so that a wrong address is found out here and not in the middle of an answer.
pub async fn open_existing(url: &str, tables: Tables) -> Result<(Arc<dyn Store>, Installation), StoreError> {
    let store: Arc<dyn Store> = match Address::parse(url)? {
        Address::File(path) => Arc::new(SqliteStore::existing(path, tables)?),
        Address::Server => Arc::new(PostgresStore::new(url, tables)?),
    };
    match store.stored_installation().await {
        Ok(Some(installation)) => Ok((store, installation)),
        Ok(None) => Err(StoreError::NoInstallation { doing: "opening the ledger" }),
        Err(StoreError::Refused { source, .. }) if is_foreign(&source) => Err(StoreError::NotALedger { source }),
        Err(error) => Err(error),
    }
}

/// What kind of database an address names.
pub(super) enum Address<'a> {
    /// SQLite's, in this file.
    File(&'a Path),
    /// PostgreSQL's.
    Server,
}

impl<'a> Address<'a> {
    pub(super) fn parse(url: &'a str) -> Result<Self, StoreError> {
        match url.split_once(':') {
            Some(("sqlite", rest)) => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path.is_empty() || path.contains(":memory:") {
                    let why = "a ledger must outlive its process, so it needs a file".to_owned();
                    return Err(StoreError::Address { why });
                }
                Ok(Self::File(Path::new(path)))
            }
            Some(("postgres" | "postgresql", _)) => Ok(Self::Server),
            // Not the rest of it: there may be a password in there.
            Some((scheme, _)) => Err(StoreError::Address { why: format!("no ledger is kept in '{scheme}:'") }),
            None => Err(StoreError::Address { why: "it names no kind of database".to_owned() }),
        }
    }
}

/// Whether the tables are missing, or the file is no database: SQLite's 1 and 26, PostgreSQL's "undefined table".
fn is_foreign(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| ["1", "26", "42P01"].contains(&code.as_ref()))
}
