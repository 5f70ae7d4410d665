//! Any moment in the past, on two axes: when things happened, and when the ledger came to know of them.

use crate::domain::{Effective, Kind, Sequence, State, TenantName, Timestamp, Uid};

/// Which moment, by whose knowledge, and of what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PastQuery {
    /// The moment: rows that were effective by then count.
    pub at: Timestamp,
    /// Whose knowledge: rows that were recorded by then count.
    pub as_of: Timestamp,
    /// Only of this kind.
    pub kind: Option<Kind>,
    /// Only of what belonged to this tenant then.
    pub tenant: Option<TenantName>,
    /// Also what had ended by then, and was known to have.
    pub ended: bool,
    /// Only behind this UID; the way to page through everything.
    pub after: Option<Uid>,
    /// At most so many; at least 1.
    pub limit: u32,
}

impl PastQuery {
    /// What the ledger itself knew at the moment that is asked about, and not later than may be known at all.
    pub fn then(&self) -> Timestamp {
        self.at.min(self.as_of)
    }
}

/// A resource as it was at a moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PastState {
    /// Its UID.
    pub uid: Uid,
    /// Its kind.
    pub kind: Kind,
    /// Its namespace, where the kind has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The row that held; `None` if the rows of that time are not kept any more.
    pub held: Option<Held>,
    /// What the ledger took to hold at that very moment.
    pub believed: Believed,
    /// What may have happened by then already.
    pub doubt: Option<Doubt>,
}

/// The row that held at a moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// Its place in the stream.
    pub sequence: Sequence,
    /// The state that it began.
    pub state: State,
    /// When it happened.
    pub effective: Effective,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// The event.
    pub body: Vec<u8>,
}

/// What the ledger took to be so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Believed {
    /// What this row says.
    Row {
        /// The row's place in the stream.
        sequence: Sequence,
        /// The state.
        state: State,
    },
    /// Nothing: it did not know of the resource yet.
    Nothing,
    /// What a row said that is not kept any more.
    NotKept,
}

/// The row after the one that held, where it was inferred and may have happened before the moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Doubt {
    /// The state that it began.
    pub state: State,
    /// When it happened, as far as it is known.
    pub effective: Effective,
}
