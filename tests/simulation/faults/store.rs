//! The ledger's database as one process reaches it.

use std::{io, sync::Arc, time::Duration};

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

use super::{
    Surface,
    passage::{Passage, Silence},
};
use crate::ledger::at_once;

/// A store behind a connection that things happen to.
pub struct DistantStore {
    pub store: Arc<dyn Store>,
    pub passage: Passage,
}

fn lost(doing: &'static str) -> StoreError {
    StoreError::Unavailable { doing, source: sqlx::Error::Io(io::ErrorKind::ConnectionReset.into()) }
}

/// What a batch is called: by its first draft.
fn append_of(drafts: &[Draft]) -> String {
    let Some(Draft { subject, to, .. }) = drafts.first() else { return "append nothing".to_owned() };
    format!("append {} {}: {to}", subject.kind.as_str(), subject.name)
}

fn wrote(outcomes: &Result<Vec<Outcome>, AppendError>) -> bool {
    outcomes.iter().flatten().any(|outcome| matches!(outcome, Outcome::Appended(_)))
}

impl DistantStore {
    /// Writes rows, of which nobody may know whether they are there.
    async fn commit(
        &self,
        drafts: &[Draft],
        call: impl Future<Output = Result<Vec<Outcome>, AppendError>> + Send + 'static,
    ) -> Result<Vec<Outcome>, AppendError> {
        match self.passage.pass(Surface::Store, append_of(drafts), call, wrote).await {
            Ok(outcomes) => outcomes,
            Err(Silence::Nothing) => Err(AppendError::NotCommitted(lost("appending"))),
            Err(Silence::Perhaps) => Err(AppendError::Unknown(lost("appending"))),
        }
    }

    /// Reads.
    async fn read<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.write(what, call, |_| false).await
    }

    /// Writes what can be written again without harm.
    async fn write<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
        changed: impl Fn(&T) -> bool,
    ) -> Result<T, StoreError> {
        let changed = |done: &Result<T, _>| done.as_ref().is_ok_and(&changed);
        let call = async { at_once(call) };
        let passed = self.passage.pass_now(Surface::Store, what.to_owned(), call, changed).await;
        passed.unwrap_or_else(|_| Err(lost(what)))
    }
}

