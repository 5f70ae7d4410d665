//! Two controllers and one ledger: one leads, and one that has lost the lead can do no harm with what it still believes.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use trueup::{
    domain::{Clock as _, Epoch, Shard, SystemClock, Uid},
    ledger::{Row, RowQuery},
};

use crate::support::*;

async fn epoch(visit: &Visit) -> Epoch {
    visit.ledger.shard(Shard::new(0)).await.expect("reading the ledger").epoch
}

/// Waits until a later epoch than `before` has begun; answers how long that took.
async fn taken_over(visit: &Visit, before: Epoch) -> Duration {
    let clock = SystemClock::default();
    eventually(PATIENCE, &format!("another epoch than {before} begins"), || async {
        let now = epoch(visit).await;
        if now > before { Ok(()) } else { Err(format!("it is {now}")) }
    })
    .await;
    clock.monotonic()
}

async fn rows(visit: &Visit) -> Vec<Row> {
    let query = RowQuery { limit: 100_000, ..RowQuery::default() };
    visit.ledger.rows(&query).await.expect("reading the ledger")
}

/// How often `text` stands in what `process` said.
fn times(process: &Process, text: &str) -> usize {
    process.said().matches(text).count()
}

#[tokio::test]
async fn a_leader_that_was_stopped_for_too_long_appends_nothing_and_steps_down() {
    let place = Arc::new(Place::new("leaders", Database::Postgres).await);
    let visit = Visit::to(&place).await;
    let one = place.controller("one", &ControllerOptions::default());
    visit.leads("one").await;
    let two = place.controller("two", &ControllerOptions::default());
    visit.create(&tenant("acme", &json!({ "namespaces": [{ "name": "prod" }, { "name": "spare" }] }))).await;
    visit.current("Tenant", None, "acme").await;
    let inside = Some("acme-prod");
    for name in ["shop", "mail", "goes"] {
        visit.create(&app("acme-prod", name, &json!({ "replicas": 2 }))).await;
    }
    for name in ["shop", "mail", "goes"] {
        visit.current("AppDeployment", inside, name).await;
    }
    reckon(&visit, None).await;
    assert_eq!(times(&two, " leading"), 0, "one of them leads");

    let (mut leader, mut standby) = (&one, &two);
    let mut gone: Vec<Uid> = vec![];
    for round in 0..2 {
        let before = epoch(&visit).await;
        let led = times(leader, "stepped down");
        // In the middle of its work.
        visit.respec("AppDeployment", inside, "shop", &json!({ "replicas": 3 + round })).await;
        visit
            .respec(
                "AppDeployment",
                inside,
                "mail",
                &json!({ "image": format!("registry.example/mail:{}", round + 2) }),
            )
            .await;
        leader.signal("STOP");
        let took = taken_over(&visit, before).await;
        println!("round {round}: the other controller leads {took:.2?} after SIGSTOP");

        let new = format!("new-{round}");
        visit.create(&app("acme-prod", &new, &json!({}))).await;
        visit.delete("AppDeployment", inside, "goes").await;
        gone.push(Uid::new(
            visit
                .heads()
                .await
                .iter()
                .find(|it| it.subject.name == "goes" && it.closed_at.is_none())
                .expect("its stream")
                .subject
                .uid
                .as_str(),
        ));
        visit.current("AppDeployment", inside, "shop").await;
        visit.current("AppDeployment", inside, "mail").await;
        visit.current("AppDeployment", inside, &new).await;
        visit.gone("AppDeployment", inside, "goes").await;
        visit.create(&app("acme-prod", "goes", &json!({}))).await;
        visit.current("AppDeployment", inside, "goes").await;
        visit.respec("AppDeployment", inside, "shop", &json!({ "replicas": 1 })).await;

        leader.signal("CONT");
        eventually(PATIENCE, "the old leader steps down or ends", || async {
            if times(leader, "stepped down") > led || leader.ended().is_some() {
                return Ok(());
            }
            Err(format!("its log ends with\n{}", leader.tail()))
        })
        .await;
        visit.current("AppDeployment", inside, "shop").await;
        reckon(&visit, None).await;
        let rows = rows(&visit).await;
        let newest = rows.iter().map(|row| row.epoch).max().expect("rows");
        assert_eq!(newest, epoch(&visit).await, "the new leader is still the leader");
        assert!(rows.is_sorted_by_key(|row| row.epoch), "no row of an older epoch stands behind one of a newer");
        std::mem::swap(&mut leader, &mut standby);
    }

    // The one that was stopped last takes over from one that dies, with caches that it kept all the while.
    let before = epoch(&visit).await;
    visit.respec("AppDeployment", inside, "shop", &json!({ "replicas": 4 })).await;
    leader.kill();
    let took = taken_over(&visit, before).await;
    println!("the other controller leads {took:.2?} after SIGKILL");
    visit.current("AppDeployment", inside, "shop").await;
    reckon(&visit, None).await;
    for uid in gone {
        let story = visit.story(&uid).await;
        assert_eq!(story.last().to.as_str(), "Deleted", "what was deleted is not brought back: {:?}", story.steps());
    }
    let resurrected = rows(&visit).await.iter().filter(|row| row.reason == "Resurrected").count();
    assert_eq!(resurrected, 0);

    // One that is asked to end gives the Lease up, so that nobody waits for it.
    let three = place.controller("three", &ControllerOptions::default());
    let before = epoch(&visit).await;
    standby.signal("TERM");
    assert_eq!(standby.exit_code(PATIENCE).await, 0, "a graceful end is no failure");
    let took = taken_over(&visit, before).await;
    println!("the third controller leads {took:.2?} after the second was asked to end");
    reckon(&visit, None).await;

    // What happens while nobody watches is recorded by whoever comes next.
    three.kill();
    visit.delete("Namespace", None, "acme-spare").await;
    visit.gone("Namespace", None, "acme-spare").await;
    let _four = place.controller("four", &ControllerOptions::default());
    let tenant = uid(&visit.get("Tenant", None, "acme").await);
    eventually(PATIENCE, "the loss is recorded, and made good", || async {
        let steps = visit.story(&tenant).await.steps();
        let [.., lost, recovered] = steps.as_slice() else { return Err(format!("{steps:?}")) };
        let both = lost == "Degraded:NamespaceLost" && recovered == "Active:Recovered";
        if both { Ok(()) } else { Err(format!("{steps:?}")) }
    })
    .await;
    reckon(&visit, None).await;
}

#[tokio::test]
async fn a_lease_is_given_back_even_if_its_last_renewal_was_answered_to_nobody() {
    let visit = Visit::shared().await;
    let client = trueup::cluster::connect(Some(&visit.place.cluster.admin())).await.expect("a client");
    let clock = Arc::new(SystemClock::default());
    let lasts = Duration::from_mins(5);
    let lease = |identity: &str| {
        let identity = identity.to_owned();
        trueup::cluster::Lease::new(client.clone(), "trueup-system", "renewed", identity, lasts, clock.clone())
    };
    let (mut one, mut two) = (lease("one"), lease("two"));
    assert!(one.try_acquire().await.expect("asking for the Lease"));
    assert!(!two.try_acquire().await.expect("asking for the Lease"), "it is held");
    // The renewal arrives, and its answer finds nobody.
    let renewed = json!({ "spec": { "renewTime": "2027-01-01T00:00:00.000000Z" } });
    visit.merge("Lease", Some("trueup-system"), "renewed", &renewed).await;
    one.release().await;
    assert!(two.try_acquire().await.expect("asking for the Lease"), "nobody waits for it to run out");
}
