//! The ledger in memory: for tests and the simulator. Deterministic, and gone with the process.

mod mend;
mod past;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use super::{
    batch::{self, Standing},
    interventions::{Intervention, Refusal, Request},
    lanes::{self, HeldLane, Lane, LaneKey, Phase},
    past::{PastQuery, PastState},
    reinstate::{self, Returned},
    store::{AppendError, Counts, Store, StoreError},
    types::{
        Claim, ClaimRequest, Draft, Head, Installation, LaneView, Opening, Outcome, PruneReport, PruneStep, PrunedRow,
        Row, RowQuery, Settlement, ShardRow, Voided,
    },
};
use crate::domain::{DestinationId, Epoch, Position, Selector, Sequence, Shard, Tables, Timestamp, Token, Uid};

/// A ledger without a database.
#[derive(Debug)]
pub struct MemoryStore {
    tables: Tables,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    installation: Option<Installation>,
    shards: BTreeMap<Shard, ShardRow>,
    heads: BTreeMap<Uid, Head>,
    rows: BTreeMap<(Shard, Position), Row>,
    // Where the rows of a stream stand.
    streams: HashMap<Uid, BTreeMap<Sequence, (Shard, Position)>>,
    pruned: BTreeMap<Uid, PrunedRow>,
    pruned_until: BTreeMap<Shard, Position>,
    // With what they hear of, if that was ever not everything.
    destinations: BTreeMap<DestinationId, Option<Selector>>,
    lanes: BTreeMap<LaneKey, Lane>,
    // Lanes that time or a claim can move, in the order in which they are claimed.
    due: BTreeSet<(DestinationId, Phase, Timestamp, Uid)>,
    voids: BTreeMap<(DestinationId, Uid, Sequence), Voided>,
    interventions: Vec<Intervention>,
}

