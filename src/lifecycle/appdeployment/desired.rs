//! What an application consists of, as manifests.

use serde_json::{Value, json};

use crate::{
    api::{AppDeploymentSpec, annotation, label},
    lifecycle::{
        ChildKind, Desired, Object, ObjectKey,
        children::{Owner, manifest},
    },
};

/// The Deployment with `replicas` pods, and the Service if there are ports.
pub(super) fn children(
    app: &Object<'_, AppDeploymentSpec>,
    replicas: i32,
    restricted: bool,
    owner: Owner<'_>,
) -> Vec<Desired> {
    let key = |kind| key(app, kind);
    let mut wanted = vec![manifest(owner, key(ChildKind::Deployment), &[], deployment(app, replicas, restricted))];
    if !app.spec.ports.is_empty() {
        wanted.push(manifest(owner, key(ChildKind::Service), &[], service(app)));
    }
    wanted
}

/// What was ever made for the application: there may have been ports once.
pub(super) fn keys(app: &Object<'_, AppDeploymentSpec>) -> Vec<ObjectKey> {
    [ChildKind::Deployment, ChildKind::Service].map(|kind| key(app, kind)).to_vec()
}

fn key(app: &Object<'_, AppDeploymentSpec>, kind: ChildKind) -> ObjectKey {
    ObjectKey::in_namespace(kind, app.namespace.clone().unwrap_or_default(), app.name.clone())
}

fn deployment(app: &Object<'_, AppDeploymentSpec>, replicas: i32, restricted: bool) -> Value {
    let mut security = json!({ "seccompProfile": { "type": "RuntimeDefault" } });
    if restricted {
        security["runAsNonRoot"] = json!(true);
    }
    let spec = app.spec;
    let mut labels = json!(spec.pod_labels);
    labels[label::APP] = json!(app.name);
    labels[label::MANAGED_BY] = json!(crate::api::MANAGER);
    let mut annotations = json!({});
    if let Some(at) = &spec.restart_at {
        annotations[annotation::RESTART_AT] = json!(at);
    }
    json!({
        "spec": {
            "replicas": replicas,
            "progressDeadlineSeconds": spec.progress_deadline_seconds,
            "revisionHistoryLimit": spec.revision_history_limit,
            // What serves goes on serving until what replaces it does.
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": "25%" } },
            "selector": { "matchLabels": { label::APP: app.name } },
            "template": {
                "metadata": { "labels": labels, "annotations": annotations },
                "spec": {
                    "containers": [container(spec)],
                    "imagePullSecrets": spec.image_pull_secrets.iter().map(|secret| json!({ "name": secret.name })).collect::<Vec<_>>(),
                    "securityContext": security,
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                },
            },
        },
    })
}

fn container(spec: &AppDeploymentSpec) -> Value {
    let mut container = json!({
        "name": "app",
        "image": spec.image,
        "resources": {
            "requests": { "cpu": spec.resources.cpu, "memory": spec.resources.memory },
            "limits": { "memory": spec.resources.memory },
        },
        "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    });
    let mut put = |name: &str, value: Value| {
        let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if !empty {
            container[name] = value;
        }
    };
    put("command", json!(spec.command));
    put("args", json!(spec.args));
    put("env", json!(spec.env));
    put("envFrom", json!(spec.env_from));
    put("readinessProbe", json!(spec.probes.readiness));
    put("livenessProbe", json!(spec.probes.liveness));
    put("startupProbe", json!(spec.probes.startup));
    let ports: Vec<Value> = spec
        .ports
        .iter()
        .map(|port| json!({ "name": port.name, "containerPort": port.container_port.unwrap_or(port.port), "protocol": "TCP" }))
        .collect();
    put("ports", json!(ports));
    container
}

fn service(app: &Object<'_, AppDeploymentSpec>) -> Value {
    let ports: Vec<Value> = app
        .spec
        .ports
        .iter()
        .map(|port| json!({ "name": port.name, "port": port.port, "targetPort": port.name, "protocol": "TCP" }))
        .collect();
    json!({ "spec": { "selector": { label::APP: app.name }, "ports": ports } })
}
