//! What only a server shows: a leader that is stopped, and a server that is killed.

use std::{sync::Arc, time::Duration};

use sqlx::{Connection, PgConnection, Row as _, postgres::PgConnectOptions, query};
use trueup::{
    domain::{Clock, Epoch, SystemClock},
    ledger::{Appender, AppenderError, AppenderLimits, Outcome},
};

use crate::{
    lab::{Lab, SHARD, START, nth},
    support::postgres::Postgres,
};

#[tokio::test]
async fn a_stopped_leader_in_the_middle_of_a_transaction_does_not_delay_a_takeover() {
    let url = Postgres::shared().database().await;
    let lab = Lab::at(url.clone()).await;
    lab.lead().await;
    let options: PgConnectOptions = url.parse().unwrap();
    let mut stopped = PgConnection::connect_with(&options.application_name("trueup append")).await.unwrap();
    query("BEGIN").execute(&mut stopped).await.unwrap();
    query("SELECT * FROM shard WHERE id = 0 FOR NO KEY UPDATE").execute(&mut stopped).await.unwrap();

    let clock = SystemClock::default();
    let epoch = lab.store.take_over(SHARD, "next").await.unwrap();
    let took = clock.monotonic();
    assert_eq!(epoch, Epoch::new(2));
    assert!(took < Duration::from_secs(3), "the takeover took {took:?}");
    assert!(query("SELECT 1").execute(&mut stopped).await.is_err(), "the stopped leader's session has ended");
    lab.stream(epoch, "a", 1).await;
}

#[tokio::test]
async fn a_takeover_ends_no_session_of_somebody_else() {
    let url = Postgres::shared().database().await;
    let lab = Lab::at(url.clone()).await;
    lab.lead().await;
    let options: PgConnectOptions = url.parse().unwrap();
    let mut person = PgConnection::connect_with(&options.application_name("psql")).await.unwrap();
    query("BEGIN").execute(&mut person).await.unwrap();
    query("SELECT * FROM shard WHERE id = 0 FOR UPDATE").execute(&mut person).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(700), lab.store.take_over(SHARD, "next")).await;
    assert!(waiting.is_err(), "it waits: {waiting:?}");
    query("COMMIT").execute(&mut person).await.unwrap();
}

#[tokio::test]
async fn an_appender_that_stops_in_a_transaction_is_ended_by_the_server() {
    let url = Postgres::shared().database().await;
    let lab = Lab::at(url.clone()).await;
    let epoch = lab.lead().await;
    lab.stream(epoch, "a", 1).await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    // The session that just appended is idle in its pool: what it was told to do stands in its settings, which nobody
    // else can read. But a copy made the same way can be asked.
    let settings = query("SELECT application_name FROM pg_stat_activity WHERE datname = current_database()")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let names: Vec<String> = settings.iter().map(|row| row.get(0)).collect();
    assert!(names.iter().any(|name| name == "trueup append"), "{names:?}");
    assert!(names.iter().all(|name| name.is_empty() || name.starts_with("trueup ")), "{names:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_nothing_that_was_answered() {
    let server = Arc::new(Postgres::start());
    let lab = Arc::new(Lab::at(server.database().await).await);
    let epoch = lab.lead().await;
    let limits = AppenderLimits { deadline: Duration::from_mins(1), ..AppenderLimits::default() };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let (appender, _task) = Appender::start(Arc::clone(&lab.store), SHARD, epoch, clock, limits);

    let writers: Vec<_> = (0..20)
        .map(|writer| {
            let appender = appender.clone();
            tokio::spawn(async move {
                for n in 0..40 {
                    let outcome = appender.append(nth(&format!("s{writer}"), n, START)).await;
                    match outcome {
                        Ok(Outcome::Appended(_)) => {}
                        Err(AppenderError::Unresolved { .. } | AppenderError::Unavailable { .. }) => return n,
                        other => panic!("{other:?}"),
                    }
                }
                40
            })
        })
        .collect();
    let mut commits = appender.commits();
    for rows in [100, 300, 500] {
        commits.wait_for(|written| *written > rows).await.unwrap();
        let server = Arc::clone(&server);
        tokio::task::spawn_blocking(move || {
            server.kill();
            server.restart();
        })
        .await
        .unwrap();
    }
    let mut answered = 0;
    for writer in writers {
        answered +=
            tokio::time::timeout(Duration::from_mins(1), writer).await.expect("every writer is answered").unwrap();
    }
    assert_eq!(answered, 20 * 40, "the server came back in time, so all was appended");
    assert_eq!(lab.store.counts().await.unwrap().transitions, 20 * 40, "and each once");
    assert!(appender.stats().view().tries > appender.stats().view().batches, "the kills were felt");
    lab.assert_clean().await;
}
