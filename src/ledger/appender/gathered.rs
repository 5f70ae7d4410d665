//! The drafts of one batch, and who waits for its outcomes.

use tokio::sync::{mpsc, oneshot};

use super::{AppenderError, Waiting, commit::Committer};
use crate::ledger::{
    ahead::Ahead,
    types::{Draft, Outcome},
};

/// So many must wait before their batch is closed while another is being written. A batch of few costs the database nearly
/// as much as one of twice as many.
const MANY: usize = 64;

/// So many are decided before the database's answer is looked for again: well under a millisecond's work.
const SLICE: usize = 16;

#[derive(Default)]
pub(super) struct Gathered {
    pub(super) drafts: Vec<Draft>,
    answers: Vec<oneshot::Sender<Result<Outcome, AppenderError>>>,
    /// What became of all of them, if that was decided ahead.
    pub(super) ahead: Option<Ahead>,
}

impl Gathered {
    pub(super) const fn is_empty(&self) -> bool {
        self.drafts.is_empty()
    }

    /// Takes what waits, at most `batch`; waits until something does. Answers whether anything ever will.
    pub(super) async fn gather(&mut self, waiting: &mut mpsc::Receiver<Waiting>, batch: usize) -> bool {
        let mut queued = Vec::new();
        waiting.recv_many(&mut queued, batch.max(1)).await;
        for Waiting { draft, answer } in queued {
            self.drafts.push(draft);
            self.answers.push(answer);
        }
        !self.is_empty()
    }

    /// If many wait, gathers them and decides what they will become behind the batch that is being committed.
    ///
    /// May be dropped at any moment: what was gathered stays.
    pub(super) async fn gather_ahead(&mut self, waiting: &mut mpsc::Receiver<Waiting>, committer: &Committer) {
        if waiting.len() < MANY.min(committer.limits.batch) {
            return;
        }
        self.gather(waiting, committer.limits.batch).await;
        let Some(mut ahead) = committer.ahead(&self.drafts) else { return };
        for drafts in self.drafts.chunks(SLICE) {
            tokio::task::yield_now().await;
            for draft in drafts {
                ahead.take(draft);
            }
        }
        self.ahead = Some(ahead);
    }

    pub(super) fn answer(self, results: Vec<Result<Outcome, AppenderError>>) {
        for (answer, result) in self.answers.into_iter().zip(results) {
            // Nobody may be waiting any more, which changes nothing.
            answer.send(result).ok();
        }
    }

    /// Nothing becomes of any of them.
    pub(super) fn answer_all(&mut self, error: &AppenderError) {
        let Self { drafts, answers, .. } = std::mem::take(self);
        Self { answers, ..Self::default() }.answer(vec![Err(error.clone()); drafts.len()]);
    }
}
