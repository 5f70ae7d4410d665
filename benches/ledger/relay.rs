//! The relay with a sink that takes everything at once: what the relay and the database cost.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use trueup::{
    domain::{Sequence, SystemRandom, Uid},
    figures::Registry,
    outbox::{DeliveryMetrics, Destination, Limits, Parts, Relay},
    sinks::{Batch, Delivery, Ending, Sink},
};

use crate::{
    fill::{Lanes, fill},
    place::{Lab, Ledger, billing},
    plan::Plan,
    report::Report,
    timing::Stopwatch,
};

const RESOURCES: usize = 10_000;
const PARKED: usize = 100_000;
/// Rows that wait in each lane.
const DEPTHS: [u64; 3] = [1, 5, 20];
const ROUNDS: u32 = 3;

/// Takes everything, and looks only whether it comes in order.
#[derive(Debug, Default)]
struct Nowhere(Mutex<HashMap<Uid, Sequence>>);

#[async_trait]
impl Sink for Nowhere {
    async fn deliver(&self, batch: Batch) -> Delivery {
        let (first, last) = (batch.rows[0].sequence, batch.rows[batch.rows.len() - 1].sequence);
        let before = self.0.lock().unwrap().insert(batch.uid, last);
        assert_eq!(first, before.map_or(Sequence::FIRST, Sequence::next), "in order");
        Delivery { through: Some(last), ending: Ending::Accepted }
    }

    fn longest_attempt(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn dedupe_horizon(&self) -> Result<Option<Duration>, Ending> {
        Ok(None)
    }
}

pub async fn run(plan: &Plan, lab: &Lab, report: &mut Report) {
    let resources = plan.scale(RESOURCES) as u64;
    for kind in &plan.kinds {
        for depth in DEPTHS {
            let (free, burdened) = (lab.ledger(*kind).await, lab.ledger(*kind).await);
            fill(&burdened, "parked", plan.scale(PARKED) as u64, 1, Lanes::Parked).await;
            for ledger in [&free, &burdened] {
                fill(ledger, "waiting", resources, depth, Lanes::Ready).await;
            }
            let (mut alone, mut beside) = (Duration::ZERO, Duration::ZERO);
            let rounds = if plan.short { 1 } else { ROUNDS };
            for _ in 0..rounds {
                for (ledger, took) in [(&free, &mut alone), (&burdened, &mut beside)] {
                    ledger.execute("UPDATE lane SET acked = 0, phase = 1 WHERE phase <> 4").await;
                    ledger.tidy().await;
                    *took += drain(ledger, Arc::new(Nowhere::default()), Limits::default(), resources * depth).await;
                }
            }
            let name = format!("relay.{}.{depth}_waiting", kind.name());
            let events = (resources * depth * u64::from(rounds)) as f64;
            report.put(format!("{name}.rate"), events / alone.as_secs_f64(), "events/s");
            report.put(format!("{name}.with_parked.rate"), events / beside.as_secs_f64(), "events/s");
            report.put(format!("{name}.with_parked.ratio"), alone.as_secs_f64() / beside.as_secs_f64(), "x of none");
        }
    }
}

/// Relays until so many `events` were acknowledged, and says how long it took.
pub async fn drain(ledger: &Ledger, sink: Arc<dyn Sink>, limits: Limits, events: u64) -> Duration {
    let (_signal, commits) = watch::channel(0);
    let relaying = Relaying::start(ledger, sink, limits, commits);
    let watch = Stopwatch::default();
    while relaying.acknowledged() < events {
        assert!(watch.elapsed() < Duration::from_mins(10), "only {} acknowledged", relaying.acknowledged());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = watch.elapsed();
    relaying.relay.stop().await;
    took
}

/// A relay at work.
pub struct Relaying {
    pub relay: Relay,
    registry: Registry,
}

impl Relaying {
    pub fn start(ledger: &Ledger, sink: Arc<dyn Sink>, limits: Limits, commits: watch::Receiver<u64>) -> Self {
        let registry = Registry::new();
        let metrics = DeliveryMetrics::new(&registry).unwrap();
        let parts = Parts {
            store: Arc::clone(&ledger.store),
            clock: Arc::clone(&ledger.clock),
            random: Arc::new(SystemRandom),
            commits,
            metrics,
            waits: Arc::default(),
        };
        let relay = Relay::new(parts, CancellationToken::new());
        relay.put(Destination { id: billing(), revision: "1".into(), sink, limits });
        Self { relay, registry }
    }

    /// How many events were acknowledged, as its metrics say.
    pub fn acknowledged(&self) -> u64 {
        let text = self.registry.render().unwrap();
        let values = text.lines().filter_map(|line| line.strip_prefix("trueup_outbox_events_acknowledged_total{"));
        values.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }
}