#[async_trait]
impl Store for DistantStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        self.read("migrate", self.store.migrate()).await
    }

    async fn installation(&self, proposed: &Installation) -> Result<Installation, StoreError> {
        self.read("installation", self.store.installation(proposed)).await
    }

    async fn stored_installation(&self) -> Result<Option<Installation>, StoreError> {
        self.read("stored installation", self.store.stored_installation()).await
    }

    async fn take_over(&self, shard: Shard, holder: &str) -> Result<Epoch, StoreError> {
        self.write("take over", self.store.take_over(shard, holder), |_| true).await
    }

    async fn shard(&self, shard: Shard) -> Result<ShardRow, StoreError> {
        self.read("shard", self.store.shard(shard)).await
    }

    async fn append(
        &self,
        shard: Shard,
        epoch: Epoch,
        now: Timestamp,
        drafts: &[Draft],
    ) -> Result<Vec<Outcome>, AppendError> {
        let (store, owned) = (self.store.clone(), drafts.to_vec());
        self.commit(drafts, async move { at_once(store.append(shard, epoch, now, &owned)) }).await
    }

    fn ahead(&self, shard: Shard, epoch: Epoch, now: Timestamp, drafts: &[Draft]) -> Option<Ahead> {
        self.store.ahead(shard, epoch, now, drafts)
    }

    async fn append_ahead(
        &self,
        shard: Shard,
        epoch: Epoch,
        now: Timestamp,
        drafts: &[Draft],
        ahead: Ahead,
    ) -> Result<Vec<Outcome>, AppendError> {
        let (store, owned) = (self.store.clone(), drafts.to_vec());
        self.commit(drafts, async move { at_once(store.append_ahead(shard, epoch, now, &owned, ahead)) }).await
    }

    async fn reinstate(
        &self,
        shard: Shard,
        epoch: Epoch,
        now: Timestamp,
        returned: &[Returned],
    ) -> Result<Vec<Outcome>, AppendError> {
        self.store.reinstate(shard, epoch, now, returned).await
    }

    async fn replace_installation(
        &self,
        shard: Shard,
        epoch: Epoch,
        installation: &Installation,
    ) -> Result<(), AppendError> {
        self.store.replace_installation(shard, epoch, installation).await
    }

    async fn head(&self, uid: &Uid) -> Result<Option<Head>, StoreError> {
        self.read("head", self.store.head(uid)).await
    }

    async fn heads(&self, after: Option<&Uid>, open_only: bool, limit: u32) -> Result<Vec<Head>, StoreError> {
        self.read("heads", self.store.heads(after, open_only, limit)).await
    }

    async fn rows(&self, query: &RowQuery) -> Result<Vec<Row>, StoreError> {
        self.read("rows", self.store.rows(query)).await
    }

    async fn stream_rows(&self, after: Option<(&Uid, Sequence)>, limit: u32) -> Result<Vec<Row>, StoreError> {
        self.read("stream rows", self.store.stream_rows(after, limit)).await
    }

    async fn past(&self, query: &PastQuery) -> Result<Vec<PastState>, StoreError> {
        self.read("past", self.store.past(query)).await
    }

    async fn row(&self, uid: &Uid, sequence: Sequence) -> Result<Option<Row>, StoreError> {
        self.read("row", self.store.row(uid, sequence)).await
    }

    async fn prune(&self, step: &PruneStep) -> Result<PruneReport, StoreError> {
        self.write("prune", self.store.prune(step), |report| report.removed > 0).await
    }

    async fn pruned(&self, uids: &[Uid]) -> Result<Vec<PrunedRow>, StoreError> {
        self.read("pruned", self.store.pruned(uids)).await
    }

    async fn pruned_until(&self, shard: Shard) -> Result<Position, StoreError> {
        self.read("pruned until", self.store.pruned_until(shard)).await
    }

    async fn open(&self, opening: &Opening, now: Timestamp) -> Result<bool, StoreError> {
        self.write("open", self.store.open(opening, now), |new| *new).await
    }

    async fn selectors(&self) -> Result<Vec<(DestinationId, Selector)>, StoreError> {
        self.read("selectors", self.store.selectors()).await
    }

    async fn destinations(&self) -> Result<Vec<DestinationId>, StoreError> {
        self.read("destinations", self.store.destinations()).await
    }

    async fn close_destination(&self, destination: &DestinationId) -> Result<u64, StoreError> {
        self.write("close destination", self.store.close_destination(destination), |_| true).await
    }

    async fn claim(&self, request: &ClaimRequest, now: Timestamp) -> Result<Vec<Claim>, StoreError> {
        self.write("claim", self.store.claim(request, now), |claims| !claims.is_empty()).await
    }

    async fn settle(
        &self,
        claims: &[(DestinationId, Uid, Token, Settlement)],
        now: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        self.write("settle", self.store.settle(claims, now), |held| held.contains(&true)).await
    }

    async fn intervene(&self, request: &Request, now: Timestamp) -> Result<Result<(), Refusal>, StoreError> {
        self.write("intervene", self.store.intervene(request, now), Result::is_ok).await
    }

    async fn reinstate_void(&self, request: &Request, voided: &Voided) -> Result<bool, StoreError> {
        self.write("reinstate void", self.store.reinstate_void(request, voided), |new| *new).await
    }

    async fn interventions(&self, after: i64, limit: u32) -> Result<Vec<Intervention>, StoreError> {
        self.read("interventions", self.store.interventions(after, limit)).await
    }

    async fn amendments_due(&self, limit: u32) -> Result<Vec<Intervention>, StoreError> {
        self.read("amendments due", self.store.amendments_due(limit)).await
    }

    async fn conclude_amendment(&self, intervention: i64, outcome: &str, now: Timestamp) -> Result<(), StoreError> {
        self.write("conclude amendment", self.store.conclude_amendment(intervention, outcome, now), |()| true).await
    }

    async fn voids(
        &self,
        after: Option<(&DestinationId, &Uid, Sequence)>,
        limit: u32,
    ) -> Result<Vec<Voided>, StoreError> {
        self.read("voids", self.store.voids(after, limit)).await
    }

    async fn next_due(&self, destination: &DestinationId, now: Timestamp) -> Result<Option<Duration>, StoreError> {
        self.read("next due", self.store.next_due(destination, now)).await
    }

    async fn lane(&self, destination: &DestinationId, uid: &Uid) -> Result<Option<LaneView>, StoreError> {
        self.read("lane", self.store.lane(destination, uid)).await
    }

    async fn lanes(
        &self,
        after: Option<(&DestinationId, &Uid)>,
        owing_only: bool,
        limit: u32,
    ) -> Result<Vec<LaneView>, StoreError> {
        self.read("lanes", self.store.lanes(after, owing_only, limit)).await
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        self.read("counts", self.store.counts()).await
    }

    async fn oldest_undelivered(
        &self,
        destination: &DestinationId,
    ) -> Result<Option<(Timestamp, Shard, Position)>, StoreError> {
        self.read("oldest undelivered", self.store.oldest_undelivered(destination)).await
    }
}
