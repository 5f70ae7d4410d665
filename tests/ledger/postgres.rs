//! What only a server shows: a leader that is stopped, and a server that is killed.

use std::{sync::Arc, time::Duration};

use sqlx::{Connection, Executor, PgConnection, postgres::PgConnectOptions, query, query_scalar};
use trueup::{
    domain::{Clock, DestinationId, Epoch, Era, Kind, Sequence, SystemClock},
    ledger::{
        AppendError, Appender, AppenderError, AppenderLimits, ClaimRequest, Installation, Outcome, RowQuery,
        Settlement, StoreError,
    },
};

use crate::{
    lab::{Lab, SHARD, START, nth, polled},
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
async fn a_leader_that_is_stopped_at_any_moment_of_an_append_holds_nothing() {
    let url = Postgres::shared().database().await;
    let lab = Lab::at(url.clone()).await;
    let mut watcher = PgConnection::connect(&url).await.unwrap();
    let (mut epoch, mut written, mut finished) = (lab.lead().await, 0, false);
    for moment in 0.. {
        let batch: Vec<_> = (0..500).map(|n| nth(&format!("{moment}-{n}"), 0, START)).collect();
        let mut appending = lab.store.append(SHARD, epoch, START, &batch);
        let answered = polled(&mut appending, moment, async || {
            // Time for the server to answer what it was asked.
            query("SELECT 1").execute(&mut watcher).await.unwrap();
        });
        if let Some(outcome) = answered.await {
            outcome.unwrap();
            finished = true;
        }
        if finished {
            break;
        }
        // It goes no further, as a process that was sent SIGSTOP.
        let next = lab.store.take_over(SHARD, "next").await.unwrap();
        let outcome = appending.await;
        let before = written;
        written = lab.store.counts().await.unwrap().transitions;
        match outcome {
            Ok(_) => assert_eq!(written, before + 500, "it was written before the takeover"),
            Err(AppendError::Fenced { mine, current, .. }) => {
                assert_eq!((mine, current, written), (epoch, next, before));
            }
            // The server itself took longer for the statement than a takeover waits, and was told to leave it.
            Err(AppendError::Unknown(StoreError::Unavailable { .. })) => {
                assert!([before, before + 500].contains(&written), "{written} rows, where {before} were");
            }
            other => panic!("{other:?}"),
        }
        epoch = next;
    }
    assert!(finished, "some append came to its end");
}

/// Wherever an append stands when an era begins, what it writes from then on is of that era.
#[tokio::test]
async fn an_append_beside_the_beginning_of_an_era_is_of_that_era_or_was_written_before() {
    let url = Postgres::shared().database().await;
    let lab = Lab::at(url.clone()).await;
    let mut watcher = PgConnection::connect(&url).await.unwrap();
    let epoch = lab.lead().await;
    let (mut finished, mut anew) = (false, 0);
    for moment in 0.. {
        let batch = [nth(&format!("uid-{moment}"), 0, START)];
        let mut appending = lab.store.append(SHARD, epoch, START, &batch);
        let answered = polled(&mut appending, moment, async || {
            query("SELECT 1").execute(&mut watcher).await.unwrap();
        });
        if let Some(outcome) = answered.await {
            outcome.unwrap();
            finished = true;
        }
        if finished {
            break;
        }
        let before = lab.store.stored_installation().await.unwrap().unwrap();
        let next = Installation { era: Era::new(before.era.get() + 1), ..before.clone() };
        lab.store.replace_installation(SHARD, epoch, &next).await.unwrap();
        let written = lab.store.counts().await.unwrap().transitions;
        let outcomes = appending.await.unwrap();
        let head = crate::lab::appended(&outcomes[0]);
        let is_new = lab.store.counts().await.unwrap().transitions > written;
        anew += u32::from(is_new);
        assert_eq!(head.era, if is_new { next.era } else { before.era }, "moment {moment}");
    }
    assert!(finished && anew > 0, "{anew} appends were written after an era had begun");
    // What is remembered of a stream since its last append is no reason to go on in an era that has ended.
    for n in 0..3 {
        let now = lab.store.stored_installation().await.unwrap().unwrap();
        let outcomes = lab.append(epoch, &[nth("known", n, START)]).await;
        assert_eq!(crate::lab::appended(&outcomes[0]).era, now.era);
        let next = Installation { era: Era::new(now.era.get() + 1), ..now };
        lab.store.replace_installation(SHARD, epoch, &next).await.unwrap();
    }
    lab.assert_clean().await;
}

/// An append that was decided before a destination is opened, and is written after, makes its streams' lanes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_beside_the_opening_of_a_destination_makes_its_lanes() {
    const WAITING: &str = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'trueup append' \
         AND datname = current_database() AND wait_event_type = 'Lock'";
    let url = Postgres::shared().database().await;
    let lab = Arc::new(Lab::at(url.clone()).await);
    let epoch = lab.lead().await;
    lab.stream(epoch, "before", 1).await;
    let mut opening = PgConnection::connect(&url).await.unwrap();
    let mut transaction = opening.begin().await.unwrap();
    query("LOCK TABLE shard IN EXCLUSIVE MODE").execute(&mut *transaction).await.unwrap();
    let appending = tokio::spawn({
        let lab = Arc::clone(&lab);
        async move { lab.stream(epoch, "beside", 1).await }
    });
    // Within the transaction, it would see the same moment again and again.
    let mut watcher = PgConnection::connect(&url).await.unwrap();
    let clock = SystemClock::default();
    while query(WAITING).fetch_optional(&mut watcher).await.unwrap().is_none() {
        assert!(clock.monotonic() < Duration::from_secs(4), "the append never came to the lock");
    }
    query("INSERT INTO destination (id, opened_at) VALUES ('billing', 0)").execute(&mut *transaction).await.unwrap();
    query("UPDATE shard SET revision = revision + 1").execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    appending.await.unwrap();
    let lanes = lab.store.lanes(None, false, 10).await.unwrap();
    assert_eq!(lanes.iter().map(|lane| lane.uid.as_str()).collect::<Vec<_>>(), ["beside"]);
}

