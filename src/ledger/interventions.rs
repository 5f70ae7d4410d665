//! What a person may do to a lane. Pure: the stores lock and read, this decides, and the stores write it down.

use std::{fmt, str::FromStr};

use super::{
    lanes::{Lane, Phase},
    types::{OutboxRow, Row, Voided},
};
use crate::domain::{DestinationId, Event, Sequence, Timestamp, Uid, Void};

/// What is done to a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Its next event is tried again.
    Retry,
    /// Its next row is not sent; a void goes in its place.
    Void,
    /// The same, and the ledger gets a row that states anew what holds.
    Amend,
}

impl Action {
    /// Its name, for people and stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Void => "void",
            Self::Amend => "amend",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Action {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = [Self::Retry, Self::Void, Self::Amend].into_iter().find(|action| action.as_str() == text);
        found.ok_or_else(|| format!("the unknown action '{text}'"))
    }
}

/// What somebody asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// What.
    pub action: Action,
    /// In the lane to this destination,
    pub destination: DestinationId,
    /// of this stream.
    pub uid: Uid,
    /// The place that is meant. If the lane has moved on meanwhile, nothing is done.
    pub sequence: Sequence,
    /// Who asks.
    pub who: String,
    /// Why.
    pub reason: String,
}

/// What was done, for good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Intervention {
    /// Its number; later ones have higher ones.
    pub id: i64,
    /// When.
    pub recorded_at: Timestamp,
    /// What was asked, by whom and why.
    pub request: Request,
    /// Why the lane was parked then.
    pub park_reason: Option<String>,
    /// What had gone wrong last.
    pub last_error: Option<String>,
    /// What came of an amendment; `None` until the leader has carried it out.
    pub outcome: Option<String>,
}

/// Why nothing was done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such lane.
    #[error("the resource has no lane to this destination")]
    NoLane,
    /// Nothing waits in it.
    #[error("everything was delivered already, up to sequence {acked}")]
    NothingOwed {
        /// The last acknowledged place.
        acked: Sequence,
    },
    /// Somebody is sending its next event at this moment.
    #[error("sequence {next} is being delivered at this moment; try again when that has failed")]
    BeingDelivered {
        /// The place.
        next: Sequence,
    },
    /// It stands at another place.
    #[error("the next sequence is {next}, not {asked}, and only the next one can be helped")]
    Elsewhere {
        /// Where it stands.
        next: Sequence,
        /// What was asked for.
        asked: Sequence,
    },
    /// Nothing stands in its way.
    #[error("it is not parked, and sequence {next} is about to be delivered")]
    UnderWay {
        /// The place.
        next: Sequence,
    },
    /// What should be there is not, or is no event.
    #[error("the ledger has no event at sequence {next} that could be {action}; run `trueup audit`")]
    Missing {
        /// The place.
        next: Sequence,
        /// What cannot be done with it.
        action: &'static str,
    },
    /// It was voided before; what is in the way is the void.
    #[error("sequence {next} was voided before, and the void is what waits; retry it")]
    VoidedBefore {
        /// The place.
        next: Sequence,
    },
}

/// What was read under the lane's lock.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// The lane.
    pub lane: Lane,
    /// The stream's newest place.
    pub head: Sequence,
    /// The first row behind what was acknowledged that the ledger still has.
    pub row: Option<OutboxRow>,
    /// Whether the lane's next row was voided.
    pub voided: bool,
}

/// What is to be written.
#[derive(Clone, Debug)]
pub(super) struct Decided {
    /// The lane afterwards.
    pub lane: Lane,
    /// What goes in the place of its next row.
    pub voided: Option<Voided>,
}

/// The void that `body` is, if it stands in for `row` at `destination`: everything in it but its time follows from the
/// row, so that whoever returns it need not be trusted.
pub fn void_returned(row: &Row, destination: &DestinationId, body: &[u8]) -> Option<Voided> {
    let void: Void = serde_json::from_slice(body).ok()?;
    let made = Void::of(Event::verify(&row.body).ok()?, void.recordedtime).ok()?;
    let voided = Voided {
        destination: destination.clone(),
        uid: row.uid.clone(),
        sequence: row.sequence,
        recorded_at: made.recordedtime,
        event_id: made.id.clone(),
        body: made.body().ok()?,
    };
    (voided.body == body).then_some(voided)
}

/// Why nothing can be done at `asked` in a lane that has acknowledged `acked` of a stream up to `head`: as much as can be
/// said of a lane that others may move at any moment.
pub fn misplaced(acked: Sequence, head: Sequence, asked: Sequence) -> Option<Refusal> {
    let next = acked.next();
    if acked >= head {
        return Some(Refusal::NothingOwed { acked });
    }
    (asked != next).then_some(Refusal::Elsewhere { next, asked })
}

/// Decides what becomes of a lane.
pub(super) fn decide(request: &Request, standing: Standing, now: Timestamp) -> Result<Decided, Refusal> {
    let Standing { mut lane, head, row, voided } = standing;
    let next = lane.acked.next();
    if let Some(refusal) = misplaced(lane.acked, head, request.sequence) {
        return Err(refusal);
    }
    match lane.phase {
        Phase::Held => return Err(Refusal::BeingDelivered { next }),
        Phase::Idle | Phase::Ready if request.action == Action::Retry => return Err(Refusal::UnderWay { next }),
        Phase::Idle | Phase::Ready | Phase::Waiting | Phase::Parked => {}
    }
    if request.action == Action::Retry {
        // Where its row was removed, the next claim begins anew behind that. Where it is missing, that one parks again.
        lane.release(head, now);
        return Ok(Decided { lane, voided: None });
    }
    if voided {
        return Err(Refusal::VoidedBefore { next });
    }
    let missing = Refusal::Missing { next, action: "voided" };
    let row = row.filter(|row| row.sequence == next).ok_or_else(|| missing.clone())?;
    if next == lane.first && lane.first > Sequence::FIRST {
        // A void cannot begin a stream, so the lane begins one place further on.
        lane.first = next.next();
        lane.acked = next;
        lane.release(head, now);
        return Ok(Decided { lane, voided: None });
    }
    let void = Event::verify(&row.body).and_then(|event| Void::of(event, now)).map_err(|_| missing.clone())?;
    let body = void.body().map_err(|_| missing)?;
    lane.release(head, now);
    let voided = Voided {
        destination: request.destination.clone(),
        uid: request.uid.clone(),
        sequence: next,
        event_id: void.id,
        body,
        recorded_at: now,
    };
    Ok(Decided { lane, voided: Some(voided) })
}
