//! What must hold between the ledger and what others were shown or told. Pure: both sides in, violations out.
//!
//! There are two kinds of rule. What somebody was told must follow from the ledger at every moment: these hold in the
//! middle of everything, provided that the ledger is read after the others. That everybody was told everything holds
//! only in the end: these name a `goal`, a head read before the others, and are asked again until they hold or
//! patience ends. A system that moves on meanwhile is ahead of the goal, and in order.

use super::{
    interventions::void_returned,
    invariants::{Findings, Invariant, Place, Violation},
    types::{Head, LaneState, LaneView, Row},
};
use crate::domain::{
    Deadline, DestinationId, Era, Event, Hash, Kind, Sequence, Snapshot, State, Tables, Timestamp, Uid,
};

/// An object as the cluster shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// Its UID.
    pub uid: Uid,
    /// Its kind.
    pub kind: Kind,
    /// Its namespace, where the kind has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Whether it carries Trueup's finalizer: it has been taken in.
    pub has_finalizer: bool,
    /// The state in its status.
    pub state: Option<State>,
    /// Where the ledger stands, by its status.
    pub ledger: Option<ShownPlace>,
    /// The generation of what is asked for.
    pub generation: Option<i64>,
    /// The generation that its status speaks of.
    pub observed: Option<i64>,
    /// What it says that it waits for, if it says that it is stalled or paused.
    pub waits_for: Option<String>,
}

/// A place in the ledger that a status names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownPlace {
    /// The stream.
    pub uid: Uid,
    /// The ledger's life.
    pub era: Era,
    /// The place in it.
    pub sequence: Sequence,
    /// The hash there, in hexadecimal digits.
    pub hash: String,
}

/// A stream as a receiver knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// The stream.
    pub uid: Uid,
    /// The era of its last event.
    pub era: Era,
    /// The place of its last event.
    pub sequence: Sequence,
    /// The hash of that event.
    pub hash: Hash,
    /// The state, as far as it was told.
    pub state: State,
    /// The place of the last event that said how things stand: voids behind it did not. 0 if there is none.
    pub stated: Sequence,
    /// How many events were applied.
    pub applied: i64,
    /// How many places a snapshot passed over.
    pub skipped: i64,
}

/// What the ledger says at the place that somebody names: its newest row, or an older one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// The ledger's life.
    pub era: Era,
    /// The stream's head, read after what it is compared with. `None`: there is no such stream.
    pub head: Option<&'a Head>,
    /// The row at the place that is named, where that is not the head.
    pub row: Option<&'a Row>,
}

impl<'a> Known<'a> {
    /// Whether the life `era` of the ledger has ended, and the place `sequence` with it: what was told of that was given up.
    fn gave_up(self, era: Era, sequence: Sequence) -> bool {
        era < self.era && self.head.is_none_or(|head| head.era > era || sequence > head.sequence)
    }

    /// The hash and the state at `sequence`.
    fn at(self, sequence: Sequence) -> Option<(Hash, &'a State)> {
        let newest = self.head.filter(|head| head.sequence == sequence).map(|head| (head.hash, &head.state));
        newest.or_else(|| self.row.filter(|row| row.sequence == sequence).map(|row| (row.hash, &row.to)))
    }
}

/// Whether what a status says follows from the ledger. Holds at every moment.
pub fn status(shown: &Shown, known: Known<'_>, into: &mut Vec<Violation>) {
    let leads = Invariant::StatusNeverLeads;
    let Some(place) = &shown.ledger else {
        let mut findings = Findings { place: Place::Object(shown.uid.clone()), into };
        return findings.require(leads, shown.state.is_none(), || {
            let state = shown.state.as_ref().map_or("", State::as_str);
            (format!("state {state} in the status, without a place in the ledger"), "no state".to_owned())
        });
    };
    let mut findings = Findings { place: Place::Stream(shown.uid.clone(), place.sequence), into };
    findings.require(leads, place.uid == shown.uid, || {
        (format!("a status that speaks of uid {}", place.uid), format!("of its own, {}", shown.uid))
    });
    lives(place.era, "the status", known, &mut findings);
    if known.gave_up(place.era, place.sequence) {
        return;
    }
    let said = format!("status at sequence {}", place.sequence);
    if let Some((hash, state)) = follows(leads, &said, place.sequence, known, &mut findings) {
        findings.require(leads, place.hash == hash.to_string(), || {
            (format!("{said} with hash {}", place.hash), format!("hash {hash}, as in the ledger"))
        });
        findings.require(leads, shown.state.as_ref() == Some(state), || {
            let shown = shown.state.as_ref().map_or("none", State::as_str);
            (format!("{said} with state {shown}"), format!("state {state}, as in the ledger"))
        });
    }
}

