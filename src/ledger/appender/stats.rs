//! What an appender has done, for whoever exports metrics.

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Counters that only rise. Read with `view`.
#[derive(Debug, Default)]
pub struct AppenderStats {
    batches: AtomicU64,
    drafts: AtomicU64,
    largest: AtomicU64,
    tries: AtomicU64,
    doubts: AtomicU64,
    busy_micros: AtomicU64,
    observer: Observer,
}

/// Something that an appender did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Appending {
    /// A transaction was tried.
    Tried,
    /// Its outcome is unknown so far.
    Doubted,
    /// A batch was answered.
    Answered {
        /// Drafts in it.
        drafts: usize,
        /// From taking it to answering it, retries included.
        busy: Duration,
    },
}

/// Who hears of it.
#[derive(Default)]
struct Observer(OnceLock<Box<dyn Fn(Appending) + Send + Sync>>);

impl Observer {
    fn hears(&self, what: Appending) {
        if let Some(observer) = self.0.get() {
            observer(what);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "Observer" } else { "nobody" })
    }
}

/// The counters at one moment, nearly.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StatsView {
    /// Batches that were answered.
    pub batches: u64,
    /// Drafts in them.
    pub drafts: u64,
    /// The largest of them.
    pub largest: u64,
    /// Transactions that were tried; more than batches when the database failed.
    pub tries: u64,
    /// Tries whose outcome was unknown at first.
    pub doubts: u64,
    /// Time spent from taking a batch to answering it, retries included.
    pub busy: Duration,
}

impl AppenderStats {
    /// The counters now.
    pub fn view(&self) -> StatsView {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StatsView {
            batches: read(&self.batches),
            drafts: read(&self.drafts),
            largest: read(&self.largest),
            tries: read(&self.tries),
            doubts: read(&self.doubts),
            busy: Duration::from_micros(read(&self.busy_micros)),
        }
    }

    /// From now on, `observer` hears of all that is done. The first one asked stays.
    pub fn tell(&self, observer: impl Fn(Appending) + Send + Sync + 'static) {
        let _ = self.observer.0.set(Box::new(observer));
    }

    pub(super) fn tried(&self) {
        self.observer.hears(Appending::Tried);
        self.tries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn doubted(&self) {
        self.observer.hears(Appending::Doubted);
        self.doubts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn answered(&self, drafts: usize, busy: Duration) {
        self.observer.hears(Appending::Answered { drafts, busy });
        let drafts = u64::try_from(drafts).unwrap_or(u64::MAX);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.drafts.fetch_add(drafts, Ordering::Relaxed);
        self.largest.fetch_max(drafts, Ordering::Relaxed);
        self.busy_micros.fetch_add(u64::try_from(busy.as_micros()).unwrap_or(0), Ordering::Relaxed);
    }
}
