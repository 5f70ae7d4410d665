//! What a driver's error means for whoever asked.

use sqlx::{
    Error,
    error::DatabaseError,
    postgres::{PgDatabaseError, PgSeverity},
};

use super::store::{AppendError, StoreError};

/// What `error`, met while `doing`, means.
pub(super) fn failed(doing: &'static str) -> impl Fn(Error) -> StoreError + Copy {
    move |source| match &source {
        Error::ColumnDecode { .. } | Error::Decode(_) | Error::ColumnNotFound(_) | Error::RowNotFound => {
            StoreError::Corrupt { doing, what: source.to_string() }
        }
        _ if is_transient(&source) => StoreError::Unavailable { doing, source },
        _ => StoreError::Refused { doing, source },
    }
}

/// The same before a commit was sent: for certain nothing was written.
pub(super) fn not_committed(doing: &'static str) -> impl Fn(Error) -> AppendError + Copy {
    move |source| AppendError::NotCommitted(failed(doing)(source))
}

/// The same for the commit itself, or a statement that is its own transaction: unless the database said that it rolled
/// back, it may have committed.
pub(super) fn commit_failed(doing: &'static str) -> impl Fn(Error) -> AppendError + Copy {
    move |source| {
        if rolled_back(&source) {
            AppendError::NotCommitted(failed(doing)(source))
        } else {
            AppendError::Unknown(failed(doing)(source))
        }
    }
}

/// Whether PostgreSQL lets nobody in: no such account, a wrong password, an account that may not connect, no such database.
pub(super) fn shuts_out(error: &Error) -> bool {
    let Error::Database(error) = error else { return false };
    sqlstate(error.as_ref()).is_some_and(|state| state.starts_with("28") || state == "3D000")
}

fn rolled_back(error: &Error) -> bool {
    let Error::Database(error) = error else { return false };
    match error.try_downcast_ref::<PgDatabaseError>() {
        // A server that is shut down or told to end the session can commit first and say so second, and a pooler may
        // lose the server in between. Any other error means that it rolled back.
        Some(error) => {
            matches!(error.severity(), PgSeverity::Error)
                && !["08", "57P"].iter().any(|class| error.code().starts_with(class))
        }
        // SQLITE_BUSY and SQLITE_CONSTRAINT leave the transaction open, to be rolled back.
        None => matches!(sqlite_code(error.as_ref()), Some(5 | 19)),
    }
}

fn is_transient(error: &Error) -> bool {
    match error {
        Error::Io(_)
        | Error::Tls(_)
        | Error::Protocol(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed
        | Error::BeginFailed => true,
        Error::Database(error) => match sqlstate(error.as_ref()) {
            // Connection, resources, operator's intervention (shutdown, statement timeout), rollback, lock timeout,
            // idle in transaction, I/O error; and a server that is only read from for now, as during a failover.
            Some(state) => {
                ["08", "53", "57", "40"].iter().any(|class| state.starts_with(class))
                    || ["55P03", "25P03", "58030", "25006"].contains(&state)
            }
            // Busy, locked, I/O error, disk full, cannot open.
            None => matches!(sqlite_code(error.as_ref()), Some(5 | 6 | 10 | 13 | 14)),
        },
        Error::Migrate(error) => match error.as_ref() {
            sqlx::migrate::MigrateError::Execute(error) => is_transient(error),
            _ => false,
        },
        _ => false,
    }
}

/// The five-character code of the SQL standard, if this is PostgreSQL's error.
fn sqlstate(error: &dyn DatabaseError) -> Option<&str> {
    error.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::code)
}

/// SQLite's primary result code, whatever the extended one says.
fn sqlite_code(error: &dyn DatabaseError) -> Option<u32> {
    Some(error.code()?.parse::<u32>().ok()? & 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_without_an_answer_is_unknown_and_a_statement_without_one_is_not() {
        let lost = || Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert!(matches!(commit_failed("x")(lost()), AppendError::Unknown(StoreError::Unavailable { .. })));
        assert!(matches!(not_committed("x")(lost()), AppendError::NotCommitted(StoreError::Unavailable { .. })));
    }
}
