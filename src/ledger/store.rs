//! What a database must do to hold the ledger.
//!
//! Every method that does more than one thing does it in one transaction. Drivers write SQL and nothing
//! else: what a batch becomes is decided in `batch`, which all of them call.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;

use super::{
    ahead::Ahead,
    fault,
    interventions::{Intervention, Refusal, Request},
    past::{PastQuery, PastState},
    reinstate::Returned,
    types::{
        Claim, ClaimRequest, Draft, Head, Installation, LaneView, Opening, Outcome, PruneReport, PruneStep, PrunedRow,
        Row, RowQuery, Settlement, ShardRow, Voided,
    },
};
use crate::domain::{DestinationId, Epoch, Position, Selector, Sequence, Shard, Timestamp, Token, Uid};

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or it ended the connection. Trying again may help.
    #[error("{doing}: the ledger's database does not answer: {source}")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// It answered that this cannot be done.
    #[error("{doing}: the ledger's database refused: {source}")]
    Refused {
        /// What was being done.
        doing: &'static str,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// What it holds is not what a ledger holds.
    #[error("{doing}: the ledger is damaged: {what}; run `trueup audit` and restore from a backup of the ledger")]
    Corrupt {
        /// What was being done.
        doing: &'static str,
        /// What was found.
        what: String,
    },
    /// Nobody has said yet which cluster this ledger belongs to.
    #[error("{doing}: the ledger belongs to no installation yet; start the controller once, which records it")]
    NoInstallation {
        /// What was being done.
        doing: &'static str,
    },
    /// There is no file where the ledger should be.
    #[error(
        "there is no ledger at {}: no such file; start `trueup controller` once, which makes it, or point DATABASE_URL \
         at the ledger that it writes", path.display()
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// What is there is something else.
    #[error("the database holds no ledger ({source}); point DATABASE_URL at the one that `trueup controller` writes")]
    NotALedger {
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// The address in DATABASE_URL is not one.
    #[error("DATABASE_URL cannot be used: {why}; write sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE")]
    Address {
        /// What is wrong with it, without the password.
        why: String,
    },
}

impl StoreError {
    /// A word for metrics and for the reasons of conditions.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "LedgerUnavailable",
            Self::Refused { .. } => "LedgerRefused",
            Self::Corrupt { .. } => "LedgerCorrupt",
            Self::NoInstallation { .. } => "LedgerNotInstalled",
            Self::Missing { .. } => "LedgerMissing",
            Self::NotALedger { .. } => "NotALedger",
            Self::Address { .. } => "LedgerAddress",
        }
    }

    /// Whether the same request may succeed later without anybody's help.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// Whether the database lets nobody in until somebody mends that: a password, an account. Connections that are open go on,
    /// so it may come to light hours after the change.
    pub fn shuts_out(&self) -> bool {
        matches!(self, Self::Refused { source, .. } if fault::shuts_out(source))
    }
}

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another process leads now. Whoever gets this must stop acting.
    #[error("epoch {mine} of shard {shard} has ended: epoch {current} leads now")]
    Fenced {
        /// The shard.
        shard: Shard,
        /// The writer's term.
        mine: Epoch,
        /// The term that is valid.
        current: Epoch,
    },
    /// The transaction did not commit, for certain. Nothing was written.
    #[error(transparent)]
    NotCommitted(StoreError),
    /// The commit was sent and its answer lost: it may have happened. Only reading can tell.
    #[error("the outcome of a commit is unknown: {0}")]
    Unknown(StoreError),
}