#[tokio::test]
async fn a_relay_that_stops_while_it_settles_lets_its_lanes_go() {
    let url = Postgres::shared().database().await;
    let lab = Lab::at(url.clone()).await;
    let billing = DestinationId::new("billing");
    let epoch = lab.lead().await;
    lab.store.open_destination(&billing, START).await.unwrap();
    let drafts: Vec<_> = (0..500).map(|n| nth(&format!("s{n}"), 0, START)).collect();
    lab.append(epoch, &drafts).await;
    let claims = lab.store.claim(&ClaimRequest { lanes: 500, ..lab.request(&billing) }, START).await.unwrap();
    let acked = Settlement::Acked { through: Sequence::FIRST };
    let ends: Vec<_> =
        claims.into_iter().map(|claim| (claim.destination, claim.uid, claim.token, acked.clone())).collect();
    let mut watcher = PgConnection::connect(&url).await.unwrap();
    let mut are_free = async || {
        let free = query("SELECT 1 FROM lane FOR UPDATE SKIP LOCKED").fetch_all(&mut watcher).await.unwrap();
        free.len() == 500
    };
    let mut settling = lab.store.settle(&ends, START);
    while are_free().await {
        let polled = futures::poll!(&mut settling);
        assert!(polled.is_pending(), "it finished before it could be stopped: {polled:?}");
    }
    let clock = SystemClock::default();
    while !are_free().await {
        assert!(clock.monotonic() < Duration::from_secs(10), "the lanes are still locked, and appends wait for them");
        tokio::task::yield_now().await;
    }
    let ended = settling.await;
    assert!(matches!(ended, Err(StoreError::Unavailable { .. })), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_nothing_that_was_answered() {
    let server = Arc::new(Postgres::start());
    let lab = Arc::new(Lab::at(server.database().await).await);
    let epoch = lab.lead().await;
    let limits = AppenderLimits { deadline: Duration::from_mins(1), ..AppenderLimits::default() };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let (appender, _task) = Appender::start(Arc::clone(&lab.store), SHARD, epoch, clock, limits, Arc::default());

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

/// While a claim is at work, another relay drains one of the lanes that it is going to take, and an append wakes it
/// again. The claim then takes a lane whose only row is newer than its own view.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_finds_the_row_that_woke_its_lane_after_it_began() {
    // Stops every claim when it comes by the stream called gate, for as long as somebody holds the lock.
    const GATE: &str = "CREATE FUNCTION gate(uid text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN \
         IF uid = 'gate' AND current_setting('application_name') = 'trueup deliver' THEN \
         PERFORM pg_advisory_lock_shared(42); PERFORM pg_advisory_unlock_shared(42); END IF; RETURN true; END $$; \
         CREATE POLICY gate ON lane USING (gate(uid)); \
         ALTER TABLE lane ENABLE ROW LEVEL SECURITY; ALTER TABLE lane FORCE ROW LEVEL SECURITY; \
         SELECT pg_advisory_lock(42)";
    const WAITING: &str = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'trueup deliver' \
         AND datname = current_database() AND wait_event = 'advisory'";
    let url = Postgres::shared().database().await;
    let lab = Arc::new(Lab::at(url.clone()).await);
    let billing = DestinationId::new("billing");
    let epoch = lab.lead().await;
    lab.store.open_destination(&billing, START).await.unwrap();
    lab.stream(epoch, "gate", 1).await;
    lab.stream(epoch, "other", 1).await;
    let mut relay = PgConnection::connect(&url).await.unwrap();
    relay.execute(sqlx::raw_sql(GATE)).await.unwrap();

    let claiming = tokio::spawn({
        let (lab, request) = (Arc::clone(&lab), lab.request(&billing));
        async move { lab.store.claim(&request, START).await.unwrap() }
    });
    let clock = SystemClock::default();
    while query(WAITING).fetch_optional(&mut relay).await.unwrap().is_none() {
        assert!(clock.monotonic() < Duration::from_secs(4), "the claim never came to the gate");
    }
    query("UPDATE lane SET acked = 1, phase = 0 WHERE uid = 'other'").execute(&mut relay).await.unwrap();
    lab.append(epoch, &[nth("other", 1, START)]).await;
    query("SELECT pg_advisory_unlock(42)").execute(&mut relay).await.unwrap();

    let claims = claiming.await.unwrap();
    let other = claims.iter().find(|claim| claim.uid.as_str() == "other").expect("its lane is awake, so it is claimed");
    let sent: Vec<_> = other.rows.iter().map(|row| row.sequence.get()).collect();
    assert_eq!((other.acked.get(), other.head.get(), sent), (1, 2, vec![2]));
}

/// How often anybody has looked for a stream's rows in each partition that has some.
async fn looks(connection: &mut PgConnection) -> Vec<i64> {
    let looks = "SELECT idx_scan FROM pg_stat_user_indexes i JOIN partition p ON i.relname = 'transition_from_' || p.lower \
         WHERE i.indexrelname LIKE '%uid_sequence%' AND p.lower <= (SELECT head FROM shard) ORDER BY p.lower";
    query_scalar(looks).fetch_all(connection).await.unwrap()
}

#[tokio::test]
async fn rows_are_looked_for_in_the_partitions_only_in_which_their_stream_has_some() {
    let url = Postgres::shared().database().await;
    let lab = Lab::at(url.clone()).await;
    lab.partition_by(10).await;
    let epoch = lab.lead().await;
    let billing = DestinationId::new("billing");
    lab.store.open_destination(&billing, START).await.unwrap();
    lab.stream(epoch, "before", 20).await;
    lab.stream(epoch, "mine", 10).await;
    lab.stream(epoch, "behind", 30).await;
    let mut watcher = PgConnection::connect(&url).await.unwrap();
    query("UPDATE lane SET phase = 4 WHERE uid <> 'mine'").execute(&mut watcher).await.unwrap();
    assert_eq!(looks(&mut watcher).await, [0; 6]);

    let store = lab.reopen();
    let claims = store.claim(&lab.request(&billing), START).await.unwrap();
    assert_eq!(claims.iter().map(|claim| claim.rows.len()).collect::<Vec<_>>(), [10]);
    let named = Some((Kind::AppDeployment, Some("acme-prod".to_owned()), "app-mine".to_owned()));
    let history = store.rows(&RowQuery { named, ..RowQuery::default() }).await.unwrap();
    assert_eq!(history.len(), 10);
    // A session tells what it has done when it ends.
    drop(store);
    let clock = SystemClock::default();
    let looked = loop {
        let looked = looks(&mut watcher).await;
        if looked[2] >= 2 {
            break looked;
        }
        assert!(clock.monotonic() < Duration::from_secs(30), "the statistics never came: {looked:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(looked, [0, 0, 2, 0, 0, 0]);
}

/// How many entries of the lanes' indexes have been read in all.
async fn lane_entries_read(connection: &mut PgConnection) -> i64 {
    let read = "SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes WHERE relname = 'lane'";
    query_scalar(read).fetch_one(connection).await.unwrap()
}

#[tokio::test]
async fn an_append_reads_no_lanes_but_its_own_however_many_there_are() {
    let url = Postgres::shared().database().await;
    let lab = Lab::at(url.clone()).await;
    let epoch = lab.lead().await;
    lab.store.open_destination(&DestinationId::new("billing"), START).await.unwrap();
    lab.stream(epoch, "mine", 1).await;
    lab.append(epoch, &[nth("beside", 0, START), nth("another", 0, START)]).await;
    let mut watcher = PgConnection::connect(&url).await.unwrap();
    // Not yet analysed, as a table is that has grown quickly.
    let others = "INSERT INTO lane (destination, uid, acked, phase, due_at, from_position) \
        SELECT 'billing', 'other-' || n, 0, 4, 0, 1 FROM generate_series(1, 20000) n";
    query(others).execute(&mut watcher).await.unwrap();
    let before = lane_entries_read(&mut watcher).await;

    let store = lab.reopen();
    // More often than a prepared statement is planned for its parameters, alone and as some of many.
    for n in 1..=10 {
        let alone = store.append(SHARD, epoch, START, &[nth("mine", n, START)]).await.unwrap();
        let two = [nth("beside", n, START), nth("another", n, START)];
        let together = store.append(SHARD, epoch, START, &two).await.unwrap();
        let appended = |outcome: &Outcome| matches!(outcome, Outcome::Appended(_));
        assert!(alone.iter().chain(&together).all(appended), "{alone:?} {together:?}");
    }
    // A session tells what it has read when it ends.
    drop(store);
    let clock = SystemClock::default();
    let read = loop {
        let read = lane_entries_read(&mut watcher).await - before;
        if read >= 30 {
            break read;
        }
        assert!(clock.monotonic() < Duration::from_secs(30), "the statistics never came: {read}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(read < 1_000, "30 rows of one destination were written, and {read} entries of lanes read");
}
