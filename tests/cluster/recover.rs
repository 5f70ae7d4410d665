//! A ledger that lost rows is found out before it gives their places away, and gets them back, or begins a new era.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use trueup::{domain::Sequence, ledger::Head};

use crate::support::*;

const INSIDE: Option<&str> = Some("acme-prod");
const PAGE: &str = "docs/runbooks/ledger-behind.md";
const SOON: Duration = Duration::from_secs(40);

/// Runs `trueup ledger`; answers what it said.
pub fn ledger(args: &[&str]) -> String {
    let words: Vec<_> = ["ledger"].iter().chain(args).map(ToString::to_string).collect();
    run(&words)
}

fn run(words: &[String]) -> String {
    let output = trueup().args(words).output().expect("running trueup");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "trueup {words:?} ends with {}: {said}", output.status);
    said
}

/// Runs what the runbook says, on this ledger.
fn by_the_book(place: &Place, beginning: &str, more: &[&str]) -> String {
    let mut words = documented(PAGE, beginning, "http://RECEIVER:8090", &place.receiver_url());
    words.extend(["--database-url", &place.ledger].iter().chain(more).map(ToString::to_string));
    run(&words)
}

pub async fn end(controller: &Process) {
    controller.signal("TERM");
    controller.exit_code(SOON).await;
}

/// Puts the backup in the place of the ledger, as if that had been lost.
pub fn lose_everything_since(place: &Place, backup: &str) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(place.folder().join(format!("ledger.db{suffix}")));
    }
    ledger(&["restore", backup, "--database-url", &place.ledger]);
}

async fn shop(visit: &Visit) -> Head {
    let uid = uid(&visit.get("AppDeployment", INSIDE, "shop").await);
    visit.ledger.head(&uid).await.expect("reading the ledger").expect("a stream")
}

#[tokio::test]
async fn a_ledger_that_is_behind_appends_nothing_until_it_is_recovered() {
    let place = Arc::new(Place::new("recover", Database::Sqlite).await);
    let controller = place.controller("one", &ControllerOptions::default());
    let visit = Visit::to(&place).await;
    visit.leads("one").await;
    visit.create(&tenant("acme", &json!({ "namespaces": [{ "name": "prod" }] }))).await;
    visit.current("Tenant", None, "acme").await;
    for name in ["shop", "quiet"] {
        visit.create(&app("acme-prod", name, &json!({ "replicas": 1 }))).await;
        visit.current("AppDeployment", INSIDE, name).await;
    }
    reckon(&visit, None).await;
    let backup = place.folder().join("backup.jsonl").into_os_string().into_string().unwrap();
    let said = ledger(&["backup", &backup, "--database-url", &place.ledger]);
    assert!(said.starts_with("backup: 3 streams"), "{said}");
    let saved = shop(&visit).await.sequence;

    visit.respec("AppDeployment", INSIDE, "shop", &json!({ "replicas": 2 })).await;
    visit.current("AppDeployment", INSIDE, "shop").await;
    visit.create(&app("acme-prod", "late", &json!({ "replicas": 1 }))).await;
    visit.current("AppDeployment", INSIDE, "late").await;
    reckon(&visit, None).await;
    let lost = shop(&visit).await;
    end(&controller).await;
    drop(visit);

    lose_everything_since(&place, &backup);
    let visit = Visit::to(&place).await;
    assert_eq!(shop(&visit).await.sequence, saved);
    let controller = place.controller("two", &ControllerOptions::default());
    for name in ["shop", "late"] {
        let object = visit.stalled("AppDeployment", INSIDE, name, "LedgerBehind").await;
        let said = condition(&object, "Stalled")["message"].as_str().unwrap_or_default().to_owned();
        assert!(said.contains("trueup ledger recover"), "{said}");
    }
    let shown = visit.get("AppDeployment", INSIDE, "shop").await.data["status"]["ledger"].clone();
    assert_eq!(shown["sequence"], lost.sequence.get(), "what was shown stands");
    // One that is not behind goes on.
    visit.respec("AppDeployment", INSIDE, "quiet", &json!({ "replicas": 2 })).await;
    visit.respec("AppDeployment", INSIDE, "shop", &json!({ "replicas": 3 })).await;
    visit.current("AppDeployment", INSIDE, "quiet").await;
    throughout(Duration::from_secs(2), "nothing is appended to the stream that is behind", || async {
        let now = shop(&visit).await.sequence;
        if now == saved { Ok(()) } else { Err(format!("it is at {now}")) }
    })
    .await;
    end(&controller).await;

    let said = by_the_book(&place, "ledger recover --receiver", &[]);
    assert!(said.contains("of 2 streams fetched back"), "{said}");
    let back = visit.ledger.row(&lost.subject.uid, lost.sequence).await.unwrap().expect("the row is back");
    assert_eq!(back.hash, lost.hash);
    let controller = place.controller("three", &ControllerOptions::default());
    visit.current("AppDeployment", INSIDE, "shop").await;
    visit.current("AppDeployment", INSIDE, "late").await;
    assert!(shop(&visit).await.sequence > lost.sequence, "three replicas were asked for meanwhile");
    reckon(&visit, None).await;
    audited(&visit);
    end(&controller).await;
    drop(visit);

    lose_everything_since(&place, &backup);
    let visit = Visit::to(&place).await;
    let controller = place.controller("four", &ControllerOptions::default());
    visit.stalled("AppDeployment", INSIDE, "shop", "LedgerBehind").await;
    end(&controller).await;
    let said = by_the_book(&place, "ledger recover --new-era", &["--yes"]);
    assert!(said.contains("era 1 has begun; 3 open streams stated anew"), "{said}");
    let _controller = place.controller("five", &ControllerOptions::default());
    visit.current("AppDeployment", INSIDE, "shop").await;
    visit.current("AppDeployment", INSIDE, "late").await;
    reckon(&visit, None).await;
    audited(&visit);
    let row = visit.ledger.row(&lost.subject.uid, saved.next()).await.unwrap().expect("the restatement");
    assert_eq!(row.reason, "EraBegun");
    assert_eq!(row.event_id.as_str(), format!("{}-1-{}", row.uid, Sequence::new(saved.get() + 1)));
}

