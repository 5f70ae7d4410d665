//! `trueup outbox retry --all`: every lane that is parked for one reason, as after a receiver was mended.

use super::{lanes::Parked, mend::How};
use crate::{
    cli::{Failure, confirm, describe, reading, text::Text, who},
    domain::{Clock, DestinationId, SystemClock},
    ledger::{
        LaneView,
        interventions::{Action, Request},
    },
};

/// Retries all that are parked for `reason`, page by page.
pub async fn run(parked_for: &str, how: How) -> Result<(), Failure> {
    let destination = DestinationId::new(how.destination);
    let who = who::who(how.who)?;
    let store = how.ledger.open_to_mend().await?;
    let is_meant = |lane: &LaneView| lane.park_reason.as_deref() == Some(parked_for);
    let mut parked = Parked::of(&*store, Some(destination.clone())).await?;
    let (mut waiting, mut others) = (0_u64, 0_u64);
    while let Some(page) = parked.next().await? {
        for lane in page {
            if is_meant(&lane) { waiting += 1 } else { others += 1 }
        }
    }
    if waiting == 0 {
        let others = match others {
            0 => String::new(),
            _ => format!("; {others} are for other reasons, see `trueup outbox parked --destination {destination}`"),
        };
        return Err(Failure::usage(&format!("nothing is parked for {parked_for} at {destination}{others}")));
    }
    let what = format!("retry {} that are parked for {parked_for} at {destination}", resources(waiting));
    confirm::confirm(how.yes, "yes", &what)?;

    let (mut retried, mut moved) = (0_u64, 0_u64);
    let mut parked = Parked::of(&*store, Some(destination.clone())).await?;
    while let Some(page) = parked.next().await? {
        for lane in page.into_iter().filter(is_meant) {
            let request = Request {
                action: Action::Retry,
                destination: destination.clone(),
                sequence: lane.acked.next(),
                uid: lane.uid,
                who: who.clone(),
                reason: how.reason.clone(),
            };
            let done = store.intervene(&request, SystemClock::default().now()).await;
            match done.map_err(|error| reading::failure(&error))? {
                Ok(()) => retried += 1,
                // Somebody else has helped it meanwhile.
                Err(_) => moved += 1,
            }
        }
    }
    let moved = if moved == 0 { String::new() } else { format!(" {} had moved on by then.", resources(moved)) };
    let said = format!("Retried {} for {destination}, as {who}.{moved}", resources(retried));
    reading::emit(&[Text::plain(said)]);
    Ok(())
}

fn resources(count: u64) -> String {
    describe::count(count, "resource")
}
