//! One leads at a time: by the Lease politely, and by the database's epoch in any case.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use trueup::domain::{Clock as _, Epoch, SystemClock};

use crate::support::*;

/// How long a paused process may take to notice, once it runs again.
const NOTICE: Duration = Duration::from_secs(20);

/// Whether `process` has stepped down: it says so, or it has ended.
async fn steps_down(process: &Process) {
    eventually(NOTICE, "a deposed leader steps down", || async {
        let said = process.said();
        let done = process.ended().is_some() || said.contains("stepped down") || said.contains("waiting for the lease");
        done.then_some(()).ok_or_else(|| format!("its log ends with\n{}", process.tail()))
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_sleeps_past_its_lease_is_replaced_and_appends_nothing_when_it_wakes() {
    let place = Arc::new(Place::new("paused", Database::Postgres).await);
    let visit = Visit::to(&place).await;
    let options = ControllerOptions::default();
    let first = place.controller("first", &options);
    visit.leads("first").await;
    visit.create(&tenant("acme", &json!({}))).await;
    visit.current("Tenant", None, "acme").await;
    visit.create(&app("acme-prod", "web", &json!({ "replicas": 2 }))).await;
    visit.current("AppDeployment", Some("acme-prod"), "web").await;
    let _second = place.controller("second", &options);
    let quiet = !std::fs::read_to_string(place.log("second")).unwrap_or_default().contains(" leading");
    assert!(quiet, "a standby does not lead");

    let clock = SystemClock::default();
    first.signal("STOP");
    visit.leads("second").await;
    println!("paused leader replaced after {:.1} s", clock.monotonic().as_secs_f64());
    visit.respec("AppDeployment", Some("acme-prod"), "web", &json!({ "replicas": 3 })).await;
    visit.current("AppDeployment", Some("acme-prod"), "web").await;

    first.signal("CONT");
    visit.respec("AppDeployment", Some("acme-prod"), "web", &json!({ "replicas": 1 })).await;
    steps_down(&first).await;
    visit.current("AppDeployment", Some("acme-prod"), "web").await;
    reckon(&visit, None).await;

    let story = visit.story_of("AppDeployment", Some("acme-prod"), "web").await;
    let epochs: Vec<Epoch> = story.rows.iter().map(|row| row.epoch).collect();
    assert!(epochs.is_sorted(), "a row of an ended epoch stands behind one of a later: {epochs:?}");
    assert_eq!(epochs.first(), Some(&Epoch::new(1)));
    assert_eq!(epochs.last(), Some(&Epoch::new(2)), "the second leads still: {epochs:?}");
}

#[tokio::test]
async fn a_killed_leader_is_replaced_by_the_standby_and_nothing_is_lost() {
    let place = Arc::new(Place::new("killed", Database::Postgres).await);
    let visit = Visit::to(&place).await;
    let options = ControllerOptions::default();
    let first = place.controller("first", &options);
    visit.leads("first").await;
    let second = place.controller("second", &options);
    visit.create(&tenant("acme", &json!({}))).await;
    visit.current("Tenant", None, "acme").await;
    visit.create(&app("acme-prod", "web", &json!({ "replicas": 3 }))).await;

    // In the middle of the rollout.
    let clock = SystemClock::default();
    first.kill();
    visit.leads("second").await;
    println!("killed leader replaced after {:.1} s", clock.monotonic().as_secs_f64());
    visit.current("AppDeployment", Some("acme-prod"), "web").await;
    reckon(&visit, None).await;

    // One that is asked to end gives the lease up, so that the next need not wait for it to run out.
    let _third = place.controller("third", &options);
    second.signal("TERM");
    assert_eq!(second.exit_code(NOTICE).await, 0, "{}", second.tail());
    visit.leads("third").await;
    visit.delete("AppDeployment", Some("acme-prod"), "web").await;
    visit.gone("AppDeployment", Some("acme-prod"), "web").await;
    reckon(&visit, None).await;
}
