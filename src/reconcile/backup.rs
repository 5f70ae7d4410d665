//! What is observed of a Backup.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;

use super::{
    context::spec_of,
    look::{Look, Managed, ReconcileError},
};
use crate::{
    api::{BackupSpec, BackupStatus, Condition},
    cluster::{CustomKind, OwnerKey},
    domain::{Ended, Head, Kind, Manifest, Timestamp},
    lifecycle::{
        ChildKind, Membership, Object, Plan,
        backup::{self, BackupState, ContainerEnd, RepositoryView},
        has_condition,
    },
};

pub(super) struct Backups;

#[async_trait]
impl Managed for Backups {
    const KIND: CustomKind = CustomKind::Backup;
    const STREAM: Option<Kind> = Some(Kind::Backup);
    type Spec = BackupSpec;
    type Status = BackupStatus;
    type Seen = backup::Observed;

    async fn observe(
        look: &mut Look,
        spec: &BackupSpec,
        head: Option<&Head>,
    ) -> Result<backup::Observed, ReconcileError> {
        let jobs = look.children(&[ChildKind::Job]).await?;
        let pods = look.context.caches.index.pods(&look.key);
        let ends =
            pods.iter().filter_map(|pod| pod.as_ref().clone().try_parse::<Pod>().ok()).flat_map(|pod| ends(&pod));
        let evidence = evidence(look, head).await?;
        let state = head.and_then(|head| BackupState::named(&head.state));
        let sealed = evidence.as_deref().and_then(|text| match Manifest::parse(text) {
            Ok(Ended::Sealed(manifest)) => Some(manifest),
            _ => None,
        });
        Ok(backup::Observed {
            member: look.context.member(look.key.namespace.as_deref()),
            repository: repository(look, spec),
            mover_image: look.context.mover_image.clone(),
            jobs,
            ends: ends.collect(),
            sealed,
            failure: evidence.filter(|_| state == Some(BackupState::Failed)),
        })
    }

    fn decide(
        object: &Object<'_, BackupSpec>,
        seen: &backup::Observed,
        head: Option<&Head>,
        now: Timestamp,
    ) -> Plan<BackupStatus> {
        backup::decide(object, seen, head, now)
    }

    fn member(_: &Object<'_, BackupSpec>, seen: &backup::Observed) -> Option<Membership> {
        seen.member.clone()
    }
}

/// The manifest, or the tail of the dump's error: what the row that entered the present state has beside it.
async fn evidence(look: &Look, head: Option<&Head>) -> Result<Option<String>, ReconcileError> {
    let Some(head) = head else { return Ok(None) };
    let ended = matches!(BackupState::named(&head.state), Some(BackupState::Completed | BackupState::Failed));
    if !ended {
        return Ok(None);
    }
    let row = look.context.ledger.row(&head.subject.uid, head.entered).await?;
    Ok(row.and_then(|row| row.evidence))
}

fn repository(look: &Look, spec: &BackupSpec) -> Option<RepositoryView> {
    let key = OwnerKey {
        kind: CustomKind::BackupRepository,
        namespace: look.key.namespace.clone(),
        name: spec.repository_ref.name.clone(),
    };
    let object = look.context.caches.get(&key)?;
    let conditions: Vec<Condition> =
        serde_json::from_value(object.data["status"]["conditions"].clone()).unwrap_or_default();
    let trouble = if has_condition(&conditions, "Ready", "True") {
        None
    } else {
        let said = conditions.into_iter().find(|condition| condition.type_ == "Ready").map(|found| found.message);
        Some(said.unwrap_or_else(|| "was not looked at yet".into()))
    };
    Some(RepositoryView { spec: spec_of(&object)?, trouble })
}

/// How the containers of a Job's pod ended.
fn ends(pod: &Pod) -> Vec<ContainerEnd> {
    let job = pod.metadata.labels.as_ref().and_then(|labels| labels.get("batch.kubernetes.io/job-name")).cloned();
    let Some(job) = job else { return vec![] };
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.clone()).unwrap_or_default();
    statuses
        .into_iter()
        .filter_map(|status| {
            let ended = status.state?.terminated?;
            Some(ContainerEnd {
                job: job.clone(),
                container: status.name,
                exit_code: ended.exit_code,
                reason: ended.reason.unwrap_or_default(),
                message: ended.message.unwrap_or_default(),
                finished_at: ended.finished_at.map(|time| time.0.into()),
            })
        })
        .collect()
}
