//! Claims what is due for one destination and hands it to the sink.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    DeliveryMetrics, Destination,
    bucket::Bucket,
    deliveries::Deliveries,
    gate::{Gate, Passage},
    pack::pack,
    settler::Finished,
    slots::{Free, Slots},
    status::Notes,
};
use crate::{
    domain::{Clock, Random},
    ledger::{Claim, ClaimRequest, Store, Waits, Want, lanes::MAX_LEASE},
};

/// At most so many lanes are claimed in one transaction; with more, a claim takes long enough to be felt.
const CLAIM: u32 = 512;
/// How large events are taken to be until one was seen, in bytes. None is: it only makes the first claim a small one.
const LARGE: usize = 64 << 10;
/// What is said to be due but cannot be had (another process holds it) is looked at again after this.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);
/// How long to wait after the ledger did not answer.
const PAUSE: Duration = Duration::from_millis(500);

/// Serves one destination until it is told to stop.
pub(super) struct Courier {
    pub(super) destination: Destination,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    pub(super) commits: watch::Receiver<u64>,
    pub(super) notes: Arc<Notes>,
    pub(super) gate: Arc<Gate>,
    pub(super) metrics: DeliveryMetrics,
    pub(super) waits: Arc<Waits>,
    pub(super) more: Arc<Notify>,
    pub(super) finished: mpsc::UnboundedSender<Finished>,
    pub(super) stop: CancellationToken,
    /// Whether the commit signal has ended; then only the poll is left.
    pub(super) commits_end: bool,
    /// How large events are, by those that were claimed last.
    pub(super) event_size: EventSize,
}

/// How large an event is expected to be at most, in bytes: what is claimed is in memory before it can be measured.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EventSize(Option<usize>);

impl EventSize {
    /// Learns from a claim. A large event is remembered for some claims, not for ever.
    fn learn(&mut self, claims: &[Claim]) {
        let largest = claims.iter().flat_map(|claim| &claim.rows).map(|row| row.body.len()).max();
        if let Some(largest) = largest {
            self.0 = Some(largest.max(self.0.unwrap_or(0) / 8 * 7));
        }
    }

    /// How many rows of each of `lanes` fit into `bytes`; one at least.
    fn rows(self, bytes: usize, lanes: u32) -> u32 {
        let lanes = usize::try_from(lanes.max(1)).unwrap_or(usize::MAX);
        let each = self.0.unwrap_or(LARGE).max(1).saturating_mul(lanes);
        u32::try_from(bytes / each).unwrap_or(u32::MAX).max(1)
    }
}

/// Until when there is nothing to do, as far as is known.
#[derive(Clone, Copy)]
enum NextDue {
    /// The ledger must be asked.
    Unknown,
    /// Until somebody says so.
    Never,
    /// Until then, on the monotonic clock.
    At(Duration),
}

/// How much may be claimed now.
#[derive(Clone, Copy)]
struct Allowance {
    lanes: u32,
    retries: u32,
    /// Of each lane.
    rows: u32,
    /// Whether it is the one delivery that tries whether the receiver is back.
    tries: bool,
}

impl Courier {
    /// Works until `stop` is cancelled, then lets what was begun end.
    pub(super) async fn run(mut self) {
        let deliveries = Deliveries::new(
            self.destination.clone(),
            Arc::clone(&self.clock),
            self.metrics.clone(),
            self.finished.clone(),
            self.stop.clone(),
            self.lease(),
        );
        self.serve(&deliveries).await;
        deliveries.end().await;
    }

