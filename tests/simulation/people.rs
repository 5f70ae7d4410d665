//! How the steps are done: by clients to whom nothing happens, and with patience.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{Method, Request, header::CONTENT_TYPE};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::time::sleep;
use trueup::{
    api::{annotation, label},
    cluster::CustomKind,
};

use crate::{
    apiserver::{ApiServer, Key},
    nodes::Ailments,
    step::Step,
};

/// How long somebody tries who was told that it cannot be done now.
const PATIENCE: Duration = Duration::from_mins(40);
const PAUSE: Duration = Duration::from_millis(500);

/// Those who use the cluster.
pub struct People {
    server: ApiServer,
    client: Client,
    pub ailments: Ailments,
    /// What they took away and made again.
    reborn: Mutex<BTreeSet<Key>>,
}

/// Where objects of a kind are.
fn folder(plural: &str, namespace: Option<&str>) -> String {
    let group = match plural {
        "deployments" => "/apis/apps/v1",
        "namespaces" | "secrets" | "persistentvolumeclaims" => "/api/v1",
        "customresourcedefinitions" => "/apis/apiextensions.k8s.io/v1",
        _ => "/apis/trueup.dev/v1alpha1",
    };
    namespace.map_or_else(|| format!("{group}/{plural}"), |it| format!("{group}/namespaces/{it}/{plural}"))
}

/// The place of an object of this kind.
fn key(plural: &str, namespace: Option<String>, name: &str) -> Key {
    let group = if plural == "namespaces" { "" } else { "trueup.dev" };
    Key { group: group.to_owned(), plural: plural.to_owned(), namespace, name: name.to_owned() }
}

fn tenant_name(tenant: u8) -> String {
    format!("tenant-{tenant}")
}

fn namespace_of(tenant: u8) -> String {
    format!("tenant-{tenant}-prod")
}

fn app_name(app: u8) -> String {
    format!("app-{app}")
}

fn backup_name(backup: u8) -> String {
    format!("backup-{backup}")
}

fn tenant(tenant: u8) -> Value {
    json!({
        "apiVersion": "trueup.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": tenant_name(tenant) },
        "spec": {
            "plan": "team", "billing": { "account": format!("ACCOUNT-{tenant}") }, "namespaces": [{ "name": "prod" }],
        },
    })
}

fn app(number: u8) -> Value {
    json!({
        "apiVersion": "trueup.dev/v1alpha1", "kind": "AppDeployment", "metadata": { "name": app_name(number) },
        "spec": {
            "image": "registry.example/shop:1", "replicas": 2, "progressDeadlineSeconds": 60,
            "resources": { "cpu": "100m", "memory": "64Mi" },
        },
    })
}

fn backup(number: u8, good: bool) -> Value {
    let image = if good { "registry.example/dump:1" } else { "registry.example/broken:1" };
    json!({
        "apiVersion": "trueup.dev/v1alpha1", "kind": "Backup", "metadata": { "name": backup_name(number) },
        "spec": {
            "source": { "command": { "image": image, "command": ["dump"], "fileName": "all.sql" } },
            "repositoryRef": { "name": "vault" },
            "timeoutSeconds": 600,
            "deletionPolicy": if number.is_multiple_of(2) { "Retain" } else { "Delete" },
        },
    })
}

impl People {
    /// Those who use `server`.
    pub fn of(server: &ApiServer) -> Self {
        Self {
            server: server.clone(),
            client: server.client(),
            ailments: Ailments::default(),
            reborn: Mutex::default(),
        }
    }

