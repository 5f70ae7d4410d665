//! What the controller says, and how it ends, when it is started wrongly: one line, an exit code, and nothing sent.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::support::*;

const SOON: Duration = Duration::from_secs(40);

/// Runs a controller that must end by itself; answers its exit code and the last line that it said.
async fn refused(place: &Place, name: &str, options: &ControllerOptions) -> (i32, String) {
    let process = place.controller(name, options);
    let code = process.exit_code(SOON).await;
    let said = process.said();
    let line = said.lines().rfind(|line| line.starts_with("trueup: ") || line.starts_with("error: "));
    (code, line.unwrap_or(&said).to_owned())
}

fn with_ledger(url: &str) -> ControllerOptions {
    ControllerOptions { database_url: Some(url.to_owned()), ..ControllerOptions::default() }
}

#[tokio::test]
async fn a_wrong_start_is_one_clear_line_and_an_exit_code() {
    let place = Arc::new(Place::new("commandline", Database::Sqlite).await);

    let (code, line) = refused(&place, "scheme", &with_ledger("mysql://root:hush@127.0.0.1/trueup")).await;
    assert_eq!(code, 2, "{line}");
    assert!(line.contains("DATABASE_URL") && line.contains("postgres://") && !line.contains("hush"), "{line}");

    let (code, line) = refused(&place, "database", &with_ledger("postgres://trueup:hush@127.0.0.1:1/trueup")).await;
    assert_eq!(code, 3, "{line}");
    assert!(line.contains("database") && !line.contains("hush"), "{line}");

    let nowhere = place.folder().join("nowhere.kubeconfig");
    let text = std::fs::read_to_string(place.cluster.controller()).unwrap();
    let server = text.lines().find_map(|line| line.trim().strip_prefix("server: ")).unwrap();
    std::fs::write(&nowhere, text.replace(server, "https://127.0.0.1:1")).unwrap();
    let options = ControllerOptions { kubeconfig: Some(nowhere), ..ControllerOptions::default() };
    let (code, line) = refused(&place, "unreachable", &options).await;
    assert_eq!(code, 3, "{line}");
    assert!(line.contains("https://127.0.0.1:1") && line.contains("is it running"), "{line}");

    let missing = PathBuf::from("/nonexistent/kubeconfig");
    let options = ControllerOptions { kubeconfig: Some(missing), ..ControllerOptions::default() };
    let (code, line) = refused(&place, "no-kubeconfig", &options).await;
    assert_eq!(code, 2, "{line}");
    assert!(line.contains("KUBECONFIG"), "{line}");

    let options = ControllerOptions { args: vec!["--no-such-flag"], ..ControllerOptions::default() };
    let (code, line) = refused(&place, "flag", &options).await;
    assert_eq!(code, 2, "{line}");
    assert!(line.contains("--no-such-flag"), "{line}");

    let options = ControllerOptions { args: vec!["--request-timeout-ms", "5000"], ..ControllerOptions::default() };
    let (code, line) = refused(&place, "timeout", &options).await;
    assert_eq!(code, 2, "{line}");
    assert!(line.contains("--lease-seconds"), "{line}");
}

#[tokio::test]
async fn a_copy_of_a_ledger_or_of_a_cluster_charges_nobody() {
    let place = Arc::new(Place::new("copies", Database::Sqlite).await);
    let visit = Visit::to(&place).await;
    let controller = place.controller("controller", &ControllerOptions::default());
    visit.leads("controller").await;
    controller.signal("TERM");
    assert_eq!(controller.exit_code(SOON).await, 0);

    let fresh = format!("sqlite:{}", place.folder().join("fresh.db").display());
    let (code, line) = refused(&place, "fresh", &with_ledger(&fresh)).await;
    assert_eq!(code, 2, "{line}");
    assert!(line.contains("trueup-installation") && line.contains("Nothing was sent"), "{line}");

    let other = Cluster::up("other", Mode::ControlPlane);
    let there = ControllerOptions { kubeconfig: Some(other.admin()), ..ControllerOptions::default() };
    let (code, line) = refused(&place, "no-crds", &there).await;
    assert_eq!(code, 2, "{line}");
    assert!(line.contains("tenants.trueup.dev") && line.contains("trueup crds | kubectl apply"), "{line}");

    install(&Access::by(&other.admin()).await).await;
    let (code, line) = refused(&place, "other", &there).await;
    assert_eq!(code, 2, "{line}");
    assert!(line.contains("kube-system") && line.contains("Nothing was sent"), "{line}");
}
