//! What the chart renders for the ways in which it is used.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::helm::{all, one, read, render, root};

fn postgres(more: Value) -> Value {
    let mut values = json!({ "replicas": 3, "ledger": { "postgres": { "secretName": "db" } } });
    values.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    values
}

fn environment<'a>(workload: &'a Value, name: &str) -> &'a Value {
    let variables = workload["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    variables.iter().find(|variable| variable["name"] == name).unwrap_or(&Value::Null)
}

#[test]
fn sqlite_is_one_pod_that_is_never_there_twice() {
    let objects = render(&json!({}));
    let workload = one(&objects, "StatefulSet");
    assert!(all(&objects, "Deployment").is_empty());
    assert_eq!(workload["spec"]["replicas"], 1);
    assert_eq!(environment(workload, "DATABASE_URL")["value"], "sqlite:/var/lib/trueup/ledger.db");
    let claim = one(&objects, "PersistentVolumeClaim");
    assert_eq!(claim["metadata"]["annotations"]["helm.sh/resource-policy"], "keep", "the ledger outlives the chart");
    let volumes = workload["spec"]["template"]["spec"]["volumes"].to_string();
    assert!(volumes.contains(claim["metadata"]["name"].as_str().unwrap()));
    assert!(all(&objects, "PodDisruptionBudget").is_empty(), "one pod must not hold up a node that is drained");
}

#[test]
fn a_claim_that_is_there_already_is_used() {
    let objects = render(&json!({ "ledger": { "sqlite": { "existingClaim": "mine" } } }));
    assert!(all(&objects, "PersistentVolumeClaim").is_empty());
    let pod = &one(&objects, "StatefulSet")["spec"]["template"]["spec"];
    assert!(pod["volumes"].to_string().contains(r#""claimName":"mine""#));
}

#[test]
fn postgres_is_several_pods_of_which_most_are_always_there() {
    let objects = render(&postgres(json!({})));
    let workload = one(&objects, "Deployment");
    assert!(all(&objects, "StatefulSet").is_empty() && all(&objects, "PersistentVolumeClaim").is_empty());
    assert_eq!(workload["spec"]["replicas"], 3);
    assert_eq!(workload["spec"]["strategy"]["rollingUpdate"], json!({ "maxUnavailable": 0, "maxSurge": 1 }));
    let address = &environment(workload, "DATABASE_URL")["valueFrom"]["secretKeyRef"];
    assert_eq!(*address, json!({ "name": "db", "key": "url" }));
    let spread = workload["spec"]["template"]["spec"]["topologySpreadConstraints"].as_array().unwrap();
    let keys: Vec<&str> = spread.iter().map(|it| it["topologyKey"].as_str().unwrap()).collect();
    assert_eq!(keys, ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]);
    let budget = one(&objects, "PodDisruptionBudget");
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
    assert_eq!(budget["spec"]["selector"], workload["spec"]["selector"]);
}

#[test]
fn whatever_selects_the_pods_does() {
    let objects = render(&postgres(json!({ "monitoring": { "serviceMonitor": { "enabled": true } } })));
    let labels = &one(&objects, "Deployment")["spec"]["template"]["metadata"]["labels"];
    let selects = |selector: &Value| selector.as_object().unwrap().iter().all(|(name, value)| labels[name] == *value);
    let service = one(&objects, "Service");
    assert!(selects(&service["spec"]["selector"]));
    assert!(selects(&one(&objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]));
    assert!(selects(&one(&objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]));
    let monitor = &one(&objects, "ServiceMonitor")["spec"]["selector"]["matchLabels"];
    assert!(monitor.as_object().unwrap().iter().all(|(name, value)| service["metadata"]["labels"][name] == *value));
}

#[test]
fn names_are_the_release_s_own() {
    let objects = render(&json!({ "fullnameOverride": "billing-truth" }));
    for object in &objects {
        let name = object["metadata"]["name"].as_str().unwrap();
        assert!(name.starts_with("billing-truth"), "{} {name}", object["kind"]);
    }
    let places: BTreeSet<&str> = objects.iter().filter_map(|it| it["metadata"]["namespace"].as_str()).collect();
    assert_eq!(places, BTreeSet::from(["trueup-system"]));
}

#[test]
fn backups_are_stored_with_the_image_of_the_controller() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let objects = render(&json!({ "image": { "repository": "registry.example/trueup", "digest": digest } }));
    let workload = one(&objects, "StatefulSet");
    let expected = format!("registry.example/trueup@{digest}");
    assert_eq!(workload["spec"]["template"]["spec"]["containers"][0]["image"], *expected);
    assert_eq!(environment(workload, "TRUEUP_MOVER_IMAGE")["value"], *expected);
}

#[test]
fn health_is_asked_for_where_the_program_answers() {
    let objects = render(&json!({}));
    let container = &one(&objects, "StatefulSet")["spec"]["template"]["spec"]["containers"][0];
    for (probe, path) in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"], json!({ "path": path, "port": "http" }), "{probe}");
    }
    let served = read("src/telemetry/health.rs");
    assert!(served.contains("\"/livez\"") && served.contains("\"/readyz\"") && served.contains("\"/metrics\""));
}

