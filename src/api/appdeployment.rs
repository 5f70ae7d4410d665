//! AppDeployment: an application of a tenant.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, Probe};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{Condition, LedgerRef, LocalName, Quantity};

/// An application: one container image, how many of it, and how it is reached.
#[derive(CustomResource, Clone, PartialEq, Debug, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "trueup.dev",
    version = "v1alpha1",
    kind = "AppDeployment",
    plural = "appdeployments",
    shortname = "tua",
    category = "trueup",
    namespaced,
    status = "AppDeploymentStatus",
    derive = "PartialEq",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Available", type_ = "integer", json_path = ".status.availableReplicas"),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", priority = 1),
    printcolumn(name = "Sequence", type_ = "integer", json_path = ".status.ledger.sequence", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,51}[a-z0-9])?$')").message("metadata.name must be a DNS label of at most 53 characters that begins with a letter: the Service is named after it"),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.restartAt) || !has(oldSelf.restartAt) || self.restartAt >= oldSelf.restartAt").message("spec.restartAt can only move forward"))]
pub struct AppDeploymentSpec {
    /// The container image.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("!self.matches('[[:space:]]')").message("must not contain white space"))]
    pub image: String,
    /// Replaces the image's entry point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub command: Vec<String>,
    /// Replaces the image's arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub args: Vec<String>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_string()]))]
    pub env: Vec<EnvVar>,
    /// Secrets and ConfigMaps whose keys become environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub env_from: Vec<EnvFromSource>,
    /// Ports that the Service offers. Without any there is no Service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_string()]))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a.port == b.port))").message("each port may be offered once"))]
    pub ports: Vec<AppPort>,
    /// How many pods.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// What each pod requests. Billing counts these.
    #[serde(default)]
    pub resources: AppResources,
    /// How Kubernetes tells whether a pod works.
    #[serde(default)]
    pub probes: AppProbes,
    /// How long a rollout may make no progress before it has failed, in seconds.
    #[serde(default = "progress_deadline")]
    #[schemars(range(min = 1, max = 86_400))]
    pub progress_deadline_seconds: i32,
    /// How many old revisions are kept.
    #[serde(default = "revisions")]
    #[schemars(range(min = 0, max = 100))]
    pub revision_history_limit: i32,
    /// Secrets for pulling the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<LocalName>,
    /// Labels for the pods, beside Trueup's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('trueup.dev/') && !k.startsWith('app.kubernetes.io/'))").message("must not begin with trueup.dev/ or app.kubernetes.io/: those are Trueup's own"))]
    pub pod_labels: BTreeMap<String, String>,
    /// Stops it: no pods, nothing deleted, nothing billed but storage.
    #[serde(default)]
    pub suspend: bool,
    /// Restarts all pods, one after the other, when set to a newer time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 20, max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?Z$')").message("must be a time in UTC such as 2026-01-31T12:00:00Z"))]
    pub restart_at: Option<String>,
}

fn one() -> i32 {
    1
}

fn progress_deadline() -> i32 {
    600
}

fn revisions() -> i32 {
    10
}

/// One port of the application.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppPort {
    /// Its name.
    #[schemars(length(min = 1, max = 15))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("must be lower-case letters, digits and dashes"))]
    pub name: String,
    /// The port that others connect to.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i32,
    /// The port that the container listens on, if it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub container_port: Option<i32>,
}

/// What each pod requests.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppResources {
    /// Cores.
    #[serde(default = "default_cpu")]
    pub cpu: Quantity,
    /// Bytes of memory, which is the limit too.
    #[serde(default = "default_memory")]
    #[x_kube(validation = Rule::new("!self.contains('.') && !self.endsWith('m')").message("must be whole bytes, such as 128Mi"))]
    pub memory: Quantity,
}

fn default_cpu() -> Quantity {
    Quantity("100m".into())
}

fn default_memory() -> Quantity {
    Quantity("128Mi".into())
}

impl Default for AppResources {
    fn default() -> Self {
        Self { cpu: default_cpu(), memory: default_memory() }
    }
}

/// How Kubernetes tells whether a pod works.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, KubeSchema)]
pub struct AppProbes {
    /// Whether it may get traffic. Without one, a pod counts as available as soon as it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
    /// Whether it must be restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
    /// Whether it has started; the others wait for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
}

/// What is known of an application.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppDeploymentStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The ledger's word for where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Where the ledger stands on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<LedgerRef>,
    /// Pods that exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Pods that are available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_replicas: Option<i32>,
    /// Selects its pods, for `kubectl scale` and autoscalers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// `Ready`, `Reconciling`, `Stalled` and `Paused`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}
