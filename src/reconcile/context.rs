//! What every look shares.

use std::sync::Arc;

use kube::{ResourceExt, core::DynamicObject};

use super::{
    behind::{Applied, Behind},
    in_flight::InFlight,
    looked::Looked,
    mandates::Mandates,
    readiness::Readiness,
    retries::Retries,
    sweep::SweepOptions,
    written::Written,
};
use crate::{
    api::{PodSecurity, TenantSpec, annotation, label},
    cluster::{Caches, Cluster, CustomKind, Events, OwnerKey},
    domain::{Clock, Labels, TenantName},
    ledger::{Appender, Installation, Store, Waits},
    lifecycle::Membership,
    outbox::Relay,
    sinks::SinkBuilder,
    telemetry::Metrics,
};

/// The parts that a reconciler works with, for one term of leadership.
pub struct Context {
    /// What the watches have seen.
    pub caches: Arc<Caches>,
    /// The way to change the cluster.
    pub cluster: Cluster,
    /// The way to read the ledger.
    pub ledger: Arc<dyn Store>,
    /// The only way to write it.
    pub appender: Appender,
    /// Says that the ledger is waited for, while it is.
    pub waits: Arc<Waits>,
    /// The deliveries.
    pub relay: Arc<Relay>,
    /// What makes the sinks that it delivers to.
    pub sinks: SinkBuilder,
    /// Notes for people.
    pub events: Events,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Whose ledger this is, as it was when the term began: whoever changes it begins another.
    pub installation: Installation,
    /// Streams of which others know more than the ledger.
    pub behind: Behind,
    /// Receivers that can be asked what they have applied.
    pub receivers: Vec<Arc<dyn Applied>>,
    /// How sweeps are made.
    pub sweep: SweepOptions,
    /// Figures.
    pub metrics: Arc<Metrics>,
    /// How many tenants are named in their labels; 0 names none.
    pub tenants_named: usize,
    /// Trueup's own namespace, where sinks' secrets are.
    pub namespace: String,
    /// The image that backups' Jobs store with.
    pub mover_image: String,
    /// Whether nothing but status is written to the cluster, whatever is said in it.
    pub observe_only: bool,
    /// What is said of the whole installation.
    pub mandates: Mandates,
    /// What was written and not yet seen by the watches.
    pub written: Written,
    /// What was sent and not answered.
    pub in_flight: InFlight,
    /// Which objects were looked at before.
    pub looked: Looked,
    /// Which specs are on their way to Ready.
    pub readiness: Readiness,
    /// Which objects failed, how often in a row.
    pub retries: Retries,
}

impl Context {
    /// The labels of the Tenant called `tenant`; none if it is gone.
    pub(super) fn tenant_labels(&self, tenant: &TenantName) -> Labels {
        let key = OwnerKey { kind: CustomKind::Tenant, namespace: None, name: tenant.as_str().to_owned() };
        self.caches.get(&key).map(|tenant| tenant.labels().clone()).unwrap_or_default()
    }

    /// Every Tenant there is, with its labels.
    pub(super) fn all_tenants(&self) -> Vec<(TenantName, Labels)> {
        let tenants = self.caches.store(CustomKind::Tenant).state();
        tenants.iter().map(|tenant| (TenantName::new(tenant.name_any()), tenant.labels().clone())).collect()
    }

    /// The tenant that `namespace` belongs to: its label names a Tenant, and its mark is that Tenant's own.
    ///
    /// The label alone is not believed: whoever may label a namespace could otherwise have others pay.
    pub(super) fn tenant_of(&self, namespace: &str) -> Option<Arc<DynamicObject>> {
        let namespace = self.caches.index.namespace(namespace)?;
        let name = namespace.labels().get(label::TENANT)?.clone();
        let tenant = self.caches.get(&OwnerKey { kind: CustomKind::Tenant, namespace: None, name })?;
        let marked = namespace.annotations().get(annotation::OWNER_UID)?;
        (Some(marked) == tenant.uid().as_ref()).then_some(tenant)
    }

    /// The same, as those see it who are made in that namespace.
    pub(super) fn member(&self, namespace: Option<&str>) -> Option<Membership> {
        let tenant = self.tenant_of(namespace?)?;
        let spec: TenantSpec = spec_of(&tenant)?;
        Some(Membership {
            tenant: TenantName::new(tenant.name_any()),
            account: spec.billing.account,
            plan: spec.plan,
            suspended: spec.suspend,
            restricted: spec.pod_security == PodSecurity::Restricted,
        })
    }
}

/// The spec of one of Trueup's own objects, if this version can read it.
pub(super) fn spec_of<S: serde::de::DeserializeOwned>(object: &DynamicObject) -> Option<S> {
    S::deserialize(&object.data["spec"]).ok()
}
