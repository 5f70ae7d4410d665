//! Whatever dies, and whenever: nothing is lost, doubled or out of order at the receiver.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use trueup::{
    domain::{Shard, TenantName},
    ledger::RowQuery,
};

use crate::support::*;

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
    let enough = AtomicBool::new(false);
    let playing = play(Customer::all(&place, seed, &steps, 4 * PATIENCE).await, &enough);
    let killing = async {
        let (mut chaos, mut epoch) = (chaos, 1);
        while chaos.kills < kills {
            chaos.one_kill(&visit, &mut epoch).await;
        }
        enough.store(true, Ordering::Relaxed);
        // A customer who waits for something must not wait for a controller that has ended by itself.
        for _ in 0..20 {
            chaos.keep_running();
            moment(Duration::from_millis(50)).await;
        }
        chaos
    };
    let (customers, chaos) = tokio::join!(playing, killing);

    for customer in &customers {
        customer.is_fulfilled().await;
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
