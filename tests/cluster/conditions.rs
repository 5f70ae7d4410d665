//! What an object shows is true at every moment at which somebody may look, not only in the end.

use std::{pin::Pin, time::Duration};

use futures::{Stream, StreamExt as _};
use kube::{
    ResourceExt as _,
    core::DynamicObject,
    runtime::watcher::{self, Event, watcher},
};
use serde_json::{Value, json};

use crate::support::*;

/// Every version of one object that the API server shows, in order, each checked as it comes.
struct Follower<'a> {
    visit: &'a Visit,
    kind: &'static str,
    namespace: Option<&'a str>,
    name: &'a str,
    versions: Pin<Box<dyn Stream<Item = DynamicObject> + 'a>>,
    last: Option<DynamicObject>,
    seen: usize,
}

impl<'a> Follower<'a> {
    fn of(visit: &'a Visit, kind: &'static str, namespace: Option<&'a str>, name: &'a str) -> Self {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let events = watcher(visit.api(kind, namespace), config);
        let versions = events.filter_map(async |event| match event.expect("a watch without a fault") {
            Event::Apply(object) | Event::InitApply(object) => Some(object),
            _ => None,
        });
        Self { visit, kind, namespace, name, versions: Box::pin(versions), last: None, seen: 0 }
    }

    /// Looks at every version until one is so.
    async fn until(&mut self, what: &str, is_so: impl Fn(&DynamicObject) -> bool) -> DynamicObject {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.versions.next()).await;
            let Ok(Some(object)) = next else {
                let shown = self.last.as_ref().map(|object| object.data["status"].clone());
                panic!("expected within {PATIENCE:?} that {} {} {what}, but it shows {shown:?}", self.kind, self.name);
            };
            self.check(&object).await;
            let found = is_so(&object);
            self.last = Some(object.clone());
            self.seen += 1;
            if found {
                return object;
            }
        }
    }

    async fn check(&self, object: &DynamicObject) {
        let faults = inconsistencies(object, self.last.as_ref());
        assert!(
            faults.is_empty(),
            "{} at generation {:?} shows {}: {faults:?}",
            self.name,
            object.metadata.generation,
            object.data["status"]
        );
        if self.kind == "AppDeployment" && !object.data["status"].is_null() && reading(object) == Reading::Current {
            self.is_rolled_out(object).await;
        }
    }

    /// Whoever reads this version as ready must find it rolled out.
    async fn is_rolled_out(&self, app: &DynamicObject) {
        let deployment = self.visit.get("Deployment", self.namespace, self.name).await;
        let suspended = app.data["spec"]["suspend"] == true;
        let wanted = if suspended { 0 } else { app.data["spec"]["replicas"].as_i64().unwrap() };
        let status = &deployment.data["status"];
        let count = |field: &str| status[field].as_i64().unwrap_or(0);
        let as_asked = deployment.data["spec"]["template"]["spec"]["containers"][0]["image"]
            == app.data["spec"]["image"]
            && deployment.data["spec"]["replicas"] == wanted
            && status["observedGeneration"].as_i64() == deployment.metadata.generation
            && [count("replicas"), count("updatedReplicas"), count("availableReplicas")] == [wanted; 3];
        assert!(
            as_asked,
            "{} reads as ready at generation {:?}, but its Deployment is {} with {status}",
            self.name, app.metadata.generation, deployment.data["spec"]
        );
    }
}

fn inconsistencies(object: &DynamicObject, before: Option<&DynamicObject>) -> Vec<String> {
    let status = &object.data["status"];
    if status.is_null() {
        // Only before the first touch.
        let lost = before.is_some_and(|before| !before.data["status"].is_null());
        return if lost { vec!["the status is gone".to_owned()] } else { vec![] };
    }
    let mut faults = vec![];
    let mut require = |holds: bool, what: &str| {
        if !holds {
            faults.push(what.to_owned());
        }
    };
    let of = |kind: &str| condition(object, kind);
    let [ready, reconciling, stalled] = ["Ready", "Reconciling", "Stalled"].map(|kind| of(kind)["status"].clone());
    require(ready.is_string() && reconciling.is_string() && stalled.is_string(), "a condition is missing");
    require(!(reconciling == "True" && stalled == "True"), "it is reconciling and stalled at once");
    require(ready != "True" || (reconciling == "False" && stalled == "False"), "it is ready and yet not done");
    require(ready != "False" || reconciling == "True" || stalled == "True", "it is not ready, and nothing says why");
    require(ready != "Unknown" || reconciling == "True", "nobody knows, and nobody looks");
    let observed = status["observedGeneration"].as_i64();
    require(
        observed.is_some() && observed <= object.metadata.generation,
        "it speaks of a generation that is not there",
    );
    let known = before.and_then(|before| before.data["status"]["observedGeneration"].as_i64());
    require(observed >= known, "the observed generation goes back");
    for found in status["conditions"].as_array().cloned().unwrap_or_default() {
        require(found["observedGeneration"].as_i64() == observed, "a condition speaks of another generation");
        let says = !found["reason"].as_str().unwrap_or_default().is_empty() && found["message"].is_string();
        require(says, "a condition has no reason or no message");
        let old =
            before.map(|before| condition(before, found["type"].as_str().unwrap_or_default())).unwrap_or_default();
        let moved = old["lastTransitionTime"] != found["lastTransitionTime"];
        require(
            old.is_null() || !moved || old["status"] != found["status"],
            "a condition's time moved, its status not",
        );
    }
    let sequence = |object: &DynamicObject| object.data["status"]["ledger"]["sequence"].as_i64();
    require(sequence(object) >= before.and_then(sequence), "the ledger's sequence goes back");
    require(sequence(object).is_none() || status["state"].is_string(), "there is a stream and no state");
    faults
}

