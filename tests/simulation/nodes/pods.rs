//! Pods: made by a controller, taken by a node, ready or in trouble.

use std::sync::Arc;

use serde_json::{Value, json};

use super::target;
use crate::apiserver::State;

/// Makes a pod of `owner`'s template.
pub fn make(state: &mut State, owner: &Value, name: &str, labels: &[(&str, &str)], now: &Value) {
    let template = &owner["spec"]["template"];
    let mut all = template["metadata"]["labels"].clone();
    for (label, value) in labels {
        all[*label] = json!(value);
    }
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": owner["metadata"]["namespace"], "labels": all,
            "ownerReferences": [{
                "apiVersion": owner["apiVersion"], "kind": owner["kind"],
                "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "controller": true,
            }],
        },
        "spec": template["spec"],
    });
    // In a namespace that is going nothing can be made.
    let _ = state.create(&target("", "pods", &pod), pod, now.clone());
}

/// Those of `pods` that belong to `owner`, in the order of their names.
pub fn of(pods: &[Arc<Value>], owner: &Value) -> Vec<Arc<Value>> {
    let uid = &owner["metadata"]["uid"];
    pods.iter().filter(|pod| pod["metadata"]["ownerReferences"][0]["uid"] == *uid).cloned().collect()
}

pub fn is_ready(pod: &Value) -> bool {
    pod["status"]["conditions"][0]["status"] == "True"
}

/// The status of a pod that runs, ready or in trouble.
pub fn running(pod: &Value, ready: bool, trouble: Option<&str>, now: &Value) -> Value {
    let was = &pod["status"]["conditions"][0];
    let status = if ready { "True" } else { "False" };
    let since = if was["status"] == status { was["lastTransitionTime"].clone() } else { now.clone() };
    let state = trouble.map_or_else(|| json!({ "running": {} }), |reason| json!({ "waiting": { "reason": reason } }));
    json!({
        "phase": "Running",
        "conditions": [{ "type": "Ready", "status": status, "lastTransitionTime": since }],
        "containerStatuses": [{
            "name": "app", "image": pod["spec"]["containers"][0]["image"], "imageID": "", "ready": ready,
            "restartCount": 0, "state": state,
        }],
    })
}
