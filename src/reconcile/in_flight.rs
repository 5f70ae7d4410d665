//! What was sent and not answered.
//!
//! A request whose connection broke, or whose sender died, may still be carried out: by a proxy on the way, or by a server that
//! was slow. An application that is deleted meanwhile would be found gone, its stream closed, and its Deployment made a moment
//! later, for nobody. So a stream is closed only once nothing of that kind can come any more.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::cluster::OwnerKey;

/// So long after nobody waits for it any more, a request may still be carried out.
const LATEST: Duration = Duration::from_secs(10);

/// When something was last sent without an answer, by the monotonic clock.
#[derive(Default)]
pub struct InFlight {
    /// By whoever led before this term, for anybody.
    before: Option<Duration>,
    /// In this term.
    sent: Mutex<HashMap<OwnerKey, Duration>>,
}

impl InFlight {
    /// Whoever led until `now` may have sent something.
    pub fn after_another(now: Duration) -> Self {
        Self { before: Some(now), sent: Mutex::default() }
    }

    /// Something that was sent for `owner` was not answered.
    pub(super) fn note(&self, owner: &OwnerKey, now: Duration) {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).insert(owner.clone(), now);
    }

    /// The owner is gone for good.
    pub(super) fn forget(&self, owner: &OwnerKey) {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).remove(owner);
    }

    /// For how long something may still come that was sent for `owner`; `None` if nothing can.
    pub(super) fn left(&self, owner: &OwnerKey, now: Duration) -> Option<Duration> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner).get(owner).copied();
        let until = sent.max(self.before)? + LATEST;
        until.checked_sub(now).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::CustomKind;

    #[test]
    fn what_was_not_answered_may_come_late_and_not_for_ever() {
        let key = |name: &str| OwnerKey { kind: CustomKind::Tenant, namespace: None, name: name.into() };
        let seconds = Duration::from_secs;
        let first = InFlight::default();
        assert_eq!(first.left(&key("a"), seconds(100)), None, "nothing was sent, and nobody led before");
        first.note(&key("a"), seconds(100));
        assert_eq!(first.left(&key("a"), seconds(103)), Some(seconds(7)));
        assert_eq!(first.left(&key("b"), seconds(103)), None, "that is somebody else's");
        assert_eq!(first.left(&key("a"), seconds(110)), None);

        let second = InFlight::after_another(seconds(100));
        assert_eq!(second.left(&key("b"), seconds(104)), Some(seconds(6)), "nobody knows what the one before sent");
        second.note(&key("b"), seconds(105));
        assert_eq!(second.left(&key("b"), seconds(112)), Some(seconds(3)));
        second.forget(&key("b"));
        assert_eq!(second.left(&key("b"), seconds(112)), None);
    }
}
