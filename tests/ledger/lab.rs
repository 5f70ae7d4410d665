//! A ledger to experiment on, and the time in it.

use std::{
    future::Future,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use sqlx::{Connection, Executor, PgConnection, query, query_scalar};
use trueup::{
    domain::{
        Billable, Deadline, DestinationId, Effective, Epoch, Era, InstallationId, Kind, Labels, Position, Sequence,
        Shard, State, StateRow, Table, Tables, TenantName, Timestamp, Token, Uid,
    },
    ledger::{self, ClaimRequest, Draft, Installation, MemoryStore, Outcome, Store, Subject},
};

use crate::support::postgres::Postgres;

const fn state(name: &'static str, next: &'static [&'static str]) -> StateRow {
    StateRow { name, next, deadline: Deadline::Never, billed: "" }
}

const STATES: &[StateRow] = &[
    state("Pending", &["Available", "Failed", "Terminating"]),
    state("Available", &["Degraded", "Terminating"]),
    state("Degraded", &["Available", "Terminating"]),
    state("Failed", &["Available", "Terminating"]),
    state("Terminating", &["Deleted"]),
    state("Deleted", &[]),
];

pub const TABLES: Tables = Tables(&[
    Table { kind: Kind::Tenant, states: STATES },
    Table { kind: Kind::AppDeployment, states: STATES },
    Table { kind: Kind::Backup, states: STATES },
]);

pub const SHARD: Shard = Shard::new(0);
pub const START: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

pub fn installation() -> Installation {
    Installation {
        id: InstallationId::new("installation-1"),
        cluster_uid: Uid::new("7d1f7a0e-kube-system"),
        era: Era::new(0),
    }
}

enum Place {
    Memory(Arc<MemoryStore>),
    Sqlite(tempfile::TempDir),
    /// A file that somebody else takes care of.
    File(String),
    Postgres(String),
}

pub struct Lab {
    place: Place,
    pub store: Arc<dyn Store>,
    micros: AtomicI64,
    tokens: AtomicU64,
}

impl Lab {
    pub async fn memory() -> Self {
        Self::ready(Place::Memory(Arc::new(MemoryStore::new(TABLES)))).await
    }

    pub async fn sqlite() -> Self {
        Self::ready(Place::Sqlite(tempfile::tempdir().unwrap())).await
    }

    pub async fn postgres() -> Self {
        Self::at(Postgres::shared().database().await).await
    }

    /// A lab in the PostgreSQL database at `url`.
    pub async fn at(url: String) -> Self {
        Self::ready(Place::Postgres(url)).await
    }

    /// A lab in a database of either kind that is a ledger already.
    pub async fn opened(url: String) -> Self {
        Self::bare(if url.starts_with("sqlite:") { Place::File(url) } else { Place::Postgres(url) }).await
    }

    /// Its database's address.
    pub fn url(&self) -> String {
        match &self.place {
            Place::Memory(_) => panic!("memory has no address"),
            Place::Sqlite(directory) => file_in(directory),
            Place::File(url) | Place::Postgres(url) => url.clone(),
        }
    }

    async fn ready(place: Place) -> Self {
        let lab = Self::bare(place).await;
        lab.store.installation(&installation()).await.unwrap();
        lab
    }

    async fn bare(place: Place) -> Self {
        let store = open(&place);
        store.migrate().await.unwrap();
        Self { place, store, micros: AtomicI64::new(START.as_micros()), tokens: AtomicU64::new(0) }
    }

    /// The same kind of place, with nothing in it, not even whose it is.
    pub async fn another_empty(&self) -> Self {
        Self::bare(match &self.place {
            Place::Memory(_) => Place::Memory(Arc::new(MemoryStore::new(TABLES))),
            Place::Sqlite(_) | Place::File(_) => Place::Sqlite(tempfile::tempdir().unwrap()),
            Place::Postgres(_) => Place::Postgres(Postgres::shared().database().await),
        })
        .await
    }

    /// Empties it, where that is much faster than another one.
    pub async fn emptied(self) -> Self {
        if let Place::Postgres(url) = &self.place {
            let mut connection = PgConnection::connect(url).await.unwrap();
            // DELETE, because TRUNCATE makes new files, and these tables are small.
            connection
                .execute(
                    "ALTER TABLE transition DISABLE TRIGGER USER; DELETE FROM transition; DELETE FROM resource; \
                     DELETE FROM evidence; DELETE FROM pruned; DELETE FROM pruned_shard; DELETE FROM lane; DELETE FROM destination; DELETE FROM shard; \
                     ALTER TABLE transition ENABLE TRIGGER USER",
                )
                .await
                .unwrap();
            connection.close().await.unwrap();
            self.micros.store(START.as_micros(), Ordering::SeqCst);
            self
        } else {
            let lab = self.another_empty().await;
            lab.store.installation(&installation()).await.unwrap();
            lab
        }
    }

    /// Where rows go in whole partitions, from now on makes small ones.
    pub async fn partition_by(&self, rows: i64) {
        if let Place::Postgres(url) = &self.place {
            let mut connection = PgConnection::connect(url).await.unwrap();
            query("UPDATE partitioning SET rows = $1").bind(rows).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
    }

    /// Another process with the same database.
    pub fn reopen(&self) -> Arc<dyn Store> {
        open(&self.place)
    }

    /// The file that it is in.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.place {
            Place::Sqlite(directory) => Some(directory.path().join("ledger.db")),
            Place::File(url) => url.strip_prefix("sqlite:").map(PathBuf::from),
            Place::Memory(_) | Place::Postgres(_) => None,
        }
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self.place, Place::Postgres(_))
    }

    pub fn is_memory(&self) -> bool {
        matches!(self.place, Place::Memory(_))
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.micros.load(Ordering::SeqCst))
    }

    /// Steps the clock by `micros`, which may be negative. PostgreSQL's cannot be stepped, so there all that waits for
    /// a time is moved the other way.
    pub async fn step(&self, micros: i64) {
        self.micros.fetch_add(micros, Ordering::SeqCst);
        if let Place::Postgres(url) = &self.place {
            let mut connection = PgConnection::connect(url).await.unwrap();
            query("UPDATE lane SET due_at = due_at - $1, held_at = held_at - $1, doubt_since = doubt_since - $1")
                .bind(micros)
                .execute(&mut connection)
                .await
                .unwrap();
            connection.close().await.unwrap();
        }
    }

    pub async fn pass(&self, span: Duration) {
        self.step(i64::try_from(span.as_micros()).unwrap()).await;
    }

    pub async fn lead(&self) -> Epoch {
        self.store.take_over(SHARD, "tests").await.unwrap()
    }

    pub async fn append(&self, epoch: Epoch, drafts: &[Draft]) -> Vec<Outcome> {
        self.store.append(SHARD, epoch, self.now(), drafts).await.unwrap()
    }

    /// Opens the stream `uid` and takes it through so many rows.
    pub async fn stream(&self, epoch: Epoch, uid: &str, rows: i64) {
        let drafts: Vec<_> = (0..rows).map(|n| nth(uid, n, self.now())).collect();
        for outcome in self.append(epoch, &drafts).await {
            assert!(matches!(outcome, Outcome::Appended(_)), "{outcome:?}");
        }
    }

    pub fn token(&self) -> Token {
        Token::new(format!("token-{}", self.tokens.fetch_add(1, Ordering::Relaxed)))
    }

    pub fn request(&self, destination: &DestinationId) -> ClaimRequest {
        ClaimRequest {
            destination: destination.clone(),
            lanes: 1_000,
            retries: 1_000,
            rows: 100,
            lease: Duration::from_secs(30),
            token: self.token(),
        }
    }

    pub async fn assert_clean(&self) {
        let report = ledger::audit(self.store.as_ref(), TABLES).await.unwrap();
        let said: Vec<_> = report.violations.iter().map(ToString::to_string).collect();
        assert!(report.is_clean(), "the audit found:\n{}", said.join("\n"));
        let counts = self.store.counts().await.unwrap();
        assert_eq!((report.resources, report.deliveries), (counts.resources, counts.deliveries));
        if self.store.pruned_until(SHARD).await.unwrap() == Position::default() {
            assert_eq!(report.transitions, counts.transitions);
        }
        if let Place::Postgres(url) = &self.place {
            let mut connection = PgConnection::connect(url).await.unwrap();
            let lost: Vec<String> = query_scalar(MISPLACED).fetch_all(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            assert_eq!(lost, Vec::<String>::new(), "rows of these are looked for where they are not");
        }
    }
}