#[tokio::test]
async fn a_ledger_of_another_cluster_sends_nothing_until_it_is_adopted() {
    use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

    let place = Arc::new(Place::new("adopt", Database::Sqlite).await);
    let controller = place.controller("one", &ControllerOptions::default());
    let visit = Visit::to(&place).await;
    visit.leads("one").await;
    visit.create(&tenant("acme", &json!({ "namespaces": [{ "name": "prod" }] }))).await;
    visit.current("Tenant", None, "acme").await;
    reckon(&visit, None).await;
    end(&controller).await;
    let before = visit.ledger.stored_installation().await.unwrap().unwrap();

    let file = place.ledger.strip_prefix("sqlite:").unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let mut connection = options.connect().await.unwrap();
    connection.execute("UPDATE installation SET cluster_uid = 'another-cluster'").await.unwrap();
    connection.close().await.unwrap();
    let refused = place.controller("two", &ControllerOptions::default());
    assert_eq!(refused.exit_code(SOON).await, 2, "{}", refused.tail());
    assert!(refused.said().contains("trueup ledger adopt"), "{}", refused.tail());

    let kubeconfig = place.cluster.admin().display().to_string();
    let adopt = ["adopt", "--kubeconfig", &kubeconfig, "--database-url", &place.ledger];
    let output = trueup().arg("ledger").args(adopt).stdin(std::process::Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "not without being asked: {said}");
    assert!(said.contains("another-cluster") && said.contains(before.cluster_uid.as_str()), "{said}");
    assert_eq!(visit.ledger.stored_installation().await.unwrap().unwrap().cluster_uid.as_str(), "another-cluster");

    ledger(&[&adopt[..], &["--yes"]].concat());
    assert_eq!(visit.ledger.stored_installation().await.unwrap().unwrap(), before, "a move keeps the id");
    let _controller = place.controller("three", &ControllerOptions::default());
    visit.leads("three").await;
    visit.respec("Tenant", None, "acme", &json!({ "plan": "large" })).await;
    reckon(&visit, None).await;
    audited(&visit);
}
