//! What this process knows of a shard from its last append, so that the next one need not read it.
//!
//! It may be out of date at any time, and is never trusted: whatever is decided by it is written only if the shard's row is
//! still where it was, and everything that a decision stands on moves that row. (PostgreSQL writes nothing unless the row
//! is still there; SQLite reads it all again under its lock, but for the heads.)

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    ahead::{Ahead, Ticket},
    batch::{Batch, Decision, Standing},
    types::{Draft, ShardRow},
};
use crate::domain::{Epoch, Position, Shard, Tables, Timestamp, Uid};

/// So many heads are kept, of about a kilobyte each.
const HEADS: usize = 16_384;

/// What is known of each shard.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    last: Ticket,
    shards: HashMap<Shard, Place>,
}

#[derive(Debug)]
struct Place {
    memory: Memory,
    /// Names this memory: no other, of whatever attempt, ever has the same.
    ticket: Ticket,
    /// Whether it holds only if what is being written at this moment is committed.
    promised: bool,
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is known of a shard. Whoever comes before it is put back knows nothing.
    ///
    /// What was promised and never kept, because its writer failed or was dropped, is not known.
    pub(super) fn take(&self, shard: Shard) -> Option<(Memory, Ticket)> {
        let place = self.lock().shards.remove(&shard)?;
        (!place.promised).then_some((place.memory, place.ticket))
    }

    /// Puts down how the shard will stand once what is about to be written is committed.
    pub(super) fn promise(&self, memory: Memory) -> Ticket {
        let mut places = self.lock();
        let ticket = places.last.next();
        places.last = ticket;
        let shard = memory.standing.shard.id;
        places.shards.insert(shard, Place { memory, ticket, promised: true });
        ticket
    }

    /// It is committed.
    pub(super) fn keep(&self, shard: Shard, ticket: Ticket) {
        if let Some(place) = self.lock().shards.get_mut(&shard).filter(|place| place.ticket == ticket) {
            place.promised = false;
        }
    }

