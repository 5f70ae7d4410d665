//! What a ledger holds may have been changed by anybody with access to its database or its backups.

use std::fs;

use proptest::{prelude::*, sample::Index};
use tokio::runtime;
use trueup::{
    domain::{
        Billable, Effective, Era, Hash, Head, InstallationId, Kind, Labels, Position, Sequence, Shard, State,
        TenantName, Timestamp, Uid,
    },
    ledger::{
        self, Draft, Installation, Outcome, Row, RowQuery, Store, Subject,
        invariants::{self, Invariant},
    },
    lifecycle::TABLES,
};

use crate::{
    budget::{Checked, fuzz},
    inputs::damaged,
};

const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);
const SHARD: Shard = Shard::new(0);

fn installation() -> Installation {
    Installation { id: InstallationId::new("fuzz"), cluster_uid: Uid::new("cluster"), era: Era::new(0) }
}

fn draft(after: i64, to: &'static str) -> Draft {
    Draft {
        subject: Subject {
            uid: Uid::new("a"),
            kind: Kind::Tenant,
            namespace: None,
            name: "acme".into(),
            tenant: TenantName::new("acme"),
            account: "acct-1".into(),
            plan: "small".into(),
            previous_uid: None,
        },
        after: (after > 0).then(|| Sequence::new(after)),
        to: State::of(to),
        reason: "Fuzzed".into(),
        message: "It is a test.".into(),
        amends: None,
        generation: 1,
        billable: Billable::ZERO,
        effective: Effective::reported(NOW, NOW),
        evidence: None,
        labels: Labels::default(),
    }
}

/// A stream of three rows.
async fn fill(store: &dyn Store) -> (Head, Vec<Row>) {
    store.migrate().await.unwrap();
    store.installation(&installation()).await.unwrap();
    let epoch = store.take_over(SHARD, "fuzz").await.unwrap();
    let drafts = [draft(0, "Provisioning"), draft(1, "Active"), draft(2, "Suspended")];
    let outcomes = store.append(SHARD, epoch, NOW, &drafts).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Appended(_))), "{outcomes:?}");
    let rows = store.rows(&RowQuery { limit: 10, ..RowQuery::default() }).await.unwrap();
    (store.head(&Uid::new("a")).await.unwrap().unwrap(), rows)
}

fn runtime() -> runtime::Runtime {
    runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_row_that_was_meddled_with_is_found_by_the_audit() {
    let (head, rows) = runtime().block_on(fill(&ledger::MemoryStore::new(TABLES)));
    let bodies = damaged(rows[1].body.clone());
    let meddled = (bodies, any::<[u8; 32]>(), 0..4_u8);
    fuzz("ledger-rows", meddled, |(body, digest, what)| -> Checked {
        let mut row = rows[1].clone();
        match what {
            0 | 1 => row.body = body,
            2 => row.hash = Hash::from(digest),
            _ => row.prev_hash = Hash::from(digest),
        }
        let mut found = vec![];
        invariants::in_stream(TABLES, &installation(), &head, None, Some(&rows[0]), &row, &mut found);
        invariants::in_shard(Position::default(), Some(&rows[0]), &row, &mut found);
        let is_genuine = row == rows[1];
        let is_found = found.iter().any(|violation| violation.invariant == Invariant::TamperEvident);
        prop_assert_eq!(is_found, !is_genuine, "{:?}", found);
        Ok(())
    });
}

#[test]
fn a_backup_that_was_damaged_is_not_restored() {
    let (runtime, folder) = (runtime(), tempfile::tempdir().unwrap());
    let url = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let path = folder.path().join("backup.jsonl");
    let genuine = runtime.block_on(async {
        fill(ledger::open(&url("first.db"), TABLES).unwrap().as_ref()).await;
        ledger::backup(&url("first.db"), &path, TABLES, NOW).await.unwrap();
        fs::read(&path).unwrap()
    });
    let cut = any::<Index>();
    fuzz("ledger-backups", (damaged(genuine.clone()), cut, 0..4_u8), |(damaged, cut, what)| -> Checked {
        let bytes = if what == 0 { genuine[..cut.index(genuine.len())].to_vec() } else { damaged };
        if bytes == genuine {
            return Ok(());
        }
        fs::write(&path, bytes).unwrap();
        let place = folder.path().join("restored.db");
        let restored = runtime.block_on(ledger::restore(&path, &url("restored.db"), TABLES));
        for ending in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{ending}", place.display()));
        }
        match restored {
            Ok(contents) => prop_assert!(false, "restored: {:?}", contents),
            Err(why) => prop_assert!(!why.to_string().is_empty()),
        }
        Ok(())
    });
}
