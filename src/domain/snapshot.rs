//! What a lane begins with that does not begin with a stream's first row: how things stood at one row.
//!
//! A snapshot follows from its row alone, byte for byte, so it is made whenever it is sent and kept nowhere.
//!
//! Its fields stand in the order of their keys on the wire, as those of `event` do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Billable, Envelope, Event, EventFault, EventId, Hash, Kind, Sequence, State, TenantName, TimeSource, Timestamp, Uid,
};

/// The type of a snapshot.
pub const SNAPSHOT_TYPE: &str = "dev.trueup.snapshot.v1";

/// Where the JSON Schema of a snapshot's data is published.
pub const SNAPSHOT_SCHEMA: &str = "https://trueup.dev/schemas/snapshot.v1.json";

/// A snapshot in its envelope.
pub type Snapshot = Envelope<SnapshotData>;

/// How things stand with a resource since one row of its stream.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotData {
    /// The tenant's billing account.
    pub account: String,
    /// What it costs from `effectiveAt` until the stream's next event.
    pub billable: Billable,
    /// Since when this holds.
    pub effective_at: Timestamp,
    /// The ledger's life, 0 unless rows were once lost.
    #[schemars(range(min = 0))]
    pub era: i64,
    /// The generation of the spec that was acted upon.
    #[schemars(range(min = 0))]
    pub generation: i64,
    /// The hash of the row: what the next event follows.
    pub hash: Hash,
    /// The resource's kind.
    pub kind: Kind,
    /// The resource's name.
    pub name: String,
    /// The resource's namespace; null where the kind has none.
    pub namespace: Option<String>,
    /// It has held since no later than this.
    pub not_after: Timestamp,
    /// It has held since no earlier than this.
    pub not_before: Timestamp,
    /// The tenant's plan.
    pub plan: String,
    /// The hash of the row before.
    pub prev_hash: Hash,
    /// The stream that this one carries on, when its object was made anew.
    pub previous_uid: Option<Uid>,
    /// The place of the row in the stream.
    #[schemars(range(min = 1))]
    pub sequence: Sequence,
    /// The state.
    pub state: State,
    /// The tenant it belongs to.
    pub tenant: TenantName,
    /// Where `effectiveAt` came from.
    pub time_source: TimeSource,
    /// The resource's UID: the stream.
    pub uid: Uid,
}

impl Snapshot {
    /// The id of the snapshot at the event `id`.
    pub fn id_of(id: &EventId) -> EventId {
        EventId::new(format!("{id}-snapshot"))
    }

    /// How things stood at `event`.
    pub fn of(event: Event) -> Result<Self, EventFault> {
        let data = event.data;
        let hash = data.hash.ok_or_else(|| EventFault::Unsealed(event.id.clone()))?;
        Ok(Self {
            data: SnapshotData {
                account: data.account,
                billable: data.billable,
                effective_at: data.effective_at,
                era: data.era,
                generation: data.generation,
                hash,
                kind: data.kind,
                name: data.name,
                namespace: data.namespace,
                not_after: data.not_after,
                not_before: data.not_before,
                plan: data.plan,
                prev_hash: data.prev_hash,
                previous_uid: data.previous_uid,
                sequence: data.sequence,
                state: data.to,
                tenant: data.tenant,
                time_source: data.time_source,
                uid: data.uid,
            },
            datacontenttype: event.datacontenttype,
            dataschema: SNAPSHOT_SCHEMA.to_owned(),
            id: Self::id_of(&event.id),
            partitionkey: event.partitionkey,
            recordedtime: event.recordedtime,
            sequence: event.sequence,
            source: event.source,
            specversion: event.specversion,
            subject: event.subject,
            time: event.time,
            event_type: SNAPSHOT_TYPE.to_owned(),
        })
    }

    /// The bytes that are sent: canonical JSON.
    pub fn body(&self) -> Result<Vec<u8>, EventFault> {
        Ok(serde_json::to_vec(self)?)
    }
}
