//! Who leads, for commands that only look.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};

use crate::domain::Timestamp;

/// The Lease of a shard.
pub const LEASE: &str = "trueup-shard-0";

/// What the Lease says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leadership {
    /// Who holds it, or held it last; `None` if it was given back.
    pub holder: Option<String>,
    /// When it was last renewed, by the holder's clock.
    pub renewed: Option<Timestamp>,
    /// How long it lasts from then on.
    pub duration: Duration,
}

/// Reads the Lease in `namespace`; `None` if nobody has led yet.
pub async fn leadership(client: &Client, namespace: &str) -> Result<Option<Leadership>, kube::Error> {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let spec = api.get_opt(LEASE).await?.and_then(|lease| lease.spec);
    Ok(spec.map(|spec| Leadership {
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        renewed: spec.renew_time.map(|time| time.0.into()),
        duration: Duration::from_secs(u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0)),
    }))
}
