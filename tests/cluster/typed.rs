//! What the pages tell people to type to a cluster that lives, typed as it stands and in its order.

use std::{process::Output, sync::Arc};

use serde_json::json;

use crate::support::*;

const INSIDE: Option<&str> = Some("acme-prod");
const LEAVING: &str = "docs/leaving.md";

/// Types the command that begins so on `page`, as the runbooks say: with the ledger's address and the cluster's in the
/// environment. What is asked about on a terminal is answered.
fn typed(place: &Place, page: &str, beginning: &str, more: &[&str]) -> Output {
    let words = documented(page, beginning, "http://receiver:8090", &place.receiver_url());
    let mut command = trueup();
    command.env("DATABASE_URL", &place.ledger).env("KUBECONFIG", place.cluster.admin()).env("USER", "ann");
    command.args(&words).args(more).output().expect("running trueup")
}

#[track_caller]
fn done(place: &Place, page: &str, beginning: &str, more: &[&str]) -> String {
    let output = typed(place, page, beginning, more);
    assert!(output.status.success(), "{page}: trueup {beginning}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test]
async fn the_commands_of_the_pages_do_to_a_cluster_what_the_pages_say() {
    let place = Arc::new(Place::new("typed", Database::Sqlite).await);
    let _controller = place.controller("controller", &ControllerOptions::default());
    let visit = Visit::to(&place).await;
    visit.leads("controller").await;
    visit.create(&tenant("acme", &json!({}))).await;
    visit.state("Tenant", None, "acme", "Active").await;
    visit.create(&app("acme-prod", "web", &json!({ "replicas": 1 }))).await;
    visit.state("AppDeployment", INSIDE, "web", "Available").await;
    let web = uid(&visit.get("AppDeployment", INSIDE, "web").await);
    reckon(&visit, None).await;

    let told = done(&place, "docs/quickstart.md", "audit --receiver", &[]);
    assert!(
        told.trim_end().lines().last().is_some_and(|last| last.starts_with("audit: all invariants hold")),
        "{told}"
    );
    done(&place, "docs/runbooks/audit-violation.md", "audit", &[]);
    done(&place, "docs/doctor.md", "doctor", &[]);
    done(&place, "docs/operations.md", "watch", &["--once"]);

    let paused = |kind: &'static str, namespace: Option<&'static str>, name: &'static str| {
        let visit = &visit;
        async move { condition(&visit.get(kind, namespace, name).await, "Paused")["status"] == "True" }
    };
    done(&place, LEAVING, "pause --all", &[]);
    assert!(paused("AppDeployment", INSIDE, "web").await && paused("Tenant", None, "acme").await);
    done(&place, LEAVING, "resume --all", &[]);
    assert!(!paused("AppDeployment", INSIDE, "web").await);
    done(&place, LEAVING, "pause appdeployment", &[]);
    assert!(paused("AppDeployment", INSIDE, "web").await && !paused("Tenant", None, "acme").await);
    done(&place, LEAVING, "resume appdeployment", &[]);
    done(&place, LEAVING, "pause tenant", &[]);
    assert!(paused("AppDeployment", INSIDE, "web").await);
    done(&place, LEAVING, "resume tenant", &[]);

    done(&place, LEAVING, "detach appdeployment", &["--yes"]);
    assert_eq!(visit.story(&web).await.last().to.as_str(), "Detached");
    done(&place, LEAVING, "attach appdeployment", &[]);
    visit.state("AppDeployment", INSIDE, "web", "Available").await;
    done(&place, LEAVING, "detach --all", &["--yes"]);
    assert!(visit.heads().await.iter().all(|head| head.state.as_str() == "Detached"));
    done(&place, LEAVING, "attach --all", &[]);
    visit.state("AppDeployment", INSIDE, "web", "Available").await;
    reckon(&visit, None).await;
    audited(&visit);
}
