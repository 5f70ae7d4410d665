//! What the controller says, and how it ends, when it is started wrongly: one line, an exit code, and nothing sent.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use trueup::receiver::Resources;

use crate::support::*;

const SOON: Duration = Duration::from_secs(75);

/// Starts a controller that must end by itself, with this code and one line that has these words.
async fn refused(place: &Place, name: &str, options: &ControllerOptions, code: i32, words: &[&str]) {
    let process = place.controller(name, options);
    let ended = process.exit_code(SOON).await;
    let said = process.said();
    let (last, before) =
        said.trim_end().rsplit_once('\n').map_or((said.trim_end(), ""), |(before, last)| (last, before));
    assert_eq!(ended, code, "{name}: {said}");
    // An API server's no may be one that it takes back: it is asked for a while, and that is said.
    let before = if before.contains(" WARN waiting to start ") && !before.contains('\n') { "" } else { before };
    // clap says more: how the command is used.
    let line = if code == 2 && said.starts_with("error: ") { said.lines().next().unwrap_or_default() } else { last };
    assert!(line.starts_with("trueup: ") || line.starts_with("error: "), "{name}: its last line is an error: {said}");
    assert!(line.starts_with("error: ") || before.is_empty(), "{name}: one line says it all: {said}");
    for word in words {
        assert!(line.contains(word), "{name}: expected the word {word:?} in {line}");
    }
    assert!(!said.contains("hush"), "{name}: a password is never shown: {said}");
}

fn with_ledger(url: &str) -> ControllerOptions {
    ControllerOptions { database_url: Some(url.to_owned()), ..ControllerOptions::default() }
}

fn with_kubeconfig(path: PathBuf) -> ControllerOptions {
    ControllerOptions { kubeconfig: Some(path), ..ControllerOptions::default() }
}

fn with_args(args: &[&str]) -> ControllerOptions {
    ControllerOptions { args: args.iter().map(ToString::to_string).collect(), ..ControllerOptions::default() }
}

/// The controller's kubeconfig with the value of one field replaced.
fn changed(place: &Place, field: &str, value: &str, name: &str) -> PathBuf {
    let text = std::fs::read_to_string(place.cluster.controller()).unwrap();
    let old = text.lines().find_map(|line| line.trim().strip_prefix(field)).unwrap_or_else(|| panic!("no {field}"));
    let path = place.folder().join(name);
    std::fs::write(&path, text.replace(old, value)).unwrap();
    path
}

