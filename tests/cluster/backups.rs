//! Backups, as far as simulated pods can tell: the Job's shape and number, and what becomes of how it ended.
//!
//! That a dump really arrives in a repository is tested where containers really run.

use std::time::Duration;

use kube::{ResourceExt as _, core::DynamicObject};
use serde_json::{Value, json};
use trueup::domain::{Ended, Failure, FailureReason, Hash, Manifest, Sequence, Timestamp};

use crate::support::*;

/// A tenant of the test's own, with a repository on a volume.
async fn stage(name: &str) -> (Visit, String) {
    let visit = Visit::shared().await;
    visit.create(&tenant(name, &json!({}))).await;
    visit.current("Tenant", None, name).await;
    let namespace = format!("{name}-prod");
    for manifest in vault(&namespace) {
        visit.create(&manifest).await;
    }
    visit.create(&repository(&namespace, "vault", &json!({}))).await;
    visit.current("BackupRepository", Some(&namespace), "vault").await;
    (visit, namespace)
}

/// Dumps in a pod that runs until the test says how it ended.
pub fn held() -> Value {
    json!({ "source": { "command": { "image": "registry.example/hold:1", "command": ["dump", "--all"], "fileName": "all.sql" } } })
}

pub fn manifest() -> Manifest {
    Manifest {
        snapshot_id: "ab".repeat(32),
        file: "all.sql".into(),
        size_bytes: 9_007_199_254_740_993,
        sha256: Hash::ZERO,
        dump_tool: "dump 1.0".into(),
        repository_tool: "restic 0.14.0".into(),
        started_at: "2026-01-31T12:00:00Z".parse::<Timestamp>().unwrap(),
        completed_at: "2026-01-31T12:00:01Z".parse::<Timestamp>().unwrap(),
        superseded_left: 0,
    }
}

/// The only Job of that name's pod, once it runs.
pub async fn running_pod(visit: &Visit, namespace: &str, job: &str) -> DynamicObject {
    eventually(PATIENCE, &format!("Job {job} has a pod that runs"), || async {
        let pods = visit.list("Pod", Some(namespace)).await;
        let of_job =
            |pod: &DynamicObject| pod.labels().get("batch.kubernetes.io/job-name").is_some_and(|name| name == job);
        let pod = pods.into_iter().find(|pod| of_job(pod) && pod.data["status"]["phase"] == "Running");
        pod.ok_or_else(|| "there is none".to_owned())
    })
    .await
}

/// Ends a pod as its node would: each container with an exit code and its last words.
pub async fn end(visit: &Visit, pod: &DynamicObject, containers: &[(&str, i32, &str)]) {
    let ended = |(name, code, said): &(&str, i32, &str)| {
        json!({
            "name": name, "image": "x", "imageID": "x", "ready": false, "restartCount": 0,
            "state": { "terminated": {
                "exitCode": code, "reason": if *code == 0 { "Completed" } else { "Error" }, "message": said,
                "startedAt": "2026-01-31T12:00:00Z", "finishedAt": "2026-01-31T12:00:02Z",
            } },
        })
    };
    let failed = containers.iter().any(|(_, code, _)| *code != 0);
    let status = json!({
        "phase": if failed { "Failed" } else { "Succeeded" },
        "containerStatuses": containers.iter().map(ended).collect::<Vec<_>>(),
        "conditions": [{ "type": "Ready", "status": "False", "lastTransitionTime": "2026-01-31T12:00:02Z" }],
    });
    visit.restatus("Pod", pod.namespace().as_deref(), &pod.name_any(), &status).await;
}

