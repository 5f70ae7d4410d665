//! A ledger, a relay and a receiver, put together for a test.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Debug,
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use secrecy::SecretString;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::watch,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use trueup::{
    domain::{
        Billable, Clock, Deadline, DestinationId, Effective, Epoch, Era, InstallationId, Kind, Labels, SeededRandom,
        Shard, State, StateRow, SystemClock, Table, Tables, TenantName, Timestamp, Uid,
    },
    figures::Registry,
    ledger::{
        self, Appender, AppenderLimits, Draft, Installation, LaneView, MemoryStore, OutboxRow, Outcome, Row, RowQuery,
        Store, Subject, Waits,
    },
    outbox::{Backoff, DeliveryMetrics, Destination, Limits, Parts, Relay},
    receiver::{EventView, Events, Receiver, ReceiverStore, ResourceView, Resources},
    sinks::{self, Sink, SinkConfig, signature::SigningKeys},
};

/// How long a test waits for what it expects. Far more than it takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the webhook sink waits in tests where nobody hangs: a busy machine must not look like a fault.
const TIMEOUT: Duration = Duration::from_secs(10);
const SHARD: Shard = Shard::new(0);
const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ON: StateRow = StateRow { name: "On", next: &["Off"], deadline: Deadline::Never, billed: "it runs" };
const OFF: StateRow = StateRow { name: "Off", next: &["On"], deadline: Deadline::Never, billed: "it does not" };
const TABLES: Tables = Tables(&[Table { kind: Kind::AppDeployment, states: &[ON, OFF] }]);

/// Waits until `check` gives something.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, check: impl Fn() -> F) -> T {
    let waiting = async {
        let mut pause = Duration::from_millis(2);
        loop {
            if let Some(found) = check().await {
                return found;
            }
            // Looking costs time too, which what is waited for then lacks.
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(Duration::from_millis(50));
        }
    };
    let found = tokio::time::timeout(PATIENCE, waiting).await;
    found.unwrap_or_else(|_| panic!("waited {PATIENCE:?} in vain until {what}"))
}

/// As `main` does, for reqwest's own clients; whoever comes second finds it done.
pub fn provide_cryptography() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

pub fn destination() -> DestinationId {
    DestinationId::new("billing")
}

pub fn uid(name: &str) -> Uid {
    Uid::new(format!("uid-{name}"))
}

pub fn limits() -> Limits {
    Limits {
        concurrency: 16,
        rows_per_lane: 8,
        lease: Duration::from_secs(5),
        // So long that whatever a test sees within its patience was caused by a signal.
        poll: Duration::from_hours(1),
        backoff: Backoff { base: Duration::from_millis(5), cap: Duration::from_millis(40) },
        ..Limits::default()
    }
}

/// A ledger whose commits are signalled.
pub struct Ledger {
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub waits: Arc<Waits>,
    pub metrics: DeliveryMetrics,
    /// What each event says of itself.
    pub message: String,
    figures: Registry,
    epoch: Epoch,
    commits: watch::Sender<u64>,
}

impl Ledger {
    /// In memory.
    pub async fn new() -> Self {
        Self::over(Arc::new(MemoryStore::new(TABLES)), Arc::new(SystemClock::default())).await
    }

