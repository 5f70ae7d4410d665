//! A lane that waits for a person, as every command shows it.

use serde::Serialize;

use crate::{
    cli::{
        table::Align,
        text::{BAD, DIM, PLAIN, Text},
    },
    domain::{DestinationId, Sequence, Uid},
    ledger::LaneView,
};

/// How much of an error is shown.
const ERROR_WIDTH: usize = 110;

/// The columns of [`Stuck::cells`].
pub const COLUMNS: [(&str, Align); 5] = [
    ("PARKED", Align::Left),
    ("DESTINATION", Align::Left),
    ("AT", Align::Right),
    ("UNDELIVERED", Align::Right),
    ("REASON", Align::Left),
];

/// What is known of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stuck {
    pub destination: DestinationId,
    pub resource: String,
    pub uid: Uid,
    /// The event that could not be delivered.
    pub sequence: Sequence,
    /// That one and those behind it.
    pub undelivered: i64,
    pub reason: String,
    pub error: Option<String>,
}

impl Stuck {
    /// What `lane`, which is that of `resource`, says.
    pub fn of(resource: String, lane: LaneView) -> Self {
        Self {
            destination: lane.destination,
            resource,
            uid: lane.uid,
            sequence: lane.acked.next(),
            undelivered: lane.head.get() - lane.acked.get(),
            reason: lane.park_reason.unwrap_or_default(),
            error: lane.last_error,
        }
    }

    /// Its row in a table.
    pub fn cells(&self) -> Vec<Vec<Text>> {
        vec![
            vec![Text::plain(&self.resource)],
            vec![Text::plain(self.destination.as_str())],
            vec![Text::plain(self.sequence.to_string())],
            vec![Text::plain(self.undelivered.to_string())],
            vec![Text::new(BAD, &self.reason)],
        ]
    }

    /// What the receiver said, for the line below.
    pub fn note(&self) -> Option<Text> {
        self.error.as_ref().map(|error| Text::new(DIM, "│ ").and(PLAIN, error).cut(ERROR_WIDTH))
    }
}
