//! The controller's start: its API server and its database must answer, have what it needs, and belong together.
//!
//! What does not answer is waited for, where everybody can see it: a process that ended instead would be started again later
//! and later, and for minutes after the database is back nobody would lead.

use std::time::Duration;

use kube::Client;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Failure, controller::Args, failure::UNREACHABLE};
use crate::{
    cluster::{self, IdentityError, RequestMetrics},
    domain::{Clock, Era, InstallationId},
    ledger::{Installation, Store, StoreError, Waits, Want},
    telemetry::Health,
};

/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long no is not taken for an answer: an API server that was started a moment ago does not know yet who may do what.
const REFUSED: Duration = Duration::from_secs(30);
/// How often the log says that it is still being waited.
const SAY_AGAIN: Duration = Duration::from_mins(1);

/// What a start waits for, or ends with.
enum Blocker {
    Ledger(StoreError),
    Other(Failure),
}

impl From<Failure> for Blocker {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

/// What a start needs.
pub(super) struct Start<'a> {
    pub(super) args: &'a Args,
    pub(super) store: &'a dyn Store,
    pub(super) requests: &'a RequestMetrics,
    pub(super) waits: &'a Waits,
    pub(super) clock: &'a dyn Clock,
}

impl Start<'_> {
    /// Tries until everything answers; answers nothing if `stop` is cancelled before. Fails at once where waiting mends nothing.
    pub(super) async fn until_reachable(
        &self,
        health: &Health,
        stop: &CancellationToken,
    ) -> Result<Option<Client>, Failure> {
        let mut said: Option<Duration> = None;
        let mut refused: Option<Duration> = None;
        loop {
            let tried = tokio::select! {
                () = stop.cancelled() => return Ok(None),
                tried = self.attempt() => tried,
            };
            match tried {
                Ok(client) => return Ok(Some(client)),
                // It says so itself: in the log, to the metrics and on `/readyz`.
                Err(Blocker::Ledger(error)) if self.waits.failed(Want::Lead, &error, self.clock) => {
                    health.waits_for(vec![]);
                }
                Err(Blocker::Ledger(error)) => return Err(store_failure(&error)),
                Err(Blocker::Other(failure)) => {
                    let now = self.clock.monotonic();
                    // Counted from the first no on that nothing else came after.
                    refused = if failure.is_refusal() { refused.or(Some(now)) } else { None };
                    let passes = match refused {
                        Some(since) => now.saturating_sub(since) < REFUSED,
                        None => failure.code() == UNREACHABLE,
                    };
                    if !passes {
                        return Err(failure);
                    }
                    health.waits_for(vec![format!("its start: {failure}")]);
                    if said.is_none_or(|said| now.saturating_sub(said) >= SAY_AGAIN) {
                        said = Some(now);
                        warn!(%failure, "waiting to start");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    async fn attempt(&self) -> Result<Client, Blocker> {
        let connecting = cluster::connect_counted(self.args.kubeconfig.as_deref(), self.requests);
        let client = connecting.await.map_err(|error| match error {
            cluster::ConnectError::Configuration(_) => Failure::usage(&error),
            cluster::ConnectError::Refused { .. } => Failure::refused(&error),
            cluster::ConnectError::Unreachable { .. } => Failure::unreachable(&error),
        })?;
        self.store.migrate().await.map_err(Blocker::Ledger)?;
        self.waits.worked(Want::Lead, self.clock);
        require_crds(&client).await?;
        identify(&client, &self.args.namespace, self.store).await?;
        Ok(client)
    }
}

/// Both must be there, and belong together.
pub(super) async fn identify(client: &Client, namespace: &str, store: &dyn Store) -> Result<Installation, Failure> {
    let failure = |error: IdentityError| match error {
        IdentityError::Api { ref source, .. } if cluster::is_refusal(source) => refused(&error),
        IdentityError::Api { .. } => Failure::unreachable(&error),
        _ => Failure::usage(&error),
    };
    let cluster = cluster::cluster_uid(client).await.map_err(failure)?;
    let proposed = Installation {
        id: InstallationId::new(uuid::Uuid::new_v4().to_string()),
        cluster_uid: cluster.clone(),
        era: Era::new(0),
    };
    let installation = store.installation(&proposed).await.map_err(|error| store_failure(&error))?;
    cluster::confirm_installation(client, namespace, &installation, &cluster).await.map_err(failure)?;
    Ok(installation)
}

async fn require_crds(client: &Client) -> Result<(), Failure> {
    let missing = cluster::missing_crds(client).await.map_err(|error| {
        let said = format!("asking the API server for Trueup's CRDs: {error}");
        if cluster::is_refusal(&error) { refused(&said) } else { Failure::unreachable(&said) }
    })?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::usage(&format!(
        "the cluster does not have {}; run `trueup crds | kubectl apply --server-side -f -`",
        missing.join(", ")
    )))
}

/// The API server is there and says no.
fn refused(what: &impl std::fmt::Display) -> Failure {
    Failure::refused(&format!(
        "{what}; the chart makes the namespace, and grants the rights, that the controller needs"
    ))
}

fn store_failure(error: &StoreError) -> Failure {
    match error {
        StoreError::Unavailable { .. } => Failure::unreachable(error),
        _ => Failure::usage(error),
    }
}
