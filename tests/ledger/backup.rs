//! A backup holds what the ledger held at one moment, is found out when it is damaged, and goes on where it ended.

use std::{
    fs,
    path::{Path, PathBuf},
};

use trueup::{
    domain::DestinationId,
    ledger::{self, BackupError, Contents},
};

use crate::{
    lab::{Lab, START, TABLES},
    support::postgres::Postgres,
};

const STREAMS: i64 = 40;

async fn filled(lab: &Lab) -> trueup::domain::Epoch {
    lab.store.open_destination(&DestinationId::new("billing"), START).await.unwrap();
    let epoch = lab.lead().await;
    for n in 0..STREAMS {
        lab.stream(epoch, &format!("uid-{n}"), 5).await;
    }
    epoch
}

fn sqlite() -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("restored.db").display());
    (directory, url)
}

async fn take(lab: &Lab, directory: &Path) -> (PathBuf, Contents) {
    let path = directory.join("ledger.jsonl");
    let contents = ledger::backup(&lab.url(), &path, TABLES, START).await.unwrap();
    (path, contents)
}

/// Everything that both ledgers hold, but for what is made anew with each database.
async fn assert_same(one: &dyn ledger::Store, other: &dyn ledger::Store) {
    let all = ledger::RowQuery { limit: 10_000, ..ledger::RowQuery::default() };
    assert_eq!(one.rows(&all).await.unwrap(), other.rows(&all).await.unwrap());
    assert_eq!(one.heads(None, false, 10_000).await.unwrap(), other.heads(None, false, 10_000).await.unwrap());
    assert_eq!(one.lanes(None, false, 10_000).await.unwrap(), other.lanes(None, false, 10_000).await.unwrap());
    assert_eq!(one.stored_installation().await.unwrap(), other.stored_installation().await.unwrap());
    assert_eq!(one.destinations().await.unwrap(), other.destinations().await.unwrap());
}

/// A ledger backed up, verified, restored into the database at `url`, and appended to there.
async fn goes_round(lab: Lab, url: &str) {
    filled(&lab).await;
    let files = tempfile::tempdir().unwrap();
    let (path, contents) = take(&lab, files.path()).await;
    assert_eq!(contents.rows["transition"], 200);
    assert_eq!(contents.shards[0].head, 200);

    let (verified, report) = ledger::verify(&path, &files.path().join("scratch.db"), TABLES).await.unwrap();
    assert_eq!(verified, contents);
    assert!(report.is_clean(), "{:?}", report.violations);
    assert_eq!((report.resources, report.transitions), (40, 200));

    assert_eq!(ledger::restore(&path, url, TABLES).await.unwrap(), contents);
    let restored = Lab::opened(url.to_owned()).await;
    assert_same(lab.store.as_ref(), restored.store.as_ref()).await;
    let epoch = restored.lead().await;
    restored.stream(epoch, "after-the-restore", 3).await;
    restored.assert_clean().await;

    let again = ledger::restore(&path, url, TABLES).await.unwrap_err();
    assert!(matches!(again, BackupError::NotEmpty { .. }), "{again}");
}

#[tokio::test]
async fn a_ledger_goes_round_from_sqlite_to_sqlite() {
    let (_directory, url) = sqlite();
    goes_round(Lab::sqlite().await, &url).await;
}

#[tokio::test]
async fn a_ledger_goes_round_from_sqlite_to_postgres() {
    goes_round(Lab::sqlite().await, &Postgres::shared().database().await).await;
}

#[tokio::test]
async fn a_ledger_goes_round_from_postgres_to_postgres() {
    goes_round(Lab::postgres().await, &Postgres::shared().database().await).await;
}

#[tokio::test]
async fn a_ledger_goes_round_from_postgres_to_sqlite() {
    let (_directory, url) = sqlite();
    goes_round(Lab::postgres().await, &url).await;
}

/// Appends go on while the backup is taken, and it holds a whole number of them.
async fn is_of_one_moment(lab: Lab) {
    let epoch = filled(&lab).await;
    let files = tempfile::tempdir().unwrap();
    let appending = async {
        for n in 0..30 {
            lab.stream(epoch, &format!("meanwhile-{n}"), 4).await;
        }
    };
    let backups = async {
        let mut paths = vec![];
        for n in 0..3 {
            let path = files.path().join(format!("{n}.jsonl"));
            ledger::backup(&lab.url(), &path, TABLES, START).await.unwrap();
            paths.push(path);
        }
        paths
    };
    let ((), paths) = tokio::join!(appending, backups);
    for (n, path) in paths.iter().enumerate() {
        let (contents, report) = ledger::verify(path, &files.path().join(format!("{n}.db")), TABLES).await.unwrap();
        assert!(report.is_clean(), "{:?}", report.violations);
        assert_eq!(i64::try_from(contents.rows["transition"]).unwrap(), contents.shards[0].head);
    }
    lab.assert_clean().await;
}

#[tokio::test]
async fn a_backup_is_of_one_moment_on_sqlite() {
    is_of_one_moment(Lab::sqlite().await).await;
}

#[tokio::test]
async fn a_backup_is_of_one_moment_on_postgres() {
    is_of_one_moment(Lab::postgres().await).await;
}

async fn refusal(path: &Path, bytes: &[u8]) -> String {
    fs::write(path, bytes).unwrap();
    let (_directory, url) = sqlite();
    let error = ledger::restore(path, &url, TABLES).await.unwrap_err();
    let store = ledger::open(&url, TABLES).unwrap();
    assert!(store.heads(None, false, 1).await.unwrap_or_default().is_empty(), "something was restored all the same");
    match error {
        BackupError::Damaged { what, .. } => what,
        // The database can be the first to notice, when what was damaged is no value of its column any more.
        BackupError::Store(error) => error.to_string(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_flipped_byte_or_a_missing_end_is_found_wherever_it_is() {
    let lab = Lab::sqlite().await;
    filled(&lab).await;
    let files = tempfile::tempdir().unwrap();
    let (path, _) = take(&lab, files.path()).await;
    let whole = fs::read(&path).unwrap();
    let copy = files.path().join("copy.jsonl");
    for part in 1..20 {
        let mut flipped = whole.clone();
        flipped[whole.len() * part / 20] ^= 1;
        refusal(&copy, &flipped).await;
        let cut = refusal(&copy, &whole[..whole.len() * part / 20]).await;
        assert!(cut.contains("ends in the middle"), "{cut}");
    }
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let said = refusal(&copy, &lines[..lines.len() - 1].concat()).await;
    assert!(said.contains("ends in the middle"), "{said}");
    let said = refusal(&copy, &[&lines[..10], &lines[11..]].concat().concat()).await;
    assert!(said.contains("digest"), "{said}");
    let said = refusal(&copy, &[whole.as_slice(), b"\n"].concat()).await;
    assert!(said.contains("follows"), "{said}");
    let said = refusal(&copy, b"not a backup").await;
    assert!(said.contains("first line"), "{said}");
}

#[tokio::test]
async fn a_backup_overwrites_nothing_and_leaves_nothing_half_done() {
    let lab = Lab::sqlite().await;
    filled(&lab).await;
    let files = tempfile::tempdir().unwrap();
    let (path, _) = take(&lab, files.path()).await;
    let before = fs::read(&path).unwrap();
    let error = ledger::backup(&lab.url(), &path, TABLES, START).await.unwrap_err();
    assert!(matches!(error, BackupError::Exists(_)), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(files.path()).unwrap().count(), 1, "the unfinished file is gone");
}