/// Streams that say of themselves that they lie elsewhere than their rows do.
const MISPLACED: &str = "SELECT uid FROM resource JOIN \
     (SELECT uid, min(position) AS first, max(position) AS last FROM transition GROUP BY uid) AS rows USING (uid) \
     WHERE first_position > first OR last_position <> last";

fn open(place: &Place) -> Arc<dyn Store> {
    match place {
        Place::Memory(store) => Arc::clone(store) as Arc<dyn Store>,
        Place::Sqlite(directory) => ledger::open(&file_in(directory), TABLES).unwrap(),
        Place::File(url) | Place::Postgres(url) => ledger::open(url, TABLES).unwrap(),
    }
}

fn file_in(directory: &tempfile::TempDir) -> String {
    format!("sqlite:{}", directory.path().join("ledger.db").display())
}

pub fn subject(uid: &str) -> Subject {
    Subject {
        uid: Uid::new(uid),
        kind: Kind::AppDeployment,
        namespace: Some("acme-prod".into()),
        name: format!("app-{uid}"),
        tenant: TenantName::new("acme"),
        account: "acct-1".into(),
        plan: "small".into(),
        previous_uid: None,
    }
}

/// A draft that takes `uid` to `to` behind `after` (0 opens it).
pub fn draft(uid: &str, after: i64, to: &'static str, now: Timestamp) -> Draft {
    Draft {
        subject: subject(uid),
        after: (after > 0).then(|| Sequence::new(after)),
        to: State::of(to),
        reason: "Tested".into(),
        message: "A test said so.".into(),
        generation: 1,
        effective: Effective::observed(now, now),
        billable: Billable { replicas: 2, cpu_millicores: 500, memory_bytes: 1 << 40, storage_bytes: 0 },
        evidence: None,
        amends: None,
        labels: Labels::default(),
    }
}

/// The row behind the `n` first ones of a stream that only ever goes up and down.
pub fn nth(uid: &str, n: i64, now: Timestamp) -> Draft {
    let to = match n {
        0 => "Pending",
        n if n % 2 == 1 => "Available",
        _ => "Degraded",
    };
    draft(uid, n, to, now)
}

pub fn appended(outcome: &Outcome) -> &ledger::Head {
    match outcome {
        Outcome::Appended(head) => head,
        other => panic!("not appended: {other:?}"),
    }
}

/// Polls `work` up to so many `times`, and what it answered, if it came to an end. Whoever it waits for has the time `between`.
pub async fn polled<F: Future + Unpin>(
    work: &mut F,
    times: usize,
    mut between: impl AsyncFnMut(),
) -> Option<F::Output> {
    for _ in 0..times {
        if let Poll::Ready(answer) = futures::poll!(&mut *work) {
            return Some(answer);
        }
        between().await;
    }
    None
}
