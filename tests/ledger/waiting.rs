//! While the database is away, the process says what it waits for.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use trueup::{
    domain::{Clock, DestinationId, SeededRandom, SystemClock},
    figures::Registry,
    ledger::{Appender, AppenderLimits, Store, Waits},
    outbox::{DeliveryMetrics, Destination, Limits, Parts, Relay},
    sinks::{Batch, Delivery, Ending, Sink},
    telemetry::{self, Health, Metrics},
};

use crate::{
    lab::{Lab, SHARD, START, appended, nth},
    support::postgres::Postgres,
};

/// Takes everything.
#[derive(Debug)]
struct Taker;

#[async_trait]
impl Sink for Taker {
    async fn deliver(&self, batch: Batch) -> Delivery {
        Delivery { through: batch.rows.last().map(|row| row.sequence), ending: Ending::Accepted }
    }

    fn longest_attempt(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn dedupe_horizon(&self) -> Result<Option<Duration>, Ending> {
        Ok(None)
    }
}

/// The pages of a process that works with a ledger.
struct Process {
    appender: Appender,
    address: String,
    client: reqwest::Client,
    _relay: Relay,
}

impl Process {
    async fn start(lab: &Lab) -> Self {
        let (epoch, billing) = (lab.lead().await, DestinationId::new("billing"));
        lab.store.open_destination(&billing, START).await.unwrap();
        let (clock, waits): (Arc<dyn Clock>, _) = (Arc::new(SystemClock::default()), Arc::<Waits>::default());
        let limits = AppenderLimits { deadline: Duration::from_mins(1), ..AppenderLimits::default() };
        let store: Arc<dyn Store> = Arc::clone(&lab.store);
        let (appender, _) =
            Appender::start(Arc::clone(&store), SHARD, epoch, Arc::clone(&clock), limits, Arc::clone(&waits));
        let parts = Parts {
            store,
            clock: Arc::clone(&clock),
            random: Arc::new(SeededRandom::new(1)),
            commits: appender.commits(),
            metrics: DeliveryMetrics::new(&Registry::new()).unwrap(),
            waits: Arc::clone(&waits),
        };
        let relay = Relay::new(parts, CancellationToken::new());
        let limits = Limits { poll: Duration::from_millis(50), ..Limits::default() };
        relay.put(Destination { id: billing, revision: "1".into(), sink: Arc::new(Taker), limits });

        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (health, metrics) = (Arc::new(Health::new(waits, clock)), Arc::new(Metrics::new().unwrap()));
        tokio::spawn(telemetry::serve(listener, health, metrics, CancellationToken::new()));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { appender, address, client, _relay: relay }
    }

    async fn page(&self, path: &str) -> (u16, String) {
        let answer = self.client.get(format!("{}{path}", self.address)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// What `/metrics` says of a wait.
    async fn waited(&self, want: &str) -> u64 {
        let (_, page) = self.page("/metrics").await;
        let name = format!("trueup_ledger_waiting_seconds{{for=\"{want}\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    }

    /// Waits until `/readyz` answers `status` with all of `words`; gives what it says.
    async fn until_ready_says(&self, status: u16, words: &[&str]) -> String {
        let clock = SystemClock::default();
        loop {
            let (got, said) = self.page("/readyz").await;
            if got == status && words.iter().all(|word| said.contains(word)) {
                return said;
            }
            assert!(clock.monotonic() < Duration::from_secs(30), "not {status} with {words:?}, but {got}: {said}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_waited_for_is_said_while_the_database_is_away_and_no_longer() {
    let server = Arc::new(Postgres::start());
    let lab = Lab::at(server.database().await).await;
    let process = Process::start(&lab).await;
    appended(&process.appender.append(nth("a", 0, START)).await.unwrap());
    process.until_ready_says(200, &["ok"]).await;
    assert_eq!((process.waited("append").await, process.waited("deliver").await), (0, 0));

    let killed = Arc::clone(&server);
    tokio::task::spawn_blocking(move || killed.kill()).await.unwrap();
    let appending = tokio::spawn({
        let appender = process.appender.clone();
        async move { appender.append(nth("a", 1, START)).await }
    });
    let wanted = ["waiting for the ledger, to record transitions, since 20", "to go on with deliveries, since 20"];
    process.until_ready_says(503, &wanted).await;
    assert!(process.waited("append").await > 0 && process.waited("deliver").await > 0);
    assert_eq!(process.waited("lead").await, 0, "nobody wants that");

    let killed = Arc::clone(&server);
    tokio::task::spawn_blocking(move || killed.restart()).await.unwrap();
    appended(&appending.await.unwrap().unwrap());
    process.until_ready_says(200, &["ok"]).await;
    assert_eq!((process.waited("append").await, process.waited("deliver").await), (0, 0));
    assert_eq!(lab.store.counts().await.unwrap().transitions, 2);
    lab.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_lets_nobody_in_any_more_is_waited_for_too() {
    let server = Postgres::start();
    let url = server.database().await;
    let lab = Lab::at(url.clone()).await;
    let process = Process::start(&lab).await;
    appended(&process.appender.append(nth("a", 0, START)).await.unwrap());
    process.until_ready_says(200, &["ok"]).await;

    let mut admin = PgConnection::connect(&url.replace("ledger@", "postgres@")).await.unwrap();
    admin.execute("ALTER ROLE ledger NOLOGIN").await.unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ledger'";
    admin.execute(end).await.unwrap();
    process.until_ready_says(503, &["to go on with deliveries, since 20", "not permitted to log in"]).await;
    assert!(process.waited("deliver").await > 0);

    admin.execute("ALTER ROLE ledger LOGIN").await.unwrap();
    process.until_ready_says(200, &["ok"]).await;
    assert_eq!(process.waited("deliver").await, 0);
    appended(&process.appender.append(nth("a", 1, START)).await.unwrap());
}