/// Whether a status has come as far as the ledger had. Holds in the end.
pub fn status_reached(shown: &Shown, goal: &Head, into: &mut Vec<Violation>) {
    let mut findings = Findings { place: Place::Stream(shown.uid.clone(), goal.sequence), into };
    let reached = shown.ledger.as_ref().map(|place| (place.era, place.sequence));
    findings.require(Invariant::StatusNeverLeads, reached >= Some((goal.era, goal.sequence)), || {
        let found = match reached {
            None => "a status that says nothing of the ledger".to_owned(),
            Some((era, sequence)) if era < goal.era => format!("status still in era {era}, at sequence {sequence}"),
            Some((_, sequence)) => format!("status still at sequence {sequence}"),
        };
        (found, format!("sequence {}, state {}", goal.sequence, goal.state))
    });
}

/// Whether what is asked for now has been looked at. Holds in the end.
pub fn looked_at(shown: &Shown, goal: &Head, into: &mut Vec<Violation>) {
    let mut findings = Findings { place: Place::Stream(shown.uid.clone(), goal.sequence), into };
    findings.require(Invariant::Complete, shown.observed == shown.generation, || {
        let said =
            |generation: Option<i64>| generation.map_or("no generation".to_owned(), |n| format!("generation {n}"));
        (format!("a status of {}", said(shown.observed)), format!("{}, which is asked for now", said(shown.generation)))
    });
}

/// Whether a resource that is past its state's deadline says what it waits for. Holds in the end.
///
/// Deadlines that are in the spec end in another state, not in a condition.
pub fn says_what_it_waits_for(tables: Tables, shown: &Shown, goal: &Head, now: Timestamp, into: &mut Vec<Violation>) {
    let row = tables.of(goal.subject.kind).row(&goal.state);
    let Some(Deadline::After(allowed)) = row.map(|row| row.deadline) else { return };
    let mut findings = Findings { place: Place::Stream(shown.uid.clone(), goal.sequence), into };
    let due = goal.entered_at.plus(allowed);
    findings.require(Invariant::NothingWaitsForEver, now < due || shown.waits_for.is_some(), || {
        let found = format!("state {} since {}, without a word on what it waits for", goal.state, goal.entered_at);
        (found, format!("the condition Stalled since {due}, with its reason"))
    });
}

/// Whether `era`, of which `who` speaks, is a life that the ledger has come to.
fn lives(era: Era, who: &str, known: Known<'_>, findings: &mut Findings<'_>) {
    findings.require(Invariant::NeverBackwards, era <= known.era, || {
        let expected = format!("at most era {}: the ledger lost rows, see `trueup ledger recover`", known.era);
        (format!("era {era}, of which {who} speaks"), expected)
    });
}

/// Whether an object that was taken in has a stream. Holds in the end.
pub fn opened(shown: &Shown, head: Option<&Head>, into: &mut Vec<Violation>) {
    let mut findings = Findings { place: Place::Object(shown.uid.clone()), into };
    findings.require(Invariant::Closed, head.is_some() || !shown.has_finalizer, || {
        ("a live object with Trueup's finalizer and no stream".to_owned(), "a stream in the ledger".to_owned())
    });
}

/// Whether stream and object agree on whether it is over: `shown` is what the cluster has under this UID. Holds in
/// the end.
pub fn closed(head: &Head, shown: Option<&Shown>, into: &mut Vec<Violation>) {
    let mut findings = Findings { place: Place::Stream(head.subject.uid.clone(), head.sequence), into };
    match (head.closed_at, shown) {
        (None, None) => findings.require(Invariant::Closed, false, || {
            (format!("an open stream in state {}, whose object is gone", head.state), "a closing row".to_owned())
        }),
        (Some(_), Some(shown)) => findings.require(Invariant::Closed, !shown.has_finalizer, || {
            (
                format!("a stream that ended in {}, whose object is still there", head.state),
                "an object without Trueup's finalizer, or none".to_owned(),
            )
        }),
        _ => {}
    }
}

