//! The situations that people ask about, each with the plan that it gets.

use super::*;
use crate::{
    domain::{Effective, Hash},
    lifecycle::{
        ChildKind, ObjectKey,
        fixtures::{NOW, head, object},
    },
};

pub(in crate::lifecycle) fn sealed() -> Manifest {
    let at = Timestamp::from_micros(1_799_999_999_000_000);
    Manifest {
        snapshot_id: "ab".repeat(32),
        file: "shop.sql".into(),
        size_bytes: 12_345,
        sha256: Hash::ZERO,
        dump_tool: "pg_dump (PostgreSQL) 15".into(),
        repository_tool: "restic 0.14.0".into(),
        started_at: at,
        completed_at: at,
        superseded_left: 0,
    }
}

#[test]
fn lengths_read_well() {
    assert_eq!(for_people(999), "999 B");
    assert_eq!(for_people(12_345), "12.1 KiB");
    assert_eq!(for_people(5 * 1024 * 1024 * 1024), "5.0 GiB");
}

fn spec(policy: &str) -> BackupSpec {
    serde_json::from_value(serde_json::json!({
        "source": { "command": { "image": "tool:1", "command": ["dump"] } },
        "repositoryRef": { "name": "main" },
        "deletionPolicy": policy,
    }))
    .unwrap()
}

fn seen() -> Observed {
    Observed {
        member: Some(Membership {
            tenant: crate::domain::TenantName::new("acme"),
            account: "acct".into(),
            plan: "small".into(),
            suspended: false,
            restricted: false,
        }),
        repository: Some(RepositoryView {
            spec: serde_json::from_value(serde_json::json!({
                "filesystem": { "claimName": "c" }, "keySecretRef": { "name": "k", "key": "k" },
            }))
            .unwrap(),
            trouble: None,
        }),
        mover_image: "mover:1".into(),
        ..Observed::default()
    }
}

fn ended(job: &Child, kind: &str, container: &str, exit_code: i32, message: String) -> (Child, ContainerEnd) {
    let mut job = job.clone();
    job.body["status"] = serde_json::json!({
        "conditions": [{ "type": kind, "status": "True", "lastTransitionTime": NOW }],
    });
    let end = ContainerEnd {
        job: job.key.name.clone(),
        container: container.into(),
        exit_code,
        reason: "Error".into(),
        message,
        finished_at: Some(NOW),
    };
    (job, end)
}

fn running(spec: &BackupSpec) -> (Head, Child) {
    let head = Head { entered: crate::domain::Sequence::new(7), ..head(Kind::Backup, "Running") };
    let plan = decide(&object(spec, "nightly", Some("acme-prod")), &seen(), Some(&head), NOW);
    let job = plan.apply.into_iter().next().unwrap();
    (head, Child { key: job.key, body: job.body, answer_to: None })
}

#[test]
fn a_run_is_claimed_in_the_ledger_before_its_job_is_made() {
    let spec = spec("Retain");
    let backup = object(&spec, "nightly", Some("acme-prod"));
    let plan = decide(&backup, &seen(), Some(&head(Kind::Backup, "Pending")), NOW);
    assert_eq!(plan.transition.unwrap().to.as_str(), "Running");
    assert!(plan.apply.is_empty());
    let (_, job) = running(&spec);
    assert_eq!(job.key.name, "nightly-11111111-7", "named after the row that claimed it");
}

#[test]
fn a_dump_that_fails_half_way_is_a_failure_with_the_tail_of_its_own_error() {
    let spec = spec("Retain");
    let (head, job) = running(&spec);
    let (job, end) = ended(&job, "Failed", "dump", 1, "pg_dump: error: connection lost".into());
    let seen = Observed { jobs: vec![job], ends: vec![end], ..seen() };
    let failed = decide(&object(&spec, "nightly", Some("acme-prod")), &seen, Some(&head), NOW).transition.unwrap();
    assert_eq!((failed.to.as_str(), failed.billable), ("Failed", Billable::ZERO));
    assert!(failed.evidence.unwrap().ends_with("pg_dump: error: connection lost"));
}

#[test]
fn an_artifact_counts_only_with_its_manifest() {
    let spec = spec("Retain");
    let backup = object(&spec, "nightly", Some("acme-prod"));
    let (head, job) = running(&spec);
    let (job, end) = ended(&job, "Complete", "mover", 0, Ended::Sealed(sealed()).to_message());
    let whole = Observed { jobs: vec![job.clone()], ends: vec![end], ..seen() };
    let done = decide(&backup, &whole, Some(&head), NOW).transition.unwrap();
    assert_eq!((done.to.as_str(), done.billable.storage_bytes), ("Completed", 12_345));
    let podless = Observed { jobs: vec![job], ..seen() };
    assert_eq!(decide(&backup, &podless, Some(&head), NOW).transition.unwrap().to.as_str(), "Failed");
}

