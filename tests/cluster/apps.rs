//! Applications: what runs, what is shown of it, and what is billed for it.

use kube::{ResourceExt as _, core::DynamicObject};
use serde_json::{Value, json};

use crate::support::*;

/// A tenant of the test's own, with one namespace.
async fn stage(name: &str) -> (Visit, String) {
    let visit = Visit::shared().await;
    visit.create(&tenant(name, &json!({}))).await;
    visit.current("Tenant", None, name).await;
    (visit, format!("{name}-prod"))
}

fn milli(replicas: u64) -> trueup::domain::Billable {
    trueup::domain::Billable {
        replicas: u32::try_from(replicas).unwrap(),
        cpu_millicores: 100 * replicas,
        memory_bytes: (64 << 20) * replicas,
        storage_bytes: 0,
    }
}

#[tokio::test]
async fn an_application_runs_and_is_billed_for_what_runs() {
    let (visit, namespace) = stage("runs").await;
    let inside = Some(namespace.as_str());
    let made = visit.create(&app(&namespace, "shop", &json!({ "replicas": 2 }))).await;
    let shown = visit.current("AppDeployment", inside, "shop").await;
    assert_eq!(shown.data["status"]["state"], "Available");
    assert_eq!(shown.data["status"]["availableReplicas"], 2);
    let deployment = visit.get("Deployment", inside, "shop").await;
    assert_eq!(deployment.annotations()["trueup.dev/owner-uid"], made.uid().unwrap());
    assert_eq!(deployment.data["spec"]["template"]["spec"]["automountServiceAccountToken"], false);
    let story = visit.story(&uid(&made)).await;
    assert_eq!(story.states(), ["Pending", "Progressing", "Available"], "{:?}", story.steps());
    assert_eq!(story.billable(), milli(2));
    let first = &story.events()[0];
    let created = made.metadata.creation_timestamp.clone().unwrap().0;
    assert_eq!(first.effective_at, created.into(), "a stream opens when its object was made");
    assert_eq!((first.from.as_ref(), first.account.as_str()), (None, "acct-runs"));
    reckon(&visit, Some("runs")).await;
}

#[tokio::test]
async fn scaling_changes_what_is_billed_and_nothing_more() {
    let (visit, namespace) = stage("scales").await;
    let inside = Some(namespace.as_str());
    let made = visit.create(&app(&namespace, "shop", &json!({}))).await;
    visit.state("AppDeployment", inside, "shop", "Available").await;
    visit.respec("AppDeployment", inside, "shop", &json!({ "replicas": 4 })).await;
    visit.current("AppDeployment", inside, "shop").await;
    assert_eq!(visit.story(&uid(&made)).await.billable(), milli(4));
    visit.respec("AppDeployment", inside, "shop", &json!({ "replicas": 2 })).await;
    visit.current("AppDeployment", inside, "shop").await;
    let story = visit.story(&uid(&made)).await;
    assert_eq!(story.billable(), milli(2));
    let up_and_down = ["Pending", "Progressing", "Available", "Progressing", "Available", "Progressing", "Available"];
    assert_eq!(story.states(), up_and_down, "{:?}", story.steps());
    let most = story.replicas().into_iter().max();
    assert_eq!(most, Some(4), "{:?}", story.replicas());

    // By the scale subresource, as kubectl and autoscalers do.
    let scale = json!({ "spec": { "replicas": 3 } });
    let api = visit.api("AppDeployment", inside);
    api.patch_scale("shop", &kube::api::PatchParams::default(), &kube::api::Patch::Merge(&scale)).await.unwrap();
    visit.current("AppDeployment", inside, "shop").await;
    assert_eq!(visit.story(&uid(&made)).await.billable(), milli(3));
    reckon(&visit, Some("scales")).await;
}

