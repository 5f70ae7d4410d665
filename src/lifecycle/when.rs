//! When something happened, by the best witness there is.
//!
//! Kubernetes or the workload may say so. What Trueup watched happen lies between two looks. What happened while nobody
//! watched, and left no time behind, lies somewhere after the stream's last row. Which witness each transition has is
//! written down in [`super::witnesses`].

use super::Object;
use crate::domain::{Effective, Head, Timestamp};

/// When it became so, of which nothing says when: after the stream's last row and not later than now.
pub(super) fn seen<S>(object: &Object<'_, S>, head: &Head, now: Timestamp) -> Effective {
    if object.watched {
        Effective::observed(head.effective_at, now)
    } else {
        Effective::inferred(head.effective_at, now)
    }
}

/// When it became so that Kubernetes says happened at `reported`, if it says so and can be believed.
///
/// A time before the stream's last row tells of something earlier, so then it is only known to have been seen.
pub(super) fn reported<S>(
    reported: Option<Timestamp>,
    object: &Object<'_, S>,
    head: &Head,
    now: Timestamp,
) -> Effective {
    match reported {
        Some(t) if t <= now && is_news(t, head) => Effective::reported(t, now),
        _ => seen(object, head, now),
    }
}

/// When Trueup did it itself: now. If it was ended between doing and recording, Kubernetes says when that was.
pub(super) fn own<S>(made: Option<Timestamp>, object: &Object<'_, S>, head: &Head, now: Timestamp) -> Effective {
    if object.watched { seen(object, head, now) } else { reported(made, object, head, now) }
}

/// When Trueup decided it: the row itself makes it so.
pub(super) fn decided(now: Timestamp) -> Effective {
    Effective::observed(now, now)
}

/// When a deadline passed without that which it was set for. Whether or not somebody watched, it was then.
pub(super) fn passed(deadline: Timestamp, head: &Head, now: Timestamp) -> Effective {
    let at = deadline.min(now).max(head.effective_at.min(now));
    Effective::inferred(at, at)
}

/// Whether whole second `t` may lie after the stream's last row.
pub(super) fn is_news(t: Timestamp, head: &Head) -> bool {
    Effective::reported(t, Timestamp::from_micros(i64::MAX)).not_after >= head.effective_at
}
