//! Tells the ledger what came of deliveries, many at a time.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    Backoff, DeliveryMetrics,
    gate::Gate,
    slots::Slot,
    status::{Held as Hold, Notes},
    verdict::{self, Held},
};
use crate::{
    domain::{Clock, DestinationId, Random, Sequence, Timestamp, Token, Uid},
    ledger::{Settlement, Store, Waits, Want},
    sinks::{Delivery, Ending},
};

/// At most so many deliveries are settled in one transaction.
const BATCH: usize = 512;
/// How long to wait before the ledger is told again what it could not take in.
const PAUSE: Duration = Duration::from_millis(200);
/// How often it is told while the process stops.
const LAST_TRIES: u32 = 10;

/// The words for what ended a delivery, for metrics.
pub(super) const ENDINGS: [&str; 9] =
    ["accepted", "retry", "refused", "rewind", "disabled", "unavailable", "not-tried", "ambiguous", "lease-lost"];

/// A delivery that has ended.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) uid: Uid,
    pub(super) token: Token,
    pub(super) held: Held,
    /// The stream's newest event when the lane was claimed.
    pub(super) head: Sequence,
    /// The commit signal when the lane was claimed.
    pub(super) signal: u64,
    /// When the delivery began, on the monotonic clock.
    pub(super) begun: Duration,
    /// When the lease ends, on the same clock.
    pub(super) lease_until: Duration,
    /// When each of its events was recorded.
    pub(super) recorded: Vec<(Sequence, Timestamp)>,
    pub(super) delivery: Delivery,
    /// Given back only once the ledger knows, so that a slow ledger slows the claims too. Of several lanes in one
    /// message, the last has it.
    pub(super) slot: Option<Slot>,
}

/// Settles the deliveries to one destination.
pub(super) struct Settler {
    pub(super) destination: DestinationId,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    pub(super) backoff: Backoff,
    pub(super) commits: watch::Receiver<u64>,
    pub(super) notes: Arc<Notes>,
    pub(super) gate: Arc<Gate>,
    pub(super) metrics: DeliveryMetrics,
    pub(super) waits: Arc<Waits>,
    /// Tells the courier that there may be something to claim.
    pub(super) more: Arc<Notify>,
    /// Ends the courier; cancelled here when the receiver wants nothing more.
    pub(super) stop: CancellationToken,
}

impl Settler {
    /// Works until every sender of `finished` is gone.
    pub(super) async fn run(self, mut finished: mpsc::UnboundedReceiver<Finished>) {
        let mut batch = Vec::with_capacity(BATCH);
        while finished.recv_many(&mut batch, BATCH).await > 0 {
            self.settle(std::mem::take(&mut batch)).await;
        }
    }

    async fn settle(&self, finished: Vec<Finished>) {
        let mut claims = Vec::with_capacity(finished.len());
        let mut rest = Vec::with_capacity(finished.len());
        let mut soonest_end = Duration::MAX;
        let took = self.metrics.took.with_label_values(&[self.destination.as_str()]);
        for Finished { uid, token, held, head, signal, begun, lease_until, recorded, delivery, slot } in finished {
            soonest_end = soonest_end.min(lease_until);
            self.pass(begun, &delivery.ending);
            let ending = self.note(&uid, held, &delivery);
            let age = self.clock.monotonic().saturating_sub(begun);
            if !matches!(delivery.ending, Ending::NotTried) {
                took.observe(age.as_secs_f64());
            }
            let settlement = verdict::settlement(held, delivery, age, &self.backoff, &*self.random);
            rest.push((held, head, signal, recorded, ending, slot));
            claims.push((self.destination.clone(), uid, token, settlement));
        }

        let Some(kept) = self.tell(&claims, soonest_end).await else { return };
        let now = self.clock.now();
        // A row committed while its lane was held woke nobody, since the lane could not be claimed then.
        let signal_now = *self.commits.borrow();
        let mut more = false;
        let mut acknowledged = 0;
        let delay = self.metrics.delay.with_label_values(&[self.destination.as_str()]);
        for ((kept, (_, uid, _, settlement)), (held, head, signal, recorded, ending, slot)) in
            kept.into_iter().zip(&claims).zip(rest)
        {
            drop(slot);
            self.count(if kept { ending } else { "lease-lost" });
            if !kept {
                // Its events went out, and will again: the receiver knows duplicates.
                debug!(destination = %self.destination, %uid, "a lane's lease ended before its delivery did");
                continue;
            }
            let through = match settlement {
                Settlement::Acked { through }
                | Settlement::Retry { through, .. }
                | Settlement::Doubt { through, .. }
                | Settlement::Park { through, .. } => *through,
                Settlement::Rewind { .. } => held.acked,
            };
            let done = recorded.iter().take_while(|(sequence, _)| *sequence <= through);
            let events = done.map(|(_, at)| delay.observe(now.since(*at).as_secs_f64())).count();
            if events > 0 {
                debug!(destination = %self.destination, %uid, sequence = %through, events, "acknowledged");
            }
            acknowledged += events;
            // A retry that ends leaves its place to the next one.
            more |= held.attempts > 0;
            more |= match settlement {
                Settlement::Acked { through } => *through < head || signal != signal_now,
                Settlement::Retry { .. } | Settlement::Doubt { .. } | Settlement::Rewind { .. } => true,
                Settlement::Park { .. } => false,
            };
        }
        if acknowledged > 0 {
            let acknowledged = u64::try_from(acknowledged).unwrap_or(u64::MAX);
            self.metrics.acknowledged.with_label_values(&[self.destination.as_str()]).inc_by(acknowledged);
            self.notes.write(|noted| {
                noted.acknowledged += acknowledged;
                noted.last_ack_at = Some(now);
            });
        }
        if more {
            self.more.notify_one();
        }
    }

