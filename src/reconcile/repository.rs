//! What is observed of a BackupRepository.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use kube::Api;

use super::{
    ReconcileError,
    look::{Look, Managed},
};
use crate::{
    api::{BackupRepositorySpec, BackupRepositoryStatus},
    cluster::CustomKind,
    domain::{Head, Kind, Timestamp},
    lifecycle::{Membership, Object, Plan, repository},
};

pub(super) struct Repositories;

#[async_trait]
impl Managed for Repositories {
    const KIND: CustomKind = CustomKind::BackupRepository;
    const STREAM: Option<Kind> = None;
    type Spec = BackupRepositorySpec;
    type Status = BackupRepositoryStatus;
    type Seen = repository::Observed;

    async fn observe(
        look: &mut Look,
        spec: &BackupRepositorySpec,
        _: Option<&Head>,
    ) -> Result<repository::Observed, ReconcileError> {
        let namespace = look.key.namespace.clone().unwrap_or_default();
        let client = look.context.cluster.client().clone();
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
        let mut missing = vec![];
        missing.extend(missing_key(&secrets, &spec.key_secret_ref.name, &[&spec.key_secret_ref.key]).await?);
        if let Some(s3) = &spec.s3 {
            let keys = ["accessKeyId", "secretAccessKey"];
            missing.extend(missing_key(&secrets, &s3.credentials_secret_ref.name, &keys).await?);
        }
        if let Some(filesystem) = &spec.filesystem {
            let claims: Api<PersistentVolumeClaim> = Api::namespaced(client, &namespace);
            if claims.get_opt(&filesystem.claim_name).await.map_err(failed)?.is_none() {
                missing.push(format!(
                    "PersistentVolumeClaim {} does not exist in this namespace; create it",
                    filesystem.claim_name
                ));
            }
        }
        Ok(repository::Observed { missing })
    }

    fn decide(
        object: &Object<'_, BackupRepositorySpec>,
        seen: &repository::Observed,
        _: Option<&Head>,
        now: Timestamp,
    ) -> Plan<BackupRepositoryStatus> {
        repository::decide(object, seen, now)
    }

    fn member(_: &Object<'_, BackupRepositorySpec>, _: &repository::Observed) -> Option<Membership> {
        None
    }
}

/// What of a Secret is missing. Its values are looked at only for being there.
async fn missing_key(secrets: &Api<Secret>, name: &str, keys: &[&str]) -> Result<Vec<String>, ReconcileError> {
    let Some(secret) = secrets.get_opt(name).await.map_err(failed)? else {
        return Ok(vec![format!(
            "Secret {name} does not exist in this namespace; create it with {}",
            keys.join(" and ")
        )]);
    };
    let data = secret.data.unwrap_or_default();
    let absent = keys.iter().filter(|key| data.get(**key).is_none_or(|value| value.0.is_empty()));
    Ok(absent.map(|key| format!("Secret {name} has no key {key}; add it")).collect())
}

fn failed(error: kube::Error) -> ReconcileError {
    ReconcileError::Configuration(format!("reading what a BackupRepository needs: {error}"))
}
