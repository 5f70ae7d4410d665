//! What must hold in every ledger, judged from the ledger alone. Pure: rows, heads and lanes in, violations out.
//!
//! Tests, fault runs and `trueup audit` share these. What needs the cluster or a receiver to judge is judged there.

use std::fmt;

use super::{
    lanes::ROW_MISSING,
    types::{Head, Installation, LaneState, LaneView, PrunedRow, Row, ShardRow, Voided},
};
use crate::domain::{DestinationId, Event, EventId, Hash, Message, Position, Sequence, Shard, State, Tables, Uid};

/// A rule that every ledger keeps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Invariant {
    /// Sequences of a stream and positions of a shard are 1, 2, 3, ... without gap or repeat.
    Dense,
    /// Each row goes on from the previous one's state, by a pair of the kind's table.
    Legal,
    /// Epochs never go down along a shard's positions.
    Fenced,
    /// Effective times lie within their bounds. Neither they nor recorded times run backwards along a stream, nor recorded
    /// times along a term of a shard.
    HonestTime,
    /// The chain of hashes verifies, and the columns say what the bodies say.
    TamperEvident,
    /// A stream is closed if and only if its last state is final.
    Closed,
    /// A stream's head says what its newest row says.
    Head,
    /// No lane is ahead of its stream, and a parked one says why.
    Lanes,
    /// Every stream has a lane to every open destination that hears of all.
    Destinations,
    /// An object's status is nowhere ahead of the ledger, says the same, and reaches its newest row.
    StatusNeverLeads,
    /// A receiver applied every row once, or its void, in order, and knows nothing else.
    Delivered,
    /// What is asked for now has been looked at.
    Complete,
    /// A resource that is past its state's deadline says what it waits for.
    NothingWaitsForEver,
    /// Nobody was shown or told of a life of the ledger that it has not come to.
    NeverBackwards,
}

impl Invariant {
    /// Its name for people and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Legal => "legal",
            Self::Fenced => "fenced",
            Self::HonestTime => "honest-time",
            Self::TamperEvident => "tamper-evident",
            Self::Closed => "closed",
            Self::Head => "head",
            Self::Lanes => "lanes",
            Self::Destinations => "destinations",
            Self::StatusNeverLeads => "status-never-leads",
            Self::Delivered => "delivered",
            Self::Complete => "complete",
            Self::NothingWaitsForEver => "nothing-waits-for-ever",
            Self::NeverBackwards => "never-backwards",
        }
    }
}

/// A place where a rule does not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The rule.
    pub invariant: Invariant,
    /// Where.
    pub place: Place,
    /// What is there.
    pub found: String,
    /// What should be.
    pub expected: String,
}

/// Where a violation is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// In a shard's order.
    Shard(Shard, Position),
    /// In a stream.
    Stream(Uid, Sequence),
    /// In a destination's lane for a stream.
    Lane(DestinationId, Uid),
    /// In an object that the ledger has no stream of.
    Object(Uid),
    /// Nowhere in particular: it could not be read.
    Everywhere,
}

impl Place {
    /// The resource, if it is about one.
    pub const fn uid(&self) -> Option<&Uid> {
        match self {
            Self::Stream(uid, _) | Self::Lane(_, uid) | Self::Object(uid) => Some(uid),
            Self::Shard(..) | Self::Everywhere => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shard(shard, position) => write!(f, "shard {shard} at position {position}"),
            Self::Stream(uid, sequence) => write!(f, "stream {uid} at sequence {sequence}"),
            Self::Lane(destination, uid) => write!(f, "lane of stream {uid} to {destination}"),
            Self::Object(uid) => write!(f, "object {uid}"),
            Self::Everywhere => f.write_str("the ledger"),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invariant, place, found, expected } = self;
        write!(f, "{}: {place}: found {found}, expected {expected}", invariant.as_str())
    }
}

/// Gathers the violations at one place.
pub(super) struct Findings<'a> {
    pub(super) place: Place,
    pub(super) into: &'a mut Vec<Violation>,
}

impl Findings<'_> {
    /// Notes a violation unless `found` is `expected`.
    pub(super) fn same<T: PartialEq + fmt::Debug>(
        &mut self,
        invariant: Invariant,
        what: &str,
        found: &T,
        expected: &T,
    ) {
        self.require(invariant, found == expected, || (format!("{what} {found:?}"), format!("{expected:?}")));
    }

    pub(super) fn require(&mut self, invariant: Invariant, holds: bool, say: impl FnOnce() -> (String, String)) {
        if !holds {
            let (found, expected) = say();
            self.into.push(Violation { invariant, place: self.place.clone(), found, expected });
        }
    }
}

