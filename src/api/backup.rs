//! Backup: an artifact that somebody can recover from.

use k8s_openapi::api::core::v1::EnvVar;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, LedgerRef, LocalName, SecretKey};

/// One recovery artifact: a dump, made in the database's own image and kept, encrypted, in a repository.
#[derive(CustomResource, Clone, PartialEq, Debug, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "trueup.dev",
    version = "v1alpha1",
    kind = "Backup",
    plural = "backups",
    shortname = "tub",
    category = "trueup",
    namespaced,
    status = "BackupStatus",
    derive = "PartialEq",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Size", type_ = "string", json_path = ".status.artifact.size"),
    printcolumn(name = "Snapshot", type_ = "string", json_path = ".status.artifact.shortId"),
    printcolumn(name = "Repository", type_ = "string", json_path = ".spec.repositoryRef.name"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 63").message("metadata.name must be at most 63 characters long, because its Job is labelled with it"),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.source == oldSelf.source").message("spec.source cannot be changed: make another Backup"),
    validation = Rule::new("self.repositoryRef == oldSelf.repositoryRef").message("spec.repositoryRef cannot be changed: make another Backup")
)]
pub struct BackupSpec {
    /// What is backed up.
    pub source: BackupSource,
    /// The BackupRepository, in the same namespace, that it goes to.
    pub repository_ref: LocalName,
    /// What happens to the artifact when this object is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// How long the dump may take before it has failed, in seconds.
    #[serde(default = "timeout")]
    #[schemars(range(min = 1, max = 604_800))]
    pub timeout_seconds: i32,
}

fn timeout() -> i32 {
    3600
}

/// What is backed up: exactly one of these.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.postgres) != has(self.command)").message("exactly one of postgres and command must be set"))]
pub struct BackupSource {
    /// A PostgreSQL database, dumped by its own `pg_dump`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<PostgresSource>,
    /// Anything that writes itself to standard output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandSource>,
}

/// A PostgreSQL database.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostgresSource {
    /// The database's own image, so that `pg_dump` is never older than the server. It needs `sh` and `pg_dump`.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,
    /// Where the server listens.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// And on which port.
    #[serde(default = "postgres_port")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i32,
    /// The database.
    #[schemars(length(min = 1, max = 63))]
    pub database: String,
    /// Who dumps it.
    #[schemars(length(min = 1, max = 63))]
    pub user: String,
    /// The user's password.
    pub password_secret_ref: SecretKey,
}

fn postgres_port() -> i32 {
    5432
}

/// A command whose standard output is the artifact.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommandSource {
    /// The image to run it in. It needs `sh`.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,
    /// The command and its arguments.
    #[schemars(length(min = 1, max = 64))]
    pub command: Vec<String>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub env: Vec<EnvVar>,
    /// What the artifact's file is called in the repository.
    #[serde(default = "file_name")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9][A-Za-z0-9._-]*$')").message("must be letters, digits, dots, dashes and underscores"))]
    pub file_name: String,
}

fn file_name() -> String {
    "artifact".into()
}

/// What happens to an artifact when its Backup is deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It stays in the repository.
    #[default]
    Retain,
    /// It is removed from the repository first.
    Delete,
}

/// A sealed artifact. It is said only when the dump ended well and the repository has it all.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// The repository's snapshot.
    pub snapshot_id: String,
    /// Its first eight digits, as restic shows it.
    pub short_id: String,
    /// The file within the snapshot.
    pub file: String,
    /// The dump's length in bytes, before compression.
    pub size_bytes: i64,
    /// The same for people.
    pub size: String,
    /// SHA-256 of the dump.
    pub sha256: String,
    /// What wrote the dump.
    pub dump_tool: String,
    /// What stored it.
    pub repository_tool: String,
    /// When the snapshot was complete.
    pub completed_at: String,
}

/// What is known of a backup.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The ledger's word for where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Where the ledger stands on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<LedgerRef>,
    /// The Job that makes it, or made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The artifact, once it is sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// What the dump said last, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// `Ready`, `Reconciling`, `Stalled`, `Finished` and `Paused`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}
