//! Once everything is as it should be, the controller writes nothing.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn with_fifty_resources_standing_a_minute_passes_without_a_write() {
    let place = Arc::new(Place::new("settled", Database::Sqlite).await);
    let _controller = place.controller("controller", &ControllerOptions::default());
    let visit = Visit::to(&place).await;
    visit.leads("controller").await;
    let mut expected: Vec<(&str, Option<String>, String, Reading)> = vec![];
    for number in 0..5 {
        let name = format!("t{number}");
        // One of them stands still.
        visit
            .create(&tenant(
                &name,
                &json!({ "suspend": number == 4, "quota": { "pods": 100 }, "namespaces": [
            { "name": "prod", "quota": { "pods": 100 } },
        ], "owners": [{ "kind": "User", "name": "ada", "role": "Edit" }] }),
            ))
            .await;
        expected.push(("Tenant", None, name, Reading::Current));
    }
    for number in 0..5 {
        visit.current("Tenant", None, &format!("t{number}")).await;
    }
    for number in 0..40 {
        let (namespace, name) = (format!("t{}-prod", number % 5), format!("app-{number}"));
        let (spec, reading) = match number {
            0 => (json!({ "image": "registry.example/crash:1", "progressDeadlineSeconds": 2 }), Reading::Failed),
            1 => (json!({ "suspend": true }), Reading::Current),
            2 => (json!({ "replicas": 0 }), Reading::Current),
            3 => (
                json!({ "env": [{ "name": "EMPTY", "value": "" }], "resources": { "cpu": "0.1", "memory": "65536Ki" } }),
                Reading::Current,
            ),
            5 => (json!({}), Reading::Failed),
            _ => (json!({ "replicas": 1 + number % 2, "ports": [{ "name": "http", "port": 80 }] }), Reading::Current),
        };
        if number == 5 {
            // Somebody's own Service has the name that the application's would have.
            let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": namespace },
                "spec": { "ports": [{ "port": 1 }] } });
            visit.create(&service).await;
            visit.create(&app(&namespace, &name, &json!({ "ports": [{ "name": "http", "port": 80 }] }))).await;
        } else {
            visit.create(&app(&namespace, &name, &spec)).await;
        }
        expected.push(("AppDeployment", Some(namespace), name, reading));
    }
    for manifest in vault("t0-prod") {
        visit.create(&manifest).await;
    }
    visit.create(&repository("t0-prod", "vault", &json!({}))).await;
    visit.create(&repository("t1-prod", "vault", &json!({}))).await;
    let image = |image: &str| json!({ "source": { "command": { "image": format!("registry.example/{image}:1") } } });
    visit.create(&backup("t0-prod", "failed", &image("crash"))).await;
    visit.create(&backup("t0-prod", "running", &image("hold"))).await;
    expected.push(("BackupRepository", Some("t0-prod".into()), "vault".into(), Reading::Current));
    expected.push(("BackupRepository", Some("t1-prod".into()), "vault".into(), Reading::Failed));
    expected.push(("Backup", Some("t0-prod".into()), "failed".into(), Reading::Failed));
    expected.push(("Backup", Some("t0-prod".into()), "running".into(), Reading::InProgress));
    expected.push(("BillingSink", None, "billing".into(), Reading::Current));
    assert_eq!(expected.len(), 50);
    for (kind, namespace, name, wanted) in &expected {
        let as_wanted =
            |object: &kube::core::DynamicObject| !object.data["status"].is_null() && reading(object) == *wanted;
        visit.until(kind, namespace.as_deref(), name, &format!("is {wanted:?}"), as_wanted).await;
    }
    reckon(&visit, None).await;

    let log = place.cluster.audit_log();
    let (made, _) = writes(&log, 0);
    assert!(made.values().sum::<usize>() > 200, "the audit log counts what is written: {made:?}");
    // Notes for people are sent in the background and may take a moment more than what they are about; a sink's status is
    // written every ten seconds at most, so its last one may still be due.
    eventually(PATIENCE, "twelve seconds pass without a write", || async {
        let (_, end) = writes(&log, 0);
        quiet_for(&log, end, Duration::from_secs(12)).await.map_err(|found| format!("there are {found:?}"))
    })
    .await;
    let (_, settled) = writes(&log, 0);
    if let Err(found) = quiet_for(&log, settled, Duration::from_mins(1)).await {
        panic!("expected no write in a settled cluster, but there are {found:?}");
    }
    let (during, _) = writes(&log, settled);
    let renewals: usize = during.values().sum();
    assert!((30..90).contains(&renewals), "the Lease is renewed about once a second: {during:?}");

    println!("{}", audited(&visit));

    // And yet it is awake.
    visit.respec("AppDeployment", Some("t0-prod"), "app-10", &json!({ "replicas": 2 })).await;
    visit.current("AppDeployment", Some("t0-prod"), "app-10").await;
    let clock = trueup::domain::SystemClock::default();
    reckon(&visit, None).await;
    let took = trueup::domain::Clock::monotonic(&clock);
    assert!(took < Duration::from_secs(5), "the receiver had it only after {took:?}");
}