/// A database that holds the ledger.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Creates or upgrades the tables.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// Which cluster this ledger belongs to: what is stored, or `proposed` if nothing was (then it is stored).
    async fn installation(&self, proposed: &Installation) -> Result<Installation, StoreError>;

    /// The same, without proposing one: for commands that only read.
    async fn stored_installation(&self) -> Result<Option<Installation>, StoreError>;

    /// Begins the next epoch of `shard` for `holder`. From this moment every older epoch is fenced.
    ///
    /// Lanes that a relay of an older epoch holds fall due at once: if it died, nobody waits for its leases to end, and if
    /// it lives, whoever claims them takes its token's force.
    async fn take_over(&self, shard: Shard, holder: &str) -> Result<Epoch, StoreError>;

    /// The shard's row.
    async fn shard(&self, shard: Shard) -> Result<ShardRow, StoreError>;

    /// Appends `drafts` in one transaction and says, in their order, what became of each.
    ///
    /// Repeats of one stream are chained in their order. `now` is the writer's clock; the recorded time is never
    /// earlier than the shard's last. Lanes of every open destination are moved, or made, in the same transaction.
    async fn append(
        &self,
        shard: Shard,
        epoch: Epoch,
        now: Timestamp,
        drafts: &[Draft],
    ) -> Result<Vec<Outcome>, AppendError>;

    /// So many drafts make a batch that is better written while the next is being decided. One of fewer costs nearly as much
    /// as one of twice as many, so that it waits for company.
    fn many(&self) -> usize {
        64
    }

    /// Begins to decide what `drafts` will become behind what is being appended at this moment, if this process knows all
    /// that it takes. Reads nothing.
    fn ahead(&self, _shard: Shard, _epoch: Epoch, _now: Timestamp, _drafts: &[Draft]) -> Option<Ahead> {
        None
    }

    /// Appends `drafts`, all of which `ahead` has taken: without deciding again, if what it stands on came true.
    async fn append_ahead(
        &self,
        shard: Shard,
        epoch: Epoch,
        now: Timestamp,
        drafts: &[Draft],
        _ahead: Ahead,
    ) -> Result<Vec<Outcome>, AppendError> {
        self.append(shard, epoch, now, drafts).await
    }

    /// Takes rows back that the ledger lost, in one transaction, and says, in their order, what became of each.
    ///
    /// Each is taken as it was sent, if it continues its stream; see `reinstate`. The caller gives them in the order of
    /// their recorded times.
    async fn reinstate(
        &self,
        shard: Shard,
        epoch: Epoch,
        now: Timestamp,
        returned: &[Returned],
    ) -> Result<Vec<Outcome>, AppendError>;

    /// Gives the ledger to another cluster, or begins another era. Fenced, as an append is: a writer of an older epoch
    /// never writes under the new name.
    async fn replace_installation(
        &self,
        shard: Shard,
        epoch: Epoch,
        installation: &Installation,
    ) -> Result<(), AppendError>;

    /// The last word on one stream.
    async fn head(&self, uid: &Uid) -> Result<Option<Head>, StoreError>;

    /// Heads in the order of their UID, behind `after`, at most `limit`; only open streams if `open_only`.
    async fn heads(&self, after: Option<&Uid>, open_only: bool, limit: u32) -> Result<Vec<Head>, StoreError>;

    /// Rows, ordered by shard and position.
    async fn rows(&self, query: &RowQuery) -> Result<Vec<Row>, StoreError>;

    /// Rows in the order of stream and sequence, behind `after`: what an audit walks.
    async fn stream_rows(&self, after: Option<(&Uid, Sequence)>, limit: u32) -> Result<Vec<Row>, StoreError>;

    /// The resources that existed at a moment in the past, in the order of their UID, each with the row that held then.
    async fn past(&self, query: &PastQuery) -> Result<Vec<PastState>, StoreError>;

    /// One row of a stream.
    async fn row(&self, uid: &Uid, sequence: Sequence) -> Result<Option<Row>, StoreError>;

    /// Removes old rows: those that every lane has behind it, but for each stream's newest, which stays for ever.
    ///
    /// What is left of a stream is always its end, without a gap. What it lost is noted first ([`Store::pruned`]).
    async fn prune(&self, step: &PruneStep) -> Result<PruneReport, StoreError>;

    /// Of those of `uids` that lost rows, the newest that each lost.
    async fn pruned(&self, uids: &[Uid]) -> Result<Vec<PrunedRow>, StoreError>;

    /// Up to here, rows of `shard` may be missing; 0 if nothing was ever removed.
    async fn pruned_until(&self, shard: Shard) -> Result<Position, StoreError>;

    /// Opens a destination: makes a lane for each stream that it hears of, and from then on for each such stream that
    /// opens. Where they begin is said by `opening.start`; a stream whose first rows were pruned begins behind those.
    ///
    /// Takes the lock of every shard, so that no append can slip between. Answers whether the destination is new. One
    /// that is not keeps its lanes as they are, and hears from now on of what `opening.selector` chooses.
    async fn open(&self, opening: &Opening, now: Timestamp) -> Result<bool, StoreError>;

    /// Opens a destination that is told everything.
    async fn open_destination(&self, destination: &DestinationId, now: Timestamp) -> Result<bool, StoreError> {
        self.open(&Opening::of_everything(destination.clone()), now).await
    }

    /// The selectors of those destinations that do not hear of every stream, or once did not.
    async fn selectors(&self) -> Result<Vec<(DestinationId, Selector)>, StoreError>;

    /// The destinations that were opened and not closed.
    async fn destinations(&self) -> Result<Vec<DestinationId>, StoreError>;

    /// Forgets a destination and its lanes; what they still owed is abandoned. Answers how many lanes owed something.
    async fn close_destination(&self, destination: &DestinationId) -> Result<u64, StoreError>;

    /// Holds due lanes for a while, and reads the next events of each.
    ///
    /// Due: open, behind its head, its waiting time over, and held by nobody. Two statements: the lanes first, their
    /// rows in a second one with a fresh view, since within one statement a claim can miss the row that woke it.
    async fn claim(&self, request: &ClaimRequest, now: Timestamp) -> Result<Vec<Claim>, StoreError>;

    /// Ends claims, each with what came of it. A claim whose token no longer holds its lane changes nothing.
    ///
    /// Answers, in their order, whether each still held its lane.
    async fn settle(
        &self,
        claims: &[(DestinationId, Uid, Token, Settlement)],
        now: Timestamp,
    ) -> Result<Vec<bool>, StoreError>;

    /// Does to a lane what a person asks, and keeps who asked and why; or says why it cannot be done.
    ///
    /// Changes lanes only, under their own locks, so that any process may call it. An amendment's row is for the leader.
    async fn intervene(&self, request: &Request, now: Timestamp) -> Result<Result<(), Refusal>, StoreError>;

    /// Takes a void back that the ledger lost and that a receiver was sent, and notes who asked. Answers whether it was new.
    ///
    /// `interventions::void_returned` says which may be taken back. It moves no lane.
    async fn reinstate_void(&self, request: &Request, voided: &Voided) -> Result<bool, StoreError>;

    /// What people did, in order, behind the number `after`.
    async fn interventions(&self, after: i64, limit: u32) -> Result<Vec<Intervention>, StoreError>;

    /// Amendments that nobody has carried out yet, in order.
    async fn amendments_due(&self, limit: u32) -> Result<Vec<Intervention>, StoreError>;

    /// Says what came of an amendment, which is then done with.
    async fn conclude_amendment(&self, intervention: i64, outcome: &str, now: Timestamp) -> Result<(), StoreError>;

    /// What is sent in the place of rows, in the order of destination, stream and sequence, behind `after`.
    async fn voids(
        &self,
        after: Option<(&DestinationId, &Uid, Sequence)>,
        limit: u32,
    ) -> Result<Vec<Voided>, StoreError>;

    /// How long until the next lane of `destination` falls due; zero if one is due now, `None` if nothing waits.
    ///
    /// A span, not a moment: on a server it is counted by the server's clock, which need not agree with the caller's.
    async fn next_due(&self, destination: &DestinationId, now: Timestamp) -> Result<Option<Duration>, StoreError>;

    /// The lane of one stream to one destination.
    async fn lane(&self, destination: &DestinationId, uid: &Uid) -> Result<Option<LaneView>, StoreError>;

    /// Lanes in the order of destination and UID, behind `after`; only those that still owe something if `owing_only`.
    async fn lanes(
        &self,
        after: Option<(&DestinationId, &Uid)>,
        owing_only: bool,
        limit: u32,
    ) -> Result<Vec<LaneView>, StoreError>;

    /// How many streams and rows there are, and how many events all destinations acknowledged together.
    async fn counts(&self) -> Result<Counts, StoreError>;

    /// The oldest row that `destination` was not yet sent, parked lanes apart: when it was recorded, and where it stands.
    async fn oldest_undelivered(
        &self,
        destination: &DestinationId,
    ) -> Result<Option<(Timestamp, Shard, Position)>, StoreError>;
}

/// Totals, for the audit's last line and for metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Streams, open and closed.
    pub resources: u64,
    /// Rows.
    pub transitions: u64,
    /// Acknowledged events, all destinations together.
    pub deliveries: u64,
    /// Lanes that wait for a person.
    pub parked: u64,
    /// Events that open lanes still owe.
    pub undelivered: u64,
}
