//! What is hurt: three controllers, their database, API server and receiver; and what starts again whatever was killed.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use trueup::domain::{Clock as _, SystemClock};

use super::{
    network::{Cut, DATABASE, HUB, Network, Ports},
    schedule::{Fault, REPLICAS, Step, Target},
};
use crate::support::*;

/// How long a step waits for somebody to lead; if nobody does by then, it is carried out nevertheless.
const LEADERLESS: Duration = Duration::from_secs(12);

/// What was done.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counts {
    pub kills: usize,
    /// Of these, kills of a database whose standby took over.
    pub failovers: usize,
    pub stops: usize,
    pub cuts: usize,
    /// Cuts that were not made, for want of rights.
    pub skipped: usize,
}

struct Replica {
    process: Process,
    /// Each life has a log of its own.
    log: String,
    lives: usize,
    /// Killed, and not yet to be started again.
    down: bool,
}

/// What ends a fault.
#[derive(Clone, Copy)]
enum Relief {
    Continue(Target),
    Mend(Cut),
}

/// All of it.
pub struct Rig {
    // First, so that they go first.
    replicas: Mutex<Vec<Replica>>,
    network: Option<Network>,
    pub place: Arc<Place>,
    due: Mutex<Vec<(Duration, Relief)>>,
    counts: Mutex<Counts>,
    /// The newest epoch whose leader was killed.
    killed: AtomicUsize,
    clock: SystemClock,
    seed: u64,
}

impl Rig {
    /// Starts everything, each controller in a network of its own if that is allowed.
    pub async fn new(topic: &str, networks: bool, seed: u64) -> Self {
        let place = if networks {
            let mut place = Place::at(topic, Database::Postgres, HUB).await;
            place.ledger = place.ledger.replace(&format!(":{}/", PORTS[0]), &format!(":{DATABASE}/"));
            place
        } else {
            Place::new(topic, Database::Postgres).await
        };
        let ports = Ports { api_server: place.cluster.port(), receiver: place.receiver_port() };
        let network = networks.then(|| Network::new(REPLICAS, ports));
        let rig = Self {
            replicas: Mutex::default(),
            network,
            place: Arc::new(place),
            due: Mutex::default(),
            counts: Mutex::default(),
            killed: AtomicUsize::new(0),
            clock: SystemClock::default(),
            seed,
        };
        *rig.replicas.lock().unwrap() = (0..REPLICAS).map(|number| rig.start(number, 1)).collect();
        rig
    }

    fn start(&self, number: usize, life: usize) -> Replica {
        let log = format!("replica-{number}-life-{life}");
        let options = ControllerOptions {
            network: self.network.as_ref().map(|network| network.of(number)),
            // What vanishes while nobody leads is found by the sweep.
            args: ["--sweep-seconds", "5"].map(str::to_owned).to_vec(),
            ..ControllerOptions::default()
        };
        Replica { process: self.place.controller(&log, &options), log, lives: life, down: false }
    }

    /// Sees that no controller ends by itself, and ends the faults that have lasted long enough. For ever.
    pub async fn keep(&self) {
        loop {
            for replica in &*self.replicas.lock().unwrap() {
                let ended = if replica.down { None } else { replica.process.ended() };
                if let Some(status) = ended {
                    let (name, tail) = (&replica.log, replica.process.tail());
                    panic!("{name} ended by itself, {status}: nothing here is wrong for good\n{tail}");
                }
            }
            self.relieve(self.clock.monotonic());
            moment(Duration::from_millis(50)).await;
        }
    }

    fn relieve(&self, now: Duration) {
        let mut due = self.due.lock().unwrap();
        for (_, relief) in due.extract_if(.., |(when, _)| *when <= now) {
            match relief {
                Relief::Continue(target) => self.signal(target, "CONT"),
                Relief::Mend(cut) => self.network.iter().for_each(|network| network.mend(cut)),
            }
        }
    }

    /// Ends every fault now.
    pub fn relieve_all(&self) {
        self.relieve(Duration::MAX);
    }

    /// The controller that says that it leads the newest epoch, and that epoch.
    fn leader(&self) -> Option<(usize, usize)> {
        let newest = |(number, replica): (usize, &Replica)| {
            let said = replica.process.said();
            let epochs = said.lines().filter_map(|line| line.split("leading epoch=").nth(1));
            epochs.filter_map(|epoch| epoch.trim().parse().ok()).max().map(|epoch| (epoch, number))
        };
        let found = self.replicas.lock().unwrap().iter().enumerate().filter_map(newest).max();
        found.map(|(epoch, number)| (number, epoch))
    }

