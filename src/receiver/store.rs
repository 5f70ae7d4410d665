//! What the receiver remembers, in a SQLite file: one line per resource, and every event it applied.
//!
//! One task writes. It takes whatever waits into one transaction and answers only when that is on the disk, so that
//! many senders share one sync.

use std::path::Path;

use sqlx::{
    Connection as _, Row as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous},
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    envelope::Opened,
    inbox::{self, Last, Link, Memory, Verdict},
    views::{self, EventView, ResourceView},
};
use crate::domain::{
    Billable, Era, Event, Hash, Kind, Message, Sequence, Snapshot, State, TenantName, Timestamp, Uid, Void,
};

/// At most so many messages are applied in one transaction.
const BATCH: usize = 256;
/// So many may wait for it; whoever comes then waits before it is taken in.
const QUEUE: usize = 1_024;

/// The state of a resource of which nothing but voids came.
const UNSTATED: State = State::of("Unknown");

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS resource (
    uid          TEXT PRIMARY KEY NOT NULL,
    kind         TEXT NOT NULL,
    namespace    TEXT,
    name         TEXT NOT NULL,
    tenant       TEXT NOT NULL,
    account      TEXT NOT NULL,
    plan         TEXT NOT NULL,
    era          INTEGER NOT NULL,
    sequence     INTEGER NOT NULL,
    state        TEXT NOT NULL,
    hash         TEXT NOT NULL,
    billable     TEXT NOT NULL,
    effective_at INTEGER NOT NULL,
    applied_at   INTEGER NOT NULL,
    applied      INTEGER NOT NULL,
    -- The place of the last event that said how things stand: a void says nothing.
    stated       INTEGER NOT NULL,
    -- Places that a snapshot passed over: what happened there was never told.
    skipped      INTEGER NOT NULL,
    -- Whether the last event came from a sink that only rehearses: nobody is to be charged for it.
    shadow       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS event (
    place      INTEGER PRIMARY KEY AUTOINCREMENT,
    uid        TEXT NOT NULL,
    sequence   INTEGER NOT NULL,
    era        INTEGER NOT NULL,
    event_id   TEXT NOT NULL,
    hash       TEXT NOT NULL,
    body       TEXT NOT NULL,
    applied_at INTEGER NOT NULL,
    shadow     INTEGER NOT NULL,
    UNIQUE (uid, sequence, era)
) STRICT;

CREATE TRIGGER IF NOT EXISTS event_is_never_changed BEFORE UPDATE ON event
BEGIN SELECT RAISE(ABORT, 'applied events are never changed'); END;

CREATE TRIGGER IF NOT EXISTS event_is_never_deleted BEFORE DELETE ON event
BEGIN SELECT RAISE(ABORT, 'applied events are never deleted'); END;
";

/// Why the receiver's database could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{doing}: the receiver's database does not do it: {why}; the sender will try again")]
pub struct StoreFault {
    doing: &'static str,
    why: String,
}

impl StoreFault {
    #[allow(clippy::needless_pass_by_value, reason = "it stands in map_err")]
    fn new(doing: &'static str, error: impl ToString) -> Self {
        Self { doing, why: error.to_string() }
    }
}

/// The receiver's memory.
#[derive(Clone, Debug)]
pub struct ReceiverStore {
    readers: SqlitePool,
    jobs: mpsc::Sender<Job>,
    writer: TaskTracker,
    closing: CancellationToken,
}

#[derive(Debug)]
struct Job {
    events: Vec<Opened>,
    shadow: bool,
    now: Timestamp,
    answer: oneshot::Sender<Result<Vec<Verdict>, StoreFault>>,
}

/// An event to apply, and how it came.
#[derive(Clone, Copy, Debug)]
struct Coming<'a> {
    opened: &'a Opened,
    shadow: bool,
    now: Timestamp,
}

impl ReceiverStore {
    /// Opens the file at `path`, or makes it.
    pub async fn open(path: &Path) -> Result<Self, StoreFault> {
        const DOING: &str = "opening the receiver's database";
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A 2xx promises that the event survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(std::time::Duration::from_secs(5));
        let fault = |error: sqlx::Error| StoreFault::new(DOING, format!("{}: {error}", path.display()));
        let mut writer = SqliteConnection::connect_with(&options).await.map_err(fault)?;
        sqlx::raw_sql(SCHEMA).execute(&mut writer).await.map_err(fault)?;
        let readers =
            SqlitePoolOptions::new().max_connections(4).connect_with(options.read_only(true)).await.map_err(fault)?;
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(write(writer, waiting, closing.clone()));
        tasks.close();
        Ok(Self { readers, jobs, writer: tasks, closing })
    }

    /// Answers what was asked, then leaves a single closed file behind.
    pub async fn close(&self) {
        // The readers first: only a writer that closes last can fold the log into the file.
        self.readers.close().await;
        self.closing.cancel();
        self.writer.wait().await;
    }

