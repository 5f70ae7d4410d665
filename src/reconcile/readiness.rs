//! How long a new or changed spec takes until Ready is shown for it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;

use crate::domain::Uid;

/// The specs that were seen new and are not Ready yet, by UID. Spans are on the monotonic clock.
#[derive(Default)]
pub struct Readiness {
    awaited: Mutex<HashMap<Uid, Awaited>>,
}

struct Awaited {
    generation: i64,
    since: Duration,
}

impl Readiness {
    /// A look begins at `generation` of a spec, of which `status` is shown. A spec that somebody showed something about
    /// before is not new: how long it has taken so far is not known.
    pub(super) fn begins(&self, uid: &Uid, generation: i64, status: &Value, now: Duration) {
        if status["observedGeneration"].as_i64() == Some(generation) {
            return;
        }
        let mut awaited = self.awaited();
        let known = awaited.get(uid).is_some_and(|awaited| awaited.generation == generation);
        if !known {
            awaited.insert(uid.clone(), Awaited { generation, since: now });
        }
    }

    /// `status` is shown. Answers how long it took, if that says for the first time that a new spec is Ready.
    pub(super) fn shows(&self, uid: &Uid, status: &Value, now: Duration) -> Option<Duration> {
        let mut awaited = self.awaited();
        let generation = awaited.get(uid)?.generation;
        if status["observedGeneration"].as_i64() != Some(generation) {
            return None;
        }
        let is = |kind: &str| has(status, kind, "True");
        if !is("Ready") && (is("Reconciling") || is("Stalled")) {
            return None;
        }
        // Suspended, or ended otherwise by somebody's wish: Ready is not what it is on its way to.
        let ready = is("Ready");
        awaited.remove(uid).filter(|_| ready).map(|awaited| now.saturating_sub(awaited.since))
    }

    /// Forgets one that is gone.
    pub(super) fn forget(&self, uid: &Uid) {
        self.awaited().remove(uid);
    }

    fn awaited(&self) -> MutexGuard<'_, HashMap<Uid, Awaited>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has(status: &Value, kind: &str, is: &str) -> bool {
    let conditions = status["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    conditions.iter().any(|condition| condition["type"] == kind && condition["status"] == is)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(generation: i64, condition: &str) -> Value {
        json!({ "observedGeneration": generation, "conditions": [{ "type": condition, "status": "True" }] })
    }

    const fn second(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_spec_takes_from_its_first_look_until_ready_is_shown_whatever_was_in_its_way() {
        let (readiness, web) = (Readiness::default(), Uid::new("web"));
        readiness.begins(&web, 1, &Value::Null, second(10));
        assert_eq!(readiness.shows(&web, &status(1, "Reconciling"), second(11)), None);
        readiness.begins(&web, 1, &status(1, "Reconciling"), second(12));
        assert_eq!(readiness.shows(&web, &status(1, "Stalled"), second(13)), None);
        assert_eq!(readiness.shows(&web, &status(1, "Ready"), second(17)), Some(second(7)));
        assert_eq!(readiness.shows(&web, &status(1, "Ready"), second(18)), None, "it was said once");
    }

    #[test]
    fn what_gets_ready_again_without_a_new_spec_is_not_measured() {
        let (readiness, web) = (Readiness::default(), Uid::new("web"));
        readiness.begins(&web, 1, &status(1, "Reconciling"), second(10));
        assert_eq!(readiness.shows(&web, &status(1, "Ready"), second(11)), None);
    }

    #[test]
    fn a_spec_that_changes_on_the_way_begins_anew_and_one_that_is_suspended_is_on_no_way() {
        let (readiness, web) = (Readiness::default(), Uid::new("web"));
        readiness.begins(&web, 1, &Value::Null, second(10));
        readiness.begins(&web, 2, &status(1, "Reconciling"), second(20));
        assert_eq!(readiness.shows(&web, &status(1, "Ready"), second(21)), None, "that is the spec before");
        assert_eq!(readiness.shows(&web, &status(2, "Ready"), second(22)), Some(second(2)));
        readiness.begins(&web, 3, &status(2, "Ready"), second(30));
        assert_eq!(readiness.shows(&web, &status(3, "Suspended"), second(31)), None);
        assert_eq!(readiness.shows(&web, &status(3, "Ready"), second(99)), None);
    }
}
