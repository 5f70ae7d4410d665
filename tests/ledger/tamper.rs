//! Whoever changes what was recorded is found out, and cannot do it by accident.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use trueup::{
    domain::{DestinationId, Epoch, Event, Position, Sequence, Shard, State, Timestamp, Uid},
    ledger::{
        self, Head, Installation, Row, RowQuery,
        invariants::{self, Invariant, Violation},
    },
};

use crate::{
    lab::{Lab, START, TABLES, draft, installation, nth},
    support::postgres::Postgres,
};

const FORBIDDEN: [&str; 2] =
    ["UPDATE transition SET reason = 'Other' WHERE position = 1", "DELETE FROM transition WHERE position = 1"];

#[tokio::test]
async fn sqlite_refuses_to_change_what_was_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    fill(&format!("sqlite:{}", path.display())).await;
    let mut connection = SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    for sql in FORBIDDEN {
        let refused = connection.execute(sql).await.unwrap_err().to_string();
        assert!(refused.contains("insert-only"), "{refused}");
    }
}

#[tokio::test]
async fn postgres_refuses_to_change_what_was_recorded() {
    let url = Postgres::shared().database().await;
    fill(&url).await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    for sql in FORBIDDEN.into_iter().chain(["TRUNCATE transition"]) {
        let refused = connection.execute(sql).await.unwrap_err().to_string();
        assert!(refused.contains("insert-only"), "{refused}");
    }
}

async fn fill(url: &str) {
    let store = ledger::open(url, TABLES).unwrap();
    store.migrate().await.unwrap();
    store.installation(&installation()).await.unwrap();
    store.open_destination(&DestinationId::new("billing"), START).await.unwrap();
    let epoch = store.take_over(Shard::new(0), "tests").await.unwrap();
    let drafts: Vec<_> = (0..3).flat_map(|n| [nth("a", n, START), nth("b", n, START)]).collect();
    store.append(Shard::new(0), epoch, START, &drafts).await.unwrap();
    // Another writer of an older file must find it readable, whatever it does next.
    assert_eq!(store.counts().await.unwrap().transitions, 6);
}

/// Each way of meddling with a database whose triggers were dropped, and what the audit calls it.
const MEDDLING: &[(&str, &[Invariant])] = &[
    ("DELETE FROM transition WHERE position = 3", &[Invariant::Dense]),
    ("DELETE FROM transition WHERE position = 6", &[Invariant::Dense]),
    ("DELETE FROM transition WHERE uid = 'a'", &[Invariant::Dense]),
    ("UPDATE transition SET tenant = 'other' WHERE position = 2", &[Invariant::TamperEvident]),
    (
        "UPDATE transition SET recorded_at = recorded_at + 1 WHERE position = 2",
        &[Invariant::TamperEvident, Invariant::HonestTime],
    ),
    ("UPDATE transition SET epoch = 7 WHERE position = 2", &[Invariant::Fenced]),
    ("UPDATE transition SET to_state = 'Failed' WHERE position = 1", &[Invariant::TamperEvident, Invariant::Legal]),
    (
        "UPDATE transition SET effective_at = effective_at - 9 WHERE position = 3",
        &[Invariant::TamperEvident, Invariant::HonestTime],
    ),
    (
        "UPDATE transition SET body = CAST(replace(CAST(body AS TEXT), 'small', 'large') AS BLOB) WHERE position = 4",
        &[Invariant::TamperEvident],
    ),
    (
        "UPDATE transition SET body = CAST(' ' || CAST(body AS TEXT) AS BLOB) WHERE position = 4",
        &[Invariant::TamperEvident],
    ),
    ("UPDATE transition SET hash = zeroblob(32) WHERE position = 1", &[Invariant::TamperEvident]),
    ("UPDATE resource SET state = 'Deleted' WHERE uid = 'b'", &[Invariant::Head, Invariant::Closed]),
    ("UPDATE resource SET closed_at = 1 WHERE uid = 'b'", &[Invariant::Closed]),
    ("UPDATE resource SET memory_bytes = 0 WHERE uid = 'b'", &[Invariant::Head]),
    ("UPDATE resource SET sequence = 4 WHERE uid = 'b'", &[Invariant::Dense]),
    ("DELETE FROM resource WHERE uid = 'a'", &[Invariant::Head]),
    ("DELETE FROM resource WHERE uid = 'b'", &[Invariant::Head]),
    ("UPDATE shard SET head = 7", &[Invariant::Dense]),
    ("UPDATE shard SET epoch = 0", &[Invariant::Fenced]),
    ("UPDATE lane SET acked = 4 WHERE uid = 'a'", &[Invariant::Lanes]),
    ("UPDATE lane SET phase = 4 WHERE uid = 'a'", &[Invariant::Lanes]),
    ("DELETE FROM lane WHERE uid = 'a'", &[Invariant::Destinations]),
    ("DELETE FROM lane", &[Invariant::Destinations]),
];

