//! Committing one batch in spite of a database that fails, and never guessing whether it did.

use std::{collections::HashSet, io, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{AppenderError, AppenderLimits, AppenderStats};
use crate::{
    domain::{Clock, Epoch, Event, Sequence, Shard, TimeSource, Uid},
    ledger::{
        ahead::Ahead,
        batch::evidence_of,
        store::{AppendError, Store, StoreError},
        types::{Draft, Outcome, Row},
        waits::{Waits, Want},
    },
};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Committer {
    pub(super) store: Arc<dyn Store>,
    pub(super) shard: Shard,
    pub(super) epoch: Epoch,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: AppenderLimits,
    pub(super) stats: Arc<AppenderStats>,
    pub(super) waits: Arc<Waits>,
}

/// How one try went wrong.
enum Failure {
    /// Nothing can come of trying again.
    Final(AppenderError),
    /// It was not committed; it may be next time.
    Not(StoreError),
    /// It may have been committed.
    Doubt(StoreError),
}

impl Committer {
    /// Commits `drafts` together, or says of each why not.
    ///
    /// A batch that the database refuses is committed one by one, so that one bad draft fails alone.
    pub(super) async fn commit_each(
        &self,
        drafts: &[Draft],
        ahead: Option<Ahead>,
    ) -> Vec<Result<Outcome, AppenderError>> {
        let began = self.clock.monotonic();
        let results = match self.commit(drafts, ahead).await {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(AppenderError::Refused { .. }) if drafts.len() > 1 => {
                let mut results = Vec::with_capacity(drafts.len());
                for draft in drafts {
                    let alone = self.commit(std::slice::from_ref(draft), None).await;
                    results.push(alone.and_then(|outcomes| outcomes.into_iter().next().ok_or(AppenderError::Stopped)));
                }
                results
            }
            Err(error) => vec![Err(error); drafts.len()],
        };
        self.stats.answered(drafts.len(), self.clock.monotonic().saturating_sub(began));
        results
    }

    /// Tries until it is done, or certainly cannot be, or the deadline passes.
    async fn commit(&self, drafts: &[Draft], mut ahead: Option<Ahead>) -> Result<Vec<Outcome>, AppenderError> {
        let began = self.clock.monotonic();
        let mut paused = Duration::ZERO;
        let mut pause = FIRST_PAUSE;
        let mut in_doubt = false;
        loop {
            let cause = match self.try_once(drafts, ahead.take(), in_doubt).await {
                Ok(outcomes) => {
                    self.waits.worked(Want::Append, &*self.clock);
                    return Ok(outcomes);
                }
                Err(Failure::Final(AppenderError::Refused { cause })) if in_doubt => {
                    return Err(AppenderError::Unresolved { tried: paused, cause });
                }
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Not(cause)) => cause,
                Err(Failure::Doubt(cause)) => {
                    self.stats.doubted();
                    in_doubt = true;
                    cause
                }
            };
            if !self.waits.failed(Want::Append, &cause, &*self.clock) {
                tracing::warn!(shard = %self.shard, drafts = drafts.len(), %cause, "whether a batch was appended is not known yet");
            }
            // A clock that stands still, as a simulator's may, must not make this try for ever.
            let tried = self.clock.monotonic().saturating_sub(began).max(paused);
            if tried >= self.limits.deadline {
                let cause = Arc::new(cause);
                return Err(if in_doubt {
                    AppenderError::Unresolved { tried, cause }
                } else {
                    AppenderError::Unavailable { tried, cause }
                });
            }
            sleep(pause).await;
            paused += pause;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    /// Begins to decide what `drafts` will become behind what is being committed.
    pub(super) fn ahead(&self, drafts: &[Draft]) -> Option<Ahead> {
        self.store.ahead(self.shard, self.epoch, self.clock.now(), drafts)
    }

    async fn try_once(&self, drafts: &[Draft], ahead: Option<Ahead>, in_doubt: bool) -> Result<Vec<Outcome>, Failure> {
        self.stats.tried();
        let now = self.clock.now();
        let appending = match ahead {
            Some(ahead) => self.store.append_ahead(self.shard, self.epoch, now, drafts, ahead),
            None => self.store.append(self.shard, self.epoch, now, drafts),
        };
        let outcomes = match timeout(self.limits.attempt, appending).await {
            Ok(Ok(outcomes)) => outcomes,
            Ok(Err(AppendError::Fenced { shard, mine, current })) => {
                return Err(Failure::Final(AppenderError::Fenced { shard, mine, current }));
            }
            Ok(Err(AppendError::NotCommitted(cause))) if cause.is_transient() => return Err(Failure::Not(cause)),
            Ok(Err(AppendError::NotCommitted(cause))) => {
                return Err(Failure::Final(AppenderError::Refused { cause: Arc::new(cause) }));
            }
            Ok(Err(AppendError::Unknown(cause))) => return Err(Failure::Doubt(cause)),
            Err(_) => return Err(Failure::Doubt(too_slow())),
        };
        if !in_doubt {
            return Ok(outcomes);
        }
        // An earlier try may have committed. This one took the shard's lock after it, so whatever it did is visible now.
        recognise(self.store.as_ref(), self.epoch, drafts, outcomes).await.map_err(Failure::Doubt)
    }
}

fn too_slow() -> StoreError {
    let source = sqlx::Error::Io(io::ErrorKind::TimedOut.into());
    StoreError::Unavailable { doing: "appending to the ledger", source }
}

/// Finds, among the drafts that are stale, those whose own row an earlier try committed.
async fn recognise(
    store: &dyn Store,
    epoch: Epoch,
    drafts: &[Draft],
    mut outcomes: Vec<Outcome>,
) -> Result<Vec<Outcome>, StoreError> {
    // Two writers may have drafted the very same; the row belongs to the first of them.
    let place = |draft: &Draft| (draft.subject.uid.clone(), draft.after.map_or(Sequence::FIRST, Sequence::next));
    let written = drafts.iter().zip(&outcomes).filter(|(_, outcome)| matches!(outcome, Outcome::Appended(_)));
    let mut taken: HashSet<(Uid, Sequence)> = written.map(|(draft, _)| place(draft)).collect();
    for (draft, outcome) in drafts.iter().zip(&mut outcomes) {
        let Outcome::Stale(Some(head)) = outcome else { continue };
        let (uid, sequence) = place(draft);
        if taken.contains(&(uid.clone(), sequence)) {
            continue;
        }
        if store.row(&uid, sequence).await?.is_some_and(|row| row.epoch == epoch && is_of(&row, draft)) {
            taken.insert((uid, sequence));
            *outcome = Outcome::Appended(head.clone());
        }
    }
    Ok(outcomes)
}

/// Whether `row` is what `draft` becomes: equal in everything that the draft says.
fn is_of(row: &Row, draft: &Draft) -> bool {
    let Ok(event) = Event::verify(&row.body) else { return false };
    let (subject, said) = (&draft.subject, &event.data);
    let opens = draft.after.is_none();
    let effective = match row.effective.source {
        TimeSource::Clamped => {
            row.effective.not_before == draft.effective.not_before && row.effective.at >= draft.effective.at
        }
        _ => row.effective == draft.effective,
    };
    effective
        && row.uid == subject.uid
        && row.to == draft.to
        && row.reason == draft.reason
        && row.generation == draft.generation
        && row.evidence == evidence_of(draft)
        && said.message == draft.message
        && said.amends == draft.amends
        && said.billable == draft.billable
        && said.kind == subject.kind
        && said.namespace == subject.namespace
        && said.name == subject.name
        && said.tenant == subject.tenant
        && said.account == subject.account
        && said.plan == subject.plan
        && (!opens || said.previous_uid == subject.previous_uid)
}
