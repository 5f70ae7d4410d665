//! Taking the ledger from whoever writes it, for a command that must be alone with it.

use std::sync::Arc;

use crate::{
    cli::{
        Failure,
        reading::{self, Ledger},
    },
    domain::{Epoch, Shard},
    ledger::{self, AppendError, Installation, Store},
    lifecycle::TABLES,
};

/// The ledger, and the epoch in which this command alone writes it.
pub struct Taken {
    pub store: Arc<dyn Store>,
    pub installation: Installation,
    pub shard: Shard,
    pub epoch: Epoch,
}

impl Taken {
    /// Begins an epoch in the ledger. A controller that leads is fenced from now on: it steps down with its next append.
    pub async fn begin(ledger: &Ledger, holder: &str) -> Result<Self, Failure> {
        // What is not there must not be made by a command that mends it.
        let (_, installation) = ledger.open().await?;
        let store = ledger::open(ledger.url(), TABLES).map_err(|error| reading::failure(&error))?;
        let shard = Shard::default();
        let epoch = store.take_over(shard, holder).await.map_err(|error| reading::failure(&error))?;
        Ok(Self { store, installation, shard, epoch })
    }

    /// Names the ledger anew.
    pub async fn rename(&mut self, installation: Installation) -> Result<(), Failure> {
        let renamed = self.store.replace_installation(self.shard, self.epoch, &installation).await;
        renamed.map_err(|error| append_failure(&error))?;
        self.installation = installation;
        Ok(())
    }
}

/// What a write that was refused means here.
pub fn append_failure(error: &AppendError) -> Failure {
    match error {
        AppendError::Fenced { .. } => Failure::usage(
            &"a controller has taken the ledger over meanwhile: stop it (`kubectl scale deployment … --replicas 0`), and \
              run this again; what was written so far stays, and is not written twice",
        ),
        AppendError::NotCommitted(error) | AppendError::Unknown(error) => reading::failure(error),
    }
}