    /// Does a step of people's. An error says what could not be done, however often it was tried.
    pub async fn carry_out(&self, step: Step) -> Result<(), String> {
        let inside = |tenant| Some(namespace_of(tenant));
        match step {
            Step::CreateTenant(number) => self.create("tenants", None, tenant(number)).await,
            Step::ChangePlan(number, other) => {
                let plan = if other { "enterprise" } else { "team" };
                self.specify("tenants", None, &tenant_name(number), json!({ "plan": plan })).await
            }
            Step::SuspendTenant(number, suspend) => {
                self.specify("tenants", None, &tenant_name(number), json!({ "suspend": suspend })).await
            }
            Step::DeleteTenant(number) => self.delete("tenants", None, &tenant_name(number)).await,
            Step::RebirthTenant(number) => {
                // Without its label and its tenant, nobody could say whose it is.
                self.wait_for("namespaces", None, &namespace_of(number), "labelled", |namespace| {
                    namespace.is_none_or(|it| it["metadata"]["labels"][label::TENANT] == tenant_name(number))
                })
                .await?;
                self.rebirth("tenants", None, &tenant_name(number)).await
            }
            Step::LoseNamespace(number) => {
                self.exists("namespaces", None, &namespace_of(number)).await?;
                self.delete("namespaces", None, &namespace_of(number)).await
            }
            Step::Relabel(number) => {
                // Nor could they, if it still bore the mark of a tenant before this one.
                let tenant = self.get("tenants", None, &tenant_name(number)).unwrap_or_default();
                let uid = &tenant["metadata"]["uid"];
                self.wait_for("namespaces", None, &namespace_of(number), "marked", |namespace| {
                    namespace.is_some_and(|it| it["metadata"]["annotations"][annotation::OWNER_UID] == *uid)
                })
                .await?;
                let labels = json!({ "metadata": { "labels": { label::TENANT: null } } });
                self.patch("namespaces", None, &namespace_of(number), labels).await
            }
            Step::CreateApp(tenant, number) => {
                self.ailments.is_sick(&namespace_of(tenant), &app_name(number), false);
                self.create("appdeployments", inside(tenant), app(number)).await
            }
            Step::Scale(tenant, number, replicas) => {
                self.specify("appdeployments", inside(tenant), &app_name(number), json!({ "replicas": replicas })).await
            }
            Step::Release(tenant, number, version, good) => {
                let name = if good { "shop" } else { "missing" };
                let image = json!({ "image": format!("registry.example/{name}:{version}") });
                self.specify("appdeployments", inside(tenant), &app_name(number), image).await
            }
            Step::SuspendApp(tenant, number, suspend) => {
                self.specify("appdeployments", inside(tenant), &app_name(number), json!({ "suspend": suspend })).await
            }
            Step::Sicken(tenant, number, sick) => {
                self.ailments.is_sick(&namespace_of(tenant), &app_name(number), sick);
                Ok(())
            }
            Step::DeleteApp(tenant, number) => self.delete("appdeployments", inside(tenant), &app_name(number)).await,
            Step::RebirthApp(tenant, number) => self.rebirth("appdeployments", inside(tenant), &app_name(number)).await,
            Step::ScaleByHand(tenant, number, replicas) => {
                let spec = json!({ "spec": { "replicas": replicas } });
                // There may be none to scale.
                self.once(Method::PATCH, "deployments", inside(tenant), &app_name(number), spec).await;
                Ok(())
            }
            Step::CreateBackup(tenant, number, good) => self.back_up(tenant, &backup(number, good)).await,
            Step::DeleteBackup(tenant, number) => self.delete("backups", inside(tenant), &backup_name(number)).await,
            Step::RebirthBackup(tenant, number) => self.rebirth("backups", inside(tenant), &backup_name(number)).await,
            Step::Wait(seconds) => {
                sleep(Duration::from_secs(seconds.into())).await;
                Ok(())
            }
            Step::Kill(_)
            | Step::Stop(_)
            | Step::Pause(..)
            | Step::SetClock(..)
            | Step::BillingDown(_)
            | Step::LedgerDown(_)
            | Step::ServerDown(_)
            | Step::Compact => Ok(()),
        }
    }

