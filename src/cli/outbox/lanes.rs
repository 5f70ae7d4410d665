//! Finding lanes: those that are parked, a page at a time, and the one that somebody means.

use crate::{
    cli::{Failure, describe, reading, resource::Resource},
    domain::{DestinationId, Uid},
    ledger::{Head, LaneState, LaneView, Store},
};

/// How many lanes are in memory at once.
const PAGE: u32 = 500;

/// Reads the parked lanes, page by page.
pub struct Parked<'a> {
    store: &'a dyn Store,
    destination: Option<DestinationId>,
    after: Option<(DestinationId, Uid)>,
}

impl<'a> Parked<'a> {
    /// Those to `destination`, which must be one, or to all.
    pub async fn of(store: &'a dyn Store, destination: Option<DestinationId>) -> Result<Self, Failure> {
        if let Some(destination) = &destination {
            let known = store.destinations().await.map_err(|error| reading::failure(&error))?;
            if !known.contains(destination) {
                return Err(Failure::usage(&format!("there is no destination {destination}; {}", list(&known))));
            }
        }
        let after = destination.clone().map(|destination| (destination, Uid::new("")));
        Ok(Self { store, destination, after })
    }

    /// The next ones, perhaps none of a page; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<LaneView>>, Failure> {
        let after = self.after.as_ref().map(|(destination, uid)| (destination, uid));
        let mut page = self.store.lanes(after, true, PAGE).await.map_err(|error| reading::failure(&error))?;
        page.retain(|lane| self.destination.as_ref().is_none_or(|destination| lane.destination == *destination));
        let Some(last) = page.last() else { return Ok(None) };
        self.after = Some((last.destination.clone(), last.uid.clone()));
        page.retain(|lane| lane.state == LaneState::Parked);
        Ok(Some(page))
    }
}

/// `the destinations are: billing, warehouse`.
fn list(known: &[DestinationId]) -> String {
    let known: Vec<_> = known.iter().map(DestinationId::as_str).collect();
    if known.is_empty() { "there is none yet".to_owned() } else { format!("there are: {}", known.join(", ")) }
}

/// The lane that is meant by a resource's name: of all that ever had it, the one that is parked, or else the one that
/// waits, or else the newest.
pub async fn meant(
    store: &dyn Store,
    resource: &Resource,
    destination: &DestinationId,
) -> Result<(Head, LaneView), Failure> {
    let mut lanes = vec![];
    for head in resource.heads(store).await? {
        let lane = store.lane(destination, &head.subject.uid).await.map_err(|error| reading::failure(&error))?;
        lanes.extend(lane.map(|lane| (head, lane)));
    }
    let is_parked = |(_, lane): &(Head, LaneView)| lane.state == LaneState::Parked;
    let waits = |(_, lane): &(Head, LaneView)| lane.acked < lane.head;
    if lanes.iter().any(is_parked) {
        lanes.retain(is_parked);
    } else if lanes.iter().any(waits) {
        lanes.retain(waits);
    } else if lanes.len() > 1 {
        lanes.drain(..lanes.len() - 1);
    }
    if lanes.len() > 1 {
        let which = lanes.iter().map(|(head, lane)| format!("{} (sequence {})", head.subject.uid, lane.acked.next()));
        let which = which.collect::<Vec<_>>().join(", ");
        let count = describe::count(u64::try_from(lanes.len()).unwrap_or(u64::MAX), "object");
        let what = format!("{count} called {} wait; say which with --uid: {which}", resource.in_words());
        return Err(Failure::usage(&what));
    }
    if let Some(found) = lanes.pop() {
        return Ok(found);
    }
    let known = store.destinations().await.map_err(|error| reading::failure(&error))?;
    Err(Failure::usage(&format!("{} has no lane to destination {destination}; {}", resource.in_words(), list(&known))))
}