    /// In memory, with a clock that is not the machine's.
    pub async fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self::over(Arc::new(MemoryStore::new(TABLES)), clock).await
    }

    /// In a file.
    pub async fn at(path: &Path) -> Self {
        Self::at_with_clock(path, Arc::new(SystemClock::default())).await
    }

    /// In a file, with a clock that is not the machine's.
    pub async fn at_with_clock(path: &Path, clock: Arc<dyn Clock>) -> Self {
        let store = ledger::open(&format!("sqlite:{}", path.display()), TABLES).unwrap();
        Self::over(store, clock).await
    }

    async fn over(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        store.migrate().await.unwrap();
        let installation =
            Installation { id: InstallationId::new("test"), cluster_uid: Uid::new("cluster"), era: Era::new(0) };
        store.installation(&installation).await.unwrap();
        let epoch = store.take_over(SHARD, "test").await.unwrap();
        store.open_destination(&destination(), clock.now()).await.unwrap();
        let figures = Registry::new();
        let metrics = DeliveryMetrics::new(&figures).unwrap();
        let message = "A test did this.".to_owned();
        Self { store, clock, waits: Arc::default(), metrics, message, figures, epoch, commits: watch::channel(0).0 }
    }

    /// Appends `count` transitions of each of `names` and signals each commit.
    pub async fn append(&self, names: &[String], count: usize) {
        for _ in 0..count {
            let mut drafts = Vec::with_capacity(names.len());
            for name in names {
                drafts.push(self.draft(name).await);
            }
            let outcomes = self.store.append(SHARD, self.epoch, self.clock.now(), &drafts).await.unwrap();
            assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Appended(_))), "{outcomes:?}");
            self.wake();
        }
    }

    async fn draft(&self, name: &str) -> Draft {
        let uid = uid(name);
        let head = self.store.head(&uid).await.unwrap();
        let on = head.as_ref().is_none_or(|head| head.state == State::of("Off"));
        let now = self.clock.now();
        Draft {
            subject: Subject {
                uid,
                kind: Kind::AppDeployment,
                namespace: Some("acme-prod".into()),
                name: name.into(),
                tenant: TenantName::new("acme"),
                account: "acct-1".into(),
                plan: "small".into(),
                previous_uid: None,
            },
            after: head.map(|head| head.sequence),
            to: State::of(if on { "On" } else { "Off" }),
            reason: "Test".into(),
            message: self.message.clone(),
            generation: 1,
            effective: Effective::observed(now, now),
            billable: Billable { replicas: u32::from(on), ..Billable::ZERO },
            evidence: None,
            amends: None,
            labels: Labels::default(),
        }
    }

    pub fn relay(&self, seed: u64) -> Relay {
        let parts = Parts {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            random: Arc::new(SeededRandom::new(seed)),
            commits: self.commits.subscribe(),
            metrics: self.metrics.clone(),
            waits: Arc::clone(&self.waits),
        };
        Relay::new(parts, CancellationToken::new())
    }

    /// Looks for due lanes, as a slow poll would.
    pub fn wake(&self) {
        self.commits.send_modify(|commits| *commits += 1);
    }

    /// The way in for whoever leads.
    pub fn appender(&self) -> Appender {
        let limits = AppenderLimits::default();
        Appender::start(
            Arc::clone(&self.store),
            SHARD,
            self.epoch,
            Arc::clone(&self.clock),
            limits,
            Arc::clone(&self.waits),
        )
        .0
    }

    /// That every rule holds in it.
    pub async fn is_clean(&self) {
        let report = ledger::audit(&*self.store, TABLES).await.unwrap();
        assert!(report.is_clean(), "{:#?}", report.violations);
    }

    /// What a gauge says of `destination`; 0 where it says nothing.
    pub fn gauge(&self, name: &str, destination: &DestinationId) -> i64 {
        let series = format!("{name}{{destination=\"{destination}\"}} ");
        let text = self.figures.render().unwrap();
        text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |value| value.parse().unwrap())
    }

    /// All rows, by stream and in their order.
    pub async fn rows(&self) -> HashMap<Uid, Vec<Row>> {
        let rows = self.store.rows(&RowQuery { limit: 1_000_000, ..RowQuery::default() }).await.unwrap();
        let mut streams: HashMap<Uid, Vec<Row>> = HashMap::new();
        for row in rows {
            streams.entry(row.uid.clone()).or_default().push(row);
        }
        streams
    }

    /// The rows of one stream as a sink is given them.
    pub async fn outbox_rows(&self, name: &str) -> Vec<OutboxRow> {
        let rows = self.rows().await.remove(&uid(name)).unwrap();
        let row = |row: Row| OutboxRow {
            sequence: row.sequence,
            event_id: row.event_id,
            body: row.body,
            recorded_at: row.recorded_at,
        };
        rows.into_iter().map(row).collect()
    }

    pub async fn lane(&self, name: &str) -> LaneView {
        let lanes = self.store.lanes(None, false, 100_000).await.unwrap();
        lanes.into_iter().find(|lane| lane.uid == uid(name)).unwrap()
    }

    /// Waits until everything was acknowledged except `but`.
    pub async fn drained_but(&self, but: &[&str]) {
        until("every lane is drained", || async {
            let lanes = self.store.lanes(None, true, 100_000).await.unwrap();
            lanes.iter().all(|lane| but.iter().any(|name| lane.uid == uid(name))).then_some(())
        })
        .await;
    }
}

/// A sink that sends to `address`.
pub fn webhook(address: SocketAddr, clock: &Arc<dyn Clock>) -> Arc<dyn Sink> {
    webhook_within(TIMEOUT, address, clock)
}

/// A sink that sends to `address` and waits so long for an answer.
pub fn webhook_within(timeout: Duration, address: SocketAddr, clock: &Arc<dyn Clock>) -> Arc<dyn Sink> {
    webhook_with(timeout, false, address, clock)
}

/// A sink that sends to `address` as many events in one message as there are.
pub fn webhook_in_batches(address: SocketAddr, clock: &Arc<dyn Clock>) -> Arc<dyn Sink> {
    webhook_with(TIMEOUT, true, address, clock)
}

/// A sink that sends to `address`, waits so long, and sends arrays or not.
pub fn webhook_with(timeout: Duration, batch: bool, address: SocketAddr, clock: &Arc<dyn Clock>) -> Arc<dyn Sink> {
    let config = SinkConfig {
        sink_type: "webhook".into(),
        settings: serde_json::json!({
            "url": format!("http://{address}/events"),
            "timeout": format!("{}ms", timeout.as_millis()),
            "batch": batch,
        }),
        secrets: BTreeMap::from([("signingKeys".to_owned(), SecretString::from(KEY))]),
    };
    sinks::build(&config, Arc::clone(clock)).unwrap()
}

