//! What the outbox tells Prometheus.

use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};

use crate::{
    domain::DestinationId,
    figures::{self, Registry},
};

/// Collectors for deliveries. Labels name destinations, of which there are few, never resources.
#[derive(Clone, Debug)]
pub struct DeliveryMetrics {
    pub(super) acknowledged: IntCounterVec,
    pub(super) deliveries: IntCounterVec,
    pub(super) delay: HistogramVec,
    pub(super) took: HistogramVec,
    pub(super) in_flight: IntGaugeVec,
    pub(super) bytes: IntGaugeVec,
    pub(super) held: IntGaugeVec,
    pub(super) disabled: IntGaugeVec,
}

impl DeliveryMetrics {
    /// Collectors that `registry` knows.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            acknowledged: registry.counters(&figures::ACKNOWLEDGED)?,
            deliveries: registry.counters(&figures::DELIVERIES)?,
            delay: registry.histograms(&figures::DELAY)?,
            took: registry.histograms(&figures::DELIVERY_SECONDS)?,
            in_flight: registry.gauges(&figures::IN_FLIGHT)?,
            bytes: registry.gauges(&figures::IN_FLIGHT_BYTES)?,
            held: registry.gauges(&figures::HELD)?,
            disabled: registry.gauges(&figures::DISABLED)?,
        })
    }

    /// Forgets a destination that is gone, so that it does not stand in dashboards for ever.
    pub(super) fn forget(&self, destination: &DestinationId) {
        let destination = destination.as_str();
        // Absent ones are what is wanted.
        let _ = self.acknowledged.remove_label_values(&[destination]);
        let _ = self.delay.remove_label_values(&[destination]);
        let _ = self.took.remove_label_values(&[destination]);
        let _ = self.in_flight.remove_label_values(&[destination]);
        let _ = self.bytes.remove_label_values(&[destination]);
        let _ = self.held.remove_label_values(&[destination]);
        let _ = self.disabled.remove_label_values(&[destination]);
        for ending in super::settler::ENDINGS {
            let _ = self.deliveries.remove_label_values(&[destination, ending]);
        }
    }

    /// Forgets how things stand with every destination: another process delivers now. What was counted stays.
    pub fn stands_down(&self) {
        for gauges in [&self.in_flight, &self.bytes, &self.held, &self.disabled] {
            gauges.reset();
        }
    }
}
