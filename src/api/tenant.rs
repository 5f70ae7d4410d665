//! Tenant: a customer, and the namespaces, limits and rights that go with it.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, LedgerRef, Quantity};

/// A customer of the platform: its namespaces with their quotas, isolation and rights, and the account it is billed to.
#[derive(CustomResource, Clone, PartialEq, Debug, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "trueup.dev",
    version = "v1alpha1",
    kind = "Tenant",
    plural = "tenants",
    shortname = "tut",
    category = "trueup",
    status = "TenantStatus",
    derive = "PartialEq",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Namespaces", type_ = "integer", json_path = ".status.namespaceCount"),
    printcolumn(name = "Plan", type_ = "string", json_path = ".spec.plan"),
    printcolumn(name = "Account", type_ = "string", json_path = ".spec.billing.account", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$')").message("metadata.name must be a DNS label of at most 40 characters, because namespaces are named after it"),
    validation = Rule::new("!self.metadata.name.matches('^(kube|default|trueup)(-.*)?$')").message("metadata.name must not be kube, default or trueup, nor begin with one of them and a dash: the namespaces would be the cluster's or Trueup's own"),
    validation = Rule::new("!has(self.spec.namespaces) || self.spec.namespaces.all(n, size(self.metadata.name) + 1 + size(n.name) <= 63)").message("metadata.name and the name of each of spec.namespaces, joined by a dash, must be at most 63 characters long"),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.quota) || !has(self.quota.cpu) || self.namespaces.map(n, has(n.quota) && has(n.quota.cpu) ? int(quantity(n.quota.cpu).asApproximateFloat()*1000.0+0.5) : 0).sum() <= int(quantity(self.quota.cpu).asApproximateFloat()*1000.0+0.5)").message("spec.quota.cpu must be at least the sum of spec.namespaces[].quota.cpu"),
    validation = Rule::new("!has(self.quota) || !has(self.quota.memory) || self.namespaces.map(n, has(n.quota) && has(n.quota.memory) ? quantity(n.quota.memory).asInteger() : 0).sum() <= quantity(self.quota.memory).asInteger()").message("spec.quota.memory must be at least the sum of spec.namespaces[].quota.memory"),
    validation = Rule::new("!has(self.quota) || !has(self.quota.storage) || self.namespaces.map(n, has(n.quota) && has(n.quota.storage) ? quantity(n.quota.storage).asInteger() : 0).sum() <= quantity(self.quota.storage).asInteger()").message("spec.quota.storage must be at least the sum of spec.namespaces[].quota.storage"),
    validation = Rule::new("!has(self.quota) || !has(self.quota.pods) || self.namespaces.map(n, has(n.quota) && has(n.quota.pods) ? n.quota.pods : 0).sum() <= self.quota.pods").message("spec.quota.pods must be at least the sum of spec.namespaces[].quota.pods"),
    validation = Rule::new("!has(self.quota) || self.namespaces.all(n, (!has(self.quota.cpu) || (has(n.quota) && has(n.quota.cpu))) && (!has(self.quota.memory) || (has(n.quota) && has(n.quota.memory))) && (!has(self.quota.storage) || (has(n.quota) && has(n.quota.storage))) && (!has(self.quota.pods) || (has(n.quota) && has(n.quota.pods))))").message("each of spec.namespaces must have a quota for whatever spec.quota limits, else it would have no limit")
)]
pub struct TenantSpec {
    /// The name that people know it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub display_name: Option<String>,
    /// What was bought. Travels with every event.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("must be lower-case letters, digits and dashes"))]
    pub plan: String,
    /// Who pays.
    pub billing: Billing,
    /// Who may do what in the tenant's namespaces.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub owners: Vec<Owner>,
    /// What all namespaces together may use. The API server refuses namespaces whose quotas add up to more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaSpec>,
    /// The namespaces, each called `<tenant>-<name>`.
    #[serde(default)]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_string()]))]
    pub namespaces: Vec<TenantNamespace>,
    /// Whether traffic from other tenants is kept out.
    #[serde(default)]
    pub isolation: Isolation,
    /// The Pod Security Standard that the API server enforces.
    #[serde(default)]
    pub pod_security: PodSecurity,
    /// Stops every application of the tenant. Nothing is deleted, and everything starts again when it is taken back.
    #[serde(default)]
    pub suspend: bool,
    /// What happens when the tenant is deleted.
    #[serde(default)]
    pub deletion: TenantDeletion,
}

