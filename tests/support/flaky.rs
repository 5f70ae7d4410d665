//! A ledger whose database fails when it is told to.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use trueup::{
    domain::{DestinationId, Epoch, Position, Selector, Sequence, Shard, Timestamp, Token, Uid},
    ledger::{
        Ahead, AppendError, Claim, ClaimRequest, Counts, Draft, Head, Installation, LaneView, Opening, Outcome,
        PastQuery, PastState, PruneReport, PruneStep, PrunedRow, Returned, Row, RowQuery, Settlement, ShardRow, Store,
        StoreError, Voided,
        interventions::{Intervention, Refusal, Request},
    },
};

/// What happens to one append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It works.
    None,
    /// It is not written, and that is known.
    NotCommitted,
    /// It is not written, and nobody can tell.
    LostBefore,
    /// It is written, and nobody can tell.
    LostAfter,
    /// It is refused as it stands.
    Refused,
}

/// Passes everything on, but makes appends fail as planned.
pub struct Flaky {
    inner: Arc<dyn Store>,
    plan: Mutex<VecDeque<Fault>>,
    after: Fault,
    conclusions_fail: AtomicBool,
    aheads: AtomicU32,
}

impl Flaky {
    /// Appends meet the faults of `plan` in turn, and `after` once these are used up.
    pub fn new(inner: Arc<dyn Store>, plan: impl IntoIterator<Item = Fault>, after: Fault) -> Arc<Self> {
        Arc::new(Self {
            inner,
            plan: Mutex::new(plan.into_iter().collect()),
            after,
            conclusions_fail: AtomicBool::new(false),
            aheads: AtomicU32::new(0),
        })
    }

    /// How many batches were begun to be decided ahead.
    pub fn aheads(&self) -> u32 {
        self.aheads.load(Ordering::SeqCst)
    }

    /// Does what `appending` does, unless the next fault of the plan prevents it.
    async fn meet(
        &self,
        appending: impl Future<Output = Result<Vec<Outcome>, AppendError>>,
    ) -> Result<Vec<Outcome>, AppendError> {
        let fault = self.plan.lock().unwrap().pop_front().unwrap_or(self.after);
        match fault {
            Fault::None => appending.await,
            Fault::NotCommitted => Err(AppendError::NotCommitted(unavailable())),
            Fault::LostBefore => Err(AppendError::Unknown(unavailable())),
            Fault::LostAfter => {
                appending.await?;
                Err(AppendError::Unknown(unavailable()))
            }
            Fault::Refused => Err(AppendError::NotCommitted(StoreError::NoInstallation { doing: "refusing" })),
        }
    }

    /// From now on, what came of an amendment cannot be written down.
    pub fn fail_conclusions(&self) {
        self.conclusions_fail.store(true, Ordering::SeqCst);
    }
}

pub fn unavailable() -> StoreError {
    let source = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
    StoreError::Unavailable { doing: "failing as planned", source }
}

#[async_trait]
impl Store for Flaky {
    async fn reinstate(
        &self,
        shard: Shard,
        epoch: Epoch,
        now: Timestamp,
        returned: &[Returned],
    ) -> Result<Vec<Outcome>, AppendError> {
        self.inner.reinstate(shard, epoch, now, returned).await
    }

    async fn replace_installation(
        &self,
        shard: Shard,
        epoch: Epoch,
        installation: &Installation,
    ) -> Result<(), AppendError> {
        self.inner.replace_installation(shard, epoch, installation).await
    }

    async fn append(
        &self,
        shard: Shard,
        epoch: Epoch,
        now: Timestamp,
        drafts: &[Draft],
    ) -> Result<Vec<Outcome>, AppendError> {
        self.meet(self.inner.append(shard, epoch, now, drafts)).await
    }

    fn ahead(&self, shard: Shard, epoch: Epoch, now: Timestamp, drafts: &[Draft]) -> Option<Ahead> {
        let ahead = self.inner.ahead(shard, epoch, now, drafts);
        self.aheads.fetch_add(u32::from(ahead.is_some()), Ordering::SeqCst);
        ahead
    }

    async fn append_ahead(
        &self,
        shard: Shard,
        epoch: Epoch,
        now: Timestamp,
        drafts: &[Draft],
        ahead: Ahead,
    ) -> Result<Vec<Outcome>, AppendError> {
        self.meet(self.inner.append_ahead(shard, epoch, now, drafts, ahead)).await
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        self.inner.migrate().await
    }

    async fn installation(&self, proposed: &Installation) -> Result<Installation, StoreError> {
        self.inner.installation(proposed).await
    }

