//! The figures of the audit: what sweeps found, and what the ledger lacks.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// What the audit and the sweeps have found.
pub(super) struct AuditMetrics {
    pub(super) sweeps: IntCounter,
    pub(super) drift: IntCounterVec,
    pub(super) held: IntGauge,
    pub(super) violations: IntGauge,
    pub(super) behind: IntGauge,
    pub(super) ledger_held: IntGauge,
}

impl AuditMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            sweeps: IntCounter::new("trueup_audit_sweeps_total", "Comparisons of ledger and cluster.")?,
            drift: IntCounterVec::new(
                Opts::new("trueup_audit_drift_total", "Streams without objects that were closed, and the reverse."),
                &["kind", "what"],
            )?,
            held: IntGauge::new("trueup_audit_held", "1 while sweeps close nothing: too much seems to be gone.")?,
            violations: IntGauge::new("trueup_audit_violations", "Places where the ledger violates its invariants.")?,
            behind: IntGauge::new(
                "trueup_ledger_behind_streams",
                "Streams of which others know more than the ledger. Nothing is appended to them.",
            )?,
            ledger_held: IntGauge::new("trueup_ledger_held", "1 while nothing is appended: the ledger lost rows.")?,
        };
        registry.register(Box::new(metrics.sweeps.clone()))?;
        registry.register(Box::new(metrics.drift.clone()))?;
        for gauge in [&metrics.held, &metrics.violations, &metrics.behind, &metrics.ledger_held] {
            registry.register(Box::new(gauge.clone()))?;
        }
        Ok(metrics)
    }
}
