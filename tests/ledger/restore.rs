//! A backup holds whatever a ledger that was lived in holds, and what is restored from it lives on, on either database.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use sqlx::{Connection as _, PgConnection, query_scalar};
use trueup::{
    domain::{DestinationId, Kind, Labels, Selector, Sequence, Uid},
    ledger::{
        self, Draft, LEFT_OUT, Opening, Settlement, Start, Subject,
        interventions::{Action, Request},
        pruner,
    },
};

use crate::{
    lab::{Lab, TABLES, draft, nth, subject},
    support::postgres::Postgres,
};

const MIGRATIONS: [&str; 2] = [
    include_str!("../../migrations/sqlite/0001_ledger.sql"),
    include_str!("../../migrations/postgres/0001_ledger.sql"),
];

fn billing() -> DestinationId {
    DestinationId::new("billing")
}

fn gold() -> Selector {
    Selector { kinds: BTreeSet::new(), tenant_labels: Labels::from([("tier".into(), "gold".into())]) }
}

/// Ends what `destination` can claim now, each as `end` says.
async fn settle(lab: &Lab, destination: &DestinationId, end: impl Fn(&ledger::Claim) -> Settlement) {
    let claims = lab.store.claim(&lab.request(destination), lab.now()).await.unwrap();
    let ends: Vec<_> = claims
        .into_iter()
        .map(|claim| {
            let settlement = end(&claim);
            (claim.destination, claim.uid, claim.token, settlement)
        })
        .collect();
    lab.store.settle(&ends, lab.now()).await.unwrap();
}

async fn intervene(lab: &Lab, action: Action, sequence: i64) {
    let request = Request {
        action,
        destination: billing(),
        uid: Uid::new("a"),
        sequence: Sequence::new(sequence),
        who: "ann@desk".into(),
        reason: "the account was merged".into(),
    };
    lab.store.intervene(&request, lab.now()).await.unwrap().unwrap();
}

/// Leaves a ledger with something in each of its tables, and in each of their columns that can be empty.
async fn live(lab: &Lab) {
    lab.partition_by(8).await;
    let epoch = lab.lead().await;
    lab.store.open_destination(&billing(), lab.now()).await.unwrap();
    let choosy = Opening { selector: gold(), ..Opening::of_everything(DestinationId::new("choosy")) };
    lab.store.open(&choosy, lab.now()).await.unwrap();
    let heir = Subject { previous_uid: Some(Uid::new("a")), ..subject("b") };
    let opening = Draft { subject: heir, labels: gold().tenant_labels, ..nth("b", 0, lab.now()) };
    lab.append(epoch, &[opening]).await;
    for n in 0..10 {
        lab.append(epoch, &[nth("a", n, lab.now()), nth("b", n + 1, lab.now())]).await;
    }
    let tenant = Subject { kind: Kind::Tenant, namespace: None, ..subject("c") };
    for (after, to) in [(0, "Pending"), (1, "Terminating"), (2, "Deleted")] {
        lab.append(epoch, &[Draft { subject: tenant.clone(), ..draft("c", after, to, lab.now()) }]).await;
    }
    let refused = |claim: &ledger::Claim| match claim.uid.as_str() {
        "a" => Settlement::Park { through: Sequence::new(8), reason: "permanent-refusal".into(), error: "422".into() },
        _ => Settlement::Acked { through: claim.head },
    };
    settle(lab, &billing(), refused).await;
    let doubt = |_: &ledger::Claim| Settlement::Doubt {
        through: Sequence::new(9),
        delay: Duration::from_hours(2),
        age: Duration::from_secs(3),
        error: "no answer".into(),
    };
    settle(lab, &choosy.id, doubt).await;
    intervene(lab, Action::Amend, 9).await;
    let due = lab.store.amendments_due(10).await.unwrap();
    let evidence = Some("the end of a log".to_owned());
    let amended = Draft { amends: Some(Sequence::new(9)), evidence, ..nth("a", 10, lab.now()) };
    let amended = Draft { to: trueup::domain::State::of("Available"), ..amended };
    lab.append(epoch, &[amended]).await;
    lab.store.conclude_amendment(due[0].id, "sequence 11", lab.now()).await.unwrap();
    lab.pass(Duration::from_hours(1)).await;
    assert!(pruner::prune(&*lab.store, lab.now()).await.unwrap() > 0, "nothing was old");
    let late = Opening { start: Start::Now, ..Opening::of_everything(DestinationId::new("late")) };
    lab.store.open(&late, lab.now()).await.unwrap();
    // A receiver that forgot what it had taken, so that more than it lacks is to be progress.
    lab.append(epoch, &[nth("b", 11, lab.now())]).await;
    let forgot = |_: &ledger::Claim| Settlement::Rewind { expected: Sequence::new(9), error: "409".into() };
    settle(lab, &billing(), forgot).await;
    // One lane is parked, and others are held while the backup is taken.
    let refused =
        |_: &ledger::Claim| Settlement::Park { through: Sequence::new(9), reason: "again".into(), error: "422".into() };
    settle(lab, &billing(), refused).await;
    lab.store.claim(&lab.request(&late.id), lab.now()).await.unwrap();
    lab.assert_clean().await;
}