#[tokio::test]
async fn a_new_image_is_rolled_out() {
    let (visit, namespace) = stage("rolls").await;
    let inside = Some(namespace.as_str());
    let made = visit.create(&app(&namespace, "shop", &json!({ "replicas": 3 }))).await;
    visit.state("AppDeployment", inside, "shop", "Available").await;
    visit.respec("AppDeployment", inside, "shop", &json!({ "image": "registry.example/shop:2" })).await;
    visit.current("AppDeployment", inside, "shop").await;
    let deployment = visit.get("Deployment", inside, "shop").await;
    assert_eq!(deployment.data["spec"]["template"]["spec"]["containers"][0]["image"], "registry.example/shop:2");
    let story = visit.story(&uid(&made)).await;
    assert_eq!(story.states(), ["Pending", "Progressing", "Available", "Progressing", "Available"]);
    assert_eq!(story.events().last().unwrap().generation, 2);
    let rolling = story.rows.iter().position(|row| row.reason == "SpecChanged").unwrap();
    let least = story.replicas()[rolling..].iter().min().copied();
    assert_eq!(least, Some(3), "what serves goes on serving until it is replaced: {:?}", story.steps());
    reckon(&visit, Some("rolls")).await;
}

#[tokio::test]
async fn an_image_that_crashes_fails_while_the_old_pods_serve_and_a_good_one_mends_it() {
    let (visit, namespace) = stage("breaks").await;
    let inside = Some(namespace.as_str());
    let quick = json!({ "replicas": 2, "progressDeadlineSeconds": 3 });
    let made = visit.create(&app(&namespace, "shop", &quick)).await;
    visit.state("AppDeployment", inside, "shop", "Available").await;
    visit.respec("AppDeployment", inside, "shop", &json!({ "image": "registry.example/crash:2" })).await;
    let shown = visit.stalled("AppDeployment", inside, "shop", "ProgressDeadlineExceeded").await;
    assert_eq!(shown.data["status"]["state"], "Failed");
    let message = condition(&shown, "Stalled")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("exit code 1"), "it says what is wrong: {message}");
    let story = visit.story(&uid(&made)).await;
    assert_eq!(story.states(), ["Pending", "Progressing", "Available", "Progressing", "Failed"]);
    assert_eq!(story.billable(), milli(2), "the old pods serve and are billed");
    assert_eq!(visit.get("Deployment", inside, "shop").await.data["status"]["availableReplicas"], 2);

    visit.respec("AppDeployment", inside, "shop", &json!({ "image": "registry.example/shop:3" })).await;
    visit.current("AppDeployment", inside, "shop").await;
    let story = visit.story(&uid(&made)).await;
    assert_eq!(
        story.states(),
        ["Pending", "Progressing", "Available", "Progressing", "Failed", "Progressing", "Available"]
    );
    assert_eq!(story.billable(), milli(2));
    reckon(&visit, Some("breaks")).await;
}

#[tokio::test]
async fn an_image_that_never_worked_fails_and_is_billed_nothing() {
    let (visit, namespace) = stage("missing").await;
    let inside = Some(namespace.as_str());
    let spec = json!({ "image": "registry.example/missing:1", "progressDeadlineSeconds": 2 });
    let made = visit.create(&app(&namespace, "shop", &spec)).await;
    let shown = visit.stalled("AppDeployment", inside, "shop", "ProgressDeadlineExceeded").await;
    let message = condition(&shown, "Stalled")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("cannot be pulled"), "{message}");
    let story = visit.story(&uid(&made)).await;
    assert_eq!(story.states(), ["Pending", "Progressing", "Failed"]);
    assert!(story.replicas().iter().all(|replicas| *replicas == 0), "{:?}", story.replicas());
    reckon(&visit, Some("missing")).await;
}

#[tokio::test]
async fn pods_that_are_lost_are_not_billed_and_counted_again_when_they_are_back() {
    let (visit, namespace) = stage("degrades").await;
    let inside = Some(namespace.as_str());
    let made = visit.create(&app(&namespace, "shop", &json!({ "replicas": 2 }))).await;
    visit.state("AppDeployment", inside, "shop", "Available").await;
    let pods = visit.list("Pod", inside).await;
    let held = json!({ "metadata": { "annotations": { "trueup.test/hold": "true" } } });
    visit.merge("Pod", inside, &pods[0].name_any(), &held).await;
    visit.state("AppDeployment", inside, "shop", "Degraded").await;
    let story = visit.recorded(&uid(&made), "Degraded").await;
    assert_eq!(story.last().reason, "PodsUnavailable");
    assert_eq!(story.billable(), milli(1));
    let freed = json!({ "metadata": { "annotations": { "trueup.test/hold": null } } });
    visit.merge("Pod", inside, &pods[0].name_any(), &freed).await;
    visit.current("AppDeployment", inside, "shop").await;
    let story = visit.story(&uid(&made)).await;
    assert_eq!(story.states(), ["Pending", "Progressing", "Available", "Degraded", "Available"]);
    assert_eq!(story.billable(), milli(2));
    reckon(&visit, Some("degrades")).await;
}