fn message(object: &DynamicObject) -> String {
    condition(object, "Ready")["message"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_backup_waits_for_its_repository_and_says_what_is_missing() {
    let visit = Visit::shared().await;
    visit.create(&tenant("waits", &json!({}))).await;
    visit.current("Tenant", None, "waits").await;
    let inside = Some("waits-prod");
    let made = visit.create(&backup("waits-prod", "copy", &held())).await;
    let waits = |words: &'static [&'static str]| {
        move |object: &DynamicObject| {
            let all = words.iter().all(|word| message(object).contains(word));
            condition(object, "Ready")["reason"] == "RepositoryNotReady"
                && reading(object) == Reading::InProgress
                && all
        }
    };
    visit.until("Backup", inside, "copy", "misses its repository", waits(&["vault", "does not exist"])).await;
    visit.create(&repository("waits-prod", "vault", &json!({}))).await;
    let broken = visit.stalled("BackupRepository", inside, "vault", "NotUsable").await;
    assert!(
        message(&broken).contains("Secret vault does not exist")
            && message(&broken).contains("PersistentVolumeClaim vault"),
        "{}",
        message(&broken)
    );
    visit
        .until("Backup", inside, "copy", "passes that on", waits(&["Secret vault", "PersistentVolumeClaim vault"]))
        .await;
    assert!(visit.list("Job", inside).await.is_empty(), "nothing is begun before");
    for manifest in vault("waits-prod") {
        visit.create(&manifest).await;
    }
    visit.state("Backup", inside, "copy", "Running").await;
    let story = visit.story(&uid(&made)).await;
    assert_eq!(story.steps(), ["Pending:Created", "Running:BackupStarted"]);
    reckon(&visit, Some("waits")).await;
}

#[tokio::test]
async fn a_backup_has_one_job_that_is_named_after_its_claim_and_seals_once() {
    let (visit, namespace) = stage("seals").await;
    let inside = Some(namespace.as_str());
    let made = visit.create(&backup(&namespace, "copy", &held())).await;
    let shown = visit.state("Backup", inside, "copy", "Running").await;
    let claim = visit.story(&uid(&made)).await;
    assert_eq!(claim.last().sequence, Sequence::new(2));
    let name = format!("copy-{}-2", &uid(&made).as_str()[..8]);
    assert_eq!(shown.data["status"]["job"], name);
    let job = visit.until("Job", inside, &name, "is there", |_| true).await;
    assert_eq!(visit.list("Job", inside).await.len(), 1);
    assert_eq!(job.labels()["trueup.dev/backup"], "copy");
    assert_eq!(job.annotations()["trueup.dev/owner-uid"], uid(&made).as_str());
    assert!(job.owner_references().is_empty(), "a Job outlives its Backup until it was seen to end");
    let spec = &job.data["spec"];
    assert_eq!((&spec["backoffLimit"], &spec["activeDeadlineSeconds"]), (&json!(0), &json!(3600)));
    assert!(spec["ttlSecondsAfterFinished"].as_i64() >= Some(3600), "it stays as a tombstone for an hour at least");
    let pod = &spec["template"]["spec"];
    assert_eq!((&pod["restartPolicy"], &pod["automountServiceAccountToken"]), (&json!("Never"), &json!(false)));
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let containers: Vec<_> =
        pod["containers"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(containers, ["dump", "mover"]);
    assert_eq!(
        pod["containers"][0]["image"], "registry.example/hold:1",
        "the dump runs in the image that was asked for"
    );
    let secrets: Vec<_> = pod["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["env"].to_string().contains("RESTIC_PASSWORD"))
        .collect();
    assert_eq!(secrets, [false, true], "the repository's key is the mover's alone");

    let running = running_pod(&visit, &namespace, &name).await;
    let sealed = Ended::Sealed(manifest()).to_message();
    end(&visit, &running, &[("dump", 0, ""), ("mover", 0, &sealed)]).await;
    let shown = visit.current("Backup", inside, "copy").await;
    let artifact = &shown.data["status"]["artifact"];
    assert_eq!(shown.data["status"]["state"], "Completed");
    assert_eq!((&artifact["shortId"], &artifact["sizeBytes"]), (&json!("abababab"), &json!(9_007_199_254_740_993_i64)));
    assert_eq!((&artifact["file"], &artifact["size"]), (&json!("all.sql"), &json!("8.0 PiB")));
    assert_eq!(condition(&shown, "Finished")["status"], "True");
    let story = visit.story(&uid(&made)).await;
    assert_eq!(story.steps(), ["Pending:Created", "Running:BackupStarted", "Completed:BackupSealed"]);
    assert_eq!(story.billable().storage_bytes, 9_007_199_254_740_993);
    let at = story.events().pop().unwrap();
    assert!(at.effective_at >= at.not_before && at.effective_at <= at.not_after);
    assert_eq!(visit.list("Job", inside).await.len(), 1, "and never a second");
    reckon(&visit, Some("seals")).await;

    // What is retained is kept, and no longer billed.
    visit.delete("Backup", inside, "copy").await;
    visit.gone("Backup", inside, "copy").await;
    let story = visit.story(&uid(&made)).await;
    assert_eq!(story.steps()[3..], ["Terminating:DeletionRequested", "Deleted:ArtifactRetained"]);
    assert_eq!(story.billable().storage_bytes, 0);
    reckon(&visit, Some("seals")).await;
}

#[tokio::test]
async fn a_backup_that_fails_says_why_and_keeps_the_words_out_of_what_is_sent() {
    let (visit, namespace) = stage("fails").await;
    let inside = Some(namespace.as_str());
    let dump = visit.create(&backup(&namespace, "dump", &held())).await;
    let mover = visit.create(&backup(&namespace, "mover", &held())).await;
    visit.create(&backup(&namespace, "silent", &json!({}))).await;
    visit
        .create(&backup(
            &namespace,
            "crash",
            &json!({ "source": { "command": { "image": "registry.example/crash:1" } } }),
        ))
        .await;
    let job = |object: &DynamicObject| format!("{}-{}-2", object.name_any(), &uid(object).as_str()[..8]);
    let pod = running_pod(&visit, &namespace, &job(&dump)).await;
    let refused = Ended::Failed(Failure { reason: FailureReason::DumpFailed, message: "the dump failed".into() });
    let words = "dump: error: connection to host db lost; password=hush";
    end(&visit, &pod, &[("dump", 1, words), ("mover", 1, &refused.to_message())]).await;
    let pod = running_pod(&visit, &namespace, &job(&mover)).await;
    let locked = Ended::Failed(Failure { reason: FailureReason::RepositoryLocked, message: "held by host-7".into() });
    end(&visit, &pod, &[("dump", 0, ""), ("mover", 1, &locked.to_message())]).await;

    for (name, expected) in [
        ("dump", "connection to host db lost"),
        ("mover", "held by host-7"),
        ("silent", "without a message"),
        ("crash", "exit code 1"),
    ] {
        let shown = visit.stalled("Backup", inside, name, "BackupFailed").await;
        assert_eq!(condition(&shown, "Finished")["status"], "True", "{name}");
        assert!(shown.data["status"]["artifact"].is_null(), "{name} leaves nothing that looks like an artifact");
        let failure = shown.data["status"]["failure"].as_str().unwrap_or_default();
        assert!(failure.contains(expected), "{name}: expected {expected:?} in {failure:?}");
        let story = visit.story(&uid(&shown)).await;
        assert_eq!(story.states(), ["Pending", "Running", "Failed"], "{name}");
        assert_eq!(story.billable(), trueup::domain::Billable::ZERO, "{name}");
        let last = story.last();
        assert!(last.evidence.as_deref().unwrap_or_default().contains(expected), "{name}: {:?}", last.evidence);
        assert!(!String::from_utf8_lossy(&last.body).contains(expected), "{name}: evidence is never sent");
    }
    assert_eq!(visit.list("Job", inside).await.len(), 4, "none is tried a second time");
    reckon(&visit, Some("fails")).await;
}

#[tokio::test]
async fn an_artifact_that_is_to_go_is_removed_before_the_backup_is_gone() {
    let (visit, namespace) = stage("removes").await;
    let inside = Some(namespace.as_str());
    let made = visit.create(&backup(&namespace, "copy", &merged(held(), &json!({ "deletionPolicy": "Delete" })))).await;
    let name = |sequence: u32| format!("copy-{}-{sequence}", &uid(&made).as_str()[..8]);
    let pod = running_pod(&visit, &namespace, &name(2)).await;
    end(&visit, &pod, &[("dump", 0, ""), ("mover", 0, &Ended::Sealed(manifest()).to_message())]).await;
    visit.state("Backup", inside, "copy", "Completed").await;
    visit.delete("Backup", inside, "copy").await;
    // Under kwok the removal's pod ends at once and says nothing, which is no proof.
    let shown = visit.until("Backup", inside, "copy", "says that it was not removed", |object| {
        condition(object, "Stalled")["reason"] == "ArtifactNotRemoved"
    });
    let shown = shown.await;
    assert!(message(&shown).contains(&name(4)), "{}", message(&shown));
    assert!(visit.find("Job", inside, &name(2)).await.is_none(), "what made it went first");
    let removal = visit.get("Job", inside, &name(4)).await;
    assert!(removal.data["spec"]["template"]["spec"]["containers"][0]["args"].to_string().contains("forget"));
    let story = visit.story(&uid(&made)).await;
    assert_eq!(story.states(), ["Pending", "Running", "Completed", "Terminating"]);
    assert_eq!(story.billable().storage_bytes, manifest().size_bytes, "what is still there is still billed");
    // The way out that the message names.
    visit.respec("Backup", inside, "copy", &json!({ "deletionPolicy": "Retain" })).await;
    visit.gone("Backup", inside, "copy").await;
    reckon(&visit, Some("removes")).await;
}

#[tokio::test]
async fn backups_with_artifacts_to_remove_hold_up_neither_their_namespace_nor_themselves() {
    let (visit, namespace) = stage("goes").await;
    let inside = Some(namespace.as_str());
    let remove = json!({ "deletionPolicy": "Delete" });
    let done = visit.create(&backup(&namespace, "done", &merged(held(), &remove))).await;
    let busy = visit.create(&backup(&namespace, "busy", &merged(held(), &remove))).await;
    let lost = visit
        .create(&backup(
            &namespace,
            "lost",
            &merged(remove.clone(), &json!({ "repositoryRef": { "name": "nowhere" } })),
        ))
        .await;
    let pod = running_pod(&visit, &namespace, &format!("done-{}-2", &uid(&done).as_str()[..8])).await;
    end(&visit, &pod, &[("dump", 0, ""), ("mover", 0, &Ended::Sealed(manifest()).to_message())]).await;
    visit.state("Backup", inside, "done", "Completed").await;
    visit.state("Backup", inside, "busy", "Running").await;
    visit.state("Backup", inside, "lost", "Pending").await;

    visit.delete("Backup", inside, "lost").await;
    visit.gone("Backup", inside, "lost").await;
    let story = visit.story(&uid(&lost)).await;
    assert_eq!(story.steps(), ["Pending:Created", "Terminating:DeletionRequested", "Deleted:Deleted"]);

    visit.delete("Tenant", None, "goes").await;
    visit.gone_in("Tenant", None, "goes", 2 * PATIENCE).await;
    for object in [done, busy] {
        let story = visit.recorded(&uid(&object), "Deleted").await;
        assert_eq!(story.last().reason, "ArtifactAbandoned", "{:?}", story.steps());
    }
    reckon(&visit, Some("goes")).await;
}

#[tokio::test]
async fn a_backup_that_takes_too_long_has_failed() {
    let (visit, namespace) = stage("slow").await;
    let inside = Some(namespace.as_str());
    let made = visit.create(&backup(&namespace, "copy", &merged(held(), &json!({ "timeoutSeconds": 1 })))).await;
    visit.stalled("Backup", inside, "copy", "BackupTimedOut").await;
    let story = visit.story(&uid(&made)).await;
    assert_eq!(story.steps(), ["Pending:Created", "Running:BackupStarted", "Failed:BackupTimedOut"]);
    throughout(Duration::from_secs(1), "there is one Job", || async {
        let jobs = visit.list("Job", inside).await.len();
        if jobs == 1 { Ok(()) } else { Err(format!("there are {jobs}")) }
    })
    .await;
    reckon(&visit, Some("slow")).await;
}