async fn take(lab: &Lab, path: PathBuf) -> (BTreeSet<String>, PathBuf) {
    let contents = ledger::backup(&lab.url(), &path, TABLES, lab.now()).await.unwrap();
    (contents.rows.into_keys().collect(), path)
}

/// The tables that the migrations make, by reading them.
fn tables(migration: &str) -> BTreeSet<String> {
    let made = migration.lines().filter(|line| !line.contains("PARTITION OF"));
    made.filter_map(|line| line.strip_prefix("CREATE TABLE ")?.split_whitespace().next()).map(str::to_owned).collect()
}

/// Every row in a backup, but for what only one kind of store keeps, to be faster.
fn rows(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let row = |line: &&str| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        for (table, columns) in [
            ("shard", &["revision"][..]),
            ("lane", &["from_position"]),
            ("resource", &["first_position", "last_position"]),
        ] {
            if let Some(row) = row[table].as_object_mut() {
                row.retain(|column, _| !columns.contains(&column.as_str()));
            }
        }
        row.to_string()
    };
    lines[1..lines.len() - 1].iter().map(row).collect()
}

async fn revision(lab: &Lab) -> i64 {
    let mut connection = PgConnection::connect(&lab.url()).await.unwrap();
    let revision = query_scalar("SELECT revision FROM shard").fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    revision
}

async fn lives_on(lab: Lab, other: Lab) {
    live(&lab).await;
    let files = tempfile::tempdir().unwrap();
    let (filled, path) = take(&lab, files.path().join("one.jsonl")).await;
    for migration in MIGRATIONS {
        let left_out = |table: &&String| LEFT_OUT.iter().any(|(left_out, why)| table == left_out && !why.is_empty());
        let made = tables(migration);
        let kept: BTreeSet<String> = made.iter().filter(|table| !left_out(table)).cloned().collect();
        assert_eq!(kept, filled, "each table is in the backup, or left out for a reason; and here each had rows");
    }
    let (_, report) = ledger::verify(&path, &files.path().join("scratch.db"), TABLES).await.unwrap();
    assert!(report.is_clean(), "{:?}", report.violations);

    other.partition_by(8).await;
    ledger::restore(&path, &other.url(), TABLES).await.unwrap();
    let (_, again) = take(&other, files.path().join("two.jsonl")).await;
    assert_eq!(rows(&path), rows(&again), "every column of every row came along");
    if lab.is_postgres() && other.is_postgres() {
        assert!(revision(&other).await > revision(&lab).await, "an append that read the old ledger must read again");
    }
    other.assert_clean().await;

    // It lives on: appends, deliveries, what people do, and retention.
    let epoch = other.lead().await;
    other.append(epoch, &[nth("a", 11, other.now()), nth("b", 11, other.now())]).await;
    other.stream(epoch, "new", 20).await;
    let parked: Vec<_> = other.store.interventions(0, 10).await.unwrap();
    intervene(&other, Action::Retry, 10).await;
    let made = other.store.interventions(parked.last().unwrap().id, 10).await.unwrap();
    assert_eq!(made.len(), 1, "it has a number of its own, behind the others");
    other.pass(Duration::from_hours(3)).await;
    for destination in ["billing", "choosy", "late"].map(DestinationId::new) {
        settle(&other, &destination, |claim| Settlement::Acked { through: claim.head }).await;
    }
    assert_eq!(other.store.lanes(None, true, 10).await.unwrap(), []);
    assert!(pruner::prune(&*other.store, other.now()).await.unwrap() > 0, "nothing was old");
    other.assert_clean().await;
}

fn file(directory: &tempfile::TempDir) -> String {
    format!("sqlite:{}", directory.path().join("restored.db").display())
}

#[tokio::test]
async fn what_was_restored_from_sqlite_to_sqlite_lives_on() {
    let directory = tempfile::tempdir().unwrap();
    lives_on(Lab::sqlite().await, Lab::opened(file(&directory)).await).await;
}

#[tokio::test]
async fn what_was_restored_from_sqlite_to_postgres_lives_on() {
    lives_on(Lab::sqlite().await, Lab::opened(Postgres::shared().database().await).await).await;
}

#[tokio::test]
async fn what_was_restored_from_postgres_to_postgres_lives_on() {
    lives_on(Lab::postgres().await, Lab::opened(Postgres::shared().database().await).await).await;
}

#[tokio::test]
async fn what_was_restored_from_postgres_to_sqlite_lives_on() {
    let directory = tempfile::tempdir().unwrap();
    lives_on(Lab::postgres().await, Lab::opened(file(&directory)).await).await;
}
