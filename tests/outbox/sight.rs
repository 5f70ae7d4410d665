//! What a person sees of a destination: its BillingSink's status, and what `trueup outbox status` prints.

use std::path::Path;

use serde_json::{Value, json};
use tokio::process::Command;
use trueup::{
    api::{BillingSinkSpec, BillingSinkStatus},
    domain::{Timestamp, Uid},
    lifecycle::{
        Object,
        sink::{self, Observed},
    },
    outbox::Relay,
    reconcile::deliveries,
};

use crate::rig::{Ledger, destination};

/// The status that the controller would show.
pub async fn shown(ledger: &Ledger, relay: &Relay) -> BillingSinkStatus {
    let (owed, delivery) = deliveries::seen(&*ledger.store, relay, &destination()).await.unwrap();
    let spec: BillingSinkSpec = serde_json::from_value(json!({
        "destinationId": destination().as_str(), "startAt": "Beginning",
        "webhook": { "url": "https://billing.example", "secretRef": { "name": "billing", "key": "keys" } },
    }))
    .unwrap();
    let object = Object {
        uid: Uid::new("sink"),
        name: "billing".into(),
        namespace: None,
        generation: 1,
        created: Timestamp::from_micros(0),
        deleting_since: None,
        has_finalizer: true,
        paused: false,
        watched: true,
        spec: &spec,
        conditions: &[],
    };
    let seen = Observed { owed, delivery, ..Observed::default() };
    sink::decide(&object, &seen, ledger.clock.now()).status
}

/// Why a sink is not ready.
pub fn not_ready(status: &BillingSinkStatus) -> &str {
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert_eq!(ready.status, "False", "{status:?}");
    &ready.reason
}

/// What the program says of the ledger in the file `path`. Whoever serves and is served goes on meanwhile.
pub async fn printed(path: &Path, output: &str) -> String {
    let program = env!("CARGO_BIN_EXE_trueup");
    let url = format!("sqlite:{}", path.display());
    let ran = Command::new(program)
        .args(["outbox", "status", "--output", output, "--database-url", &url])
        .output()
        .await
        .expect("running trueup");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

/// What the program tells other programs of the one destination that matters here.
pub async fn told(path: &Path) -> Value {
    let status: Value = serde_json::from_str(&printed(path, "json").await).unwrap();
    let destinations = status["destinations"].as_array().unwrap();
    destinations.iter().find(|found| found["id"] == destination().as_str()).unwrap().clone()
}
