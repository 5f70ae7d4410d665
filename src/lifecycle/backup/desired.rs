//! The Jobs of a backup, as manifests.

use serde_json::{Value, json};

use super::RepositoryView;
use crate::{
    api::{BackupRepositorySpec, BackupSource, BackupSpec, label},
    domain::Sequence,
    lifecycle::{
        ChildKind, Desired, Object, ObjectKey,
        children::{Owner, manifest},
    },
};

/// Where the two containers of a backup meet.
const SHARED: &str = "/trueup";
/// Where a filesystem repository is mounted.
const VOLUME: &str = "/repository";
/// Who the containers run as: nobody in particular, and never root.
const USER: i64 = 65_532;
/// A finished Job stays this long, so that a late twin of the request that made it finds it there.
const TOMBSTONE_SECONDS: i64 = 24 * 3600;

/// How the dump runs: its version first, then its bytes into the pipe, then how it ended.
///
/// The exit code is told by a file, renamed into place: the mover never takes the pipe's end for success.
const DUMP: &str = r#"set -u
"$DUMP_VERSION_OF" --version >/trueup/tool 2>/dev/null || echo unknown >/trueup/tool
"$@" >/trueup/pipe
code=$?
echo "$code" >/trueup/exit.tmp && mv /trueup/exit.tmp /trueup/exit
exit "$code"
"#;

/// The Job that dumps and stores.
pub(super) fn backup_job(
    backup: &Object<'_, BackupSpec>,
    owner: Owner<'_>,
    repository: &RepositoryView,
    mover_image: &str,
    name: &str,
    sequence: Sequence,
) -> Desired {
    let file = file_name(&backup.spec.source);
    let args = json!([
        "mover",
        "backup",
        "--pipe",
        format!("{SHARED}/pipe"),
        "--exit-file",
        format!("{SHARED}/exit"),
        "--tool-file",
        format!("{SHARED}/tool"),
        "--file",
        file,
        "--backup-uid",
        backup.uid.as_str(),
        "--backup",
        backup.name,
        "--namespace",
        backup.namespace,
        "--sequence",
        sequence.to_string(),
    ]);
    let shared = json!({ "name": "shared", "mountPath": SHARED });
    let prepare = json!({
        "name": "prepare",
        "image": mover_image,
        "command": ["mkfifo", "-m", "0666", format!("{SHARED}/pipe")],
        "securityContext": security(),
        "volumeMounts": [shared],
    });
    let mut dump = dump_container(&backup.spec.source);
    dump["volumeMounts"] = json!([shared]);
    let mover = mover_container(&repository.spec, mover_image, args, &[shared]);
    let content = job(
        backup.spec.timeout_seconds,
        &repository.spec,
        backup,
        json!({ "initContainers": [prepare], "containers": [dump, mover] }),
    );
    wrap(backup, owner, name, content)
}

/// The Job that removes the artifact.
pub(super) fn removal_job(
    backup: &Object<'_, BackupSpec>,
    owner: Owner<'_>,
    repository: &RepositoryView,
    mover_image: &str,
    name: &str,
) -> Desired {
    let args = json!(["mover", "forget", "--backup-uid", backup.uid.as_str()]);
    let mover = mover_container(&repository.spec, mover_image, args, &[]);
    let content = job(backup.spec.timeout_seconds, &repository.spec, backup, json!({ "containers": [mover] }));
    wrap(backup, owner, name, content)
}

fn wrap(backup: &Object<'_, BackupSpec>, owner: Owner<'_>, name: &str, content: Value) -> Desired {
    let namespace = backup.namespace.clone().unwrap_or_default();
    manifest(owner, ObjectKey::in_namespace(ChildKind::Job, namespace, name), &[], content)
}

fn job(timeout: i32, repository: &BackupRepositorySpec, backup: &Object<'_, BackupSpec>, containers: Value) -> Value {
    let mut pod = containers;
    let mut volumes = vec![json!({ "name": "shared", "emptyDir": {} }), json!({ "name": "scratch", "emptyDir": {} })];
    if let Some(filesystem) = &repository.filesystem {
        volumes.push(json!({ "name": "repository", "persistentVolumeClaim": { "claimName": filesystem.claim_name } }));
    }
    pod["restartPolicy"] = json!("Never");
    pod["volumes"] = json!(volumes);
    pod["automountServiceAccountToken"] = json!(false);
    pod["enableServiceLinks"] = json!(false);
    pod["securityContext"] = json!({
        "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
        "seccompProfile": { "type": "RuntimeDefault" },
    });
    json!({
        "spec": {
            // One try: whether there is another is for whoever reads the failure.
            "backoffLimit": 0,
            "activeDeadlineSeconds": timeout,
            "ttlSecondsAfterFinished": TOMBSTONE_SECONDS,
            "template": {
                "metadata": { "labels": { label::BACKUP: backup.name, label::MANAGED_BY: crate::api::MANAGER } },
                "spec": pod,
            },
        },
    })
}

