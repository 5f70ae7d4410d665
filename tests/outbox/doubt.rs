//! An event whose fate is not known, and a receiver that forgets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use trueup::{
    ledger::{AMBIGUOUS, LaneState, LaneView},
    sinks::{Batch, Delivery, Ending, Sink},
};

use crate::rig::{Ledger, names, to, uid, until};

const ATTEMPT: Duration = Duration::from_millis(20);
const HORIZON: Duration = Duration::from_secs(1);

/// Takes everything but what is called `lost`, of which nobody ever hears an answer.
#[derive(Debug)]
struct Forgetful {
    /// Whether it says for how long it remembers.
    answers: bool,
    /// How often `lost` was sent.
    sent: AtomicUsize,
}

#[async_trait]
impl Sink for Forgetful {
    async fn deliver(&self, batch: Batch) -> Delivery {
        let through = batch.rows.last().map(|row| row.sequence);
        if batch.uid == uid("lost") {
            self.sent.fetch_add(1, Ordering::SeqCst);
            return Delivery { through: None, ending: Ending::Retry { after: None, error: "no answer".into() } };
        }
        Delivery { through, ending: Ending::Accepted }
    }

    fn longest_attempt(&self) -> Duration {
        ATTEMPT
    }

    async fn dedupe_horizon(&self) -> Result<Option<Duration>, Ending> {
        let silent = || Ending::Retry { after: None, error: "cannot be asked".into() };
        self.answers.then_some(Some(HORIZON)).ok_or_else(silent)
    }
}

fn forgetful(answers: bool) -> Arc<Forgetful> {
    Arc::new(Forgetful { answers, sent: AtomicUsize::new(0) })
}

#[tokio::test]
async fn what_may_have_arrived_is_not_sent_again_once_the_receiver_may_have_forgotten_it() {
    let ledger = Ledger::new().await;
    let sink = forgetful(true);
    let relay = ledger.relay(81);
    relay.put(to(Arc::clone(&sink) as Arc<dyn Sink>));
    ledger.append(&["lost".to_owned()], 2).await;
    let parked = |lane: &LaneView| lane.state == LaneState::Parked;
    let lane = until("it is parked", || async { Some(ledger.lane("lost").await).filter(parked) }).await;
    assert_eq!(lane.park_reason.as_deref(), Some(AMBIGUOUS));
    assert!(lane.last_error.unwrap().contains("could count it twice"));
    let sent = sink.sent.load(Ordering::SeqCst);
    assert!(sent > 1, "while it is recognised, it is tried again");
    ledger.append(&names("app", 10), 3).await;
    ledger.drained_but(&["lost"]).await;
    assert_eq!(sink.sent.load(Ordering::SeqCst), sent, "never again");
}

#[tokio::test]
async fn nothing_doubtful_is_sent_while_nobody_knows_how_long_the_receiver_remembers() {
    let ledger = Ledger::new().await;
    let sink = forgetful(false);
    let relay = ledger.relay(82);
    relay.put(to(Arc::clone(&sink) as Arc<dyn Sink>));
    ledger.append(&["lost".to_owned()], 1).await;
    let failed = |lane: &LaneView| lane.attempts > 3;
    until("it has come to nothing some times", || async { Some(ledger.lane("lost").await).filter(failed) }).await;
    assert_eq!(sink.sent.load(Ordering::SeqCst), 1, "the first time it was not in doubt");
    ledger.append(&names("app", 10), 3).await;
    ledger.drained_but(&["lost"]).await;
}
