//! What the outbox tells Prometheus.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::domain::DestinationId;

/// Collectors for deliveries. Labels name destinations, of which there are few, never resources.
#[derive(Clone, Debug)]
pub struct DeliveryMetrics {
    pub(super) acknowledged: IntCounterVec,
    pub(super) deliveries: IntCounterVec,
    pub(super) delay: HistogramVec,
    pub(super) in_flight: IntGaugeVec,
    pub(super) bytes: IntGaugeVec,
    pub(super) held: IntGaugeVec,
    pub(super) disabled: IntGaugeVec,
}

impl DeliveryMetrics {
    /// Collectors that no registry knows yet.
    pub fn new() -> Result<Self, prometheus::Error> {
        let destination = &["destination"];
        Ok(Self {
            acknowledged: IntCounterVec::new(
                Opts::new("trueup_outbox_events_acknowledged_total", "Events that the receiver acknowledged."),
                destination,
            )?,
            deliveries: IntCounterVec::new(
                Opts::new(
                    "trueup_outbox_deliveries_total",
                    "Deliveries of the next events of one resource, by what ended them.",
                ),
                &["destination", "ending"],
            )?,
            delay: HistogramVec::new(
                HistogramOpts::new(
                    "trueup_outbox_delay_seconds",
                    "From the ledger's commit of an event to the receiver's acknowledgement.",
                )
                .buckets(vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0, 3_600.0]),
                destination,
            )?,
            in_flight: IntGaugeVec::new(
                Opts::new("trueup_outbox_lanes_in_flight", "Resources whose events are being delivered right now."),
                destination,
            )?,
            bytes: IntGaugeVec::new(
                Opts::new("trueup_outbox_bytes_in_flight", "Bytes of events that are being delivered right now."),
                destination,
            )?,
            held: IntGaugeVec::new(
                Opts::new(
                    "trueup_outbox_held",
                    "1 while the receiver takes nothing, whatever is sent, and is left alone for a while.",
                ),
                destination,
            )?,
            disabled: IntGaugeVec::new(
                Opts::new("trueup_outbox_disabled", "1 while the receiver wants nothing more (it answered 410)."),
                destination,
            )?,
        })
    }

    /// Makes `registry` show them.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.acknowledged.clone()))?;
        registry.register(Box::new(self.deliveries.clone()))?;
        registry.register(Box::new(self.delay.clone()))?;
        registry.register(Box::new(self.in_flight.clone()))?;
        registry.register(Box::new(self.bytes.clone()))?;
        registry.register(Box::new(self.held.clone()))?;
        registry.register(Box::new(self.disabled.clone()))
    }

    /// Forgets a destination that is gone, so that it does not stand in dashboards for ever.
    pub(super) fn forget(&self, destination: &DestinationId) {
        let destination = destination.as_str();
        // Absent ones are what is wanted.
        let _ = self.acknowledged.remove_label_values(&[destination]);
        let _ = self.delay.remove_label_values(&[destination]);
        let _ = self.in_flight.remove_label_values(&[destination]);
        let _ = self.bytes.remove_label_values(&[destination]);
        let _ = self.held.remove_label_values(&[destination]);
        let _ = self.disabled.remove_label_values(&[destination]);
        for ending in super::settler::ENDINGS {
            let _ = self.deliveries.remove_label_values(&[destination, ending]);
        }
    }
}
