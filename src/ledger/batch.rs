//! What a batch of drafts becomes. Pure: the stores lock and read, this decides, and the stores write it down.

use std::{collections::BTreeSet, sync::Arc};

pub use super::standing::Standing;
use super::{
    store::AppendError,
    types::{Draft, Head, Installation, Outcome, Row, ShardRow},
};
use crate::domain::{
    Billable, DATA_SCHEMA, DestinationId, Effective, Epoch, Event, EventData, EventId, Hash, Position, Selector,
    Sequence, State, Tables, Timestamp, Uid,
};

/// What is to be written, all of it or nothing, and what to answer.
#[derive(Clone, Debug)]
pub struct Batch {
    /// One for each draft, in their order.
    pub outcomes: Vec<Outcome>,
    /// New rows, in the order of their positions.
    pub rows: Vec<Row>,
    /// The new heads of the streams that moved, in the order of their UID, which is the order in which they are locked.
    pub heads: Vec<Arc<Head>>,
    /// Those of the streams that were opened, or that somebody named, or owes, in another way than before.
    pub named: BTreeSet<Uid>,
    /// The shard's row afterwards.
    pub shard: ShardRow,
    /// The lanes of new streams to destinations that do not hear of all. To all others, every stream has one.
    pub chosen: Vec<(DestinationId, Uid)>,
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
    let mut decision = Decision::begin(tables, standing, epoch, now)?;
    for draft in drafts {
        decision.take(draft);
    }
    Ok(decision.finish())
}

/// A batch that grows draft by draft.
#[derive(Debug)]
pub struct Decision {
    tables: Tables,
    /// As it becomes with what was taken.
    standing: Standing,
    recorded_at: Timestamp,
    outcomes: Vec<Outcome>,
    rows: Vec<Row>,
    moved: BTreeSet<Uid>,
    named: BTreeSet<Uid>,
    chosen: Vec<(DestinationId, Uid)>,
}

impl Decision {
    /// An empty batch behind `standing`. The only error is `Fenced`.
    pub fn begin(tables: Tables, standing: Standing, epoch: Epoch, now: Timestamp) -> Result<Self, AppendError> {
        let shard = &standing.shard;
        if shard.epoch != epoch {
            return Err(AppendError::Fenced { shard: shard.id, mine: epoch, current: shard.epoch });
        }
        // A clock that was set back must not make the record run backwards.
        let recorded_at = shard.recorded_at.map_or(now, |last| last.max(now));
        let (outcomes, rows, moved, named, chosen) = Default::default();
        Ok(Self { tables, standing, recorded_at, outcomes, rows, moved, named, chosen })
    }

    /// Takes over the heads that `more`, begun at the same moment of the ledger, knows and this does not.
    pub(super) fn learn(&mut self, more: Self) {
        for (uid, head) in more.standing.heads {
            self.standing.heads.entry(uid).or_insert(head);
        }
    }

    /// Decides what `draft` becomes, behind those that were taken before.
    pub fn take(&mut self, draft: &Draft) {
        let outcome = self.outcome(draft);
        self.outcomes.push(outcome);
    }

    fn outcome(&mut self, draft: &Draft) -> Outcome {
        let Standing { shard, installation, heads, selectors } = &mut self.standing;
        let uid = &draft.subject.uid;
        let before = heads.get(uid);
        if draft.after != before.map(|head| head.sequence) {
            return Outcome::Stale(before.cloned());
        }
        let before = before.map(Arc::as_ref);
        if let Some(why) = fault(self.tables, shard, draft, before) {
            return Outcome::Illegal(why);
        }
        let place = Place { position: shard.head.next(), epoch: shard.epoch, recorded_at: self.recorded_at };
        let row = match row_of(installation, shard, place, draft, before) {
            Ok(row) => row,
            Err(why) => return Outcome::Illegal(why),
        };
        let head = Arc::new(head_of(self.tables, installation, draft, before, &row));
        shard.head = row.position;
        self.rows.push(row);
        self.moved.insert(uid.clone());
        if before.is_none_or(|before| before.subject != head.subject) {
            self.named.insert(uid.clone());
        }
        if before.is_none() {
            self.chosen.extend(chosen_by(selectors, draft));
        }
        heads.insert(uid.clone(), Arc::clone(&head));
        Outcome::Appended(head)
    }