    /// Makes what is not there yet of the things that have to be there before everything else.
    pub async fn prepare(&self) -> Result<(), String> {
        for kind in CustomKind::ALL {
            let crd = json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": { "name": kind.crd_name() },
                "spec": { "group": "trueup.dev", "scope": "", "names": { "kind": "", "plural": "" }, "versions": [] },
                "status": { "conditions": [{ "type": "Established", "status": "True" }] },
            });
            self.create("customresourcedefinitions", None, crd).await?;
        }
        self.create("namespaces", None, json!({ "metadata": { "name": "trueup-system" } })).await?;
        let secret = json!({ "metadata": { "name": "billing" }, "data": { "keys": "d2hzZWM=" } });
        self.create("secrets", Some("trueup-system".into()), secret).await?;
        let sink = json!({
            "apiVersion": "trueup.dev/v1alpha1", "kind": "BillingSink", "metadata": { "name": "billing" },
            "spec": {
                "destinationId": "billing", "startAt": "Beginning",
                "webhook": {
                    "url": "https://billing.example", "secretRef": { "name": "billing", "key": "keys" },
                    "timeoutSeconds": 5,
                },
            },
        });
        self.create("billingsinks", None, sink).await
    }

    /// Makes a backup, and where it goes: until its name is free, and in the namespace that is there then.
    async fn back_up(&self, tenant: u8, backup: &Value) -> Result<(), String> {
        let mut waited = Duration::ZERO;
        loop {
            self.make_vault(tenant).await?;
            let answer = self.once(Method::POST, "backups", Some(namespace_of(tenant)), "", backup.clone()).await;
            if answer == 201 {
                return Ok(());
            }
            if waited >= PATIENCE {
                return Err(format!("making a backup of tenant {tenant} was answered {answer} for {PATIENCE:?}"));
            }
            sleep(PAUSE).await;
            waited += PAUSE;
        }
    }

    async fn make_vault(&self, tenant: u8) -> Result<(), String> {
        let inside = Some(namespace_of(tenant));
        let vault = |data: Value| json!({ "metadata": { "name": "vault" }, "data": data });
        let repository = json!({
            "apiVersion": "trueup.dev/v1alpha1", "kind": "BackupRepository", "metadata": { "name": "vault" },
            "spec": { "filesystem": { "claimName": "vault" }, "keySecretRef": { "name": "vault", "key": "password" } },
        });
        for (plural, object) in [
            ("secrets", vault(json!({ "password": "c2VjcmV0" }))),
            ("persistentvolumeclaims", vault(json!({}))),
            ("backuprepositories", repository),
        ] {
            if self.once(Method::GET, plural, inside.clone(), "vault", Value::Null).await == 404 {
                self.create(plural, inside.clone(), object).await?;
            }
        }
        Ok(())
    }

    async fn create(&self, plural: &str, namespace: Option<String>, object: Value) -> Result<(), String> {
        // Until its name is free, and its namespace is there.
        self.until(&[201], Method::POST, plural, namespace, "", object).await
    }

    async fn specify(&self, plural: &str, namespace: Option<String>, name: &str, spec: Value) -> Result<(), String> {
        self.patch(plural, namespace, name, json!({ "spec": spec })).await
    }

    async fn patch(&self, plural: &str, namespace: Option<String>, name: &str, patch: Value) -> Result<(), String> {
        self.until(&[200], Method::PATCH, plural, namespace, name, patch).await
    }

    async fn delete(&self, plural: &str, namespace: Option<String>, name: &str) -> Result<(), String> {
        // What was made for the one before goes with the one after it only if Trueup knew that one: a finalizer that was
        // taken off means that nothing is cleared away.
        if self.reborn().remove(&key(plural, namespace.clone(), name)) {
            self.wait_for(plural, namespace.clone(), name, "taken in", |object| {
                object.is_some_and(|it| it["status"]["ledger"]["uid"] == it["metadata"]["uid"])
            })
            .await?;
        }
        self.until(&[200], Method::DELETE, plural, namespace, name, Value::Null).await
    }

    async fn exists(&self, plural: &str, namespace: Option<String>, name: &str) -> Result<(), String> {
        self.until(&[200], Method::GET, plural, namespace, name, Value::Null).await
    }

    /// Takes an object away at once, whoever holds it, and makes it again as it was asked for.
    async fn rebirth(&self, plural: &str, namespace: Option<String>, name: &str) -> Result<(), String> {
        let key = key(plural, namespace.clone(), name);
        // Between its deletion and the end of its finalizers nobody has a chance to look.
        let Some(object) = self.server.within(|state, _| state.remove(&key)) else {
            return Err(format!("{plural} {name} in {namespace:?} is not there"));
        };
        let again = json!({
            "apiVersion": object["apiVersion"], "kind": object["kind"],
            "metadata": { "name": name }, "spec": object["spec"],
        });
        self.reborn().insert(key);
        self.create(plural, namespace, again).await
    }

    fn reborn(&self) -> MutexGuard<'_, BTreeSet<Key>> {
        self.reborn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, plural: &str, namespace: Option<String>, name: &str) -> Option<Arc<Value>> {
        let key = key(plural, namespace, name);
        self.server.within(|state, _| state.objects.get(&key).map(|kept| kept.object.clone()))
    }

    /// Waits until an object, if there is any, is as it should be.
    async fn wait_for(
        &self,
        plural: &str,
        namespace: Option<String>,
        name: &str,
        what: &str,
        holds: impl Fn(Option<&Value>) -> bool,
    ) -> Result<(), String> {
        let mut waited = Duration::ZERO;
        while !holds(self.get(plural, namespace.clone(), name).as_deref()) {
            if waited >= PATIENCE {
                return Err(format!("{plural} {name} in {namespace:?} was not {what} for {PATIENCE:?}"));
            }
            sleep(PAUSE).await;
            waited += PAUSE;
        }
        Ok(())
    }

    /// Tries until the answer is one of `wanted`.
    async fn until(
        &self,
        wanted: &[u16],
        method: Method,
        plural: &str,
        namespace: Option<String>,
        name: &str,
        body: Value,
    ) -> Result<(), String> {
        let mut waited = Duration::ZERO;
        loop {
            let answer = self.once(method.clone(), plural, namespace.clone(), name, body.clone()).await;
            if wanted.contains(&answer) {
                return Ok(());
            }
            if waited >= PATIENCE {
                return Err(format!(
                    "{method} {plural} {name} in {namespace:?} was answered {answer} for {PATIENCE:?}"
                ));
            }
            sleep(PAUSE).await;
            waited += PAUSE;
        }
    }

    async fn once(&self, method: Method, plural: &str, namespace: Option<String>, name: &str, body: Value) -> u16 {
        let folder = folder(plural, namespace.as_deref());
        let path = if name.is_empty() { folder } else { format!("{folder}/{name}") };
        self.send(method, &path, &body).await.0
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let form = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let bytes = if body.is_null() { vec![] } else { body.to_string().into_bytes() };
        let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, form);
        let request = request.body(Body::from(bytes)).expect("it is a request");
        let response = self.client.send(request).await.expect("nothing happens to this client");
        let code = response.status().as_u16();
        let bytes = response.into_body().collect_bytes().await.expect("it is whole");
        (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }
}
