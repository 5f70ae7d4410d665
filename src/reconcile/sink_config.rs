//! What a BillingSink's spec, Secrets and ConfigMaps make of its receiver.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{Context, ReconcileError};
use crate::{
    api::{BillingSinkSpec, CaBundle, ConfigMapKey, SecretKey},
    outbox::Limits,
    sinks::SinkConfig,
};

/// A receiver as the spec asks for it. Pure.
struct Wanted<'a> {
    sink_type: &'static str,
    settings: Value,
    /// What each secret is called by the sink, and where it is.
    secret: Option<(&'static str, &'a SecretKey)>,
    ca: Option<&'a CaBundle>,
    limits: Limits,
}

/// A receiver with everything that was read for it.
pub(super) struct Configured {
    pub(super) config: SinkConfig,
    pub(super) limits: Limits,
    /// Secrets cannot be compared, so their versions stand for them.
    pub(super) versions: String,
}

fn wanted(spec: &BillingSinkSpec) -> Option<Wanted<'_>> {
    let seconds = |seconds: i32| format!("{seconds}s");
    let limits = |concurrency: i32, rate: Option<i32>| Limits {
        concurrency: u32::try_from(concurrency).unwrap_or(1),
        events_per_second: rate.and_then(|rate| u32::try_from(rate).ok()),
        ..Limits::default()
    };
    if let Some(sink) = &spec.webhook {
        return Some(Wanted {
            sink_type: "webhook",
            settings: json!({ "url": sink.url, "timeout": seconds(sink.timeout_seconds), "batch": sink.batch }),
            secret: Some(("signingKeys", &sink.secret_ref)),
            ca: sink.ca_bundle.as_ref(),
            limits: limits(sink.concurrency, sink.events_per_second),
        });
    }
    if let Some(sink) = &spec.nats {
        return Some(Wanted {
            sink_type: "nats",
            settings: json!({
                "url": sink.url,
                "stream": sink.stream,
                "subjectPrefix": sink.subject_prefix,
                "timeout": seconds(sink.timeout_seconds),
            }),
            secret: sink.credentials_ref.as_ref().map(|reference| ("credentials", reference)),
            ca: sink.ca_bundle.as_ref(),
            limits: limits(sink.concurrency, sink.events_per_second),
        });
    }
    spec.openmeter.as_ref().map(|sink| Wanted {
        sink_type: "openmeter",
        settings: json!({ "url": sink.url, "timeout": seconds(sink.timeout_seconds) }),
        secret: sink.token_ref.as_ref().map(|reference| ("token", reference)),
        ca: sink.ca_bundle.as_ref(),
        limits: limits(sink.concurrency, sink.events_per_second),
    })
}

/// Reads what the spec refers to. The inner error says what is wrong with it, and what to do.
pub(super) async fn read(
    context: &Context,
    spec: &BillingSinkSpec,
) -> Result<Result<Configured, String>, ReconcileError> {
    let Some(mut wanted) = wanted(spec) else {
        return Ok(Err("it names no receiver; set one of spec.webhook, spec.nats and spec.openmeter".to_owned()));
    };
    let (mut secrets, mut versions) = (BTreeMap::new(), Vec::new());
    if let Some((name, reference)) = wanted.secret {
        match secret(context, reference).await? {
            Ok(Text { text, version }) => {
                secrets.insert(name.to_owned(), SecretString::from(text));
                versions.push(version);
            }
            Err(trouble) => return Ok(Err(trouble)),
        }
    }
    let found = match wanted.ca {
        Some(CaBundle { secret_ref: Some(reference), .. }) => Some(secret(context, reference).await?),
        Some(CaBundle { config_map_ref: Some(reference), .. }) => Some(config_map(context, reference).await?),
        _ => None,
    };
    match found {
        Some(Ok(Text { text, version })) => {
            wanted.settings["caBundle"] = Value::String(text);
            versions.push(version);
        }
        Some(Err(trouble)) => return Ok(Err(trouble)),
        None => {}
    }
    let config = SinkConfig { sink_type: wanted.sink_type.to_owned(), settings: wanted.settings, secrets };
    Ok(Ok(Configured { config, limits: wanted.limits, versions: versions.join("-") }))
}

/// What stands under a key, and the version of its object.
struct Text {
    text: String,
    version: String,
}

async fn secret(context: &Context, reference: &SecretKey) -> Result<Result<Text, String>, ReconcileError> {
    let api: Api<Secret> = Api::namespaced(context.cluster.client().clone(), &context.namespace);
    let place = Place { kind: "Secret", namespace: &context.namespace, name: &reference.name, key: &reference.key };
    let found = api.get_opt(&reference.name).await.map_err(|error| place.unreadable(&error))?;
    Ok(place.text(found.map(|secret| {
        let value = secret.data.unwrap_or_default().remove(&reference.key);
        (secret.metadata.resource_version, value.and_then(|value| String::from_utf8(value.0).ok()))
    })))
}

async fn config_map(context: &Context, reference: &ConfigMapKey) -> Result<Result<Text, String>, ReconcileError> {
    let api: Api<ConfigMap> = Api::namespaced(context.cluster.client().clone(), &context.namespace);
    let place = Place { kind: "ConfigMap", namespace: &context.namespace, name: &reference.name, key: &reference.key };
    let found = api.get_opt(&reference.name).await.map_err(|error| place.unreadable(&error))?;
    Ok(place.text(found.map(|map| {
        let value = map.data.unwrap_or_default().remove(&reference.key);
        (map.metadata.resource_version, value)
    })))
}

/// Where a text is looked for.
struct Place<'a> {
    kind: &'static str,
    namespace: &'a str,
    name: &'a str,
    key: &'a str,
}

impl Place<'_> {
    fn unreadable(&self, error: &kube::Error) -> ReconcileError {
        ReconcileError::Configuration(format!("reading {} {}/{}: {error}", self.kind, self.namespace, self.name))
    }

    fn text(&self, found: Option<(Option<String>, Option<String>)>) -> Result<Text, String> {
        let Self { kind, namespace, name, key } = self;
        match found {
            None => Err(format!("{kind} {namespace}/{name} does not exist; create it with key {key}")),
            Some((_, None)) => Err(format!("{kind} {namespace}/{name} has no text under key {key}; add it")),
            Some((version, Some(text))) => Ok(Text { text, version: version.unwrap_or_default() }),
        }
    }
}