    /// What is to be written.
    pub fn finish(self) -> Batch {
        let Standing { mut shard, mut heads, .. } = self.standing;
        if !self.rows.is_empty() {
            shard.recorded_at = Some(self.recorded_at);
        }
        let heads = self.moved.iter().filter_map(|uid| heads.remove(uid)).collect();
        Batch { outcomes: self.outcomes, rows: self.rows, heads, named: self.named, shard, chosen: self.chosen }
    }
}

/// The lanes to destinations with `selectors` of the stream that `draft` opens.
pub(super) fn chosen_by<'a>(
    selectors: &'a [(DestinationId, Selector)],
    draft: &'a Draft,
) -> impl Iterator<Item = (DestinationId, Uid)> + 'a {
    let hears = |(_, selector): &&(_, Selector)| selector.chooses(draft.subject.kind, &draft.labels);
    selectors.iter().filter(hears).map(|(destination, _)| (destination.clone(), draft.subject.uid.clone()))
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

/// Whether the state table lets a stream in the state `from` do what `draft` says.
pub(super) fn allowed(tables: Tables, draft: &Draft, from: Option<&State>) -> bool {
    // An amendment states anew what holds, be that over.
    if draft.amends.is_some() { from == Some(&draft.to) } else { tables.of(draft.subject.kind).allows(from, &draft.to) }
}