/// Whether what a receiver applied follows from the ledger. Holds at every moment.
///
/// `stated` is what the ledger says where the receiver last heard how things stand, and `voided` how many places behind
/// that are voided for some destination.
pub fn told(told: &Told, known: Known<'_>, stated: Known<'_>, voided: i64, into: &mut Vec<Violation>) {
    let delivered = Invariant::Delivered;
    let mut findings = Findings { place: Place::Stream(told.uid.clone(), told.sequence), into };
    lives(told.era, "the receiver", known, &mut findings);
    if known.gave_up(told.era, told.sequence) {
        return;
    }
    let said = format!("sequence {} at the receiver", told.sequence);
    if let Some((hash, _)) = follows(delivered, &said, told.sequence, known, &mut findings) {
        findings.require(delivered, told.hash == hash, || {
            (format!("{said} with hash {}", told.hash), format!("hash {hash}, as in the ledger"))
        });
    }
    if let Some((_, state)) = stated.at(told.stated) {
        let said = if told.stated == told.sequence { said } else { format!("{said}, voids since {},", told.stated) };
        findings.require(delivered, told.state == *state, || {
            (format!("{said} with state {}", told.state), format!("state {state}, as in the ledger"))
        });
    }
    let unstated = told.sequence.get() - told.stated.get();
    findings.require(delivered, unstated <= voided, || {
        let expected = format!(
            "at most {voided}, as in the ledger; if it was restored, `trueup ledger recover --voids DESTINATION` takes \
             back what it lost"
        );
        (format!("{unstated} events taken for voids at the receiver"), expected)
    });
    let begun = told.sequence.get() - told.skipped;
    // Where rows were lost, those of the era that ended were applied besides.
    let once = told.applied == begun || (told.era > Era::new(0) && told.applied > begun);
    findings.require(delivered, once, || {
        (format!("{} events applied at the receiver", told.applied), format!("{begun}, each once"))
    });
}

/// An event that a receiver applied.
#[derive(Clone, Copy, Debug)]
pub struct Applied<'a> {
    /// Its place.
    pub sequence: Sequence,
    /// Its era.
    pub era: Era,
    /// Its bytes.
    pub body: &'a [u8],
}

/// Whether `event` is what the ledger sends at its place, byte for byte: `row`, its snapshot or one of its `voids`; and
/// whether it came in its turn, behind the event at `previous`. Holds at every moment.
///
/// Answers the place behind which the next one has its turn.
pub fn applied(
    event: Applied<'_>,
    previous: Option<Sequence>,
    row: &Row,
    voids: &[Vec<u8>],
    into: &mut Vec<Violation>,
) -> Option<Sequence> {
    let sent = Event::verify(&row.body).ok();
    if sent.as_ref().is_some_and(|sent| Era::new(sent.data.era) > event.era) {
        // It was given up when a later life of the ledger began before it.
        return previous;
    }
    let snapshot = sent.and_then(|sent| Snapshot::of(sent).ok()?.body().ok());
    let begins = snapshot.is_some_and(|snapshot| snapshot == event.body);
    let mut findings = Findings { place: Place::Stream(row.uid.clone(), event.sequence), into };
    let genuine = begins || event.body == row.body || voids.iter().any(|void| void == event.body);
    findings.require(Invariant::Delivered, genuine, || {
        if void_returned(row, &DestinationId::new(""), event.body).is_some() {
            let expected = "a void that the ledger knows; `trueup ledger recover --voids DESTINATION` takes it back";
            return ("a void at the receiver that the ledger lost".to_owned(), expected.to_owned());
        }
        let expected = "the bytes that the ledger has there, or their void or snapshot".to_owned();
        ("another event at the receiver".to_owned(), expected)
    });
    let turn = previous.map_or(Sequence::FIRST, Sequence::next);
    findings.require(Invariant::Delivered, event.sequence == turn || (begins && event.sequence > turn), || {
        (format!("sequence {} applied at the receiver", event.sequence), format!("{turn}, whose turn it was"))
    });
    Some(event.sequence)
}

/// Whether a receiver has come as far as the ledger had. Holds in the end, unless a lane is parked.
pub fn told_reached(told: Option<&Told>, goal: &Head, parked: Option<&LaneView>, into: &mut Vec<Violation>) {
    let mut findings = Findings { place: Place::Stream(goal.subject.uid.clone(), goal.sequence), into };
    let reached = told.map(|told| (told.era, told.sequence));
    findings.require(Invariant::Delivered, reached >= Some((goal.era, goal.sequence)), || {
        let mut found = match reached {
            None => "nothing at the receiver".to_owned(),
            Some((era, sequence)) if era < goal.era => format!("sequence {sequence} of era {era} at the receiver"),
            Some((_, sequence)) => format!("sequence {sequence} at the receiver"),
        };
        if let Some(lane) = parked.filter(|lane| lane.state == LaneState::Parked) {
            let reason = lane.park_reason.as_deref().unwrap_or("for no reason");
            found = format!("{found}, its lane to {} parked: {reason}", lane.destination);
        }
        (found, format!("sequence {}, state {}", goal.sequence, goal.state))
    });
}

/// What the ledger says at the place that is named, if it knows it.
fn follows<'a>(
    invariant: Invariant,
    said: &str,
    sequence: Sequence,
    known: Known<'a>,
    findings: &mut Findings<'_>,
) -> Option<(Hash, &'a State)> {
    let head = known.head.map_or(Sequence::new(0), |head| head.sequence);
    findings.require(invariant, sequence <= head, || {
        let expected = match head.get() {
            0 => "nothing: the ledger has no such stream".to_owned(),
            _ => format!("at most {head}, the ledger's newest"),
        };
        (said.to_owned(), expected)
    });
    known.at(sequence)
}