#[test]
fn an_artifact_does_not_hold_up_a_namespace_that_is_going_nor_one_that_was_never_made() {
    let spec = spec("Delete");
    let mut backup = object(&spec, "nightly", Some("acme-prod"));
    backup.deleting_since = Some(NOW);
    let head = head(Kind::Backup, "Terminating");
    let going = Observed { ending: true, ..seen() };
    // Its tenant may be another by now, who has not taken the namespace over: that cannot be done any more.
    for going in [Observed { member: None, repository: None, ..going.clone() }, going] {
        let closed = decide(&backup, &going, Some(&head), NOW).transition.unwrap();
        assert_eq!((closed.to.as_str(), closed.reason), ("Deleted", reasons::ARTIFACT_ABANDONED));
    }
    let waited = Observed { never_ran: true, repository: None, ..seen() };
    let closed = decide(&backup, &waited, Some(&head), NOW).transition.unwrap();
    assert_eq!((closed.to.as_str(), closed.reason), ("Deleted", reasons::DELETED));
}

#[test]
fn an_artifact_that_is_to_go_is_removed_before_the_stream_is_closed() {
    let spec = spec("Delete");
    let mut backup = object(&spec, "nightly", Some("acme-prod"));
    backup.deleting_since = Some(NOW);
    let head = head(Kind::Backup, "Terminating");
    let plan = decide(&backup, &seen(), Some(&head), NOW);
    assert_eq!(plan.transition, None);
    let claimed = ["nightly-11111111-1", "nightly-11111111-2"];
    let claimed = claimed.map(|job| ObjectKey::in_namespace(ChildKind::Job, "acme-prod", job));
    assert_eq!(plan.gone, claimed, "whoever stores an artifact must have ended, also if a cache does not show it");
    let removal = plan.apply.into_iter().next().unwrap();
    let removal = Child { key: removal.key, body: removal.body, answer_to: None };
    let (failed, end) = ended(&removal, "Failed", "mover", 1, "no".into());
    let stuck = Observed { jobs: vec![failed], ends: vec![end], ..seen() };
    assert_eq!(decide(&backup, &stuck, Some(&head), NOW).transition, None, "it is said, and nothing is closed");
    let (done, end) = ended(&removal, "Complete", "mover", 0, Ended::Forgotten(1).to_message());
    let gone = Observed { jobs: vec![done], ends: vec![end], ..seen() };
    let closed = decide(&backup, &gone, Some(&head), NOW).transition.unwrap();
    assert_eq!((closed.to.as_str(), closed.reason), ("Deleted", reasons::ARTIFACT_REMOVED));
}

#[test]
fn how_a_run_ended_while_nobody_watched_is_dated_by_its_container_then_by_its_job() {
    let ago = |seconds: i64| Timestamp::from_micros(NOW.as_micros() - seconds * 1_000_000);
    let spec = spec("Retain");
    let backup = Object { watched: false, ..object(&spec, "nightly", Some("acme-prod")) };
    let (head, job) = running(&spec);
    let began = Head { effective_at: ago(100), entered_at: ago(100), ..head };
    let when = |kind: &str, reason: &str, ends: Vec<ContainerEnd>| {
        let mut job = job.clone();
        let condition =
            serde_json::json!({ "type": kind, "status": "True", "reason": reason, "lastTransitionTime": ago(20) });
        job.body["status"] = serde_json::json!({ "conditions": [condition] });
        let seen = Observed { jobs: vec![job], ends, ..seen() };
        decide(&backup, &seen, Some(&began), NOW).transition.unwrap().effective
    };
    let end = |container: &str, exit_code, message: String| ContainerEnd {
        finished_at: Some(ago(25)),
        ..ended(&job, "Complete", container, exit_code, message).1
    };
    let sealed = Ended::Sealed(sealed()).to_message();
    assert_eq!(when("Complete", "", vec![end("mover", 0, sealed)]), Effective::reported(ago(25), NOW));
    assert_eq!(when("Failed", "", vec![end("dump", 1, "no".into())]), Effective::reported(ago(25), NOW));
    assert_eq!(when("Failed", "", vec![]), Effective::reported(ago(20), NOW));
    let late = when("Failed", "DeadlineExceeded", vec![end("dump", 137, "killed".into())]);
    assert_eq!(late, Effective::reported(ago(20), NOW), "it was late when the Job was judged");
}

