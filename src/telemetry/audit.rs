//! The figures of the audit: what sweeps found, and what the ledger lacks.

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use crate::figures::{self, Registry};

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
        Ok(Self {
            sweeps: registry.counter(&figures::SWEEPS)?,
            drift: registry.counters(&figures::DRIFT)?,
            held: registry.gauge(&figures::SWEEPS_HELD)?,
            violations: registry.gauge(&figures::VIOLATIONS)?,
            behind: registry.gauge(&figures::BEHIND)?,
            ledger_held: registry.gauge(&figures::LEDGER_HELD)?,
        })
    }

    /// What was found is for the next leader to find: this process does not look any more.
    pub(super) fn stands_down(&self) {
        for gauge in [&self.held, &self.violations, &self.behind, &self.ledger_held] {
            gauge.set(0);
        }
    }
}
