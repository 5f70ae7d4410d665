//! Turns many waiting writers into few transactions.
//!
//! One task per shard takes what is queued, up to a batch, and commits it. While it does, the next batch gathers and
//! is decided, so the batches grow with the load, an idle ledger adds no wait, and a busy one keeps the database at work.

mod commit;
mod gathered;
mod stats;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

pub use self::stats::{AppenderStats, Appending, StatsView};
use self::{
    commit::Committer,
    gathered::{Answers, Gathered},
};
use super::{
    store::{Store, StoreError},
    types::{Draft, Outcome},
    waits::Waits,
};
use crate::domain::{Clock, Epoch, Shard};

/// Bounds on what an appender holds and on how long it tries.
#[derive(Clone, Copy, Debug)]
pub struct AppenderLimits {
    /// Drafts that may wait; who comes later waits to be let in.
    pub queue: usize,
    /// Drafts in one transaction.
    pub batch: usize,
    /// How long the database may take for one try.
    pub attempt: Duration,
    /// How long a batch is tried in all before its writers are told.
    pub deadline: Duration,
}

impl Default for AppenderLimits {
    fn default() -> Self {
        Self { queue: 4_096, batch: 500, attempt: Duration::from_secs(5), deadline: Duration::from_secs(15) }
    }
}

/// Why a draft has no outcome.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppenderError {
    /// Another process leads now. Nothing of this was written; stop acting.
    #[error("epoch {mine} of shard {shard} has ended: epoch {current} leads now; this process must step down")]
    Fenced {
        /// The shard.
        shard: Shard,
        /// This process's term.
        mine: Epoch,
        /// The valid one.
        current: Epoch,
    },
    /// It was certainly not written. Trying again later may help.
    #[error("nothing was appended in {tried:?}, will be tried again: {cause}")]
    Unavailable {
        /// How long it was tried.
        tried: Duration,
        /// What went wrong last.
        cause: Arc<StoreError>,
    },
    /// It was certainly not written, and will not be.
    #[error("nothing was appended: {cause}")]
    Refused {
        /// Why.
        cause: Arc<StoreError>,
    },
    /// It may have been written. The stream's head will tell, once the database answers.
    #[error("whether it was appended could not be found out in {tried:?}: {cause}; read the stream's head again")]
    Unresolved {
        /// How long it was tried.
        tried: Duration,
        /// What went wrong last.
        cause: Arc<StoreError>,
    },
    /// The appender ended before it came to this draft, which was not written.
    #[error("the appender has stopped; the process is ending")]
    Stopped,
}

impl AppenderError {
    /// Whether the database did not answer in time, so that nothing is wrong with the draft itself.
    pub const fn is_away(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Unresolved { .. })
    }

    /// A word for metrics and for the reasons of conditions.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Fenced { .. } => "LedgerFenced",
            Self::Unavailable { cause, .. } | Self::Refused { cause } => cause.code(),
            Self::Unresolved { .. } => "LedgerUnresolved",
            Self::Stopped => "LedgerStopped",
        }
    }
}

/// A draft and who wants to know what becomes of it.
struct Waiting {
    draft: Draft,
    answer: oneshot::Sender<Result<Outcome, AppenderError>>,
}

/// The way into one shard of the ledger. Clones share the queue; the task ends when the last of them is dropped.
#[derive(Clone, Debug)]
pub struct Appender {
    queue: mpsc::Sender<Waiting>,
    fenced: CancellationToken,
    commits: watch::Receiver<u64>,
    stats: Arc<AppenderStats>,
}

impl Appender {
    /// Starts appending to `shard` in the term `epoch`. While the database is away, `waits` says so.
    pub fn start(
        store: Arc<dyn Store>,
        shard: Shard,
        epoch: Epoch,
        clock: Arc<dyn Clock>,
        limits: AppenderLimits,
        waits: Arc<Waits>,
    ) -> (Self, JoinHandle<()>) {
        let (queue, waiting) = mpsc::channel(limits.queue.max(1));
        let (committed, commits) = watch::channel(0);
        let stats = Arc::new(AppenderStats::default());
        let fenced = CancellationToken::new();
        let committer = Committer { store, shard, epoch, clock, limits, stats: Arc::clone(&stats), waits };
        let task = tokio::spawn(run(waiting, committer, committed, fenced.clone()));
        (Self { queue, fenced, commits, stats }, task)
    }

    /// Appends `draft` and says what became of it. Waits while the queue is full.
    ///
    /// Dropping the future does not take the draft back.
    pub async fn append(&self, draft: Draft) -> Result<Outcome, AppenderError> {
        let (answer, answered) = oneshot::channel();
        if self.queue.send(Waiting { draft, answer }).await.is_err() {
            return Err(AppenderError::Stopped);
        }
        answered.await.unwrap_or(Err(AppenderError::Stopped))
    }

    /// Cancelled once this term has ended: whoever acts on behalf of it must stop at once.
    pub fn fenced(&self) -> &CancellationToken {
        &self.fenced
    }

    /// Changes after every commit that wrote rows: the signal to look for due lanes. It counts the rows.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.clone()
    }

    /// What it has done so far.
    pub fn stats(&self) -> &AppenderStats {
        &self.stats
    }
}

/// So often it is looked whether somebody more has come, until nobody has: some microseconds each time.
const LOOKS: usize = 16;

/// Lets those who were just answered come back, up to `expected` of them: the database takes as long for half of them as for
/// all. Nobody who comes when nobody was answered waits for this.
async fn company(waiting: &mpsc::Receiver<Waiting>, expected: usize) {
    let (mut came, mut looks) = (waiting.len(), 0);
    while came < expected && looks < LOOKS {
        tokio::task::yield_now().await;
        looks = if waiting.len() > came { 0 } else { looks + 1 };
        came = waiting.len();
    }
}

async fn run(
    mut waiting: mpsc::Receiver<Waiting>,
    committer: Committer,
    committed: watch::Sender<u64>,
    fenced: CancellationToken,
) {
    let mut next = Gathered::default();
    let mut answers = Answers::new(vec![], vec![], vec![]);
    let many = committer.store.many();
    loop {
        if next.len() < many {
            // Whoever is answered may have more to say: the batch to come is better with it than without.
            let answered = answers.give();
            company(&waiting, answered.saturating_sub(next.len())).await;
            if !next.fill(&mut waiting, committer.limits.batch, many).await {
                return;
            }
        }
        let (drafts, askers, ahead) = std::mem::take(&mut next).close(&committer);
        let results = tokio::select! {
            // The commit first: all else is done in the time in which the database works.
            biased;
            results = committer.commit_each(&drafts, ahead) => results,
            never = async {
                answers.give_by_and_by().await;
                next.fill_ahead(&mut waiting, &committer).await
            } => match never {},
        };
        answers.give();
        let written = results.iter().filter(|result| matches!(result, Ok(Outcome::Appended(_)))).count();
        if written > 0 {
            committed.send_modify(|rows| *rows += u64::try_from(written).unwrap_or(0));
        }
        let end = results.iter().find_map(|result| match result {
            Err(error @ AppenderError::Fenced { .. }) => Some(error.clone()),
            _ => None,
        });
        answers = Answers::new(drafts, askers, results);
        if let Some(error) = end {
            // Before anybody is answered: who hears of it must find the process already stopping.
            fenced.cancel();
            waiting.close();
            answers.give();
            next.refuse(&error);
            while let Some(late) = waiting.recv().await {
                late.answer.send(Err(error.clone())).ok();
            }
        }
    }
}