/// Why `draft` must not be written although it is not stale: somebody decided wrongly.
fn fault(tables: Tables, shard: &ShardRow, draft: &Draft, before: Option<&Head>) -> Option<String> {
    let Draft { subject, to, effective, .. } = draft;
    let from = before.map(|head| &head.state);
    if !allowed(tables, draft, from) {
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
            amends: draft.amends,
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
pub(super) fn head_of(
    tables: Tables,
    installation: &Installation,
    draft: &Draft,
    before: Option<&Head>,
    row: &Row,
) -> Head {
    let mut subject = draft.subject.clone();
    subject.previous_uid = previous_uid(draft, before);
    let at = row.effective.at;
    let staying = before.filter(|head| head.state == row.to);
    let (entered, entered_at) = staying.map_or((row.sequence, at), |head| (head.entered, head.entered_at));
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
        entered,
        entered_at,
        opened_at: before.map_or(at, |head| head.opened_at),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        domain::{Deadline, Era, InstallationId, Kind, Labels, Shard, StateRow, Table, TenantName, TimeSource},
        ledger::types::Subject,
    };

    const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);
    const MINE: Epoch = Epoch::new(3);

    const fn state(name: &'static str, next: &'static [&'static str]) -> StateRow {
        StateRow { name, next, deadline: Deadline::Never, billed: "" }
    }

    const TABLES: Tables = Tables(&[Table {
        kind: Kind::Backup,
        states: &[state("Pending", &["Done"]), state("Done", &["Deleted"]), state("Deleted", &[])],
    }]);

    fn draft(uid: &str, after: i64, to: &'static str) -> Draft {
        Draft {
            subject: Subject {
                uid: Uid::new(uid),
                kind: Kind::Backup,
                namespace: Some("acme-prod".into()),
                name: "nightly".into(),
                tenant: TenantName::new("acme"),
                account: "acct-1".into(),
                plan: "small".into(),
                previous_uid: None,
            },
            after: (after > 0).then(|| Sequence::new(after)),
            to: State::of(to),
            reason: "Tested".into(),
            message: "A test said so.".into(),
            generation: 1,
            effective: Effective::observed(NOW, NOW),
            billable: Billable::ZERO,
            evidence: None,
            amends: None,
            labels: Labels::default(),
        }
    }

    /// What stands after `rows` drafts that were all appended.
    fn standing(drafts: &[Draft]) -> Standing {
        let installation = Installation { id: InstallationId::new("i"), cluster_uid: Uid::new("c"), era: Era::new(0) };
        let shard = ShardRow { epoch: MINE, ..ShardRow::unclaimed(Shard::new(0)) };
        let empty = Standing {
            shard,
            installation: installation.clone(),
            heads: std::collections::HashMap::new(),
            selectors: vec![],
        };
        let batch = decide(TABLES, empty, MINE, NOW, drafts).unwrap();
        let heads = batch.heads.into_iter().map(|head| (head.subject.uid.clone(), head)).collect();
        Standing { shard: batch.shard, installation, heads, selectors: vec![] }
    }

    fn decided(drafts: &[Draft]) -> Batch {
        decide(TABLES, standing(&[]), MINE, NOW, drafts).unwrap()
    }

    fn sequences(batch: &Batch) -> Vec<(i64, &str, i64)> {
        batch.rows.iter().map(|row| (row.position.get(), row.uid.as_str(), row.sequence.get())).collect()
    }

    #[test]
    fn what_does_not_fit_takes_no_number() {
        let batch = decided(&[
            draft("a", 0, "Pending"),
            draft("a", 0, "Pending"),
            draft("a", 1, "Deleted"),
            draft("b", 0, "Pending"),
            draft("a", 1, "Done"),
        ]);
        assert_eq!(sequences(&batch), [(1, "a", 1), (2, "b", 1), (3, "a", 2)]);
        assert!(matches!(&batch.outcomes[1], Outcome::Stale(Some(head)) if head.sequence == Sequence::FIRST));
        assert!(matches!(&batch.outcomes[2], Outcome::Illegal(why) if why.contains("Pending to Deleted")));
        assert_eq!(batch.shard.head, Position::new(3));
        let heads: Vec<_> = batch.heads.iter().map(|head| (head.subject.uid.as_str(), head.sequence.get())).collect();
        assert_eq!(heads, [("a", 2), ("b", 1)], "each stream's last head, in the order of locking");
    }

    #[test]
    fn a_batch_of_nothing_new_leaves_the_shard_as_it_was() {
        let before = standing(&[draft("a", 0, "Pending")]);
        let shard = before.shard.clone();
        let later = NOW.plus(Duration::from_secs(1));
        let batch = decide(TABLES, before, MINE, later, &[draft("a", 0, "Pending")]).unwrap();
        assert!(batch.rows.is_empty() && batch.heads.is_empty());
        assert_eq!(batch.shard, shard);
    }

    #[test]
    fn another_epoch_is_fenced_whether_older_or_newer() {
        for epoch in [2, 4].map(Epoch::new) {
            let refused = decide(TABLES, standing(&[]), epoch, NOW, &[draft("a", 0, "Pending")]);
            assert!(matches!(refused, Err(AppendError::Fenced { mine, current: MINE, .. }) if mine == epoch));
        }
    }

    #[test]
    fn the_chain_goes_through_the_bodies() {
        let batch = decided(&[draft("a", 0, "Pending"), draft("a", 1, "Done")]);
        let events: Vec<_> = batch.rows.iter().map(|row| Event::verify(&row.body).unwrap()).collect();
        assert_eq!((events[0].data.prev_hash, events[1].data.prev_hash), (Hash::ZERO, batch.rows[0].hash));
        assert_eq!(events[1].data.from, Some(State::of("Pending")));
        assert_eq!(events[1].sequence, "00000000000000000002");
    }

    #[test]
    fn time_runs_forward_along_a_stream_even_within_a_batch() {
        let mut early = draft("a", 1, "Done");
        let before = Timestamp::from_micros(NOW.as_micros() - 1);
        early.effective = Effective::reported(before, before);
        let batch = decided(&[draft("a", 0, "Pending"), early]);
        let clamped = batch.rows[1].effective;
        assert_eq!((clamped.at, clamped.not_before, clamped.source), (NOW, before, TimeSource::Clamped));
        assert!(clamped.not_after >= clamped.at);
    }

    #[test]
    fn recorded_time_is_the_later_of_the_clock_and_the_last() {
        let earlier = Timestamp::from_micros(0);
        let before = standing(&[draft("a", 0, "Pending")]);
        let batch = decide(TABLES, before, MINE, earlier, &[draft("a", 1, "Done")]).unwrap();
        assert_eq!((batch.rows[0].recorded_at, batch.shard.recorded_at), (NOW, Some(NOW)));
    }

    #[test]
    fn a_stream_stays_in_the_shard_where_it_opened() {
        let mut elsewhere = standing(&[draft("a", 0, "Pending")]);
        elsewhere.shard.id = Shard::new(1);
        let batch = decide(TABLES, elsewhere, MINE, NOW, &[draft("a", 1, "Done")]).unwrap();
        assert!(matches!(&batch.outcomes[0], Outcome::Illegal(why) if why.contains("shard 0")));
    }

    #[test]
    fn a_final_state_closes_and_only_a_resurrection_opens() {
        let life = [draft("a", 0, "Pending"), draft("a", 1, "Done"), draft("a", 2, "Deleted")];
        let batch = decided(&[&life[..], &[draft("a", 3, "Done"), draft("a", 3, "Pending")]].concat());
        let closed: Vec<_> = batch
            .outcomes
            .iter()
            .map(|outcome| match outcome {
                Outcome::Appended(head) => Some(head.closed_at.is_some()),
                _ => None,
            })
            .collect();
        assert_eq!(closed, [Some(false), Some(false), Some(true), None, Some(false)]);
    }
}
