//! One replica of `trueup controller`: its processes, one after the other.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use clap::Parser;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use trueup::{
    cli::controller::{Args, Candidate},
    cluster::Caches,
    domain::SeededRandom,
    ledger::{Store, Waits},
    sinks::{Sink, SinkBuilder},
    telemetry::Metrics,
};

use crate::{
    apiserver::ApiServer,
    clock::SimulatedClock,
    faults::{Faults, Life, Passage, api, store::DistantStore},
    oracles::Seen,
    receiver::{Billing, Line},
    replay::Chronicle,
};

/// How long until something that died is started again.
const RESTART: Duration = Duration::from_millis(700);
/// How long a process that is asked to end is given for it.
const GRACE: Duration = Duration::from_secs(30);

/// The world that processes live in.
#[derive(Clone)]
pub struct World {
    pub server: ApiServer,
    pub ledger: Arc<dyn Store>,
    pub billing: Billing,
    pub faults: Arc<Faults>,
    pub seen: Seen,
    pub chronicle: Chronicle,
}

/// A replica. Whatever its process dies of, another takes its place.
pub struct Replica {
    name: &'static str,
    world: World,
    pub clock: Arc<SimulatedClock>,
    running: Mutex<Option<Running>>,
}

#[derive(Clone)]
struct Running {
    life: Arc<Life>,
    stop: CancellationToken,
}

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    args: Args,
}

impl Replica {
    pub fn new(name: &'static str, world: World, clock: SimulatedClock) -> Arc<Self> {
        Arc::new(Self { name, world, clock: Arc::new(clock), running: Mutex::default() })
    }

    /// Keeps a process running until this is dropped.
    pub async fn run(self: Arc<Self>, seed: u64) {
        for start in 0.. {
            self.run_once(seed, start).await;
            sleep(RESTART).await;
        }
    }

    /// Kills its process, if it has one.
    pub fn kill(&self) {
        if let Some(running) = self.running() {
            running.life.kill();
        }
    }

    /// Asks its process to end.
    pub fn stop(&self) {
        if let Some(running) = self.running() {
            running.stop.cancel();
        }
    }

    /// Its process stands still, or goes on.
    pub fn pause(&self, paused: bool) {
        if let Some(running) = self.running() {
            running.life.pause(paused);
        }
    }

    fn running(&self) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As `trueup controller` puts a process together, but for what it serves.
    async fn run_once(&self, seed: u64, start: u64) {
        let World { server, ledger, billing, faults, .. } = self.world.clone();
        let (life, stop) = (Life::new(), CancellationToken::new());
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Running { life: life.clone(), stop: stop.clone() });
        let passage = Passage { life: life.clone(), faults };
        let client = api::client(&server, &passage);
        let mut watches = JoinSet::new();
        let caches = Caches::start(&client, &mut watches);
        let line: Arc<dyn Sink> = Arc::new(Line { billing: billing.clone(), passage: passage.clone() });
        let sinks: SinkBuilder = Arc::new(move |_, _| Ok(line.clone()));
        let candidate = Candidate {
            args: CommandLine::parse_from(["trueup"]).args,
            client,
            store: Arc::new(DistantStore { store: ledger, passage }),
            waits: Arc::<Waits>::default(),
            clock: self.clock.clone(),
            random: Arc::new(SeededRandom::new(seed ^ (start << 8))),
            metrics: Arc::new(Metrics::new().expect("its names are its own")),
            caches,
            identity: format!("{}-{start}", self.name),
            receivers: vec![Arc::new(billing)],
            sinks,
        };
        let standing = candidate.stand(&stop);
        let leaving = async {
            stop.cancelled().await;
            sleep(GRACE).await;
        };
        tokio::select! {
            biased;
            () = life.ended() => {}
            ended = standing => assert!(ended.is_ok(), "a process ended itself: {}", ended.unwrap_err()),
            () = leaving => {}
        }
        // What it began on its own cannot be taken from it, but reaches nobody any more.
        life.kill();
        let _ = timeout(Duration::ZERO, watches.shutdown()).await;
    }
}
