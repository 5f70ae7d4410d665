//! Which objects wait for a look, and since when.
//!
//! kube's scheduler has the queue and shows nothing of it, so what goes in and what comes out is noted beside it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::telemetry::Metrics;

/// A namespace, if it has one, and a name.
type Named = (Option<String>, String);

/// The objects of one kind that wait.
pub(super) struct Queue {
    kind: String,
    metrics: Arc<Metrics>,
    since: Mutex<HashMap<Named, Duration>>,
}

impl Queue {
    /// Nothing waits yet.
    pub(super) fn new(kind: String, metrics: Arc<Metrics>) -> Self {
        metrics.queued(&kind, 0);
        Self { kind, metrics, since: Mutex::default() }
    }

    /// A look is asked for. One that is asked for again has waited since the first time.
    pub(super) fn asked(&self, object: Named, now: Duration) {
        let mut since = self.since();
        since.entry(object).or_insert(now);
        self.metrics.queued(&self.kind, since.len());
    }

    /// A look begins.
    pub(super) fn begins(&self, object: &Named, now: Duration) {
        if let Some(since) = self.leave(object) {
            self.metrics.waited(&self.kind, now.saturating_sub(since));
        }
    }

    /// There will be no look: the object is gone.
    pub(super) fn gone(&self, object: &Named) {
        self.leave(object);
    }

    fn leave(&self, object: &Named) -> Option<Duration> {
        let mut since = self.since();
        let asked = since.remove(object);
        self.metrics.queued(&self.kind, since.len());
        asked
    }

    fn since(&self) -> MutexGuard<'_, HashMap<Named, Duration>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    fn shown(metrics: &Metrics) -> Vec<String> {
        let text = metrics.render(Timestamp::from_micros(0)).unwrap();
        let of = [
            "trueup_reconcile_queue_objects{",
            "trueup_reconcile_wait_seconds_sum{",
            "trueup_reconcile_wait_seconds_count{",
        ];
        text.lines().filter(|line| of.iter().any(|name| line.starts_with(name))).map(str::to_owned).collect()
    }

    #[test]
    fn an_object_waits_from_when_it_was_first_asked_for_until_the_look_begins() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let queue = Queue::new("Backup".into(), metrics.clone());
        let named = |name: &str| (Some("acme-prod".to_owned()), name.to_owned());
        let second = Duration::from_secs;
        queue.asked(named("first"), second(10));
        queue.asked(named("first"), second(11));
        queue.asked(named("gone"), second(11));
        assert_eq!(shown(&metrics), ["trueup_reconcile_queue_objects{kind=\"Backup\"} 2"]);
        queue.begins(&named("first"), second(12));
        // Looked at again by its own wish: nobody waited.
        queue.begins(&named("first"), second(99));
        queue.gone(&named("gone"));
        let wanted = [
            "trueup_reconcile_queue_objects{kind=\"Backup\"} 0",
            "trueup_reconcile_wait_seconds_sum{kind=\"Backup\"} 2",
            "trueup_reconcile_wait_seconds_count{kind=\"Backup\"} 1",
        ];
        assert_eq!(shown(&metrics), wanted);
    }
}