/// `row` behind `previous` in a shard's order; `previous` is `None` for the shard's first. Up to `pruned_until`, rows may be
/// missing.
pub fn in_shard(pruned_until: Position, previous: Option<&Row>, row: &Row, into: &mut Vec<Violation>) {
    let mut findings = Findings { place: Place::Shard(row.shard, row.position), into };
    let position = previous.map_or(Position::new(1), |previous| previous.position.next());
    if row.position > pruned_until.next().max(position) || row.position < position {
        findings.same(Invariant::Dense, "position", &row.position, &position);
    }
    let Some(previous) = previous else { return };
    findings.require(Invariant::Fenced, row.epoch >= previous.epoch, || {
        (format!("epoch {}", row.epoch), format!("{} or later, as the row before it", previous.epoch))
    });
    // Rows that were lost and fetched back keep the time at which they were recorded first. They are a term of their own.
    let holds = row.recorded_at >= previous.recorded_at || row.epoch > previous.epoch;
    findings.require(Invariant::HonestTime, holds, || {
        (format!("recorded at {}", row.recorded_at), format!("{} or later, as the row before it", previous.recorded_at))
    });
}

/// A shard's row against its newest row; `None` if it has none.
pub fn shard_head(shard: &ShardRow, newest: Option<&Row>, into: &mut Vec<Violation>) {
    let mut findings = Findings { place: Place::Shard(shard.id, shard.head), into };
    let position = newest.map_or_else(Position::default, |row| row.position);
    findings.same(Invariant::Dense, "newest position", &position, &shard.head);
    findings.require(Invariant::Fenced, newest.is_none_or(|row| row.epoch <= shard.epoch), || {
        (
            format!("a row of epoch {}", newest.map_or_else(Default::default, |row| row.epoch)),
            format!("{} or earlier", shard.epoch),
        )
    });
}

/// `row` behind `previous` in its stream; `previous` is `None` for the first that is left. `pruned` is what the stream has
/// lost to retention.
pub fn in_stream(
    tables: Tables,
    installation: &Installation,
    head: &Head,
    pruned: Option<&PrunedRow>,
    previous: Option<&Row>,
    row: &Row,
    into: &mut Vec<Violation>,
) {
    let mut findings = Findings { place: Place::Stream(row.uid.clone(), row.sequence), into };
    // Rows that are marked as removed, and still there, are about to go.
    let begins_late = pruned.filter(|pruned| previous.is_none() && row.sequence <= pruned.sequence.next());
    if begins_late.is_none() {
        let sequence = previous.map_or(Sequence::FIRST, |previous| previous.sequence.next());
        findings.same(Invariant::Dense, "sequence", &row.sequence, &sequence);
        let state = previous.map(|previous| previous.to.clone());
        findings.same(Invariant::Legal, "from", &row.from, &state);
    }
    let kind = head.subject.kind;
    // An amendment states anew what holds, be that over.
    let amends = || Event::verify(&row.body).is_ok_and(|event| event.data.amends.is_some_and(|k| k < row.sequence));
    let legal = tables.of(kind).allows(row.from.as_ref(), &row.to) || (row.from.as_ref() == Some(&row.to) && amends());
    findings.require(Invariant::Legal, legal, || {
        let from = row.from.as_ref().map_or("the beginning", State::as_str);
        (format!("{from} -> {}", row.to), format!("a pair that the table of {kind} allows"))
    });

    let time = row.effective;
    findings.require(Invariant::HonestTime, time.not_before <= time.at && time.at <= time.not_after, || {
        (format!("effective at {}", time.at), format!("between {} and {}", time.not_before, time.not_after))
    });
    if let Some(previous) = previous {
        findings.require(Invariant::HonestTime, time.at >= previous.effective.at, || {
            (format!("effective at {}", time.at), format!("{} or later, as the row before it", previous.effective.at))
        });
        findings.require(Invariant::HonestTime, row.recorded_at >= previous.recorded_at, || {
            let before = format!("{} or later, as the row before it", previous.recorded_at);
            (format!("recorded at {}", row.recorded_at), before)
        });
    }

    let chained = match (begins_late, previous) {
        (Some(pruned), _) if row.sequence == pruned.sequence.next() => Some(pruned.hash),
        (Some(_), _) => None,
        (None, previous) => Some(previous.map_or(Hash::ZERO, |previous| previous.hash)),
    };
    if let Some(chained) = chained {
        findings.same(Invariant::TamperEvident, "prevHash", &row.prev_hash, &chained);
    }
    body(installation, row, &mut findings);
}

