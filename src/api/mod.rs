//! The custom resources: what people write, and what they read back.
//!
//! The types are the one source of the CRDs under `crds/` (`trueup crds` prints them). Whatever can be
//! said in a schema or a CEL rule is said there, so that the API server refuses a bad manifest by itself.

mod appdeployment;
mod backup;
mod backuprepository;
mod billingsink;
mod common;
mod quantity;
mod reference;
mod sinks;
mod tenant;

pub use appdeployment::{AppDeployment, AppDeploymentSpec, AppDeploymentStatus, AppPort, AppProbes, AppResources};
pub use backup::{
    Artifact, Backup, BackupSource, BackupSpec, BackupStatus, CommandSource, DeletionPolicy, PostgresSource,
};
pub use backuprepository::{
    BackupRepository, BackupRepositorySpec, BackupRepositoryStatus, FilesystemRepository, S3Repository,
};
pub use billingsink::{BillingSink, BillingSinkSpec, BillingSinkStatus, SinkMode, SinkSelector};
pub use common::{API_GROUP, API_VERSION, Condition, LedgerRef, LocalName, MANAGER, SecretKey, annotation, label};
pub use quantity::{ParseQuantityError, Quantity};
pub use reference::reference;
pub use sinks::{CaBundle, ConfigMapKey, NatsSink, OpenMeterSink, Sending, WebhookSink};
pub use tenant::{
    Billing, Isolation, LimitSpec, NamespaceStatus, Owner, OwnerKind, OwnerRole, PodSecurity, QuotaSpec, Tenant,
    TenantDeletion, TenantNamespace, TenantSpec, TenantStatus,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

/// All CRDs, in the order in which they are printed and applied.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![Tenant::crd(), AppDeployment::crd(), Backup::crd(), BackupRepository::crd(), BillingSink::crd()]
}
