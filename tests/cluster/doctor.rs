//! What `trueup doctor` says of a real installation, well and ill.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::*;

/// Asks as somebody with this kubeconfig; answers the exit code and what was found, by check.
fn examined(place: &Place, kubeconfig: std::path::PathBuf, more: &[&str]) -> (i32, Vec<(String, String, String)>) {
    let mut command = trueup();
    command.args(["doctor", "-o", "json", "--database-url", &place.ledger, "--kubeconfig"]).arg(kubeconfig).args(more);
    let output = command.output().expect("running trueup doctor");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = said["findings"].as_array().expect("findings");
    let found = found.iter().map(|it| (text(&it["check"]), text(&it["health"]), text(&it["found"])));
    (output.status.code().expect("an exit code"), found.collect())
}

fn of<'a>(found: &'a [(String, String, String)], check: &str) -> (&'a str, &'a str) {
    let line = found.iter().find(|(name, ..)| name == check).unwrap_or_else(|| panic!("no {check} in {found:?}"));
    (line.1.as_str(), line.2.as_str())
}

#[tokio::test]
async fn a_healthy_installation_is_found_healthy_and_whatever_breaks_is_named() {
    let place = Arc::new(Place::new("doctor", Database::Postgres).await);
    let controller = place.controller("controller", &ControllerOptions::default());
    let visit = Visit::to(&place).await;
    visit.leads("controller").await;
    visit.create(&tenant("acme", &json!({}))).await;
    visit.current("Tenant", None, "acme").await;
    let ready = |object: &kube::core::DynamicObject| condition(object, "Ready")["status"] == "True";
    visit.until("BillingSink", None, "billing", "delivers", ready).await;

    // As the controller itself, with exactly the chart's rights.
    let (code, found) = examined(&place, place.cluster.controller(), &[]);
    // The tests' server does not wait for disks, and is told so; everything else is well.
    let (health, said) = of(&found, "durability");
    assert_eq!((health, said), ("fail", "fsync off, full_page_writes off"));
    let others: Vec<_> = found.iter().filter(|(check, ..)| check != "durability").collect();
    assert!(others.iter().all(|(_, health, _)| health == "ok"), "{others:#?}");
    assert_eq!((code, others.len()), (1, 9), "{others:#?}");

    // Somebody takes a right, a definition's field and the sink's key away, and the leader dies.
    let name = "trueup-controller";
    let role = visit.get("ClusterRole", None, name).await;
    let mut rules = role.data["rules"].clone();
    rules.as_array_mut().unwrap().retain(|rule| !rule["resources"].to_string().contains("\"pods\""));
    visit.merge("ClusterRole", None, name, &json!({ "rules": rules })).await;
    visit.delete("Secret", Some("trueup-system"), "billing").await;
    controller.kill();
    place.kill_receiver();
    eventually(PATIENCE, "the doctor finds it all", || async {
        let (code, found) = examined(&place, place.cluster.controller(), &[]);
        let rights = of(&found, "rights");
        let right = rights.0 == "fail" && rights.1.ends_with("may not list, watch pods");
        let leader = of(&found, "leader").0 == "fail";
        let sink = of(&found, "sink").1.contains("Secret trueup-system/billing does not exist");
        if code == 1 && right && leader && sink { Ok(()) } else { Err(format!("{found:#?}")) }
    })
    .await;

    // What cannot be reached is exit code 3.
    assert!(place.kill_postgres());
    let (code, found) = examined(&place, place.cluster.admin(), &[]);
    assert_eq!((code, of(&found, "database").0), (3, "fail"), "{found:#?}");
    let (_, found) = examined(&place, place.cluster.admin(), &["--cluster-only"]);
    assert!(found.iter().all(|(check, ..)| check != "database"), "{found:#?}");
}
