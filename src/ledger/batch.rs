//! What a batch of drafts becomes. Pure: the stores lock and read, this decides, and the stores write it down.

use std::collections::{BTreeSet, HashMap};

use super::{
    store::AppendError,
    types::{Draft, Head, Installation, Outcome, Row, ShardRow},
};
use crate::domain::{
    Billable, DATA_SCHEMA, Effective, Epoch, Event, EventData, EventId, Hash, Position, Sequence, Tables, Timestamp,
    Uid,
};

/// What was read under the shard's lock.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The shard's row.
    pub shard: ShardRow,
    /// Whose ledger this is.
    pub installation: Installation,
    /// The heads of the streams that the drafts name, as far as they exist.
    pub heads: HashMap<Uid, Head>,
}

/// What is to be written, all of it or nothing, and what to answer.
#[derive(Clone, Debug)]
pub struct Batch {
    /// One for each draft, in their order.
    pub outcomes: Vec<Outcome>,
    /// New rows, in the order of their positions.
    pub rows: Vec<Row>,
    /// The new heads of the streams that moved, in the order of their UID, which is the order in which they are locked.
    pub heads: Vec<Head>,
    /// The shard's row afterwards.
    pub shard: ShardRow,
}

/// The UIDs that `drafts` name, each once, in order.
pub fn uids(drafts: &[Draft]) -> Vec<Uid> {
    drafts.iter().map(|draft| draft.subject.uid.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Decides what `drafts` become for a writer of term `epoch` whose clock shows `now`.
///
/// The only error is `Fenced`: then nothing may be written.
pub fn decide(
    tables: Tables,
    standing: Standing,
    epoch: Epoch,
    now: Timestamp,
    drafts: &[Draft],
) -> Result<Batch, AppendError> {
    let Standing { mut shard, installation, mut heads } = standing;
    if shard.epoch != epoch {
        return Err(AppendError::Fenced { shard: shard.id, mine: epoch, current: shard.epoch });
    }
    // A clock that was set back must not make the record run backwards.
    let recorded_at = shard.recorded_at.map_or(now, |last| last.max(now));
    let mut rows = Vec::with_capacity(drafts.len());
    let mut moved = BTreeSet::new();
    let outcomes = drafts
        .iter()
        .map(|draft| {
            let uid = &draft.subject.uid;
            let before = heads.get(uid);
            if draft.after != before.map(|head| head.sequence) {
                return Outcome::Stale(before.cloned().map(Box::new));
            }
            if let Some(why) = fault(tables, &shard, draft, before) {
                return Outcome::Illegal(why);
            }
            let place = Place { position: shard.head.next(), epoch, recorded_at };
            match row_of(&installation, &shard, place, draft, before) {
                Err(why) => Outcome::Illegal(why),
                Ok(row) => {
                    let head = head_of(tables, &installation, draft, before, &row);
                    shard.head = row.position;
                    rows.push(row);
                    moved.insert(uid.clone());
                    heads.insert(uid.clone(), head.clone());
                    Outcome::Appended(Box::new(head))
                }
            }
        })
        .collect();
    if !rows.is_empty() {
        shard.recorded_at = Some(recorded_at);
    }
    let heads = moved.iter().filter_map(|uid| heads.remove(uid)).collect();
    Ok(Batch { outcomes, rows, heads, shard })
}

/// The text kept beside a row: what PostgreSQL can store of it.
pub fn evidence_of(draft: &Draft) -> Option<String> {
    draft.evidence.as_ref().map(|text| text.replace('\0', "\u{fffd}"))
}

/// What every row of the batch shares, and its own position.
#[derive(Clone, Copy)]
struct Place {
    position: Position,
    epoch: Epoch,
    recorded_at: Timestamp,
}

/// Why `draft` must not be written although it is not stale: somebody decided wrongly.
fn fault(tables: Tables, shard: &ShardRow, draft: &Draft, before: Option<&Head>) -> Option<String> {
    let Draft { subject, to, effective, .. } = draft;
    let table = tables.of(subject.kind);
    let from = before.map(|head| &head.state);
    if !table.allows(from, to) {
        let from = from.map_or("the beginning", |state| state.as_str());
        return Some(format!("{} {} may not go from {from} to {to}", subject.kind, subject.name));
    }
    if let Some(head) = before {
        if head.shard != shard.id {
            return Some(format!("stream {} belongs to shard {}, not {}", subject.uid, head.shard, shard.id));
        }
        if head.subject.kind != subject.kind {
            return Some(format!("stream {} is of a {}, not a {}", subject.uid, head.subject.kind, subject.kind));
        }
    }
    if effective.at < effective.not_before || effective.at > effective.not_after {
        return Some(format!(
            "its effective time {} is outside of its own bounds {} and {}",
            effective.at, effective.not_before, effective.not_after
        ));
    }
    if !storable(draft.billable) {
        return Some("it states a quantity above 2^63, which no ledger can hold".to_owned());
    }
    let texts = [
        subject.uid.as_str(),
        subject.namespace.as_deref().unwrap_or_default(),
        &subject.name,
        subject.tenant.as_str(),
        &subject.account,
        &subject.plan,
        subject.previous_uid.as_ref().map_or("", Uid::as_str),
        &draft.reason,
        &draft.message,
    ];
    // One such text would be refused by PostgreSQL, and the whole batch with it.
    texts.iter().any(|text| text.contains('\0')).then(|| "one of its texts holds a NUL".to_owned())
}

fn storable(billable: Billable) -> bool {
    [billable.cpu_millicores, billable.memory_bytes, billable.storage_bytes]
        .into_iter()
        .all(|quantity| i64::try_from(quantity).is_ok())
}

/// The row that `draft` becomes behind `before`.
fn row_of(
    installation: &Installation,
    shard: &ShardRow,
    place: Place,
    draft: &Draft,
    before: Option<&Head>,
) -> Result<Row, String> {
    let subject = &draft.subject;
    let sequence = before.map_or(Sequence::FIRST, |head| head.sequence.next());
    let effective = before.map_or(draft.effective, |head| draft.effective.not_earlier_than(head.effective_at));
    let prev_hash = before.map_or(Hash::ZERO, |head| head.hash);
    let event_id = EventId::of(&subject.uid, installation.era, sequence);
    let sealed = event_of(installation, place, draft, before, sequence, effective, prev_hash, event_id.clone())
        .seal()
        .map_err(|why| format!("it cannot be written as an event: {why}"))?;
    Ok(Row {
        shard: shard.id,
        position: place.position,
        uid: subject.uid.clone(),
        sequence,
        event_id,
        epoch: place.epoch,
        from: before.map(|head| head.state.clone()),
        to: draft.to.clone(),
        reason: draft.reason.clone(),
        generation: draft.generation,
        tenant: subject.tenant.clone(),
        effective,
        recorded_at: place.recorded_at,
        body: sealed.body,
        prev_hash,
        hash: sealed.hash,
        evidence: evidence_of(draft),
    })
}

#[allow(clippy::too_many_arguments, reason = "each is one part of the event, and there is one caller")]
fn event_of(
    installation: &Installation,
    place: Place,
    draft: &Draft,
    before: Option<&Head>,
    sequence: Sequence,
    effective: Effective,
    prev_hash: Hash,
    id: EventId,
) -> Event {
    let subject = &draft.subject;
    Event {
        specversion: "1.0".to_owned(),
        id,
        source: format!("/trueup/{}/{}/{}", installation.id, subject.kind.lower(), subject.uid),
        event_type: Event::type_of(subject.kind),
        subject: subject.account.clone(),
        time: effective.at,
        recordedtime: place.recorded_at,
        sequence: sequence.padded(),
        partitionkey: subject.uid.as_str().to_owned(),
        datacontenttype: "application/json".to_owned(),
        dataschema: DATA_SCHEMA.to_owned(),
        data: EventData {
            tenant: subject.tenant.clone(),
            account: subject.account.clone(),
            plan: subject.plan.clone(),
            kind: subject.kind,
            namespace: subject.namespace.clone(),
            name: subject.name.clone(),
            uid: subject.uid.clone(),
            previous_uid: previous_uid(draft, before),
            era: installation.era.get(),
            sequence,
            from: before.map(|head| head.state.clone()),
            to: draft.to.clone(),
            reason: draft.reason.clone(),
            message: draft.message.clone(),
            generation: draft.generation,
            effective_at: effective.at,
            not_before: effective.not_before,
            not_after: effective.not_after,
            time_source: effective.source,
            billable: draft.billable,
            prev_hash,
            hash: None,
        },
    }
}

/// Which stream this one carries on is said once, when it opens, and true ever after.
fn previous_uid(draft: &Draft, before: Option<&Head>) -> Option<Uid> {
    match before {
        None => draft.subject.previous_uid.clone(),
        Some(head) => head.subject.previous_uid.clone(),
    }
}

/// The stream's head once `row` is written behind `before`.
fn head_of(tables: Tables, installation: &Installation, draft: &Draft, before: Option<&Head>, row: &Row) -> Head {
    let mut subject = draft.subject.clone();
    subject.previous_uid = previous_uid(draft, before);
    let at = row.effective.at;
    let entered_at = before.filter(|head| head.state == row.to).map_or(at, |head| head.entered_at);
    Head {
        closed_at: tables.of(subject.kind).is_final(&row.to).then_some(at),
        subject,
        shard: row.shard,
        state: row.to.clone(),
        sequence: row.sequence,
        hash: row.hash,
        epoch: row.epoch,
        era: installation.era,
        generation: row.generation,
        billable: draft.billable,
        reason: row.reason.clone(),
        message: draft.message.clone(),
        effective_at: at,
        recorded_at: row.recorded_at,
        entered_at,
        opened_at: before.map_or(at, |head| head.opened_at),
    }
}
