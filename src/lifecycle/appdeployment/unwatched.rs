//! What happened while nobody watched: when it is said to have happened, and how well that is known.

use serde_json::{Value, json};

use super::{
    tests::{deployed, in_state, progressing, seen, spec},
    *,
};
use crate::{
    domain::{Effective, TimeSource},
    lifecycle::fixtures::{NOW, object},
};

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_micros(NOW.as_micros() - seconds * 1_000_000)
}

fn pod(ready_since: Option<Timestamp>, unready_since: Option<Timestamp>) -> PodView {
    PodView { name: "web-a".into(), ready_since, unready_since, trouble: None }
}

/// When the first look after a downtime says that it happened. The stream's last row is 100 s old.
fn first_look(head: &Head, status: Value, pods: Vec<PodView>) -> (String, Effective) {
    let spec = spec(json!({}));
    let app = Object { watched: false, ..object(&spec, "web", Some("acme-prod")) };
    let mut seen = seen(vec![deployed(&app, status)]);
    seen.pods = pods;
    let head = Head { effective_at: ago(100), entered_at: ago(100), ..head.clone() };
    let change = decide(&app, &seen, Some(&head), NOW).transition.unwrap();
    (change.to.as_str().to_owned(), change.effective)
}

fn counts(available: i32, conditions: Value) -> Value {
    json!({ "replicas": 2, "updatedReplicas": 2, "availableReplicas": available, "conditions": conditions })
}

fn lost(seconds_ago: i64) -> Value {
    let at = ago(seconds_ago).to_jiff();
    json!({ "type": "Available", "status": "False", "lastTransitionTime": at })
}

#[test]
fn a_rollout_that_ended_is_recorded_with_the_second_in_which_it_did() {
    let status = counts(2, json!([progressing("NewReplicaSetAvailable", 40)]));
    let (to, when) = first_look(&in_state(AppState::Progressing, 0), status, vec![]);
    assert_eq!((to.as_str(), when), ("Available", Effective::reported(ago(40), NOW)));
    assert_eq!(when.not_after.since(when.not_before).as_micros(), 999_999, "a whole second is all of that second");
}

#[test]
fn a_deployment_that_says_it_lost_pods_tells_when() {
    let conditions = json!([progressing("NewReplicaSetAvailable", 400), lost(70)]);
    let (to, when) = first_look(&in_state(AppState::Available, 2), counts(0, conditions), vec![]);
    assert_eq!((to.as_str(), when), ("Degraded", Effective::reported(ago(70), NOW)));
}

#[test]
fn one_pod_that_was_lost_is_told_by_itself_and_the_first_to_go_counts() {
    let pods = vec![pod(None, Some(ago(30))), pod(None, Some(ago(55))), pod(Some(ago(300)), None)];
    let status = counts(1, json!([progressing("NewReplicaSetAvailable", 400)]));
    let (_, when) = first_look(&in_state(AppState::Available, 2), status, pods);
    assert_eq!(when, Effective::reported(ago(55), NOW));
}

#[test]
fn what_left_no_time_behind_lies_between_the_last_row_and_now() {
    let status = counts(1, json!([progressing("NewReplicaSetAvailable", 400), lost(400)]));
    let (_, when) = first_look(&in_state(AppState::Available, 2), status, vec![pod(None, Some(ago(400)))]);
    assert_eq!(when, Effective::inferred(ago(100), NOW), "a time before the last row is of something else");
    assert_eq!((when.not_before, when.at, when.source), (ago(100), NOW, TimeSource::Inferred));
}

#[test]
fn the_same_is_observed_by_whoever_was_watching() {
    let spec = spec(json!({}));
    let app = object(&spec, "web", Some("acme-prod"));
    let status = counts(1, json!([progressing("NewReplicaSetAvailable", 400)]));
    let head = in_state(AppState::Available, 2);
    let change = decide(&app, &seen(vec![deployed(&app, status)]), Some(&head), NOW).transition.unwrap();
    assert_eq!(change.effective, Effective::observed(head.effective_at, NOW));
}

#[test]
fn pods_that_came_back_tell_since_when_all_are_there() {
    let pods = vec![pod(Some(ago(20)), None), pod(Some(ago(300)), None)];
    let status = counts(2, json!([progressing("NewReplicaSetAvailable", 400)]));
    let (to, when) = first_look(&in_state(AppState::Degraded, 1), status.clone(), pods.clone());
    assert_eq!((to.as_str(), when), ("Available", Effective::reported(ago(20), NOW)));
    let fewer = counts(1, json!([progressing("NewReplicaSetAvailable", 400)]));
    let (to, when) = first_look(&in_state(AppState::Degraded, 0), fewer, pods);
    assert_eq!((to.as_str(), when), ("Degraded", Effective::reported(ago(20), NOW)), "and what is billed again");
}

#[test]
fn a_rollout_that_another_process_began_began_when_its_deployment_was_made() {
    let spec = spec(json!({}));
    let app = Object { watched: false, ..object(&spec, "web", Some("acme-prod")) };
    let mut deployment = deployed(&app, counts(0, json!([])));
    deployment.body["metadata"]["creationTimestamp"] = json!(ago(12).to_jiff());
    let head = in_state(AppState::Pending, 0);
    let change = decide(&app, &seen(vec![deployment]), Some(&head), NOW).transition.unwrap();
    assert_eq!((change.reason, change.effective), (reasons::ROLLOUT_STARTED, Effective::reported(ago(12), NOW)));
}

#[test]
fn a_deadline_that_passed_unwatched_passed_when_it_did() {
    let spec = spec(json!({ "progressDeadlineSeconds": 60 }));
    let app = Object { watched: false, ..object(&spec, "web", Some("acme-prod")) };
    let status = counts(0, json!([progressing("ReplicaSetUpdated", 500)]));
    let head = Head { entered_at: ago(600), effective_at: ago(600), ..in_state(AppState::Progressing, 0) };
    let change = decide(&app, &seen(vec![deployed(&app, status)]), Some(&head), NOW).transition.unwrap();
    let end = ago(500 - 60 - 30);
    assert_eq!((change.to.as_str(), change.effective), ("Failed", Effective::inferred(end, end)));
}

#[test]
fn a_deletion_is_dated_by_the_api_server_and_its_end_by_looks() {
    let spec = spec(json!({}));
    let app = Object { watched: false, deleting_since: Some(ago(9)), ..object(&spec, "web", Some("acme-prod")) };
    let asked = decide(&app, &seen(vec![]), Some(&in_state(AppState::Available, 2)), NOW).transition.unwrap();
    assert_eq!(asked.effective, Effective::reported(ago(9), NOW));
    let going = in_state(AppState::Terminating, 0);
    let gone = decide(&app, &seen(vec![]), Some(&going), NOW).transition.unwrap();
    assert_eq!((gone.to.as_str(), gone.effective), ("Deleted", Effective::inferred(going.effective_at, NOW)));
}

#[test]
fn a_clock_behind_the_api_servers_does_not_make_the_future_a_fact() {
    let conditions = json!([progressing("NewReplicaSetAvailable", 400), lost(-5)]);
    let (_, when) = first_look(&in_state(AppState::Available, 2), counts(0, conditions), vec![]);
    assert_eq!(when, Effective::inferred(ago(100), NOW));
}