    async fn serve(&mut self, deliveries: &Deliveries) {
        let limits = self.destination.limits;
        let slots = Slots::new(limits.concurrency);
        let mut bucket = limits.events_per_second.map(|rate| Bucket::new(rate, self.clock.monotonic()));
        let mut next_due = NextDue::Unknown;
        loop {
            // Only waiting is cut short: a claim dropped half way would hold lanes that nobody works on.
            let taken = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                taken = slots.take(CLAIM) => taken,
            };
            let Some(free) = taken else { return };
            let allowance = match self.allowance(&free, bucket.as_mut()) {
                Ok(allowance) => allowance,
                Err(wait) => {
                    drop(free);
                    tokio::select! {
                        () = self.stop.cancelled() => return,
                        // The receiver may turn out to be there before its time.
                        () = self.more.notified() => next_due = NextDue::Unknown,
                        () = sleep(wait.max(SHORTEST_WAIT)) => {}
                    }
                    continue;
                }
            };
            // Seen before the claim looks: what is committed after it leaves the signal changed.
            let signal = *self.commits.borrow_and_update();
            let claims = match self.claim(allowance).await {
                Ok(claims) => {
                    self.waits.worked(Want::Deliver, &*self.clock);
                    claims
                }
                Err(error) => {
                    if !self.waits.failed(Want::Deliver, &error, &*self.clock) {
                        warn!(destination = %self.destination.id, %error, "no lanes could be claimed");
                    }
                    self.notes.write(|noted| noted.last_error = Some((self.clock.now(), error.to_string())));
                    drop(free);
                    tokio::select! {
                        () = self.stop.cancelled() => return,
                        () = sleep(PAUSE) => continue,
                    }
                }
            };
            self.event_size.learn(&claims);
            let got = u32::try_from(claims.len()).unwrap_or(u32::MAX);
            if allowance.tries && got > 0 {
                self.gate.try_until(self.clock.monotonic() + self.lease());
            }
            let sent = self.begin(claims, free, signal, deliveries);
            if let Some(bucket) = &mut bucket {
                bucket.take(sent);
            }
            if got < allowance.lanes {
                if self.is_over(next_due) {
                    next_due = self.ask_next_due(allowance.retries > 0).await;
                }
                if self.wait(next_due).await {
                    next_due = NextDue::Unknown;
                }
            }
        }
    }

    /// How much may be claimed now, or how long to wait before anything may.
    fn allowance(&self, free: &Free, bucket: Option<&mut Bucket>) -> Result<Allowance, Duration> {
        let now = self.clock.monotonic();
        let tries = match self.gate.passage(now) {
            Passage::Open => false,
            Passage::One => true,
            Passage::Shut(until) => return Err(until.saturating_sub(now)),
        };
        let events = bucket.map(|bucket| bucket.allowance(now)).transpose()?.unwrap_or(u32::MAX);
        // A place is for a message, which may hold several lanes.
        let each = self.destination.sink.room().map_or(1, |room| u32::try_from(room.lanes).unwrap_or(CLAIM).max(1));
        let most = if tries { 1 } else { CLAIM.min(events) };
        let lanes = free.count().saturating_mul(each).min(most);
        let retries = free.retries().saturating_mul(each).min(lanes);
        let limits = &self.destination.limits;
        let messages = usize::try_from(free.count().min(lanes)).unwrap_or(usize::MAX);
        let fit = self.event_size.rows(self.share().saturating_mul(messages), lanes);
        let rows = limits.rows_per_lane.min(events / lanes.max(1)).min(fit).max(1);
        Ok(Allowance { lanes, retries: if tries { lanes } else { retries }, rows, tries })
    }

    /// How many bytes of events one message may hold.
    fn share(&self) -> usize {
        let limits = &self.destination.limits;
        limits.bytes / usize::try_from(limits.concurrency.max(1)).unwrap_or(1)
    }

    async fn claim(&self, allowance: Allowance) -> Result<Vec<Claim>, crate::ledger::StoreError> {
        let request = ClaimRequest {
            destination: self.destination.id.clone(),
            lanes: allowance.lanes,
            retries: allowance.retries,
            rows: allowance.rows,
            lease: self.lease(),
            token: self.random.token(),
        };
        self.store.claim(&request, self.clock.now()).await
    }

    /// Long enough for a delivery that begins its last message just before its time is up.
    fn lease(&self) -> Duration {
        self.destination.limits.lease.max(self.destination.sink.longest_attempt() * 4).min(MAX_LEASE)
    }

    /// Hands over what was claimed. Answers how many events that is.
    fn begin(&self, claims: Vec<Claim>, mut free: Free, signal: u64, deliveries: &Deliveries) -> usize {
        let mut sent = 0;
        for group in pack(claims, self.destination.sink.room(), self.share()) {
            let retry = group.iter().any(|claim| claim.attempts > 0);
            match free.hand_out(retry) {
                Some(slot) => {
                    sent += group.iter().map(|claim| claim.rows.len()).sum::<usize>();
                    deliveries.begin(group, slot, signal);
                }
                // Large events need more messages than there are places.
                None => deliveries.give_back(group, signal),
            }
        }
        sent
    }

    fn is_over(&self, next_due: NextDue) -> bool {
        match next_due {
            NextDue::Unknown => true,
            NextDue::Never => false,
            NextDue::At(at) => at <= self.clock.monotonic(),
        }
    }

    async fn ask_next_due(&self, serves_retries: bool) -> NextDue {
        // While no place is free for a retry, none is worth waking up for. The one that ends says so.
        if !serves_retries {
            return NextDue::Never;
        }
        match self.store.next_due(&self.destination.id, self.clock.now()).await {
            Ok(Some(span)) => NextDue::At(self.clock.monotonic() + span.max(SHORTEST_WAIT)),
            Ok(None) => NextDue::Never,
            // The next claim will say what is wrong.
            Err(_) => NextDue::Unknown,
        }
    }

    /// Waits until there may be something to claim. Answers whether what is known of due times is out of date.
    async fn wait(&mut self, next_due: NextDue) -> bool {
        let now = self.clock.monotonic();
        let poll = self.destination.limits.poll;
        let (span, ends_poll) = match next_due {
            NextDue::At(at) if at.saturating_sub(now) < poll => (at.saturating_sub(now), false),
            _ => (poll, true),
        };
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = self.more.notified() => true,
            changed = self.commits.changed(), if !self.commits_end => {
                // When nobody commits in this process any more, the signal would answer at once for ever.
                self.commits_end |= changed.is_err();
                false
            }
            () = sleep(span) => ends_poll,
        }
    }
}
