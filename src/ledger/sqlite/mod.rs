//! The ledger in one SQLite file, for a single replica: there is no server that could end a stopped writer's session.

mod append;
mod deliver;
#[cfg(test)]
mod full;
mod lead;
#[allow(clippy::duplicate_mod, reason = "once for each database, see its first lines")]
#[path = "../mend.rs"]
mod mend;
mod multi;
#[allow(clippy::duplicate_mod, reason = "once for each database, see its first lines")]
#[path = "../openings.rs"]
mod openings;
#[allow(clippy::duplicate_mod, reason = "once for each database, see its first lines")]
#[path = "../read.rs"]
mod read;
#[allow(clippy::duplicate_mod, reason = "once for each database, see its first lines")]
#[path = "../read_past.rs"]
mod read_past;
mod retention;
mod turn;
#[allow(clippy::duplicate_mod, reason = "once for each database, see its first lines")]
#[path = "../whose.rs"]
mod whose;
mod write;
mod write_one;

use std::{path::Path, sync::LazyLock, time::Duration};

use async_trait::async_trait;
use sqlx::{
    Connection as _, Sqlite, SqliteConnection, SqlitePool, Transaction,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{
    ahead::Ahead,
    fault::failed,
    interventions::{Intervention, Refusal, Request},
    known::Known,
    past::{PastQuery, PastState},
    reinstate::Returned,
    store::{AppendError, Counts, Store, StoreError},
    types::{
        Claim, ClaimRequest, Draft, Head, Installation, LaneView, Opening, Outcome, PruneReport, PruneStep, PrunedRow,
        Row, RowQuery, Settlement, ShardRow, Voided,
    },
};
use crate::domain::{DestinationId, Epoch, Position, Selector, Sequence, Shard, Tables, Timestamp, Token, Uid};

type Pool = SqlitePool;
type Connection = SqliteConnection;

static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!("migrations/sqlite");
    // The program before this one runs on the tables of the next, so that an upgrade can be taken back.
    migrations.set_ignore_missing(true);
    migrations
});

/// The newest migration that this program brings.
pub(super) fn newest_migration() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Takes the write lock at once. A transaction that begins by reading can find, on its first write, that it may not.
macro_rules! begin_immediate {
    () => {
        "BEGIN IMMEDIATE"
    };
}
use begin_immediate;

const BEGIN: &str = begin_immediate!();

/// What a SELECT ends with that locks lanes: nothing, since the whole file is locked.
macro_rules! lane_lock {
    () => {
        ""
    };
}
use lane_lock;

/// What spares a look for rows other partitions: there are none.
macro_rules! where_it_lies {
    () => {
        ""
    };
}
use where_it_lies;

/// The same for the rows that a lane is owed.
macro_rules! where_it_is_owed {
    () => {
        ""
    };
}
use where_it_is_owed;

/// The texts of a parameter that is a list in JSON, in parentheses.
macro_rules! listed {
    ($parameter:literal) => {
        concat!("(SELECT value FROM json_each(", $parameter, "))")
    };
}
use listed;

/// Begins to write.
async fn begin(pool: &Pool) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
    pool.begin_with(BEGIN).await
}

/// The clock that counts: the caller's.
async fn clock(_: &mut Connection, now: Timestamp) -> Result<Timestamp, sqlx::Error> {
    Ok(now)
}

/// How long to wait for another process (`trueup outbox retry`, say) that is writing.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the writer keeps of the file in memory, in KiB where it is below zero. A batch touches some pages of each index for every
/// row: with the usual 2 MiB, a large one would be written out half way and read back.
const CACHE: &str = "-16384";

/// Pages of the log, of 4 KiB each, after which what is in it is brought home into the file. Pages that were written several
/// times meanwhile are brought home once: with the usual 1,000, large batches spent a sixth of their time on that.
const LOG: &str = "4000";

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(2 * PATIENCE)
        // There is no server that could have gone away meanwhile.
        .test_before_acquire(false)
        // After an I/O error or on a full disk, SQLite may roll back by itself. The driver's own rollback then fails, and
        // it takes the session to be inside a transaction for ever, where no other can begin.
        .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
}

