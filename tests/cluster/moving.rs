//! A ledger that moves from a file to a server while nobody writes it: the next controller goes on where the last one was.

use std::sync::Arc;

use serde_json::json;
use trueup::lifecycle::TABLES;

use crate::support::{postgres::Postgres, *};

const INSIDE: Option<&str> = Some("acme-prod");

#[tokio::test]
async fn a_ledger_in_use_is_not_moved_and_one_that_was_moved_goes_on_on_the_server() {
    let place = Arc::new(Place::new("moving", Database::Sqlite).await);
    let controller = place.controller("before", &ControllerOptions::default());
    let mut visit = Visit::to(&place).await;
    visit.leads("before").await;
    visit.create(&tenant("acme", &json!({}))).await;
    visit.current("Tenant", None, "acme").await;
    visit.create(&app("acme-prod", "shop", &json!({ "replicas": 1 }))).await;
    let shop = uid(&visit.current("AppDeployment", INSIDE, "shop").await);
    reckon(&visit, None).await;

    // Something is owed when it moves.
    place.kill_receiver();
    visit.respec("AppDeployment", INSIDE, "shop", &json!({ "replicas": 3 })).await;
    visit.current("AppDeployment", INSIDE, "shop").await;
    let server = Postgres::start();
    let url = server.database().await;
    let migrate = || {
        let words = ["ledger", "migrate", "--from", &place.ledger, "--to", &url, "--scratch"];
        trueup().args(words).arg(place.folder()).output().expect("running trueup")
    };
    let refused = migrate();
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{why}");
    assert!(why.contains("nothing was moved: somebody has the ledger at --from open"), "{why}");

    let before = visit.story(&shop).await.rows;
    controller.signal("TERM");
    assert_eq!(controller.exit_code(PATIENCE).await, 0);
    // This test reads it, too.
    visit.ledger = trueup::ledger::open(&url, TABLES).expect("the new ledger's address");
    eventually(PATIENCE, "it is moved", || async {
        let moved = migrate();
        if moved.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&moved.stderr).into_owned()) }
    })
    .await;
    assert_eq!(visit.story(&shop).await.rows, before, "the same rows, byte for byte");

    // On the old one, nobody leads any more; on the new one, somebody does.
    let wrong = place.controller("wrong", &ControllerOptions::default());
    assert_eq!(wrong.exit_code(PATIENCE).await, 2, "{}", wrong.tail());
    assert!(wrong.said().contains("is of installation moved-"), "{}", wrong.tail());
    place.start_receiver();
    let options = ControllerOptions { database_url: Some(url.clone()), ..ControllerOptions::default() };
    let _after = place.controller("after", &options);
    visit.leads("after").await;
    visit.respec("AppDeployment", INSIDE, "shop", &json!({ "replicas": 2 })).await;
    visit.current("AppDeployment", INSIDE, "shop").await;
    reckon(&visit, None).await;
    let audited = trueup()
        .args(["audit", "--database-url", &url, "--receiver", &place.receiver_url(), "--kubeconfig"])
        .arg(place.cluster.admin())
        .output()
        .expect("running trueup audit");
    assert!(audited.status.success(), "{}", String::from_utf8_lossy(&audited.stdout));
}
