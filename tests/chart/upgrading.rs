//! From the chart that was released last to this one: nothing that Kubernetes lets nobody change is changed.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::helm::{render, render_from, root};

/// The package of the chart before this one; a release puts its own there.
fn before() -> PathBuf {
    let folder = root().join("tests/chart/before");
    let mut packages = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let package = packages.next().expect("a package");
    assert!(packages.next().is_none(), "there is one chart before this one");
    package
}

/// What of an object cannot be changed, by its kind.
fn fixed(object: &Value) -> Value {
    let spec = &object["spec"];
    match object["kind"].as_str().unwrap() {
        "StatefulSet" => {
            json!([spec["selector"], spec["serviceName"], spec["podManagementPolicy"], spec["volumeClaimTemplates"]])
        }
        "Deployment" => spec["selector"].clone(),
        "PersistentVolumeClaim" => json!([spec["accessModes"], spec["storageClassName"], spec["volumeName"]]),
        "RoleBinding" | "ClusterRoleBinding" => object["roleRef"].clone(),
        "Service" => spec["clusterIP"].clone(),
        _ => Value::Null,
    }
}

/// Every object that has something of that kind, by name.
fn all_fixed(objects: &[Value]) -> Vec<(String, Value)> {
    let named = |object: &Value| format!("{} {}", object["kind"], object["metadata"]["name"]);
    let mut found: Vec<_> =
        objects.iter().map(|object| (named(object), fixed(object))).filter(|(_, fixed)| !fixed.is_null()).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[test]
fn an_upgrade_changes_nothing_that_cannot_be_changed() {
    let package = before();
    for values in [json!({}), json!({ "replicas": 3, "ledger": { "postgres": { "secretName": "db" } } })] {
        let (was, is) = (all_fixed(&render_from(&package, &values)), all_fixed(&render(&values)));
        assert!(was.len() >= 3, "{was:?}");
        for (name, fixed) in was {
            // What is gone is deleted, and what is new is made; what stays has to fit.
            if let Some((_, now)) = is.iter().find(|(other, _)| *other == name) {
                assert_eq!(*now, fixed, "{name}");
            }
        }
    }
}