/// `sink`, as the only destination.
pub fn to(sink: Arc<dyn Sink>) -> Destination {
    Destination { id: destination(), revision: "1".into(), sink, limits: limits() }
}

/// The real receiver, on loopback, which can be killed and started again on the same port and file.
pub struct TestReceiver {
    pub address: SocketAddr,
    path: PathBuf,
    // A runtime of its own: when that is shut down, all that the receiver did stops where it was.
    running: Mutex<Option<Running>>,
    client: reqwest::Client,
    directory: tempfile::TempDir,
}

struct Running {
    runtime: Runtime,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl TestReceiver {
    pub async fn start() -> Self {
        provide_cryptography();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("receiver.db");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let receiver = Self { address, path, running: Mutex::default(), client, directory };
        receiver.serve(listener).await;
        receiver
    }

    async fn serve(&self, listener: std::net::TcpListener) {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let path = self.path.clone();
        let opening = runtime.spawn(async move { ReceiverStore::open(&path).await.unwrap() });
        let keys = SigningKeys::parse(&SecretString::from(KEY)).unwrap();
        let receiver = Receiver::new(opening.await.unwrap(), keys, Arc::new(SystemClock::default()));
        listener.set_nonblocking(true).unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let serving = runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            receiver.serve(listener, stopped).await.unwrap();
        });
        *self.running.lock().unwrap() = Some(Running { runtime, stop, serving });
    }

    fn take(&self) -> Running {
        self.running.lock().unwrap().take().unwrap()
    }

    /// Ends it in the middle of whatever it does.
    pub fn kill(&self) {
        self.take().runtime.shutdown_background();
    }

    /// Ends it in an orderly way, so that its file holds everything.
    pub async fn stop(&self) {
        let Running { runtime, stop, serving } = self.take();
        stop.cancel();
        serving.await.unwrap();
        runtime.shutdown_background();
    }

    /// Starts it again.
    pub async fn revive(&self) {
        let bound = || async { std::net::TcpListener::bind(self.address).ok() };
        self.serve(until("the port is free", bound).await).await;
    }

    /// Copies its file aside while it is not running.
    pub fn copy_aside(&self, name: &str) {
        std::fs::copy(&self.path, self.directory.path().join(name)).unwrap();
    }

    /// Puts a copy in its place while it is not running.
    pub fn restore(&self, name: &str) {
        std::fs::copy(self.directory.path().join(name), &self.path).unwrap();
    }

    pub async fn resources(&self) -> Vec<ResourceView> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            // A page size that does not divide what there is.
            let url = format!("http://{}/resources?limit=17&after={after}", self.address);
            let page: Resources = self.client.get(url).send().await.unwrap().json().await.unwrap();
            all.extend(page.resources);
            match page.next {
                Some(next) => after = next.to_string(),
                None => return all,
            }
        }
    }

    pub async fn events(&self, name: &str) -> Vec<EventView> {
        let url = format!("http://{}/resources/{}/events", self.address, uid(name));
        let page: Events = self.client.get(url).send().await.unwrap().json().await.unwrap();
        page.events
    }

    /// That it applied exactly what the ledger holds of each of `names`: each event once, in order, byte for byte.
    pub async fn has_exactly(&self, ledger: &Ledger, names: &[String]) {
        let (resources, streams) = (self.resources().await, ledger.rows().await);
        for name in names {
            let (rows, events) = (&streams[&uid(name)], self.events(name).await);
            let sent: Vec<_> = rows.iter().map(|row| (row.sequence, row.hash, row.body.as_slice())).collect();
            let got: Vec<_> = events.iter().map(|event| (event.sequence, event.hash, event.body.as_bytes())).collect();
            same(name, &sent, &got);
            let resource = resources.iter().find(|resource| resource.uid == uid(name)).unwrap();
            let last = rows.last().unwrap();
            assert_eq!((resource.sequence, resource.hash, &resource.state), (last.sequence, last.hash, &last.to));
            assert_eq!(resource.applied, last.sequence.get(), "{name}: each event was applied once");
        }
    }
}

fn same<T: PartialEq + Debug>(name: &str, expected: &[T], got: &[T]) {
    assert_eq!(expected.len(), got.len(), "{name}: so many events");
    for (expected, got) in expected.iter().zip(got) {
        assert_eq!(expected, got, "{name}");
    }
}

pub fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}-{n:04}")).collect()
}

/// Now, for what is compared with it later.
pub fn now() -> Timestamp {
    SystemClock::default().now()
}

impl Drop for TestReceiver {
    fn drop(&mut self) {
        // A runtime may not end within another one by waiting.
        if let Some(running) = self.running.lock().unwrap().take() {
            running.runtime.shutdown_background();
        }
    }
}
