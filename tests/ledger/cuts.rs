//! A database that is lost in the middle, or says no for a while: what was appended is there once.

use std::{sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use trueup::{
    domain::{Clock, DestinationId, Epoch, Sequence, SystemClock},
    ledger::{
        self, Appender, AppenderError, AppenderLimits, Claim, Draft, Outcome, Settlement, Store, StoreError,
        lanes::MAX_LEASE,
    },
};

use crate::{
    cutting::{Cut, Proxy, Way},
    lab::{Lab, SHARD, START, TABLES, appended, nth},
    support::postgres::Postgres,
};

fn start(store: Arc<dyn Store>, epoch: Epoch) -> Appender {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let limits = AppenderLimits { deadline: Duration::from_mins(1), ..AppenderLimits::default() };
    Appender::start(store, SHARD, epoch, clock, limits, Arc::default()).0
}

async fn append_all(appender: &Appender, drafts: &[Draft]) -> Vec<Result<Outcome, AppenderError>> {
    futures::future::join_all(drafts.iter().map(|draft| appender.append(draft.clone()))).await
}

/// A stream that goes on, and one that opens.
fn drafts(round: i64) -> Vec<Draft> {
    let opens = Draft { evidence: Some("the end of a log".into()), ..nth(&format!("new{round}"), 0, START) };
    vec![nth("old", round, START), opens]
}

const APPENDING: &str = "trueup append";
const GENERAL: &str = "trueup general";
const DELIVERING: &str = "trueup deliver";

/// So many times in a row, nothing is cut any more. One would not do: which of its sessions a pool gives out, and which it
/// still looks after, is its own affair, and so is how many messages one of them has seen.
const UNCUT: usize = 5;

/// The address of the database at `url`, as it is reached by way of `proxy`.
fn through(url: &str, proxy: &Proxy) -> String {
    let database = url.split(['/', '?']).nth(3).unwrap();
    format!("postgres://ledger@127.0.0.1:{}/{database}?sslmode=disable", proxy.port)
}

/// Cuts connections at each message in turn, until appends are done before the cut would come. Answers how often the
/// outcome was unknown.
///
/// If `anew`, each append has to connect first, so that this is cut too.
async fn cut_everywhere(sessions: &'static str, way: Way, times: usize, anew: bool) -> u64 {
    let url = Postgres::shared().database().await;
    let lab = Lab::at(url.clone()).await;
    let epoch = lab.lead().await;
    let proxy = Proxy::start(Postgres::shared().directory().to_owned()).await;
    let through = through(&url, &proxy);
    let open = || start(ledger::open(&through, TABLES).unwrap(), epoch);
    let mut appender = open();
    for outcome in append_all(&appender, &drafts(0)).await {
        appended(&outcome.unwrap());
    }
    let (mut round, mut uncut, mut doubts) = (0, 0, 0);
    while uncut < UNCUT {
        round += 1;
        if anew {
            doubts += appender.stats().view().doubts;
            appender = open();
        }
        let cut = Cut { sessions, way, after: usize::try_from(round - 1).unwrap(), times };
        proxy.cut(cut);
        for (draft, outcome) in drafts(round).iter().zip(append_all(&appender, &drafts(round)).await) {
            let outcome = outcome.unwrap_or_else(|error| panic!("{cut:?}: {error}"));
            let (head, before) = (appended(&outcome), draft.after.map_or(0, Sequence::get));
            assert_eq!((&head.subject.uid, head.sequence.get()), (&draft.subject.uid, before + 1), "{cut:?}");
        }
        uncut = if proxy.mend() == 0 { uncut + 1 } else { 0 };
        assert!(round < 300, "an append of {round} messages");
    }
    let counts = lab.store.counts().await.unwrap();
    assert_eq!(counts.transitions, 2 * u64::try_from(round + 1).unwrap(), "each draft is there once");
    lab.assert_clean().await;
    doubts + appender.stats().view().doubts
}

/// Cuts everywhere, again and again if which session a pool gives out spared the one message whose loss leaves a doubt.
async fn brings_doubt(way: Way, times: usize, anew: bool) {
    for _ in 0..5 {
        if cut_everywhere(APPENDING, way, times, anew).await > 0 {
            return;
        }
    }
    panic!("no outcome was ever unknown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_before_any_message_to_the_server_loses_and_doubles_nothing() {
    brings_doubt(Way::Asked, 1, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_before_any_answer_of_the_server_loses_and_doubles_nothing() {
    brings_doubt(Way::Answered, 1, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_connections_that_are_cut_again_and_again_lose_and_double_nothing() {
    for way in [Way::Asked, Way::Answered] {
        brings_doubt(way, 2, true).await;
        cut_everywhere(GENERAL, way, 2, true).await;
    }
}

/// Claims what is due, and acknowledges all of it.
async fn deliver(lab: &Lab, store: &dyn Store) -> Result<(), StoreError> {
    let claims = store.claim(&lab.request(&DestinationId::new("billing")), lab.now()).await?;
    let end = |claim: Claim| {
        let through = claim.rows.last().unwrap().sequence;
        (claim.destination, claim.uid, claim.token, Settlement::Acked { through })
    };
    store.settle(&claims.into_iter().map(end).collect::<Vec<_>>(), lab.now()).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_between_a_claim_and_its_settlement_holds_up_nothing_for_longer_than_a_lease() {
    for way in [Way::Asked, Way::Answered] {
        let url = Postgres::shared().database().await;
        let lab = Lab::at(url.clone()).await;
        let epoch = lab.lead().await;
        lab.store.open_destination(&DestinationId::new("billing"), lab.now()).await.unwrap();
        let proxy = Proxy::start(Postgres::shared().directory().to_owned()).await;
        let store = ledger::open(&through(&url, &proxy), TABLES).unwrap();
        let (mut round, mut uncut, mut lost) = (0, 0, 0);
        while uncut < UNCUT {
            let rows: Vec<_> = ["a", "b"].iter().map(|uid| nth(uid, round, START)).collect();
            lab.append(epoch, &rows).await;
            let cut = Cut { sessions: DELIVERING, way, after: usize::try_from(round).unwrap(), times: 1 };
            proxy.cut(cut);
            let first = deliver(&lab, store.as_ref()).await;
            uncut = if proxy.mend() == 0 { uncut + 1 } else { 0 };
            if let Err(error) = first {
                lost += 1;
                assert!(error.is_transient(), "{cut:?}: {error}");
                // Either it was acknowledged, and nobody was told, or the lease ends. (The server takes its time to see
                // that the other side is gone; until then the lanes are locked, and passed over.)
                lab.pass(MAX_LEASE).await;
                let clock = SystemClock::default();
                while !lab.store.lanes(None, true, 10).await.unwrap().is_empty() {
                    assert!(clock.monotonic() < Duration::from_secs(20), "{cut:?}: the lanes are held up");
                    deliver(&lab, store.as_ref()).await.unwrap();
                }
            }
            for lane in lab.store.lanes(None, false, 10).await.unwrap() {
                assert_eq!((lane.acked, lane.head), (lane.head, Sequence::new(round + 1)), "{cut:?}: {lane:?}");
            }
            round += 1;
            assert!(round < 300, "a delivery of {round} messages");
        }
        assert!(lost > 5, "only {lost} deliveries were cut");
        lab.assert_clean().await;
    }
}

/// How an append is made to fail: at once, or only when it commits.
const MOMENTS: [&str; 2] = [
    "CREATE TRIGGER fault BEFORE UPDATE ON shard FOR EACH ROW EXECUTE FUNCTION fault()",
    "CREATE CONSTRAINT TRIGGER fault AFTER UPDATE ON shard DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fault()",
];

/// A database whose shard cannot be moved for the first `times` times, since `what` happens. A sequence counts them: it
/// is not rolled back.
async fn failing(times: u32, moment: &str, what: &str) -> (Lab, Appender) {
    let url = Postgres::shared().database().await;
    let lab = Lab::at(url.clone()).await;
    let epoch = lab.lead().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let sql = format!(
        "CREATE SEQUENCE faults; CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF nextval('faults') <= {times} THEN {what}; END IF; RETURN NEW; END $$; {moment}"
    );
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
    connection.close().await.unwrap();
    let appender = start(Arc::clone(&lab.store), epoch);
    (lab, appender)
}

fn raise(code: &str) -> String {
    format!("RAISE EXCEPTION 'as planned' USING ERRCODE = '{code}'")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_is_tried_again_until_it_has_passed() {
    let passing = [
        ("statement timeout", raise("57014")),
        ("lock timeout", raise("55P03")),
        ("deadlock", raise("40P01")),
        ("serialization failure", raise("40001")),
        ("disk full", raise("53100")),
        ("out of memory", raise("53200")),
        ("too many connections", raise("53300")),
        ("shutdown", raise("57P01")),
        ("crash", raise("57P02")),
        ("read-only, as during a failover", raise("25006")),
        ("I/O error", raise("58030")),
        ("a session that is ended", "PERFORM pg_terminate_backend(pg_backend_pid())".to_owned()),
    ];
    for moment in MOMENTS {
        for (name, what) in &passing {
            let (lab, appender) = failing(2, moment, what).await;
            for outcome in append_all(&appender, &drafts(0)).await {
                appended(&outcome.unwrap_or_else(|error| panic!("{name}: {error}")));
            }
            let stats = appender.stats().view();
            assert_eq!(stats.tries, stats.batches + 2, "{name}: {stats:?}");
            assert_eq!(lab.store.counts().await.unwrap().transitions, 2, "{name}: each is there once");
            lab.assert_clean().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_pass_is_reported_as_what_it_is() {
    for moment in MOMENTS {
        for code in ["23514", "42501", "XX001"] {
            // Once for the two together, if they are, and once for each.
            let (lab, appender) = failing(3, moment, &raise(code)).await;
            for draft in drafts(0) {
                let error = appender.append(draft).await.unwrap_err();
                let AppenderError::Refused { cause } = &error else { panic!("{code}: {error}") };
                assert!(matches!(**cause, StoreError::Refused { .. }), "{code}: {cause}");
                assert!(error.to_string().contains("as planned"), "{code}: {error}");
            }
            assert_eq!(appender.stats().view().tries, 2, "{code}: it is not tried again");
            assert_eq!(lab.store.counts().await.unwrap().transitions, 0, "{code}: nothing was written");
            // One more, and it is over.
            assert!(appender.append(nth("old", 0, START)).await.is_err());
            appended(&appender.append(nth("old", 0, START)).await.unwrap());
            lab.assert_clean().await;
        }
    }
}
