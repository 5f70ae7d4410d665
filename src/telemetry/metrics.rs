//! The figures. Labels are kinds, states and codes, never names of objects: there are too many of those.

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use super::audit::AuditMetrics;
use crate::{
    domain::Kind,
    ledger::{StatsView, Wait, Want},
    outbox::DeliveryMetrics,
};

/// Everything that `/metrics` shows.
pub struct Metrics {
    registry: Registry,
    /// Deliveries.
    pub delivery: DeliveryMetrics,
    reconciles: IntCounterVec,
    reconcile_seconds: HistogramVec,
    transitions: IntCounterVec,
    leader: IntGauge,
    epoch: IntGauge,
    appender: IntGaugeVec,
    /// What the audit and the sweeps have found.
    audit: AuditMetrics,
    waiting: IntGaugeVec,
}

impl Metrics {
    /// Collectors, registered.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let delivery = DeliveryMetrics::new()?;
        delivery.register(&registry)?;
        let metrics = Self {
            reconciles: IntCounterVec::new(
                Opts::new("trueup_reconciles_total", "Looks at objects, by how they ended."),
                &["kind", "outcome"],
            )?,
            reconcile_seconds: HistogramVec::new(
                HistogramOpts::new("trueup_reconcile_seconds", "How long a look at an object took.")
                    .buckets(vec![0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0]),
                &["kind"],
            )?,
            transitions: IntCounterVec::new(
                Opts::new("trueup_transitions_total", "Transitions that this process recorded."),
                &["kind", "from", "to"],
            )?,
            leader: IntGauge::new("trueup_leader", "1 while this process leads.")?,
            epoch: IntGauge::new("trueup_leader_epoch", "The epoch in which this process leads or last led.")?,
            appender: IntGaugeVec::new(
                Opts::new(
                    "trueup_ledger_appender",
                    "What the appender of this term did: batches, drafts, tries, doubts.",
                ),
                &["what"],
            )?,
            audit: AuditMetrics::new(&registry)?,
            waiting: IntGaugeVec::new(
                Opts::new(
                    "trueup_ledger_waiting_seconds",
                    "How long the ledger's database has been waited for, by what is wanted of it; 0 while it answers.",
                ),
                &["for"],
            )?,
            registry,
            delivery,
        };
        metrics.registry.register(Box::new(metrics.reconciles.clone()))?;
        metrics.registry.register(Box::new(metrics.reconcile_seconds.clone()))?;
        metrics.registry.register(Box::new(metrics.transitions.clone()))?;
        metrics.registry.register(Box::new(metrics.leader.clone()))?;
        metrics.registry.register(Box::new(metrics.epoch.clone()))?;
        metrics.registry.register(Box::new(metrics.appender.clone()))?;
        metrics.registry.register(Box::new(metrics.waiting.clone()))?;
        let build = IntGaugeVec::new(Opts::new("trueup_build_info", "1, with the version as a label."), &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        metrics.registry.register(Box::new(build))?;
        Ok(metrics)
    }

    /// A look has ended.
    pub fn reconciled(&self, kind: &str, outcome: &str, seconds: f64) {
        self.reconciles.with_label_values(&[kind, outcome]).inc();
        self.reconcile_seconds.with_label_values(&[kind]).observe(seconds);
    }

    /// A transition was recorded.
    pub fn transition(&self, kind: Kind, from: &str, to: &str) {
        self.transitions.with_label_values(&[kind.as_str(), from, to]).inc();
    }

    /// Leadership was won, or (`None`) lost.
    pub fn leads(&self, epoch: Option<i64>) {
        self.leader.set(i64::from(epoch.is_some()));
        if let Some(epoch) = epoch {
            self.epoch.set(epoch);
        }
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

    /// What the appender did so far.
    pub fn appended(&self, view: &StatsView) {
        let counts =
            [("batches", view.batches), ("drafts", view.drafts), ("tries", view.tries), ("doubts", view.doubts)];
        for (what, count) in counts {
            self.appender.with_label_values(&[what]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// What the ledger is being waited for.
    pub fn waits_for_the_ledger(&self, waits: &[Wait]) {
        for want in Want::ALL {
            let waited = waits.iter().find(|wait| wait.want == want).map_or(0, |wait| wait.waited.as_secs().max(1));
            self.waiting.with_label_values(&[want.code()]).set(i64::try_from(waited).unwrap_or(i64::MAX));
        }
    }

    /// The text that Prometheus reads.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