impl MemoryStore {
    /// An empty ledger.
    pub fn new(tables: Tables) -> Self {
        Self { tables, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn shard(&self, shard: Shard) -> ShardRow {
        self.shards.get(&shard).cloned().unwrap_or_else(|| ShardRow::unclaimed(shard))
    }

    fn standing(&self, shard: Shard, uids: Vec<Uid>) -> Result<Standing, AppendError> {
        let missing = StoreError::NoInstallation { doing: "appending to the ledger" };
        let installation = self.installation.clone().ok_or(AppendError::NotCommitted(missing))?;
        let heads =
            uids.into_iter().filter_map(|uid| Some((uid.clone(), Arc::new(self.heads.get(&uid)?.clone())))).collect();
        let hears = |(id, selector): (&DestinationId, &Option<_>)| Some((id.clone(), selector.clone()?));
        let selectors = self.destinations.iter().filter_map(hears).collect();
        Ok(Standing { shard: self.shard(shard), installation, heads, selectors })
    }

    fn row(&self, uid: &Uid, sequence: Sequence) -> Option<&Row> {
        self.rows.get(self.streams.get(uid)?.get(&sequence)?)
    }

    /// Whether a row is its stream's newest, or owed by some lane.
    fn is_needed(&self, uid: &Uid, sequence: Sequence) -> bool {
        let owed = |destination: &DestinationId| {
            self.lanes.get(&(destination.clone(), uid.clone())).is_some_and(|lane| lane.acked < sequence)
        };
        sequence >= self.head_of(uid) || self.destinations.keys().any(owed)
    }

    fn remove_through(&mut self, uid: &Uid, sequence: Sequence) {
        let Some(stream) = self.streams.get_mut(uid) else { return };
        let left = stream.split_off(&sequence.next());
        for place in std::mem::replace(stream, left).into_values() {
            if let Some(row) = self.rows.remove(&place) {
                let newest = PrunedRow { uid: row.uid, sequence: row.sequence, hash: row.hash };
                self.pruned.insert(uid.clone(), newest);
            }
        }
    }

    fn set_lane(&mut self, key: &LaneKey, lane: Lane) {
        if let Some(old) = self.lanes.get(key) {
            self.due.remove(&(key.0.clone(), old.phase, old.due_at, key.1.clone()));
        }
        if !matches!(lane.phase, Phase::Idle | Phase::Parked) {
            self.due.insert((key.0.clone(), lane.phase, lane.due_at, key.1.clone()));
        }
        self.lanes.insert(key.clone(), lane);
    }

    fn head_of(&self, uid: &Uid) -> Sequence {
        self.heads.get(uid).map_or_else(Sequence::default, |head| head.sequence)
    }

    /// Up to `limit` UIDs of due lanes in `phase`, the longest waiting first.
    fn due(&self, destination: &DestinationId, phase: Phase, now: Timestamp, limit: usize) -> Vec<Uid> {
        let first = (destination.clone(), phase, Timestamp::from_micros(i64::MIN), Uid::new(""));
        self.due
            .range(first..)
            .take_while(|(of, in_phase, ..)| of == destination && *in_phase == phase)
            .map(|(_, _, _, uid)| uid)
            .filter(|uid| self.lanes.get(&(destination.clone(), (*uid).clone())).is_some_and(|lane| lane.is_due(now)))
            .take(limit)
            .cloned()
            .collect()
    }

    fn write(&mut self, batch: batch::Batch, now: Timestamp) -> Vec<Outcome> {
        for row in batch.rows {
            self.streams.entry(row.uid.clone()).or_default().insert(row.sequence, (row.shard, row.position));
            self.rows.insert((row.shard, row.position), row);
        }
        for head in batch.heads {
            for (destination, selector) in self.destinations.clone() {
                let key = (destination, head.subject.uid.clone());
                let is_new = selector.is_none() || batch.chosen.contains(&key);
                let known = self.lanes.get(&key).cloned();
                let Some(mut lane) = known.or_else(|| is_new.then(|| Lane::opened(now))) else { continue };
                lane.wake(now);
                self.set_lane(&key, lane);
            }
            self.heads.insert(head.subject.uid.clone(), Arc::unwrap_or_clone(head));
        }
        self.shards.insert(batch.shard.id, batch.shard);
        batch.outcomes
    }

    fn view(&self, (destination, uid): &LaneKey, lane: &Lane) -> LaneView {
        LaneView {
            destination: destination.clone(),
            uid: uid.clone(),
            acked: lane.acked,
            first: lane.first,
            head: self.head_of(uid),
            state: lane.phase.shown(),
            park_reason: lane.park_reason.clone(),
            attempts: lane.attempts,
            next_at: lane.due_at,
            last_error: lane.last_error.clone(),
            oldest_undelivered: self.sent(destination, uid, lane.acked.next()).map(|row| row.recorded_at),
        }
    }
}

fn matches(inner: &Inner, query: &RowQuery, row: &Row) -> bool {
    query.uid.as_ref().is_none_or(|uid| row.uid == *uid)
        && query.since.is_none_or(|since| row.effective.at >= since)
        && query.until.is_none_or(|until| row.effective.at < until)
        && query.named.as_ref().is_none_or(|(kind, namespace, name)| {
            inner.heads.get(&row.uid).is_some_and(|head| {
                head.subject.kind == *kind && head.subject.namespace == *namespace && head.subject.name == *name
            })
        })
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn as_u64(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[async_trait]
impl Store for MemoryStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn installation(&self, proposed: &Installation) -> Result<Installation, StoreError> {
        Ok(self.lock().installation.get_or_insert_with(|| proposed.clone()).clone())
    }

    async fn stored_installation(&self) -> Result<Option<Installation>, StoreError> {
        Ok(self.lock().installation.clone())
    }

    async fn take_over(&self, shard: Shard, holder: &str) -> Result<Epoch, StoreError> {
        let mut inner = self.lock();
        let mut row = inner.shard(shard);
        row.epoch = row.epoch.next();
        row.holder = Some(holder.to_owned());
        let epoch = row.epoch;
        inner.shards.insert(shard, row);
        let held = inner.lanes.iter().filter(|((_, uid), lane)| {
            lane.phase == Phase::Held && inner.heads.get(uid).is_some_and(|head| head.shard == shard)
        });
        for (key, lane) in held.map(|(key, lane)| (key.clone(), lane.clone())).collect::<Vec<_>>() {
            inner.set_lane(&key, Lane { due_at: Timestamp::from_micros(0), ..lane });
        }
        Ok(epoch)
    }

    async fn shard(&self, shard: Shard) -> Result<ShardRow, StoreError> {
        Ok(self.lock().shard(shard))
    }

    async fn append(
        &self,
        shard: Shard,
        epoch: Epoch,
        now: Timestamp,
        drafts: &[Draft],
    ) -> Result<Vec<Outcome>, AppendError> {
        let mut inner = self.lock();
        let standing = inner.standing(shard, batch::uids(drafts))?;
        let batch = batch::decide(self.tables, standing, epoch, now, drafts)?;
        Ok(inner.write(batch, now))
    }

    async fn reinstate(
        &self,
        shard: Shard,
        epoch: Epoch,
        now: Timestamp,
        returned: &[Returned],
    ) -> Result<Vec<Outcome>, AppendError> {
        let mut inner = self.lock();
        let standing = inner.standing(shard, reinstate::uids(returned))?;
        let batch = reinstate::decide(self.tables, standing, epoch, returned)?;
        Ok(inner.write(batch, now))
    }

    async fn replace_installation(
        &self,
        shard: Shard,
        epoch: Epoch,
        installation: &Installation,
    ) -> Result<(), AppendError> {
        let mut inner = self.lock();
        let current = inner.shard(shard).epoch;
        if current != epoch {
            return Err(AppendError::Fenced { shard, mine: epoch, current });
        }
        inner.installation = Some(installation.clone());
        Ok(())
    }

    async fn head(&self, uid: &Uid) -> Result<Option<Head>, StoreError> {
        Ok(self.lock().heads.get(uid).cloned())
    }

    async fn heads(&self, after: Option<&Uid>, open_only: bool, limit: u32) -> Result<Vec<Head>, StoreError> {
        let inner = self.lock();
        let behind = |uid: &Uid| after.is_none_or(|after| uid > after);
        let wanted = inner.heads.iter().filter(|(uid, head)| behind(uid) && !(open_only && head.closed_at.is_some()));
        Ok(wanted.map(|(_, head)| head.clone()).take(count(limit)).collect())
    }

    async fn rows(&self, query: &RowQuery) -> Result<Vec<Row>, StoreError> {
        let inner = self.lock();
        let behind = |place: &(Shard, Position)| query.after.is_none_or(|after| *place > after);
        let wanted = inner.rows.iter().filter(|(place, row)| behind(place) && matches(&inner, query, row));
        Ok(wanted.map(|(_, row)| row.clone()).take(count(query.bound())).collect())
    }

    async fn stream_rows(&self, after: Option<(&Uid, Sequence)>, limit: u32) -> Result<Vec<Row>, StoreError> {
        let inner = self.lock();
        let behind = |row: &Row| after.is_none_or(|(uid, sequence)| (&row.uid, row.sequence) > (uid, sequence));
        let of = |uid: &Uid| {
            let places = inner.streams.get(uid).into_iter().flat_map(BTreeMap::values);
            places.filter_map(|place| inner.rows.get(place))
        };
        Ok(inner.heads.keys().flat_map(of).filter(|row| behind(row)).take(count(limit)).cloned().collect())
    }

    async fn past(&self, query: &PastQuery) -> Result<Vec<PastState>, StoreError> {
        let inner = self.lock();
        let behind = |uid: &Uid| query.after.as_ref().is_none_or(|after| uid > after);
        let wanted = inner.heads.values().filter(|head| behind(&head.subject.uid));
        Ok(wanted.filter_map(|head| inner.past(head, query)).take(count(query.limit.max(1))).collect())
    }

    async fn row(&self, uid: &Uid, sequence: Sequence) -> Result<Option<Row>, StoreError> {
        Ok(self.lock().row(uid, sequence).cloned())
    }

    async fn prune(&self, step: &PruneStep) -> Result<PruneReport, StoreError> {
        let mut inner = self.lock();
        let behind = |place: &(Shard, Position)| step.after.is_none_or(|after| *place > after);
        let old: Vec<_> = inner
            .rows
            .values()
            .filter(|row| behind(&(row.shard, row.position)) && row.recorded_at < step.before)
            .take(count(step.limit.max(1)))
            .map(|row| (row.shard, row.position, row.uid.clone(), row.sequence))
            .collect();
        let next = old.last().map(|(shard, position, ..)| (*shard, *position));
        let before = inner.rows.len();
        for (shard, position, uid, sequence) in old {
            if !inner.is_needed(&uid, sequence) {
                inner.remove_through(&uid, sequence);
                inner.pruned_until.entry(shard).and_modify(|until| *until = position.max(*until)).or_insert(position);
            }
        }
        Ok(PruneReport { removed: u64::try_from(before - inner.rows.len()).unwrap_or(0), next })
    }

    async fn pruned(&self, uids: &[Uid]) -> Result<Vec<PrunedRow>, StoreError> {
        let inner = self.lock();
        Ok(uids.iter().filter_map(|uid| inner.pruned.get(uid).cloned()).collect())
    }

    async fn pruned_until(&self, shard: Shard) -> Result<Position, StoreError> {
        Ok(self.lock().pruned_until.get(&shard).copied().unwrap_or_default())
    }

    async fn open(&self, opening: &Opening, now: Timestamp) -> Result<bool, StoreError> {
        Ok(self.lock().open(self.tables, opening, now))
    }

    async fn selectors(&self) -> Result<Vec<(DestinationId, Selector)>, StoreError> {
        let inner = self.lock();
        Ok(inner.destinations.iter().filter_map(|(id, selector)| Some((id.clone(), selector.clone()?))).collect())
    }

    async fn destinations(&self) -> Result<Vec<DestinationId>, StoreError> {
        Ok(self.lock().destinations.keys().cloned().collect())
    }

    async fn close_destination(&self, destination: &DestinationId) -> Result<u64, StoreError> {
        let mut inner = self.lock();
        let owing =
            inner.lanes.iter().filter(|((of, uid), lane)| of == destination && lane.acked < inner.head_of(uid)).count();
        inner.destinations.remove(destination);
        inner.lanes.retain(|(of, _), _| of != destination);
        inner.due.retain(|(of, ..)| of != destination);
        Ok(u64::try_from(owing).unwrap_or(u64::MAX))
    }

    async fn claim(&self, request: &ClaimRequest, now: Timestamp) -> Result<Vec<Claim>, StoreError> {
        let mut inner = self.lock();
        let ClaimRequest { destination, lease, token, .. } = request;
        let mut uids = inner.due(destination, Phase::Waiting, now, count(request.retries.min(request.lanes)));
        for phase in [Phase::Held, Phase::Ready] {
            uids.extend(inner.due(destination, phase, now, count(request.lanes) - uids.len()));
        }
        let mut found = HashMap::new();
        let mut held = Vec::with_capacity(uids.len());
        for uid in uids {
            let key = (destination.clone(), uid.clone());
            let Some(mut lane) = inner.lanes.get(&key).cloned() else { continue };
            let rows = (1..=i64::from(request.rows.max(1)))
                .map_while(|n| inner.sent(destination, &uid, Sequence::new(lane.acked.get() + n)))
                .collect();
            found.insert(uid.clone(), (inner.head_of(&uid), rows));
            lane.hold(token, *lease, now);
            held.push(HeldLane {
                uid,
                acked: lane.acked,
                attempts: lane.attempts,
                rewinds: lane.rewinds,
                first: lane.first,
                doubt: lane.doubt_since.map(|since| now.since(since)),
            });
            inner.set_lane(&key, lane);
        }
        let (claims, missing) = lanes::claims(request, held, found);
        for uid in missing {
            let key = (destination.clone(), uid);
            let removed = inner.pruned.get(&key.1).map(|row| row.sequence);
            if let Some(mut lane) = inner.lanes.get(&key).cloned() {
                match removed.filter(|removed| *removed > lane.acked) {
                    Some(removed) => lane = Lane::beginning(removed.next(), inner.head_of(&key.1), now),
                    None => lane.park(lanes::ROW_MISSING, now),
                }
                inner.set_lane(&key, lane);
            }
        }
        Ok(claims)
    }

    async fn settle(
        &self,
        claims: &[(DestinationId, Uid, Token, Settlement)],
        now: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        let mut inner = self.lock();
        let named = claims.iter().map(|(destination, uid, ..)| (destination.clone(), uid.clone()));
        let mut lanes: BTreeMap<_, _> =
            named.filter_map(|key| Some((key.clone(), inner.lanes.get(&key)?.clone()))).collect();
        let held = lanes::settle(&mut lanes, |uid| inner.head_of(uid), claims, now);
        for (key, lane) in lanes {
            inner.set_lane(&key, lane);
        }
        Ok(held)
    }

    async fn intervene(&self, request: &Request, now: Timestamp) -> Result<Result<(), Refusal>, StoreError> {
        Ok(self.lock().intervene(request, now))
    }

    async fn reinstate_void(&self, request: &Request, voided: &Voided) -> Result<bool, StoreError> {
        Ok(self.lock().reinstate_void(request, voided))
    }

    async fn interventions(&self, after: i64, limit: u32) -> Result<Vec<Intervention>, StoreError> {
        let inner = self.lock();
        let behind = inner.interventions.iter().filter(|made| made.id > after);
        Ok(behind.take(count(limit)).cloned().collect())
    }

    async fn amendments_due(&self, limit: u32) -> Result<Vec<Intervention>, StoreError> {
        Ok(self.lock().amendments_due().take(count(limit)).cloned().collect())
    }

    async fn conclude_amendment(&self, intervention: i64, outcome: &str, _: Timestamp) -> Result<(), StoreError> {
        self.lock().conclude_amendment(intervention, outcome);
        Ok(())
    }

    async fn voids(
        &self,
        after: Option<(&DestinationId, &Uid, Sequence)>,
        limit: u32,
    ) -> Result<Vec<Voided>, StoreError> {
        let inner = self.lock();
        let behind = |key: &(DestinationId, Uid, Sequence)| after.is_none_or(|after| (&key.0, &key.1, key.2) > after);
        let wanted = inner.voids.iter().filter(|(key, _)| behind(key));
        Ok(wanted.map(|(_, voided)| voided.clone()).take(count(limit)).collect())
    }

    async fn next_due(&self, destination: &DestinationId, now: Timestamp) -> Result<Option<Duration>, StoreError> {
        let inner = self.lock();
        let lanes = inner.lanes.iter().filter(|((of, _), _)| of == destination);
        Ok(lanes.filter_map(|(_, lane)| lane.due_in(now)).min())
    }

    async fn lane(&self, destination: &DestinationId, uid: &Uid) -> Result<Option<LaneView>, StoreError> {
        let (inner, key) = (self.lock(), (destination.clone(), uid.clone()));
        Ok(inner.lanes.get(&key).map(|lane| inner.view(&key, lane)))
    }

    async fn lanes(
        &self,
        after: Option<(&DestinationId, &Uid)>,
        owing_only: bool,
        limit: u32,
    ) -> Result<Vec<LaneView>, StoreError> {
        let inner = self.lock();
        let behind = |key: &LaneKey| after.is_none_or(|after| (&key.0, &key.1) > after);
        let owes = |key: &LaneKey, lane: &Lane| !owing_only || lane.acked < inner.head_of(&key.1);
        let wanted = inner.lanes.iter().filter(|(key, lane)| behind(key) && owes(key, lane));
        Ok(wanted.map(|(key, lane)| inner.view(key, lane)).take(count(limit)).collect())
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        let inner = self.lock();
        let mut counts = Counts {
            resources: u64::try_from(inner.heads.len()).unwrap_or(u64::MAX),
            transitions: inner.shards.values().map(|shard| as_u64(shard.head.get())).sum(),
            ..Counts::default()
        };
        for ((_, uid), lane) in &inner.lanes {
            counts.deliveries += as_u64(lane.acked.get() - lane.first.get() + 1);
            if lane.phase == Phase::Parked {
                counts.parked += 1;
            } else {
                counts.undelivered += as_u64(inner.head_of(uid).get() - lane.acked.get());
            }
        }
        Ok(counts)
    }

    async fn oldest_undelivered(
        &self,
        destination: &DestinationId,
    ) -> Result<Option<(Timestamp, Shard, Position)>, StoreError> {
        let inner = self.lock();
        let open = inner.lanes.iter().filter(|((of, _), lane)| of == destination && lane.phase != Phase::Parked);
        let next = open.filter_map(|((_, uid), lane)| inner.row(uid, lane.acked.next()));
        Ok(next.map(|row| (row.recorded_at, row.shard, row.position)).min())
    }
}
