//! The life of a tenant, with the real controller.

use std::time::Duration;

use kube::core::DynamicObject;
use serde_json::json;
use tokio::time::sleep;
use trueup::{domain::Uid, ledger::RowQuery};

use crate::controller::Simulation;

fn acme() -> serde_json::Value {
    json!({
        "apiVersion": "trueup.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": "acme" },
        "spec": {
            "plan": "team", "billing": { "account": "ACME-1" },
            "owners": [{ "kind": "User", "name": "jo@acme.example", "role": "Admin" }],
            "namespaces": [{ "name": "prod" }, { "name": "dev" }],
        },
    })
}

fn state(object: Option<&DynamicObject>) -> Option<&str> {
    object?.data["status"]["state"].as_str()
}

/// What the ledger says that became of it.
async fn told(simulation: &Simulation, uid: &str) -> Vec<String> {
    let query = RowQuery { uid: Some(Uid::new(uid)), limit: 100, ..RowQuery::default() };
    simulation.ledger.rows(&query).await.unwrap().iter().map(|row| row.to.as_str().to_owned()).collect()
}

/// Writes other than those of the Lease, which is renewed each second, and of Events, which are only notes.
fn writes(simulation: &Simulation) -> Vec<String> {
    let of_others = |write: &String| !write.contains(" leases ") && !write.contains(" events ");
    simulation.server.history().into_iter().filter(of_others).collect()
}

#[tokio::test(start_paused = true)]
async fn a_tenant_comes_stands_still_for_a_while_is_suspended_and_goes() {
    let mut simulation = Simulation::new().await;
    simulation.lead(1);
    simulation.create_tenant(&acme()).await;
    simulation.until("it is active", "acme", |object| state(object) == Some("Active")).await;
    let uid = simulation.tenants().get("acme").await.unwrap().metadata.uid.unwrap();
    for namespace in ["made namespaces acme-prod", "made namespaces acme-dev"] {
        assert!(writes(&simulation).iter().any(|write| write == namespace), "{:#?}", writes(&simulation));
    }

    // Statuses that follow each other closely are one look apart.
    sleep(Duration::from_mins(1)).await;
    let settled = writes(&simulation);
    sleep(Duration::from_mins(15)).await;
    assert_eq!(writes(&simulation), settled, "a settled cluster sees no write");

    simulation.change_tenant("acme", &json!({ "suspend": true })).await;
    simulation.until("it is suspended", "acme", |object| state(object) == Some("Suspended")).await;
    // A watch that is told that it is too old starts over, and misses nothing.
    simulation.server.compact();
    simulation.delete_tenant("acme").await;
    simulation.until("it is gone", "acme", |object| object.is_none()).await;
    assert_eq!(told(&simulation, &uid).await, ["Provisioning", "Active", "Suspended", "Terminating", "Deleted"]);
    simulation.assert_clean().await;
}
