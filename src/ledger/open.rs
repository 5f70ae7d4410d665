//! From an address to a ledger.

use std::{path::Path, sync::Arc};

use super::{
    postgres::PostgresStore,
    sqlite::SqliteStore,
    store::{Store, StoreError},
};
use crate::domain::Tables;

/// The ledger at `url`: `sqlite:PATH`, or `postgres://USER:PASSWORD@HOST/DATABASE`.
///
/// Nothing is connected or created yet, so a database that is down is found out by `migrate`, which may be tried again.
pub fn open(url: &str, tables: Tables) -> Result<Arc<dyn Store>, StoreError> {
    match url.split_once(':') {
        Some(("sqlite", rest)) => {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.is_empty() || path.contains(":memory:") {
                let why = "a ledger must outlive its process, so it needs a file".to_owned();
                return Err(StoreError::Address { why });
            }
            Ok(Arc::new(SqliteStore::new(Path::new(path), tables)?))
        }
        Some(("postgres" | "postgresql", _)) => Ok(Arc::new(PostgresStore::new(url, tables)?)),
        // Not the rest of it: there may be a password in there.
        Some((scheme, _)) => Err(StoreError::Address { why: format!("no ledger is kept in '{scheme}:'") }),
        None => Err(StoreError::Address { why: "it names no kind of database".to_owned() }),
    }
}