#[tokio::test]
async fn suspending_stops_the_pods_and_the_bill_and_resuming_brings_both_back() {
    let (visit, namespace) = stage("naps").await;
    let inside = Some(namespace.as_str());
    let made = visit.create(&app(&namespace, "shop", &json!({ "replicas": 2 }))).await;
    visit.state("AppDeployment", inside, "shop", "Available").await;
    visit.respec("AppDeployment", inside, "shop", &json!({ "suspend": true })).await;
    visit.state("AppDeployment", inside, "shop", "Suspended").await;
    visit.current("AppDeployment", inside, "shop").await;
    let none = || async {
        let left = visit.list("Pod", inside).await.len();
        if left == 0 { Ok(()) } else { Err(format!("there are {left}")) }
    };
    eventually(PATIENCE, "no pod is left", none).await;
    assert_eq!(visit.story(&uid(&made)).await.billable(), trueup::domain::Billable::ZERO);
    visit.respec("AppDeployment", inside, "shop", &json!({ "suspend": false })).await;
    visit.current("AppDeployment", inside, "shop").await;
    let story = visit.story(&uid(&made)).await;
    assert_eq!(story.states(), ["Pending", "Progressing", "Available", "Suspended", "Progressing", "Available"]);
    assert_eq!(story.billable(), milli(2));
    reckon(&visit, Some("naps")).await;
}

#[tokio::test]
async fn restart_at_replaces_every_pod() {
    let (visit, namespace) = stage("restarts").await;
    let inside = Some(namespace.as_str());
    visit.create(&app(&namespace, "shop", &json!({ "replicas": 2 }))).await;
    visit.state("AppDeployment", inside, "shop", "Available").await;
    let before: Vec<_> = visit.list("Pod", inside).await.iter().map(uid).collect();
    visit.respec("AppDeployment", inside, "shop", &json!({ "restartAt": "2026-01-31T12:00:00Z" })).await;
    visit.current("AppDeployment", inside, "shop").await;
    let replaced = || async {
        let after: Vec<_> = visit.list("Pod", inside).await.iter().map(uid).collect();
        let is_so = after.len() == 2 && after.iter().all(|pod| !before.contains(pod));
        if is_so { Ok(()) } else { Err(format!("there were {before:?} and are {after:?}")) }
    };
    eventually(PATIENCE, "both pods are others", replaced).await;
    reckon(&visit, Some("restarts")).await;
}

#[tokio::test]
async fn a_service_comes_and_goes_with_the_ports() {
    let (visit, namespace) = stage("serves").await;
    let inside = Some(namespace.as_str());
    visit.create(&app(&namespace, "shop", &json!({}))).await;
    visit.current("AppDeployment", inside, "shop").await;
    assert!(visit.find("Service", inside, "shop").await.is_none());
    let ports =
        json!({ "ports": [{ "name": "http", "port": 80, "containerPort": 8080 }, { "name": "admin", "port": 81 }] });
    visit.respec("AppDeployment", inside, "shop", &ports).await;
    visit.current("AppDeployment", inside, "shop").await;
    let service = visit.get("Service", inside, "shop").await;
    let offered = service.data["spec"]["ports"].as_array().unwrap();
    let offered: Vec<_> = offered.iter().map(|port| (port["name"].clone(), port["port"].clone())).collect();
    assert_eq!(offered, [(json!("http"), json!(80)), (json!("admin"), json!(81))]);
    visit.respec("AppDeployment", inside, "shop", &json!({ "ports": [{ "name": "admin", "port": 81 }] })).await;
    visit.current("AppDeployment", inside, "shop").await;
    let service = visit.get("Service", inside, "shop").await;
    assert_eq!(service.data["spec"]["ports"].as_array().unwrap().len(), 1, "a port that is taken out is gone");
    visit.respec("AppDeployment", inside, "shop", &json!({ "ports": [] })).await;
    visit.gone("Service", inside, "shop").await;
    visit.current("AppDeployment", inside, "shop").await;
    reckon(&visit, Some("serves")).await;
}

