//! The receivers that a BillingSink can name, one of which it must.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretKey;

/// A web server that takes CloudEvents, signed after Standard Webhooks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookSink {
    /// Its address.
    #[schemars(length(min = 8, max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self) && (url(self).getScheme() == 'https' || url(self).getScheme() == 'http')").message("must be an http or https address"))]
    pub url: String,
    /// The signing keys, one `whsec_...` a line: the first is current, a second is still accepted while it is rotated.
    /// The Secret is read from Trueup's own namespace.
    pub secret_ref: SecretKey,
    /// Whether several events, also of several resources, are sent in one message:
    /// `application/cloudevents-batch+json`.
    #[serde(default)]
    pub batch: bool,
    /// How many messages may be under way at once, no two of them about the same resource.
    #[serde(default = "concurrency")]
    #[schemars(range(min = 1, max = 256))]
    pub concurrency: i32,
    /// How it is sent to.
    #[serde(flatten)]
    pub sending: Sending,
}

/// A JetStream stream of NATS.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NatsSink {
    /// The addresses of its servers, apart by commas: `nats://HOST:PORT` or `tls://HOST:PORT`.
    #[schemars(length(min = 8, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^(nats|tls)://[^, @]+(, *(nats|tls)://[^, @]+)*$')").message("must be nats:// or tls:// addresses apart by commas, without credentials"))]
    pub url: String,
    /// The stream, which must exist and cover the subjects `<subjectPrefix>.>`.
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_-]+$')").message("must be letters, digits, dashes and underscores"))]
    pub stream: String,
    /// What subjects begin with; behind it come the installation, the kind and the resource's UID.
    #[serde(default = "subject_prefix")]
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$')").message("must be words of letters, digits, dashes and underscores, apart by dots"))]
    pub subject_prefix: String,
    /// A `.creds` file, an nkey seed or a token. The Secret is read from Trueup's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<SecretKey>,
    /// How many events may be under way at once, each of another resource.
    #[serde(default = "concurrency")]
    #[schemars(range(min = 1, max = 256))]
    pub concurrency: i32,
    /// How it is sent to.
    #[serde(flatten)]
    pub sending: Sending,
}

/// A server that speaks OpenMeter's API for events.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenMeterSink {
    /// Its address; events go to `/api/v1/events` there.
    #[schemars(length(min = 8, max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self) && (url(self).getScheme() == 'https' || url(self).getScheme() == 'http')").message("must be an http or https address"))]
    pub url: String,
    /// Its API key. The Secret is read from Trueup's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_ref: Option<SecretKey>,
    /// How many messages may be under way at once, no two of them about the same resource.
    #[serde(default = "few")]
    #[schemars(range(min = 1, max = 256))]
    pub concurrency: i32,
    /// How it is sent to.
    #[serde(flatten)]
    pub sending: Sending,
}

/// What may be said of every receiver.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sending {
    /// The CA that vouches for it, and the only one then. Without, the well-known ones do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<CaBundle>,
    /// How long one message may take, in seconds.
    #[serde(default = "timeout")]
    #[schemars(range(min = 1, max = 60))]
    pub timeout_seconds: i32,
    /// How many events may be sent per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub events_per_second: Option<i32>,
}

/// Certificates in PEM, in Trueup's own namespace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.configMapRef) != has(self.secretRef)").message("exactly one of configMapRef and secretRef must be set")
)]
pub struct CaBundle {
    /// A key of a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapKey>,
    /// A key of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKey>,
}

/// One key of a ConfigMap in Trueup's own namespace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ConfigMapKey {
    /// The ConfigMap's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key within it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn timeout() -> i32 {
    10
}

fn concurrency() -> i32 {
    16
}

/// Of messages that hold a hundred events each.
fn few() -> i32 {
    4
}

fn subject_prefix() -> String {
    "trueup".to_owned()
}
