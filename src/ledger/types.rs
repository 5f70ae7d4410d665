//! What is written to the ledger and what is read from it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::domain::{
    Billable, DestinationId, Effective, Epoch, Era, EventId, Hash, InstallationId, Kind, Labels, Position, Selector,
    Sequence, Shard, State, TenantName, TimeSource, Timestamp, Token, Uid,
};
pub use crate::domain::{Head, Subject};

/// Which cluster this ledger belongs to. Written once, when the ledger is new.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Installation {
    /// Random; stands in every event's source.
    pub id: InstallationId,
    /// The UID of the cluster's `kube-system` namespace.
    pub cluster_uid: Uid,
    /// The ledger's life, part of every event id.
    pub era: Era,
}

/// A shard's one locked row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardRow {
    /// Which shard.
    pub id: Shard,
    /// The term of whoever may write; 0 before the first.
    pub epoch: Epoch,
    /// Who that is, for people.
    pub holder: Option<String>,
    /// The position of the newest row; 0 when there is none.
    pub head: Position,
    /// The recorded time of the newest row.
    pub recorded_at: Option<Timestamp>,
}

impl ShardRow {
    /// A shard that nobody has taken yet.
    pub const fn unclaimed(id: Shard) -> Self {
        Self { id, epoch: Epoch::new(0), holder: None, head: Position::new(0), recorded_at: None }
    }
}

/// A transition that somebody wants recorded.
#[derive(Clone, PartialEq, Debug)]
pub struct Draft {
    /// The resource.
    pub subject: Subject,
    /// The stream's last sequence as the writer knew it when it decided; `None` opens the stream.
    ///
    /// If the ledger's is another, the draft is `Stale` and nothing is written.
    pub after: Option<Sequence>,
    /// The state from now on. The state before is the ledger's own word.
    pub to: State,
    /// Why, in one word.
    pub reason: String,
    /// Why, in a sentence of the fixed catalogue.
    pub message: String,
    /// The generation of the spec that was acted upon.
    pub generation: i64,
    /// When it happened.
    pub effective: Effective,
    /// What it costs from then on.
    pub billable: Billable,
    /// Free text for people (the tail of a log, say). Kept beside the ledger, never sent.
    pub evidence: Option<String>,
    /// The place of an earlier row that was voided for some receiver: this one states anew what holds.
    pub amends: Option<Sequence>,
    /// The labels of the tenant: they decide which destinations hear of a stream that this opens.
    pub labels: Labels,
}

/// What became of a draft.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// It is in the ledger, and this is the stream's head now.
    Appended(Arc<Head>),
    /// The stream had moved on; this is its head. Look again and decide anew.
    Stale(Option<Arc<Head>>),
    /// The state table does not allow it: a bug of whoever decided.
    Illegal(String),
}

/// One row of the ledger.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// The shard.
    pub shard: Shard,
    /// Its place in the shard's commit order.
    pub position: Position,
    /// The stream.
    pub uid: Uid,
    /// Its place in the stream.
    pub sequence: Sequence,
    /// Its id for receivers.
    pub event_id: EventId,
    /// The term in which it was written.
    pub epoch: Epoch,
    /// The state before.
    pub from: Option<State>,
    /// The state from then on.
    pub to: State,
    /// Why, in one word.
    pub reason: String,
    /// The spec's generation.
    pub generation: i64,
    /// The tenant.
    pub tenant: TenantName,
    /// When it happened.
    pub effective: Effective,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// The event's frozen bytes.
    pub body: Vec<u8>,
    /// The previous row's hash.
    pub prev_hash: Hash,
    /// This row's hash.
    pub hash: Hash,
    /// What people may want to read with it.
    pub evidence: Option<String>,
}