/// A ledger in a file.
#[derive(Debug)]
pub struct SqliteStore {
    tables: Tables,
    // One connection: writers queue here, in order, instead of being told that the file is busy.
    writing: SqlitePool,
    reading: SqlitePool,
    known: Known,
}

impl SqliteStore {
    /// A ledger in the file at `path`, which is created if it is not there. Its directory must be.
    pub fn new(path: &Path, tables: Tables) -> Result<Self, StoreError> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !directory.is_dir() {
            return Err(StoreError::Address { why: format!("there is no directory {}", directory.display()) });
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            // Readers see the last commit while the next is being written.
            .journal_mode(SqliteJournalMode::Wal)
            // What was answered as appended must survive the loss of power.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(false)
            .busy_timeout(PATIENCE);
        Ok(Self {
            tables,
            writing: pool(1)
                .connect_lazy_with(options.clone().pragma("cache_size", CACHE).pragma("wal_autocheckpoint", LOG)),
            reading: pool(4).connect_lazy_with(options.pragma("query_only", "on")),
            known: Known::default(),
        })
    }

    /// The ledger in the file at `path`, for reading alone: no file is created, and whatever would write is refused.
    pub fn existing(path: &Path, tables: Tables) -> Result<Self, StoreError> {
        if !path.is_file() {
            return Err(StoreError::Missing { path: path.to_owned() });
        }
        // Not even the journal's mode is set: the file may turn out to be somebody else's.
        let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(PATIENCE);
        let pool = pool(4).connect_lazy_with(options);
        Ok(Self { tables, writing: pool.clone(), reading: pool, known: Known::default() })
    }

