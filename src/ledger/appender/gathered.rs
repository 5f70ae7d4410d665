//! The drafts of one batch, and who waits for its outcomes.

use std::{convert::Infallible, iter::Zip, vec::IntoIter};

use tokio::sync::{mpsc, oneshot};

use super::{AppenderError, Waiting, commit::Committer};
use crate::ledger::{
    ahead::Ahead,
    types::{Draft, Outcome},
};

/// So many are decided or answered before the database is looked after again, which may wait for more of a large
/// statement: well under a millisecond's work.
const SLICE: usize = 16;

/// What becomes of one draft, or why nothing does.
type Answer = Result<Outcome, AppenderError>;

#[derive(Default)]
pub(super) struct Gathered {
    drafts: Vec<Draft>,
    askers: Vec<oneshot::Sender<Answer>>,
    /// What became of those that were decided ahead, if all of them could be.
    ahead: Option<Ahead>,
    /// How many of them were, or could not be.
    decided: usize,
}

impl Gathered {
    pub(super) const fn len(&self) -> usize {
        self.drafts.len()
    }

    /// Takes what waits besides; if that and what it has is nothing, waits until something does. Answers whether anything
    /// ever will.
    ///
    /// Of twice as `many` as make a batch by themselves it leaves half to be decided while this half is being written.
    pub(super) async fn fill(&mut self, waiting: &mut mpsc::Receiver<Waiting>, batch: usize, many: usize) -> bool {
        let had = self.drafts.len();
        let all = had + waiting.len();
        let most = if all < 2 * many { batch } else { batch.min(all / 2) }.max(1);
        if had == 0 || (had < most && !waiting.is_empty()) {
            self.receive(waiting, most - had).await;
        }
        !self.drafts.is_empty()
    }

    /// While a batch is being committed, gathers the next and decides what it will become behind that.
    ///
    /// Never ends by itself, and may be dropped at any moment: what was gathered stays.
    pub(super) async fn fill_ahead(
        &mut self,
        waiting: &mut mpsc::Receiver<Waiting>,
        committer: &Committer,
    ) -> Infallible {
        while self.drafts.len() < committer.limits.batch {
            if !self.receive(waiting, committer.limits.batch - self.drafts.len()).await {
                break;
            }
            while self.decided < self.drafts.len() {
                self.decide(committer, SLICE);
                tokio::task::yield_now().await;
            }
        }
        std::future::pending().await
    }

    async fn receive(&mut self, waiting: &mut mpsc::Receiver<Waiting>, most: usize) -> bool {
        let mut queued = Vec::new();
        let received = waiting.recv_many(&mut queued, most).await;
        for Waiting { draft, answer } in queued {
            self.drafts.push(draft);
            self.askers.push(answer);
        }
        received > 0
    }

    /// Decides what up to `most` of those become that were not decided yet.
    fn decide(&mut self, committer: &Committer, most: usize) {
        let until = self.drafts.len().min(self.decided.saturating_add(most));
        let drafts = &self.drafts[self.decided..until];
        let more = committer.ahead(drafts);
        self.ahead = match (self.ahead.take(), more) {
            (None, Some(begun)) if self.decided == 0 => Some(begun),
            (Some(begun), Some(more)) => begun.and(more),
            _ => None,
        };
        if let Some(ahead) = &mut self.ahead {
            for draft in drafts {
                ahead.take(draft);
            }
        }
        self.decided = until;
    }

    /// The batch as it is: its drafts, who asked, and what becomes of the drafts, if that was decided ahead.
    pub(super) fn close(mut self, committer: &Committer) -> (Vec<Draft>, Vec<oneshot::Sender<Answer>>, Option<Ahead>) {
        if self.ahead.is_some() && self.decided < self.drafts.len() {
            self.decide(committer, usize::MAX);
        }
        (self.drafts, self.askers, self.ahead)
    }

    /// Nothing becomes of any of them.
    pub(super) fn refuse(&mut self, error: &AppenderError) {
        let Self { drafts, askers, .. } = std::mem::take(self);
        let results = vec![Err(error.clone()); drafts.len()];
        Answers::new(drafts, askers, results).give();
    }
}

/// What became of a batch, and of which not everybody was told yet.
pub(super) struct Answers {
    rest: Zip<IntoIter<oneshot::Sender<Answer>>, IntoIter<Answer>>,
    drafts: IntoIter<Draft>,
}

impl Answers {
    pub(super) fn new(drafts: Vec<Draft>, askers: Vec<oneshot::Sender<Answer>>, results: Vec<Answer>) -> Self {
        Self { rest: askers.into_iter().zip(results), drafts: drafts.into_iter() }
    }

    /// Tells everybody who was not told yet, and how many these were.
    pub(super) fn give(&mut self) -> usize {
        let rest = self.rest.len();
        self.give_to(usize::MAX);
        rest
    }

    /// Tells everybody, and a few only at a time: each who is told wakes up and wants the processor.
    pub(super) async fn give_by_and_by(&mut self) {
        while self.rest.len() > 0 {
            self.give_to(SLICE);
            tokio::task::yield_now().await;
        }
    }

    fn give_to(&mut self, most: usize) {
        for (asker, result) in self.rest.by_ref().take(most) {
            // Nobody may be waiting any more, which changes nothing.
            asker.send(result).ok();
        }
        self.drafts.by_ref().take(most).for_each(drop);
    }
}