/// Which rows to read. Answers are ordered by shard and position.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RowQuery {
    /// Only of this stream.
    pub uid: Option<Uid>,
    /// Only of this kind, and of resources with this namespace and name.
    pub named: Option<(Kind, Option<String>, String)>,
    /// Only rows behind this place; the way to page through everything.
    pub after: Option<(Shard, Position)>,
    /// Only rows effective at this time or later.
    pub since: Option<Timestamp>,
    /// Only rows effective before this time.
    pub until: Option<Timestamp>,
    /// At most so many; 0 means 1,000.
    pub limit: u32,
}

impl RowQuery {
    /// The limit that holds when none is given.
    pub const DEFAULT_LIMIT: u32 = 1_000;

    /// How many rows to answer at most.
    pub const fn bound(&self) -> u32 {
        if self.limit == 0 { Self::DEFAULT_LIMIT } else { self.limit }
    }
}

/// Which old rows to remove, and how many at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PruneStep {
    /// Only rows recorded before this time.
    pub before: Timestamp,
    /// Only rows behind this place; the way to go on where the last step ended.
    pub after: Option<(Shard, Position)>,
    /// Look at no more than so many rows. PostgreSQL removes a whole partition at once, or nothing.
    pub limit: u32,
}

/// What a step of pruning did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PruneReport {
    /// Rows that are gone.
    pub removed: u64,
    /// Where to go on; `None` if there is nothing more to remove at this time.
    pub next: Option<(Shard, Position)>,
}

/// The newest row that a stream has lost to retention. What is left begins behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrunedRow {
    /// The stream.
    pub uid: Uid,
    /// Its place.
    pub sequence: Sequence,
    /// Its hash, which the next row is chained to.
    pub hash: Hash,
}

/// The state of one destination's lane for one stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LaneState {
    /// Nothing stands in its way.
    Open,
    /// Waiting for a person, with a reason.
    Parked,
}

/// An event to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutboxRow {
    /// Its place in the stream.
    pub sequence: Sequence,
    /// Its id.
    pub event_id: EventId,
    /// The bytes.
    pub body: Vec<u8>,
    /// When the ledger recorded it, for measuring lag.
    pub recorded_at: Timestamp,
}

impl From<&Row> for OutboxRow {
    fn from(row: &Row) -> Self {
        Self {
            sequence: row.sequence,
            event_id: row.event_id.clone(),
            body: row.body.clone(),
            recorded_at: row.recorded_at,
        }
    }
}

/// Which lanes to hold, for how long, and how much of each to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClaimRequest {
    /// Whose lanes.
    pub destination: DestinationId,
    /// At most so many lanes.
    pub lanes: u32,
    /// Of them, at most so many that wait for a retry. These are taken first, so that neither starves the other.
    pub retries: u32,
    /// At most so many events of each; at least 1.
    pub rows: u32,
    /// How long they are held; at most `lanes::MAX_LEASE`.
    pub lease: Duration,
    /// Proof of holding them. Never used twice.
    pub token: Token,
}

/// A lane held for a while, and what waits in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The destination.
    pub destination: DestinationId,
    /// The stream.
    pub uid: Uid,
    /// Proof of holding it.
    pub token: Token,
    /// The last sequence that the destination acknowledged.
    pub acked: Sequence,
    /// The stream's newest sequence.
    pub head: Sequence,
    /// Failed tries since the last success.
    pub attempts: u32,
    /// 409 answers since the last progress.
    pub rewinds: u32,
    /// How long ago the first of its events was first sent without anybody knowing what became of that; `None` if it
    /// never was.
    pub doubt: Option<Duration>,
    /// The next events in order, beginning behind `acked`. Never empty.
    pub rows: Vec<OutboxRow>,
}

