//! Leaving: what is detached ends its stream and runs on, may be deleted, and is taken in again; what is paused is recorded.

use std::{process::Output, sync::Arc, time::Duration};

use kube::ResourceExt as _;
use serde_json::json;
use trueup::domain::Sequence;

use crate::support::*;

const INSIDE: Option<&str> = Some("acme-prod");

/// Types a command about this cluster.
fn typed(place: &Place, words: &str) -> Output {
    trueup().args(words.split(' ')).arg("--kubeconfig").arg(place.cluster.admin()).output().expect("running trueup")
}

fn said(place: &Place, words: &str) -> String {
    let output = typed(place, words);
    assert!(output.status.success(), "{words}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(place: &Place, words: &str) -> String {
    let output = typed(place, words);
    assert_eq!(output.status.code(), Some(2), "{words}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

async fn stage(topic: &str) -> (Arc<Place>, Process, Visit) {
    let place = Arc::new(Place::new(topic, Database::Sqlite).await);
    let controller = place.controller("controller", &ControllerOptions::default());
    let visit = Visit::to(&place).await;
    visit.leads("controller").await;
    visit.create(&tenant("acme", &json!({}))).await;
    visit.state("Tenant", None, "acme", "Active").await;
    for name in ["shop", "mail"] {
        visit.create(&app("acme-prod", name, &json!({ "replicas": 2 }))).await;
        visit.state("AppDeployment", INSIDE, name, "Available").await;
    }
    (place, controller, visit)
}

#[tokio::test]
async fn what_is_detached_runs_on_unwatched_and_is_taken_in_again_when_somebody_says_so() {
    let (place, _controller, visit) = stage("detach").await;
    let stream = uid(&visit.get("AppDeployment", INSIDE, "shop").await);
    let deployment = visit.get("Deployment", INSIDE, "shop").await;

    let told = said(&place, "detach app acme-prod/shop --yes --as ann@desk --reason handed-over");
    assert!(told.starts_with("detached: AppDeployment acme-prod/shop\n"), "{told}");
    let story = visit.story(&stream).await;
    assert_eq!(story.steps().last().map(String::as_str), Some("Detached:Detached"));
    assert_eq!(story.billable().replicas, 0, "nothing more is charged");
    assert_eq!(story.last().evidence.as_deref(), Some("ann@desk: handed-over"));
    let left = visit.get("AppDeployment", INSIDE, "shop").await;
    assert!(left.finalizers().is_empty(), "{:?}", left.finalizers());
    assert_eq!(condition(&left, "Ready")["reason"], "Detached");
    let runs = visit.get("Deployment", INSIDE, "shop").await;
    assert_eq!((runs.uid(), runs.metadata.generation), (deployment.uid(), deployment.metadata.generation));
    let why = refused(&place, "resume app acme-prod/shop");
    assert!(why.contains("by ann@desk: handed-over; `trueup attach`"), "{why}");

    // Nobody watches it any more: what is asked for is not made so, nor recorded.
    visit.respec("AppDeployment", INSIDE, "shop", &json!({ "replicas": 3 })).await;
    visit.delete("Deployment", INSIDE, "mail").await;
    visit.current("AppDeployment", INSIDE, "mail").await;
    assert_eq!(visit.get("Deployment", INSIDE, "shop").await.data["spec"]["replicas"], 2);
    assert_eq!(visit.story(&stream).await.last().sequence, story.last().sequence);
    audited(&visit);

    let told = said(&place, "attach app acme-prod/shop");
    assert!(told.starts_with("attached: AppDeployment acme-prod/shop"), "{told}");
    visit.state("AppDeployment", INSIDE, "shop", "Available").await;
    let again = visit.story(&stream).await;
    let since = usize::try_from(story.last().sequence.get()).unwrap();
    assert_eq!(again.steps()[since], "Pending:Attached", "the same stream goes on: {:?}", again.steps());
    assert_eq!(again.billable().replicas, 3);
    assert_eq!(
        visit.get("Deployment", INSIDE, "shop").await.uid(),
        deployment.uid(),
        "what ran is taken in, not made anew"
    );
    reckon(&visit, None).await;

    // A tenant goes with all that is its, and its word outlives it.
    let told = said(&place, "detach tenant acme --yes --as ann@desk");
    assert!(told.starts_with("detached: Tenant acme, with 2 AppDeployments\n"), "{told}");
    visit.delete("Tenant", None, "acme").await;
    visit.gone_in("Tenant", None, "acme", Duration::from_secs(10)).await;
    throughout(Duration::from_secs(3), "nothing is taken in", || async {
        let (app, head) = (visit.get("AppDeployment", INSIDE, "shop").await, visit.story(&stream).await);
        let let_be = app.finalizers().is_empty() && head.last().to.as_str() == "Detached";
        if let_be { Ok(()) } else { Err(format!("{:?} {:?}", app.finalizers(), head.steps())) }
    })
    .await;
    audited(&visit);

    // One that is made anew under its name takes everything in.
    visit.create(&tenant("acme", &json!({}))).await;
    visit.state("Tenant", None, "acme", "Active").await;
    visit.state("AppDeployment", INSIDE, "shop", "Available").await;
    visit.state("AppDeployment", INSIDE, "mail", "Available").await;
    assert_eq!(
        visit.get("Deployment", INSIDE, "shop").await.uid(),
        deployment.uid(),
        "what ran is taken in, not made anew"
    );
    reckon(&visit, None).await;
    audited(&visit);
}

#[tokio::test]
async fn whoever_leaves_keeps_what_runs_and_nothing_hangs() {
    let (place, controller, visit) = stage("leaving").await;
    for manifest in vault("acme-prod") {
        visit.create(&manifest).await;
    }
    visit.create(&repository("acme-prod", "vault", &json!({}))).await;
    visit.create(&backup("acme-prod", "nightly", &json!({}))).await;
    let nightly = uid(&visit.get("Backup", INSIDE, "nightly").await);
    visit.recorded(&nightly, "Running").await;

    let told = said(&place, "detach --all --yes --as ann@desk --reason leaving");
    let expected = "detached: the whole installation, with 1 Tenant, 2 AppDeployments and 1 Backup\n";
    assert!(told.starts_with(expected), "{told}");
    for head in visit.heads().await {
        assert_eq!((head.state.as_str(), head.closed_at.is_some()), ("Detached", true), "{head:?}");
    }
    audited(&visit);
    for kind in ["Tenant", "AppDeployment", "Backup", "BillingSink"] {
        for object in visit.list(kind, None).await {
            assert!(object.finalizers().is_empty(), "{kind} {} has {:?}", object.name_any(), object.finalizers());
        }
    }
    // What comes now is not taken in.
    visit.create(&app("acme-prod", "late", &json!({}))).await;
    let late = visit
        .until("AppDeployment", INSIDE, "late", "says that it is let be", |object| {
            condition(object, "Ready")["reason"] == "Detached"
        })
        .await;
    assert!(late.finalizers().is_empty() && visit.find("Deployment", INSIDE, "late").await.is_none());

    // Trueup goes, its objects go after it, and nothing waits for anybody.
    controller.signal("TERM");
    assert_eq!(controller.exit_code(PATIENCE).await, 0);
    let deployments = visit.list("Deployment", INSIDE).await.len();
    for (kind, namespace, name) in [
        ("Tenant", None, "acme"),
        ("AppDeployment", INSIDE, "shop"),
        ("Backup", INSIDE, "nightly"),
        ("BillingSink", None, "billing"),
    ] {
        visit.delete(kind, namespace, name).await;
        visit.gone_in(kind, namespace, name, Duration::from_secs(10)).await;
    }
    assert!(
        visit.find("Namespace", None, "acme-prod").await.is_some_and(|it| it.metadata.deletion_timestamp.is_none())
    );
    assert_eq!(visit.list("Deployment", INSIDE).await.len(), deployments, "every workload runs on");

    // One that comes back knows that it left, until somebody takes everything in again.
    let _again = place.controller("again", &ControllerOptions::default());
    visit.leads("again").await;
    let kept = uid(&visit.get("AppDeployment", INSIDE, "mail").await);
    throughout(Duration::from_secs(3), "nothing is taken in", || async {
        let state = visit.story(&kept).await.last().to.clone();
        if state.as_str() == "Detached" { Ok(()) } else { Err(format!("it is {state}")) }
    })
    .await;
    visit.create(&tenant("acme", &json!({}))).await;
    said(&place, "attach --all");
    visit.state("Tenant", None, "acme", "Active").await;
    visit.state("AppDeployment", INSIDE, "mail", "Available").await;
    assert!(visit.story(&kept).await.last().sequence > Sequence::new(3));
    audited_without_receiver(&visit);
}

/// The sink is gone, so billing was told nothing since.
fn audited_without_receiver(visit: &Visit) {
    let words = format!("audit --database-url {}", visit.place.ledger);
    let told = said(&visit.place, &words);
    assert!(told.lines().last().is_some_and(|last| last.starts_with("audit: all invariants hold")), "{told}");
}

#[tokio::test]
async fn a_paused_installation_records_and_touches_nothing_until_it_is_resumed() {
    let (place, controller, visit) = stage("pausing").await;
    let shop = uid(&visit.get("AppDeployment", INSIDE, "shop").await);
    let told = said(&place, "pause --all --as ann@desk --reason upgrade");
    assert!(told.starts_with("paused: the whole installation, with 1 Tenant and 2 AppDeployments\n"), "{told}");
    let why = refused(&place, "resume app acme-prod/shop");
    assert!(why.contains("the whole installation is paused, by ann@desk: upgrade"), "{why}");

    // The next leader knows it before it looks at anything.
    controller.kill();
    visit.respec("Deployment", INSIDE, "shop", &json!({ "replicas": 1 })).await;
    let _again = place.controller("again", &ControllerOptions::default());
    visit.leads("again").await;
    eventually(PATIENCE, "what happens is recorded", || async {
        let billed = visit.story(&shop).await.billable().replicas;
        if billed == 1 { Ok(()) } else { Err(format!("{billed} pods are billed")) }
    })
    .await;
    assert_eq!(visit.get("Deployment", INSIDE, "shop").await.data["spec"]["replicas"], 1, "and not mended");

    let told = said(&place, "resume --all");
    assert!(told.starts_with("resumed: the whole installation"), "{told}");
    visit.state("AppDeployment", INSIDE, "shop", "Available").await;
    let asked = |object: &kube::core::DynamicObject| object.data["spec"]["replicas"] == 2;
    visit.until("Deployment", INSIDE, "shop", "is as was asked again", asked).await;

    // A Tenant's word holds for all that is its, and only that.
    said(&place, "pause tenant acme --as ann@desk");
    for name in ["shop", "mail"] {
        let shown = visit.get("AppDeployment", INSIDE, name).await;
        assert_eq!(condition(&shown, "Paused")["status"], "True", "{name}: {}", shown.data["status"]);
    }
    said(&place, "resume tenant acme");
    visit.current("AppDeployment", INSIDE, "shop").await;
    reckon(&visit, None).await;
    audited(&visit);
}
