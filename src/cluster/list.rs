//! The custom resources as the API server shows them, for commands that only look.

use std::collections::BTreeMap;

use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams},
};

use super::CustomKind;
use crate::{
    api::{Condition, LedgerRef},
    domain::{Era, Kind, Labels, Sequence, State, TenantName, Timestamp, Uid},
    ledger::comparisons::{Shown, ShownPlace},
    lifecycle::{
        FINALIZER,
        mandate::{Mandate, Said},
    },
};

/// How many objects are in one answer.
const PAGE: u32 = 500;

/// How fresh a list must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freshness {
    /// Everything that was written before it was asked for.
    Latest,
    /// What the API server has in its memory: milliseconds older, and far cheaper.
    Cached,
}

/// An object of a kind that has streams.
#[derive(Clone, PartialEq, Debug)]
pub struct Listed {
    /// What the ledger is compared with.
    pub shown: Shown,
    /// Whether somebody asked for it to be deleted.
    pub deleting: bool,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// What its own annotation says.
    pub mandate: Mandate,
    /// Whether it says that it is paused.
    pub paused: bool,
    /// The condition `Ready`.
    pub ready: Option<Condition>,
    /// The condition `Stalled`.
    pub stalled: Option<Condition>,
    /// Pods that are asked for.
    pub desired: Option<i64>,
    /// Pods that exist.
    pub pods: Option<i64>,
    /// Pods that are available.
    pub available: Option<i64>,
    /// Namespaces that it has, if it is a Tenant.
    pub namespaces: Option<i64>,
}

/// Every object in the cluster of a kind that has streams.
pub async fn list(client: &Client, freshness: Freshness) -> Result<Vec<Listed>, kube::Error> {
    let mut found = vec![];
    for kind in Kind::ALL {
        found.extend(objects(client, kind, freshness).await?.iter().map(|object| listed(kind, object)));
    }
    Ok(found)
}

/// The labels of every Tenant.
pub async fn tenant_labels(client: &Client) -> Result<BTreeMap<TenantName, Labels>, kube::Error> {
    let tenants = objects(client, Kind::Tenant, Freshness::Latest).await?;
    Ok(tenants.iter().map(|tenant| (TenantName::new(tenant.name_any()), tenant.labels().clone())).collect())
}

async fn objects(client: &Client, kind: Kind, freshness: Freshness) -> Result<Vec<DynamicObject>, kube::Error> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &CustomKind::of(kind).resource());
    let mut params = match freshness {
        Freshness::Latest => ListParams::default().limit(PAGE),
        // Pages would be read from the database again.
        Freshness::Cached => ListParams::default().match_any(),
    };
    let mut found = vec![];
    loop {
        let page = api.list(&params).await?;
        found.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(found),
        }
    }
}

fn listed(kind: Kind, object: &DynamicObject) -> Listed {
    let (spec, status) = (&object.data["spec"], &object.data["status"]);
    let place: Option<LedgerRef> = serde_json::from_value(status["ledger"].clone()).unwrap_or_default();
    let mut conditions: Vec<Condition> = serde_json::from_value(status["conditions"].clone()).unwrap_or_default();
    let mut condition = |wanted: &str| {
        let place = conditions.iter().position(|condition| condition.type_ == wanted)?;
        Some(conditions.swap_remove(place))
    };
    let (ready, stalled) = (condition("Ready"), condition("Stalled"));
    let shows_paused = condition("Paused").is_some_and(|condition| condition.status == "True");
    let stands = stalled.as_ref().filter(|condition| condition.status == "True");
    let paused = ready.as_ref().filter(|condition| condition.reason == "Paused");
    let waits_for = stands.or(paused).map(|condition| format!("{}: {}", condition.reason, condition.message));
    Listed {
        shown: Shown {
            uid: Uid::new(object.uid().unwrap_or_default()),
            kind,
            namespace: object.namespace(),
            name: object.name_any(),
            has_finalizer: object.finalizers().iter().any(|finalizer| finalizer == FINALIZER),
            state: status["state"].as_str().map(State::named),
            ledger: place.map(|place| ShownPlace {
                uid: Uid::new(place.uid),
                era: Era::new(place.era),
                sequence: Sequence::new(place.sequence),
                hash: place.hash,
            }),
            generation: object.metadata.generation,
            observed: status["observedGeneration"].as_i64(),
            waits_for,
        },
        deleting: object.metadata.deletion_timestamp.is_some(),
        created: object.creation_timestamp().map(|time| time.0.into()),
        mandate: Said::by_annotations(object.annotations()).mandate,
        paused: shows_paused,
        ready,
        stalled,
        desired: spec["replicas"].as_i64(),
        pods: status["replicas"].as_i64(),
        available: status["availableReplicas"].as_i64(),
        namespaces: status["namespaceCount"].as_i64(),
    }
}