/// Who pays.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, KubeSchema)]
pub struct Billing {
    /// The account in the billing system.
    #[schemars(length(min = 1, max = 128))]
    pub account: String,
}

/// Somebody with rights in the tenant's namespaces.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.kind == 'ServiceAccount') == has(self.namespace)").message("namespace is required for a ServiceAccount, and for nobody else"))]
pub struct Owner {
    /// What it is.
    pub kind: OwnerKind,
    /// What it is called.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The namespace of a ServiceAccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// What it may do.
    pub role: OwnerRole,
}

/// The kinds of RBAC subjects.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
pub enum OwnerKind {
    /// A person.
    User,
    /// A group of people.
    Group,
    /// A workload.
    ServiceAccount,
}

/// The only ClusterRoles that a tenant may bind: Kubernetes' own `admin`, `edit` and `view`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
pub enum OwnerRole {
    /// Everything in the namespaces but their quotas.
    Admin,
    /// Everything but rights.
    Edit,
    /// Reading, secrets apart.
    View,
}

/// Limits on what may be requested.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuotaSpec {
    /// Cores that pods may request together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Bytes of memory that pods may request together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("!self.contains('.') && !self.endsWith('m')").message("must be whole bytes, such as 512Mi"))]
    pub memory: Option<Quantity>,
    /// Bytes of storage that claims may request together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("!self.contains('.') && !self.endsWith('m')").message("must be whole bytes, such as 10Gi"))]
    pub storage: Option<Quantity>,
    /// How many pods there may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub pods: Option<i32>,
}

/// One namespace of a tenant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantNamespace {
    /// The part behind `<tenant>-`.
    #[schemars(length(min = 1, max = 61))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("must be lower-case letters, digits and dashes"))]
    pub name: String,
    /// What this namespace may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaSpec>,
    /// What a container gets that says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitSpec>,
}

/// Requests and limits for containers that state none. Without them a quota would refuse such pods.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitSpec {
    /// Cores that a container requests if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_cpu: Option<Quantity>,
    /// Bytes of memory that a container requests, and is limited to, if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_memory: Option<Quantity>,
}

/// Whether other tenants' traffic is kept out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum Isolation {
    /// Only the tenant's own namespaces may connect.
    #[default]
    Strict,
    /// Everybody in the cluster may.
    Open,
}

/// The Pod Security Standards.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum PodSecurity {
    /// No rules. For tenants that you trust with the node.
    Privileged,
    /// Keeps known ways out of a container shut.
    #[default]
    Baseline,
    /// Current hardening practice.
    Restricted,
}

/// What happens when a tenant is deleted.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, KubeSchema)]
pub struct TenantDeletion {
    /// Holds a deletion back until this is taken away, so that one wrong command cannot end a customer.
    #[serde(default)]
    pub protect: bool,
}

/// What is known of a tenant.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The ledger's word for where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Where the ledger stands on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<LedgerRef>,
    /// How many namespaces it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_count: Option<i32>,
    /// Each of its namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<NamespaceStatus>,
    /// `Ready`, `Reconciling`, `Stalled` and `Paused`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}

/// What is known of one namespace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, KubeSchema)]
pub struct NamespaceStatus {
    /// The namespace's full name.
    pub name: String,
    /// Whether it and everything in it is as it should be.
    pub ready: bool,
    /// What is in the way, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