    async fn stored_installation(&self) -> Result<Option<Installation>, StoreError> {
        self.inner.stored_installation().await
    }

    async fn take_over(&self, shard: Shard, holder: &str) -> Result<Epoch, StoreError> {
        self.inner.take_over(shard, holder).await
    }

    async fn shard(&self, shard: Shard) -> Result<ShardRow, StoreError> {
        self.inner.shard(shard).await
    }

    async fn head(&self, uid: &Uid) -> Result<Option<Head>, StoreError> {
        self.inner.head(uid).await
    }

    async fn heads(&self, after: Option<&Uid>, open_only: bool, limit: u32) -> Result<Vec<Head>, StoreError> {
        self.inner.heads(after, open_only, limit).await
    }

    async fn rows(&self, query: &RowQuery) -> Result<Vec<Row>, StoreError> {
        self.inner.rows(query).await
    }

    async fn stream_rows(&self, after: Option<(&Uid, Sequence)>, limit: u32) -> Result<Vec<Row>, StoreError> {
        self.inner.stream_rows(after, limit).await
    }

    async fn past(&self, query: &PastQuery) -> Result<Vec<PastState>, StoreError> {
        self.inner.past(query).await
    }

    async fn row(&self, uid: &Uid, sequence: Sequence) -> Result<Option<Row>, StoreError> {
        self.inner.row(uid, sequence).await
    }

    async fn prune(&self, step: &PruneStep) -> Result<PruneReport, StoreError> {
        self.inner.prune(step).await
    }

    async fn pruned(&self, uids: &[Uid]) -> Result<Vec<PrunedRow>, StoreError> {
        self.inner.pruned(uids).await
    }

    async fn pruned_until(&self, shard: Shard) -> Result<Position, StoreError> {
        self.inner.pruned_until(shard).await
    }

    async fn open(&self, opening: &Opening, now: Timestamp) -> Result<bool, StoreError> {
        self.inner.open(opening, now).await
    }

    async fn selectors(&self) -> Result<Vec<(DestinationId, Selector)>, StoreError> {
        self.inner.selectors().await
    }

    async fn intervene(&self, request: &Request, now: Timestamp) -> Result<Result<(), Refusal>, StoreError> {
        self.inner.intervene(request, now).await
    }

    async fn interventions(&self, after: i64, limit: u32) -> Result<Vec<Intervention>, StoreError> {
        self.inner.interventions(after, limit).await
    }

    async fn amendments_due(&self, limit: u32) -> Result<Vec<Intervention>, StoreError> {
        self.inner.amendments_due(limit).await
    }

    async fn conclude_amendment(&self, intervention: i64, outcome: &str, now: Timestamp) -> Result<(), StoreError> {
        if self.conclusions_fail.load(Ordering::SeqCst) {
            return Err(unavailable());
        }
        self.inner.conclude_amendment(intervention, outcome, now).await
    }

    async fn voids(
        &self,
        after: Option<(&DestinationId, &Uid, Sequence)>,
        limit: u32,
    ) -> Result<Vec<Voided>, StoreError> {
        self.inner.voids(after, limit).await
    }

    async fn destinations(&self) -> Result<Vec<DestinationId>, StoreError> {
        self.inner.destinations().await
    }

    async fn close_destination(&self, destination: &DestinationId) -> Result<u64, StoreError> {
        self.inner.close_destination(destination).await
    }

    async fn claim(&self, request: &ClaimRequest, now: Timestamp) -> Result<Vec<Claim>, StoreError> {
        self.inner.claim(request, now).await
    }

    async fn settle(
        &self,
        claims: &[(DestinationId, Uid, Token, Settlement)],
        now: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        self.inner.settle(claims, now).await
    }

    async fn next_due(&self, destination: &DestinationId, now: Timestamp) -> Result<Option<Duration>, StoreError> {
        self.inner.next_due(destination, now).await
    }

    async fn lane(&self, destination: &DestinationId, uid: &Uid) -> Result<Option<LaneView>, StoreError> {
        self.inner.lane(destination, uid).await
    }

    async fn lanes(
        &self,
        after: Option<(&DestinationId, &Uid)>,
        owing_only: bool,
        limit: u32,
    ) -> Result<Vec<LaneView>, StoreError> {
        self.inner.lanes(after, owing_only, limit).await
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        self.inner.counts().await
    }

    async fn oldest_undelivered(
        &self,
        destination: &DestinationId,
    ) -> Result<Option<(Timestamp, Shard, Position)>, StoreError> {
        self.inner.oldest_undelivered(destination).await
    }
}
