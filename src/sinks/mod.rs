//! Where events go: one file for each type of sink, and one line for each in `TYPES`.
//!
//! A sink knows how to hand over the next events of one resource and what the answer means. It knows nothing of
//! lanes, leases and retries; those are the outbox's.

mod answer;
mod http;
mod nats;
mod openmeter;
mod settings;
pub mod signature;
mod tls;
mod together;
pub mod webhook;

#[cfg(test)]
mod fixtures;

pub(crate) use tls::client_config;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{Clock, Sequence, Uid},
    ledger::OutboxRow,
};

/// Every type of sink there is.
const TYPES: &[SinkType] = &[webhook::TYPE, nats::TYPE, openmeter::TYPE];

/// How one type of sink is made from a configuration.
#[derive(Clone, Copy)]
pub struct SinkType {
    /// Its name in a configuration.
    pub name: &'static str,
    /// Makes one.
    pub build: Build,
}

/// Makes a sink of one type from a configuration.
pub type Build = fn(&SinkConfig, Arc<dyn Clock>) -> Result<Arc<dyn Sink>, ConfigFault>;

impl fmt::Debug for SinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SinkType({})", self.name)
    }
}

/// Makes a sink of whatever type from a configuration: [`build`], or what stands in for it in a simulation.
pub type SinkBuilder =
    Arc<dyn Fn(&SinkConfig, Arc<dyn Clock>) -> Result<Arc<dyn Sink>, ConfigFault> + Send + Sync + 'static>;

/// A sink as somebody asked for it.
#[derive(Debug)]
pub struct SinkConfig {
    /// The name of its type.
    pub sink_type: String,
    /// The type's own settings. What they may be stands in the type's file.
    pub settings: serde_json::Value,
    /// What must not be shown to anybody, by name.
    pub secrets: BTreeMap<String, SecretString>,
}

/// Why a configuration makes no sink. Says nothing secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFault {
    /// No such type.
    #[error("there is no sink of type '{name}'; use one of: {}", TYPES.iter().map(|known| known.name).collect::<Vec<_>>().join(", "))]
    UnknownType {
        /// What was asked for.
        name: String,
    },
    /// A setting is missing, unknown or not allowed.
    #[error("the settings of the {sink_type} sink cannot be used: {why}")]
    Settings {
        /// The type.
        sink_type: &'static str,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// A secret is missing or not of the right form.
    #[error("the secret '{name}' of the {sink_type} sink cannot be used: {why}")]
    Secret {
        /// The type.
        sink_type: &'static str,
        /// Which secret.
        name: &'static str,
        /// What is wrong with it, without saying what it is.
        why: String,
    },
}

impl ConfigFault {
    /// One word for labels, events and conditions.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownType { .. } => "UnknownSinkType",
            Self::Settings { .. } => "InvalidSettings",
            Self::Secret { .. } => "InvalidSecret",
        }
    }
}

/// Makes the sink that `config` describes.
pub fn build(config: &SinkConfig, clock: Arc<dyn Clock>) -> Result<Arc<dyn Sink>, ConfigFault> {
    match TYPES.iter().find(|known| known.name == config.sink_type) {
        Some(known) => (known.build)(config, clock),
        None => Err(ConfigFault::UnknownType { name: config.sink_type.clone() }),
    }
}

/// The next events of one resource, in order.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The resource.
    pub uid: Uid,
    /// Its events, in the order in which they must arrive. Never empty.
    pub rows: Vec<OutboxRow>,
    /// Asked before each event but the first.
    pub budget: Budget,
}

/// How long a delivery may go on.
#[derive(Clone)]
pub struct Budget {
    clock: Arc<dyn Clock>,
    until: Duration,
    stop: CancellationToken,
}

impl Budget {
    /// Until `until` on the monotonic clock, or until `stop` is cancelled.
    pub fn new(clock: Arc<dyn Clock>, until: Duration, stop: CancellationToken) -> Self {
        Self { clock, until, stop }
    }

