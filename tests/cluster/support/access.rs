//! Reading and changing a cluster as its administrator.

use std::{path::Path, time::Duration};

use kube::{
    Api, Client, Config,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};
use trueup::domain::{Clock as _, SystemClock};

/// The resource of a kind that the tests use.
pub fn kind(name: &str) -> ApiResource {
    let (group, version) = match name {
        "Tenant" | "AppDeployment" | "Backup" | "BackupRepository" | "BillingSink" => ("trueup.dev", "v1alpha1"),
        "Deployment" | "ReplicaSet" | "StatefulSet" => ("apps", "v1"),
        "Job" => ("batch", "v1"),
        "NetworkPolicy" => ("networking.k8s.io", "v1"),
        "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding" => ("rbac.authorization.k8s.io", "v1"),
        "CustomResourceDefinition" => ("apiextensions.k8s.io", "v1"),
        "ValidatingWebhookConfiguration" => ("admissionregistration.k8s.io", "v1"),
        "SubjectAccessReview" => ("authorization.k8s.io", "v1"),
        "Lease" => ("coordination.k8s.io", "v1"),
        _ => ("", "v1"),
    };
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, name))
}

/// A way into a cluster.
#[derive(Clone)]
pub struct Access {
    client: Client,
    /// For how long a request is made again that was not answered.
    patience: Duration,
}

impl Access {
    /// By the kubeconfig file at `path`.
    pub async fn by(path: &Path) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let file = Kubeconfig::read_from(path).expect("the kubeconfig");
        let mut config =
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("the kubeconfig");
        config.proxy_url = None;
        Self { client: Client::try_from(config).expect("a client"), patience: Duration::ZERO }
    }

    /// The same, for a cluster whose API server dies now and then: asks again for as long as this.
    pub fn patiently(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Asks until there is an answer. `again` tells the request whether it may have been carried out before.
    async fn insist<T>(&self, mut ask: impl AsyncFnMut(bool) -> kube::Result<T>) -> kube::Result<T> {
        let clock = SystemClock::default();
        let mut again = false;
        loop {
            match ask(again).await {
                Err(error) if clock.monotonic() < self.patience && !is_answer(&error) => again = true,
                answer => return answer,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// For what is asked in the API server's own words.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The objects of a kind; in all namespaces if none is given.
    pub fn api(&self, kind_name: &str, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &kind(kind_name)),
            None => Api::all_with(self.client.clone(), &kind(kind_name)),
        }
    }

    /// Makes an object of a whole manifest, or says what the API server has against it.
    pub async fn try_create(&self, manifest: &Value, dry_run: bool) -> kube::Result<DynamicObject> {
        let object: DynamicObject = serde_json::from_value(manifest.clone()).expect("a manifest");
        let kind_name = manifest["kind"].as_str().expect("a manifest's kind");
        let api = self.api(kind_name, manifest["metadata"]["namespace"].as_str());
        self.insist(async |again| match api.create(&PostParams { dry_run, ..PostParams::default() }, &object).await {
            // Nobody else makes objects of these names: it was made, and the answer was lost.
            Err(kube::Error::Api(status)) if again && status.is_already_exists() => {
                api.get(&object.metadata.name.clone().unwrap_or_default()).await
            }
            answer => answer,
        })
        .await
    }

    /// Makes an object of a whole manifest.
    pub async fn create(&self, manifest: &Value) -> DynamicObject {
        self.try_create(manifest, false).await.unwrap_or_else(|error| panic!("creating {manifest}: {error}"))
    }

    /// Makes an object of a whole manifest, or changes the one that is there.
    pub async fn apply(&self, manifest: &Value) -> DynamicObject {
        let kind_name = manifest["kind"].as_str().expect("a manifest's kind");
        let name = manifest["metadata"]["name"].as_str().expect("a manifest's name");
        let api = self.api(kind_name, manifest["metadata"]["namespace"].as_str());
        let params = PatchParams::apply("test").force();
        let applied = self.insist(async |_| api.patch(name, &params, &Patch::Apply(manifest)).await).await;
        applied.unwrap_or_else(|error| panic!("applying {manifest}: {error}"))
    }

    /// One object, if it is there.
    pub async fn find(&self, kind: &str, namespace: Option<&str>, name: &str) -> Option<DynamicObject> {
        let api = self.api(kind, namespace);
        let found = self.insist(async |_| api.get_opt(name).await).await;
        found.unwrap_or_else(|error| panic!("reading {kind} {name}: {error}"))
    }

    /// One object, which must be there.
    pub async fn get(&self, kind: &str, namespace: Option<&str>, name: &str) -> DynamicObject {
        let found = self.find(kind, namespace, name).await;
        found.unwrap_or_else(|| panic!("{kind} {} {name} is not there", namespace.unwrap_or_default()))
    }

    /// All objects of a kind.
    pub async fn list(&self, kind: &str, namespace: Option<&str>) -> Vec<DynamicObject> {
        let api = self.api(kind, namespace);
        let found = self.insist(async |_| api.list(&ListParams::default()).await).await;
        found.unwrap_or_else(|error| panic!("listing {kind}: {error}")).items
    }

    /// Changes an object by a merge patch, or says what the API server has against it.
    pub async fn try_merge(
        &self,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
        patch: &Value,
    ) -> kube::Result<DynamicObject> {
        let api = self.api(kind, namespace);
        self.insist(async |_| api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await).await
    }

    /// Changes an object by a merge patch.
    pub async fn merge(&self, kind: &str, namespace: Option<&str>, name: &str, patch: &Value) -> DynamicObject {
        let changed = self.try_merge(kind, namespace, name, patch).await;
        changed.unwrap_or_else(|error| panic!("changing {kind} {name} by {patch}: {error}"))
    }

    /// Changes an object's spec by a merge patch.
    pub async fn respec(&self, kind: &str, namespace: Option<&str>, name: &str, spec: &Value) -> DynamicObject {
        self.merge(kind, namespace, name, &json!({ "spec": spec })).await
    }

    /// Replaces parts of an object's status, as the node or a controller of Kubernetes would.
    pub async fn restatus(&self, kind: &str, namespace: Option<&str>, name: &str, status: &Value) {
        let patch = json!({ "status": status });
        let api = self.api(kind, namespace);
        let changed = api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
        changed.unwrap_or_else(|error| panic!("changing the status of {kind} {name} by {patch}: {error}"));
    }

    /// Asks for an object to be deleted; fine if it is gone.
    pub async fn delete(&self, kind: &str, namespace: Option<&str>, name: &str) {
        let api = self.api(kind, namespace);
        match self.insist(async |_| api.delete(name, &DeleteParams::default()).await).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => panic!("deleting {kind} {name}: {error}"),
        }
    }
}

/// Whether the API server has decided. That it is too busy, or that its own store is away, decides nothing.
fn is_answer(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code < 500 && status.code != 429)
}
