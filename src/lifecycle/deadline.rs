//! Nothing waits for ever: when a state has lasted too long, and when to look.

use std::time::Duration;

use crate::domain::{Deadline, Head, Table, Timestamp};

/// How a state's deadline stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// There is none.
    Never,
    /// This much is left.
    In(Duration),
    /// It is past.
    Past {
        /// When it passed.
        end: Timestamp,
    },
}

impl Due {
    /// When to look again for it.
    pub(super) fn look_again(self) -> Option<Duration> {
        match self {
            // A little later than the deadline itself, so that it is past by then.
            Self::In(left) => Some(left + Duration::from_millis(50)),
            Self::Never | Self::Past { .. } => None,
        }
    }
}

/// How the deadline of `head`'s state stands at `now`; `from_spec` is what the resource's own spec says.
pub(super) fn due(table: &Table, head: &Head, from_spec: Duration, now: Timestamp) -> Due {
    match end(table, head, from_spec) {
        None => Due::Never,
        Some(end) if now >= end => Due::Past { end },
        Some(end) => Due::In(end.since(now)),
    }
}

/// When the deadline of `head`'s state is, if it has one.
fn end(table: &Table, head: &Head, from_spec: Duration) -> Option<Timestamp> {
    let allowed = match table.row(&head.state)?.deadline {
        Deadline::Never => return None,
        Deadline::After(span) => span,
        Deadline::FromSpec => from_spec,
    };
    Some(head.entered_at.plus(allowed))
}