    /// Whether no further event should be begun.
    pub fn is_spent(&self) -> bool {
        self.stop.is_cancelled() || self.clock.monotonic() >= self.until
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Budget(until {:?})", self.until)
    }
}

/// How far a delivery got, and what ended it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// The last event that the receiver acknowledged, if it did any.
    pub through: Option<Sequence>,
    /// What ended it.
    pub ending: Ending,
}

/// What ended a delivery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// Nothing but the end of the events, or of the time for them.
    Accepted,
    /// It failed in a way that may pass.
    Retry {
        /// How long the receiver asked to be left alone.
        after: Option<Duration>,
        /// What happened, for people.
        error: String,
    },
    /// The receiver will never take this event.
    Refused {
        /// What it said, for people.
        error: String,
    },
    /// The receiver expects another event than the one it got.
    Rewind {
        /// The event it expects.
        expected: Sequence,
        /// What it said, for people.
        error: String,
    },
    /// The receiver wants nothing more from this sink.
    Disabled {
        /// What it said, for people.
        error: String,
    },
    /// The receiver takes nothing now, whatever is sent: it cannot be reached, it does not know this sender, or it asks
    /// to be left alone. Every resource meets that alike.
    Unavailable {
        /// How long it asked to be left alone.
        after: Option<Duration>,
        /// What happened, for people.
        error: String,
    },
    /// Nothing was sent: there was no time left, or no room.
    NotTried,
    /// Nothing was sent: whether an earlier try arrived is not known, and the receiver may not recognise it any more.
    /// Said in a sink's place by whoever knows how long ago that was.
    Ambiguous {
        /// Since when, and what to do, for people.
        error: String,
    },
}

/// How much one message may hold, for a sink that takes the events of several resources at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Resources.
    pub lanes: usize,
    /// Events, of all of them together.
    pub events: usize,
    /// Bytes of their bodies. One event larger than that is sent all the same, alone.
    pub bytes: usize,
}

/// Hands events to a receiver.
///
/// Deliveries of different resources run at the same time; those of one resource never do.
#[async_trait]
pub trait Sink: Send + Sync + fmt::Debug + 'static {
    /// Delivers events in their order, each at least once, until they end, time is up, or one is not acknowledged.
    ///
    /// An event counts as acknowledged only when the receiver has it durably. Never fails: whatever happens is an
    /// [`Ending`].
    async fn deliver(&self, batch: Batch) -> Delivery;

    /// Delivers the events of several resources, in one message if they fit, and answers for each in the same order.
    ///
    /// Called only if there is [`Sink::room`].
    async fn deliver_together(&self, batches: Vec<Batch>) -> Vec<Delivery> {
        let mut deliveries = Vec::with_capacity(batches.len());
        for batch in batches {
            deliveries.push(self.deliver(batch).await);
        }
        deliveries
    }

    /// How much one message may hold, if the receiver takes the events of several resources at once.
    fn room(&self) -> Option<Room> {
        None
    }

    /// The longest that one message may take; the lease of a lane is made to outlast it.
    fn longest_attempt(&self) -> Duration;

    /// How long the receiver is sure to recognise an event that it has already taken; `None` if for ever. May have to
    /// ask it, and answers what came of that when there was no answer.
    ///
    /// An event whose fate is unknown may be sent again within that time and no later: beyond it, it could count twice.
    async fn dedupe_horizon(&self) -> Result<Option<Duration>, Ending>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemClock;

    #[test]
    fn an_unknown_type_is_answered_with_the_known_ones() {
        let config = SinkConfig {
            sink_type: "carrier-pigeon".into(),
            settings: serde_json::json!({}),
            secrets: BTreeMap::new(),
        };
        let fault = build(&config, Arc::new(SystemClock::default())).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "there is no sink of type 'carrier-pigeon'; use one of: webhook, nats, openmeter"
        );
        assert_eq!(fault.code(), "UnknownSinkType");
    }
}
