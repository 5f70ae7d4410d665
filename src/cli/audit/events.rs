//! Comparing every event that a receiver applied with what the ledger sends in its place.

use std::collections::{BTreeMap, HashMap};

use super::compare::Interrupted;
use crate::{
    cli::ask_receiver::AskReceiver,
    domain::{Sequence, Uid},
    ledger::{
        Row, Store, StoreError, Voided,
        comparisons::{self, Applied},
        invariants::Violation,
    },
};

/// How many rows, events or voids are asked for at once.
const PAGE: u32 = 500;

/// The bodies of voids, by place.
type Voids = HashMap<(Uid, Sequence), Vec<Vec<u8>>>;

/// Asks `receiver` for all that it applied, and answers what is wrong with it.
///
/// Places whose rows retention has removed are passed over.
pub async fn compare(store: &dyn Store, receiver: &AskReceiver) -> Result<Vec<Violation>, Interrupted> {
    let unanswered = |error| Interrupted::Other(crate::cli::Failure::from(error));
    let voids = voids(store).await?;
    let mut found = vec![];
    for view in receiver.resources().await.map_err(unanswered)? {
        let (mut previous, mut after) = (None, Sequence::default());
        loop {
            let mut page = receiver.events(&view.uid, after, PAGE).await.map_err(unanswered)?;
            let more = u32::try_from(page.len()).is_ok_and(|length| length >= PAGE);
            if let Some(last) = page.last().map(|event| event.sequence)
                && more
            {
                // There may be others of other eras at the last place: they come together.
                page.retain(|event| event.sequence < last);
            }
            let Some(last) = page.last().map(|event| event.sequence) else { break };
            // Read behind the receiver, so that every row is there that it was sent.
            let rows = rows(store, &view.uid, after, last).await?;
            for event in &page {
                let Some(row) = rows.get(&event.sequence) else {
                    previous = Some(event.sequence);
                    continue;
                };
                let voids = voids.get(&(view.uid.clone(), event.sequence)).map_or(&[][..], Vec::as_slice);
                let event = Applied { sequence: event.sequence, era: event.era, body: event.body.as_bytes() };
                previous = comparisons::applied(event, previous, row, voids, &mut found);
            }
            if !more {
                break;
            }
            after = last;
        }
    }
    Ok(found)
}

/// The rows of a stream behind `after` and up to `last`.
async fn rows(
    store: &dyn Store,
    uid: &Uid,
    after: Sequence,
    last: Sequence,
) -> Result<BTreeMap<Sequence, Row>, StoreError> {
    let mut rows = BTreeMap::new();
    let mut place = after;
    loop {
        let page = store.stream_rows(Some((uid, place)), PAGE).await?;
        let Some(newest) = page.last().map(|row| row.sequence) else { return Ok(rows) };
        let leaves = page.iter().any(|row| row.uid != *uid || row.sequence >= last);
        rows.extend(page.into_iter().filter(|row| row.uid == *uid).map(|row| (row.sequence, row)));
        if leaves {
            return Ok(rows);
        }
        place = newest;
    }
}

async fn voids(store: &dyn Store) -> Result<Voids, StoreError> {
    let mut voids = Voids::new();
    let mut last: Option<Voided> = None;
    loop {
        let after = last.as_ref().map(|voided| (&voided.destination, &voided.uid, voided.sequence));
        let page = store.voids(after, PAGE).await?;
        let Some(newest) = page.last() else { return Ok(voids) };
        last = Some(newest.clone());
        for voided in page {
            voids.entry((voided.uid, voided.sequence)).or_default().push(voided.body);
        }
    }
}
