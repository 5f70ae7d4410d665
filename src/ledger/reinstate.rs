//! What rows that the ledger lost become when somebody who was sent them hands them back. Pure, as `batch` is.
//!
//! A row is taken back as it was, bytes and all, and only where it continues its stream's chain: whoever returns it need
//! not be trusted. It gets a new position and the epoch of whoever takes it back.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    batch::{Batch, Standing, allowed, chosen_by, head_of},
    store::AppendError,
    types::{Draft, Head, Installation, Outcome, Row},
};
use crate::domain::{Effective, Epoch, Era, Event, EventFault, Hash, Labels, Sequence, Subject, Tables, Uid};

/// An event as it was sent, which verifies by itself.
#[derive(Clone, PartialEq, Debug)]
pub struct Returned {
    event: Event,
    body: Vec<u8>,
    labels: Labels,
}

impl Returned {
    /// Reads an event's bytes.
    pub fn read(body: Vec<u8>) -> Result<Self, EventFault> {
        Ok(Self { event: Event::verify(&body)?, body, labels: Labels::default() })
    }

    /// Adds its tenant's labels, which no event carries: they decide which destinations hear of a stream that it opens.
    #[must_use]
    pub fn of_tenant_with(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// What it says.
    pub fn event(&self) -> &Event {
        &self.event
    }
}

/// The UIDs that `returned` name, each once, in order.
pub fn uids(returned: &[Returned]) -> Vec<Uid> {
    returned.iter().map(|it| it.event.data.uid.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Decides which of `returned` are taken back, in their order, by a writer of term `epoch`.
///
/// What the ledger has already is `Stale`; what does not continue it is `Illegal`. The only error is `Fenced`.
pub fn decide(tables: Tables, standing: Standing, epoch: Epoch, returned: &[Returned]) -> Result<Batch, AppendError> {
    let Standing { mut shard, installation, mut heads, selectors } = standing;
    if shard.epoch != epoch {
        return Err(AppendError::Fenced { shard: shard.id, mine: epoch, current: shard.epoch });
    }
    let mut rows = Vec::with_capacity(returned.len());
    let mut moved = BTreeSet::new();
    let mut chosen = Vec::new();
    let outcomes = returned
        .iter()
        .map(|returned| {
            let uid = &returned.event.data.uid;
            let before = heads.get(uid);
            if before.is_some_and(|head| returned.event.data.sequence <= head.sequence) {
                return Outcome::Stale(before.cloned());
            }
            let before = before.map(Arc::as_ref);
            let draft = draft_of(returned);
            if before.is_some_and(|head| head.shard != shard.id) {
                return Outcome::Illegal(format!("stream {uid} belongs to another shard than {}", shard.id));
            }
            if let Some(why) = fault(tables, &installation, returned, &draft, before) {
                return Outcome::Illegal(why);
            }
            let data = &returned.event.data;
            let row = Row {
                shard: shard.id,
                position: shard.head.next(),
                uid: uid.clone(),
                sequence: data.sequence,
                event_id: returned.event.id.clone(),
                epoch,
                from: data.from.clone(),
                to: data.to.clone(),
                reason: data.reason.clone(),
                generation: data.generation,
                tenant: data.tenant.clone(),
                effective: draft.effective,
                recorded_at: returned.event.recordedtime,
                body: returned.body.clone(),
                prev_hash: data.prev_hash,
                hash: data.hash.unwrap_or(Hash::ZERO),
                evidence: None,
            };
            let life = Installation { era: Era::new(data.era), ..installation.clone() };
            let head = Arc::new(head_of(tables, &life, &draft, before, &row));
            shard.head = row.position;
            shard.recorded_at = shard.recorded_at.max(Some(row.recorded_at));
            rows.push(row);
            if before.is_none() {
                chosen.extend(chosen_by(&selectors, &draft));
            }
            moved.insert(uid.clone());
            heads.insert(uid.clone(), Arc::clone(&head));
            Outcome::Appended(head)
        })
        .collect();
    let heads = moved.iter().filter_map(|uid| heads.remove(uid)).collect();
    Ok(Batch { outcomes, rows, heads, named: moved, shard, chosen })
}

/// What was once drafted for this event.
fn draft_of(returned: &Returned) -> Draft {
    let data = returned.event.data.clone();
    Draft {
        subject: Subject {
            uid: data.uid,
            kind: data.kind,
            namespace: data.namespace,
            name: data.name,
            tenant: data.tenant,
            account: data.account,
            plan: data.plan,
            previous_uid: data.previous_uid,
        },
        after: (data.sequence > Sequence::FIRST).then(|| Sequence::new(data.sequence.get() - 1)),
        to: data.to,
        reason: data.reason,
        message: data.message,
        generation: data.generation,
        effective: Effective {
            at: data.effective_at,
            not_before: data.not_before,
            not_after: data.not_after,
            source: data.time_source,
        },
        billable: data.billable,
        evidence: None,
        amends: data.amends,
        labels: returned.labels.clone(),
    }
}

/// Why `returned` does not go on where the stream ends.
fn fault(
    tables: Tables,
    installation: &Installation,
    returned: &Returned,
    draft: &Draft,
    before: Option<&Head>,
) -> Option<String> {
    let (event, data) = (&returned.event, &returned.event.data);
    let said = |what: &str| Some(format!("event {}: {what}", event.id));
    if draft.after != before.map(|head| head.sequence) {
        return said("events before it are missing");
    }
    if data.prev_hash != before.map_or(Hash::ZERO, |head| head.hash) {
        return said("it continues another chain than the ledger's");
    }
    let source = format!("/trueup/{}/{}/{}", installation.id, data.kind.lower(), data.uid);
    if event.source != source {
        return Some(format!("event {} comes from {}, not from {source}", event.id, event.source));
    }
    if data.era > installation.era.get() || before.is_some_and(|head| data.era < head.era.get()) {
        return Some(format!("event {} is of era {}, and the ledger in era {}", event.id, data.era, installation.era));
    }
    let state = before.map(|head| &head.state);
    if data.from.as_ref() != state || !allowed(tables, draft, state) {
        return said("the state table does not allow it here");
    }
    let runs_back = |head: &Head| draft.effective.at < head.effective_at || event.recordedtime < head.recorded_at;
    if before.is_some_and(|head| head.subject.kind != data.kind || runs_back(head)) {
        return said("its kind or its time is not that of the stream");
    }
    let same_bytes = event.clone().seal().is_ok_and(|sealed| sealed.body == returned.body);
    if same_bytes { None } else { said("its bytes are not the ones that a ledger sends") }
}
