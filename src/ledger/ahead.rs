//! The next batch, decided while the one before it is being written.
//!
//! It stands on a promise: that the shard will be as the one before leaves it. A store writes it only if exactly that came
//! true, and decides anew otherwise.

use super::{
    batch::{Batch, Decision},
    types::Draft,
};

/// Names one state of what a process knows of a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ticket(u64);

impl Ticket {
    pub(super) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A batch that is being decided ahead.
#[derive(Debug)]
pub struct Ahead {
    behind: Ticket,
    decision: Decision,
}

impl Ahead {
    pub(super) const fn new(behind: Ticket, decision: Decision) -> Self {
        Self { behind, decision }
    }

    /// This, knowing also what `more` was begun with for drafts that came later, if both stand on the same.
    pub fn and(mut self, more: Self) -> Option<Self> {
        (self.behind == more.behind).then(|| {
            self.decision.learn(more.decision);
            self
        })
    }

    /// Decides what `draft` becomes. It must be the next of those that this was begun for, or that was added since.
    pub fn take(&mut self, draft: &Draft) {
        self.decision.take(draft);
    }

    /// What to write if the shard is as it was promised under `ticket`.
    pub(super) fn behind(self, ticket: Ticket) -> Option<Batch> {
        (self.behind == ticket).then(|| self.decision.finish())
    }
}
