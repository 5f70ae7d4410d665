//! What is sent in the place of a row that somebody decided not to send.
//!
//! A void carries the row's links of the chain, so that a receiver advances over it and verifies what follows. It says
//! nothing of the row's state: whoever has not applied the row goes on with the state before it.
//!
//! Its fields stand in the order of their keys on the wire, as those of `event` do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Envelope, Event, EventFault, EventId, Hash, Kind, Sequence, TenantName, Timestamp, Uid};

/// The type of a void.
pub const VOID_TYPE: &str = "dev.trueup.void.v1";

/// Where the JSON Schema of a void's data is published.
pub const VOID_SCHEMA: &str = "https://trueup.dev/schemas/void.v1.json";

/// A void in its envelope.
pub type Void = Envelope<VoidData>;

/// A place in a stream, without what stood there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VoidData {
    /// The tenant's billing account.
    pub account: String,
    /// The ledger's life, 0 unless rows were once lost.
    #[schemars(range(min = 0))]
    pub era: i64,
    /// The id of the event that is not sent.
    pub event_id: EventId,
    /// The hash of the event that is not sent: what the next one follows.
    pub hash: Hash,
    /// The resource's kind.
    pub kind: Kind,
    /// The resource's name.
    pub name: String,
    /// The resource's namespace; null where the kind has none.
    pub namespace: Option<String>,
    /// The tenant's plan.
    pub plan: String,
    /// The hash of the stream's previous event; 64 zeros on the first.
    pub prev_hash: Hash,
    /// The place in the stream.
    #[schemars(range(min = 1))]
    pub sequence: Sequence,
    /// The tenant it belongs to.
    pub tenant: TenantName,
    /// The resource's UID: the stream.
    pub uid: Uid,
}

impl Void {
    /// The id of the void of the event `id`.
    pub fn id_of(id: &EventId) -> EventId {
        EventId::new(format!("{id}-void"))
    }

    /// The void of `event`, decided at `at`.
    pub fn of(event: Event, at: Timestamp) -> Result<Self, EventFault> {
        let data = event.data;
        let hash = data.hash.ok_or_else(|| EventFault::Unsealed(event.id.clone()))?;
        Ok(Self {
            data: VoidData {
                account: data.account,
                era: data.era,
                event_id: event.id.clone(),
                hash,
                kind: data.kind,
                name: data.name,
                namespace: data.namespace,
                plan: data.plan,
                prev_hash: data.prev_hash,
                sequence: data.sequence,
                tenant: data.tenant,
                uid: data.uid,
            },
            datacontenttype: event.datacontenttype,
            dataschema: VOID_SCHEMA.to_owned(),
            id: Self::id_of(&event.id),
            partitionkey: event.partitionkey,
            recordedtime: at,
            sequence: event.sequence,
            source: event.source,
            specversion: event.specversion,
            subject: event.subject,
            time: at,
            event_type: VOID_TYPE.to_owned(),
        })
    }

    /// The bytes that are stored and sent: canonical JSON.
    pub fn body(&self) -> Result<Vec<u8>, EventFault> {
        Ok(serde_json::to_vec(self)?)
    }
}
