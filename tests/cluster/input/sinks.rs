//! What is refused of a BillingSink.

use serde_json::{Value, json};

use super::{accepted, change, long, refused, unchangeable};
use crate::support::*;

#[tokio::test]
async fn sinks_that_break_a_rule_are_refused() {
    let visit = Visit::shared().await;
    let with = |spec: Value| sink("other", "http://billing.example/events", &spec);
    let webhook = |over: Value| with(json!({ "webhook": over }));
    let plain = "must be lower-case letters, digits and dashes";
    let url = "must be an http or https address";
    let one = "exactly one of spec.webhook, spec.nats and spec.openmeter must be set";
    let nats = |url: &str| with(json!({ "webhook": null, "nats": { "url": url, "stream": "S" } }));
    let mut no_start = with(json!({}));
    no_start["spec"].as_object_mut().unwrap().remove("startAt");
    refused(
        &visit,
        vec![
            (with(json!({ "destinationId": "Bill" })), "spec.destinationId", plain),
            (with(json!({ "destinationId": "" })), "spec.destinationId", "at least 1"),
            (with(json!({ "destinationId": long(64) })), "spec.destinationId", "63"),
            (no_start, "spec.startAt", "Required"),
            (with(json!({ "startAt": "Yesterday" })), "spec.startAt", "must be Beginning, Now or a time in UTC"),
            (with(json!({ "mode": "Dry" })), "spec.mode", "Unsupported value"),
            (with(json!({ "selector": { "kinds": ["Pod"] } })), "spec.selector.kinds", "Unsupported value"),
            (
                with(json!({ "webhook": null, "openmeter": { "url": "https://meter.example" }, "mode": "Shadow" })),
                "spec",
                "OpenMeter would charge",
            ),
            (webhook(json!({ "url": "ftp://billing.example" })), "spec.webhook.url", url),
            (webhook(json!({ "url": "billing.example/events" })), "spec.webhook.url", url),
            (webhook(json!({ "url": "http://" })), "spec.webhook.url", "at least 8"),
            (webhook(json!({ "url": format!("http://{}", long(2042)) })), "spec.webhook.url", "2048"),
            (webhook(json!({ "secretRef": { "name": "" } })), "spec.webhook.secretRef.name", "at least 1"),
            (webhook(json!({ "secretRef": { "key": null } })), "spec.webhook.secretRef.key", "Required"),
            (webhook(json!({ "timeoutSeconds": 0 })), "spec.webhook.timeoutSeconds", "greater than or equal to 1"),
            (webhook(json!({ "timeoutSeconds": 61 })), "spec.webhook.timeoutSeconds", "60"),
            (webhook(json!({ "concurrency": 0 })), "spec.webhook.concurrency", "greater than or equal to 1"),
            (webhook(json!({ "concurrency": 257 })), "spec.webhook.concurrency", "256"),
            (webhook(json!({ "caBundle": {} })), "spec.webhook.caBundle", "exactly one of configMapRef and secretRef"),
            (with(json!({ "webhook": null })), "spec", one),
            (with(json!({ "nats": { "url": "nats://n:4222", "stream": "S" } })), "spec", one),
            (nats("http://n:4222"), "spec.nats.url", "must be nats:// or tls:// addresses"),
            (nats("nats://me:hush@n:4222"), "spec.nats.url", "without credentials"),
        ],
    )
    .await;
    accepted(
        &visit,
        vec![
            with(json!({ "destinationId": long(63) })),
            with(json!({ "startAt": "Now", "mode": "Shadow" })),
            with(json!({ "startAt": "2026-01-31T12:00:00.5Z" })),
            with(json!({ "selector": { "kinds": ["Backup"], "tenantLabels": { "tier": "gold" } } })),
            nats("nats://a:4222, tls://b"),
            with(json!({ "webhook": null, "openmeter": { "url": "https://meter.example" } })),
            webhook(json!({ "url": "https://a", "timeoutSeconds": 60, "concurrency": 256 })),
            webhook(json!({ "url": format!("http://{}", long(2041)), "timeoutSeconds": 1, "concurrency": 1 })),
        ],
    )
    .await;
    unchangeable(
        &visit,
        "BillingSink",
        "billing",
        None,
        &[
            (json!({ "destinationId": "elsewhere" }), "spec.destinationId cannot be changed"),
            (json!({ "startAt": "Now" }), "spec.startAt cannot be changed"),
            (json!({ "mode": "Shadow" }), "spec.mode cannot be changed"),
            (json!({ "selector": { "kinds": ["Backup"] } }), "spec.selector cannot be changed"),
        ],
    )
    .await;
    let slower = json!({ "webhook": { "timeoutSeconds": 6 } });
    assert_eq!(change(&visit, "BillingSink", None, "billing", &slower).await, Ok(()));
}

#[tokio::test]
async fn a_sink_that_never_worked_can_be_deleted() {
    let visit = Visit::shared().await;
    let nowhere = json!({ "webhook": { "secretRef": { "name": "not-there" } } });
    visit.create(&sink("never", "http://billing.example/events", &nowhere)).await;
    let shown = visit.stalled("BillingSink", None, "never", "NotUsable").await;
    let message = condition(&shown, "Stalled")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("Secret trueup-system/not-there does not exist"), "{message}");
    visit.delete("BillingSink", None, "never").await;
    visit.gone("BillingSink", None, "never").await;
}
