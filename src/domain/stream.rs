//! One resource's stream: what it is about, and the ledger's last word on it.

use super::{Billable, Epoch, Era, Hash, Kind, Sequence, Shard, State, TenantName, Timestamp, Uid};

/// The resource that a transition is about, as it is known now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subject {
    /// Its UID: the stream.
    pub uid: Uid,
    /// Its kind.
    pub kind: Kind,
    /// Its namespace, where the kind has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The tenant it belongs to.
    pub tenant: TenantName,
    /// The tenant's billing account.
    pub account: String,
    /// The tenant's plan.
    pub plan: String,
    /// The stream that this one carries on, said when it opens.
    pub previous_uid: Option<Uid>,
}

/// The ledger's last word on one stream.
#[derive(Clone, PartialEq, Debug)]
pub struct Head {
    /// The resource, as of the newest row.
    pub subject: Subject,
    /// The shard that holds the stream, frozen when it opened.
    pub shard: Shard,
    /// The newest row's state.
    pub state: State,
    /// The newest row's sequence.
    pub sequence: Sequence,
    /// The newest row's hash.
    pub hash: Hash,
    /// The newest row's epoch.
    pub epoch: Epoch,
    /// The newest row's era.
    pub era: Era,
    /// The newest row's generation.
    pub generation: i64,
    /// The newest row's quantities.
    pub billable: Billable,
    /// The newest row's reason.
    pub reason: String,
    /// The newest row's message.
    pub message: String,
    /// The newest row's effective time.
    pub effective_at: Timestamp,
    /// The newest row's recorded time.
    pub recorded_at: Timestamp,
    /// The sequence of the row that entered the present state: what was claimed under it is named after it.
    pub entered: Sequence,
    /// When the present state was entered: the effective time of the newest row whose state differs from the one before.
    pub entered_at: Timestamp,
    /// The first row's effective time.
    pub opened_at: Timestamp,
    /// The effective time of the closing row; `None` while the stream is open.
    pub closed_at: Option<Timestamp>,
}
