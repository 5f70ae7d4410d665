//! BillingSink: who is told.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, NatsSink, OpenMeterSink, WebhookSink};

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
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.webhook), has(self.nats), has(self.openmeter)].filter(set, set).size() == 1").message("exactly one of spec.webhook, spec.nats and spec.openmeter must be set"),
    validation = Rule::new("self.destinationId == oldSelf.destinationId").message("spec.destinationId cannot be changed: what was delivered is remembered under it"),
    validation = Rule::new("self.startAt == oldSelf.startAt").message("spec.startAt cannot be changed: it was used when the destination was opened")
)]
pub struct BillingSinkSpec {
    /// The name under which the ledger remembers what was delivered. It outlives this object: delete and recreate
    /// the sink with the same id, and it goes on after its last acknowledgement.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("must be lower-case letters, digits and dashes"))]
    pub destination_id: String,
    /// Where a new destination begins.
    pub start_at: StartAt,
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

/// Where a new destination begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum StartAt {
    /// With the first row of every stream.
    Beginning,
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
