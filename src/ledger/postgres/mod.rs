//! The ledger on PostgreSQL.
//!
//! Leases are counted by the server's clock, so that the clocks of two replicas never compare.

mod append;
mod deliver;
mod destinations;
mod lead;
#[allow(clippy::duplicate_mod, reason = "once for each database, see its first lines")]
#[path = "../mend.rs"]
mod mend;
#[allow(clippy::duplicate_mod, reason = "once for each database, see its first lines")]
#[path = "../openings.rs"]
mod openings;
mod partitions;
#[allow(clippy::duplicate_mod, reason = "once for each database, see its first lines")]
#[path = "../read.rs"]
mod read;
#[allow(clippy::duplicate_mod, reason = "once for each database, see its first lines")]
#[path = "../read_past.rs"]
mod read_past;
mod retention;
mod seat;
mod transaction;
#[allow(clippy::duplicate_mod, reason = "once for each database, see its first lines")]
#[path = "../whose.rs"]
mod whose;
mod write;
mod write_one;

use std::{str::FromStr, sync::LazyLock, time::Duration};

use async_trait::async_trait;
use sqlx::{
    AssertSqlSafe, Executor, PgConnection, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};

pub(super) use self::partitions::make_for_restored;
use self::{append::Writer, partitions::Room, seat::Seat, transaction::begin};
use super::{
    ahead::Ahead,
    fault::{failed, not_committed},
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

type Pool = PgPool;
type Connection = PgConnection;

static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!("migrations/postgres");
    // The program before this one runs on the tables of the next, so that an upgrade can be taken back.
    migrations.set_ignore_missing(true);
    migrations
});

/// The newest migration that this program brings.
pub(super) fn newest_migration() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Every session of ours begins its name with this; a takeover ends no other.
const APPLICATION: &str = "trueup";

/// The name of the sessions for everything that need not be fast.
const GENERAL: &str = "general";

/// The server's clock, in microseconds.
macro_rules! server_now {
    () => {
        "(SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)"
    };
}
use server_now;

/// What spares a look for the rows `t` of the stream `r` the partitions in which it has none.
macro_rules! where_it_lies {
    () => {
        " AND t.position BETWEEN r.first_position AND r.last_position"
    };
}
use where_it_lies;

/// The same for the rows `t` that the lane `l` is owed.
macro_rules! where_it_is_owed {
    () => {
        " AND t.position >= l.from_position"
    };
}
use where_it_is_owed;

/// What a SELECT ends with that locks lanes.
macro_rules! lane_lock {
    () => {
        " FOR NO KEY UPDATE"
    };
}
use lane_lock;

/// The texts of a parameter that is a list in JSON, in parentheses.
macro_rules! listed {
    ($parameter:literal) => {
        concat!("(SELECT jsonb_array_elements_text(", $parameter, "::jsonb))")
    };
}
use listed;

/// For statements that find their few rows by an index, however large the tables are: planned once, never compiled, and
/// never by reading a table whole, which the planner prefers while it takes a table for small or a list for long.
macro_rules! by_index {
    () => {
        "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; \
         SET enable_mergejoin = off; SET jit = off"
    };
}

/// The clock that counts: the server's.
async fn clock(connection: &mut Connection, _: Timestamp) -> Result<Timestamp, sqlx::Error> {
    sqlx::query_scalar(concat!("SELECT ", server_now!())).fetch_one(connection).await.map(Timestamp::from_micros)
}

/// A ledger on a PostgreSQL server.
#[derive(Debug)]
pub struct PostgresStore {
    tables: Tables,
    appending: Seat,
    // A process that is stopped in mid-transaction must not hold its lanes: sessions end themselves.
    //
    // Losing the newest claims and acks in a server's crash means sending again, which receivers must bear anyway. So
    // they need not wait for the disk.
    delivering: PgPool,
    // Without a limit on statements: a sweep of a large ledger takes what it takes.
    general: PgPool,
    room: Room,
    known: Known,
}