    const fn writer(&self, shard: Shard, epoch: Epoch) -> append::Writer<'_> {
        append::Writer { pool: &self.writing, known: &self.known, tables: self.tables, shard, epoch }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        let run = MIGRATIONS.run(&self.writing).await;
        run.map_err(|source| failed("upgrading the ledger's tables")(source.into()))
    }

    async fn installation(&self, proposed: &Installation) -> Result<Installation, StoreError> {
        whose::installation(&self.writing, proposed).await
    }

    async fn stored_installation(&self) -> Result<Option<Installation>, StoreError> {
        read::installation(&self.reading).await
    }

    async fn take_over(&self, shard: Shard, holder: &str) -> Result<Epoch, StoreError> {
        lead::take_over(&self.writing, shard, holder).await
    }

    async fn shard(&self, shard: Shard) -> Result<ShardRow, StoreError> {
        read::shard(&self.reading, shard).await
    }

    async fn append(
        &self,
        shard: Shard,
        epoch: Epoch,
        now: Timestamp,
        drafts: &[Draft],
    ) -> Result<Vec<Outcome>, AppendError> {
        self.writer(shard, epoch).append(now, drafts, None).await
    }

    /// The way to SQLite's thread and back is as long for few rows as for many.
    fn many(&self) -> usize {
        192
    }

    fn ahead(&self, shard: Shard, epoch: Epoch, now: Timestamp, drafts: &[Draft]) -> Option<Ahead> {
        self.known.ahead(self.tables, shard, epoch, now, drafts)
    }

    async fn append_ahead(
        &self,
        shard: Shard,
        epoch: Epoch,
        now: Timestamp,
        drafts: &[Draft],
        ahead: Ahead,
    ) -> Result<Vec<Outcome>, AppendError> {
        self.writer(shard, epoch).append(now, drafts, Some(ahead)).await
    }

    async fn reinstate(
        &self,
        shard: Shard,
        epoch: Epoch,
        now: Timestamp,
        returned: &[Returned],
    ) -> Result<Vec<Outcome>, AppendError> {
        append::reinstate(&self.writing, self.tables, shard, epoch, now, returned).await
    }

    async fn replace_installation(
        &self,
        shard: Shard,
        epoch: Epoch,
        installation: &Installation,
    ) -> Result<(), AppendError> {
        lead::replace_installation(&self.writing, shard, epoch, installation).await
    }

    async fn head(&self, uid: &Uid) -> Result<Option<Head>, StoreError> {
        read::head(&self.reading, uid).await
    }

    async fn heads(&self, after: Option<&Uid>, open_only: bool, limit: u32) -> Result<Vec<Head>, StoreError> {
        read::heads(&self.reading, after, open_only, limit).await
    }

    async fn rows(&self, query: &RowQuery) -> Result<Vec<Row>, StoreError> {
        read::rows(&self.reading, query).await
    }

    async fn stream_rows(&self, after: Option<(&Uid, Sequence)>, limit: u32) -> Result<Vec<Row>, StoreError> {
        read::stream_rows(&self.reading, after, limit).await
    }

    async fn past(&self, query: &PastQuery) -> Result<Vec<PastState>, StoreError> {
        read_past::past(&self.reading, query).await
    }

    async fn row(&self, uid: &Uid, sequence: Sequence) -> Result<Option<Row>, StoreError> {
        read::row(&self.reading, uid, sequence).await
    }

    async fn prune(&self, step: &PruneStep) -> Result<PruneReport, StoreError> {
        retention::prune(&self.writing, step).await
    }

    async fn pruned(&self, uids: &[Uid]) -> Result<Vec<PrunedRow>, StoreError> {
        retention::pruned(&self.reading, uids).await
    }

    async fn pruned_until(&self, shard: Shard) -> Result<Position, StoreError> {
        read::pruned_until(&self.reading, shard).await
    }

    async fn open(&self, opening: &Opening, now: Timestamp) -> Result<bool, StoreError> {
        lead::open(&self.writing, self.tables, opening, now).await
    }

    async fn selectors(&self) -> Result<Vec<(DestinationId, Selector)>, StoreError> {
        let mut connection =
            self.reading.acquire().await.map_err(failed("reading which streams destinations hear of"))?;
        openings::selectors(&mut connection).await
    }

    async fn destinations(&self) -> Result<Vec<DestinationId>, StoreError> {
        read::destinations(&self.reading).await
    }

    async fn close_destination(&self, destination: &DestinationId) -> Result<u64, StoreError> {
        lead::close_destination(&self.writing, destination).await
    }

    async fn claim(&self, request: &ClaimRequest, now: Timestamp) -> Result<Vec<Claim>, StoreError> {
        deliver::claim(&self.writing, request, now).await
    }

    async fn settle(
        &self,
        claims: &[(DestinationId, Uid, Token, Settlement)],
        now: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        deliver::settle(&self.writing, claims, now).await
    }

    async fn intervene(&self, request: &Request, now: Timestamp) -> Result<Result<(), Refusal>, StoreError> {
        mend::intervene(&self.writing, request, now).await
    }

    async fn reinstate_void(&self, request: &Request, voided: &Voided) -> Result<bool, StoreError> {
        mend::reinstate_void(&self.writing, request, voided).await
    }

    async fn interventions(&self, after: i64, limit: u32) -> Result<Vec<Intervention>, StoreError> {
        mend::interventions(&self.reading, after, limit).await
    }

    async fn amendments_due(&self, limit: u32) -> Result<Vec<Intervention>, StoreError> {
        mend::amendments_due(&self.reading, limit).await
    }

    async fn conclude_amendment(&self, intervention: i64, outcome: &str, now: Timestamp) -> Result<(), StoreError> {
        mend::conclude_amendment(&self.writing, intervention, outcome, now).await
    }

    async fn voids(
        &self,
        after: Option<(&DestinationId, &Uid, Sequence)>,
        limit: u32,
    ) -> Result<Vec<Voided>, StoreError> {
        mend::voids(&self.reading, after, limit).await
    }

    async fn next_due(&self, destination: &DestinationId, now: Timestamp) -> Result<Option<Duration>, StoreError> {
        deliver::next_due(&self.reading, destination, now).await
    }

    async fn lane(&self, destination: &DestinationId, uid: &Uid) -> Result<Option<LaneView>, StoreError> {
        read::lane(&self.reading, destination, uid).await
    }

    async fn lanes(
        &self,
        after: Option<(&DestinationId, &Uid)>,
        owing_only: bool,
        limit: u32,
    ) -> Result<Vec<LaneView>, StoreError> {
        read::lanes(&self.reading, after, owing_only, limit).await
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        read::counts(&self.reading).await
    }

    async fn oldest_undelivered(
        &self,
        destination: &DestinationId,
    ) -> Result<Option<(Timestamp, Shard, Position)>, StoreError> {
        read::oldest_undelivered(&self.reading, destination).await
    }
}