/// The body against its own hash and against the columns.
fn body(installation: &Installation, row: &Row, findings: &mut Findings<'_>) {
    let tamper = Invariant::TamperEvident;
    let event = match Event::verify(&row.body) {
        Ok(event) => event,
        Err(why) => return findings.require(tamper, false, || (why.to_string(), "an event that verifies".to_owned())),
    };
    let data = &event.data;
    findings.same(tamper, "hash of the body", &data.hash, &Some(row.hash));
    findings.same(tamper, "prevHash of the body", &data.prev_hash, &row.prev_hash);
    findings.same(tamper, "uid of the body", &data.uid, &row.uid);
    findings.same(tamper, "partitionkey", &event.partitionkey.as_str(), &row.uid.as_str());
    findings.same(tamper, "sequence of the body", &data.sequence, &row.sequence);
    findings.same(tamper, "sequence of the envelope", &event.sequence, &row.sequence.padded());
    findings.same(tamper, "event id", &row.event_id, &event.id);
    let id = EventId::of(&row.uid, crate::domain::Era::new(data.era), row.sequence);
    findings.same(tamper, "event id of the body", &event.id, &id);
    findings.same(tamper, "from of the body", &data.from, &row.from);
    findings.same(tamper, "to of the body", &data.to, &row.to);
    findings.same(tamper, "reason of the body", &data.reason, &row.reason);
    findings.same(tamper, "generation of the body", &data.generation, &row.generation);
    findings.same(tamper, "tenant of the body", &data.tenant, &row.tenant);
    findings.same(tamper, "account of the envelope", &event.subject, &data.account);
    findings.same(tamper, "time of the envelope", &event.time, &row.effective.at);
    findings.same(tamper, "effectiveAt of the body", &data.effective_at, &row.effective.at);
    findings.same(tamper, "notBefore of the body", &data.not_before, &row.effective.not_before);
    findings.same(tamper, "notAfter of the body", &data.not_after, &row.effective.not_after);
    findings.same(tamper, "timeSource of the body", &data.time_source, &row.effective.source);
    findings.same(tamper, "recordedtime of the body", &event.recordedtime, &row.recorded_at);
    let source = format!("/trueup/{}/{}/{}", installation.id, data.kind.lower(), row.uid);
    findings.same(tamper, "source of the body", &event.source, &source);
    // What is sent must be what a receiver would compute: canonical, byte for byte.
    let same_bytes = event.seal().is_ok_and(|sealed| sealed.body == row.body);
    findings.require(tamper, same_bytes, || ("a body in other bytes".to_owned(), "canonical JSON".to_owned()));
}

/// What a stream's walk remembers besides its previous row.
#[derive(Clone, PartialEq, Debug)]
pub struct Walked {
    /// The first row that is left.
    pub first: Sequence,
    /// Its effective time.
    pub opened_at: crate::domain::Timestamp,
    /// When the last state was entered.
    pub entered_at: crate::domain::Timestamp,
    /// The newest row.
    pub newest: Row,
}

impl Walked {
    /// The walk, one row further.
    pub fn on(walked: Option<Self>, row: Row) -> Self {
        let at = row.effective.at;
        match walked {
            None => Self { first: row.sequence, opened_at: at, entered_at: at, newest: row },
            Some(walked) => Self {
                first: walked.first,
                opened_at: walked.opened_at,
                entered_at: if walked.newest.to == row.to { walked.entered_at } else { at },
                newest: row,
            },
        }
    }
}