    /// Decides about the events of one message in their order, and applies those whose turn it is. When this answers, the
    /// decisions are on the disk.
    ///
    /// It stops at the first event that is not taken: the last verdict is about that one, and what came before is kept.
    /// `shadow`: they came from a sink that only rehearses, which is remembered with them.
    pub async fn take(&self, events: Vec<Opened>, shadow: bool, now: Timestamp) -> Result<Vec<Verdict>, StoreFault> {
        const DOING: &str = "applying events";
        let (answer, decided) = oneshot::channel();
        let job = Job { events, shadow, now, answer };
        self.jobs.send(job).await.map_err(|_| StoreFault::new(DOING, "it is being closed"))?;
        decided.await.map_err(|_| StoreFault::new(DOING, "it is being closed"))?
    }

    /// Resources in the order of their UID, behind `after`.
    pub async fn resources(&self, after: &str, limit: u32) -> Result<Vec<ResourceView>, StoreFault> {
        const DOING: &str = "listing resources";
        let rows = sqlx::query("SELECT * FROM resource WHERE uid > ?1 ORDER BY uid LIMIT ?2")
            .bind(after)
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| StoreFault::new(DOING, error))?;
        rows.iter().map(|row| views::resource(row).map_err(|why| StoreFault { doing: DOING, why })).collect()
    }

    /// The applied events of a resource in their order, behind the sequence `after`.
    pub async fn events(&self, uid: &Uid, after: Sequence, limit: u32) -> Result<Vec<EventView>, StoreFault> {
        const DOING: &str = "listing a resource's events";
        let rows = sqlx::query("SELECT * FROM event WHERE uid = ?1 AND sequence > ?2 ORDER BY sequence, era LIMIT ?3")
            .bind(uid.as_str())
            .bind(after.get())
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| StoreFault::new(DOING, error))?;
        rows.iter().map(|row| views::event(row).map_err(|why| StoreFault { doing: DOING, why })).collect()
    }
}

async fn write(mut connection: SqliteConnection, mut waiting: mpsc::Receiver<Job>, closing: CancellationToken) {
    let mut jobs = Vec::with_capacity(BATCH);
    loop {
        let taken = tokio::select! {
            taken = waiting.recv_many(&mut jobs, BATCH) => taken,
            () = closing.cancelled(), if !waiting.is_closed() => {
                waiting.close();
                continue;
            }
        };
        if taken == 0 {
            break;
        }
        match apply_all(&mut connection, &jobs).await {
            Ok(verdicts) => {
                for (job, verdicts) in jobs.drain(..).zip(verdicts) {
                    // Whoever asked may be gone; the events are applied, and their next try will be a duplicate.
                    let _ = job.answer.send(Ok(verdicts));
                }
            }
            Err(error) => {
                let fault = StoreFault::new("applying events", error);
                tracing::error!(%fault, messages = jobs.len(), "nothing was applied");
                for job in jobs.drain(..) {
                    let _ = job.answer.send(Err(fault.clone()));
                }
            }
        }
    }
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "the receiver's database was not closed; its log is read when it is opened again");
    }
}

async fn apply_all(connection: &mut SqliteConnection, jobs: &[Job]) -> Result<Vec<Vec<Verdict>>, sqlx::Error> {
    // Immediate, because it will write: a transaction that begins as a reader may find that it no longer can.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut all = Vec::with_capacity(jobs.len());
    for job in jobs {
        let mut verdicts = Vec::with_capacity(job.events.len());
        for opened in &job.events {
            let memory = remember(&mut transaction, &opened.link).await?;
            let verdict = match inbox::mixed(job.shadow, &memory) {
                Some(contradiction) => Verdict::Refuse(contradiction),
                None => inbox::place(&opened.link, &memory),
            };
            if verdict == Verdict::Apply {
                apply(&mut transaction, Coming { opened, shadow: job.shadow, now: job.now }).await?;
            }
            verdicts.push(verdict);
            if !verdict.is_taken() {
                break;
            }
        }
        all.push(verdicts);
    }
    transaction.commit().await?;
    Ok(all)
}

async fn remember(connection: &mut SqliteConnection, link: &Link) -> Result<Memory, sqlx::Error> {
    let row = sqlx::query("SELECT sequence, hash, era, shadow FROM resource WHERE uid = ?1")
        .bind(link.uid.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(Memory::default()) };
    let last =
        Last { sequence: Sequence::new(row.try_get(0)?), hash: parsed(&row, 1)?, era: Era::new(row.try_get(2)?) };
    let rehearsal = Some(row.try_get(3)?);
    let mut memory = Memory { last: Some(last), rehearsal, ..Memory::default() };
    // Of an era that has ended, places beyond the last one may have been applied too.
    if link.sequence > last.sequence && link.era >= last.era {
        return Ok(memory);
    }
    let rows =
        sqlx::query("SELECT sequence, hash, era FROM event WHERE uid = ?1 AND sequence IN (?2, ?2 - 1) ORDER BY era")
            .bind(link.uid.as_str())
            .bind(link.sequence.get())
            .fetch_all(connection)
            .await?;
    for row in rows {
        let (sequence, hash) = (Sequence::new(row.try_get(0)?), parsed(&row, 1)?);
        if sequence != link.sequence {
            memory.before = Some(hash);
        } else if Era::new(row.try_get(2)?) == link.era {
            memory.same = Some(hash);
        }
    }
    Ok(memory)
}

