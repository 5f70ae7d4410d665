//! Every write to the API server, each under the lease and each with a deadline.

use std::{sync::Arc, time::Duration};

use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy},
    core::{ApiResource, DynamicObject},
};
use serde_json::{Value, json};

use super::{
    index::{OwnerKey, to_child},
    lease::LeaseTerm,
    resources::child_resource,
};
use crate::{
    api::MANAGER,
    lifecycle::{Child, ChildKind, Desired, FINALIZER, ObjectKey},
};

/// Why a request to the API server failed.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The API server said no, or could not be asked.
    #[error("{doing}: {}", said(.source))]
    Api {
        /// What was being done, to what.
        doing: String,
        /// What it said.
        source: Box<kube::Error>,
    },
    /// No answer within the deadline. It may have been carried out.
    #[error("{doing}: the API server did not answer within {} ms", .after.as_millis())]
    Timeout {
        /// What was being done, to what.
        doing: String,
        /// How long was waited.
        after: Duration,
    },
    /// What came back cannot be understood.
    #[error("reading the API server's answer about {what}: it is not an object")]
    Unreadable {
        /// What it was about.
        what: String,
    },
    /// The lease is too near its end for a write to be safe.
    #[error("{doing}: not sent, because the lease has too little time left")]
    LeaseEnding {
        /// What was being done, to what.
        doing: String,
    },
}

impl ClusterError {
    /// Whether the API server holds the request to be wrong, so that sending it again is of no use.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(&**source, kube::Error::Api(status) if status.is_invalid() || status.is_forbidden()))
    }

    /// Whether somebody else was faster, or what it was about is gone: looking again will tell.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(&**source, kube::Error::Api(status) if status.is_conflict() || status.is_not_found()))
    }

    /// A word for metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Api { .. } if self.is_conflict() => "conflict",
            Self::Api { .. } if self.is_terminal() => "refused",
            Self::Api { .. } => "api",
            Self::Timeout { .. } => "timeout",
            Self::Unreadable { .. } => "unreadable",
            Self::LeaseEnding { .. } => "lease",
        }
    }
}

/// Writes to the cluster, as long as the lease lasts.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    term: Arc<LeaseTerm>,
    timeout: Duration,
}

impl Cluster {
    /// Writes through `client` while `term` has more than `timeout` left; no request takes longer than that.
    pub fn new(client: Client, term: Arc<LeaseTerm>, timeout: Duration) -> Self {
        Self { client, term, timeout }
    }

