//! Manifests, short enough to be read where they are used.

use serde_json::{Value, json};

/// Puts the fields of `over` into `base`, objects by field and everything else as a whole.
pub fn merged(mut base: Value, over: &Value) -> Value {
    if let (Some(fields), Some(more)) = (base.as_object_mut(), over.as_object()) {
        for (name, value) in more {
            let old = fields.remove(name).unwrap_or(Value::Null);
            let new = if old.is_object() && value.is_object() { merged(old, value) } else { value.clone() };
            fields.insert(name.clone(), new);
        }
    }
    base
}

fn custom(kind: &str, namespace: Option<&str>, name: &str, spec: Value) -> Value {
    let mut manifest = json!({ "apiVersion": "trueup.dev/v1alpha1", "kind": kind, "metadata": { "name": name } });
    if let Some(namespace) = namespace {
        manifest["metadata"]["namespace"] = json!(namespace);
    }
    manifest["spec"] = spec;
    manifest
}

/// A tenant with one namespace, `prod`; `spec` changes it.
pub fn tenant(name: &str, spec: &Value) -> Value {
    let base = json!({
        "plan": "small",
        "billing": { "account": format!("acct-{name}") },
        "namespaces": [{ "name": "prod" }],
    });
    custom("Tenant", None, name, merged(base, spec))
}

/// An application of one pod; `spec` changes it.
pub fn app(namespace: &str, name: &str, spec: &Value) -> Value {
    let base = json!({
        "image": "registry.example/shop:1",
        "resources": { "cpu": "100m", "memory": "64Mi" },
        "progressDeadlineSeconds": 60,
    });
    custom("AppDeployment", Some(namespace), name, merged(base, spec))
}

/// A backup of a command's output into the repository `vault`; `spec` changes it.
pub fn backup(namespace: &str, name: &str, spec: &Value) -> Value {
    let base = json!({
        "source": { "command": { "image": "registry.example/dump:1", "command": ["dump"] } },
        "repositoryRef": { "name": "vault" },
    });
    custom("Backup", Some(namespace), name, merged(base, spec))
}

/// A repository on the claim `vault`, with the key in the Secret `vault`; `spec` changes it.
pub fn repository(namespace: &str, name: &str, spec: &Value) -> Value {
    let base = json!({
        "filesystem": { "claimName": "vault" },
        "keySecretRef": { "name": "vault", "key": "password" },
    });
    custom("BackupRepository", Some(namespace), name, merged(base, spec))
}

/// A sink that sends to `url`; `spec` changes it.
pub fn sink(name: &str, url: &str, spec: &Value) -> Value {
    let base = json!({
        "destinationId": name,
        "startAt": "Beginning",
        "webhook": { "url": url, "secretRef": { "name": "billing", "key": "keys" }, "timeoutSeconds": 5 },
    });
    custom("BillingSink", None, name, merged(base, spec))
}

/// What a repository on a volume needs: its claim and its key.
pub fn vault(namespace: &str) -> [Value; 2] {
    [
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": { "name": "vault", "namespace": namespace },
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
        }),
        secret(namespace, "vault", "password", "correct horse battery staple"),
    ]
}

/// A Secret with one key.
pub fn secret(namespace: &str, name: &str, key: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "namespace": namespace },
        "stringData": { key: value },
    })
}

/// A namespace that is nobody's.
pub fn namespace(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })
}
