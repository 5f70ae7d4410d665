//! What is observed of an AppDeployment.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;

use super::{
    ReconcileError,
    look::{Look, Managed},
};
use crate::{
    api::{AppDeploymentSpec, AppDeploymentStatus},
    cluster::CustomKind,
    domain::{Head, Kind, Timestamp},
    lifecycle::{
        ChildKind, Membership, Object, Plan,
        appdeployment::{self, PodView},
    },
};

pub(super) struct Apps;

#[async_trait]
impl Managed for Apps {
    const KIND: CustomKind = CustomKind::AppDeployment;
    const STREAM: Option<Kind> = Some(Kind::AppDeployment);
    type Spec = AppDeploymentSpec;
    type Status = AppDeploymentStatus;
    type Seen = appdeployment::Observed;

    async fn observe(
        look: &mut Look,
        _: &AppDeploymentSpec,
        _: Option<&Head>,
    ) -> Result<appdeployment::Observed, ReconcileError> {
        let children = look.children(&[ChildKind::Deployment, ChildKind::Service]).await?;
        let pods = look.context.caches.index.pods(&look.key);
        let pods = pods.iter().filter_map(|pod| pod.as_ref().clone().try_parse::<Pod>().ok());
        Ok(appdeployment::Observed {
            member: look.context.member(look.key.namespace.as_deref()),
            ending: look.is_namespace_going().await?,
            others: look.others(&children),
            children,
            pods: pods.filter_map(|pod| PodView::of(&pod)).collect(),
        })
    }

    fn decide(
        object: &Object<'_, AppDeploymentSpec>,
        seen: &appdeployment::Observed,
        head: Option<&Head>,
        now: Timestamp,
    ) -> Plan<AppDeploymentStatus> {
        appdeployment::decide(object, seen, head, now)
    }

    fn member(_: &Object<'_, AppDeploymentSpec>, seen: &appdeployment::Observed) -> Option<Membership> {
        seen.member.clone()
    }
}
