//! The write lock of the file, from the begin of an append to its end.
//!
//! The way to SQLite's thread and back costs more than most statements, and the driver's own transactions go it once for the
//! begin and once for the end. So the begin goes with the first read, and the end with the last write.

use sqlx::{Sqlite, SqliteConnection, SqlitePool, pool::PoolConnection, query, query_as};

use super::begin_immediate;
use crate::{domain::Shard, ledger::records::StandingRecord};

/// A transaction. The session goes back to the pool only once it is over; if it never is, both end together.
pub(super) struct Turn {
    session: PoolConnection<Sqlite>,
    over: bool,
}

impl Turn {
    /// A session that has locked nothing yet.
    pub(super) async fn unbegun(pool: &SqlitePool) -> Result<Self, sqlx::Error> {
        Ok(Self { session: pool.acquire().await?, over: false })
    }

    /// Locks the file, and reads how `shard` stands, unless nobody said yet whose ledger it is.
    pub(super) async fn begin(pool: &SqlitePool, shard: Shard) -> Result<(Self, Option<StandingRecord>), sqlx::Error> {
        let mut turn = Self::unbegun(pool).await?;
        let standing = query_as(concat!(
            begin_immediate!(),
            "; SELECT $1 AS shard_id, coalesce(s.epoch, 0) AS shard_epoch, s.holder, coalesce(s.head, 0) AS head, \
               0 AS revision, s.recorded_at AS shard_recorded_at, i.id AS installation_id, i.cluster_uid, \
               i.era AS installation_era, (SELECT json_group_array(json_array(id, selector)) FROM destination \
                 WHERE selector IS NOT NULL) AS selectors \
             FROM installation i LEFT JOIN shard s ON s.id = $1"
        ))
        .bind(shard.get())
        .fetch_optional(turn.session())
        .await?;
        Ok((turn, standing))
    }

    pub(super) fn session(&mut self) -> &mut SqliteConnection {
        &mut self.session
    }

    /// Ends it with nothing written.
    pub(super) async fn give_up(mut self) -> Result<(), sqlx::Error> {
        query("ROLLBACK").execute(self.session()).await?;
        self.conclude();
        Ok(())
    }

    /// Gives the session back, whose last statement was the end.
    pub(super) fn conclude(mut self) {
        self.over = true;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.over {
            // SQLite rolls back what a session leaves behind.
            self.session.close_on_drop();
        }
    }
}