#[test]
fn a_run_that_nobody_ended_timed_out_when_its_time_was_over() {
    let spec = spec("Retain");
    let backup = Object { watched: false, ..object(&spec, "nightly", Some("acme-prod")) };
    let (head, job) = running(&spec);
    let allowed = Duration::from_secs(u64::try_from(spec.timeout_seconds).unwrap()) + JOB_GRACE;
    let began = Timestamp::from_micros(NOW.as_micros() - 2 * i64::try_from(allowed.as_micros()).unwrap());
    let head = Head { effective_at: began, entered_at: began, ..head };
    let over = decide(&backup, &Observed { jobs: vec![job], ..seen() }, Some(&head), NOW).transition.unwrap();
    let end = began.plus(allowed);
    assert_eq!((over.reason, over.effective), (reasons::BACKUP_TIMED_OUT, Effective::inferred(end, end)));
}

#[test]
fn a_claim_is_dated_by_the_row_that_makes_it() {
    let spec = spec("Retain");
    let backup = object(&spec, "nightly", Some("acme-prod"));
    let claimed = decide(&backup, &seen(), Some(&head(Kind::Backup, "Pending")), NOW).transition.unwrap();
    assert_eq!(claimed.effective, Effective::observed(NOW, NOW));
}

#[test]
fn a_deletion_past_its_deadline_says_what_it_waits_for() {
    let remove = spec("Delete");
    let (_, maker) = running(&remove);
    let held = || {
        let mut maker = maker.clone();
        maker.body["metadata"]["finalizers"] = serde_json::json!(["example.com/keep"]);
        maker.body["metadata"]["deletionTimestamp"] = serde_json::json!(NOW);
        Observed { jobs: vec![maker], ..seen() }
    };
    let late = Head {
        entered_at: Timestamp::from_micros(NOW.as_micros() - 1_801_000_000),
        ..head(Kind::Backup, "Terminating")
    };
    let removal = {
        let mut backup = object(&remove, "nightly", Some("acme-prod"));
        backup.deleting_since = Some(NOW);
        let job = decide(&backup, &seen(), Some(&late), NOW).apply.into_iter().next().unwrap();
        Child { key: job.key, body: job.body, answer_to: None }
    };
    let trouble = RepositoryView { trouble: Some("the key is wrong".into()), ..seen().repository.unwrap() };
    let cases = [
        (held(), false, "Job acme-prod/nightly-11111111-7 (finalizers: example.com/keep)"),
        (Observed { jobs: vec![maker.clone()], ..seen() }, true, "Trueup may not delete anything"),
        (
            Observed { jobs: vec![removal], ..seen() },
            false,
            "Job nightly-11111111-3, which removes the artifact, does not end",
        ),
        (seen(), false, "could not be made: look at the namespace's quota"),
        (seen(), true, "could not be made: Trueup may not start a Job"),
        (Observed { repository: Some(trouble), ..seen() }, false, "BackupRepository main: the key is wrong"),
        (Observed { repository: None, ..seen() }, false, "BackupRepository main is gone"),
    ];
    for (seen, paused, blocker) in cases {
        let mut backup = object(&remove, "nightly", Some("acme-prod"));
        (backup.deleting_since, backup.paused) = (Some(NOW), paused);
        let plan = decide(&backup, &seen, Some(&late), NOW);
        let stalled = plan.status.conditions.iter().find(|condition| condition.type_ == "Stalled").unwrap();
        assert_eq!((stalled.status.as_str(), plan.transition), ("True", None), "{blocker}: {stalled:?}");
        assert!(stalled.message.contains(blocker), "{blocker}: {}", stalled.message);
        // Before that, whatever can still come about by itself is only waited for.
        let early = Head { entered_at: NOW, ..late.clone() };
        let plan = decide(&backup, &seen, Some(&early), NOW);
        let waits = !has_condition(&plan.status.conditions, "Stalled", "True");
        assert_eq!((waits, plan.look_again.is_some()), (seen.repository.is_some(), true), "{blocker}");
    }
}

#[test]
fn a_failure_keeps_its_reason_whatever_is_stated_anew_later() {
    let spec = spec("Retain");
    let backup = object(&spec, "nightly", Some("acme-prod"));
    let shown = |reason: &str, ended_for: Option<&str>| {
        let head = Head { reason: reason.into(), ..head(Kind::Backup, "Failed") };
        let seen = Observed { ended_for: ended_for.map(Into::into), failure: Some("late".into()), ..seen() };
        let status = decide(&backup, &seen, Some(&head), NOW).status;
        status.conditions.into_iter().find(|condition| condition.type_ == "Stalled").unwrap().reason
    };
    let late = reasons::BACKUP_TIMED_OUT.word;
    assert_eq!(shown(late, Some(late)), "BackupTimedOut");
    for anew in [reasons::REASSIGNED, reasons::AMENDED, reasons::ERA_BEGUN] {
        assert_eq!(shown(anew.word, Some(late)), "BackupTimedOut", "after {}", anew.word);
        assert_eq!(shown(anew.word, Some(reasons::BACKUP_FAILED.word)), "BackupFailed", "after {}", anew.word);
    }
}