    /// Tells the ledger, again and again while the leases last. Without an answer they run out, and what was sent is
    /// sent again.
    ///
    /// Once the process is stopping, only a few times.
    async fn tell(&self, claims: &[(DestinationId, Uid, Token, Settlement)], until: Duration) -> Option<Vec<bool>> {
        let mut last_tries = LAST_TRIES;
        loop {
            let error = match self.store.settle(claims, self.clock.now()).await {
                Ok(kept) => {
                    self.waits.worked(Want::Deliver, &*self.clock);
                    return Some(kept);
                }
                Err(error) => error,
            };
            if !self.waits.failed(Want::Deliver, &error, &*self.clock) {
                warn!(destination = %self.destination, lanes = claims.len(), %error, "acknowledgements could not be recorded");
            }
            self.notes.write(|noted| noted.last_error = Some((self.clock.now(), error.to_string())));
            if self.stop.is_cancelled() {
                last_tries -= 1;
            }
            if last_tries == 0 || self.clock.monotonic() >= until {
                return None;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Shuts or opens the destination's gate by how a delivery ended.
    fn pass(&self, begun: Duration, ending: &Ending) {
        let held = self.metrics.held.with_label_values(&[self.destination.as_str()]);
        match ending {
            Ending::Unavailable { after, error } => {
                let now = self.clock.monotonic();
                let Some(until) = self.gate.shut(begun, now, *after, &*self.random) else { return };
                let wait = until.saturating_sub(now);
                warn!(destination = %self.destination, error, ?wait, "the receiver takes nothing; it is left alone for a while");
                let until = self.clock.now().plus(wait);
                self.notes.write(|noted| noted.held = Some(Hold { until, error: error.clone() }));
                held.set(1);
            }
            Ending::NotTried | Ending::Ambiguous { .. } => {}
            _ => {
                if self.gate.open(begun) {
                    info!(destination = %self.destination, "the receiver answers again");
                    self.notes.write(|noted| noted.held = None);
                    held.set(0);
                    self.more.notify_one();
                }
            }
        }
    }

    fn note(&self, uid: &Uid, held: Held, delivery: &Delivery) -> &'static str {
        let (word, error) = match &delivery.ending {
            Ending::Accepted => return "accepted",
            Ending::NotTried => return "not-tried",
            Ending::Retry { error, .. } => ("retry", error),
            Ending::Refused { error } => ("refused", error),
            Ending::Rewind { error, .. } => ("rewind", error),
            Ending::Disabled { error } => ("disabled", error),
            Ending::Unavailable { error, .. } => ("unavailable", error),
            Ending::Ambiguous { error } => ("ambiguous", error),
        };
        let sequence = delivery.through.unwrap_or(held.acked).next();
        let disables = matches!(delivery.ending, Ending::Disabled { .. });
        self.notes.write(|noted| {
            noted.last_error = Some((self.clock.now(), error.clone()));
            if disables {
                noted.disabled.get_or_insert_with(|| error.clone());
            }
        });
        match delivery.ending {
            Ending::Refused { .. } => {
                warn!(destination = %self.destination, %uid, %sequence, error, "a resource is parked: the receiver refused its event");
            }
            Ending::Ambiguous { .. } => {
                warn!(destination = %self.destination, %uid, %sequence, error, "a resource is parked: its event may have arrived");
            }
            Ending::Disabled { .. } if !self.stop.is_cancelled() => {
                warn!(destination = %self.destination, error, "the receiver wants nothing more; the sink stays disabled until it is changed or enabled");
                self.metrics.disabled.with_label_values(&[self.destination.as_str()]).set(1);
                self.stop.cancel();
            }
            _ => debug!(destination = %self.destination, %uid, %sequence, error, "a delivery ended early"),
        }
        word
    }

    fn count(&self, ending: &str) {
        self.metrics.deliveries.with_label_values(&[self.destination.as_str(), ending]).inc();
    }
}
