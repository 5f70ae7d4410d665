//! What happens while no controller runs is recorded with the time at which it happened.

use std::time::Duration;

use serde_json::json;
use trueup::domain::{Clock, Sequence, SystemClock, TimeSource, Timestamp};

use crate::support::*;

/// The second that an object's condition says it turned in.
fn turned(conditions: &serde_json::Value, kind: &str) -> Option<Timestamp> {
    let found = conditions.as_array()?.iter().find(|condition| condition["type"] == kind)?;
    found["lastTransitionTime"].as_str()?.parse().ok()
}

#[tokio::test]
async fn what_happened_while_nobody_watched_is_recorded_with_the_time_at_which_it_did() {
    let place = std::sync::Arc::new(Place::new("time", Database::Sqlite).await);
    let controller = place.controller("before", &ControllerOptions::default());
    let visit = Visit::to(&place).await;
    visit.leads("before").await;
    visit.create(&tenant("acme", &json!({}))).await;
    visit.state("Tenant", None, "acme", "Active").await;
    let inside = Some("acme-prod");
    for name in ["fails", "leaves"] {
        visit.create(&app("acme-prod", name, &json!({ "replicas": 2 }))).await;
    }
    for name in ["fails", "leaves"] {
        visit.state("AppDeployment", inside, name, "Available").await;
    }
    let before = visit.story_of("AppDeployment", inside, "fails").await.rows.last().cloned().expect("a row");
    let fails = uid(&visit.get("AppDeployment", inside, "fails").await);
    let leaves = uid(&visit.get("AppDeployment", inside, "leaves").await);
    // Kubernetes counts whole seconds: what happens in the second of the last row could not be told from it.
    moment(Duration::from_millis(1_500)).await;
    controller.kill();

    // Both pods of one application stop being ready, and somebody asks for the other to be deleted.
    let held = json!({ "metadata": { "annotations": { "trueup.test/hold": "true" } } });
    for pod in visit.list("Pod", inside).await {
        if pod.metadata.labels.as_ref().is_some_and(|labels| labels.values().any(|value| value == "fails")) {
            let name = pod.metadata.name.clone().unwrap_or_default();
            visit.merge("Pod", inside, &name, &held).await;
        }
    }
    visit.delete("AppDeployment", inside, "leaves").await;
    let deployment = visit
        .until("Deployment", inside, "fails", "lost its pods", |found| {
            found.data["status"]["availableReplicas"].as_i64().unwrap_or(0) == 0
                && condition(found, "Available")["status"] == "False"
        })
        .await;
    let lost = turned(&deployment.data["status"]["conditions"], "Available").expect("when it was lost");
    let asked = visit.get("AppDeployment", inside, "leaves").await.metadata.deletion_timestamp.expect("when").0.into();
    moment(Duration::from_millis(2_500)).await;

    let started = SystemClock::default().now();
    let _after = place.controller("after", &ControllerOptions::default());
    visit.leads("after").await;
    let degraded = visit.recorded(&fails, "Degraded").await.rows;
    let row = degraded.iter().find(|row| row.to.as_str() == "Degraded").expect("the row");
    assert_eq!(row.sequence, Sequence::new(before.sequence.get() + 1));
    assert_eq!(row.effective.source, TimeSource::Reported, "{:?}", row.effective);
    // The first pod went before the Deployment said that too few are left.
    assert!(row.effective.at <= lost && lost.since(row.effective.at) <= Duration::from_secs(2), "{:?}", row.effective);
    assert!(row.effective.at > before.effective.at && row.effective.not_after < started, "{:?}", row.effective);
    assert!(row.recorded_at >= started, "it is recorded when it was found");

    let closed = visit.recorded(&leaves, "Deleted").await.rows;
    let terminating = closed.iter().find(|row| row.to.as_str() == "Terminating").expect("the row");
    assert_eq!((terminating.effective.at, terminating.effective.source), (asked, TimeSource::Reported));
    assert!(terminating.effective.not_after < started && terminating.recorded_at >= started);
}
