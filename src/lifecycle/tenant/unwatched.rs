//! What happened to a tenant while nobody watched: when it is said to have happened.

use serde_json::json;

use super::*;
use crate::{
    domain::Effective,
    lifecycle::fixtures::{NOW, head, object},
};

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_micros(NOW.as_micros() - seconds * 1_000_000)
}

fn spec() -> TenantSpec {
    serde_json::from_value(json!({
        "plan": "small", "billing": { "account": "acct" }, "namespaces": [{ "name": "prod" }],
    }))
    .unwrap()
}

/// Everything that the tenant wants, made `seconds` ago.
fn made(tenant: &Object<'_, TenantSpec>, seconds: i64) -> Vec<Child> {
    let others = BTreeSet::new();
    let owner = Owner { label: label::TENANT, name: &tenant.name, uid: &tenant.uid, others: &others };
    let child = |wanted: crate::lifecycle::Desired| {
        let mut body = wanted.body;
        body["metadata"]["creationTimestamp"] = json!(ago(seconds).to_jiff());
        Child { key: wanted.key, body, answer_to: None }
    };
    // The namespaces first, then what belongs into those that are there.
    let mut seen = Observed::default();
    for _ in 0..2 {
        seen.children = desired::children(tenant, owner, &seen).into_iter().map(child).collect();
    }
    seen.children
}

/// When the first look after a downtime says that it happened. The stream's last row is 100 s old.
fn first_look(state: TenantState, seen: &Observed) -> (String, Effective) {
    let spec = spec();
    let tenant = Object { watched: false, ..object(&spec, "acme", None) };
    let head = Head { effective_at: ago(100), entered_at: ago(100), ..head(Kind::Tenant, state.as_str()) };
    let change = decide(&tenant, seen, Some(&head), NOW).transition.unwrap();
    (change.reason.word.to_owned(), change.effective)
}

#[test]
fn a_namespace_that_is_going_says_since_when_and_one_that_is_gone_says_nothing() {
    let spec = spec();
    let tenant = object(&spec, "acme", None);
    let mut children = made(&tenant, 400);
    children[0].body["metadata"]["deletionTimestamp"] = json!(ago(30).to_jiff());
    assert_eq!(children[0].key.name, "acme-prod");
    let going = Observed { children, ..Observed::default() };
    assert_eq!(first_look(TenantState::Active, &going), ("NamespaceLost".into(), Effective::reported(ago(30), NOW)));
    let gone = Observed { shown: ["acme-prod".to_owned()].into(), ..Observed::default() };
    assert_eq!(first_look(TenantState::Active, &gone), ("NamespaceLost".into(), Effective::inferred(ago(100), NOW)));
}

#[test]
fn what_another_process_made_was_there_when_the_last_of_it_was_made() {
    let spec = spec();
    let seen = Observed { children: made(&object(&spec, "acme", None), 15), ..Observed::default() };
    let (reason, when) = first_look(TenantState::Provisioning, &seen);
    assert_eq!((reason.as_str(), when), ("Provisioned", Effective::reported(ago(15), NOW)));
    let (reason, when) = first_look(TenantState::Degraded, &seen);
    assert_eq!((reason.as_str(), when), ("Recovered", Effective::reported(ago(15), NOW)));
}

#[test]
fn what_this_process_made_it_knows_better_than_whole_seconds_do() {
    let spec = spec();
    let tenant = object(&spec, "acme", None);
    let seen = Observed { children: made(&tenant, 0), ..Observed::default() };
    let head = head(Kind::Tenant, "Provisioning");
    let change = decide(&tenant, &seen, Some(&head), NOW).transition.unwrap();
    assert_eq!(change.effective, Effective::observed(head.effective_at, NOW));
}

#[test]
fn a_namespace_that_lost_its_label_goes_with_its_tenant() {
    let spec = spec();
    let tenant = Object { deleting_since: Some(NOW), ..object(&spec, "acme", None) };
    let head = head(Kind::Tenant, "Terminating");
    let plan = decide(&tenant, &Observed::default(), Some(&head), NOW);
    assert_eq!(plan.transition.unwrap().to.as_str(), "Deleted");
    assert_eq!(plan.gone, [ObjectKey::namespace("acme-prod")]);

    // It was found past the cache, which shows nothing without this label.
    let mut children = made(&tenant, 400);
    children.truncate(1);
    children[0].body["metadata"]["labels"].as_object_mut().unwrap().remove(label::TENANT);
    let seen = Observed { children, ..Observed::default() };
    let plan = decide(&tenant, &seen, Some(&head), NOW);
    assert_eq!((plan.delete, plan.transition), (vec![ObjectKey::namespace("acme-prod")], None));
    assert_eq!(plan.look_again, Some(Duration::from_secs(5)), "no watch tells when it is gone");
}
