//! BillingSink: who is told.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Condition, NatsSink, OpenMeterSink, WebhookSink};
use crate::domain::Kind;

/// A receiver of every transition, in order, at least once.
#[derive(CustomResource, Clone, PartialEq, Debug, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "trueup.dev",
    version = "v1alpha1",
    kind = "BillingSink",
    plural = "billingsinks",
    shortname = "tusink",
    category = "trueup",
    status = "BillingSinkStatus",
    derive = "PartialEq",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Undelivered", type_ = "integer", json_path = ".status.undelivered"),
    printcolumn(name = "Parked", type_ = "integer", json_path = ".status.parked"),
    printcolumn(name = "Last-Ack", type_ = "date", json_path = ".status.lastAckAt"),
    printcolumn(name = "Destination", type_ = "string", json_path = ".spec.destinationId", priority = 1),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.webhook), has(self.nats), has(self.openmeter)].filter(set, set).size() == 1").message("exactly one of spec.webhook, spec.nats and spec.openmeter must be set"),
    validation = Rule::new("self.destinationId == oldSelf.destinationId").message("spec.destinationId cannot be changed: what was delivered is remembered under it"),
    validation = Rule::new("self.startAt == oldSelf.startAt").message("spec.startAt cannot be changed: it was used when the destination was opened"),
    validation = Rule::new("self.mode == oldSelf.mode").message("spec.mode cannot be changed: what was rehearsed is never charged; give a live sink another destinationId"),
    validation = Rule::new("has(self.selector) == has(oldSelf.selector) && (!has(self.selector) || self.selector == oldSelf.selector)").message("spec.selector cannot be changed: the receiver would get streams without their beginning; use another destinationId"),
    validation = Rule::new("self.mode == 'Live' || !has(self.openmeter)").message("spec.mode Shadow needs a receiver that understands it; OpenMeter would charge for what it gets")
)]
pub struct BillingSinkSpec {
    /// The name under which the ledger remembers what was delivered. It outlives this object: delete and recreate
    /// the sink with the same id, and it goes on after its last acknowledgement.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("must be lower-case letters, digits and dashes"))]
    pub destination_id: String,
    /// Where a new destination begins: `Beginning` with the first row of every resource, `Now` with how every resource
    /// stands that is not over, a time in UTC with how they stood then. What does not begin with a first row begins with
    /// a `dev.trueup.snapshot.v1`.
    #[schemars(length(min = 3, max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^(Beginning|Now|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?Z)$')").message("must be Beginning, Now or a time in UTC such as 2026-01-31T12:00:00Z"))]
    pub start_at: String,
    /// `Shadow` rehearses: everything is sent as ever, and each message says (`trueup-mode: shadow`) that nobody is to be
    /// charged for it.
    #[serde(default)]
    pub mode: SinkMode,
    /// Which resources the receiver hears of; without, of all. It is asked when a resource's first row is written, so
    /// that nobody gets a part of a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<SinkSelector>,
    /// A web server that takes CloudEvents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookSink>,
    /// A JetStream stream of NATS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats: Option<NatsSink>,
    /// A server that speaks OpenMeter's API for events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openmeter: Option<OpenMeterSink>,
    /// Stops sending. Everything is kept and sent when this is taken back.
    #[serde(default)]
    pub suspend: bool,
    /// Lets the sink be deleted though it was not sent everything; what is owed is then forgotten.
    #[serde(default)]
    pub abandon_undelivered: bool,
}

/// Whether anybody is charged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub enum SinkMode {
    /// In earnest.
    #[default]
    Live,
    /// As a rehearsal.
    Shadow,
}

/// Chooses resources. One that names nothing chooses all.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SinkSelector {
    /// Only resources of these kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "kinds")]
    pub kinds: Vec<Kind>,
    /// Only resources whose Tenant carries all of these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub tenant_labels: BTreeMap<String, String>,
}

fn kinds(_: &mut SchemaGenerator) -> Schema {
    let names = Kind::ALL.map(Kind::as_str);
    json_schema!({ "type": "array", "maxItems": 8, "items": { "type": "string", "enum": names } })
}

/// What is known of a sink.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BillingSinkStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Events that wait to be sent, parked ones apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undelivered: Option<i64>,
    /// Resources whose events wait for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked: Option<i64>,
    /// The age of the oldest event that waits, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<i64>,
    /// When something was last acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_ack_at: Option<String>,
    /// The last thing that went wrong, while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// `Ready`, `Reconciling` and `Stalled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}
