//! Whatever dies, and whenever: nothing is lost, doubled or out of order at the receiver.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::{Value, json};
use trueup::{
    domain::{Shard, TenantName},
    ledger::RowQuery,
};

use crate::support::*;

/// What is to come of an application in the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Available,
    Failed,
    Suspended,
}

/// What was asked for so far, as it must be in the end.
#[derive(Default)]
struct Wishes {
    /// Tenants, and whether they are suspended.
    tenants: BTreeMap<String, bool>,
    /// Applications by namespace and name: image, replicas, suspended.
    apps: BTreeMap<(String, String), (&'static str, i32, bool)>,
}

impl Wishes {
    fn fate(&self, namespace: &str, app: &(&'static str, i32, bool)) -> Fate {
        let tenant = namespace.trim_end_matches("-prod");
        if app.2 || self.tenants[tenant] {
            Fate::Suspended
        } else if app.0 == BAD {
            Fate::Failed
        } else {
            Fate::Available
        }
    }
}

const GOOD: [&str; 2] = ["registry.example/shop:1", "registry.example/shop:2"];
const BAD: &str = "registry.example/crash:1";
const TENANTS: [&str; 3] = ["ant", "bee", "cat"];
const APPS: [&str; 4] = ["shop", "mail", "blog", "wiki"];

/// A scripted customer: makes, changes and deletes, one step after the other.
struct Script {
    /// Its name.
    tenant: &'static str,
    visit: Visit,
    random: StdRng,
    wishes: Wishes,
    steps: Arc<AtomicUsize>,
}

impl Script {
    async fn make_tenant(&mut self, name: &str) {
        self.visit.create(&tenant(name, &json!({}))).await;
        self.wishes.tenants.insert(name.to_owned(), false);
        for manifest in vault(&format!("{name}-prod")) {
            self.patiently_create(&manifest).await;
        }
        self.patiently_create(&repository(&format!("{name}-prod"), "vault", &json!({}))).await;
    }

