//! One word leads through the log, from the look that decided to what billing acknowledged: the resource's UID.

use std::sync::Arc;

use serde_json::{Value, json};
use trueup::receiver::Events;

use crate::support::*;

#[tokio::test]
async fn a_uid_finds_a_transition_from_the_look_that_decided_it_to_its_acknowledgement() {
    let place = Arc::new(Place::new("traced", Database::Sqlite).await);
    let args = ["--log", "trueup=debug", "--log-format", "json"].map(str::to_owned).to_vec();
    let controller = place.controller("controller", &ControllerOptions { args, ..ControllerOptions::default() });
    let visit = Visit::to(&place).await;
    visit.create(&tenant("acme", &json!({}))).await;
    let uid = uid(&visit.state("Tenant", None, "acme", "Active").await);
    let last = visit.story(&uid).await.last().clone();
    let told = eventually(PATIENCE, "billing has its last event", || async {
        let told: Events = visit.ask_receiver(&format!("/resources/{uid}/events")).await?;
        let last = told.events.into_iter().find(|event| event.sequence == last.sequence);
        last.ok_or_else(|| "it has not".to_owned())
    })
    .await;
    // What billing calls it begins with the same word, and ends with the place that the log has.
    assert_eq!(told.event_id.as_str(), format!("{uid}-0-{}", last.sequence));

    let line_of = |log: &str, message: &str, of_last: bool| {
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let ours = lines.filter(|line| line["uid"] == uid.as_str() && line["message"] == message);
        ours.into_iter().find(|line| !of_last || line["sequence"] == last.sequence.to_string())
    };
    eventually(PATIENCE, "the log has each step", || async {
        let log = controller.said();
        let found = [("decided", false), ("transition", true), ("acknowledged", true)].map(|(message, of_last)| {
            line_of(&log, message, of_last).ok_or_else(|| format!("no '{message}' in\n{log}"))
        });
        let [decided, transition, acknowledged] = found;
        assert_eq!(decided?["object"], "Tenant acme");
        let transition = transition?;
        assert_eq!((&transition["to"], &transition["reason"]), (&json!(last.to), &json!(last.reason)));
        assert_eq!(acknowledged?["destination"], "billing");
        Ok(())
    })
    .await;
}
