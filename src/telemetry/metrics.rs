//! What this process counts and shows. What there is to count is said in `figures`.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus::{GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::{
    audit::AuditMetrics,
    survey::{Arrears, Survey, SurveyMetrics},
};
use crate::{
    domain::{Kind, Timestamp},
    figures::{self, Registry},
    ledger::{Appending, Wait, Want},
    outbox::DeliveryMetrics,
};

/// Looks at everything, when somebody asks for the figures.
pub type Surveyor = Box<dyn Fn() -> Survey + Send>;

/// Everything that `/metrics` shows.
pub struct Metrics {
    registry: Registry,
    /// Deliveries.
    pub delivery: DeliveryMetrics,
    reconciles: IntCounterVec,
    reconcile_seconds: HistogramVec,
    queued: IntGaugeVec,
    queue_seconds: HistogramVec,
    ready_seconds: HistogramVec,
    transitions: IntCounterVec,
    leader: IntGauge,
    epoch: IntGauge,
    commit_seconds: Histogram,
    batch: Histogram,
    tries: IntCounter,
    doubts: IntCounter,
    audit: AuditMetrics,
    waiting: GaugeVec,
    survey: SurveyMetrics,
    surveyor: Mutex<Option<Surveyor>>,
}

impl Metrics {
    /// Collectors, registered.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build = registry.gauges(&figures::BUILD)?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self {
            delivery: DeliveryMetrics::new(&registry)?,
            reconciles: registry.counters(&figures::RECONCILES)?,
            reconcile_seconds: registry.histograms(&figures::RECONCILE_SECONDS)?,
            queued: registry.gauges(&figures::QUEUED)?,
            queue_seconds: registry.histograms(&figures::QUEUE_SECONDS)?,
            ready_seconds: registry.histograms(&figures::READY_SECONDS)?,
            transitions: registry.counters(&figures::TRANSITIONS)?,
            leader: registry.gauge(&figures::LEADER)?,
            epoch: registry.gauge(&figures::EPOCH)?,
            commit_seconds: registry.histogram(&figures::COMMIT_SECONDS)?,
            batch: registry.histogram(&figures::BATCH)?,
            tries: registry.counter(&figures::TRIES)?,
            doubts: registry.counter(&figures::DOUBTS)?,
            audit: AuditMetrics::new(&registry)?,
            waiting: registry.spans(&figures::WAITING)?,
            survey: SurveyMetrics::new(&registry)?,
            surveyor: Mutex::default(),
            registry,
        })
    }

    /// Where other parts register what they count.
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A look has ended.
    pub fn reconciled(&self, kind: &str, outcome: &str, took: Duration) {
        self.reconciles.with_label_values(&[kind, outcome]).inc();
        self.reconcile_seconds.with_label_values(&[kind]).observe(took.as_secs_f64());
    }

    /// So many objects of a kind wait for a look.
    pub fn queued(&self, kind: &str, objects: usize) {
        self.queued.with_label_values(&[kind]).set(i64::try_from(objects).unwrap_or(i64::MAX));
    }

    /// An object that changed has waited for a look.
    pub fn waited(&self, kind: &str, waited: Duration) {
        self.queue_seconds.with_label_values(&[kind]).observe(waited.as_secs_f64());
    }

    /// A new or changed spec is shown as Ready.
    pub fn became_ready(&self, kind: &str, took: Duration) {
        self.ready_seconds.with_label_values(&[kind]).observe(took.as_secs_f64());
    }

    /// A transition was recorded.
    pub fn transition(&self, kind: Kind, from: &str, to: &str) {
        self.transitions.with_label_values(&[kind.as_str(), from, to]).inc();
    }

    /// Leadership was won.
    pub fn leads(&self, epoch: i64) {
        self.leader.set(1);
        self.epoch.set(epoch);
    }

    /// Leadership was lost: what only a leader knows is not shown any more.
    pub fn stands_down(&self, now: Timestamp) {
        self.leader.set(0);
        self.surveyed_by(None);
        self.survey.stands_down(now);
        self.audit.stands_down();
        self.delivery.stands_down();
        self.queued.reset();
    }

    /// A sweep found ledger and cluster apart, and brought them together.
    pub fn drifted(&self, kind: Kind, what: &str) {
        self.audit.drift.with_label_values(&[kind.as_str(), what]).inc();
    }

    /// Whether sweeps close nothing because too much seems to be gone.
    pub fn sweeps_held(&self, held: bool) {
        self.audit.sweeps.inc();
        self.audit.held.set(i64::from(held));
    }

    /// How many violations of the ledger's invariants stand.
    pub fn violations(&self, standing: u64) {
        self.audit.violations.set(i64::try_from(standing).unwrap_or(i64::MAX));
    }

    /// How many streams are known to have come further than the ledger, and whether that holds all of it.
    pub fn behind(&self, streams: u64, everything: bool) {
        self.audit.behind.set(i64::try_from(streams).unwrap_or(i64::MAX));
        self.audit.ledger_held.set(i64::from(everything));
    }

    /// The appender did something.
    pub fn appending(&self, what: Appending) {
        match what {
            Appending::Tried => self.tries.inc(),
            Appending::Doubted => self.doubts.inc(),
            Appending::Answered { drafts, busy } => {
                self.commit_seconds.observe(busy.as_secs_f64());
                self.batch.observe(f64::from(u32::try_from(drafts).unwrap_or(u32::MAX)));
            }
        }
    }

    /// What the ledger is being waited for.
    pub fn waits_for_the_ledger(&self, waits: &[Wait]) {
        for want in Want::ALL {
            // What is waited for at all is not shown as if it were not.
            let waited = waits.iter().find(|wait| wait.want == want).map_or(0, |wait| wait.waited.as_secs().max(1));
            self.waiting.with_label_values(&[want.code()]).set(Duration::from_secs(waited).as_secs_f64());
        }
    }

    /// What billing was not yet told, as of `now`.
    pub fn owes(&self, arrears: &Arrears, now: Timestamp) {
        self.survey.owes(arrears, now);
    }

    /// Who looks at everything when somebody asks for the figures; `None` where that is for another process.
    pub fn surveyed_by(&self, surveyor: Option<Surveyor>) {
        *self.surveyor() = surveyor;
    }

    /// The text that Prometheus reads.
    pub fn render(&self, now: Timestamp) -> Result<String, prometheus::Error> {
        // Held until the text is there: two who ask at once must not see half of each other's.
        let surveyor = self.surveyor();
        if let Some(survey) = &*surveyor {
            self.survey.show(&survey(), now);
        }
        self.registry.render()
    }

    fn surveyor(&self) -> MutexGuard<'_, Option<Surveyor>> {
        self.surveyor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