    /// The namespace may not be there yet: its controller may just have been killed.
    async fn patiently_create(&self, manifest: &Value) {
        eventually(4 * PATIENCE, &format!("{manifest} can be made"), || async {
            match self.visit.try_create(manifest, false).await {
                Ok(_) => Ok(()),
                Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    /// One step. What it does depends on the seed and on what was done before.
    async fn step(&mut self) {
        let name = self.tenant;
        let namespace = format!("{name}-prod");
        let app_name = *APPS.choose(&mut self.random).unwrap();
        let key = (namespace.clone(), app_name.to_owned());
        let inside = Some(namespace.as_str());
        let action = self.random.random_range(0..100);
        match (self.wishes.apps.get(&key).copied(), action) {
            (_, 0..3) => {
                // The whole customer leaves and comes back.
                self.visit.delete("Tenant", None, name).await;
                self.visit.gone_in("Tenant", None, name, 4 * PATIENCE).await;
                self.wishes.apps.retain(|(of, _), _| *of != namespace);
                self.make_tenant(name).await;
            }
            (_, 3..6) => {
                let suspend = !self.wishes.tenants[name];
                self.visit.respec("Tenant", None, name, &json!({ "suspend": suspend })).await;
                self.wishes.tenants.insert(name.to_owned(), suspend);
            }
            (_, 6..9) => {
                let account = format!("acct-{}", self.random.random_range(0..9));
                self.visit.respec("Tenant", None, name, &json!({ "billing": { "account": account } })).await;
            }
            (_, 9..14) => {
                let image = if action < 11 { "registry.example/crash:1" } else { "registry.example/hold:1" };
                let spec = json!({ "source": { "command": { "image": image } } });
                let step = self.steps.load(Ordering::Relaxed);
                self.patiently_create(&backup(&namespace, &format!("copy-{step}"), &spec)).await;
            }
            (_, 14..17) => {
                let backups = self.visit.list("Backup", inside).await;
                if let Some(one) = backups.choose(&mut self.random) {
                    let name = one.metadata.name.clone().unwrap_or_default();
                    self.visit.delete("Backup", inside, &name).await;
                }
            }
            (None, _) => {
                let replicas = self.random.random_range(0..4);
                let spec = json!({ "image": GOOD[0], "replicas": replicas, "progressDeadlineSeconds": 3 });
                self.patiently_create(&app(&namespace, app_name, &spec)).await;
                self.wishes.apps.insert(key, (GOOD[0], replicas, false));
            }
            (Some(_), 17..27) => {
                self.visit.delete("AppDeployment", inside, app_name).await;
                self.visit.gone_in("AppDeployment", inside, app_name, 4 * PATIENCE).await;
                self.wishes.apps.remove(&key);
            }
            (Some((image, _, suspended)), 27..55) => {
                let replicas = self.random.random_range(0..5);
                self.visit.respec("AppDeployment", inside, app_name, &json!({ "replicas": replicas })).await;
                self.wishes.apps.insert(key, (image, replicas, suspended));
            }
            (Some((image, replicas, suspended)), 55..75) => {
                let others: Vec<&str> = [GOOD[0], GOOD[1], BAD].into_iter().filter(|it| *it != image).collect();
                let image = *others.choose(&mut self.random).unwrap();
                self.visit.respec("AppDeployment", inside, app_name, &json!({ "image": image })).await;
                let image = [GOOD[0], GOOD[1], BAD].into_iter().find(|it| *it == image).unwrap();
                self.wishes.apps.insert(key, (image, replicas, suspended));
            }
            (Some((image, replicas, suspended)), 75..88) => {
                self.visit.respec("AppDeployment", inside, app_name, &json!({ "suspend": !suspended })).await;
                self.wishes.apps.insert(key, (image, replicas, !suspended));
            }
            (Some(_), _) => {
                // Somebody meddles.
                let found = self.visit.list("Deployment", inside).await;
                if found.iter().any(|it| it.metadata.name.as_deref() == Some(app_name)) {
                    self.visit.delete("Deployment", inside, app_name).await;
                }
            }
        }
        self.steps.fetch_add(1, Ordering::Relaxed);
        moment(Duration::from_millis(self.random.random_range(0..250))).await;
    }

    /// Everything comes to what was last asked for.
    async fn is_fulfilled(&self) {
        for (name, suspended) in &self.wishes.tenants {
            self.visit.state("Tenant", None, name, if *suspended { "Suspended" } else { "Active" }).await;
        }
        for ((namespace, name), app) in &self.wishes.apps {
            // With no pod wanted, no image can crash.
            let fate = self.wishes.fate(namespace, app);
            let fate = if fate == Fate::Failed && app.1 == 0 { Fate::Available } else { fate };
            self.visit.state("AppDeployment", Some(namespace), name, &format!("{fate:?}")).await;
        }
    }
}

/// Kills and starts again, at moments that the seed decides.
struct Chaos {
    place: Arc<Place>,
    random: StdRng,
    controller: Process,
    kills: usize,
    exits: usize,
    databases: usize,
    receivers: usize,
}

fn options() -> ControllerOptions {
    ControllerOptions {
        // What a deletion takes away in the very moment in which a controller puts its finalizer on is found by the sweep.
        args: ["--lease-seconds", "2", "--request-timeout-ms", "900", "--sweep-seconds", "5"]
            .map(str::to_owned)
            .to_vec(),
        ..ControllerOptions::default()
    }
}

impl Chaos {
    fn start(place: &Arc<Place>, seed: u64) -> Self {
        let controller = place.controller("controller", &options());
        let random = StdRng::seed_from_u64(seed ^ 0x5eed);
        Self { place: place.clone(), random, controller, kills: 0, exits: 0, databases: 0, receivers: 0 }
    }

    fn revive(&mut self) {
        self.controller = self.place.controller("controller", &options());
    }

    /// Ends by itself where its database is not there; whoever runs it starts it again.
    fn keep_running(&mut self) {
        if let Some(status) = self.controller.ended() {
            assert_eq!(status.code(), Some(3), "the controller ended by itself:\n{}", self.controller.tail());
            self.exits += 1;
            self.revive();
        }
    }

    async fn pause(&mut self, at_most: u64) {
        moment(Duration::from_millis(self.random.random_range(0..at_most))).await;
    }

    async fn one_kill(&mut self, visit: &Visit, lease: &mut i64) {
        // Mostly while it leads, and now and then before.
        let waits = self.random.random_range(0..10) > 0;
        let clock = trueup::domain::SystemClock::default();
        while waits && trueup::domain::Clock::monotonic(&clock) < Duration::from_secs(10) {
            self.keep_running();
            let epoch = visit.ledger.shard(Shard::new(0)).await.map_or(*lease, |shard| shard.epoch.get());
            if epoch > *lease {
                *lease = epoch;
                break;
            }
            moment(Duration::from_millis(30)).await;
        }
        self.pause(1000).await;
        // Sometimes something else dies first, and the controller finds it gone for a moment.
        match self.random.random_range(0..8) {
            0 if self.place.kill_postgres() => {
                self.pause(700).await;
                self.place.revive_postgres();
                self.databases += 1;
                self.pause(1000).await;
            }
            1 => {
                self.place.kill_receiver();
                self.pause(700).await;
                self.place.start_receiver();
                self.receivers += 1;
                self.pause(1000).await;
            }
            _ => {}
        }
        self.keep_running();
        self.controller.kill();
        self.kills += 1;
        self.revive();
    }
}

async fn crashes(topic: &str, database: Database, kills: usize) {
    let seed = std::env::var("TRUEUP_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_121);
    println!("seed {seed}; set TRUEUP_TEST_SEED to try another");
    let place = Arc::new(Place::new(topic, database).await);
    let chaos = Chaos::start(&place, seed);
    let visit = Visit::to(&place).await;
    visit.leads("controller").await;
    let steps = Arc::new(AtomicUsize::new(0));
    let enough = Arc::new(AtomicBool::new(false));
    let mut scripts = vec![];
    for (tenant, number) in TENANTS.into_iter().zip(0..) {
        let random = StdRng::seed_from_u64(seed + number);
        let visit = Visit::to(&place).await;
        scripts.push(Script { tenant, visit, random, wishes: Wishes::default(), steps: steps.clone() });
    }
    let playing = join_all(scripts.into_iter().map(async |mut script| {
        script.make_tenant(script.tenant).await;
        while !enough.load(Ordering::Relaxed) {
            script.step().await;
        }
        script
    }));
    let killing = async {
        let (mut chaos, mut epoch) = (chaos, 1);
        while chaos.kills < kills {
            chaos.one_kill(&visit, &mut epoch).await;
        }
        enough.store(true, Ordering::Relaxed);
        // A script that waits for something must not wait for a controller that has ended by itself.
        for _ in 0..20 {
            chaos.keep_running();
            moment(Duration::from_millis(50)).await;
        }
        chaos
    };
    let (scripts, chaos) = tokio::join!(playing, killing);

    for script in &scripts {
        script.is_fulfilled().await;
    }
    let report = reckon(&visit, None).await;
    let rows =
        visit.ledger.rows(&RowQuery { limit: 100_000, ..RowQuery::default() }).await.expect("reading the ledger");
    let shard = visit.ledger.shard(Shard::new(0)).await.expect("reading the ledger");
    println!(
        "{} SIGKILLs of the controller, {} of the database, {} of the receiver; {} exits; {} steps; epoch {}; \
         {} resources, {} transitions, {} deliveries",
        chaos.kills,
        chaos.databases,
        chaos.receivers,
        chaos.exits,
        steps.load(Ordering::Relaxed),
        shard.epoch,
        report.resources,
        report.transitions,
        report.deliveries
    );
    println!("{}", audited(&visit));
    assert!(rows.is_sorted_by_key(|row| row.epoch), "epochs never go down");
    assert!(rows.iter().all(|row| row.reason != "Resurrected"), "nothing came back from the dead");
    assert!(report.transitions > 50, "the script did something");
    assert_eq!(report.deliveries, report.transitions, "one sink, and each row delivered");
    let tenants: Vec<TenantName> = TENANTS.map(TenantName::new).to_vec();
    assert!(rows.iter().all(|row| tenants.contains(&row.tenant)));
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_when_controller_database_and_receiver_are_killed() {
    crashes("crash-pg", Database::Postgres, 26).await;
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_on_sqlite_when_controller_and_receiver_are_killed() {
    crashes("crash-lite", Database::Sqlite, 10).await;
}
