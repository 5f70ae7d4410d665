//! Voids that the ledger lost, as when it was restored from a backup, taken back from the receiver that was sent them.
//!
//! Without them, deliveries are right all the same: the receiver takes the row for a repeat of its void. But the ledger
//! would say that the row was delivered, and the audit that the receiver has something else.

use crate::{
    cli::{Failure, ask_receiver::AskReceiver, reading},
    domain::{DestinationId, Sequence},
    ledger::{
        Store,
        interventions::{Action, Request, void_returned},
    },
};

/// How many events are asked for at once.
const PAGE: u32 = 500;

/// Fails where the ledger knows no such destination.
pub async fn check(store: &dyn Store, destination: &DestinationId) -> Result<(), Failure> {
    if store.destinations().await.map_err(|error| reading::failure(&error))?.contains(destination) {
        return Ok(());
    }
    Err(Failure::usage(&format!("there is no destination {destination}; see `trueup outbox status`")))
}

/// Takes back what `receiver` has for `destination`. Answers how many voids were new.
pub async fn fetch(
    store: &dyn Store,
    receiver: &AskReceiver,
    destination: &DestinationId,
    who: &str,
) -> Result<u64, Failure> {
    let failed = |error| reading::failure(&error);
    let mut back = 0;
    for view in receiver.resources().await? {
        let mut after = Sequence::default();
        loop {
            let page = receiver.events(&view.uid, after, PAGE).await?;
            let Some(last) = page.last().map(|event| event.sequence).filter(|last| *last > after) else { break };
            after = last;
            for event in page {
                // Most are the rows themselves; what was pruned, or belongs to an era that ended, is nothing to compare with.
                let Some(row) = store.row(&view.uid, event.sequence).await.map_err(failed)? else { continue };
                let Some(voided) = void_returned(&row, destination, event.body.as_bytes()) else { continue };
                let request = Request {
                    action: Action::Void,
                    destination: destination.clone(),
                    uid: view.uid.clone(),
                    sequence: event.sequence,
                    who: who.to_owned(),
                    reason: "taken back from the receiver, which was sent this void before the ledger lost it"
                        .to_owned(),
                };
                back += u64::from(store.reinstate_void(&request, &voided).await.map_err(failed)?);
            }
        }
    }
    Ok(back)
}
