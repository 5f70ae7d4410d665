//! Delivers the ledger's rows to every destination.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    Backoff, DeliveryMetrics, RelayStatus,
    courier::{Courier, EventSize},
    gate::Gate,
    settler::Settler,
    status::Notes,
};
use crate::{
    domain::{Clock, DestinationId, Random, Uid},
    ledger::{LaneState, Store, StoreError, Waits},
    sinks::Sink,
};

/// A destination as the relay serves it.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Whose lanes.
    pub id: DestinationId,
    /// Names this configuration; another one means that it has changed. Secrets cannot be compared, so whoever reads
    /// them says (the generation of a BillingSink with the resource version of its Secret, say).
    pub revision: String,
    /// What delivers.
    pub sink: Arc<dyn Sink>,
    /// How much at once, and for how long.
    pub limits: Limits,
}

/// How a destination is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How many resources are delivered at the same time; half of them may be ones that failed before.
    pub concurrency: u32,
    /// How many events of a resource are taken at once.
    pub rows_per_lane: u32,
    /// How long a resource is held. Longer if the sink's own time-out asks for it.
    pub lease: Duration,
    /// How often to look for work without being told.
    pub poll: Duration,
    /// How many events may be sent per second, retries included; one second's worth may go at once.
    pub events_per_second: Option<u32>,
    /// How many bytes of events are held at once, at most. Each message has an equal share, and is never so small that
    /// it holds no event.
    pub bytes: usize,
    /// How long a resource waits after a failure.
    pub backoff: Backoff,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrency: 64,
            rows_per_lane: 32,
            lease: Duration::from_mins(1),
            poll: Duration::from_secs(1),
            events_per_second: None,
            bytes: 16 << 20,
            backoff: Backoff::default(),
        }
    }
}

/// What the relay works with.
#[derive(Clone)]
pub struct Parts {
    /// The ledger.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For jitter and tokens.
    pub random: Arc<dyn Random>,
    /// Changes with each commit of this process. A slow poll stands behind it.
    pub commits: watch::Receiver<u64>,
    /// What is counted.
    pub metrics: DeliveryMetrics,
    /// Says that the ledger is waited for, while it is.
    pub waits: Arc<Waits>,
}

/// Delivers the ledger's rows to destinations that may come, change and go while it works.
///
/// Each destination has tasks of its own: none waits for another. Must live within a Tokio runtime.
pub struct Relay {
    parts: Parts,
    stop: CancellationToken,
    served: Mutex<BTreeMap<DestinationId, Served>>,
}

struct Served {
    destination: Destination,
    notes: Arc<Notes>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.served().keys()).finish()
    }
}

impl Relay {
    /// A relay that serves no destination yet. When `stop` is cancelled, each of them ends what it has begun.
    pub fn new(parts: Parts, stop: CancellationToken) -> Self {
        Self { parts, stop, served: Mutex::default() }
    }

    /// Whether `id` is served with the configuration `revision`, so that [`Relay::put`] would change nothing.
    pub fn serves(&self, id: &DestinationId, revision: &str) -> bool {
        self.served().get(id).is_some_and(|served| served.destination.revision == revision)
    }

    /// Serves `destination` from now on. One that was served with another revision is replaced, and if it was
    /// disabled, that is over; one with the same revision is left as it is.
    ///
    /// Its lanes must have been made ([`Store::open_destination`]).
    pub fn put(&self, destination: Destination) {
        if self.serves(&destination.id, &destination.revision) {
            return;
        }
        let id = destination.id.clone();
        // Both work for a moment; tokens keep them off each other's lanes.
        let new = self.start(destination);
        if let Some(old) = self.served().insert(id, new) {
            old.stop.cancel();
        }
    }

    /// The same, but nothing is sent before the destination is changed or enabled: `said` is why the receiver wanted
    /// nothing more when a process before this one served it.
    pub fn put_disabled(&self, destination: Destination, said: String) {
        let (id, notes) = (destination.id.clone(), Arc::new(Notes::default()));
        notes.write(|noted| {
            noted.last_error = Some((self.parts.clock.now(), said.clone()));
            noted.disabled = Some(said);
        });
        self.parts.metrics.disabled.with_label_values(&[id.as_str()]).set(1);
        let served = Served { destination, notes, stop: self.stop.child_token(), tasks: Vec::new() };
        if let Some(old) = self.served().insert(id, served) {
            old.stop.cancel();
        }
    }

