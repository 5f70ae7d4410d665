//! How the deliveries to one destination do, as a BillingSink's status tells it.

use crate::{
    domain::{DestinationId, Uid},
    ledger::{LaneState, LaneView, Store, StoreError},
    lifecycle::sink::{DeliveryView, Owed},
    outbox::Relay,
};

/// Lanes that are counted for the status; a sink that is further behind shows this many and more.
const COUNTED: u32 = 10_000;
/// From so many failures in a row on, a lane is counted as failing: one alone is often over before anybody looks.
const SEVERAL: u32 = 2;

/// What the ledger says that a destination is owed, whether it is served now or not, and how it does if it is.
pub async fn seen(
    ledger: &dyn Store,
    relay: &Relay,
    id: &DestinationId,
) -> Result<(Owed, Option<DeliveryView>), StoreError> {
    let (owed, worst) = owed(ledger, id).await?;
    let Some(status) = relay.status(id).await? else { return Ok((owed, None)) };
    let held = status.held.map(|held| held.error);
    // Of two resources, one may fail for ever while the other succeeds: the newest acknowledgement ends no failure
    // that the ledger knows of.
    let newest = status.last_error.filter(|(at, _)| status.last_ack_at.is_none_or(|ack| ack < *at));
    let last_error = held.clone().or(worst.and_then(|lane| lane.last_error)).or(newest.map(|(_, error)| error));
    let view = DeliveryView {
        oldest: status.oldest_undelivered,
        last_ack: status.last_ack_at,
        last_error,
        held,
        disabled: status.disabled.is_some(),
    };
    Ok((owed, Some(view)))
}

/// What is owed, and the open lane that failed most often since it last succeeded.
async fn owed(ledger: &dyn Store, id: &DestinationId) -> Result<(Owed, Option<LaneView>), StoreError> {
    let (mut owed, mut worst) = (Owed::default(), None::<LaneView>);
    let beginning = Uid::new("");
    for lane in ledger.lanes(Some((id, &beginning)), true, COUNTED).await? {
        match lane.state {
            _ if lane.destination != *id => break,
            LaneState::Parked => owed.parked += 1,
            LaneState::Open => {
                owed.undelivered += u64::try_from(lane.head.get() - lane.acked.get()).unwrap_or(0);
                if lane.attempts >= SEVERAL {
                    owed.failing += 1;
                    if worst.as_ref().is_none_or(|worst| worst.attempts < lane.attempts) {
                        worst = Some(lane);
                    }
                }
            }
        }
    }
    Ok((owed, worst))
}
