//! From the ledger's record of a transition to the receiver's disk, with ten thousand resources standing.

use std::time::Duration;

use trueup::{ledger::Outcome, outbox::Limits};

use crate::{
    fleet::{grow, streams},
    place::Lab,
    plan::Plan,
    receiver::Receiver,
    relay::Relaying,
    report::Report,
    timing::{Spans, Stopwatch},
};

const RESOURCES: usize = 10_000;
const EVENTS: usize = 1_000;
/// Between two transitions: a hundred of them in a second.
const PACE: Duration = Duration::from_millis(10);

pub async fn run(plan: &Plan, lab: &Lab, report: &mut Report) {
    for kind in &plan.kinds {
        let ledger = lab.ledger(*kind).await;
        let mut fleet = streams(plan.scale(RESOURCES));
        grow(&ledger, &mut fleet, 1).await;
        let receiver = Receiver::start(lab).await;
        let (appender, task) = ledger.appender();
        let relaying = Relaying::start(&ledger, receiver.sink(&ledger.clock), Limits::default(), appender.commits());
        wait_for(&relaying, fleet.len()).await;
        let count = plan.scale(EVENTS).min(fleet.len());
        for stream in &mut fleet[..count] {
            let outcome = appender.append(stream.next(ledger.clock.now())).await;
            assert!(matches!(outcome, Ok(Outcome::Appended(_))), "{outcome:?}");
            tokio::time::sleep(PACE).await;
        }
        wait_for(&relaying, fleet.len() + count).await;
        let mut spans = Spans::default();
        for stream in &fleet[..count] {
            let (recorded, applied) = *receiver.applied(&stream.uid).await.last().unwrap();
            spans.push(applied.since(recorded));
        }
        relaying.relay.stop().await;
        drop(appender);
        task.await.unwrap();
        let name = format!("latency.{}", kind.name());
        report.put(format!("{name}.p50"), spans.median(), "ms");
        report.put(format!("{name}.p99"), spans.quantile(0.99), "ms");
    }
}

async fn wait_for(relaying: &Relaying, events: usize) {
    let watch = Stopwatch::default();
    while relaying.acknowledged() < events as u64 {
        assert!(watch.elapsed() < Duration::from_mins(10), "only {} of {events} arrived", relaying.acknowledged());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
