//! What is known of the deliveries to one destination.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::domain::{DestinationId, Timestamp};

/// How things stand with one destination.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelayStatus {
    /// Which one.
    pub destination: DestinationId,
    /// The revision of its configuration that is at work.
    pub revision: String,
    /// Why nothing is sent any more: the receiver answered 410.
    pub disabled: Option<String>,
    /// Why nothing is sent for a while: whatever is sent meets the same trouble.
    pub held: Option<Held>,
    /// Events acknowledged since this process began with it.
    pub acknowledged: u64,
    /// When the newest acknowledgement came.
    pub last_ack_at: Option<Timestamp>,
    /// The newest failure, and when it happened. Cleared by nothing: compare it with `last_ack_at`.
    pub last_error: Option<(Timestamp, String)>,
    /// When the oldest event was recorded that was not yet acknowledged, parked resources apart.
    pub oldest_undelivered: Option<Timestamp>,
    /// How far behind it is: the age of that event.
    pub lag: Duration,
    /// Resources that wait for a person.
    pub parked: u64,
}

/// A destination that is left alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// When it is tried again.
    pub until: Timestamp,
    /// What happened.
    pub error: String,
}

/// What the tasks of one destination note down while they work.
#[derive(Debug, Default)]
pub(super) struct Notes(Mutex<Noted>);

#[derive(Clone, Debug, Default)]
pub(super) struct Noted {
    pub(super) disabled: Option<String>,
    pub(super) held: Option<Held>,
    pub(super) acknowledged: u64,
    pub(super) last_ack_at: Option<Timestamp>,
    pub(super) last_error: Option<(Timestamp, String)>,
}

impl Notes {
    pub(super) fn read(&self) -> Noted {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn write(&self, note: impl FnOnce(&mut Noted)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
