//! Asks the cluster. Nothing here judges, and nothing is changed.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, fmt::rfc2822};
use k8s_openapi::{
    api::authorization::v1::{
        ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
        SubjectAccessReviewSpec,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, Client, api::PostParams, client::Body};
use serde_json::Value;

use super::{
    facts::{ApiServer, Cluster, Definition, DefinitionState, Right},
    rights::{Granted, granted},
    sinks,
};
use crate::{
    api::crds,
    cluster,
    domain::{Clock, Timestamp},
    lifecycle::{contained, mandate::Mandate},
};

/// Reviews under way at once.
const CONCURRENCY: usize = 8;

/// The version of the API server, and its clock.
pub async fn api_server(client: &Client, clock: &dyn Clock) -> Result<ApiServer, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let version = client.apiserver_version().await.map_err(|error| said(&error))?;
    // Some providers write `33+`.
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0);
    let version = (number(&version.major), number(&version.minor));
    Ok(ApiServer { version, ahead: ahead(client, clock).await })
}

/// How far the API server's clock is ahead of this machine's, by the header that every answer of HTTP carries. It has whole
/// seconds, so as much is known as that it reads between the two.
async fn ahead(client: &Client, clock: &dyn Clock) -> Option<SignedDuration> {
    let request = axum::http::Request::get("/version").body(Body::empty()).ok()?;
    let before = clock.now();
    let answer = client.send(request).await.ok()?;
    let after = clock.now();
    let date = answer.headers().get("date")?.to_str().ok()?;
    let read: Timestamp = rfc2822::parse(date).ok()?.timestamp().into();
    let second = 1_000_000;
    let (earliest, latest) = (read.as_micros(), read.as_micros() + second);
    let micros =
        if latest < before.as_micros() { latest - before.as_micros() } else { (earliest - after.as_micros()).max(0) };
    Some(SignedDuration::from_micros(micros))
}

/// Everything else.
pub async fn cluster(client: &Client, namespace: &str, service_account: Option<&str>) -> Cluster {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let named = cluster::named_installation(client, namespace).await;
    let said = cluster::said_of_installation(client, namespace).await.unwrap_or_default();
    let by = said.by.map_or_else(String::new, |by| format!(", by {by}"));
    Cluster {
        uid: cluster::cluster_uid(client).await.map_err(|error| text(&error)),
        definitions: definitions(client).await,
        subject: service_account.map_or_else(|| "whoever asks".to_owned(), |name| format!("{namespace}/{name}")),
        rights: rights(client, namespace, service_account).await,
        named: named.map(|found| found.map(|it| (it.id, it.cluster_uid))).map_err(|error| text(&error)),
        leadership: cluster::leadership(client, namespace).await.map_err(|error| text(&error)),
        sinks: sinks::look(client, namespace).await.map_err(|error| text(&error)),
        mandate: match said.mandate {
            Mandate::Act => None,
            Mandate::Record => Some(format!("the whole installation is paused{by}")),
            Mandate::Leave => Some(format!("the whole installation is detached{by}")),
        },
    }
}

async fn definitions(client: &Client) -> Vec<Definition> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut all = vec![];
    for ours in crds() {
        let name = ours.metadata.name.clone().unwrap_or_default();
        let state = match api.get_opt(&name).await {
            Ok(found) => found.map_or(DefinitionState::Missing, |found| state(&ours, &found)),
            Err(error) => DefinitionState::Unknown(error.to_string()),
        };
        all.push(Definition { name, state });
    }
    all
}

fn state(ours: &CustomResourceDefinition, theirs: &CustomResourceDefinition) -> DefinitionState {
    let conditions = theirs.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let established = conditions.into_iter().any(|found| found.type_ == "Established" && found.status == "True");
    if !established {
        return DefinitionState::NotEstablished;
    }
    let of = |crd: &CustomResourceDefinition| serde_json::to_value(&crd.spec.versions).unwrap_or(Value::Null);
    if contained(&of(ours), &of(theirs)) { DefinitionState::Current } else { DefinitionState::Differs }
}

async fn rights(client: &Client, namespace: &str, service_account: Option<&str>) -> Result<Vec<Right>, String> {
    let user = service_account.map(|name| format!("system:serviceaccount:{namespace}:{name}"));
    let asked = granted(namespace)?.into_iter().map(|granted| may(client, granted, user.as_deref()));
    stream::iter(asked).buffered(CONCURRENCY).try_collect().await.map_err(|error: kube::Error| error.to_string())
}

async fn may(client: &Client, granted: Granted, user: Option<&str>) -> Result<Right, kube::Error> {
    let attributes = ResourceAttributes {
        group: Some(granted.group.clone()),
        resource: Some(granted.resource.clone()),
        subresource: granted.subresource.clone(),
        name: granted.name.clone(),
        verb: Some(granted.verb.clone()),
        namespace: granted.namespace.clone(),
        ..ResourceAttributes::default()
    };
    let params = PostParams::default();
    let status = match user {
        None => {
            let spec = SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            };
            let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
            Api::<SelfSubjectAccessReview>::all(client.clone()).create(&params, &review).await?.status
        }
        Some(user) => {
            let groups = vec!["system:serviceaccounts".to_owned(), "system:authenticated".to_owned()];
            let spec = SubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                user: Some(user.to_owned()),
                groups: Some(groups),
                ..SubjectAccessReviewSpec::default()
            };
            let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
            Api::<SubjectAccessReview>::all(client.clone()).create(&params, &review).await?.status
        }
    };
    let allowed = status.is_some_and(|status| status.allowed);
    Ok(Right { resource: granted.what(), verb: granted.verb, allowed })
}
