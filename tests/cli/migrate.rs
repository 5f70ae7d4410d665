//! A ledger that moves to another database is the same ledger there, and goes on where it was.

use std::{collections::BTreeSet, time::Duration};

use trueup::{
    domain::{Clock as _, DestinationId, Random as _, Sequence, SystemClock, SystemRandom, Timestamp, Uid},
    ledger::{self, ClaimRequest, Store},
    lifecycle::TABLES,
};

use crate::{
    postgres::Postgres,
    rig::{Rig, WEB, run},
};

fn now() -> Timestamp {
    SystemClock::default().now()
}

fn billing() -> DestinationId {
    DestinationId::new("billing")
}

/// A ledger with everything in it, also what people decided; and nobody has it open.
fn lived_in() -> Rig {
    let rig = Rig::new();
    let void = ["outbox", "void", "tua", "acme-prod/web", "--destination", "billing", "--reason", "merged"];
    let voided = rig.trueup(&[&void[..], &["--as", "ann@desk", "--yes"]].concat());
    assert_eq!(voided.code, 0, "{voided:?}");
    let clock = SystemClock::default();
    let deadline = clock.monotonic() + Duration::from_secs(20);
    while run(ledger::is_in_use(&rig.url())).unwrap() {
        assert!(clock.monotonic() < deadline, "what made the ledger still has it open");
    }
    rig
}

/// Every row of every table, but for what is made anew with each database, or said by the move itself.
fn everything(url: &str, rig: &Rig, name: &str) -> BTreeSet<String> {
    let path = rig.folder.path().join(name);
    run(ledger::backup(url, &path, TABLES, now())).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let row = |line: &&str| {
        let mut row: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(shard) = row["shard"].as_object_mut() {
            shard.retain(|column, _| !["revision", "epoch", "holder"].contains(&column.as_str()));
        }
        // PostgreSQL alone keeps these, to be faster.
        for table in ["lane", "resource"] {
            if let Some(row) = row[table].as_object_mut() {
                row.retain(|column, _| !column.ends_with("_position"));
            }
        }
        row.to_string()
    };
    lines[1..lines.len() - 1].iter().map(row).collect()
}

/// What a relay would send next, byte for byte.
async fn next(store: &dyn Store) -> Vec<(Uid, Sequence, Vec<u8>)> {
    let request = ClaimRequest {
        destination: billing(),
        lanes: 10,
        retries: 5,
        rows: 10,
        lease: Duration::from_secs(10),
        token: SystemRandom.token(),
    };
    let claims = store.claim(&request, now()).await.unwrap();
    let rows = |claim: ledger::Claim| {
        let uid = claim.uid;
        claim.rows.into_iter().map(move |row| (uid.clone(), row.sequence, row.body))
    };
    claims.into_iter().flat_map(rows).collect()
}

/// Moves a ledger that was lived in to the database at `to`.
fn moves(to: &str) {
    let rig = lived_in();
    let before = everything(&rig.url(), &rig, "before.jsonl");
    // A copy that is not moved, to compare with what its relay would send.
    let twin = format!("sqlite:{}", rig.folder.path().join("twin.db").display());
    run(ledger::restore(&rig.folder.path().join("before.jsonl"), &twin, TABLES)).unwrap();

    let moved = rig.trueup(&["ledger", "migrate", "--from", &rig.url(), "--to", to, "--scratch", "."]);
    assert_eq!(moved.code, 0, "{moved:?}");
    assert!(
        moved.out.starts_with("migrate: 3 streams and 10 transitions; read back, all invariants hold"),
        "{moved:?}"
    );
    assert_eq!(before, everything(to, &rig, "after.jsonl"), "every column of every row came along");
    let audited = rig.trueup_at(to, &["audit", "--ledger-only"]);
    assert_eq!(audited.code, 0, "{audited:?}");
    let decided = rig.trueup_at(to, &["outbox", "interventions"]);
    assert!(decided.out.contains("ann@desk") && decided.out.contains("merged"), "{decided:?}");

    run(async {
        let (there, here) = (ledger::open(to, TABLES).unwrap(), ledger::open(&twin, TABLES).unwrap());
        let sent = next(&*there).await;
        assert_eq!(sent, next(&*here).await, "the same bytes go out next");
        let expected: Vec<(Uid, Sequence)> = [4, 5].map(|place| (Uid::new(WEB), Sequence::new(place))).into();
        let places: Vec<(Uid, Sequence)> = sent.into_iter().map(|(uid, place, _)| (uid, place)).collect();
        assert_eq!(places, expected, "behind the last acknowledgement, the void first");
    });

    // The source is the ledger of nobody any more, and the target of somebody.
    let (_, source) = run(ledger::open_existing(&rig.url(), TABLES)).unwrap();
    assert_eq!(source.id.as_str(), "moved-installation");
    let (_, target) = run(ledger::open_existing(to, TABLES)).unwrap();
    assert_eq!(target.id.as_str(), "installation");
    let again = rig.trueup(&["ledger", "migrate", "--from", &twin, "--to", to, "--scratch", "."]);
    again.fails(2, &["already has rows", "empty database"]);
    assert!(!rig.files().iter().any(|name| name.starts_with("trueup-")), "nothing is left of it: {:?}", rig.files());
}

#[test]
fn a_ledger_moves_from_sqlite_to_postgres_and_goes_on_after_its_last_acknowledgement() {
    moves(&run(Postgres::shared().database()));
}

#[test]
fn a_ledger_moves_from_sqlite_to_sqlite() {
    let folder = tempfile::TempDir::new().unwrap();
    moves(&format!("sqlite:{}", folder.path().join("new.db").display()));
}

#[test]
fn a_ledger_that_somebody_has_open_is_not_moved() {
    let rig = lived_in();
    let postgres = run(Postgres::shared().database());
    run(async {
        let store = ledger::open(&rig.url(), TABLES).unwrap();
        store.heads(None, false, 1).await.unwrap();
        let refused = rig.trueup(&["ledger", "migrate", "--from", &rig.url(), "--to", &postgres, "--scratch", "."]);
        refused.fails(2, &["nothing was moved", "--replicas 0"]);
        let (_, source) = ledger::open_existing(&rig.url(), TABLES).await.unwrap();
        assert_eq!(source.id.as_str(), "installation", "and nothing was changed");
    });
    let absent = format!("sqlite:{}", rig.folder.path().join("nowhere.db").display());
    rig.trueup(&["ledger", "migrate", "--from", &absent, "--to", &postgres]).fails(2, &["there is no ledger at"]);
    rig.trueup(&["ledger", "migrate", "--from", "mysql://u:hush@h/x", "--to", &postgres])
        .fails(2, &["no ledger is kept"]);
}

#[test]
fn a_ledger_on_a_server_is_in_use_while_a_controller_is_connected() {
    run(async {
        let url = Postgres::shared().database().await;
        let store = ledger::open(&url, TABLES).unwrap();
        store.migrate().await.unwrap();
        assert!(ledger::is_in_use(&url).await.unwrap());
        assert!(!ledger::is_in_use(&Postgres::shared().database().await).await.unwrap(), "another database is another");
    });
}
