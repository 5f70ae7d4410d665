//! Jobs: one pod each, which runs for a while and ends well, unless its image says otherwise.

use std::time::Duration;

use serde_json::{Value, json};
use trueup::domain::{Ended, Hash, Manifest, Timestamp};

use super::{Nodes, all, pods, show, target, text};
use crate::apiserver::State;

/// How long a pod works.
const WORKING: Duration = Duration::from_secs(3);
const JOB_NAME: &str = "batch.kubernetes.io/job-name";

pub fn control(nodes: &mut Nodes, state: &mut State, now: &Value) {
    for job in all(state, "batch", "jobs") {
        if !job["metadata"]["deletionTimestamp"].is_null() || !job["status"]["conditions"].is_null() {
            continue;
        }
        let name = text(&job["metadata"]["name"]);
        match pods::of(&all(state, "", "pods"), &job).first() {
            None => pods::make(state, &job, &format!("{name}-pod"), &[(JOB_NAME, name)], now),
            Some(pod) if pod["status"].is_null() => {
                if nodes.has_passed(text(&pod["metadata"]["uid"]), WORKING) {
                    show(state, &target("", "pods", pod), ended(pod, now));
                }
            }
            // The pod ends first, and the Job a moment later.
            Some(pod) => show(state, &target("batch", "jobs", &job), outcome(pod, now)),
        }
    }
}

fn outcome(pod: &Value, now: &Value) -> Value {
    let failed = pod["status"]["phase"] == "Failed";
    let kind = if failed { "Failed" } else { "Complete" };
    json!({ "conditions": [{ "type": kind, "status": "True", "lastTransitionTime": now, "message": "" }] })
}

/// How a pod ends: each container with an exit code and its last words.
fn ended(pod: &Value, now: &Value) -> Value {
    let containers = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
    let fails = containers.iter().any(|container| text(&container["image"]).contains("broken"));
    let statuses: Vec<Value> = containers
        .iter()
        .map(|container| {
            let removes = container["args"].as_array().is_some_and(|args| args.contains(&json!("forget")));
            let said = match text(&container["name"]) {
                "mover" if removes => Ended::Forgotten(1).to_message(),
                "mover" if !fails => Ended::Sealed(manifest(now)).to_message(),
                _ => String::new(),
            };
            json!({
                "name": container["name"], "image": container["image"], "imageID": "", "ready": false, "restartCount": 0,
                "state": { "terminated": {
                    "exitCode": i32::from(fails), "reason": if fails { "Error" } else { "Completed" }, "message": said,
                    "startedAt": now, "finishedAt": now,
                } },
            })
        })
        .collect();
    json!({
        "phase": if fails { "Failed" } else { "Succeeded" },
        "conditions": [{ "type": "Ready", "status": "False", "lastTransitionTime": now }],
        "containerStatuses": statuses,
    })
}

fn manifest(now: &Value) -> Manifest {
    let now: Timestamp = text(now).parse().expect("it is a time");
    Manifest {
        snapshot_id: "ab".repeat(32),
        file: "all.sql".into(),
        size_bytes: 4_096,
        sha256: Hash::ZERO,
        dump_tool: "dump 1.0".into(),
        repository_tool: "restic 0.14.0".into(),
        started_at: now,
        completed_at: now,
        superseded_left: 0,
    }
}
