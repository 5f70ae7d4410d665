//! What all kinds share.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// The API group of every custom resource.
pub const API_GROUP: &str = "trueup.dev";
/// Its version.
pub const API_VERSION: &str = "v1alpha1";
/// The field manager under which everything is applied, and the value of `app.kubernetes.io/managed-by`.
pub const MANAGER: &str = "trueup";

/// Labels that Trueup sets or reads.
pub mod label {
    /// Who made an object: `trueup`.
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// The tenant that a namespace, and everything made in it, belongs to.
    pub const TENANT: &str = "trueup.dev/tenant";
    /// The AppDeployment that an object was made for.
    pub const APP: &str = "trueup.dev/app";
    /// The Backup that an object was made for.
    pub const BACKUP: &str = "trueup.dev/backup";
}

/// Annotations that Trueup sets or reads.
pub mod annotation {
    /// The UID of the object that this one was made for.
    pub const OWNER_UID: &str = "trueup.dev/owner-uid";
    /// A digest of what was applied, which tells a removed field from one that was never set.
    pub const APPLIED: &str = "trueup.dev/applied";
    /// How far Trueup may go for this object: `disabled` stops every write to the cluster for it but its status, `detached`
    /// lets it be for good. On a Tenant it holds for all that is the tenant's, on the installation's ConfigMap for everything.
    pub const RECONCILE: &str = "trueup.dev/reconcile";
    /// Who said so, and why.
    pub const RECONCILE_BY: &str = "trueup.dev/reconcile-by";

    /// On a Backup: when somebody restored it elsewhere and saw that it is whole, and who.
    pub const RESTORE_VERIFIED: &str = "trueup.dev/restore-verified";
    /// When the pods were last asked to restart.
    pub const RESTART_AT: &str = "trueup.dev/restart-at";
}

/// Where the ledger stands on this object. Never ahead of the ledger.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LedgerRef {
    /// The stream: this object's UID.
    pub uid: String,
    /// The ledger's life; 0 unless rows were once lost.
    pub era: i64,
    /// The sequence of the newest transition.
    pub sequence: i64,
    /// Its hash.
    pub hash: String,
    /// The epoch in which it was written.
    pub epoch: i64,
}

/// One key of a Secret in the same namespace (for cluster-scoped kinds: in Trueup's own).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, KubeSchema)]
pub struct SecretKey {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key within it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// The name of an object in the same namespace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, KubeSchema)]
pub struct LocalName {
    /// The name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