    /// Begins anew with a destination that is disabled: its receiver is said to listen again.
    pub fn enable(&self, id: &DestinationId) {
        let mut served = self.served();
        if let Some(disabled) = served.get(id).filter(|served| served.notes.read().disabled.is_some()) {
            let new = self.start(disabled.destination.clone());
            served.insert(id.clone(), new);
        }
    }

    /// Serves `id` no longer. When this returns, nothing is sent to it any more.
    pub async fn remove(&self, id: &DestinationId) {
        let removed = self.served().remove(id);
        if let Some(served) = removed {
            served.end().await;
            self.parts.metrics.forget(id);
        }
    }

    /// Stops serving all destinations and waits until what was begun has ended.
    pub async fn stop(&self) {
        self.stop.cancel();
        let all = std::mem::take(&mut *self.served());
        for served in all.into_values() {
            served.end().await;
        }
    }

    /// The destinations that are served.
    pub fn destinations(&self) -> Vec<DestinationId> {
        self.served().keys().cloned().collect()
    }

    /// How things stand with `id`; `None` if it is not served. Reads the ledger, so not for every second.
    pub async fn status(&self, id: &DestinationId) -> Result<Option<RelayStatus>, StoreError> {
        let known =
            self.served().get(id).map(|served| (served.destination.revision.clone(), Arc::clone(&served.notes)));
        let Some((revision, notes)) = known else { return Ok(None) };
        let oldest_undelivered = self.parts.store.oldest_undelivered(id).await?.map(|(recorded_at, ..)| recorded_at);
        let parked = self.parked(id).await?;
        let noted = notes.read();
        Ok(Some(RelayStatus {
            destination: id.clone(),
            revision,
            disabled: noted.disabled,
            held: noted.held,
            acknowledged: noted.acknowledged,
            last_ack_at: noted.last_ack_at,
            last_error: noted.last_error,
            oldest_undelivered,
            lag: oldest_undelivered.map_or(Duration::ZERO, |at| self.parts.clock.now().since(at)),
            parked,
        }))
    }

    async fn parked(&self, id: &DestinationId) -> Result<u64, StoreError> {
        const PAGE: u32 = 1_000;
        let (mut parked, mut after) = (0, Uid::new(""));
        loop {
            let lanes = self.parts.store.lanes(Some((id, &after)), true, PAGE).await?;
            let own = lanes.iter().take_while(|lane| lane.destination == *id);
            parked += own.filter(|lane| lane.state == LaneState::Parked).count();
            match lanes.last() {
                Some(last) if last.destination == *id => after = last.uid.clone(),
                _ => return Ok(u64::try_from(parked).unwrap_or(u64::MAX)),
            }
        }
    }

    fn served(&self) -> MutexGuard<'_, BTreeMap<DestinationId, Served>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, destination: Destination) -> Served {
        let Parts { store, clock, random, commits, metrics, waits } = self.parts.clone();
        let stop = self.stop.child_token();
        let notes = Arc::new(Notes::default());
        let gate = Arc::new(Gate::default());
        let more = Arc::new(Notify::new());
        let (finished, settled) = mpsc::unbounded_channel();
        metrics.disabled.with_label_values(&[destination.id.as_str()]).set(0);
        metrics.held.with_label_values(&[destination.id.as_str()]).set(0);
        let settler = Settler {
            destination: destination.id.clone(),
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
            backoff: destination.limits.backoff,
            commits: commits.clone(),
            notes: Arc::clone(&notes),
            gate: Arc::clone(&gate),
            metrics: metrics.clone(),
            waits: Arc::clone(&waits),
            more: Arc::clone(&more),
            stop: stop.clone(),
        };
        let courier = Courier {
            destination: destination.clone(),
            store,
            clock,
            random,
            commits,
            notes: Arc::clone(&notes),
            gate,
            metrics,
            waits,
            more,
            finished,
            stop: stop.clone(),
            commits_end: false,
            event_size: EventSize::default(),
        };
        // The settler ends by itself when the courier and the deliveries it began are gone.
        let tasks = vec![tokio::spawn(courier.run()), tokio::spawn(settler.run(settled))];
        Served { destination, notes, stop, tasks }
    }
}

impl Served {
    async fn end(self) {
        self.stop.cancel();
        for task in self.tasks {
            // One that panicked has ended too.
            let _ = task.await;
        }
    }
}