    /// For what reads without a cache.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Makes `wanted` so by server-side apply, and answers what it has become.
    pub async fn apply(&self, wanted: &Desired) -> Result<Child, ClusterError> {
        let api = self.children(&wanted.key);
        let params = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&wanted.body);
        let object =
            self.write(|| format!("applying {}", wanted.key), api.patch(&wanted.key.name, &params, &patch)).await?;
        Self::child(wanted.key.kind, &object)
            .map(|child| Child { answer_to: wanted.digest().map(str::to_owned), ..child })
    }

    /// Reads one object past the caches.
    pub async fn get(&self, key: &ObjectKey) -> Result<Option<Child>, ClusterError> {
        let api = self.children(key);
        match self.bounded(|| format!("reading {key}"), api.get_opt(&key.name)).await? {
            Some(object) => Self::child(key.kind, &object).map(Some),
            None => Ok(None),
        }
    }

    /// Asks for an object to be deleted, if it is still the one with this UID. Gone already is fine.
    pub async fn delete(&self, key: &ObjectKey, uid: Option<&str>) -> Result<(), ClusterError> {
        let api = self.children(key);
        let params = DeleteParams {
            // Pods first, so that what is gone is gone.
            propagation_policy: Some(PropagationPolicy::Foreground),
            preconditions: uid.map(|uid| Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteParams::default()
        };
        match self.write(|| format!("deleting {key}"), api.delete(&key.name, &params)).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_conflict() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Replaces the status of `object`, if it is still the one with this UID.
    pub async fn show(&self, key: &OwnerKey, uid: &str, status: &Value) -> Result<DynamicObject, ClusterError> {
        let patch = json!([
            { "op": "test", "path": "/metadata/uid", "value": uid },
            { "op": "add", "path": "/status", "value": status },
        ]);
        let api = self.custom(key);
        let patch = json_patch(patch);
        let params = PatchParams::default();
        let request = api.patch_status(&key.name, &params, &patch);
        self.write(|| format!("showing the status of {}", describe(key)), request).await
    }

    /// Puts Trueup's finalizer on `object`.
    pub async fn add_finalizer(&self, key: &OwnerKey, object: &DynamicObject) -> Result<DynamicObject, ClusterError> {
        let add = if object.finalizers().is_empty() {
            json!({ "op": "add", "path": "/metadata/finalizers", "value": [FINALIZER] })
        } else {
            json!({ "op": "add", "path": "/metadata/finalizers/-", "value": FINALIZER })
        };
        let version = json!({ "op": "test", "path": "/metadata/resourceVersion", "value": object.resource_version() });
        self.patch(key, json!([version, add]), "putting the finalizer on").await
    }

    /// Takes Trueup's finalizer off `object`, if it is still the one with this UID.
    pub async fn remove_finalizer(
        &self,
        key: &OwnerKey,
        object: &DynamicObject,
    ) -> Result<DynamicObject, ClusterError> {
        let Some(patch) = finalizer_removal(object) else { return Ok(object.clone()) };
        self.patch(key, patch, "taking the finalizer off").await
    }

    /// Reads one of Trueup's own objects past the caches.
    pub async fn get_custom(&self, key: &OwnerKey) -> Result<Option<DynamicObject>, ClusterError> {
        self.bounded(|| format!("reading {}", describe(key)), self.custom(key).get_opt(&key.name)).await
    }

    async fn patch(&self, key: &OwnerKey, patch: Value, doing: &str) -> Result<DynamicObject, ClusterError> {
        let api = self.custom(key);
        let patch = json_patch(patch);
        let params = PatchParams::default();
        let request = api.patch(&key.name, &params, &patch);
        self.write(|| format!("{doing} {}", describe(key)), request).await
    }

    async fn write<T>(
        &self,
        doing: impl Fn() -> String,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ClusterError> {
        if self.term.remaining() <= self.timeout {
            return Err(ClusterError::LeaseEnding { doing: doing() });
        }
        self.bounded(doing, request).await
    }

    async fn bounded<T>(
        &self,
        doing: impl Fn() -> String,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ClusterError> {
        match tokio::time::timeout(self.timeout, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(ClusterError::Api { doing: doing(), source: Box::new(source) }),
            Err(_) => Err(ClusterError::Timeout { doing: doing(), after: self.timeout }),
        }
    }

    fn child(kind: ChildKind, object: &DynamicObject) -> Result<Child, ClusterError> {
        to_child(kind, object)
            .ok_or_else(|| ClusterError::Unreadable { what: format!("{} {}", kind.as_str(), object.name_any()) })
    }

    fn children(&self, key: &ObjectKey) -> Api<DynamicObject> {
        api(&self.client, &child_resource(key.kind), key.namespace.as_deref())
    }

    fn custom(&self, key: &OwnerKey) -> Api<DynamicObject> {
        api(&self.client, &key.kind.resource(), key.namespace.as_deref())
    }
}

/// What takes Trueup's finalizer off `object` and off nothing else; `None` if it has none.
fn finalizer_removal(object: &DynamicObject) -> Option<Value> {
    let at = object.finalizers().iter().position(|found| found == FINALIZER)?;
    let path = format!("/metadata/finalizers/{at}");
    Some(json!([
        // One that was made again under the same name has a stream of its own, which needs its finalizer.
        { "op": "test", "path": "/metadata/uid", "value": object.uid() },
        { "op": "test", "path": path, "value": FINALIZER },
        { "op": "remove", "path": path },
    ]))
}

fn api(client: &Client, resource: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

fn json_patch(operations: Value) -> Patch<Value> {
    // The patch is made of literals above, so it is always one.
    Patch::Json(serde_json::from_value(operations).unwrap_or_default())
}

/// Whether the API server answered and said no for good: no rights, no such namespace. Asking again is of no use.
pub fn is_refusal(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if (400..500).contains(&status.code) && !matches!(status.code, 408 | 409 | 429))
}

/// What the API server said, without the rest of its answer.
pub(super) fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => {
            // Most layers repeat what is below them; the connector does not, and below it is what people can act upon.
            let mut text = other.to_string();
            let mut below = std::error::Error::source(other);
            while let Some(source) = below {
                let said = source.to_string();
                if !text.contains(&said) {
                    text = format!("{text}: {said}");
                }
                below = source.source();
            }
            text
        }
    }
}

/// An object's kind and name, for people.
pub(super) fn describe(key: &OwnerKey) -> String {
    match &key.namespace {
        Some(namespace) => format!("{} {namespace}/{}", key.kind.name(), key.name),
        None => format!("{} {}", key.kind.name(), key.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(uid: &str, finalizers: &[&str]) -> DynamicObject {
        let metadata = json!({ "name": "web", "uid": uid, "finalizers": finalizers });
        serde_json::from_value(json!({ "metadata": metadata })).unwrap()
    }

    fn removed(known: &DynamicObject, standing: &DynamicObject) -> Option<Vec<String>> {
        let patch: json_patch::Patch = serde_json::from_value(finalizer_removal(known)?).unwrap();
        let mut standing = json!(standing);
        json_patch::patch(&mut standing, &patch).ok()?;
        serde_json::from_value(standing["metadata"]["finalizers"].clone()).ok()
    }

    #[test]
    fn only_our_own_finalizer_is_taken_off() {
        let web = object("a", &["other/one", FINALIZER]);
        assert_eq!(removed(&web, &web), Some(vec!["other/one".to_owned()]));
        assert_eq!(removed(&object("a", &["other/one"]), &web), None);
    }

    #[test]
    fn one_that_was_made_again_under_the_same_name_keeps_its_finalizer() {
        assert_eq!(removed(&object("a", &[FINALIZER]), &object("b", &[FINALIZER])), None);
    }
}
