//! What only a file shows: a disk that takes nothing for a while, and somebody else who is writing.

use std::{process::Command, sync::Arc, time::Duration};

use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use trueup::{
    domain::{Clock, SystemClock},
    ledger::{Appender, AppenderLimits, Draft, Outcome},
};

use crate::lab::{Lab, SHARD, START, appended, nth, polled};

/// Set in the process that this test starts for itself.
const ALONE: &str = "TRUEUP_TEST_ALONE";

fn start(lab: &Lab, epoch: trueup::domain::Epoch, attempt: Duration) -> Appender {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let limits = AppenderLimits { deadline: Duration::from_mins(1), attempt, ..AppenderLimits::default() };
    Appender::start(Arc::clone(&lab.store), SHARD, epoch, clock, limits, Arc::default()).0
}

/// Waits until `appender` has failed so often from now on.
async fn failed(appender: &Appender, times: u64) {
    let clock = SystemClock::default();
    let before = appender.stats().view();
    loop {
        let stats = appender.stats().view();
        if stats.tries > before.tries + times {
            return;
        }
        assert!(clock.monotonic() < Duration::from_secs(20), "nothing failed: {stats:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Lets no file of this process grow beyond `size`: what would is an I/O error, as on a disk that is full or broken.
fn limit_files(size: &str) {
    let mut limiting = Command::new("prlimit");
    limiting.args(["--pid", &std::process::id().to_string(), &format!("--fsize={size}:unlimited")]);
    assert!(limiting.status().expect("running prlimit").success());
}

#[test]
fn a_disk_that_takes_nothing_for_a_while_loses_nothing() {
    const THIS: &str = "in_a_file::a_disk_that_takes_nothing_for_a_while_loses_nothing";
    if std::env::var_os(ALONE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(on_a_bad_disk());
    }
    // The limit is that of a whole process, and so is what is done about the signal that comes with it.
    let output = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; exec "$@""#, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", THIS, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

async fn on_a_bad_disk() {
    let lab = Lab::sqlite().await;
    let epoch = lab.lead().await;
    let appender = start(&lab, epoch, Duration::from_secs(5));
    let many = |round: i64| -> Vec<Draft> {
        // More than is kept in memory until the commit.
        let evidence = Some("a line of a log\n".repeat(1_000));
        (0..400).map(|n| Draft { evidence: evidence.clone(), ..nth(&format!("{round}-{n}"), 0, START) }).collect()
    };
    let mut expected = 0;
    for round in 0..4 {
        let drafts = if round % 2 == 0 { vec![nth("lone", round / 2, START)] } else { many(round) };
        expected += drafts.len();
        limit_files("4096");
        let appending = futures::future::join_all(drafts.into_iter().map(|draft| appender.append(draft)));
        let (outcomes, ()) = tokio::join!(appending, async {
            failed(&appender, 3).await;
            limit_files("unlimited");
        });
        for outcome in outcomes {
            appended(&outcome.unwrap());
        }
    }
    assert_eq!(lab.store.counts().await.unwrap().transitions, u64::try_from(expected).unwrap(), "each is there once");
    lab.assert_clean().await;
}

#[tokio::test]
async fn somebody_else_who_writes_is_waited_for() {
    let lab = Lab::sqlite().await;
    let epoch = lab.lead().await;
    let appender = start(&lab, epoch, Duration::from_millis(50));
    let options = SqliteConnectOptions::new().filename(lab.file().unwrap());
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let (outcome, ()) = tokio::join!(appender.append(nth("a", 0, START)), async {
        failed(&appender, 2).await;
        assert!(
            lab.store.head(&trueup::domain::Uid::new("a")).await.unwrap().is_none(),
            "who only reads waits for nobody"
        );
        other.execute("ROLLBACK").await.unwrap();
    });
    appended(&outcome.unwrap());
    assert_eq!(lab.store.counts().await.unwrap().transitions, 1);
    lab.assert_clean().await;
}

#[tokio::test]
async fn an_append_that_is_dropped_at_any_moment_leaves_the_file_to_the_next_one() {
    let lab = Lab::sqlite().await;
    let epoch = lab.lead().await;
    let mut reader = SqliteConnection::connect(&lab.url()).await.unwrap();
    // Alone, and as one of many: they are written in different ways.
    for others in [0, 20] {
        for moment in 0.. {
            let uids: Vec<_> = (0..=others).map(|n| format!("{others}-{moment}-{n}")).collect();
            let all = |place| -> Vec<_> { uids.iter().map(|uid| nth(uid, place, START)).collect() };
            lab.append(epoch, &all(0)).await;
            let drafts = all(1);
            let mut appending = lab.store.append(SHARD, epoch, START, &drafts);
            // Time for SQLite's thread to answer.
            let answered = polled(&mut appending, moment, async || {
                reader.execute("SELECT count(*) FROM shard").await.unwrap();
            });
            if let Some(outcomes) = answered.await {
                outcomes.unwrap();
                break;
            }
            drop(appending);
            // Committed or not: whoever comes next is told which, and is not kept waiting by what was left behind.
            let outcomes = lab.append(epoch, &drafts).await;
            let again = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Stale(Some(_)))).count();
            assert!([0, drafts.len()].contains(&again), "all or nothing: {again} of {}", drafts.len());
        }
    }
    lab.assert_clean().await;
}
