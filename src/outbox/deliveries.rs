//! Hands claimed lanes to the sink, each message in a task of its own.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use super::{
    DeliveryMetrics, Destination, pack,
    settler::Finished,
    slots::Slot,
    verdict::{self, Held},
};
use crate::{
    domain::Clock,
    ledger::Claim,
    sinks::{Batch, Budget, Delivery, Ending, Sink},
};

/// What a message may take longer than its sink says, when the destination is given up.
const GRACE: Duration = Duration::from_millis(10);

/// The deliveries to one destination.
pub(super) struct Deliveries {
    pub(super) destination: Destination,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: DeliveryMetrics,
    pub(super) finished: mpsc::UnboundedSender<Finished>,
    pub(super) stop: CancellationToken,
    /// How long a claimed lane is held.
    pub(super) lease: Duration,
    tasks: TaskTracker,
    abandon: CancellationToken,
}

impl Deliveries {
    pub(super) fn new(
        destination: Destination,
        clock: Arc<dyn Clock>,
        metrics: DeliveryMetrics,
        finished: mpsc::UnboundedSender<Finished>,
        stop: CancellationToken,
        lease: Duration,
    ) -> Self {
        let (tasks, abandon) = (TaskTracker::new(), CancellationToken::new());
        Self { destination, clock, metrics, finished, stop, lease, tasks, abandon }
    }

    /// Hands `claims` to the sink. `signal` is what the commit signal said before they were made.
    pub(super) fn begin(&self, claims: Vec<Claim>, slot: Slot, signal: u64) {
        let (begun, lease) = (self.clock.monotonic(), self.lease);
        let label = &[self.destination.id.as_str()];
        let (in_flight, held) =
            (self.metrics.in_flight.with_label_values(label), self.metrics.bytes.with_label_values(label));
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let (lanes, bytes) = (count(claims.len()), count(pack::bytes(&claims)));
        let budget = Budget::new(Arc::clone(&self.clock), begun + lease / 2, self.stop.clone());
        let sink = Arc::clone(&self.destination.sink);
        let (finished, abandon) = (self.finished.clone(), self.abandon.clone());
        in_flight.add(lanes);
        held.add(bytes);
        self.tasks.spawn(async move {
            let lease_until = begun + lease;
            let doubts: Vec<_> = claims.iter().map(|claim| claim.doubt).collect();
            let (batches, mut ended): (Vec<_>, Vec<_>) =
                claims.into_iter().map(|claim| part(claim, &budget, begun, lease_until, signal)).unzip();
            let delivered = tokio::select! {
                deliveries = deliver_doubted(&*sink, batches, doubts) => Some(deliveries),
                // A sink keeps its own time; this is for the one that does not.
                () = sleep(lease * 7 / 8) => Some(Vec::new()),
                () = abandon.cancelled() => None,
            };
            in_flight.sub(lanes);
            held.sub(bytes);
            let Some(deliveries) = delivered else { return };
            let mut deliveries = deliveries.into_iter();
            if let Some(last) = ended.last_mut() {
                last.slot = Some(slot);
            }
            for mut ended in ended {
                ended.delivery = deliveries.next().unwrap_or_else(overdue);
                // Nobody listens any more once the process gives up; then the lease runs out.
                let _ = finished.send(ended);
            }
        });
    }

    /// Gives lanes back for which there is no place.
    pub(super) fn give_back(&self, claims: Vec<Claim>, signal: u64) {
        let now = self.clock.monotonic();
        let budget = Budget::new(Arc::clone(&self.clock), now, self.stop.clone());
        for claim in claims {
            let (_, ended) = part(claim, &budget, now, now + self.lease, signal);
            let _ = self.finished.send(ended);
        }
    }

    /// Waits until what was begun has ended.
    pub(super) async fn end(self) {
        self.tasks.close();
        let patience = self.destination.sink.longest_attempt() + GRACE;
        if timeout(patience, self.tasks.wait()).await.is_err() {
            warn!(destination = %self.destination.id, "deliveries did not end in time; their events will be sent again");
            self.abandon.cancel();
        }
    }
}

/// What the sink is given of a claim, and what the settler will be told of it.
fn part(claim: Claim, budget: &Budget, begun: Duration, lease_until: Duration, signal: u64) -> (Batch, Finished) {
    let recorded: Vec<_> = claim.rows.iter().map(|row| (row.sequence, row.recorded_at)).collect();
    let last = recorded.last().map_or(claim.acked, |(sequence, _)| *sequence);
    let finished = Finished {
        uid: claim.uid.clone(),
        token: claim.token,
        held: Held { acked: claim.acked, last, attempts: claim.attempts },
        head: claim.head,
        signal,
        begun,
        lease_until,
        recorded,
        delivery: Delivery { through: None, ending: Ending::NotTried },
        slot: None,
    };
    (Batch { uid: claim.uid, rows: claim.rows, budget: budget.clone() }, finished)
}

/// Delivers what is sure to be recognised if it has arrived before.
async fn deliver_doubted(sink: &dyn Sink, batches: Vec<Batch>, doubts: Vec<Option<Duration>>) -> Vec<Delivery> {
    if doubts.iter().all(Option::is_none) {
        return deliver(sink, batches).await;
    }
    let horizon = sink.dedupe_horizon().await;
    let fates: Vec<_> =
        doubts.into_iter().map(|doubt| verdict::in_doubt(doubt?, &horizon, sink.longest_attempt())).collect();
    let sendable = batches.into_iter().zip(&fates).filter(|(_, fate)| fate.is_none()).map(|(batch, _)| batch).collect();
    let mut delivered = deliver(sink, sendable).await.into_iter();
    let mut next = || delivered.next().unwrap_or_else(overdue);
    fates.into_iter().map(|fate| fate.map_or_else(&mut next, |ending| Delivery { through: None, ending })).collect()
}

async fn deliver(sink: &dyn Sink, mut batches: Vec<Batch>) -> Vec<Delivery> {
    match batches.pop() {
        Some(batch) if batches.is_empty() => vec![sink.deliver(batch).await],
        Some(last) => {
            batches.push(last);
            sink.deliver_together(batches).await
        }
        None => Vec::new(),
    }
}

fn overdue() -> Delivery {
    let error = "the delivery did not end while its lease lasted".to_owned();
    Delivery { through: None, ending: Ending::Retry { after: None, error } }
}
