//! BackupRepository: where artifacts go.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{Condition, LocalName, SecretKey};

/// A place for artifacts, in restic's format: encrypted with the key in a Secret, readable without Trueup.
#[derive(CustomResource, Clone, PartialEq, Debug, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "trueup.dev",
    version = "v1alpha1",
    kind = "BackupRepository",
    plural = "backuprepositories",
    shortname = "tubr",
    category = "trueup",
    namespaced,
    status = "BackupRepositoryStatus",
    derive = "PartialEq",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Location", type_ = "string", json_path = ".status.location"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.filesystem) != has(self.s3)").message("exactly one of spec.filesystem and spec.s3 must be set"),
    validation = Rule::new("has(self.filesystem) == has(oldSelf.filesystem) && (!has(self.filesystem) || self.filesystem == oldSelf.filesystem) && (!has(self.s3) || (self.s3.endpoint == oldSelf.s3.endpoint && self.s3.bucket == oldSelf.s3.bucket && self.s3.prefix == oldSelf.s3.prefix))").message("the place of a repository cannot be changed: its artifacts would be lost from sight")
)]
pub struct BackupRepositorySpec {
    /// A folder on a volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<FilesystemRepository>,
    /// A bucket of an S3-compatible store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Repository>,
    /// The repository's key. Whoever loses it has lost every artifact.
    pub key_secret_ref: SecretKey,
}

/// A folder on a volume.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FilesystemRepository {
    /// The PersistentVolumeClaim.
    #[schemars(length(min = 1, max = 253))]
    pub claim_name: String,
    /// The folder on it.
    #[serde(default = "folder")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9][A-Za-z0-9._/-]*$') && !self.contains('..')").message("must be a relative path without '..'"))]
    pub path: String,
}

fn folder() -> String {
    "repository".into()
}

/// A bucket of an S3-compatible store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Repository {
    /// The store's address.
    #[schemars(length(min = 8, max = 512))]
    #[x_kube(validation = Rule::new("self.startsWith('https://') || self.startsWith('http://')").message("must begin with https:// or http://"))]
    pub endpoint: String,
    /// The bucket.
    #[schemars(length(min = 1, max = 255))]
    pub bucket: String,
    /// A folder within it.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub prefix: String,
    /// A Secret with the keys `accessKeyId` and `secretAccessKey`.
    pub credentials_secret_ref: LocalName,
}

/// What is known of a repository.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupRepositoryStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The address in restic's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// `Ready`, `Reconciling` and `Stalled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}
