//! The garbage collector: what has no owner any more goes, and what is deleted in the foreground waits for what it owns.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{all, target, text};
use crate::apiserver::State;

/// Holds an object until all that it owns is gone.
pub const FOREGROUND: &str = "foregroundDeletion";

/// The kinds that own pods.
const OWNERS: [(&str, &str); 2] = [("apps", "deployments"), ("batch", "jobs")];

pub fn collect(state: &mut State, now: &Value) {
    let owners: Vec<(&str, &str, Arc<Value>)> = OWNERS
        .into_iter()
        .flat_map(|(group, plural)| all(state, group, plural).into_iter().map(move |owner| (group, plural, owner)))
        .collect();
    let is_leaving = |owner: &Value| !owner["metadata"]["deletionTimestamp"].is_null();
    for pod in all(state, "", "pods") {
        let uid = &pod["metadata"]["ownerReferences"][0]["uid"];
        let stays = owners.iter().any(|(_, _, owner)| owner["metadata"]["uid"] == *uid && !is_leaving(owner));
        if !uid.is_null() && !stays {
            let _ = state.delete(&target("", "pods", &pod), &Value::Null, now.clone());
        }
    }
    let left = all(state, "", "pods");
    for (group, plural, owner) in owners.iter().filter(|(_, _, owner)| is_leaving(owner)) {
        let owns = |pod: &Value| pod["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"];
        if left.iter().any(|pod| owns(pod)) {
            continue;
        }
        let finalizers = owner["metadata"]["finalizers"].as_array();
        let others: Vec<&Value> =
            finalizers.into_iter().flatten().filter(|finalizer| text(finalizer) != FOREGROUND).collect();
        let at = target(group, plural, owner);
        let mut object = Value::clone(owner);
        object["metadata"]["finalizers"] = json!(others);
        if let Ok(kept) = state.kept(&at).cloned() {
            state.update(&at, kept, object);
        }
    }
}
