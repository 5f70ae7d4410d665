//! Everything dies, hangs and is cut off, in every combination that a seed can think of, while customers go on; and in the end
//! nothing is lost, doubled, out of order or stuck.

mod network;
mod rig;
mod schedule;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use trueup::{
    domain::{Clock as _, Shard, SystemClock},
    ledger::{RowQuery, audit},
    lifecycle::TABLES,
};

use self::{
    network::{Whereabouts, go_inside},
    rig::Rig,
    schedule::schedule,
};
use crate::support::*;

/// How long anything may take while everything is hurt.
const ENDURANCE: Duration = Duration::from_mins(10);
/// How often the ledger's rules are checked while it goes on, in faults.
const LOOK_EVERY: usize = 10;

/// Kills in the part of it that the usual run of all tests has time for.
const FEW: u64 = 8;

/// What a run is to do.
struct Run {
    kills: usize,
    /// For how long nothing may be written in the end.
    silence: Duration,
}

/// A few of each, or as many as `TRUEUP_FIRE_KILLS` says: `make fire` asks for hundreds.
#[test]
fn what_dies_hangs_or_is_cut_off_loses_doubles_and_blocks_nothing() {
    let kills = number("TRUEUP_FIRE_KILLS").unwrap_or(FEW);
    let silence = Duration::from_secs(if kills > FEW { 30 } else { 5 });
    let run = Run { kills: usize::try_from(kills).expect("a number"), silence };
    within_own_network("fire::what_dies_hangs_or_is_cut_off_loses_doubles_and_blocks_nothing", &run);
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

fn within_own_network(test: &str, run: &Run) {
    let networks = match go_inside(test) {
        Whereabouts::Outside => return,
        Whereabouts::Inside => true,
        Whereabouts::Without => {
            println!("fire: no network namespaces can be made here (that takes root): every cut is skipped");
            false
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(burn(run, networks));
}

async fn burn(run: &Run, networks: bool) {
    let seed = number("TRUEUP_TEST_SEED").unwrap_or(20_261_121);
    println!("fire: seed {seed}; set TRUEUP_TEST_SEED to try another");
    let rig = Rig::new("fire", networks, seed).await;
    let story = async {
        let visit = Visit::patiently(&rig.place, ENDURANCE).await;
        let customers = suffer(&rig, &visit, seed, run.kills).await;
        settle(&rig, &visit, &customers, run.silence).await;
    };
    tokio::select! {
        () = rig.keep() => {}
        () = story => {}
    }
}

/// Customers go on while one fault after the other hits what serves them.
async fn suffer(rig: &Rig, visit: &Visit, seed: u64, kills: usize) -> Vec<Customer> {
    let steps = Arc::new(AtomicUsize::new(0));
    let enough = AtomicBool::new(false);
    let customers = Customer::all(&rig.place, seed, &steps, ENDURANCE).await;
    let hurting = async {
        let clock = SystemClock::default();
        for (number, step) in schedule(seed, kills).iter().enumerate() {
            rig.suffer(step).await;
            println!("fire: {:7.2?} #{number} {step}", clock.monotonic());
            if number % LOOK_EVERY == 0 {
                keeps_its_rules(visit).await;
            }
        }
        rig.relieve_all();
        enough.store(true, Ordering::Relaxed);
        println!("fire: {:7.2?} the faults are over", clock.monotonic());
    };
    let (customers, ()) = tokio::join!(play(customers, &enough), hurting);
    println!("fire: customers did {} things meanwhile", steps.load(Ordering::Relaxed));
    customers
}

/// What must hold of the ledger at every moment. It may be out of reach just now.
async fn keeps_its_rules(visit: &Visit) {
    if let Ok(report) = audit(&*visit.ledger, TABLES).await {
        assert!(report.is_clean(), "in the middle of it: {:?}", report.violations);
    }
}

/// The faults are over: everything comes to what was asked for, is told, and is left alone.
async fn settle(rig: &Rig, visit: &Visit, customers: &[Customer], silence: Duration) {
    let clock = SystemClock::default();
    for customer in customers {
        customer.is_fulfilled().await;
    }
    let report = reckon(visit, None).await;
    println!("fire: everything is as was asked, and told, {:.2?} after the last customer", clock.monotonic());
    println!("fire: {}", audited(visit));
    let log = rig.place.cluster.audit_log();
    eventually(2 * PATIENCE, "twelve seconds pass without a write", || async {
        let written = quiet_for(&log, end(&log), Duration::from_secs(12)).await;
        written.map_err(|found| format!("there are {found:?}"))
    })
    .await;
    if let Err(found) = quiet_for(&log, end(&log), silence).await {
        panic!("expected no write once everything is settled, but there are {found:?}");
    }
    let rows = visit.ledger.rows(&RowQuery { limit: 1_000_000, ..RowQuery::default() }).await.expect("the ledger");
    let shard = visit.ledger.shard(Shard::new(0)).await.expect("the ledger");
    println!(
        "fire: {} resources, {} transitions, {} deliveries, epoch {}, no write for {silence:?}",
        report.resources, report.transitions, report.deliveries, shard.epoch
    );
    assert!(rows.is_sorted_by_key(|row| row.epoch), "epochs never go down");
    assert!(rows.iter().all(|row| row.reason != "Resurrected"), "nothing came back from the dead");
    assert_eq!(report.deliveries, report.transitions, "one sink, and each row delivered");
    let done = rig.counts();
    if done.skipped > 0 {
        println!("fire: {} cuts skipped: no network namespaces can be made here", done.skipped);
    }
    println!("fire: {} times the database's standby took over", done.failovers);
    println!("fire: {} kills, {} stops, {} cuts, 0 violations", done.kills, done.stops, done.cuts);
}
