//! What a BillingSink's spec, Secrets and ConfigMaps make of its receiver.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{Context, ReconcileError};
use crate::{
    api::{BillingSinkSpec, CaBundle, ConfigMapKey, SecretKey, Sending, SinkMode},
    domain::{DestinationId, Labels, Selector, TenantName, Timestamp},
    ledger::{Opening, Start},
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

/// Which lanes the spec asks for, if its destination is new, and where they begin. Pure.
pub(super) fn opening(
    spec: &BillingSinkSpec,
    tenants: impl Iterator<Item = (TenantName, Labels)>,
    now: Timestamp,
) -> Result<Opening, String> {
    let start = match spec.start_at.as_str() {
        "Beginning" => Start::Beginning,
        "Now" => Start::Now,
        text => {
            let at: Timestamp = text.parse().map_err(|error| format!("spec.startAt is not a time: {error}"))?;
            if at > now {
                return Err(format!("spec.startAt, {at}, has not come yet; it is opened when it has"));
            }
            Start::At(at)
        }
    };
    let asked = spec.selector.clone().unwrap_or_default();
    let selector = Selector { kinds: asked.kinds.into_iter().collect(), tenant_labels: asked.tenant_labels };
    let by_label = !selector.tenant_labels.is_empty();
    let chosen = tenants.filter(|(_, labels)| by_label && selector.chooses_tenant(labels));
    let tenants = chosen.map(|(name, _)| name).collect();
    Ok(Opening { id: DestinationId::new(spec.destination_id.as_str()), start, selector, tenants })
}

fn wanted(spec: &BillingSinkSpec) -> Option<Wanted<'_>> {
    let shadow = spec.mode == SinkMode::Shadow;
    let timeout = |sending: &Sending| format!("{}s", sending.timeout_seconds);
    let limits = |concurrency: i32, sending: &Sending| Limits {
        concurrency: u32::try_from(concurrency).unwrap_or(1),
        events_per_second: sending.events_per_second.and_then(|rate| u32::try_from(rate).ok()),
        ..Limits::default()
    };
    if let Some(sink) = &spec.webhook {
        return Some(Wanted {
            sink_type: "webhook",
            settings: json!({ "url": sink.url, "timeout": timeout(&sink.sending), "batch": sink.batch, "shadow": shadow }),
            secret: Some(("signingKeys", &sink.secret_ref)),
            ca: sink.sending.ca_bundle.as_ref(),
            limits: limits(sink.concurrency, &sink.sending),
        });
    }
    if let Some(sink) = &spec.nats {
        return Some(Wanted {
            sink_type: "nats",
            settings: json!({
                "url": sink.url,
                "stream": sink.stream,
                "subjectPrefix": sink.subject_prefix,
                "timeout": timeout(&sink.sending),
                "shadow": shadow,
            }),
            secret: sink.credentials_ref.as_ref().map(|reference| ("credentials", reference)),
            ca: sink.sending.ca_bundle.as_ref(),
            limits: limits(sink.concurrency, &sink.sending),
        });
    }
    spec.openmeter.as_ref().map(|sink| Wanted {
        sink_type: "openmeter",
        settings: json!({ "url": sink.url, "timeout": timeout(&sink.sending), "shadow": shadow }),
        secret: sink.token_ref.as_ref().map(|reference| ("token", reference)),
        ca: sink.sending.ca_bundle.as_ref(),
        limits: limits(sink.concurrency, &sink.sending),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Kind;

    fn spec(over: &Value) -> BillingSinkSpec {
        let mut spec = json!({
            "destinationId": "billing", "startAt": "Beginning",
            "webhook": { "url": "https://billing.example", "secretRef": { "name": "billing", "key": "keys" } },
        });
        spec.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
        serde_json::from_value(spec).unwrap()
    }

    fn opened(over: &Value) -> Result<Opening, String> {
        let tenant = |name: &str, tier: &str| (TenantName::new(name), [("tier".to_owned(), tier.to_owned())].into());
        let now = "2026-02-01T00:00:00Z".parse().unwrap();
        opening(&spec(over), [tenant("acme", "gold"), tenant("initech", "free")].into_iter(), now)
    }

    #[test]
    fn a_destination_begins_where_the_spec_says_and_never_in_the_future() {
        assert_eq!(opened(&json!({})), Ok(Opening::of_everything(DestinationId::new("billing"))));
        assert_eq!(opened(&json!({ "startAt": "Now" })).unwrap().start, Start::Now);
        let at = "2026-01-31T12:00:00Z";
        assert_eq!(opened(&json!({ "startAt": at })).unwrap().start, Start::At(at.parse().unwrap()));
        let early = opened(&json!({ "startAt": "2026-03-01T00:00:00Z" })).unwrap_err();
        assert!(early.contains("has not come yet"), "{early}");
        let never = opened(&json!({ "startAt": "2026-02-30T00:00:00Z" })).unwrap_err();
        assert!(never.contains("spec.startAt is not a time"), "{never}");
    }

    #[test]
    fn a_selector_chooses_the_tenants_that_carry_its_labels() {
        let gold = opened(&json!({ "selector": { "kinds": ["Backup"], "tenantLabels": { "tier": "gold" } } })).unwrap();
        assert_eq!(gold.tenants, [TenantName::new("acme")].into());
        assert_eq!(gold.selector.kinds, [Kind::Backup].into());
    }

    #[test]
    fn a_rehearsal_is_one_for_every_receiver() {
        let settings = |over: &Value| wanted(&spec(over)).unwrap().settings["shadow"].clone();
        assert_eq!(settings(&json!({})), json!(false));
        let nats = json!({ "url": "nats://n", "stream": "S" });
        for over in [json!({ "mode": "Shadow" }), json!({ "mode": "Shadow", "webhook": null, "nats": nats })] {
            assert_eq!(settings(&over), json!(true));
        }
    }
}