#[test]
fn settings_reach_the_program_under_the_names_that_it_reads() {
    let objects = render(&json!({
        "leaseSeconds": 5, "sweep": { "seconds": 90, "limit": 40 }, "keepTransitions": "400d", "observeOnly": true,
        "receiver": "http://billing.example:8090", "log": { "filter": "trueup=debug", "format": "text" },
        "monitoring": { "tenants": 20 },
    }));
    let workload = one(&objects, "StatefulSet");
    for (name, value) in [
        ("TRUEUP_LEASE_SECONDS", "5"),
        ("TRUEUP_SWEEP_SECONDS", "90"),
        ("TRUEUP_SWEEP_LIMIT", "40"),
        ("TRUEUP_KEEP_TRANSITIONS", "400d"),
        ("TRUEUP_OBSERVE_ONLY", "true"),
        ("TRUEUP_RECEIVER", "http://billing.example:8090"),
        ("TRUEUP_METRICS_TENANTS", "20"),
        ("TRUEUP_LOG", "trueup=debug"),
        ("TRUEUP_LOG_FORMAT", "text"),
    ] {
        assert_eq!(environment(workload, name)["value"], value, "{name}");
    }
    let program = format!("{}{}", read("src/cli/mod.rs"), read("src/cli/controller.rs"));
    for variable in workload["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        assert!(program.contains(&format!("env = \"{name}\"")), "the program reads no {name}");
    }
}

#[test]
fn the_network_is_closed_but_for_metrics_and_health() {
    let objects = render(&json!({}));
    let policy = &one(&objects, "NetworkPolicy")["spec"];
    assert_eq!(policy["policyTypes"], json!(["Ingress"]));
    assert_eq!(policy["ingress"], json!([{ "ports": [{ "port": "http", "protocol": "TCP" }] }]));

    let peer = json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "monitoring" } } });
    let out = json!({ "to": [{ "ipBlock": { "cidr": "10.0.0.1/32" } }], "ports": [{ "port": 6443 }] });
    let objects = render(&json!({ "networkPolicy": { "from": [peer], "egress": [out] } }));
    let policy = &one(&objects, "NetworkPolicy")["spec"];
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    let from = policy["ingress"][0]["from"].as_array().unwrap();
    assert_eq!(from[0], peer);
    let test = &one(&objects, "Pod")["metadata"]["labels"];
    let admitted = from[1]["podSelector"]["matchLabels"].as_object().unwrap();
    assert!(admitted.iter().all(|(name, value)| test[name] == *value), "`helm test` gets in");
    assert_eq!(policy["egress"].as_array().unwrap().len(), 2, "what was asked for, and DNS");
    assert!(all(&render(&json!({ "networkPolicy": { "enabled": false } })), "NetworkPolicy").is_empty());
}

#[test]
fn monitoring_is_whatever_lies_in_the_chart_each_by_its_own_switch() {
    let kinds = ["ServiceMonitor", "PrometheusRule", "ConfigMap"];
    let count = |values: Value| kinds.map(|kind| all(&render(&json!({ "monitoring": values })), kind).len());
    let folder = root().join("charts/trueup/files");
    let alerts = usize::from(folder.join("alerts.yaml").exists());
    let dashboards = std::fs::read_dir(folder.join("dashboards")).map_or(0, Iterator::count);
    assert_eq!(count(json!({})), [0, 0, 0]);
    assert_eq!(count(json!({ "serviceMonitor": { "enabled": true } })), [1, 0, 0]);
    assert_eq!(count(json!({ "prometheusRule": { "enabled": true } })), [0, alerts, 0]);
    assert_eq!(count(json!({ "dashboards": { "enabled": true } })), [0, 0, dashboards]);
    let objects =
        render(&json!({ "monitoring": { "prometheusRule": { "enabled": true, "labels": { "release": "prom" } } } }));
    for rule in all(&objects, "PrometheusRule") {
        let expected: Value = serde_yaml::from_str(&read("charts/trueup/files/alerts.yaml")).unwrap();
        assert_eq!(rule["spec"], expected, "no word of an alert is changed on the way");
        assert_eq!(rule["metadata"]["labels"]["release"], "prom");
    }
}

#[test]
fn owners_of_tenants_see_and_make_what_runs_in_their_namespaces() {
    let objects = render(&json!({}));
    let roles: Vec<&Value> =
        all(&objects, "ClusterRole").into_iter().filter(|it| it["metadata"]["name"] != "trueup").collect();
    assert_eq!(roles.len(), 2);
    for role in roles {
        let kinds = &role["rules"][0]["resources"];
        assert_eq!(
            *kinds,
            json!(["appdeployments", "backups", "backuprepositories"]),
            "tenants and sinks are the platform's own"
        );
        let labels = role["metadata"]["labels"].to_string();
        let expected = role["metadata"]["name"].as_str().unwrap().strip_prefix("trueup-").unwrap();
        assert!(labels.contains(&format!("aggregate-to-{expected}")));
    }
    assert_eq!(all(&render(&json!({ "rbac": { "aggregate": false } })), "ClusterRole").len(), 1);
}
