//! Many writers, few transactions, and a database that fails.

use std::{sync::Arc, time::Duration};

use trueup::{
    domain::{Clock, Epoch, ManualClock, Sequence, Uid},
    ledger::{Appender, AppenderError, AppenderLimits, Draft, Outcome, Store},
};

use crate::{
    lab::{Lab, SHARD, START, appended, nth},
    support::flaky::{Fault, Flaky},
};

pub fn start(store: Arc<dyn Store>, epoch: Epoch) -> Appender {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(START));
    let limits = AppenderLimits { deadline: Duration::from_millis(200), ..AppenderLimits::default() };
    Appender::start(store, SHARD, epoch, clock, limits, Arc::default()).0
}

async fn append_all(appender: &Appender, drafts: Vec<Draft>) -> Vec<Result<Outcome, AppenderError>> {
    futures::future::join_all(drafts.into_iter().map(|draft| appender.append(draft))).await
}

fn openings(count: i64) -> Vec<Draft> {
    (0..count).map(|n| nth(&format!("s{n}"), 0, START)).collect()
}

pub async fn waiting_writers_share_transactions(lab: Lab) {
    let appender = start(Arc::clone(&lab.store), lab.lead().await);
    let commits = appender.commits();
    for outcome in append_all(&appender, openings(700)).await {
        assert_eq!(appended(&outcome.unwrap()).sequence, Sequence::FIRST);
    }
    let stats = appender.stats().view();
    assert_eq!(stats.drafts, 700);
    assert!(stats.batches < 100 && stats.largest > 1 && stats.largest <= 500, "{stats:?}");
    assert_eq!(*commits.borrow(), 700);
    lab.assert_clean().await;
}

pub async fn no_transaction_takes_more_drafts_than_it_may(lab: Lab) {
    let (epoch, clock): (_, Arc<dyn Clock>) = (lab.lead().await, Arc::new(ManualClock::at(START)));
    let limits = AppenderLimits { batch: 3, ..AppenderLimits::default() };
    let (appender, _) = Appender::start(Arc::clone(&lab.store), SHARD, epoch, clock, limits, Arc::default());
    for outcome in append_all(&appender, openings(50)).await {
        appended(&outcome.unwrap());
    }
    assert_eq!(appender.stats().view().largest, 3);
}

pub async fn a_lost_answer_is_resolved_by_reading(lab: Lab) {
    use Fault::{LostAfter, LostBefore, None, NotCommitted};
    let epoch = lab.lead().await;
    let plans = [
        [LostBefore, None, None],
        [LostAfter, None, None],
        [LostAfter, NotCommitted, LostAfter],
        [NotCommitted, LostBefore, LostAfter],
    ];
    for (round, plan) in (0..).zip(plans) {
        let appender = start(Flaky::new(Arc::clone(&lab.store), plan, None), epoch);
        // The second is a writer that drafted the very same: only one of them can have written the row.
        let mut drafts = vec![nth("a", round, START), nth("a", round, START)];
        drafts.push(Draft { evidence: Some("the end of a log".into()), ..nth(&format!("b{round}"), 0, START) });
        let outcomes: Vec<_> = append_all(&appender, drafts).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(appended(&outcomes[0]).sequence, Sequence::new(round + 1), "{plan:?}");
        assert!(matches!(outcomes[1], Outcome::Stale(_)), "{plan:?}: {outcomes:?}");
        assert_eq!(appended(&outcomes[2]).subject.uid, Uid::new(format!("b{round}")), "{plan:?}");
    }
    assert_eq!(lab.store.counts().await.unwrap().transitions, 2 * 4, "each draft is there once");
    lab.assert_clean().await;
}

pub async fn a_takeover_ends_the_appender(lab: Lab) {
    let appender = start(Arc::clone(&lab.store), lab.lead().await);
    append_all(&appender, openings(3)).await;
    assert!(!appender.fenced().is_cancelled());
    let current = lab.lead().await;
    for outcome in append_all(&appender, (0..5).map(|n| nth(&format!("late{n}"), 0, START)).collect()).await {
        let Err(error) = outcome else { panic!("appended by a deposed leader: {outcome:?}") };
        assert!(
            matches!(error, AppenderError::Fenced { current: said, .. } if said == current)
                || matches!(error, AppenderError::Stopped),
            "{error}"
        );
    }
    assert!(appender.fenced().is_cancelled());
    assert_eq!(lab.store.counts().await.unwrap().transitions, 3);
    lab.assert_clean().await;
}

#[tokio::test]
async fn a_database_that_stays_away_is_reported_and_the_doubt_with_it() {
    let lab = Lab::memory().await;
    let epoch = lab.lead().await;
    let away = start(Flaky::new(Arc::clone(&lab.store), [], Fault::NotCommitted), epoch);
    let error = away.append(nth("a", 0, START)).await.unwrap_err();
    assert!(matches!(error, AppenderError::Unavailable { .. }), "{error}");
    assert_eq!(error.code(), "LedgerUnavailable");
    let doubt = start(Flaky::new(Arc::clone(&lab.store), [Fault::LostAfter], Fault::NotCommitted), epoch);
    let error = doubt.append(nth("a", 0, START)).await.unwrap_err();
    assert!(matches!(error, AppenderError::Unresolved { .. }), "{error}");
    // It was written after all, and whoever looks again finds it.
    let back = start(Arc::clone(&lab.store), epoch);
    assert!(matches!(back.append(nth("a", 0, START)).await.unwrap(), Outcome::Stale(Some(_))));
}

#[tokio::test]
async fn a_refused_batch_is_appended_one_by_one() {
    let lab = Lab::memory().await;
    let epoch = lab.lead().await;
    // The batch of three, then the second of them alone.
    let plan = [Fault::Refused, Fault::None, Fault::Refused];
    let appender = start(Flaky::new(Arc::clone(&lab.store), plan, Fault::None), epoch);
    let outcomes = append_all(&appender, openings(3)).await;
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
    assert!(matches!(outcomes[1], Err(AppenderError::Refused { .. })), "{outcomes:?}");
    assert_eq!(lab.store.counts().await.unwrap().transitions, 2);
}
