//! Settings that several sinks have.

use std::time::Duration;

use jiff::SignedDuration;

/// A lane's lease, four times as long, must stay within what a ledger grants.
const LONGEST_TIMEOUT: Duration = Duration::from_mins(3);

/// How long a whole exchange may take, unless something else is asked for.
pub(super) const fn default_timeout() -> SignedDuration {
    SignedDuration::from_secs(10)
}

/// How long connecting may take, unless something else is asked for.
pub(super) const fn default_connect_timeout() -> SignedDuration {
    SignedDuration::from_secs(3)
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// A whole exchange.
    pub(super) whole: Duration,
    /// Connecting, within it.
    pub(super) connect: Duration,
}

impl Times {
    /// Checks both.
    pub(super) fn check(timeout: SignedDuration, connect_timeout: SignedDuration) -> Result<Self, String> {
        let positive = |name: &str, span: SignedDuration| {
            Duration::try_from(span)
                .ok()
                .filter(|span| !span.is_zero() && *span <= LONGEST_TIMEOUT)
                .ok_or_else(|| format!("{name} must be more than nothing and at most 3m"))
        };
        Ok(Self { whole: positive("timeout", timeout)?, connect: positive("connectTimeout", connect_timeout)? })
    }
}