impl PostgresStore {
    /// A ledger at `url`. Connects when first used, so that a database that is down delays nobody's start.
    pub fn new(url: &str, tables: Tables) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url).map_err(|why| StoreError::Address { why: why.to_string() })?;
        let pool = |name: &str, connections: u32, wait: u64, settings: &str| {
            let settings = settings.to_owned();
            PgPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(Duration::from_secs(wait))
                // It costs a round trip each time. In the other two a dead session fails its first user, who tries again.
                .test_before_acquire(name == GENERAL)
                .after_connect(move |connection, _| {
                    // Not as start-up options, which connection poolers refuse.
                    let settings = AssertSqlSafe(settings.clone());
                    Box::pin(async move { connection.execute(sqlx::raw_sql(settings)).await.map(drop) })
                })
                .connect_lazy_with(options.clone().application_name(&format!("{APPLICATION} {name}")))
        };
        Ok(Self {
            tables,
            appending: Seat::new(pool(
                "append",
                4,
                2,
                concat!(
                    "SET idle_in_transaction_session_timeout = '1s'; SET statement_timeout = '2s'; \
                     SET synchronous_commit = on; ",
                    by_index!()
                ),
            )),
            delivering: pool(
                "deliver",
                4,
                5,
                concat!(
                    "SET idle_in_transaction_session_timeout = '1s'; SET lock_timeout = '5s'; \
                     SET synchronous_commit = off; ",
                    by_index!()
                ),
            ),
            general: pool(
                GENERAL,
                4,
                5,
                // Of a partition that was not analyzed yet the planner expects a thousand times the rows that a stream has, and
                // compiles for 25 ms what then takes half of one.
                "SET idle_in_transaction_session_timeout = '5s'; SET lock_timeout = '5s'; SET synchronous_commit = on; \
                 SET jit = off",
            ),
            room: Room::default(),
            known: Known::default(),
        })
    }

    async fn append_batch(
        &self,
        shard: Shard,
        epoch: Epoch,
        now: Timestamp,
        drafts: &[Draft],
        ahead: Option<Ahead>,
    ) -> Result<Vec<Outcome>, AppendError> {
        let make_room = self.room.make(&self.general, drafts.len()).await;
        make_room.map_err(not_committed("making room in the ledger"))?;
        let writer = Writer { seat: &self.appending, known: &self.known, tables: self.tables, shard, epoch };
        let (outcomes, head) = writer.append(now, drafts, ahead).await?;
        self.room.saw(head);
        Ok(outcomes)
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        let run = MIGRATIONS.run(&self.general).await;
        run.map_err(|source| failed("upgrading the ledger's tables")(source.into()))
    }

    async fn installation(&self, proposed: &Installation) -> Result<Installation, StoreError> {
        whose::installation(&self.general, proposed).await
    }

    async fn stored_installation(&self) -> Result<Option<Installation>, StoreError> {
        read::installation(&self.general).await
    }

    async fn take_over(&self, shard: Shard, holder: &str) -> Result<Epoch, StoreError> {
        lead::take_over(&self.general, shard, holder).await
    }

    async fn shard(&self, shard: Shard) -> Result<ShardRow, StoreError> {
        read::shard(&self.general, shard).await
    }

    async fn append(
        &self,
        shard: Shard,
        epoch: Epoch,
        now: Timestamp,
        drafts: &[Draft],
    ) -> Result<Vec<Outcome>, AppendError> {
        self.append_batch(shard, epoch, now, drafts, None).await
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
        self.append_batch(shard, epoch, now, drafts, Some(ahead)).await
    }

    async fn reinstate(
        &self,
        shard: Shard,
        epoch: Epoch,
        _now: Timestamp,
        returned: &[Returned],
    ) -> Result<Vec<Outcome>, AppendError> {
        let make_room = self.room.make(&self.general, returned.len()).await;
        make_room.map_err(not_committed("making room in the ledger"))?;
        let (outcomes, head) = append::reinstate(&self.appending, self.tables, shard, epoch, returned).await?;
        self.room.saw(head);
        Ok(outcomes)
    }

    async fn replace_installation(
        &self,
        shard: Shard,
        epoch: Epoch,
        installation: &Installation,
    ) -> Result<(), AppendError> {
        lead::replace_installation(&self.general, shard, epoch, installation).await
    }

    async fn head(&self, uid: &Uid) -> Result<Option<Head>, StoreError> {
        read::head(&self.general, uid).await
    }

    async fn heads(&self, after: Option<&Uid>, open_only: bool, limit: u32) -> Result<Vec<Head>, StoreError> {
        read::heads(&self.general, after, open_only, limit).await
    }

    async fn rows(&self, query: &RowQuery) -> Result<Vec<Row>, StoreError> {
        read::rows(&self.general, query).await
    }

    async fn stream_rows(&self, after: Option<(&Uid, Sequence)>, limit: u32) -> Result<Vec<Row>, StoreError> {
        read::stream_rows(&self.general, after, limit).await
    }

    async fn past(&self, query: &PastQuery) -> Result<Vec<PastState>, StoreError> {
        read_past::past(&self.general, query).await
    }

    async fn row(&self, uid: &Uid, sequence: Sequence) -> Result<Option<Row>, StoreError> {
        read::row(&self.general, uid, sequence).await
    }

    async fn prune(&self, step: &PruneStep) -> Result<PruneReport, StoreError> {
        retention::prune(&self.general, step).await
    }

    async fn pruned(&self, uids: &[Uid]) -> Result<Vec<PrunedRow>, StoreError> {
        retention::pruned(&self.general, uids).await
    }

    async fn pruned_until(&self, shard: Shard) -> Result<Position, StoreError> {
        read::pruned_until(&self.general, shard).await
    }

    async fn open(&self, opening: &Opening, now: Timestamp) -> Result<bool, StoreError> {
        destinations::open(&self.general, self.tables, opening, now).await
    }

    async fn selectors(&self) -> Result<Vec<(DestinationId, Selector)>, StoreError> {
        let mut connection =
            self.general.acquire().await.map_err(failed("reading which streams destinations hear of"))?;
        openings::selectors(&mut connection).await
    }

    async fn destinations(&self) -> Result<Vec<DestinationId>, StoreError> {
        read::destinations(&self.general).await
    }

    async fn close_destination(&self, destination: &DestinationId) -> Result<u64, StoreError> {
        destinations::close(&self.general, destination).await
    }

    async fn claim(&self, request: &ClaimRequest, _now: Timestamp) -> Result<Vec<Claim>, StoreError> {
        deliver::claim(&self.delivering, request).await
    }

    async fn settle(
        &self,
        claims: &[(DestinationId, Uid, Token, Settlement)],
        _now: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        deliver::settle(&self.delivering, claims).await
    }

    async fn intervene(&self, request: &Request, now: Timestamp) -> Result<Result<(), Refusal>, StoreError> {
        mend::intervene(&self.general, request, now).await
    }

    async fn reinstate_void(&self, request: &Request, voided: &Voided) -> Result<bool, StoreError> {
        mend::reinstate_void(&self.general, request, voided).await
    }

    async fn interventions(&self, after: i64, limit: u32) -> Result<Vec<Intervention>, StoreError> {
        mend::interventions(&self.general, after, limit).await
    }

    async fn amendments_due(&self, limit: u32) -> Result<Vec<Intervention>, StoreError> {
        mend::amendments_due(&self.general, limit).await
    }

    async fn conclude_amendment(&self, intervention: i64, outcome: &str, now: Timestamp) -> Result<(), StoreError> {
        mend::conclude_amendment(&self.general, intervention, outcome, now).await
    }

    async fn voids(
        &self,
        after: Option<(&DestinationId, &Uid, Sequence)>,
        limit: u32,
    ) -> Result<Vec<Voided>, StoreError> {
        mend::voids(&self.general, after, limit).await
    }

    async fn next_due(&self, destination: &DestinationId, _now: Timestamp) -> Result<Option<Duration>, StoreError> {
        deliver::next_due(&self.delivering, destination).await
    }

    async fn lane(&self, destination: &DestinationId, uid: &Uid) -> Result<Option<LaneView>, StoreError> {
        read::lane(&self.general, destination, uid).await
    }

    async fn lanes(
        &self,
        after: Option<(&DestinationId, &Uid)>,
        owing_only: bool,
        limit: u32,
    ) -> Result<Vec<LaneView>, StoreError> {
        read::lanes(&self.general, after, owing_only, limit).await
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        read::counts(&self.general).await
    }

    async fn oldest_undelivered(
        &self,
        destination: &DestinationId,
    ) -> Result<Option<(Timestamp, Shard, Position)>, StoreError> {
        read::oldest_undelivered(&self.general, destination).await
    }
}
