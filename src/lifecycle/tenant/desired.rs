//! What a tenant's namespaces hold, as manifests.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Observed;
use crate::{
    api::{Isolation, LimitSpec, OwnerRole, PodSecurity, QuotaSpec, TenantNamespace, TenantSpec, label},
    lifecycle::{
        ChildKind, Desired, Object, ObjectKey,
        children::{Owner, manifest},
    },
};

/// What everything in a namespace is called: there is one of each kind.
const NAME: &str = "trueup";

/// The full name of a tenant's namespace.
pub(super) fn namespace_name(tenant: &str, namespace: &str) -> String {
    format!("{tenant}-{namespace}")
}

/// The namespaces that the tenant lists.
pub(super) fn namespaces(tenant: &Object<'_, TenantSpec>) -> impl Iterator<Item = ObjectKey> {
    tenant.spec.namespaces.iter().map(|namespace| ObjectKey::namespace(namespace_name(&tenant.name, &namespace.name)))
}

/// Everything that should be. What goes into a namespace is wanted only once the namespace is there.
pub(super) fn children(tenant: &Object<'_, TenantSpec>, owner: Owner<'_>, seen: &Observed) -> Vec<Desired> {
    let mut wanted = vec![];
    for namespace in &tenant.spec.namespaces {
        let key = ObjectKey::namespace(namespace_name(&tenant.name, &namespace.name));
        let usable = seen.children.iter().any(|child| child.key == key && owner.made(child) && !child.is_terminating());
        let name = key.name.clone();
        wanted.push(namespace_manifest(tenant.spec, owner, key));
        if usable {
            wanted.extend(contents(tenant.spec, owner, namespace, &name));
        }
    }
    wanted
}

fn namespace_manifest(spec: &TenantSpec, owner: Owner<'_>, key: ObjectKey) -> Desired {
    let level = match spec.pod_security {
        PodSecurity::Privileged => "privileged",
        PodSecurity::Baseline => "baseline",
        PodSecurity::Restricted => "restricted",
    };
    let labels = [("pod-security.kubernetes.io/enforce", level), ("pod-security.kubernetes.io/warn", level)];
    manifest(owner, key, &labels, json!({}))
}

fn contents(spec: &TenantSpec, owner: Owner<'_>, namespace: &TenantNamespace, name: &str) -> Vec<Desired> {
    let key = |kind, object: &str| ObjectKey::in_namespace(kind, name, object);
    let mut wanted = vec![];
    if let Some(hard) = namespace.quota.as_ref().map(hard).filter(|hard| !hard.is_empty()) {
        let content = json!({ "spec": { "hard": hard } });
        wanted.push(manifest(owner, key(ChildKind::ResourceQuota, NAME), &[], content));
    }
    wanted.push(manifest(
        owner,
        key(ChildKind::LimitRange, NAME),
        &[],
        json!({ "spec": { "limits": [limits(namespace.limits.as_ref())] } }),
    ));
    wanted.push(manifest(
        owner,
        key(ChildKind::NetworkPolicy, NAME),
        &[],
        json!({ "spec": network_policy(spec.isolation, owner.name) }),
    ));
    for (role, subjects) in subjects(spec) {
        let content = json!({
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
            "subjects": subjects,
        });
        wanted.push(manifest(owner, key(ChildKind::RoleBinding, &format!("{NAME}-{role}")), &[], content));
    }
    wanted
}

fn hard(quota: &QuotaSpec) -> Map<String, Value> {
    let mut hard = Map::new();
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            hard.insert(name.to_owned(), json!(value));
        }
    };
    put("requests.cpu", quota.cpu.as_ref().map(|cpu| cpu.0.clone()));
    put("requests.memory", quota.memory.as_ref().map(|memory| memory.0.clone()));
    put("requests.storage", quota.storage.as_ref().map(|storage| storage.0.clone()));
    put("pods", quota.pods.map(|pods| pods.to_string()));
    hard
}

/// Containers that state nothing get these; else a quota would refuse their pods.
fn limits(spec: Option<&LimitSpec>) -> Value {
    let or = |given: Option<&crate::api::Quantity>, otherwise: &str| {
        given.map_or_else(|| otherwise.to_owned(), |quantity| quantity.0.clone())
    };
    let cpu = or(spec.and_then(|spec| spec.default_cpu.as_ref()), "100m");
    let memory = or(spec.and_then(|spec| spec.default_memory.as_ref()), "128Mi");
    json!({
        "type": "Container",
        "default": { "memory": memory },
        "defaultRequest": { "cpu": cpu, "memory": memory },
    })
}

/// Strict: only pods of the tenant's own namespaces get in. Open: everybody does, and the policy says so.
fn network_policy(isolation: Isolation, tenant: &str) -> Value {
    let ingress = match isolation {
        Isolation::Strict => {
            json!([{ "from": [{ "namespaceSelector": { "matchLabels": { label::TENANT: tenant } } }] }])
        }
        Isolation::Open => json!([{}]),
    };
    json!({ "podSelector": {}, "policyTypes": ["Ingress"], "ingress": ingress })
}

fn subjects(spec: &TenantSpec) -> BTreeMap<&'static str, Vec<Value>> {
    let mut by_role: BTreeMap<&'static str, Vec<Value>> = BTreeMap::new();
    for owner in &spec.owners {
        let role = match owner.role {
            OwnerRole::Admin => "admin",
            OwnerRole::Edit => "edit",
            OwnerRole::View => "view",
        };
        let subject = match (&owner.kind, &owner.namespace) {
            (crate::api::OwnerKind::ServiceAccount, Some(namespace)) => {
                json!({ "kind": "ServiceAccount", "name": owner.name, "namespace": namespace })
            }
            (kind, _) => {
                json!({ "kind": format!("{kind:?}"), "name": owner.name, "apiGroup": "rbac.authorization.k8s.io" })
            }
        };
        by_role.entry(role).or_default().push(subject);
    }
    by_role
}
