//! The situations that people ask about, each with the plan that it gets.

use serde_json::{Value, json};

use super::*;
use crate::domain::{TenantName, TimeSource};
use crate::lifecycle::{
    ObjectKey,
    children::manifest,
    fixtures::{NOW, head, object},
};

pub(super) fn spec(more: Value) -> AppDeploymentSpec {
    let mut spec = json!({ "image": "web:1", "replicas": 2 });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

pub(super) fn acme() -> Membership {
    Membership {
        tenant: TenantName::new("acme"),
        account: "acct".into(),
        plan: "small".into(),
        suspended: false,
        restricted: false,
    }
}

/// The Deployment that Trueup would have applied, with the status that Kubernetes gave it.
pub(super) fn deployed(app: &Object<'_, AppDeploymentSpec>, status: Value) -> Child {
    let wanted = desired::children(app, app.spec.replicas, false, owner(app, &Observed::default())).remove(0);
    let mut body = wanted.body;
    body["metadata"]["generation"] = json!(1);
    body["status"] = status;
    body["status"]["observedGeneration"] = json!(1);
    Child { key: wanted.key, body, answer_to: None }
}

pub(super) fn progressing(reason: &str, seconds_ago: i64) -> Value {
    let at = Timestamp::from_micros(NOW.as_micros() - seconds_ago * 1_000_000).to_jiff();
    json!({ "type": "Progressing", "status": "True", "reason": reason, "lastUpdateTime": at, "lastTransitionTime": at })
}

pub(super) fn in_state(state: AppState, replicas: u32) -> Head {
    let billed = Billable {
        replicas,
        cpu_millicores: u64::from(replicas) * 100,
        memory_bytes: u64::from(replicas) * (128 << 20),
        storage_bytes: 0,
    };
    Head { billable: billed, ..head(Kind::AppDeployment, state.as_str()) }
}

pub(super) fn seen(children: Vec<Child>) -> Observed {
    Observed { member: Some(acme()), children, ..Observed::default() }
}

fn ready(plan: &Plan<AppDeploymentStatus>) -> (&str, &str, &str) {
    let found = plan.status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    (&found.status, &found.reason, &found.message)
}

#[test]
fn a_new_application_opens_its_stream_when_it_was_created_not_when_it_was_seen() {
    let spec = spec(json!({}));
    let app = object(&spec, "web", Some("acme-prod"));
    let plan = decide(&app, &seen(vec![]), None, NOW);
    let first = plan.transition.unwrap();
    assert_eq!(
        (first.to.as_str(), first.effective.at, first.effective.source),
        ("Pending", app.created, TimeSource::Reported)
    );
    assert!(plan.apply.is_empty(), "nothing is made before it is recorded");
}

#[test]
fn an_application_in_a_namespace_of_no_tenant_makes_nothing_and_opens_nothing() {
    let spec = spec(json!({}));
    let mut app = object(&spec, "web", Some("default"));
    app.has_finalizer = false;
    let plan = decide(&app, &Observed::default(), None, NOW);
    assert!(plan.is_settled());
    assert_eq!(ready(&plan).1, "NoTenant");
}

#[test]
fn a_rollout_that_fails_leaves_what_served_before_serving_and_billed() {
    let spec = spec(json!({ "image": "crash:1" }));
    let app = object(&spec, "web", Some("acme-prod"));
    let status = json!({ "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2, "conditions": [progressing("ProgressDeadlineExceeded", 1)] });
    let mut seen = seen(vec![deployed(&app, status)]);
    seen.pods.push(PodView {
        name: "web-b".into(),
        ready_since: None,
        unready_since: None,
        trouble: Some("container app keeps ending with exit code 1".into()),
    });
    let plan = decide(&app, &seen, Some(&in_state(AppState::Progressing, 2)), NOW);
    let failed = plan.transition.unwrap();
    assert_eq!((failed.to.as_str(), failed.billable.replicas), ("Failed", 2));

    let plan = decide(&app, &seen, Some(&in_state(AppState::Failed, 2)), NOW);
    assert!(plan.is_settled());
    let (_, reason, message) = ready(&plan);
    assert_eq!(reason, "ProgressDeadlineExceeded");
    assert!(message.ends_with("pod web-b: container app keeps ending with exit code 1"), "{message}");
}

#[test]
fn a_rollout_that_still_comes_further_is_not_failed_by_the_clock() {
    let spec = spec(json!({ "replicas": 4, "progressDeadlineSeconds": 60 }));
    let app = object(&spec, "web", Some("acme-prod"));
    let long_ago = Timestamp::from_micros(NOW.as_micros() - 3_600_000_000);
    let head = Head { entered_at: long_ago, effective_at: long_ago, ..in_state(AppState::Progressing, 3) };
    let rolling = |seconds_ago| {
        let status = json!({ "replicas": 5, "updatedReplicas": 3, "availableReplicas": 3, "conditions": [progressing("ReplicaSetUpdated", seconds_ago)] });
        decide(&app, &seen(vec![deployed(&app, status)]), Some(&head), NOW).transition
    };
    assert_eq!(rolling(10), None);
    assert_eq!(
        rolling(600).unwrap().reason,
        reasons::PROGRESS_DEADLINE_EXCEEDED,
        "when the Deployment controller does not answer"
    );
}

#[test]
fn the_failure_of_an_earlier_rollout_is_not_inherited() {
    let spec = spec(json!({ "image": "mended:1" }));
    let app = object(&spec, "web", Some("acme-prod"));
    let began = Timestamp::from_micros(NOW.as_micros() - 1_000_000);
    let head = Head { entered_at: began, effective_at: began, ..in_state(AppState::Progressing, 2) };
    let verdict = |seconds_ago| {
        let status = json!({ "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2, "conditions": [progressing("ProgressDeadlineExceeded", seconds_ago)] });
        decide(&app, &seen(vec![deployed(&app, status)]), Some(&head), NOW).transition
    };
    assert_eq!(verdict(20), None);
    assert_eq!(verdict(0).unwrap().to.as_str(), "Failed");
}

#[test]
fn fewer_pods_within_one_generation_are_a_degradation_and_within_a_new_one_a_rollout() {
    let spec = spec(json!({}));
    let app = object(&spec, "web", Some("acme-prod"));
    let status = json!({ "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1, "conditions": [progressing("NewReplicaSetAvailable", 9)] });
    let seen = seen(vec![deployed(&app, status)]);
    let same = decide(&app, &seen, Some(&in_state(AppState::Available, 2)), NOW).transition.unwrap();
    assert_eq!((same.to.as_str(), same.billable.replicas), ("Degraded", 1));
    let older = Head { generation: 1, ..in_state(AppState::Available, 2) };
    let new = decide(&app, &seen, Some(&older), NOW).transition.unwrap();
    assert_eq!((new.to.as_str(), new.reason), ("Progressing", reasons::SPEC_CHANGED));
}

#[test]
fn what_was_billed_goes_on_while_nobody_knows_what_is_available() {
    let spec = spec(json!({ "image": "web:2" }));
    let app = object(&spec, "web", Some("acme-prod"));
    let older = Head { generation: 1, ..in_state(AppState::Available, 2) };
    let plan = decide(&app, &seen(vec![]), Some(&older), NOW);
    assert_eq!(plan.apply.len(), 1);
    let change = plan.transition.unwrap();
    assert_eq!((change.to.as_str(), change.billable.replicas), ("Progressing", 2));
}

#[test]
fn no_pods_wanted_and_none_there_is_available() {
    let spec = spec(json!({ "replicas": 0 }));
    let app = object(&spec, "web", Some("acme-prod"));
    let status = json!({ "conditions": [progressing("NewReplicaSetAvailable", 9)] });
    let plan = decide(&app, &seen(vec![deployed(&app, status)]), Some(&in_state(AppState::Progressing, 0)), NOW);
    assert_eq!(plan.transition.unwrap().to.as_str(), "Available");
}

#[test]
fn a_deployment_that_somebody_else_made_is_left_alone() {
    let spec = spec(json!({}));
    let app = object(&spec, "web", Some("acme-prod"));
    let key = ObjectKey::in_namespace(ChildKind::Deployment, "acme-prod", "web");
    let mut foreign = manifest(owner(&app, &Observed::default()), key, &[], json!({ "spec": {} }));
    foreign.body["metadata"]["labels"] = json!({});
    let foreign = Child { key: foreign.key, body: foreign.body, answer_to: None };
    let plan = decide(&app, &seen(vec![foreign]), Some(&in_state(AppState::Pending, 0)), NOW);
    assert!(plan.is_settled());
    assert_eq!(ready(&plan).1, "NameTaken");
}

#[test]
fn another_account_is_told_to_billing_though_nothing_else_changed() {
    let spec = spec(json!({}));
    let app = object(&spec, "web", Some("acme-prod"));
    let status = json!({ "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "conditions": [progressing("NewReplicaSetAvailable", 9)] });
    let mut seen = seen(vec![deployed(&app, status)]);
    assert!(decide(&app, &seen, Some(&in_state(AppState::Available, 2)), NOW).is_settled());
    seen.member = Some(Membership { account: "other".into(), ..acme() });
    let change = decide(&app, &seen, Some(&in_state(AppState::Available, 2)), NOW).transition.unwrap();
    assert_eq!((change.to.as_str(), change.reason), ("Available", reasons::REASSIGNED));
}

#[test]
fn a_removed_field_is_seen_though_everything_wanted_is_there() {
    let before = spec(json!({ "args": ["--verbose"] }));
    let after = spec(json!({}));
    let status = json!({ "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2 });
    let old = deployed(&object(&before, "web", Some("acme-prod")), status);
    let app = object(&after, "web", Some("acme-prod"));
    assert_eq!(decide(&app, &seen(vec![old]), Some(&in_state(AppState::Available, 2)), NOW).apply.len(), 1);
}

#[test]
fn what_a_webhook_makes_of_a_deployment_is_not_fought_over() {
    let spec = spec(json!({}));
    let app = object(&spec, "web", Some("acme-prod"));
    let status = json!({ "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "conditions": [progressing("NewReplicaSetAvailable", 9)] });
    let mut changed = deployed(&app, status);
    changed.body["spec"]["template"]["spec"]["containers"][0]["image"] = json!("mirror/web:1");
    let head = in_state(AppState::Available, 2);
    assert_eq!(decide(&app, &seen(vec![changed.clone()]), Some(&head), NOW).apply.len(), 1, "drift is repaired");
    changed.answer_to =
        desired::children(&app, 2, false, owner(&app, &Observed::default()))[0].digest().map(str::to_owned);
    assert!(decide(&app, &seen(vec![changed]), Some(&head), NOW).is_settled());
}

#[test]
fn an_application_ends_when_its_deployment_is_gone_and_not_when_a_cache_does_not_show_it() {
    let spec = spec(json!({}));
    let mut app = object(&spec, "web", Some("acme-prod"));
    app.deleting_since = Some(NOW);
    let head = in_state(AppState::Terminating, 0);
    let key = |kind| ObjectKey::in_namespace(kind, "acme-prod", "web");
    let plan = decide(&app, &seen(vec![]), Some(&head), NOW);
    assert_eq!(plan.transition.unwrap().to.as_str(), "Deleted");
    assert_eq!(plan.gone, [key(ChildKind::Deployment), key(ChildKind::Service)]);

    // It was found past the cache, which shows nothing without this label.
    let mut unlabelled = deployed(&app, json!({}));
    unlabelled.body["metadata"]["labels"].as_object_mut().unwrap().remove(label::APP);
    let plan = decide(&app, &seen(vec![unlabelled.clone()]), Some(&head), NOW);
    assert_eq!((plan.delete, plan.transition), (vec![key(ChildKind::Deployment)], None));
    unlabelled.body["metadata"]["deletionTimestamp"] = json!(NOW.to_jiff());
    let plan = decide(&app, &seen(vec![unlabelled]), Some(&head), NOW);
    assert!(plan.is_settled());
    assert_eq!(plan.look_again, Some(Duration::from_secs(5)), "no watch tells when it is gone");
}
