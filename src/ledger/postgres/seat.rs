//! The sessions that append, kept from one append to the next.
//!
//! A pool tries each session that it is given back with a round trip, and hands out another meanwhile, which the server
//! has to warm up first. That took as long as a third of an append.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::{PgConnection, PgPool};

/// More appends than this are never under way at once for long.
const KEPT: usize = 4;

#[derive(Debug)]
pub(super) struct Seat {
    /// Where new ones come from.
    pool: PgPool,
    kept: Mutex<Vec<PgConnection>>,
}

impl Seat {
    pub(super) const fn new(pool: PgPool) -> Self {
        Self { pool, kept: Mutex::new(Vec::new()) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PgConnection>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session. Whoever is dropped with it, or fails with it, closes it; the server then undoes what is not committed.
    pub(super) async fn take(&self) -> Result<PgConnection, sqlx::Error> {
        let kept = self.lock().pop();
        match kept {
            Some(connection) => Ok(connection),
            None => Ok(self.pool.acquire().await?.detach()),
        }
    }

    /// Keeps a session that did what it should.
    pub(super) fn keep(&self, connection: PgConnection) {
        let mut kept = self.lock();
        if kept.len() < KEPT {
            kept.push(connection);
        }
    }
}