    /// Carries one step out.
    pub async fn suffer(&self, step: &Step) {
        let began = self.clock.monotonic();
        let led = || self.leader().is_some_and(|(_, epoch)| epoch > self.killed.load(Ordering::Relaxed));
        while step.led && !led() && self.clock.monotonic().saturating_sub(began) < LEADERLESS {
            moment(Duration::from_millis(50)).await;
        }
        moment(step.rest).await;
        let until = self.clock.monotonic() + step.lasts;
        match step.fault {
            Fault::Kill(target) => self.kill(target, step.lasts).await,
            Fault::FailOver => self.fail_over(step.lasts).await,
            Fault::Stop(target) => {
                let target = self.resolve(target);
                self.signal(target, "STOP");
                self.due.lock().unwrap().push((until, Relief::Continue(target)));
                self.counts.lock().unwrap().stops += 1;
            }
            Fault::Cut(target, link, how) => match (&self.network, self.resolve(target)) {
                (Some(network), Target::Replica(replica)) => {
                    let cut = Cut { replica, link, how };
                    network.cut(cut);
                    self.due.lock().unwrap().push((until, Relief::Mend(cut)));
                    self.counts.lock().unwrap().cuts += 1;
                }
                _ => self.counts.lock().unwrap().skipped += 1,
            },
        }
    }

    /// The leader is one of the controllers.
    fn resolve(&self, target: Target) -> Target {
        if target != Target::Leader {
            return target;
        }
        Target::Replica(self.leader().unwrap_or_default().0)
    }

    async fn kill(&self, target: Target, lasts: Duration) {
        let place = &self.place;
        let mut kills = 1;
        match self.resolve(target) {
            Target::Replica(number) => {
                self.kill_replicas(&[number]);
                moment(lasts / 4).await;
                self.revive(&[number]);
            }
            Target::Replicas | Target::Leader => {
                let all: Vec<usize> = (0..REPLICAS).collect();
                self.kill_replicas(&all);
                kills = REPLICAS;
                moment(lasts / 4).await;
                self.revive(&all);
            }
            Target::Database => {
                place.kill_postgres();
                moment(lasts).await;
                let place = place.clone();
                let restarting = tokio::task::spawn_blocking(move || place.revive_postgres());
                restarting.await.expect("starting the database again");
            }
            Target::Receiver => {
                place.kill_receiver();
                moment(lasts).await;
                place.start_receiver();
            }
            Target::ApiServer => self.kill_part_of_cluster("kube-apiserver", lasts).await,
            Target::Etcd => self.kill_part_of_cluster("etcd", lasts).await,
        }
        self.counts.lock().unwrap().kills += kills;
    }

    async fn fail_over(&self, lasts: Duration) {
        let Some(network) = self.network.as_ref().filter(|_| self.place.database().has_standby()) else {
            return self.kill(Target::Database, lasts).await;
        };
        self.place.kill_postgres();
        moment(lasts).await;
        let place = self.place.clone();
        let failing_over = tokio::task::spawn_blocking(move || place.database().fail_over());
        network.lead_to(failing_over.await.expect("the standby takes over"));
        let place = self.place.clone();
        tokio::task::spawn_blocking(move || place.database().mirror()).await.expect("making another standby");
        let mut counts = self.counts.lock().unwrap();
        counts.kills += 1;
        counts.failovers += 1;
    }

    fn kill_replicas(&self, numbers: &[usize]) {
        if let Some((leader, epoch)) = self.leader()
            && numbers.contains(&leader)
        {
            self.killed.store(epoch, Ordering::Relaxed);
        }
        let mut replicas = self.replicas.lock().unwrap();
        for number in numbers {
            replicas[*number].down = true;
            replicas[*number].process.kill();
        }
    }

    fn revive(&self, numbers: &[usize]) {
        let mut replicas = self.replicas.lock().unwrap();
        for number in numbers {
            replicas[*number] = self.start(*number, replicas[*number].lives + 1);
        }
    }

    async fn kill_part_of_cluster(&self, part: &'static str, lasts: Duration) {
        self.place.cluster.signal(part, "KILL");
        moment(lasts).await;
        let place = self.place.clone();
        let restarting = tokio::task::spawn_blocking(move || place.cluster.restart(part));
        restarting.await.expect("starting a part of the cluster again");
    }

    fn signal(&self, target: Target, signal: &str) {
        let place = &self.place;
        let replicas = self.replicas.lock().unwrap();
        match target {
            Target::Replica(number) => replicas[number].process.signal(signal),
            Target::Replicas | Target::Leader => replicas.iter().for_each(|it| it.process.signal(signal)),
            Target::Database => place.database().signal(signal),
            Target::Receiver => place.signal_receiver(signal),
            Target::ApiServer => place.cluster.signal("kube-apiserver", signal),
            Target::Etcd => place.cluster.signal("etcd", signal),
        }
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        // The place's folder goes with the test, and what went wrong may have begun lives ago.
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fire-{}", self.seed));
        std::fs::create_dir_all(&kept).ok();
        for log in std::fs::read_dir(self.place.folder()).into_iter().flatten().flatten() {
            if log.path().extension().is_some_and(|it| it == "log") {
                std::fs::copy(log.path(), kept.join(log.file_name())).ok();
            }
        }
        eprintln!("the logs of all lives of all controllers are in {}", kept.display());
    }
}
