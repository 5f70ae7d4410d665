//! Removes old rows while a process leads. How old, the operator says; without a word, everything is kept.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    store::{Store, StoreError},
    types::PruneStep,
};
use crate::domain::Timestamp;

/// How often to look for rows that have grown old.
const PERIOD: Duration = Duration::from_mins(10);
/// Rows that one step looks at: a few milliseconds, during which nobody else writes to SQLite.
const STEP: u32 = 500;
/// Between two steps, everybody else goes first.
const PAUSE: Duration = Duration::from_millis(100);

/// Removes what was recorded before `horizon()`, again and again, until `stop` is cancelled. Without a horizon everything
/// stays for now.
pub async fn run(store: Arc<dyn Store>, horizon: impl Fn() -> Option<Timestamp>, stop: CancellationToken) {
    let work = async {
        loop {
            if let Some(before) = horizon() {
                match prune(&*store, before).await {
                    Ok(0) => {}
                    Ok(removed) => info!(removed, %before, "removed old rows from the ledger"),
                    Err(error) => warn!(%error, "old rows stay in the ledger for now; this is tried again"),
                }
            }
            tokio::time::sleep(PERIOD).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// Removes everything that was recorded before `before` and is not needed any more, step by step. Answers how many rows.
pub async fn prune(store: &dyn Store, before: Timestamp) -> Result<u64, StoreError> {
    let mut removed = 0;
    let mut after = None;
    loop {
        let report = store.prune(&PruneStep { before, after, limit: STEP }).await?;
        removed += report.removed;
        if report.next.is_none() {
            return Ok(removed);
        }
        after = report.next;
        tokio::time::sleep(PAUSE).await;
    }
}
