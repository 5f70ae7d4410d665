//! Saying of objects how far Trueup may go for them, for people's commands. The controller itself only reads it.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{CustomKind, OwnerKey};
use crate::{
    api::{annotation, label},
    domain::Uid,
    lifecycle::{FINALIZER, mandate::Said},
};

/// What is said of an object now, and its UID; `None` if there is no such object.
pub async fn said_of(client: &Client, key: &OwnerKey) -> Result<Option<(Uid, Said)>, kube::Error> {
    let found = api(client, key).get_opt(&key.name).await?;
    Ok(found.map(|object| (Uid::new(object.uid().unwrap_or_default()), Said::by_annotations(object.annotations()))))
}

/// Says it.
pub async fn say_of(client: &Client, key: &OwnerKey, said: &Said) -> Result<(), kube::Error> {
    api(client, key).patch(&key.name, &PatchParams::default(), &Patch::Merge(saying(said))).await.map(drop)
}

/// The namespaces of a tenant.
pub async fn namespaces_of(client: &Client, tenant: &str) -> Result<BTreeSet<String>, kube::Error> {
    let api: Api<Namespace> = Api::all(client.clone());
    let found = api.list_metadata(&ListParams::default().labels(&format!("{}={tenant}", label::TENANT))).await?;
    Ok(found.items.iter().map(ResourceExt::name_any).collect())
}

/// A BillingSink that cannot be deleted at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// Its name.
    pub name: String,
    /// Events that wait to be sent.
    pub undelivered: i64,
    /// Resources whose events wait for a person.
    pub parked: i64,
}

/// The BillingSinks that carry Trueup's finalizer.
pub async fn held_sinks(client: &Client) -> Result<Vec<Held>, kube::Error> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &CustomKind::BillingSink.resource());
    let sinks = api.list(&ListParams::default()).await?;
    let held = sinks.items.iter().filter(|sink| sink.finalizers().iter().any(|found| found == FINALIZER));
    let count = |sink: &DynamicObject, field: &str| sink.data["status"][field].as_i64().unwrap_or(0);
    let held = held.map(|sink| Held {
        name: sink.name_any(),
        undelivered: count(sink, "undelivered"),
        parked: count(sink, "parked"),
    });
    Ok(held.collect())
}

/// The change that makes an object's annotations say it. Nothing else of the object is touched.
pub(super) fn saying(said: &Said) -> Value {
    json!({ "metadata": { "annotations": {
        annotation::RECONCILE: said.mandate.value(),
        annotation::RECONCILE_BY: said.by.as_deref().filter(|_| said.mandate.value().is_some()),
    } } })
}

fn api(client: &Client, key: &OwnerKey) -> Api<DynamicObject> {
    match &key.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &key.kind.resource()),
        None => Api::all_with(client.clone(), &key.kind.resource()),
    }
}
