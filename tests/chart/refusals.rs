//! Values that make no sense are refused before anything is installed, by name.

use serde_json::{Value, json};

use crate::helm::try_render;

#[track_caller]
fn refused(values: Value, words: &[&str]) {
    let error = try_render("trueup", &values).expect_err("helm takes these values");
    for word in words {
        assert!(error.contains(word), "{values} is refused, but '{word}' is not in what helm says:\n{error}");
    }
}

#[test]
fn a_value_that_does_not_exist_is_refused() {
    refused(json!({ "replica": 2 }), &["replica"]);
    refused(json!({ "image": { "name": "trueup" } }), &["image", "name"]);
    refused(json!({ "ledger": { "postgres": { "url": "postgres://" } } }), &["ledger/postgres", "url"]);
    refused(json!({ "monitoring": { "serviceMonitor": { "enable": true } } }), &["serviceMonitor", "enable"]);
}

#[test]
fn a_value_of_the_wrong_kind_is_refused() {
    refused(json!({ "replicas": "three" }), &["replicas"]);
    refused(json!({ "image": { "pullPolicy": "Sometimes" } }), &["pullPolicy", "IfNotPresent"]);
    refused(json!({ "image": { "digest": "sha256:short" } }), &["digest"]);
    refused(json!({ "ledger": { "sqlite": { "size": "five" } } }), &["size"]);
    refused(json!({ "keepTransitions": "1y" }), &["keepTransitions"]);
    refused(json!({ "receiver": "billing:8080" }), &["receiver"]);
}

#[test]
fn a_lease_that_no_request_fits_into_is_refused() {
    refused(json!({ "leaseSeconds": 1 }), &["leaseSeconds"]);
}

#[test]
fn several_replicas_on_sqlite_are_refused_with_the_way_out() {
    refused(json!({ "replicas": 2 }), &["SQLite has one writer", "ledger.postgres.secretName"]);
}

#[test]
fn a_chart_within_another_chart_gets_what_helm_hands_to_it() {
    try_render("trueup", &json!({ "global": { "registry": "registry.example" } })).expect("global is nobody's mistake");
}