/// What came of working on a claim. Each of them ends it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Settlement {
    /// Everything up to here was acknowledged; the lane is due again if more waits.
    Acked {
        /// The last acknowledged sequence.
        through: Sequence,
    },
    /// Something was acknowledged, perhaps, and then it failed: try again after `delay`.
    Retry {
        /// The last acknowledged sequence (the claim's own `acked` if none).
        through: Sequence,
        /// How long to wait.
        delay: Duration,
        /// What went wrong, for people.
        error: String,
    },
    /// The same, but whether the event behind `through` was taken is not known.
    Doubt {
        /// The last acknowledged sequence (the claim's own `acked` if none).
        through: Sequence,
        /// How long to wait.
        delay: Duration,
        /// How long ago it was sent, at most.
        age: Duration,
        /// What went wrong, for people.
        error: String,
    },
    /// The receiver said which sequence it expects: go back to it.
    Rewind {
        /// The sequence that it expects next.
        expected: Sequence,
        /// What it said, for people.
        error: String,
    },
    /// It cannot go on without a person.
    Park {
        /// The last acknowledged sequence.
        through: Sequence,
        /// Why, in one word (`permanent-refusal`, `receiver-ahead`, `rewind-loop`).
        reason: String,
        /// What went wrong, for people.
        error: String,
    },
}

/// One lane, for people and audits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LaneView {
    /// The destination.
    pub destination: DestinationId,
    /// The stream.
    pub uid: Uid,
    /// The last acknowledged sequence.
    pub acked: Sequence,
    /// The place where it begins; if not 1, with a snapshot.
    pub first: Sequence,
    /// The stream's newest sequence.
    pub head: Sequence,
    /// Open or parked.
    pub state: LaneState,
    /// Why it is parked.
    pub park_reason: Option<String>,
    /// Failed tries since the last success.
    pub attempts: u32,
    /// When it is tried next; since when it is parked.
    pub next_at: Timestamp,
    /// The last thing that went wrong.
    pub last_error: Option<String>,
    /// When the oldest undelivered row was recorded.
    pub oldest_undelivered: Option<Timestamp>,
}

impl LaneView {
    /// How many events were acknowledged in it.
    pub fn delivered(&self) -> u64 {
        u64::try_from(self.acked.get() - self.first.get() + 1).unwrap_or(0)
    }
}

/// Where a destination begins that is opened for the first time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// With all that the ledger has.
    Beginning,
    /// With how every open stream stands.
    Now,
    /// With how every stream stood that was open then.
    At(Timestamp),
}

impl Start {
    /// Rows recorded earlier than this are not sent.
    pub const fn cutoff(self) -> Timestamp {
        match self {
            Self::Beginning => Timestamp::from_micros(i64::MIN),
            Self::At(at) => at,
            Self::Now => Timestamp::from_micros(i64::MAX),
        }
    }
}

/// A destination as somebody asks for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opening {
    /// Which one.
    pub id: DestinationId,
    /// Where it begins, if it is new.
    pub start: Start,
    /// Which streams it hears of: of those that are there, if it is new; and of those that open from now on.
    pub selector: Selector,
    /// The tenants that the selector's labels choose now.
    pub tenants: BTreeSet<TenantName>,
}

impl Opening {
    /// All of every stream.
    pub fn of_everything(id: DestinationId) -> Self {
        Self { id, start: Start::Beginning, selector: Selector::default(), tenants: BTreeSet::new() }
    }

    /// Whether a stream that is there gets a lane.
    pub fn chooses(&self, subject: &Subject) -> bool {
        self.selector.chooses_kind(subject.kind)
            && (self.selector.tenant_labels.is_empty() || self.tenants.contains(&subject.tenant))
    }
}

/// What one destination is sent in the place of a row that it is not sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Voided {
    /// The destination.
    pub destination: DestinationId,
    /// The stream.
    pub uid: Uid,
    /// The row's place.
    pub sequence: Sequence,
    /// The void's id.
    pub event_id: EventId,
    /// The void's frozen bytes.
    pub body: Vec<u8>,
    /// When that was decided.
    pub recorded_at: Timestamp,
}

/// How a time source is written in a store.
pub fn time_source_from(text: &str) -> Option<TimeSource> {
    [TimeSource::Reported, TimeSource::Observed, TimeSource::Inferred, TimeSource::Clamped]
        .into_iter()
        .find(|source| source.as_str() == text)
}
