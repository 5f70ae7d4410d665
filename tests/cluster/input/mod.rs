//! Bad input is refused by the API server, with words that name the field and the rule. Nothing is kept: all are dry runs.

mod sinks;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::*;

/// A manifest, what of the refusal must name the field, and what must name the rule.
type Case = (Value, &'static str, &'static str);

async fn refused(visit: &Visit, cases: Vec<Case>) {
    let mut wrong = vec![];
    for (manifest, field, rule) in cases {
        match visit.try_create(&manifest, true).await {
            Ok(_) => wrong.push(format!("{manifest} was accepted in spite of {field}: {rule}")),
            Err(error) => wrong.extend(misses(&error.to_string(), field, rule).map(|it| format!("{manifest}: {it}"))),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn misses(said: &str, field: &str, rule: &str) -> Option<String> {
    let names = said.contains(field) && said.contains(rule);
    (!names).then(|| format!("expected words on {field} and {rule:?}, but the API server says {said}"))
}

async fn accepted(visit: &Visit, manifests: Vec<Value>) {
    let mut wrong = vec![];
    for manifest in manifests {
        if let Err(error) = visit.try_create(&manifest, true).await {
            wrong.push(format!("{manifest} was refused: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What becomes of a change of a spec that is only tried.
async fn change(visit: &Visit, kind: &str, namespace: Option<&str>, name: &str, spec: &Value) -> Result<(), String> {
    let patch = Patch::Merge(json!({ "spec": spec }));
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    visit.api(kind, namespace).patch(name, &params, &patch).await.map(drop).map_err(|error| error.to_string())
}

async fn unchangeable(visit: &Visit, kind: &str, name: &str, namespace: Option<&str>, cases: &[(Value, &str)]) {
    for (spec, rule) in cases {
        let said = change(visit, kind, namespace, name, spec).await.expect_err("a change that is not allowed");
        assert!(said.contains(rule), "expected {rule:?} for {spec}, but the API server says {said}");
    }
}

fn words(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("w{number}")).collect()
}

fn long(length: usize) -> String {
    "a".repeat(length)
}

#[tokio::test]
async fn tenants_that_break_a_rule_are_refused() {
    let visit = Visit::shared().await;
    let with = |spec: Value| tenant("acme", &spec);
    let name_rule = "metadata.name must be a DNS label of at most 40 characters";
    let own = "metadata.name must not be kube, default or trueup";
    let joined = "joined by a dash, must be at most 63 characters";
    let plain = "must be lower-case letters, digits and dashes";
    let bytes = "must be whole bytes";
    let pattern = "should match";
    let quota = |all: Value, one: Value, two: Value| {
        with(json!({ "quota": all, "namespaces": [{ "name": "a", "quota": one }, { "name": "b", "quota": two }] }))
    };
    let one = |quota: Value| with(json!({ "namespaces": [{ "name": "a", "quota": quota }] }));
    let owner = |owner: Value| with(json!({ "owners": [owner] }));
    let user = json!({ "kind": "User", "name": "ada", "role": "View" });
    let many = |count: usize| -> Vec<Value> { words(count).iter().map(|name| json!({ "name": name })).collect() };
    let mut no_account = with(json!({}));
    no_account["spec"]["billing"] = json!({});
    let mut no_plan = with(json!({}));
    no_plan["spec"].as_object_mut().unwrap().remove("plan");
    refused(
        &visit,
        vec![
            (tenant(&long(41), &json!({})), "", name_rule),
            (tenant("a.b", &json!({})), "", name_rule),
            (tenant("kube", &json!({})), "", own),
            (tenant("kube-acme", &json!({})), "", own),
            (tenant("default", &json!({})), "", own),
            (tenant("trueup-system", &json!({})), "", own),
            (tenant(&long(40), &json!({ "namespaces": [{ "name": long(23) }] })), "spec.namespaces", joined),
            (with(json!({ "displayName": long(129) })), "spec.displayName", "128"),
            (no_plan, "spec.plan", "Required"),
            (with(json!({ "plan": "" })), "spec.plan", "at least 1"),
            (with(json!({ "plan": long(64) })), "spec.plan", "63"),
            (with(json!({ "plan": "Small" })), "spec.plan", plain),
            (no_account, "spec.billing.account", "Required"),
            (with(json!({ "billing": { "account": "" } })), "spec.billing.account", "at least 1"),
            (with(json!({ "billing": { "account": long(129) } })), "spec.billing.account", "128"),
            (with(json!({ "owners": vec![user.clone(); 33] })), "spec.owners", "32"),
            (owner(merged(user.clone(), &json!({ "kind": "Robot" }))), "spec.owners[0].kind", "Unsupported value"),
            (
                owner(merged(user.clone(), &json!({ "role": "cluster-admin" }))),
                "spec.owners[0].role",
                "\"Admin\", \"Edit\", \"View\"",
            ),
            (owner(merged(user.clone(), &json!({ "name": "" }))), "spec.owners[0].name", "at least 1"),
            (
                owner(merged(user.clone(), &json!({ "namespace": "x" }))),
                "spec.owners[0]",
                "namespace is required for a ServiceAccount",
            ),
            (
                owner(json!({ "kind": "ServiceAccount", "name": "bot", "role": "Edit" })),
                "spec.owners[0]",
                "namespace is required for a ServiceAccount",
            ),
            (with(json!({ "namespaces": many(65) })), "spec.namespaces", "64"),
            (
                with(json!({ "namespaces": [{ "name": "a" }, { "name": "a" }] })),
                "spec.namespaces[1]",
                "Duplicate value",
            ),
            (with(json!({ "namespaces": [{ "name": "A" }] })), "spec.namespaces[0].name", plain),
            (with(json!({ "namespaces": [{ "name": "" }] })), "spec.namespaces[0].name", "at least 1"),
            (one(json!({ "cpu": "-1" })), "spec.namespaces[0].quota.cpu", pattern),
            (one(json!({ "cpu": "1e3" })), "spec.namespaces[0].quota.cpu", pattern),
            (one(json!({ "cpu": "lots" })), "spec.namespaces[0].quota.cpu", pattern),
            (one(json!({ "memory": "0.5Gi" })), "spec.namespaces[0].quota.memory", bytes),
            (one(json!({ "memory": "512m" })), "spec.namespaces[0].quota.memory", bytes),
            (one(json!({ "storage": "1.5Gi" })), "spec.namespaces[0].quota.storage", bytes),
            (one(json!({ "pods": -1 })), "spec.namespaces[0].quota.pods", "greater than or equal to 0"),
            (one(json!({ "pods": 100_001 })), "spec.namespaces[0].quota.pods", "100000"),
            (
                quota(json!({ "cpu": "1" }), json!({ "cpu": "501m" }), json!({ "cpu": "0.5" })),
                "spec.quota.cpu",
                "at least the sum",
            ),
            (
                quota(json!({ "memory": "1Gi" }), json!({ "memory": "1Gi" }), json!({ "memory": "1" })),
                "spec.quota.memory",
                "at least the sum",
            ),
            (
                quota(json!({ "storage": "1Gi" }), json!({ "storage": "1G" }), json!({ "storage": "1G" })),
                "spec.quota.storage",
                "at least the sum",
            ),
            (
                quota(json!({ "pods": 10 }), json!({ "pods": 10 }), json!({ "pods": 1 })),
                "spec.quota.pods",
                "at least the sum",
            ),
            (
                quota(json!({ "pods": 10 }), json!({ "pods": 10 }), json!({ "cpu": "1" })),
                "spec.namespaces",
                "must have a quota for whatever spec.quota limits",
            ),
            (with(json!({ "isolation": "None" })), "spec.isolation", "\"Strict\", \"Open\""),
            (
                with(json!({ "podSecurity": "None" })),
                "spec.podSecurity",
                "\"Privileged\", \"Baseline\", \"Restricted\"",
            ),
            (with(json!({ "suspend": "yes" })), "spec.suspend", "boolean"),
        ],
    )
    .await;
    accepted(
        &visit,
        vec![
            tenant(&long(40), &json!({ "namespaces": [{ "name": long(22) }] })),
            tenant("kubeland", &json!({})),
            tenant(
                "defaults",
                &json!({ "displayName": long(128), "plan": long(63), "billing": { "account": long(128) } }),
            ),
            with(json!({ "owners": vec![user; 32], "namespaces": [] })),
            with(json!({ "namespaces": many(64) })),
            owner(json!({ "kind": "ServiceAccount", "name": "bot", "namespace": "ci", "role": "Edit" })),
            one(json!({ "cpu": "0.001", "memory": "1", "storage": "999999999999P", "pods": 100_000 })),
            one(json!({ "pods": 0 })),
            quota(
                json!({ "cpu": "1", "memory": "1Gi", "storage": "2G", "pods": 10 }),
                json!({ "cpu": "500m", "memory": "512Mi", "storage": "1G", "pods": 9 }),
                json!({ "cpu": "0.5", "memory": "524288Ki", "storage": "1000M", "pods": 1 }),
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_quota_cannot_be_outgrown_by_a_later_change() {
    let visit = Visit::shared().await;
    let spec = json!({ "quota": { "pods": 10 }, "namespaces": [{ "name": "a", "quota": { "pods": 10 } }] });
    visit.create(&tenant("grows", &spec)).await;
    let more =
        json!({ "namespaces": [{ "name": "a", "quota": { "pods": 10 } }, { "name": "b", "quota": { "pods": 1 } }] });
    unchangeable(&visit, "Tenant", "grows", None, &[(more, "spec.quota.pods must be at least the sum")]).await;
    visit.delete("Tenant", None, "grows").await;
    visit.gone("Tenant", None, "grows").await;
}

#[tokio::test]
async fn applications_that_break_a_rule_are_refused() {
    let visit = Visit::shared().await;
    visit.apply(&namespace("inputs")).await;
    let with = |spec: Value| app("inputs", "shop", &spec);
    let name_rule = "metadata.name must be a DNS label of at most 53 characters that begins with a letter";
    let port = |port: Value| with(json!({ "ports": [merged(json!({ "name": "http", "port": 80 }), &port)] }));
    let ports = |count: usize| -> Vec<Value> {
        words(count).iter().zip(1..).map(|(name, port)| json!({ "name": name, "port": port })).collect()
    };
    let env = |count: usize| -> Vec<Value> { words(count).iter().map(|name| json!({ "name": name })).collect() };
    let from = |count: usize| vec![json!({ "secretRef": { "name": "s" } }); count];
    let pull = |count: usize| -> Vec<Value> { words(count).iter().map(|name| json!({ "name": name })).collect() };
    let labels = |count: usize| -> Value {
        words(count).into_iter().map(|name| (name, json!("x"))).collect::<serde_json::Map<_, _>>().into()
    };
    let mut no_image = with(json!({}));
    no_image["spec"].as_object_mut().unwrap().remove("image");
    refused(
        &visit,
        vec![
            (app("inputs", "1shop", &json!({})), "", name_rule),
            (app("inputs", "my.shop", &json!({})), "", name_rule),
            (app("inputs", &long(54), &json!({})), "", name_rule),
            (no_image, "spec.image", "Required"),
            (with(json!({ "image": "" })), "spec.image", "at least 1"),
            (with(json!({ "image": "a b" })), "spec.image", "must not contain white space"),
            (with(json!({ "image": long(513) })), "spec.image", "512"),
            (with(json!({ "command": words(65) })), "spec.command", "64"),
            (with(json!({ "args": words(257) })), "spec.args", "256"),
            (with(json!({ "env": env(257) })), "spec.env", "256"),
            (with(json!({ "env": [{ "name": "A" }, { "name": "A" }] })), "spec.env[1]", "Duplicate value"),
            (with(json!({ "envFrom": from(65) })), "spec.envFrom", "64"),
            (with(json!({ "ports": ports(17) })), "spec.ports", "16"),
            (
                with(json!({ "ports": [{ "name": "a", "port": 80 }, { "name": "a", "port": 81 }] })),
                "spec.ports[1]",
                "Duplicate value",
            ),
            (
                with(json!({ "ports": [{ "name": "a", "port": 80 }, { "name": "b", "port": 80 }] })),
                "spec.ports",
                "each port may be offered once",
            ),
            (port(json!({ "name": "HTTP" })), "spec.ports[0].name", "must be lower-case letters, digits and dashes"),
            (port(json!({ "name": "" })), "spec.ports[0].name", "at least 1"),
            (port(json!({ "name": long(16) })), "spec.ports[0].name", "15"),
            (port(json!({ "port": 0 })), "spec.ports[0].port", "greater than or equal to 1"),
            (port(json!({ "port": 65_536 })), "spec.ports[0].port", "65535"),
            (port(json!({ "containerPort": 0 })), "spec.ports[0].containerPort", "greater than or equal to 1"),
            (port(json!({ "containerPort": 65_536 })), "spec.ports[0].containerPort", "65535"),
            (with(json!({ "replicas": -1 })), "spec.replicas", "greater than or equal to 0"),
            (with(json!({ "replicas": 1001 })), "spec.replicas", "1000"),
            (with(json!({ "resources": { "cpu": "much" } })), "spec.resources.cpu", "should match"),
            (with(json!({ "resources": { "memory": "0.5Gi" } })), "spec.resources.memory", "must be whole bytes"),
            (with(json!({ "resources": { "memory": "100m" } })), "spec.resources.memory", "must be whole bytes"),
            (
                with(json!({ "progressDeadlineSeconds": 0 })),
                "spec.progressDeadlineSeconds",
                "greater than or equal to 1",
            ),
            (with(json!({ "progressDeadlineSeconds": 86_401 })), "spec.progressDeadlineSeconds", "86400"),
            (with(json!({ "revisionHistoryLimit": -1 })), "spec.revisionHistoryLimit", "greater than or equal to 0"),
            (with(json!({ "revisionHistoryLimit": 101 })), "spec.revisionHistoryLimit", "100"),
            (with(json!({ "imagePullSecrets": pull(17) })), "spec.imagePullSecrets", "16"),
            (with(json!({ "imagePullSecrets": [{ "name": "" }] })), "spec.imagePullSecrets[0].name", "at least 1"),
            (with(json!({ "podLabels": labels(33) })), "spec.podLabels", "32"),
            (
                with(json!({ "podLabels": { "trueup.dev/app": "other" } })),
                "spec.podLabels",
                "must not begin with trueup.dev/",
            ),
            (
                with(json!({ "podLabels": { "app.kubernetes.io/managed-by": "x" } })),
                "spec.podLabels",
                "app.kubernetes.io/",
            ),
            (with(json!({ "restartAt": "now, please, at once" })), "spec.restartAt", "must be a time in UTC"),
            (with(json!({ "restartAt": "2026-01-31T12:00:00+01:00" })), "spec.restartAt", "must be a time in UTC"),
        ],
    )
    .await;
    accepted(
        &visit,
        vec![
            app("inputs", &long(53), &json!({ "image": long(512) })),
            with(json!({ "command": words(64), "args": words(256), "env": env(256), "envFrom": from(64) })),
            with(json!({ "ports": ports(16), "imagePullSecrets": pull(16), "podLabels": labels(32) })),
            port(json!({ "name": long(15), "port": 65_535, "containerPort": 1 })),
            with(json!({ "replicas": 0, "progressDeadlineSeconds": 1, "revisionHistoryLimit": 0 })),
            with(json!({ "replicas": 1000, "progressDeadlineSeconds": 86_400, "revisionHistoryLimit": 100 })),
            with(json!({ "resources": { "cpu": "0.001", "memory": "1" } })),
            with(json!({ "podLabels": { "team": "trueup.dev" }, "restartAt": "2026-01-31T12:00:00.123456789Z" })),
        ],
    )
    .await;
    visit.apply(&app("inputs", "moves", &json!({ "restartAt": "2026-01-31T12:00:00Z" }))).await;
    let back = json!({ "restartAt": "2026-01-31T11:59:59Z" });
    unchangeable(&visit, "AppDeployment", "moves", Some("inputs"), &[(back, "spec.restartAt can only move forward")])
        .await;
    let later = json!({ "restartAt": "2026-01-31T12:00:01Z" });
    assert_eq!(change(&visit, "AppDeployment", Some("inputs"), "moves", &later).await, Ok(()));
}

#[tokio::test]
async fn backups_and_repositories_that_break_a_rule_are_refused() {
    let visit = Visit::shared().await;
    visit.apply(&namespace("inputs")).await;
    let with = |spec: Value| backup("inputs", "copy", &spec);
    let exactly = "exactly one of postgres and command must be set";
    let database = json!({
        "image": "registry.example/postgres:17", "host": "db", "database": "shop", "user": "dump",
        "passwordSecretRef": { "name": "db", "key": "password" },
    });
    let postgres = |over: Value| {
        let mut manifest = with(json!({}));
        manifest["spec"]["source"] = json!({ "postgres": merged(database.clone(), &over) });
        manifest
    };
    let command = |over: Value| with(json!({ "source": { "command": over } }));
    let mut nothing = with(json!({}));
    nothing["spec"]["source"] = json!({});
    refused(
        &visit,
        vec![
            (backup("inputs", &long(64), &json!({})), "", "metadata.name must be at most 63 characters long"),
            (nothing, "spec.source", exactly),
            (with(json!({ "source": { "postgres": database } })), "spec.source", exactly),
            (with(json!({ "repositoryRef": { "name": "" } })), "spec.repositoryRef.name", "at least 1"),
            (with(json!({ "deletionPolicy": "Keep" })), "spec.deletionPolicy", "\"Retain\", \"Delete\""),
            (with(json!({ "timeoutSeconds": 0 })), "spec.timeoutSeconds", "greater than or equal to 1"),
            (with(json!({ "timeoutSeconds": 604_801 })), "spec.timeoutSeconds", "604800"),
            (postgres(json!({ "image": "" })), "spec.source.postgres.image", "at least 1"),
            (postgres(json!({ "host": "" })), "spec.source.postgres.host", "at least 1"),
            (postgres(json!({ "host": long(254) })), "spec.source.postgres.host", "253"),
            (postgres(json!({ "port": 0 })), "spec.source.postgres.port", "greater than or equal to 1"),
            (postgres(json!({ "port": 65_536 })), "spec.source.postgres.port", "65535"),
            (postgres(json!({ "database": long(64) })), "spec.source.postgres.database", "63"),
            (postgres(json!({ "user": "" })), "spec.source.postgres.user", "at least 1"),
            (
                postgres(json!({ "passwordSecretRef": { "name": "" } })),
                "spec.source.postgres.passwordSecretRef.name",
                "at least 1",
            ),
            (
                postgres(json!({ "passwordSecretRef": { "key": null } })),
                "spec.source.postgres.passwordSecretRef.key",
                "Required",
            ),
            (command(json!({ "image": "" })), "spec.source.command.image", "at least 1"),
            (command(json!({ "command": [] })), "spec.source.command.command", "at least 1"),
            (command(json!({ "command": words(65) })), "spec.source.command.command", "64"),
            (command(json!({ "fileName": "../etc" })), "spec.source.command.fileName", "must be letters, digits, dots"),
            (command(json!({ "fileName": ".x" })), "spec.source.command.fileName", "must be letters, digits, dots"),
            (command(json!({ "fileName": long(129) })), "spec.source.command.fileName", "128"),
        ],
    )
    .await;
    accepted(
        &visit,
        vec![
            backup("inputs", &long(63), &json!({ "timeoutSeconds": 1, "deletionPolicy": "Delete" })),
            with(json!({ "timeoutSeconds": 604_800 })),
            postgres(json!({ "port": 65_535, "database": long(63), "user": long(63), "host": long(253) })),
            command(json!({ "command": words(64), "fileName": format!("{}._-", long(125)) })),
        ],
    )
    .await;

    let place = |spec: Value| {
        let mut manifest = repository("inputs", "store", &json!({}));
        manifest["spec"] = merged(json!({ "keySecretRef": { "name": "k", "key": "k" } }), &spec);
        manifest
    };
    let one = "exactly one of spec.filesystem and spec.s3 must be set";
    let folder = |over: Value| place(json!({ "filesystem": merged(json!({ "claimName": "vault" }), &over) }));
    let bucket = json!({ "endpoint": "https://s3.example", "bucket": "b", "credentialsSecretRef": { "name": "s3" } });
    let s3 = |over: Value| place(json!({ "s3": merged(bucket.clone(), &over) }));
    let relative = "must be a relative path without '..'";
    refused(
        &visit,
        vec![
            (place(json!({})), "spec.filesystem", one),
            (place(json!({ "filesystem": { "claimName": "v" }, "s3": bucket })), "spec.s3", one),
            (folder(json!({ "claimName": "" })), "spec.filesystem.claimName", "at least 1"),
            (folder(json!({ "path": "/abs" })), "spec.filesystem.path", relative),
            (folder(json!({ "path": "a/../b" })), "spec.filesystem.path", relative),
            (folder(json!({ "path": "" })), "spec.filesystem.path", "at least 1"),
            (folder(json!({ "path": long(257) })), "spec.filesystem.path", "256"),
            (s3(json!({ "endpoint": "s3.example.org" })), "spec.s3.endpoint", "must begin with https:// or http://"),
            (s3(json!({ "endpoint": "http://" })), "spec.s3.endpoint", "at least 8"),
            (s3(json!({ "bucket": "" })), "spec.s3.bucket", "at least 1"),
            (s3(json!({ "prefix": long(513) })), "spec.s3.prefix", "512"),
            (s3(json!({ "credentialsSecretRef": { "name": "" } })), "spec.s3.credentialsSecretRef.name", "at least 1"),
            (
                merged(folder(json!({})), &json!({ "spec": { "keySecretRef": { "key": "" } } })),
                "spec.keySecretRef.key",
                "at least 1",
            ),
        ],
    )
    .await;
    accepted(
        &visit,
        vec![
            folder(json!({ "path": "a/b.c_d-e" })),
            folder(json!({ "path": long(256) })),
            s3(json!({ "endpoint": "http://a", "bucket": long(255), "prefix": long(512) })),
        ],
    )
    .await;

    let inside = Some("inputs");
    visit.apply(&with(json!({}))).await;
    unchangeable(
        &visit,
        "Backup",
        "copy",
        inside,
        &[
            (json!({ "source": { "command": { "image": "other:1" } } }), "spec.source cannot be changed"),
            (json!({ "repositoryRef": { "name": "other" } }), "spec.repositoryRef cannot be changed"),
        ],
    )
    .await;
    assert_eq!(change(&visit, "Backup", inside, "copy", &json!({ "deletionPolicy": "Delete" })).await, Ok(()));
    let fixed = "the place of a repository cannot be changed";
    visit.apply(&folder(json!({}))).await;
    unchangeable(
        &visit,
        "BackupRepository",
        "store",
        inside,
        &[
            (json!({ "filesystem": { "path": "other" } }), fixed),
            (json!({ "filesystem": { "claimName": "other" } }), fixed),
            (json!({ "filesystem": null, "s3": bucket }), fixed),
        ],
    )
    .await;
    let mut remote = s3(json!({}));
    remote["metadata"]["name"] = json!("remote");
    visit.apply(&remote).await;
    unchangeable(
        &visit,
        "BackupRepository",
        "remote",
        inside,
        &[
            (json!({ "s3": { "endpoint": "https://other.example" } }), fixed),
            (json!({ "s3": { "bucket": "other" } }), fixed),
            (json!({ "s3": { "prefix": "other" } }), fixed),
            (json!({ "s3": null, "filesystem": { "claimName": "v" } }), fixed),
        ],
    )
    .await;
    let rotated = json!({ "s3": { "credentialsSecretRef": { "name": "new" } }, "keySecretRef": { "key": "new" } });
    assert_eq!(change(&visit, "BackupRepository", inside, "remote", &rotated).await, Ok(()));
}

#[test]
fn the_committed_definitions_are_the_generated_ones() {
    let output = trueup().arg("crds").output().expect("running trueup crds");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).expect("text");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let mut files = 0;
    for definition in printed.split("---\n").filter(|text| !text.is_empty()) {
        let parsed: Value = serde_yaml::from_str(definition).expect("YAML");
        let name = parsed["metadata"]["name"].as_str().expect("a definition's name").to_owned();
        let committed = std::fs::read_to_string(folder.join(format!("{name}.yaml")));
        let committed = committed.unwrap_or_else(|error| panic!("reading crds/{name}.yaml: {error}"));
        assert!(committed == definition, "crds/{name}.yaml is not what the types say; run `trueup crds --write crds`");
        files += 1;
    }
    let there = std::fs::read_dir(folder).expect("the folder crds").count();
    assert_eq!(there, files, "every file in crds is a definition that is printed");
}