#[tokio::test]
async fn a_wrong_start_is_one_clear_line_and_an_exit_code() {
    let visit = Visit::shared().await;
    let place = &visit.place;
    let scheme = with_ledger("mysql://root:hush@127.0.0.1/trueup");
    refused(place, "scheme", &scheme, 2, &["DATABASE_URL", "postgres://"]).await;
    let folder = with_ledger("sqlite:/nonexistent/folder/ledger.db");
    refused(place, "folder", &folder, 2, &["DATABASE_URL", "/nonexistent/folder"]).await;

    let missing = with_kubeconfig(PathBuf::from("/nonexistent/kubeconfig"));
    refused(place, "no-kubeconfig", &missing, 2, &["KUBECONFIG", "/nonexistent/kubeconfig"]).await;

    refused(place, "flag", &with_args(&["--no-such-flag"]), 2, &["--no-such-flag"]).await;
    let slow = with_args(&["--request-timeout-ms", "5000"]);
    refused(place, "timeout", &slow, 2, &["--lease-seconds", "5000"]).await;
    let lease = with_args(&["--lease-seconds", "0"]);
    refused(place, "lease", &lease, 2, &["--lease-seconds", "1..=300"]).await;
    // The API server's no is taken for an answer only after a while.
    let stranger = with_kubeconfig(changed(place, "token: ", "somebody-elses", "stranger.kubeconfig"));
    let namespace = with_args(&["--namespace", "not-there"]);
    tokio::join!(
        refused(place, "stranger", &stranger, 2, &["Unauthorized", "credentials"]),
        refused(place, "namespace", &namespace, 2, &["not-there/trueup-installation", "the chart"]),
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port =
        ControllerOptions { listen: Some(taken.local_addr().unwrap().to_string()), ..ControllerOptions::default() };
    refused(place, "port", &port, 2, &["--listen", &taken.local_addr().unwrap().to_string()]).await;
}

/// What a controller's `/readyz` says, and with which status.
async fn readiness(listen: &str) -> Result<(u16, String), String> {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let asked = client.get(format!("http://{listen}/readyz")).send().await.map_err(|error| error.to_string())?;
    let status = asked.status().as_u16();
    Ok((status, asked.text().await.map_err(|error| error.to_string())?))
}

/// Waits until `/readyz` has these words beside the status that this is not ready.
async fn waits_for(listen: &str, words: &[&str]) {
    eventually(SOON, &format!("/readyz says {words:?}"), || async {
        let (status, said) = readiness(listen).await?;
        let named = status == 503 && words.iter().all(|word| said.contains(word)) && !said.contains("hush");
        if named { Ok(()) } else { Err(format!("{status}: {said}")) }
    })
    .await;
}

#[tokio::test]
async fn what_is_out_of_reach_at_the_start_is_waited_for_and_named() {
    let place = Place::new("late", Database::Postgres).await;
    let listening = || format!("127.0.0.1:{}", free_port());
    let at =
        |listen: &str, options: ControllerOptions| ControllerOptions { listen: Some(listen.to_owned()), ..options };

    let (nowhere, typed) = (listening(), listening());
    let kubeconfig = changed(&place, "server: ", "https://127.0.0.1:1", "nowhere.kubeconfig");
    let lost = place.controller("nowhere", &at(&nowhere, with_kubeconfig(kubeconfig)));
    let url = with_ledger("postgres://trueup:hush@127.0.0.1:1/trueup");
    let mistyped = place.controller("mistyped", &at(&typed, url));
    waits_for(&nowhere, &["https://127.0.0.1:1", "Connection refused", "is it running"]).await;
    waits_for(&typed, &["the ledger", "does not answer"]).await;

    place.kill_postgres();
    let late = listening();
    let controller = place.controller("controller", &at(&late, ControllerOptions::default()));
    waits_for(&late, &["the ledger, to begin a term, since"]).await;
    place.revive_postgres();
    eventually(SOON, "it is ready and leads", || async {
        let (status, said) = readiness(&late).await?;
        let leads = status == 200 && controller.said().contains(" leading");
        if leads { Ok(()) } else { Err(format!("{status}: {said}{}", controller.tail())) }
    })
    .await;

    // An API server that was started a moment ago refuses everybody, and takes that back.
    controller.kill();
    let access = Access::by(&place.cluster.admin()).await;
    rights::grant(&access, rights::CONTROLLER, &[]).await;
    let early = listening();
    let controller = place.controller("early", &at(&early, ControllerOptions::default()));
    waits_for(&early, &["its start", "forbidden"]).await;
    rights::grant(&access, rights::CONTROLLER, &rights::rules_of_the_chart()).await;
    eventually(SOON, "what it may do is seen", || async {
        let leads = controller.said().contains(" leading");
        if leads { Ok(()) } else { Err(controller.tail()) }
    })
    .await;

    // Asked to end, one that waits does not wait any longer.
    for (process, what) in [(lost, "waiting to start"), (mistyped, "waiting for the ledger")] {
        process.signal("TERM");
        assert_eq!(process.exit_code(SOON).await, 0, "{}", process.tail());
        assert!(process.said().contains(what), "{}", process.said());
        assert!(!process.said().contains("hush"), "a password is never shown: {}", process.said());
    }
}

/// A copy of a ledger that is in use.
async fn copied(ledger: &str, to: &Path) -> String {
    let mut connection = ledger.parse::<sqlx::sqlite::SqliteConnectOptions>().unwrap().connect().await.unwrap();
    let copy = format!("VACUUM INTO '{}'", to.display());
    connection.execute(sqlx::AssertSqlSafe(copy)).await.unwrap();
    connection.close().await.unwrap();
    format!("sqlite:{}", to.display())
}

#[tokio::test]
async fn a_copy_of_a_ledger_or_of_a_cluster_charges_nobody() {
    let visit = Visit::shared().await;
    let place = &visit.place;
    let fresh = format!("sqlite:{}", place.folder().join("fresh.db").display());
    refused(place, "fresh", &with_ledger(&fresh), 2, &["trueup-installation", "Nothing was sent"]).await;

    let other = Cluster::up("other", Mode::ControlPlane);
    let copy = copied(&place.ledger, &place.folder().join("copy.db")).await;
    let there = |kubeconfig: PathBuf| ControllerOptions {
        kubeconfig: Some(kubeconfig),
        database_url: Some(copy.clone()),
        ..ControllerOptions::default()
    };
    refused(place, "no-rights", &there(other.controller()), 2, &["trueup-controller", "forbidden", "the chart"]).await;
    let what_to_do = "trueup crds | kubectl apply";
    refused(place, "no-crds", &there(other.admin()), 2, &["tenants.trueup.dev", what_to_do]).await;

    // Everything is there to be told to the same receiver, but for the right to do so.
    let access = Access::by(&other.admin()).await;
    install(&access).await;
    access.create(&sink("billing", &format!("{}/events", place.receiver_url()), &json!({}))).await;
    access.create(&tenant("cloned", &json!({}))).await;
    let words = ["kube-system", "Nothing was sent", "DATABASE_URL"];
    refused(place, "other", &there(other.controller()), 2, &words).await;
    let untouched = access.get("Tenant", None, "cloned").await;
    assert!(untouched.data["status"].is_null() && untouched.metadata.finalizers.is_none(), "{untouched:?}");
    let known: Resources = visit.ask_receiver("/resources").await.unwrap();
    assert!(known.resources.iter().all(|resource| resource.name != "cloned"));
}
