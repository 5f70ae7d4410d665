//! Claims what is due for one destination and hands it to the sink.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc, watch},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use super::{
    DeliveryMetrics, Destination,
    settler::Finished,
    slots::{Free, Slots},
    status::Notes,
    verdict::Held,
};
use crate::{
    domain::{Clock, Random},
    ledger::{Claim, ClaimRequest, Store, lanes::MAX_LEASE},
    sinks::{Batch, Budget, Delivery, Ending},
};

/// At most so many lanes are claimed in one transaction; with more, a claim takes long enough to be felt.
const CLAIM: u32 = 512;
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
    pub(super) metrics: DeliveryMetrics,
    pub(super) more: Arc<Notify>,
    pub(super) finished: mpsc::UnboundedSender<Finished>,
    pub(super) stop: CancellationToken,
    /// Whether the commit signal has ended; then only the poll is left.
    pub(super) commits_end: bool,
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

impl Courier {
    /// Works until `stop` is cancelled, then lets what was begun end.
    pub(super) async fn run(mut self) {
        let (tasks, abandon) = (TaskTracker::new(), CancellationToken::new());
        self.serve(&tasks, &abandon).await;
        tasks.close();
        let patience = self.destination.sink.longest_attempt() + SHORTEST_WAIT;
        if timeout(patience, tasks.wait()).await.is_err() {
            warn!(destination = %self.destination.id, "deliveries did not end in time; their events will be sent again");
            abandon.cancel();
        }
    }

    async fn serve(&mut self, tasks: &TaskTracker, abandon: &CancellationToken) {
        let slots = Slots::new(self.destination.limits.concurrency);
        let mut next_due = NextDue::Unknown;
        loop {
            // Only waiting is cut short: a claim dropped half way would hold lanes that nobody works on.
            let taken = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                taken = slots.take(CLAIM) => taken,
            };
            let Some(free) = taken else { return };
            // Seen before the claim looks: what is committed after it leaves the signal changed.
            let signal = *self.commits.borrow_and_update();
            let asked = free.count();
            let serves_retries = free.retries() > 0;
            let claims = match self.claim(&free).await {
                Ok(claims) => claims,
                Err(error) => {
                    warn!(destination = %self.destination.id, %error, "no lanes could be claimed");
                    self.notes.write(|noted| noted.last_error = Some((self.clock.now(), error.to_string())));
                    drop(free);
                    tokio::select! {
                        () = self.stop.cancelled() => return,
                        () = sleep(PAUSE) => continue,
                    }
                }
            };
            let got = u32::try_from(claims.len()).unwrap_or(u32::MAX);
            self.begin(claims, free, signal, tasks, abandon);
            if got < asked {
                if self.is_over(next_due) {
                    next_due = self.ask_next_due(serves_retries).await;
                }
                if self.wait(next_due).await {
                    next_due = NextDue::Unknown;
                }
            }
        }
    }

    async fn claim(&self, free: &Free) -> Result<Vec<Claim>, crate::ledger::StoreError> {
        let request = ClaimRequest {
            destination: self.destination.id.clone(),
            lanes: free.count(),
            retries: free.retries(),
            rows: self.destination.limits.rows_per_lane.max(1),
            lease: self.lease(),
            token: self.random.token(),
        };
        self.store.claim(&request, self.clock.now()).await
    }

    /// Long enough for a delivery that begins its last event just before its time is up.
    fn lease(&self) -> Duration {
        self.destination.limits.lease.max(self.destination.sink.longest_attempt() * 4).min(MAX_LEASE)
    }

    fn begin(&self, claims: Vec<Claim>, mut free: Free, signal: u64, tasks: &TaskTracker, abandon: &CancellationToken) {
        let lease = self.lease();
        let begun = self.clock.monotonic();
        let in_flight = self.metrics.in_flight.with_label_values(&[self.destination.id.as_str()]);
        for claim in claims {
            // The ledger gives no more lanes than it was asked for.
            let Some(slot) = free.hand_out(claim.attempts > 0) else { break };
            let budget = Budget::new(Arc::clone(&self.clock), begun + lease / 2, self.stop.clone());
            let recorded: Vec<_> = claim.rows.iter().map(|row| (row.sequence, row.recorded_at)).collect();
            let last = recorded.last().map_or(claim.acked, |(sequence, _)| *sequence);
            let held = Held { acked: claim.acked, last, attempts: claim.attempts };
            let sink = Arc::clone(&self.destination.sink);
            let finished = self.finished.clone();
            let (in_flight, abandon) = (in_flight.clone(), abandon.clone());
            in_flight.inc();
            tasks.spawn(async move {
                let batch = Batch { uid: claim.uid.clone(), rows: claim.rows, budget };
                let delivery = tokio::select! {
                    delivery = sink.deliver(batch) => Some(delivery),
                    // A sink keeps its own time; this is for the one that does not.
                    () = sleep(lease * 7 / 8) => Some(overdue()),
                    () = abandon.cancelled() => None,
                };
                in_flight.dec();
                let Some(delivery) = delivery else { return };
                // Nobody listens any more once the process gives up; then the lease runs out.
                let _ = finished.send(Finished {
                    uid: claim.uid,
                    token: claim.token,
                    held,
                    head: claim.head,
                    signal,
                    lease_until: begun + lease,
                    recorded,
                    delivery,
                    slot,
                });
            });
        }
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

fn overdue() -> Delivery {
    let error = "the delivery did not end while its lease lasted".to_owned();
    Delivery { through: None, ending: Ending::Retry { after: None, error } }
}