#[tokio::test]
async fn what_somebody_changed_on_a_deployment_is_put_right() {
    let (visit, namespace) = stage("mended").await;
    let inside = Some(namespace.as_str());
    visit.create(&app(&namespace, "shop", &json!({ "ports": [{ "name": "http", "port": 80 }] }))).await;
    visit.current("AppDeployment", inside, "shop").await;
    visit.respec("Deployment", inside, "shop", &json!({ "replicas": 5 })).await;
    visit.until("Deployment", inside, "shop", "has one replica", |it| it.data["spec"]["replicas"] == 1).await;
    visit.delete("Service", inside, "shop").await;
    visit.until("Service", inside, "shop", "is made again", |_| true).await;
    let marks = json!({ "metadata": {
        "labels": { "app.kubernetes.io/managed-by": "somebody" }, "annotations": { "trueup.dev/owner-uid": null },
    } });
    let unmarked = visit.merge("Service", inside, "shop", &marks).await;
    visit.stalled("AppDeployment", inside, "shop", "NameTaken").await;
    let left = visit.get("Service", inside, "shop").await;
    assert_eq!(left.resource_version(), unmarked.resource_version(), "what was taken from Trueup is left alone");
    visit.delete("Service", inside, "shop").await;
    visit.current("AppDeployment", inside, "shop").await;
    visit.delete("Deployment", inside, "shop").await;
    let first = uid(&visit.get("AppDeployment", inside, "shop").await);
    visit.until("Deployment", inside, "shop", "is made again", |it| it.metadata.deletion_timestamp.is_none()).await;
    visit.current("AppDeployment", inside, "shop").await;
    assert_eq!(visit.story(&first).await.billable(), milli(1));
    reckon(&visit, Some("mended")).await;
}

#[tokio::test]
async fn a_deployment_that_trueup_did_not_make_is_left_alone_until_it_is_gone() {
    let (visit, namespace) = stage("taken").await;
    let inside = Some(namespace.as_str());
    let foreign = visit.create(&foreign_deployment(&namespace, "shop")).await;
    visit.create(&app(&namespace, "shop", &json!({ "replicas": 2 }))).await;
    let shown = visit.stalled("AppDeployment", inside, "shop", "NameTaken").await;
    let message = condition(&shown, "Stalled")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("Deployment taken-prod/shop"), "{message}");
    let left = visit.get("Deployment", inside, "shop").await;
    assert_eq!(
        (uid(&left), &left.data["spec"]),
        (uid(&foreign), &visit.get("Deployment", inside, "shop").await.data["spec"])
    );
    assert_eq!(left.metadata.generation, Some(1), "nobody changed it");
    assert_eq!(left.labels(), foreign.labels());
    assert_eq!(
        visit.story_of("AppDeployment", inside, "shop").await.billable().replicas,
        0,
        "what is not its is not billed"
    );

    visit.delete("Deployment", inside, "shop").await;
    visit.current("AppDeployment", inside, "shop").await;
    let own = visit.get("Deployment", inside, "shop").await;
    assert_eq!(own.labels()["trueup.dev/app"], "shop");
    reckon(&visit, Some("taken")).await;

    // Deleting an application leaves what is not its.
    visit.create(&foreign_deployment(&namespace, "blog")).await;
    visit.create(&app(&namespace, "blog", &json!({}))).await;
    visit.stalled("AppDeployment", inside, "blog", "NameTaken").await;
    visit.delete("AppDeployment", inside, "blog").await;
    visit.gone("AppDeployment", inside, "blog").await;
    let left = visit.get("Deployment", inside, "blog").await;
    assert!(left.metadata.deletion_timestamp.is_none());
    reckon(&visit, Some("taken")).await;
}

fn foreign_deployment(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "namespace": namespace, "labels": { "made-by": "hand" } },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "by": "hand" } },
            "template": {
                "metadata": { "labels": { "by": "hand" } },
                "spec": { "containers": [{ "name": "app", "image": "registry.example/own:1" }] },
            },
        },
    })
}

