//! Many writers who wait for their answers, in turn with batches of bare SQL.

use std::{sync::Arc, time::Duration};

use trueup::ledger::{Appender, Outcome};

use crate::{
    bare::Bare,
    fleet::{Stream, grow, streams},
    place::{Lab, Ledger},
    plan::Plan,
    report::Report,
    timing::{Spans, Stopwatch, timed},
};

/// Waiting writers, and how many rows they write in one round.
const LEVELS: [(usize, usize); 4] = [(1, 200), (16, 3_200), (256, 20_480), (2_048, 40_960)];
const STREAMS: usize = 10_240;
const ROUNDS: usize = 4;
/// What an appender takes at once.
const BATCH: usize = 500;

pub async fn run(plan: &Plan, lab: &Lab, report: &mut Report) {
    for kind in &plan.kinds {
        let (ours, theirs) = (lab.ledger(*kind).await, lab.ledger(*kind).await);
        let mut fleet = streams(STREAMS);
        let mut bare = Bare::on(&theirs, fleet.clone()).await;
        grow(&ours, &mut fleet, 2).await;
        for (writers, rows) in LEVELS {
            let rows = (plan.scale(rows) / writers).max(1) * writers;
            let batch = writers.min(BATCH);
            bare.take_turns(writers);
            let (mut took, mut bare_took, mut waits) = (Duration::ZERO, Duration::ZERO, Spans::default());
            let rounds = if plan.short { 1 } else { ROUNDS };
            // The first round warms up.
            for round in 0..=rounds {
                ours.acknowledge_everything().await;
                let (mine, each) = write(&ours, &mut fleet, writers, rows).await;
                theirs.acknowledge_everything().await;
                let (limit, ()) = timed(async {
                    for _ in 0..rows.div_ceil(batch) {
                        bare.batch(batch).await;
                    }
                })
                .await;
                if round > 0 || plan.short {
                    took += mine;
                    bare_took += limit.mul_f64(rows as f64 / (rows.div_ceil(batch) * batch) as f64);
                    waits.extend(each);
                }
            }
            let name = format!("append.{}.{writers}", kind.name());
            let counted = (rows * if plan.short { 2 } else { ROUNDS }) as f64;
            report.put(format!("{name}.rate"), counted / took.as_secs_f64(), "rows/s");
            report.put(format!("{name}.bare_rate"), counted / bare_took.as_secs_f64(), "rows/s");
            report.put(format!("{name}.ratio"), bare_took.as_secs_f64() / took.as_secs_f64(), "x of bare");
            report.put(format!("{name}.wait.p50"), waits.median(), "ms");
            report.put(format!("{name}.wait.p99"), waits.quantile(0.99), "ms");
        }
    }
}

/// `rows` transitions by so many `writers`, each with streams of its own and one append at a time.
async fn write(ledger: &Ledger, fleet: &mut Vec<Stream>, writers: usize, rows: usize) -> (Duration, Spans) {
    let (appender, task) = ledger.appender();
    let share = fleet.len() / writers;
    let mut rest = std::mem::take(fleet);
    let watch = Stopwatch::default();
    let tasks: Vec<_> = (0..writers)
        .map(|_| {
            let own = rest.split_off(rest.len() - share);
            let (appender, clock) = (appender.clone(), Arc::clone(&ledger.clock));
            tokio::spawn(writer(appender, clock, own, rows / writers))
        })
        .collect();
    let mut waits = Spans::default();
    for task in tasks {
        let (own, each) = task.await.unwrap();
        rest.extend(own);
        waits.extend(each);
    }
    let took = watch.elapsed();
    drop(appender);
    task.await.unwrap();
    *fleet = rest;
    (took, waits)
}

async fn writer(
    appender: Appender,
    clock: Arc<dyn trueup::domain::Clock>,
    mut streams: Vec<Stream>,
    rows: usize,
) -> (Vec<Stream>, Spans) {
    let mut waits = Spans::default();
    let count = streams.len();
    for n in 0..rows {
        let draft = streams[n % count].next(clock.now());
        let (wait, outcome) = timed(appender.append(draft)).await;
        assert!(matches!(outcome, Ok(Outcome::Appended(_))), "{outcome:?}");
        waits.push(wait);
    }
    streams.rotate_left(rows % count);
    (streams, waits)
}
