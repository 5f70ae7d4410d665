//! Deployments: pods of the newest template replace the others as soon as they are ready, and the status says how far that is.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;
use trueup::{api::label, domain::Timestamp};

use super::{Nodes, all, pods, show, target, text};
use crate::apiserver::State;

/// How long a pod takes to be ready.
const STARTING: Duration = Duration::from_secs(2);
const HASH: &str = "pod-template-hash";

pub fn control(nodes: &mut Nodes, state: &mut State, now: &Value) {
    for deployment in all(state, "apps", "deployments") {
        if deployment["metadata"]["deletionTimestamp"].is_null() {
            let hash = hash(&deployment["spec"]["template"]);
            scale(state, &deployment, &hash, now);
            tend(nodes, state, &deployment, now);
            report(nodes, state, &deployment, &hash, now);
        }
    }
}

fn hash(template: &Value) -> String {
    let mut hasher = DefaultHasher::new();
    template.to_string().hash(&mut hasher);
    format!("{:06x}", hasher.finish() & 0xff_ffff)
}

fn is_of(pod: &Value, hash: &str) -> bool {
    pod["metadata"]["labels"][HASH] == hash
}

fn wanted(deployment: &Value) -> usize {
    usize::try_from(deployment["spec"]["replicas"].as_u64().unwrap_or(1)).expect("it is small")
}

/// Makes and removes pods. What serves goes only when what replaces it is ready.
fn scale(state: &mut State, deployment: &Value, hash: &str, now: &Value) {
    let name = text(&deployment["metadata"]["name"]);
    let wanted = wanted(deployment);
    let (newest, older): (Vec<_>, Vec<_>) =
        pods::of(&all(state, "", "pods"), deployment).into_iter().partition(|pod| is_of(pod, hash));
    let is_there = |name: &str| newest.iter().any(|pod| pod["metadata"]["name"] == name);
    let free = (0..).map(|number| format!("{name}-{hash}-{number}")).filter(|name| !is_there(name));
    for name in free.take(wanted.saturating_sub(newest.len())) {
        pods::make(state, deployment, &name, &[(HASH, hash)], now);
    }
    let ready = newest.iter().filter(|pod| pods::is_ready(pod)).count();
    let kept = wanted.saturating_sub(ready);
    for pod in newest.iter().skip(wanted).chain(older.iter().skip(kept)) {
        let _ = state.delete(&target("", "pods", pod), &Value::Null, now.clone());
    }
}

/// Lets pods become ready, or fail.
fn tend(nodes: &mut Nodes, state: &mut State, deployment: &Value, now: &Value) {
    let app = text(&deployment["metadata"]["labels"][label::APP]);
    let sick = nodes.ailments.ails(text(&deployment["metadata"]["namespace"]), app);
    for pod in pods::of(&all(state, "", "pods"), deployment) {
        let at = target("", "pods", &pod);
        let uid = text(&pod["metadata"]["uid"]);
        if text(&pod["spec"]["containers"][0]["image"]).contains("missing") {
            show(state, &at, pods::running(&pod, false, Some("ImagePullBackOff"), now));
        } else if sick {
            show(state, &at, pods::running(&pod, false, Some("CrashLoopBackOff"), now));
        } else if !pods::is_ready(&pod) && nodes.has_passed(uid, STARTING) {
            show(state, &at, pods::running(&pod, true, None, now));
        }
    }
}

/// Writes the status, with its conditions as the Deployment controller moves them.
fn report(nodes: &mut Nodes, state: &mut State, deployment: &Value, hash: &str, now: &Value) {
    let pods = pods::of(&all(state, "", "pods"), deployment);
    let updated = pods.iter().filter(|pod| is_of(pod, hash)).count();
    let ready = pods.iter().filter(|pod| pods::is_ready(pod)).count();
    let was = &deployment["status"];
    let known = nodes.templates.insert(text(&deployment["metadata"]["uid"]).to_owned(), hash.to_owned());
    let counts = (pods.len(), updated, ready);
    let progressing = progressing(nodes, deployment, counts, known.as_deref() != Some(hash), now);
    let available = condition("Available", ready >= wanted(deployment), "MinimumReplicas", &was["conditions"][1], now);
    let status = json!({
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": pods.len(), "updatedReplicas": updated, "readyReplicas": ready, "availableReplicas": ready,
        "unavailableReplicas": wanted(deployment).saturating_sub(ready),
        "conditions": [progressing, available],
    });
    show(state, &target("apps", "deployments", deployment), status);
}

/// The condition by which a rollout is judged.
fn progressing(
    nodes: &mut Nodes,
    deployment: &Value,
    (replicas, updated, ready): (usize, usize, usize),
    is_new: bool,
    now: &Value,
) -> Value {
    let status = &deployment["status"];
    let was = &status["conditions"][0];
    let moved = |reason: &str| {
        let mut condition = condition("Progressing", true, reason, was, now);
        condition["lastUpdateTime"] = now.clone();
        condition
    };
    if is_new || was.is_null() {
        return moved("NewReplicaSetCreated");
    }
    let wanted = wanted(deployment);
    let complete = replicas == wanted && updated == wanted && ready == wanted;
    let done = was["reason"] == "NewReplicaSetAvailable";
    if done && replicas == updated {
        return was.clone();
    }
    if complete {
        return moved("NewReplicaSetAvailable");
    }
    let count = |field: &str| usize::try_from(status[field].as_u64().unwrap_or(0)).expect("it is small");
    if updated > count("updatedReplicas") || ready > count("readyReplicas") {
        return moved("ReplicaSetUpdated");
    }
    let deadline = deployment["spec"]["progressDeadlineSeconds"].as_u64().unwrap_or(600);
    let time = |value: &Value| text(value).parse::<Timestamp>().expect("it is a time");
    let passed = time(now).since(time(&was["lastUpdateTime"]));
    let patience = Duration::from_secs(deadline);
    if passed < patience {
        nodes.look_again(Instant::now() + patience.saturating_sub(passed));
        return was.clone();
    }
    if was["reason"] == "ProgressDeadlineExceeded" {
        return was.clone();
    }
    let mut condition = condition("Progressing", false, "ProgressDeadlineExceeded", was, now);
    condition["lastUpdateTime"] = now.clone();
    condition
}

/// A condition whose time moves when its status does.
fn condition(kind: &str, holds: bool, reason: &str, was: &Value, now: &Value) -> Value {
    let status = if holds { "True" } else { "False" };
    let since = if was["status"] == status { was["lastTransitionTime"].clone() } else { now.clone() };
    json!({ "type": kind, "status": status, "reason": reason, "lastTransitionTime": since })
}
