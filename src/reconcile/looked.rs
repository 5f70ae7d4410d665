//! Which objects this process has looked at since it began to lead: what changed before that, nobody watched.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use crate::domain::Uid;

/// The objects that were looked at, or whose newest row this process wrote.
#[derive(Default)]
pub struct Looked {
    at: Mutex<HashSet<Uid>>,
}

impl Looked {
    /// Remembers that `uid` was seen as the ledger says it is.
    pub(super) fn note(&self, uid: &Uid) {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        if !at.contains(uid) {
            at.insert(uid.clone());
        }
    }

    /// Whether it was.
    pub(super) fn has(&self, uid: &Uid) -> bool {
        self.at.lock().unwrap_or_else(PoisonError::into_inner).contains(uid)
    }

    /// Forgets one that is gone.
    pub(super) fn forget(&self, uid: &Uid) {
        self.at.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}