/// A head against the walk of its stream up to it.
pub fn head(tables: Tables, head: &Head, walked: Option<&Walked>, into: &mut Vec<Violation>) {
    let mut findings = Findings { place: Place::Stream(head.subject.uid.clone(), head.sequence), into };
    let Some(Walked { first, opened_at, entered_at, newest }) = walked else {
        return findings.require(Invariant::Dense, false, || ("no rows".to_owned(), format!("{}", head.sequence)));
    };
    findings.same(Invariant::Dense, "newest sequence", &newest.sequence, &head.sequence);
    let is = Invariant::Head;
    findings.same(is, "state", &head.state, &newest.to);
    findings.same(is, "hash", &head.hash, &newest.hash);
    findings.same(is, "epoch", &head.epoch, &newest.epoch);
    findings.same(is, "shard", &head.shard, &newest.shard);
    findings.same(is, "reason", &head.reason, &newest.reason);
    findings.same(is, "generation", &head.generation, &newest.generation);
    findings.same(is, "tenant", &head.subject.tenant, &newest.tenant);
    findings.same(is, "effective time", &head.effective_at, &newest.effective.at);
    findings.same(is, "recorded time", &head.recorded_at, &newest.recorded_at);
    if *first == Sequence::FIRST {
        findings.same(is, "opening time", &head.opened_at, opened_at);
    }
    if *first <= head.entered {
        findings.same(is, "time of entering the state", &head.entered_at, entered_at);
    }
    if let Ok(Event { data, .. }) = Event::verify(&newest.body) {
        findings.same(is, "kind", &head.subject.kind, &data.kind);
        findings.same(is, "namespace", &head.subject.namespace, &data.namespace);
        findings.same(is, "name", &head.subject.name, &data.name);
        findings.same(is, "account", &head.subject.account, &data.account);
        findings.same(is, "plan", &head.subject.plan, &data.plan);
        findings.same(is, "previous uid", &head.subject.previous_uid, &data.previous_uid);
        findings.same(is, "message", &head.message, &data.message);
        findings.same(is, "billable", &head.billable, &data.billable);
        findings.same(is, "era", &head.era.get(), &data.era);
    }
    let closed_at = tables.of(head.subject.kind).is_final(&head.state).then_some(head.effective_at);
    findings.same(Invariant::Closed, "closing time", &head.closed_at, &closed_at);
}

/// One lane by itself.
pub fn lane(lane: &LaneView, into: &mut Vec<Violation>) {
    let mut findings = Findings { place: Place::Lane(lane.destination.clone(), lane.uid.clone()), into };
    let before = Sequence::new(lane.first.get() - 1);
    findings.require(Invariant::Lanes, lane.acked <= lane.head && lane.acked >= before && before.get() >= 0, || {
        let newest = format!("{}, the stream's newest", lane.head);
        (format!("{} acknowledged", lane.acked), format!("between {before}, where it begins, and {newest}"))
    });
    findings.require(Invariant::Lanes, lane.acked >= lane.head || lane.oldest_undelivered.is_some(), || {
        (ROW_MISSING.to_owned(), format!("a row at sequence {}", lane.acked.next()))
    });
    let told = lane.park_reason.is_some();
    findings.require(Invariant::Lanes, (lane.state == LaneState::Parked) == told, || {
        (
            format!("{:?} with the reason {:?}", lane.state, lane.park_reason),
            "a reason if and only if parked".to_owned(),
        )
    });
}

/// What goes in the place of a row, against the row; `None` if that was pruned.
pub fn voided(voided: &Voided, row: Option<&Row>, into: &mut Vec<Violation>) {
    let mut findings = Findings { place: Place::Stream(voided.uid.clone(), voided.sequence), into };
    let is = Invariant::Delivered;
    let Ok(Message::Void(void)) = Message::read(&voided.body) else {
        return findings.require(is, false, || ("a void that cannot be read".to_owned(), "a void event".to_owned()));
    };
    findings.same(is, "id of the void", &void.id, &voided.event_id);
    findings.same(is, "uid of the void", &void.data.uid, &voided.uid);
    findings.same(is, "sequence of the void", &void.data.sequence, &voided.sequence);
    if let Some(row) = row {
        findings.same(is, "id of the voided event", &void.data.event_id, &row.event_id);
        findings.same(is, "hash of the void", &void.data.hash, &row.hash);
        findings.same(is, "prevHash of the void", &void.data.prev_hash, &row.prev_hash);
    }
}

/// A stream that has no lane to an open destination.
pub fn no_lane(destination: &DestinationId, uid: &Uid) -> Violation {
    Violation {
        invariant: Invariant::Destinations,
        place: Place::Lane(destination.clone(), uid.clone()),
        found: "no lane".to_owned(),
        expected: "a lane of every stream to every open destination that hears of all".to_owned(),
    }
}

/// Rows of a stream that has no head.
pub fn no_head(row: &Row) -> Violation {
    Violation {
        invariant: Invariant::Head,
        place: Place::Stream(row.uid.clone(), row.sequence),
        found: "a row".to_owned(),
        expected: "a head for every stream that has rows".to_owned(),
    }
}
