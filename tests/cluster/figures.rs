//! What a controller tells Prometheus of a living cluster, asked by a real Prometheus.

use std::{process::Command, sync::Arc};

use serde_json::json;
use trueup::domain::Ended;

use super::backups::{end, held, manifest, running_pod};
use crate::support::*;

/// What `/metrics` of the controller at `address` says of each of `series`.
async fn says(address: &str, series: &[&str]) -> Vec<f64> {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer = client.get(format!("http://{address}/metrics")).send().await.expect("asking for them");
    let text = answer.text().await.expect("reading them");
    let value = |series: &&str| {
        let line = text.lines().find_map(|line| line.strip_prefix(*series)?.strip_prefix(' '));
        line.map_or(f64::NAN, |value| value.parse().expect("a number"))
    };
    series.iter().map(value).collect()
}

/// Waits until the controller says so.
async fn until(address: &str, what: &str, series: &[&str], so: impl Fn(&[f64]) -> bool) {
    eventually(PATIENCE, what, || async {
        let values = says(address, series).await;
        if so(&values) { Ok(()) } else { Err(format!("{series:?} are {values:?}")) }
    })
    .await;
}

/// Makes a backup, and lets its pod end as one does that stored all of it.
async fn back_up(visit: &Visit, name: &str) {
    visit.create(&backup("acme-prod", name, &held())).await;
    let running = visit.state("Backup", Some("acme-prod"), name, "Running").await;
    let pod = running_pod(visit, "acme-prod", running.data["status"]["job"].as_str().expect("its Job")).await;
    let sealed = Ended::Sealed(manifest()).to_message();
    end(visit, &pod, &[("dump", 0, ""), ("mover", 0, &sealed)]).await;
    visit.state("Backup", Some("acme-prod"), name, "Completed").await;
}

#[tokio::test]
async fn a_real_prometheus_finds_every_target_up_every_alert_loaded_and_data_for_every_panel() {
    let place = Arc::new(Place::new("figures", Database::Sqlite).await);
    let address = format!("127.0.0.1:{}", free_port());
    let options = ControllerOptions { listen: Some(address.clone()), ..ControllerOptions::default() };
    let _controller = place.controller("controller", &options);
    let visit = Visit::to(&place).await;
    visit.leads("controller").await;
    visit.create(&tenant("acme", &json!({}))).await;
    visit.current("Tenant", None, "acme").await;
    let inside = Some("acme-prod");
    visit.create(&app("acme-prod", "web", &json!({ "replicas": 2 }))).await;
    for manifest in vault("acme-prod") {
        visit.create(&manifest).await;
    }
    visit.create(&repository("acme-prod", "vault", &json!({}))).await;
    back_up(&visit, "copy").await;
    visit.current("AppDeployment", inside, "web").await;

    let counted = [
        "trueup_resources{kind=\"AppDeployment\",state=\"Available\",tenant=\"acme\"}",
        "trueup_resources{kind=\"Tenant\",state=\"Active\",tenant=\"acme\"}",
        "trueup_resources{kind=\"Backup\",state=\"Completed\",tenant=\"acme\"}",
        "trueup_backup_unverified_sources{tenant=\"acme\"}",
        "trueup_transitions_total{from=\"Running\",kind=\"Backup\",to=\"Completed\"}",
        "trueup_ready_seconds_count{kind=\"AppDeployment\"}",
        "trueup_leader",
    ];
    until(&address, "what is there is counted", &counted, |values| values == [1.0; 7]).await;
    let quiet = [
        "trueup_reconcile_queue_objects{kind=\"AppDeployment\"}",
        "trueup_outbox_undelivered_events{destination=\"billing\"}",
    ];
    until(&address, "nothing waits", &quiet, |values| values.iter().all(|value| *value == 0.0)).await;
    let busy = [
        "trueup_kubernetes_requests_total{code=\"200\",verb=\"patch\"}",
        "trueup_ledger_commit_seconds_count",
        "trueup_backup_age_seconds{tenant=\"acme\"}",
    ];
    until(&address, "what was done is counted", &busy, |values| values.iter().all(|value| *value > 1.0)).await;

    // While something happens, so that there is something to see.
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/hack/prometheus/live");
    let target = address.clone();
    let live = tokio::task::spawn_blocking(move || Command::new(script).arg(target).output());
    for number in 0.. {
        if live.is_finished() {
            break;
        }
        visit.respec("AppDeployment", inside, "web", &json!({ "replicas": 2 + number % 2 })).await;
        back_up(&visit, &format!("copy-{number}")).await;
        visit.current("AppDeployment", inside, "web").await;
    }
    let live = live.await.expect("it ended").expect("running hack/prometheus/live");
    let said = String::from_utf8_lossy(&live.stdout).into_owned() + &String::from_utf8_lossy(&live.stderr);
    assert!(live.status.success(), "{said}");
    println!("{said}");

    // A proof of a restore ends that somebody is asked for one.
    let proved = json!({ "metadata": { "annotations": { "trueup.dev/restore-verified": "2026-01-31 by ada" } } });
    visit.merge("Backup", inside, "copy", &proved).await;
    let unverified = ["trueup_backup_unverified_sources{tenant=\"acme\"}"];
    until(&address, "the proof is counted", &unverified, |values| values == [0.0]).await;

    // Billing is away: what it was not told grows older, and is told when it is back.
    let owed = [
        "trueup_outbox_undelivered_events{destination=\"billing\"}",
        "trueup_outbox_lag_seconds{destination=\"billing\"}",
        "trueup_tenant_lag_seconds{tenant=\"acme\"}",
    ];
    place.kill_receiver();
    visit.respec("AppDeployment", inside, "web", &json!({ "replicas": 5 })).await;
    until(&address, "billing is owed something", &owed, |values| values.iter().all(|value| *value >= 1.0)).await;
    place.start_receiver();
    until(&address, "billing was told", &owed, |values| values == [0.0, 0.0, 0.0]).await;
    reckon(&visit, Some("acme")).await;
}