#[tokio::test]
async fn an_application_in_a_namespace_of_no_tenant_is_not_deployed_and_can_be_deleted() {
    let visit = Visit::shared().await;
    visit.create(&namespace("nobodys")).await;
    let inside = Some("nobodys");
    let made = visit.create(&app("nobodys", "shop", &json!({}))).await;
    let shown = visit.stalled("AppDeployment", inside, "shop", "NoTenant").await;
    assert!(shown.finalizers().is_empty(), "{:?}", shown.finalizers());
    assert!(shown.data["status"]["state"].is_null(), "no stream is opened: {}", shown.data["status"]);
    assert!(visit.find("Deployment", inside, "shop").await.is_none());
    let story = visit.story(&uid(&made)).await;
    assert!(story.rows.is_empty(), "{:?}", story.steps());
    visit.delete("AppDeployment", inside, "shop").await;
    visit.gone("AppDeployment", inside, "shop").await;
    visit.create(&backup("nobodys", "copy", &json!({}))).await;
    let shown = visit.stalled("Backup", inside, "copy", "NoTenant").await;
    assert!(shown.finalizers().is_empty());
    visit.delete("Backup", inside, "copy").await;
    visit.gone("Backup", inside, "copy").await;
}

#[tokio::test]
async fn a_forged_label_makes_no_tenants_namespace() {
    let visit = Visit::shared().await;
    visit.create(&tenant("victim", &json!({}))).await;
    visit.current("Tenant", None, "victim").await;
    let mut forged = namespace("forged");
    forged["metadata"]["labels"] = json!({ "trueup.dev/tenant": "victim", "app.kubernetes.io/managed-by": "trueup" });
    visit.create(&forged).await;
    visit.create(&app("forged", "shop", &json!({}))).await;
    visit.stalled("AppDeployment", Some("forged"), "shop", "NoTenant").await;
    let left = visit.get("Namespace", None, "forged").await;
    assert!(left.metadata.deletion_timestamp.is_none(), "Trueup did not make it and does not delete it");
    visit.current("Tenant", None, "victim").await;
    let heads = visit.heads().await;
    let billed = heads.iter().filter(|head| head.subject.tenant.as_str() == "victim").count();
    assert_eq!(billed, 1, "the tenant alone");
    visit.delete("AppDeployment", Some("forged"), "shop").await;
    visit.gone("AppDeployment", Some("forged"), "shop").await;
}

#[tokio::test]
async fn an_application_made_before_its_tenant_is_deployed_once_the_tenant_is_there() {
    let visit = Visit::shared().await;
    visit.create(&tenant("early", &json!({ "namespaces": [] }))).await;
    visit.create(&namespace("early-prod")).await;
    let inside = Some("early-prod");
    visit.create(&app("early-prod", "shop", &json!({}))).await;
    visit.stalled("AppDeployment", inside, "shop", "NoTenant").await;
    // An administrator hands the namespace over.
    let labels = json!({ "trueup.dev/tenant": "early", "app.kubernetes.io/managed-by": "trueup" });
    visit.merge("Namespace", None, "early-prod", &json!({ "metadata": { "labels": labels } })).await;
    visit.respec("Tenant", None, "early", &json!({ "namespaces": [{ "name": "prod" }] })).await;
    visit.current("Tenant", None, "early").await;
    visit.state("AppDeployment", inside, "shop", "Available").await;
    reckon(&visit, Some("early")).await;
}

#[tokio::test]
async fn deleting_and_making_anew_under_the_same_name_gives_two_streams() {
    let (visit, namespace) = stage("twice").await;
    let inside = Some(namespace.as_str());
    let first = visit.create(&app(&namespace, "shop", &json!({ "replicas": 2 }))).await;
    visit.state("AppDeployment", inside, "shop", "Available").await;
    visit.delete("AppDeployment", inside, "shop").await;
    visit.gone("AppDeployment", inside, "shop").await;
    assert!(visit.find("Deployment", inside, "shop").await.is_none(), "what it was made of went first");
    let second = visit.create(&app(&namespace, "shop", &json!({ "replicas": 1 }))).await;
    visit.state("AppDeployment", inside, "shop", "Available").await;
    let story = visit.story(&uid(&first)).await;
    assert_eq!(story.states(), ["Pending", "Progressing", "Available", "Terminating", "Deleted"]);
    assert_eq!(story.billable().replicas, 0);
    let story = visit.story(&uid(&second)).await;
    assert_eq!(story.states(), ["Pending", "Progressing", "Available"]);
    assert_eq!(story.billable(), milli(1));
    reckon(&visit, Some("twice")).await;
}

