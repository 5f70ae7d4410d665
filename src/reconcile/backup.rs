//! What is observed of a Backup.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};

use super::{
    ReconcileError,
    context::spec_of,
    look::{Look, Managed},
};
use crate::{
    api::{BackupSpec, BackupStatus, Condition},
    cluster::{CustomKind, OwnerKey},
    domain::{Ended, Head, Kind, Manifest, Timestamp},
    lifecycle::{
        Child, ChildKind, Membership, Object, ObjectKey, Plan,
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
        let cached = pods.iter().filter_map(|pod| pod.as_ref().clone().try_parse::<Pod>().ok());
        let mut ends: Vec<ContainerEnd> = cached.flat_map(|pod| self::ends(&pod)).collect();
        let state = head.and_then(|head| BackupState::named(&head.state));
        let judging = matches!(state, Some(BackupState::Running | BackupState::Terminating));
        for job in jobs.iter().filter(|job| judging && has_ended(job)) {
            if !ends.iter().any(|end| end.job == job.key.name && end.container == "mover") {
                ends.extend(read_ends(look, &job.key).await?);
            }
        }
        let (ended_for, evidence) = end(look, head).await?;
        let sealed = evidence.as_deref().and_then(|text| match Manifest::parse(text) {
            Ok(Ended::Sealed(manifest)) => Some(manifest),
            _ => None,
        });
        Ok(backup::Observed {
            member: look.context.member(look.key.namespace.as_deref()),
            ending: look.is_namespace_going().await?,
            repository: repository(look, spec),
            mover_image: look.context.mover_image.clone(),
            jobs,
            ends,
            never_ran: never_ran(look, head).await?,
            sealed,
            ended_for,
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

/// What the row that says how it ended has for a reason, and the manifest, or the tail of the dump's error, beside it.
async fn end(look: &Look, head: Option<&Head>) -> Result<(Option<String>, Option<String>), ReconcileError> {
    let ended =
        |head: &&Head| matches!(BackupState::named(&head.state), Some(BackupState::Completed | BackupState::Failed));
    let Some(head) = head.filter(ended) else { return Ok((None, None)) };
    let row = look.context.ledger.row(&head.subject.uid, head.entered).await?;
    Ok(row.map_or((None, None), |row| (Some(row.reason), row.evidence)))
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

/// Whether it went from being asked for to being deleted.
async fn never_ran(look: &Look, head: Option<&Head>) -> Result<bool, ReconcileError> {
    let ending = head.filter(|head| BackupState::named(&head.state) == Some(BackupState::Terminating));
    let Some(head) = ending else { return Ok(false) };
    let row = look.context.ledger.row(&head.subject.uid, head.entered).await?;
    Ok(row.and_then(|row| row.from).is_some_and(|from| BackupState::named(&from) == Some(BackupState::Pending)))
}

fn has_ended(job: &Child) -> bool {
    let conditions = job.body["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| {
        condition["status"] == "True" && (condition["type"] == "Complete" || condition["type"] == "Failed")
    })
}

/// The same past the cache: the watch of Jobs may be ahead of that of pods, and a Job that ended is judged only once.
async fn read_ends(look: &Look, job: &ObjectKey) -> Result<Vec<ContainerEnd>, ReconcileError> {
    let namespace = job.namespace.clone().unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(look.context.cluster.client().clone(), &namespace);
    let of_job = ListParams::default().labels(&format!("{JOB_NAME}={}", job.name));
    let found = pods
        .list(&of_job)
        .await
        .map_err(|error| ReconcileError::Configuration(format!("reading how the pods of {job} ended: {error}")))?;
    Ok(found.items.iter().flat_map(ends).collect())
}

/// The label by which Kubernetes marks a Job's pods.
const JOB_NAME: &str = "batch.kubernetes.io/job-name";

/// How the containers of a Job's pod ended.
fn ends(pod: &Pod) -> Vec<ContainerEnd> {
    let job = pod.metadata.labels.as_ref().and_then(|labels| labels.get(JOB_NAME)).cloned();
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
