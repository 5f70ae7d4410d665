//! Where a ledger is measured: a database of its own on a real disk.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection, raw_sql};
use tokio::task::JoinHandle;
use trueup::{
    domain::{Clock, DestinationId, Epoch, Era, InstallationId, Shard, SystemClock, Uid},
    ledger::{self, Appender, AppenderLimits, Installation, Store},
};

use crate::{fleet::TABLES, plan::Plan, postgres::Postgres};

pub const SHARD: Shard = Shard::new(0);

/// As production runs it; a server's defaults, given more memory and less often a checkpoint than on a laptop.
const SETTINGS: &[&str] = &["shared_buffers=512MB", "max_wal_size=4GB", "max_connections=50"];

/// The two databases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Postgres,
    Sqlite,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }
}

/// The server and the directory that all parts share. Both are gone afterwards.
pub struct Lab {
    server: Option<Postgres>,
    directory: tempfile::TempDir,
    files: AtomicU32,
}

impl Lab {
    pub fn start(plan: &Plan) -> Self {
        Self {
            server: plan.kinds.contains(&Kind::Postgres).then(|| Postgres::start_with(SETTINGS)),
            directory: tempfile::Builder::new().prefix("trueup-bench-").tempdir().expect("a temporary directory"),
            files: AtomicU32::new(0),
        }
    }

    /// A new ledger with the destination `billing` and no streams.
    pub async fn ledger(&self, kind: Kind) -> Ledger {
        let place = match (kind, &self.server) {
            (Kind::Postgres, Some(server)) => Place::Postgres(server.database().await),
            (Kind::Postgres, None) => unreachable!("only what was planned is measured"),
            (Kind::Sqlite, _) => Place::Sqlite(self.file("ledger")),
        };
        Ledger::at(place).await
    }

    /// A path that no file has yet.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}{}.db", self.files.fetch_add(1, Ordering::Relaxed)))
    }
}

/// An address.
#[derive(Clone)]
pub enum Place {
    Postgres(String),
    Sqlite(PathBuf),
}

/// A ledger that this process leads.
pub struct Ledger {
    pub place: Place,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub epoch: Epoch,
}

pub fn billing() -> DestinationId {
    DestinationId::new("billing")
}

impl Ledger {
    async fn at(place: Place) -> Self {
        let url = match &place {
            Place::Postgres(url) => url.clone(),
            Place::Sqlite(path) => format!("sqlite:{}", path.display()),
        };
        let store = ledger::open(&url, TABLES).unwrap();
        store.migrate().await.unwrap();
        let installation =
            Installation { id: InstallationId::new("bench"), cluster_uid: Uid::new("cluster"), era: Era::new(0) };
        store.installation(&installation).await.unwrap();
        let epoch = store.take_over(SHARD, "bench").await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        store.open_destination(&billing(), clock.now()).await.unwrap();
        Self { place, store, clock, epoch }
    }

    /// The same ledger, led by another process.
    pub async fn again(&self) -> Self {
        Self::at(self.place.clone()).await
    }

    /// Starts appending, as the controller does.
    pub fn appender(&self) -> (Appender, JoinHandle<()>) {
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        Appender::start(store, SHARD, self.epoch, clock, AppenderLimits::default(), Arc::default())
    }

    /// Runs statements that no ledger runs itself.
    pub async fn execute(&self, sql: &str) {
        let sql = AssertSqlSafe(sql);
        match &self.place {
            Place::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                raw_sql(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
            Place::Sqlite(path) => {
                let mut connection = self.open(path).await;
                raw_sql(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
        }
    }

    async fn open(&self, path: &std::path::Path) -> SqliteConnection {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        SqliteConnection::connect_with(&options).await.unwrap()
    }

    /// Lets every lane have everything, so that the next append wakes it, as in a ledger whose relay keeps up.
    pub async fn acknowledge_everything(&self) {
        self.execute("UPDATE lane SET phase = 0, acked = r.sequence FROM resource r WHERE r.uid = lane.uid").await;
        self.tidy().await;
    }

    /// Does now what the database would otherwise do in the middle of a measurement.
    pub async fn tidy(&self) {
        match self.place {
            Place::Postgres(_) => {
                for table in ["shard", "resource", "lane", "transition"] {
                    self.execute(&format!("VACUUM ANALYZE {table}")).await;
                }
            }
            Place::Sqlite(_) => self.execute("PRAGMA wal_checkpoint(TRUNCATE)").await,
        }
    }
}
