//! The relay with the webhook sink and the reference receiver, which keeps each event on the disk before it answers.

use trueup::outbox::Limits;

use crate::{
    fleet::{grow, streams},
    place::Lab,
    plan::Plan,
    receiver::Receiver,
    relay::drain,
    report::Report,
};

const RESOURCES: usize = 10_000;
const DEPTHS: [usize; 2] = [1, 5];

pub async fn run(plan: &Plan, lab: &Lab, report: &mut Report) {
    for kind in &plan.kinds {
        for depth in DEPTHS {
            let ledger = lab.ledger(*kind).await;
            let mut fleet = streams(plan.scale(RESOURCES));
            grow(&ledger, &mut fleet, depth).await;
            ledger.tidy().await;
            let receiver = Receiver::start(lab).await;
            let events = (fleet.len() * depth) as u64;
            let took = drain(&ledger, receiver.sink(&ledger.clock), Limits::default(), events).await;
            let name = format!("webhook.{}.{depth}_waiting.rate", kind.name());
            report.put(name, events as f64 / took.as_secs_f64(), "events/s");
        }
    }
}
