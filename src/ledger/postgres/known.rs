//! What this process knows of a shard from its last append, so that the next one need not read it.
//!
//! It may be out of date at any time, and is never trusted: whatever is decided by it is written only if the shard's row is
//! still where it was, and everything that a decision stands on moves that row.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::write::Place;
use crate::{
    domain::{Shard, Uid},
    ledger::{
        batch::{Batch, Standing},
        types::{Draft, Head},
    },
};

/// So many heads are kept, of about a kilobyte each.
const HEADS: usize = 10_000;

/// One for each shard, except for those that somebody is appending to.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<Shard, Memory>>);

impl Known {
    /// Takes what is known of a shard. Whoever comes before it is put back knows nothing.
    pub(super) fn take(&self, shard: Shard) -> Option<Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&shard)
    }

    pub(super) fn put(&self, memory: Memory) {
        let shard = memory.standing.shard.id;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(shard, memory);
    }
}

/// How a shard stood.
#[derive(Debug)]
pub(super) struct Memory {
    /// With the heads of many streams.
    standing: Standing,
    revision: i64,
}

impl Memory {
    pub(super) fn new(standing: Standing, revision: i64) -> Self {
        Self { standing, revision }
    }

    /// Where the shard's row was.
    pub(super) fn place(&self) -> Place {
        Place { head: self.standing.shard.head, revision: self.revision }
    }

    /// This and what was just `read`; only that, if the shard has moved meanwhile.
    pub(super) fn and(self, mut read: Self) -> Self {
        let same = self.standing.shard == read.standing.shard && self.revision == read.revision;
        if same && self.standing.heads.len() + read.standing.heads.len() <= HEADS {
            read.standing.heads.extend(self.standing.heads);
        }
        read
    }

    /// The shard has become what `batch` made of it.
    pub(super) fn advance(&mut self, batch: &Batch) {
        self.standing.shard = batch.shard.clone();
        if self.standing.heads.len() + batch.heads.len() > HEADS {
            self.standing.heads.clear();
        }
        self.standing.heads.extend(batch.heads.iter().map(|head| (head.subject.uid.clone(), head.clone())));
    }

    /// Whether the heads of all streams that `drafts` go on with are known. Those of new ones never are.
    pub(super) fn covers(&self, drafts: &[Draft]) -> bool {
        drafts.iter().all(|draft| self.standing.heads.contains_key(&draft.subject.uid))
    }

    /// What a decision about `drafts` stands on.
    pub(super) fn standing(&self, drafts: &[Draft]) -> Standing {
        let head = |uid: &Uid| self.standing.heads.get(uid).map(|head: &Head| (uid.clone(), head.clone()));
        Standing {
            shard: self.standing.shard.clone(),
            installation: self.standing.installation.clone(),
            heads: drafts.iter().filter_map(|draft| head(&draft.subject.uid)).collect(),
            selectors: self.standing.selectors.clone(),
        }
    }
}
