//! Why something of the loop did not come to its end.

use super::look::ROUNDS;
use crate::{
    cluster::ClusterError,
    domain::Clock,
    ledger::{AppenderError, StoreError, Waits, Want},
};

/// Why a look did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The API server.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] StoreError),
    /// The ledger could not be written.
    #[error(transparent)]
    Append(#[from] AppenderError),
    /// A decision that the state table does not allow.
    #[error("a transition was refused as illegal: {0}; this is a bug in Trueup's lifecycle, please report it")]
    Illegal(String),
    /// Decisions and effects chase each other.
    #[error(
        "after {ROUNDS} rounds there was still something to do; this is a bug in Trueup's lifecycle, please report it"
    )]
    DidNotSettle,
    /// A secret or a sink's settings.
    #[error("{0}")]
    Configuration(String),
    /// A reconciler ended in the middle.
    #[error("a look panicked: {0}; this is a bug in Trueup, please report it")]
    Panicked(String),
}

impl ReconcileError {
    /// A word for metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Cluster(error) => error.code(),
            Self::Ledger(_) | Self::Append(_) => "ledger",
            Self::Illegal(_) | Self::DidNotSettle | Self::Panicked(_) => "bug",
            Self::Configuration(_) => "configuration",
        }
    }

    /// Whether this is told of on the board of what the ledger is waited for, so that nobody else need tell of it.
    pub fn is_waited_for(&self, waits: &Waits, clock: &dyn Clock) -> bool {
        match self {
            Self::Ledger(error) => waits.failed(Want::Read, error, clock),
            // The appender has noted it already.
            Self::Append(error) => error.is_away(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::domain::{ManualClock, Timestamp};

    #[test]
    fn a_ledger_that_does_not_answer_is_waited_for_and_what_will_not_pass_is_not() {
        let (waits, clock) = (Waits::default(), ManualClock::at(Timestamp::from_micros(1_767_225_600_000_000)));
        let doing = "reading heads";
        let damaged = ReconcileError::from(StoreError::Corrupt { doing, what: "a row".into() });
        assert!(!damaged.is_waited_for(&waits, &clock));
        assert!(!ReconcileError::Configuration("sweeping: no CRDs".into()).is_waited_for(&waits, &clock));
        assert_eq!(waits.all(clock.monotonic()), []);

        let source = sqlx::Error::Io(io::ErrorKind::ConnectionRefused.into());
        let away = ReconcileError::from(StoreError::Unavailable { doing, source });
        assert!(away.is_waited_for(&waits, &clock));
        let noted = waits.all(clock.monotonic());
        assert_eq!(noted.iter().map(|wait| wait.want).collect::<Vec<_>>(), [Want::Read]);
    }
}
