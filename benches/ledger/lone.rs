//! One append at a time, in turn with one transaction of bare SQL.

use std::sync::Arc;

use trueup::ledger::Outcome;

use crate::{
    bare::Bare,
    fleet::{grow, streams},
    place::Lab,
    plan::Plan,
    report::Report,
    timing::{Spans, timed},
};

const STREAMS: usize = 2_000;
const PAIRS: usize = 600;

pub async fn run(plan: &Plan, lab: &Lab, report: &mut Report) {
    for kind in &plan.kinds {
        let (ours, theirs) = (lab.ledger(*kind).await, lab.ledger(*kind).await);
        let mut fleet = streams(STREAMS);
        let mut bare = Bare::on(&theirs, fleet.clone()).await;
        grow(&ours, &mut fleet, 2).await;
        for ledger in [&ours, &theirs] {
            ledger.acknowledge_everything().await;
        }
        let (appender, task) = ours.appender();
        let (clock, pairs) = (Arc::clone(&ours.clock), plan.scale(PAIRS) + 20);
        // By a task of the runtime, as everything is in a controller: to wake another thread costs both a tenth.
        let alternate = async move {
            let (mut mine, mut limit) = (Spans::default(), Spans::default());
            for (n, stream) in fleet.iter_mut().take(pairs).enumerate() {
                let draft = stream.next(clock.now());
                let (append, outcome) = timed(appender.append(draft)).await;
                assert!(matches!(outcome, Ok(Outcome::Appended(_))), "{outcome:?}");
                let (write, ()) = timed(bare.batch(1)).await;
                // The first ones prepare their statements.
                if n >= 20 {
                    mine.push(append);
                    limit.push(write);
                }
            }
            (mine, limit)
        };
        let (mut mine, mut limit) = tokio::spawn(alternate).await.unwrap();
        task.await.unwrap();
        let name = format!("append.lone.{}", kind.name());
        report.put(format!("{name}.p50"), mine.median(), "ms");
        report.put(format!("{name}.p99"), mine.quantile(0.99), "ms");
        report.put(format!("{name}.bare.p50"), limit.median(), "ms");
        report.put(format!("{name}.bare.p99"), limit.quantile(0.99), "ms");
        report.put(format!("{name}.ratio"), mine.median() / limit.median(), "x of bare");
    }
}
