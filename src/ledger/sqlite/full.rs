//! A disk that is full, as SQLite itself can be told that it is.

use sqlx::{SqlitePool, query_scalar};

use super::*;
use crate::{
    domain::{Billable, Deadline, Effective, Era, InstallationId, Kind, Labels, State, StateRow, Table, TenantName},
    ledger::types::Subject,
};

const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);
const SHARD: Shard = Shard::new(0);
const PENDING: StateRow = StateRow { name: "Pending", next: &[], deadline: Deadline::Never, billed: "" };
const TABLES: Tables = Tables(&[Table { kind: Kind::Backup, states: &[PENDING] }]);

fn draft(uid: &str) -> Draft {
    Draft {
        subject: Subject {
            uid: Uid::new(uid),
            kind: Kind::Backup,
            namespace: Some("acme-prod".into()),
            name: "nightly".into(),
            tenant: TenantName::new("acme"),
            account: "acct-1".into(),
            plan: "small".into(),
            previous_uid: None,
        },
        after: None,
        to: State::of("Pending"),
        reason: "Tested".into(),
        message: "A test said so.".into(),
        generation: 1,
        effective: Effective::observed(NOW, NOW),
        billable: Billable::ZERO,
        evidence: Some("a line of a log\n".repeat(1_000)),
        amends: None,
        labels: Labels::default(),
    }
}

/// The one connection that writes, to a file that may have at most so many pages.
fn writing(path: &Path, pages: i64) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(path).pragma("max_page_count", pages.to_string());
    pool(1).connect_lazy_with(options)
}

#[tokio::test]
async fn a_full_disk_is_waited_for_and_what_did_not_fit_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    let mut store = SqliteStore::new(&path, TABLES).unwrap();
    store.migrate().await.unwrap();
    let installation = Installation { id: InstallationId::new("i"), cluster_uid: Uid::new("c"), era: Era::new(0) };
    store.installation(&installation).await.unwrap();
    let epoch = store.take_over(SHARD, "test").await.unwrap();

    let pages: i64 = query_scalar("PRAGMA page_count").fetch_one(&store.writing).await.unwrap();
    store.writing = writing(&path, pages + 8);
    let mut written = 0;
    let full = loop {
        match store.append(SHARD, epoch, NOW, &[draft(&format!("{written}"))]).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 1_000, "it never was full");
    };
    let is_full = |error: &AppendError| match error {
        AppendError::NotCommitted(error) => error.is_transient() && error.to_string().contains("full"),
        _ => false,
    };
    assert!(is_full(&full), "{full}");
    for _ in 0..3 {
        let again = store.append(SHARD, epoch, NOW, &[draft("again"), draft("and more")]).await.unwrap_err();
        assert!(is_full(&again), "{again}");
    }
    assert_eq!(store.counts().await.unwrap().transitions, written);

    store.writing = writing(&path, pages + 10_000);
    store.append(SHARD, epoch, NOW, &[draft("again")]).await.unwrap();
    assert_eq!(store.counts().await.unwrap().transitions, written + 1);
}
