//! Whether a process runs, stands still, or is dead.

use std::{future::pending, sync::Arc};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// One process, from its start to its end.
///
/// Not all of its tasks can be taken from the runtime: some were begun by parts of it on their own. But nothing that they do
/// reaches the world unless it passes here.
#[derive(Debug)]
pub struct Life {
    dead: CancellationToken,
    awake: watch::Sender<bool>,
}

impl Life {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { dead: CancellationToken::new(), awake: watch::Sender::new(true) })
    }

    /// It is killed, at this very moment.
    pub fn kill(&self) {
        self.dead.cancel();
    }

    /// It stands still, or goes on.
    pub fn pause(&self, paused: bool) {
        self.awake.send_replace(!paused);
    }

    /// Waits until it is killed.
    pub async fn ended(&self) {
        self.dead.cancelled().await;
    }

    /// Waits while it stands still. Never returns in a process that is dead.
    pub async fn goes_on(&self) {
        if self.dead.is_cancelled() {
            pending::<()>().await;
        }
        if !*self.awake.borrow() {
            // The sender lives as long as this does.
            let _ = self.awake.subscribe().wait_for(|awake| *awake).await;
            if self.dead.is_cancelled() {
                pending::<()>().await;
            }
        }
    }
}