fn security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] },
        "readOnlyRootFilesystem": true,
    })
}

fn resources() -> Value {
    json!({ "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "memory": "512Mi" } })
}

fn dump_container(source: &BackupSource) -> Value {
    let (image, command, version_of, env) = if let Some(postgres) = &source.postgres {
        let command = ["pg_dump", "--format=plain", "--no-password"].map(str::to_owned).to_vec();
        let env = json!([
            { "name": "PGHOST", "value": postgres.host },
            { "name": "PGPORT", "value": postgres.port.to_string() },
            { "name": "PGUSER", "value": postgres.user },
            { "name": "PGDATABASE", "value": postgres.database },
            { "name": "PGCONNECT_TIMEOUT", "value": "30" },
            { "name": "PGPASSWORD", "valueFrom": { "secretKeyRef": {
                "name": postgres.password_secret_ref.name, "key": postgres.password_secret_ref.key,
            } } },
        ]);
        (postgres.image.clone(), command, "pg_dump".to_owned(), env)
    } else {
        let command = source.command.as_ref();
        let words = command.map(|command| command.command.clone()).unwrap_or_default();
        let program = words.first().cloned().unwrap_or_default();
        let image = command.map(|command| command.image.clone()).unwrap_or_default();
        (image, words, program, json!(command.map(|command| command.env.clone()).unwrap_or_default()))
    };
    let mut env = env;
    if let Some(list) = env.as_array_mut() {
        list.push(json!({ "name": "DUMP_VERSION_OF", "value": version_of }));
    }
    let mut words = vec!["sh".to_owned(), "-c".to_owned(), DUMP.to_owned(), "dump".to_owned()];
    words.extend(command);
    json!({
        "name": "dump",
        "image": image,
        "command": words,
        "env": env,
        "resources": resources(),
        "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
        // The tail of its log is what people are shown when it fails.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    })
}

fn mover_container(repository: &BackupRepositorySpec, image: &str, args: Value, mounts: &[Value]) -> Value {
    let mut mounts = mounts.to_vec();
    mounts.push(json!({ "name": "scratch", "mountPath": "/tmp" }));
    if repository.filesystem.is_some() {
        mounts.push(json!({ "name": "repository", "mountPath": VOLUME }));
    }
    let mut env = vec![
        json!({ "name": "RESTIC_REPOSITORY", "value": location(repository) }),
        json!({ "name": "RESTIC_PASSWORD", "valueFrom": { "secretKeyRef": {
            "name": repository.key_secret_ref.name, "key": repository.key_secret_ref.key,
        } } }),
        json!({ "name": "RESTIC_CACHE_DIR", "value": "/tmp/restic" }),
        json!({ "name": "HOME", "value": "/tmp" }),
    ];
    if let Some(s3) = &repository.s3 {
        for (name, key) in [("AWS_ACCESS_KEY_ID", "accessKeyId"), ("AWS_SECRET_ACCESS_KEY", "secretAccessKey")] {
            env.push(json!({ "name": name, "valueFrom": { "secretKeyRef": {
                "name": s3.credentials_secret_ref.name, "key": key,
            } } }));
        }
    }
    json!({
        "name": "mover",
        "image": image,
        "args": args,
        "env": env,
        "resources": resources(),
        "securityContext": security(),
        "volumeMounts": mounts,
    })
}

/// The repository's address in restic's words.
pub(in crate::lifecycle) fn location(repository: &BackupRepositorySpec) -> String {
    if let Some(s3) = &repository.s3 {
        let prefix = s3.prefix.trim_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        return format!("s3:{}/{}{slash}{prefix}", s3.endpoint.trim_end_matches('/'), s3.bucket);
    }
    let path = repository.filesystem.as_ref().map(|filesystem| filesystem.path.clone()).unwrap_or_default();
    format!("{VOLUME}/{path}")
}

fn file_name(source: &BackupSource) -> String {
    match (&source.postgres, &source.command) {
        (Some(postgres), _) => format!("{}.sql", postgres.database),
        (None, Some(command)) => command.file_name.clone(),
        (None, None) => "artifact".into(),
    }
}