    /// Begins to decide what `drafts` become behind what is known or promised, if that covers them.
    pub(super) fn ahead(
        &self,
        tables: Tables,
        shard: Shard,
        epoch: Epoch,
        now: Timestamp,
        drafts: &[Draft],
    ) -> Option<Ahead> {
        let places = self.lock();
        let place = places.shards.get(&shard).filter(|place| place.memory.covers(drafts))?;
        let decision = Decision::begin(tables, place.memory.standing(drafts), epoch, now).ok()?;
        Some(Ahead::new(place.ticket, decision))
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

    /// The shard's newest position.
    pub(super) fn head(&self) -> Position {
        self.standing.shard.head
    }

    /// What moves with everything else that a decision stands on, where no lock says as much.
    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    /// Whether the shard's row is where it was.
    pub(super) fn is_at(&self, shard: &ShardRow, revision: i64) -> bool {
        self.standing.shard == *shard && self.revision == revision
    }

    /// Whether a stream's head is known. That of a new one never is.
    pub(super) fn knows(&self, uid: &Uid) -> bool {
        self.standing.heads.contains_key(uid)
    }

    /// This and what was just `read`; only that, if the shard has moved meanwhile.
    pub(super) fn and(mut self, read: Self) -> Self {
        if !self.is_at(&read.standing.shard, read.revision) {
            return read;
        }
        // However many they are: whoever reads only what is not known here needs all of both. The few go to the many.
        self.standing.heads.extend(read.standing.heads);
        self.standing.installation = read.standing.installation;
        self.standing.selectors = read.standing.selectors;
        self
    }

    /// The shard has become what `batch` made of it.
    pub(super) fn advance(&mut self, batch: &Batch) {
        self.standing.shard = batch.shard.clone();
        if self.standing.heads.len() + batch.heads.len() > HEADS {
            self.standing.heads.clear();
        }
        self.standing.heads.extend(batch.heads.iter().map(|head| (head.subject.uid.clone(), Arc::clone(head))));
    }

    /// Whether the heads of all streams that `drafts` name are known.
    pub(super) fn covers(&self, drafts: &[Draft]) -> bool {
        drafts.iter().all(|draft| self.knows(&draft.subject.uid))
    }

    /// What a decision about all of its streams stands on.
    pub(super) fn into_standing(self) -> Standing {
        self.standing
    }

    /// What a decision about `drafts` stands on.
    pub(super) fn standing(&self, drafts: &[Draft]) -> Standing {
        let head = |uid: &Uid| self.standing.heads.get(uid).map(|head| (uid.clone(), Arc::clone(head)));
        Standing {
            shard: self.standing.shard.clone(),
            installation: self.standing.installation.clone(),
            heads: drafts.iter().filter_map(|draft| head(&draft.subject.uid)).collect(),
            selectors: self.standing.selectors.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        domain::{Billable, Era, Hash, InstallationId, Kind, Sequence, State, Subject, TenantName},
        ledger::types::{Head, Installation},
    };

    fn head(uid: String) -> Head {
        let subject = Subject {
            uid: Uid::new(uid),
            kind: Kind::Tenant,
            namespace: None,
            name: "acme".into(),
            tenant: TenantName::new("acme"),
            account: "acct-1".into(),
            plan: "small".into(),
            previous_uid: None,
        };
        let at = Timestamp::from_micros(0);
        Head {
            subject,
            shard: Shard::default(),
            state: State::of("Active"),
            sequence: Sequence::FIRST,
            hash: Hash::ZERO,
            epoch: Epoch::new(1),
            era: Era::new(0),
            generation: 1,
            billable: Billable::ZERO,
            reason: "Tested".into(),
            message: String::new(),
            effective_at: at,
            recorded_at: at,
            entered: Sequence::FIRST,
            entered_at: at,
            opened_at: at,
            closed_at: None,
        }
    }

    fn memory(uids: impl Iterator<Item = String>) -> Memory {
        let installation = Installation { id: InstallationId::new("i"), cluster_uid: Uid::new("c"), era: Era::new(0) };
        let heads = uids.map(|uid| (Uid::new(uid.as_str()), Arc::new(head(uid)))).collect();
        let shard = ShardRow::unclaimed(Shard::default());
        Memory::new(Standing { shard, installation, heads, selectors: vec![] }, 0)
    }

    #[test]
    fn what_is_known_stays_known_beside_what_is_read_until_the_append_is_over() {
        let full = memory((0..HEADS).map(|n| format!("known-{n}")));
        let mut both = full.and(memory(["read".to_owned()].into_iter()));
        assert!(both.knows(&Uid::new("known-0")) && both.knows(&Uid::new("read")));
        let shard = ShardRow { head: Position::new(1), ..ShardRow::unclaimed(Shard::default()) };
        let heads = vec![Arc::new(head("read".into()))];
        both.advance(&Batch { outcomes: vec![], rows: vec![], heads, named: BTreeSet::new(), shard, chosen: vec![] });
        assert!(both.knows(&Uid::new("read")) && !both.knows(&Uid::new("known-0")), "it keeps no more than it may");
        let elsewhere = memory(["else".to_owned()].into_iter());
        assert!(!both.and(elsewhere).knows(&Uid::new("read")), "the shard has moved");
    }

    #[test]
    fn only_what_was_committed_is_known_and_a_later_promise_is_not_taken_for_it() {
        let known = Known::default();
        let first = known.promise(memory(["a".to_owned()].into_iter()));
        assert!(known.take(Shard::default()).is_none(), "nobody said that it was committed");
        known.promise(memory(["b".to_owned()].into_iter()));
        known.keep(Shard::default(), first);
        assert!(known.take(Shard::default()).is_none(), "that was said of another");
        let third = known.promise(memory(["c".to_owned()].into_iter()));
        known.keep(Shard::default(), third);
        assert!(
            known
                .take(Shard::default())
                .is_some_and(|(memory, ticket)| memory.knows(&Uid::new("c")) && ticket == third)
        );
    }
}
