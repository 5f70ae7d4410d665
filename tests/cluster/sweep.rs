//! What vanished while nobody looked is closed in the ledger, and nothing is closed that did not vanish.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use trueup::domain::{Billable, TimeSource, Uid};

use crate::support::*;

const INSIDE: Option<&str> = Some("acme-prod");

/// A controller that sweeps each second.
pub fn sweeping(more: &[&str]) -> ControllerOptions {
    let args = ["--sweep-seconds", "1"].iter().chain(more).map(ToString::to_string).collect();
    ControllerOptions { args, ..ControllerOptions::default() }
}

/// Takes the finalizer off an object and deletes it, as somebody who is tired of waiting does.
pub async fn force_away(visit: &Visit, kind: &str, name: &str) -> Uid {
    let uid = uid(&visit.get(kind, INSIDE, name).await);
    visit.merge(kind, INSIDE, name, &json!({ "metadata": { "finalizers": null } })).await;
    visit.delete(kind, INSIDE, name).await;
    visit.gone(kind, INSIDE, name).await;
    uid
}

pub async fn closed_as_inferred(visit: &Visit, uid: &Uid) {
    let story = visit.recorded(uid, "Deleted").await;
    let steps = story.steps();
    assert!(steps.ends_with(&["Terminating:Vanished".into(), "Deleted:Vanished".into()]), "{steps:?}");
    let events = story.events();
    let (before, last) = (&events[events.len() - 3], &events[events.len() - 1]);
    assert_eq!((last.time_source, last.billable), (TimeSource::Inferred, Billable::ZERO));
    assert!(last.not_before >= before.effective_at && last.not_before < last.not_after, "{last:?}");
    assert_eq!(last.effective_at, last.not_after, "never earlier than it may have been");
}

async fn is_open(visit: &Visit, uid: &Uid) -> Result<(), String> {
    let head = visit.ledger.head(uid).await.map_err(|error| error.to_string())?.ok_or("it has no stream")?;
    if head.closed_at.is_none() { Ok(()) } else { Err(format!("{} is closed", head.subject.name)) }
}

#[tokio::test]
async fn what_was_forced_away_is_closed_as_inferred_unless_it_is_too_much_at_once() {
    let place = Arc::new(Place::new("sweep", Database::Sqlite).await);
    let controller = place.controller("one", &sweeping(&[]));
    let visit = Visit::to(&place).await;
    visit.leads("one").await;
    visit.create(&tenant("acme", &json!({ "namespaces": [{ "name": "prod" }] }))).await;
    visit.current("Tenant", None, "acme").await;
    let many: Vec<String> = (0..12).map(|n| format!("app-{n}")).collect();
    for name in many.iter().map(String::as_str).chain(["shop", "stays"]) {
        visit.create(&app("acme-prod", name, &json!({ "replicas": 1 }))).await;
    }
    for name in many.iter().map(String::as_str).chain(["shop", "stays"]) {
        visit.current("AppDeployment", INSIDE, name).await;
    }
    reckon(&visit, None).await;

    controller.kill();
    let shop = force_away(&visit, "AppDeployment", "shop").await;
    let controller = place.controller("two", &sweeping(&[]));
    closed_as_inferred(&visit, &shop).await;
    reckon(&visit, None).await;
    audited(&visit);

    controller.kill();
    let mut gone = vec![];
    for name in &many {
        gone.push(force_away(&visit, "AppDeployment", name).await);
    }
    let controller = place.controller("three", &sweeping(&[]));
    visit.leads("three").await;
    eventually(PATIENCE, "an Event says AuditHeld", || async {
        let events = visit.list("Event", Some("trueup-system")).await;
        let told = events.iter().any(|event| event.data["reason"] == "AuditHeld");
        if told { Ok(()) } else { Err(format!("there are {}", events.len())) }
    })
    .await;
    assert!(controller.said().contains("at least 11 of"), "{}", controller.tail());
    throughout(Duration::from_secs(3), "all streams stay open", || async {
        for uid in &gone {
            is_open(&visit, uid).await?;
        }
        Ok(())
    })
    .await;

    controller.kill();
    let _controller = place.controller("four", &sweeping(&["--sweep-limit", "12"]));
    for uid in &gone {
        closed_as_inferred(&visit, uid).await;
    }
    let stays = uid(&visit.get("AppDeployment", INSIDE, "stays").await);
    is_open(&visit, &stays).await.unwrap();
    reckon(&visit, None).await;
    audited(&visit);
}

#[tokio::test]
async fn a_definition_that_vanishes_closes_nothing() {
    let place = Arc::new(Place::new("sweepcrd", Database::Sqlite).await);
    let controller = place.controller("one", &sweeping(&[]));
    let visit = Visit::to(&place).await;
    visit.leads("one").await;
    visit.create(&tenant("acme", &json!({ "namespaces": [{ "name": "prod" }] }))).await;
    visit.current("Tenant", None, "acme").await;
    visit.create(&app("acme-prod", "shop", &json!({ "replicas": 1 }))).await;
    visit.current("AppDeployment", INSIDE, "shop").await;
    reckon(&visit, None).await;

    // A controller that runs on: one that starts asks for its definitions first.
    controller.signal("STOP");
    let shop = force_away(&visit, "AppDeployment", "shop").await;
    let name = "appdeployments.trueup.dev";
    visit.delete("CustomResourceDefinition", None, name).await;
    visit.gone("CustomResourceDefinition", None, name).await;
    controller.signal("CONT");
    throughout(Duration::from_secs(5), "the stream stays open", || is_open(&visit, &shop)).await;
    assert!(controller.ended().is_none(), "{}", controller.tail());

    install(&visit).await;
    closed_as_inferred(&visit, &shop).await;
}
