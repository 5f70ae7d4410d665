//! A ledger that lost rows of many resources is not the right one, and nothing is done by it until it is.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use crate::{
    recover::{end, ledger, lose_everything_since},
    support::*,
    sweep::{closed_as_inferred, force_away, sweeping},
};

const INSIDE: Option<&str> = Some("acme-prod");

#[tokio::test]
async fn a_ledger_that_lost_rows_of_many_resources_is_held_as_a_whole() {
    let place = Arc::new(Place::new("hold", Database::Sqlite).await);
    let controller = place.controller("one", &ControllerOptions::default());
    let visit = Visit::to(&place).await;
    visit.leads("one").await;
    visit.create(&tenant("acme", &json!({ "namespaces": [{ "name": "prod" }] }))).await;
    visit.current("Tenant", None, "acme").await;
    let many: Vec<String> = (0..11).map(|n| format!("app-{n}")).collect();
    for name in many.iter().map(String::as_str).chain(["quiet", "doomed"]) {
        visit.create(&app("acme-prod", name, &json!({ "replicas": 1 }))).await;
    }
    for name in many.iter().map(String::as_str).chain(["quiet", "doomed"]) {
        visit.current("AppDeployment", INSIDE, name).await;
    }
    reckon(&visit, None).await;
    let backup = place.folder().join("backup.jsonl").into_os_string().into_string().unwrap();
    ledger(&["backup", &backup, "--database-url", &place.ledger]);
    for name in &many {
        visit.respec("AppDeployment", INSIDE, name, &json!({ "replicas": 2 })).await;
    }
    for name in &many {
        visit.current("AppDeployment", INSIDE, name).await;
    }
    reckon(&visit, None).await;
    end(&controller).await;
    drop(visit);

    lose_everything_since(&place, &backup);
    let visit = Visit::to(&place).await;
    let saved = visit.ledger.counts().await.unwrap().transitions;
    let controller = place.controller("two", &sweeping(&[]));
    // One that the ledger knows all of, one that it has never heard of, and one that goes by force.
    visit.respec("AppDeployment", INSIDE, "quiet", &json!({ "replicas": 2 })).await;
    visit.create(&app("acme-prod", "new", &json!({ "replicas": 1 }))).await;
    let doomed = force_away(&visit, "AppDeployment", "doomed").await;
    for name in ["app-0", "quiet", "new"] {
        let object = visit.stalled("AppDeployment", INSIDE, name, "LedgerBehind").await;
        let said = condition(&object, "Stalled")["message"].as_str().unwrap_or_default().to_owned();
        assert!(said.contains("trueup ledger recover"), "{said}");
    }
    assert!(controller.said().contains("nothing is recorded at all"), "{}", controller.tail());
    throughout(Duration::from_secs(4), "nothing is appended, opened, closed or made", || async {
        let now = visit.ledger.counts().await.map_err(|error| error.to_string())?.transitions;
        if now != saved {
            return Err(format!("there are {now} rows, and there were {saved}"));
        }
        match visit.find("Deployment", INSIDE, "new").await {
            Some(_) => Err("new runs".to_owned()),
            None => Ok(()),
        }
    })
    .await;
    assert!(controller.ended().is_none(), "it waits: {}", controller.tail());
    end(&controller).await;

    ledger(&["recover", "--receiver", &place.receiver_url(), "--database-url", &place.ledger]);
    let _controller = place.controller("three", &sweeping(&[]));
    for name in ["app-0", "quiet", "new"] {
        visit.current("AppDeployment", INSIDE, name).await;
    }
    closed_as_inferred(&visit, &doomed).await;
    reckon(&visit, None).await;
    audited(&visit);
}
