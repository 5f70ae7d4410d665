//! The words every other module speaks: identities, times, states and events.
//!
//! Plain data only. Nothing here does I/O, and nothing here knows Kubernetes or SQL.

mod billable;
mod clock;
mod event;
mod hash;
mod ids;
mod kind;
mod manifest;
mod message;
mod random;
mod schema;
mod selector;
mod snapshot;
mod stream;
mod table;
mod time;
mod void;

pub use billable::Billable;
pub use clock::{Clock, ManualClock, SystemClock};
pub use event::{DATA_SCHEMA, Envelope, Event, EventData, EventFault, SealedEvent};
pub use hash::{Hash, ParseHashError};
pub use ids::{DestinationId, Epoch, Era, EventId, InstallationId, Position, Sequence, Shard, TenantName, Token, Uid};
pub use kind::{Kind, UnknownKind};
pub use manifest::{Ended, Failure, FailureReason, MESSAGE_LIMIT, Manifest, ManifestFault};
pub use message::Message;
pub use random::{Random, SeededRandom, SystemRandom};
pub use schema::{Published, published};
pub use selector::{Labels, Selector};
pub use snapshot::{SNAPSHOT_SCHEMA, SNAPSHOT_TYPE, Snapshot, SnapshotData};
pub use stream::{Head, Subject};
pub use table::{Deadline, State, StateRow, Table, Tables};
pub use time::{Effective, TimeSource, Timestamp};
pub use void::{VOID_SCHEMA, VOID_TYPE, Void, VoidData};