fn at(generation: i64, wanted: Reading) -> impl Fn(&DynamicObject) -> bool {
    move |object| {
        let status = &object.data["status"];
        reading(object) == wanted
            && status["observedGeneration"] == generation
            && object.metadata.generation == Some(generation)
    }
}

#[tokio::test]
async fn an_application_never_reads_as_ready_for_a_spec_that_is_not_rolled_out() {
    let visit = Visit::shared().await;
    visit.create(&tenant("watched", &json!({}))).await;
    visit.current("Tenant", None, "watched").await;
    let inside = Some("watched-prod");
    let mut follower = Follower::of(&visit, "AppDeployment", inside, "shop");
    visit.create(&app("watched-prod", "shop", &json!({ "replicas": 3, "progressDeadlineSeconds": 4 }))).await;
    follower.until("is ready", at(1, Reading::Current)).await;
    let changes: [(Value, Reading); 8] = [
        (json!({ "image": "registry.example/shop:2" }), Reading::Current),
        (json!({ "replicas": 5 }), Reading::Current),
        (json!({ "replicas": 1 }), Reading::Current),
        (json!({ "image": "registry.example/crash:3" }), Reading::Failed),
        (json!({ "image": "registry.example/shop:4" }), Reading::Current),
        (json!({ "suspend": true }), Reading::Current),
        (json!({ "suspend": false, "ports": [{ "name": "http", "port": 80 }] }), Reading::Current),
        (json!({ "ports": [], "replicas": 0 }), Reading::Current),
    ];
    for ((spec, wanted), generation) in changes.into_iter().zip(2..) {
        visit.respec("AppDeployment", inside, "shop", &spec).await;
        follower.until(&format!("is {wanted:?} after {spec}"), at(generation, wanted)).await;
    }
    // Two changes at once: what is shown in between must not pass for the second.
    visit.respec("AppDeployment", inside, "shop", &json!({ "replicas": 2 })).await;
    visit.respec("AppDeployment", inside, "shop", &json!({ "image": "registry.example/shop:5" })).await;
    follower.until("is ready after both", at(11, Reading::Current)).await;

    // A rollout that cannot go on is in progress for as long.
    let held = json!({ "podLabels": { "trueup.test/hold": "true" }, "progressDeadlineSeconds": 600 });
    visit.respec("AppDeployment", inside, "shop", &held).await;
    follower.until("is in progress", at(12, Reading::InProgress)).await;
    throughout(Duration::from_secs(2), "it is in progress", || async {
        let object = visit.get("AppDeployment", inside, "shop").await;
        let now = reading(&object);
        if now == Reading::InProgress { Ok(()) } else { Err(format!("it is {now:?} with {}", object.data["status"])) }
    })
    .await;
    let free = json!({ "metadata": { "labels": { "trueup.test/hold": null } } });
    eventually(PATIENCE, "both new pods are let go", || async {
        for pod in visit.list("Pod", inside).await {
            if pod.labels().contains_key("trueup.test/hold") {
                visit.merge("Pod", inside, &pod.name_any(), &free).await;
            }
        }
        let object = visit.get("AppDeployment", inside, "shop").await;
        if reading(&object) == Reading::Current { Ok(()) } else { Err(object.data["status"].to_string()) }
    })
    .await;
    follower.until("is ready in the end", at(12, Reading::Current)).await;
    visit.delete("AppDeployment", inside, "shop").await;
    follower.until("is going", |object| reading(object) == Reading::Terminating).await;
    assert!(follower.seen > 25, "only {} versions were seen", follower.seen);
    visit.gone("AppDeployment", inside, "shop").await;
    reckon(&visit, Some("watched")).await;
}

#[tokio::test]
async fn a_tenant_and_its_backups_show_at_every_moment_how_they_stand() {
    let visit = Visit::shared().await;
    let mut follower = Follower::of(&visit, "Tenant", None, "shows");
    visit.create(&tenant("shows", &json!({}))).await;
    follower.until("is ready", at(1, Reading::Current)).await;
    let inside = Some("shows-prod");

    let mut copy = Follower::of(&visit, "Backup", inside, "copy");
    let crashing = json!({ "source": { "command": { "image": "registry.example/crash:1" } } });
    visit.create(&backup("shows-prod", "copy", &crashing)).await;
    copy.until("waits for its repository", |it| condition(it, "Reconciling")["reason"] == "RepositoryNotReady").await;
    for manifest in vault("shows-prod") {
        visit.create(&manifest).await;
    }
    visit.create(&repository("shows-prod", "vault", &json!({}))).await;
    let finished = copy.until("has failed", at(1, Reading::Failed)).await;
    assert_eq!(condition(&finished, "Finished")["status"], "True");
    assert_eq!(finished.data["status"]["state"], "Failed");

    visit.respec("Tenant", None, "shows", &json!({ "namespaces": [{ "name": "prod" }, { "name": "dev" }] })).await;
    follower.until("has two namespaces", at(2, Reading::Current)).await;
    visit.get("NetworkPolicy", Some("shows-dev"), "trueup").await;
    visit.delete("Namespace", None, "shows-dev").await;
    follower.until("says what is lost", |it| condition(it, "Ready")["reason"] == "NamespaceLost").await;
    follower.until("has it again", at(2, Reading::Current)).await;
    visit.respec("Tenant", None, "shows", &json!({ "suspend": true })).await;
    follower.until("is suspended", at(3, Reading::Current)).await;
    visit.delete("Tenant", None, "shows").await;
    follower.until("is going", |object| reading(object) == Reading::Terminating).await;
    visit.gone("Tenant", None, "shows").await;
    reckon(&visit, Some("shows")).await;
}