async fn apply(connection: &mut SqliteConnection, coming: Coming<'_>) -> Result<(), sqlx::Error> {
    let Opened { link, id, message, body } = coming.opened;
    sqlx::query(
        "INSERT INTO event (uid, sequence, era, event_id, hash, body, applied_at, shadow)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )
    .bind(link.uid.as_str())
    .bind(link.sequence.get())
    .bind(link.era.get())
    .bind(id.as_str())
    .bind(link.hash.to_string())
    .bind(body)
    .bind(coming.now.as_micros())
    .bind(coming.shadow)
    .execute(&mut *connection)
    .await?;
    match message {
        Message::Transition(Event { data, .. }) => {
            let subject = (data.kind, data.namespace.as_deref(), data.name.as_str());
            let owner = (&data.tenant, data.account.as_str(), data.plan.as_str());
            state(connection, coming, subject, owner, (&data.to, data.billable, data.effective_at)).await
        }
        Message::Snapshot(Snapshot { data, .. }) => {
            let subject = (data.kind, data.namespace.as_deref(), data.name.as_str());
            let owner = (&data.tenant, data.account.as_str(), data.plan.as_str());
            state(connection, coming, subject, owner, (&data.state, data.billable, data.effective_at)).await
        }
        Message::Void(Void { data, time, .. }) => {
            if advance(connection, coming).await? {
                return Ok(());
            }
            // The very first event was voided. Until the next one says more, nothing is known and nothing charged.
            let subject = (data.kind, data.namespace.as_deref(), data.name.as_str());
            let owner = (&data.tenant, data.account.as_str(), data.plan.as_str());
            state(connection, coming, subject, owner, (&UNSTATED, Billable::ZERO, *time)).await?;
            sqlx::query("UPDATE resource SET stated = 0 WHERE uid = ?1")
                .bind(link.uid.as_str())
                .execute(connection)
                .await
                .map(drop)
        }
    }
}

/// Remembers how things stand with the resource of `coming` from now on.
async fn state(
    connection: &mut SqliteConnection,
    coming: Coming<'_>,
    (kind, namespace, name): (Kind, Option<&str>, &str),
    (tenant, account, plan): (&TenantName, &str, &str),
    (state, billable, effective_at): (&State, Billable, Timestamp),
) -> Result<(), sqlx::Error> {
    let link = &coming.opened.link;
    let billable = serde_json::to_string(&billable).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query(
        "INSERT INTO resource (uid, kind, namespace, name, tenant, account, plan, era, sequence, state, hash, billable,
                               effective_at, applied_at, shadow, applied, stated, skipped)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, 1, ?9, ?9 - 1)
         ON CONFLICT (uid) DO UPDATE SET
             kind = ?2, namespace = ?3, name = ?4, tenant = ?5, account = ?6, plan = ?7, era = ?8,
             skipped = skipped + max(0, ?9 - sequence - 1), sequence = ?9, stated = ?9, state = ?10, hash = ?11,
             billable = ?12, effective_at = ?13, applied_at = ?14, shadow = ?15, applied = applied + 1",
    )
    .bind(link.uid.as_str())
    .bind(kind.as_str())
    .bind(namespace)
    .bind(name)
    .bind(tenant.as_str())
    .bind(account)
    .bind(plan)
    .bind(link.era.get())
    .bind(link.sequence.get())
    .bind(state.as_str())
    .bind(link.hash.to_string())
    .bind(billable)
    .bind(effective_at.as_micros())
    .bind(coming.now.as_micros())
    .bind(coming.shadow)
    .execute(connection)
    .await
    .map(drop)
}

/// Goes one place further in a stream that is known, and leaves how things stand. Answers whether it is known.
async fn advance(connection: &mut SqliteConnection, coming: Coming<'_>) -> Result<bool, sqlx::Error> {
    let link = &coming.opened.link;
    let known = sqlx::query(
        "UPDATE resource SET era = ?2, sequence = ?3, hash = ?4, applied_at = ?5, shadow = ?6, applied = applied + 1
         WHERE uid = ?1",
    )
    .bind(link.uid.as_str())
    .bind(link.era.get())
    .bind(link.sequence.get())
    .bind(link.hash.to_string())
    .bind(coming.now.as_micros())
    .bind(coming.shadow)
    .execute(connection)
    .await?;
    Ok(known.rows_affected() == 1)
}

fn parsed(row: &SqliteRow, column: usize) -> Result<Hash, sqlx::Error> {
    let text: String = row.try_get(column)?;
    text.parse().map_err(|error: crate::domain::ParseHashError| sqlx::Error::Decode(error.into()))
}