#[tokio::test]
async fn a_paused_application_is_recorded_and_not_touched() {
    let (visit, namespace) = stage("paused").await;
    let inside = Some(namespace.as_str());
    let made = visit.create(&app(&namespace, "shop", &json!({ "replicas": 2 }))).await;
    visit.state("AppDeployment", inside, "shop", "Available").await;
    let paused = json!({
        "metadata": { "annotations": { "trueup.dev/reconcile": "disabled" } },
        "spec": { "replicas": 5, "ports": [{ "name": "http", "port": 80 }] },
    });
    visit.merge("AppDeployment", inside, "shop", &paused).await;
    let says = |object: &DynamicObject| {
        condition(object, "Paused")["status"] == "True" && condition(object, "Ready")["status"] == "False"
    };
    visit.until("AppDeployment", inside, "shop", "says that it is paused", says).await;
    // What happens is recorded all the same.
    visit.respec("Deployment", inside, "shop", &json!({ "replicas": 1 })).await;
    let stream = uid(&made);
    eventually(PATIENCE, "one pod is billed", || async {
        let story = visit.story(&stream).await;
        if story.billable() == milli(1) {
            Ok(())
        } else {
            Err(format!("{:?} are: {:?}", story.replicas(), story.steps()))
        }
    })
    .await;
    assert_eq!(visit.get("Deployment", inside, "shop").await.data["spec"]["replicas"], 1);
    assert!(visit.find("Service", inside, "shop").await.is_none());

    let on = json!({ "metadata": { "annotations": { "trueup.dev/reconcile": null } } });
    visit.merge("AppDeployment", inside, "shop", &on).await;
    visit.current("AppDeployment", inside, "shop").await;
    visit.get("Service", inside, "shop").await;
    assert_eq!(visit.story(&uid(&made)).await.billable(), milli(5));
    reckon(&visit, Some("paused")).await;
}

#[tokio::test]
async fn a_spec_with_everything_in_it_settles() {
    let (visit, namespace) = stage("full").await;
    let inside = Some(namespace.as_str());
    let spec = json!({
        "command": ["/shop"], "args": ["--fast", ""],
        "env": [
            { "name": "EMPTY", "value": "" }, { "name": "MODE", "value": "1000m" },
            { "name": "POD", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
            { "name": "KEY", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k", "optional": true } } },
        ],
        "envFrom": [{ "configMapRef": { "name": "c", "optional": true } }, { "prefix": "X_", "secretRef": { "name": "s", "optional": true } }],
        "ports": [{ "name": "http", "port": 80, "containerPort": 8080 }],
        "replicas": 2,
        "resources": { "cpu": "0.25", "memory": "1024Mi" },
        "probes": {
            "readiness": { "httpGet": { "path": "/", "port": "http" }, "initialDelaySeconds": 0, "periodSeconds": 3 },
            "liveness": { "tcpSocket": { "port": 8080 }, "timeoutSeconds": 2 },
            "startup": { "exec": { "command": ["true"] }, "failureThreshold": 30 },
        },
        "progressDeadlineSeconds": 61, "revisionHistoryLimit": 0,
        "imagePullSecrets": [{ "name": "pull" }],
        "podLabels": { "team": "shop" },
        "restartAt": "2026-01-31T12:00:00.5Z",
    });
    let made = visit.create(&app(&namespace, "shop", &spec)).await;
    let shown = visit.current("AppDeployment", inside, "shop").await;
    assert_eq!(shown.data["status"]["state"], "Available");
    assert_eq!(visit.story(&uid(&made)).await.billable().memory_bytes, 2 << 30);
    // Settled means that nobody writes to it any more.
    let deployment = visit.get("Deployment", inside, "shop").await;
    let version = (deployment.metadata.generation, shown.resource_version());
    throughout(std::time::Duration::from_secs(3), "nothing is written", || async {
        let deployment = visit.get("Deployment", inside, "shop").await;
        let app = visit.get("AppDeployment", inside, "shop").await;
        let now = (deployment.metadata.generation, app.resource_version());
        if now == version { Ok(()) } else { Err(format!("the versions were {version:?} and are {now:?}")) }
    })
    .await;
    reckon(&visit, Some("full")).await;
}
