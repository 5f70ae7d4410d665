//! What somebody asked to be amended is stated anew by the controller, told to billing, and shown.

use std::sync::Arc;

use serde_json::json;
use trueup::{
    domain::{Clock, DestinationId, Sequence, SystemClock},
    receiver::Events,
};

use crate::support::*;

#[tokio::test]
async fn whoever_leads_states_anew_what_holds_and_users_are_shown_the_new_row() {
    let place = Arc::new(Place::new("amend", Database::Sqlite).await);
    let _controller = place.controller("controller", &ControllerOptions::default());
    let visit = Visit::to(&place).await;
    visit.leads("controller").await;
    visit.create(&tenant("acme", &json!({}))).await;
    visit.state("Tenant", None, "acme", "Active").await;
    let inside = Some("acme-prod");
    visit.create(&app("acme-prod", "web", &json!({ "replicas": 2 }))).await;
    let uid = uid(&visit.state("AppDeployment", inside, "web", "Available").await);
    let before = visit.story(&uid).await.last().clone();

    // A destination that nobody serves, so that its lane stands still.
    let warehouse = DestinationId::new("warehouse");
    visit.ledger.open_destination(&warehouse, SystemClock::default().now()).await.unwrap();
    let typed = "outbox amend appdeployment acme-prod/web --destination warehouse --reason merged --as ann@desk --yes";
    let output = trueup().args(typed.split(' ')).args(["--database-url", &place.ledger]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let outcome = eventually(PATIENCE, "the amendment is carried out", || async {
        let made = visit.ledger.interventions(0, 10).await.map_err(|error| error.to_string())?;
        made[0].outcome.clone().ok_or_else(|| "nothing has come of it".to_owned())
    })
    .await;
    let next = before.sequence.next();
    assert_eq!(outcome, format!("restated at sequence {next}"));
    let row = visit.story(&uid).await.last().clone();
    assert_eq!((row.sequence, &row.to, row.effective), (next, &before.to, before.effective));

    visit
        .until("AppDeployment", inside, "web", "shows the new row", |object| {
            let shown = &object.data["status"]["ledger"];
            shown["sequence"] == next.get() && shown["hash"] == row.hash.to_string()
        })
        .await;
    eventually(PATIENCE, "billing has it", || async {
        let told: Events = visit.ask_receiver(&format!("/resources/{uid}/events")).await?;
        let last = told.events.last().map_or(Sequence::new(0), |event| event.sequence);
        (last == next).then_some(()).ok_or_else(|| format!("it has {last}"))
    })
    .await;
    visit.ledger.close_destination(&warehouse).await.unwrap();
    audited(&visit);
}