#[tokio::test]
async fn an_audit_names_what_was_tampered_with() {
    for (sql, expected) in MEDDLING {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("ledger.db").display());
        fill(&url).await;
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        let untied = "DROP TRIGGER transition_is_not_updated; DROP TRIGGER transition_is_not_deleted; ";
        connection.execute(AssertSqlSafe(format!("{untied}{sql}"))).await.unwrap();
        connection.close().await.unwrap();
        let store = ledger::open(&url, TABLES).unwrap();
        let report = ledger::audit(store.as_ref(), TABLES).await.unwrap();
        for invariant in *expected {
            assert!(
                report.violations.iter().any(|violation| violation.invariant == *invariant),
                "{sql}: {invariant:?} is not among {:?}",
                report.violations
            );
        }
    }
}

type Meddle = fn(&mut Row);

/// The rows and the head of a stream as they should be.
async fn stream() -> (Installation, Head, Vec<Row>) {
    let lab = Lab::memory().await;
    let epoch = lab.lead().await;
    lab.stream(epoch, "a", 4).await;
    let rows = lab.store.rows(&RowQuery::default()).await.unwrap();
    (installation(), lab.store.head(&Uid::new("a")).await.unwrap().unwrap(), rows)
}

#[tokio::test]
async fn each_checker_says_where_what_and_what_instead() {
    let (installation, head, rows) = stream().await;
    let check = |previous: &Row, row: &Row| {
        let mut found: Vec<Violation> = Vec::new();
        invariants::in_stream(TABLES, &installation, &head, None, Some(previous), row, &mut found);
        invariants::in_shard(Position::default(), Some(previous), row, &mut found);
        found
    };
    assert_eq!(check(&rows[1], &rows[2]), []);
    let found = check(&rows[0], &rows[2]);
    let said: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(said[0], "dense: stream a at sequence 3: found sequence Sequence(3), expected Sequence(2)");
    assert!(found.iter().any(|violation| violation.invariant == Invariant::TamperEvident));

    let cases: [(Invariant, Meddle); 5] = [
        (Invariant::Fenced, |row| row.epoch = Epoch::new(0)),
        (Invariant::Legal, |row| row.from = None),
        (Invariant::Legal, |row| row.to = State::of("Deleted")),
        (Invariant::HonestTime, |row| row.effective.not_after = Timestamp::from_micros(0)),
        (Invariant::Dense, |row| row.position = Position::new(9)),
    ];
    for (invariant, meddle) in cases {
        let mut row = rows[2].clone();
        meddle(&mut row);
        assert!(check(&rows[1], &row).iter().any(|violation| violation.invariant == invariant), "{invariant:?}");
    }
}

#[tokio::test]
async fn a_whole_stream_forged_with_valid_hashes_does_not_match_its_head() {
    let (_, head, rows) = stream().await;
    let mut event = Event::verify(&rows[3].body).unwrap();
    event.data.billable.replicas = 0;
    let sealed = event.seal().unwrap();
    let newest = Row { body: sealed.body, hash: sealed.hash, ..rows[3].clone() };
    let walked = rows[..3].iter().cloned().fold(None, |walked, row| Some(invariants::Walked::on(walked, row)));
    let walked = invariants::Walked::on(walked, newest);
    let mut found = Vec::new();
    invariants::head(TABLES, &head, Some(&walked), &mut found);
    assert!(found.iter().any(|violation| violation.invariant == Invariant::Head), "{found:?}");
}

#[tokio::test]
async fn an_audit_walks_more_than_one_page() {
    let lab = Lab::memory().await;
    let epoch = lab.lead().await;
    lab.store.open_destination(&DestinationId::new("archive"), START).await.unwrap();
    lab.store.open_destination(&DestinationId::new("billing"), START).await.unwrap();
    let batch: Vec<_> = (0..1_203).map(|n| draft(&format!("uid-{n:05}"), 0, "Pending", START)).collect();
    lab.append(epoch, &batch).await;
    let batch: Vec<_> = (0..700).map(|n| draft(&format!("uid-{n:05}"), 1, "Available", START)).collect();
    lab.append(epoch, &batch).await;
    lab.assert_clean().await;
    let report = ledger::audit(lab.store.as_ref(), TABLES).await.unwrap();
    assert_eq!((report.resources, report.transitions), (1_203, 1_903));
    assert_eq!(
        lab.store.row(&Uid::new("uid-00000"), Sequence::new(2)).await.unwrap().map(|row| row.epoch),
        Some(epoch)
    );
}
