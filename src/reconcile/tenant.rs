//! What is observed of a Tenant.

use std::collections::BTreeSet;

use async_trait::async_trait;
use kube::core::DynamicObject;

use super::{
    ReconcileError,
    look::{Look, Managed},
};
use crate::{
    api::{TenantSpec, TenantStatus},
    cluster::CustomKind,
    domain::{Head, Kind, Timestamp},
    lifecycle::{ChildKind, Membership, Object, Plan, tenant},
};

pub(super) struct Tenants;

#[async_trait]
impl Managed for Tenants {
    const KIND: CustomKind = CustomKind::Tenant;
    const STREAM: Option<Kind> = Some(Kind::Tenant);
    type Spec = TenantSpec;
    type Status = TenantStatus;
    type Seen = tenant::Observed;

    async fn observe(look: &mut Look, _: &TenantSpec, _: Option<&Head>) -> Result<tenant::Observed, ReconcileError> {
        let kinds = [
            ChildKind::Namespace,
            ChildKind::ResourceQuota,
            ChildKind::LimitRange,
            ChildKind::NetworkPolicy,
            ChildKind::RoleBinding,
        ];
        let children = look.children(&kinds).await?;
        Ok(tenant::Observed { shown: shown(&look.object), others: look.others(&children), children })
    }

    fn decide(
        object: &Object<'_, TenantSpec>,
        seen: &tenant::Observed,
        head: Option<&Head>,
        now: Timestamp,
    ) -> Plan<TenantStatus> {
        tenant::decide(object, seen, head, now)
    }

    fn member(object: &Object<'_, TenantSpec>, _: &tenant::Observed) -> Option<Membership> {
        Some(tenant::membership(object))
    }
}

/// The namespaces that the status shows as ready.
fn shown(tenant: &DynamicObject) -> BTreeSet<String> {
    let namespaces = tenant.data["status"]["namespaces"].as_array();
    let ready = namespaces.into_iter().flatten().filter(|namespace| namespace["ready"] == true);
    ready.filter_map(|namespace| namespace["name"].as_str().map(str::to_owned)).collect()
}
