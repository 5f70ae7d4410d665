//! Comparing the ledger with a cluster and a receiver that go on working meanwhile.
//!
//! A head that was read first is the goal that the others must reach; a head that is read last is what nobody may be
//! ahead of. Between the two the system may move as it likes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kube::Client;

use crate::{
    cli::{Failure, ask_receiver::AskReceiver, describe},
    cluster::{self, Freshness},
    domain::{Clock, DestinationId, Era, Sequence, Uid},
    ledger::{
        Head, LaneState, LaneView, Store, StoreError, Voided,
        comparisons::{self, Known, Shown, Told},
        invariants::Violation,
    },
    lifecycle::TABLES,
};

/// How many heads or lanes are asked for at once.
const PAGE: u32 = 500;
/// How often those are asked again that have not arrived.
const PAUSE: Duration = Duration::from_millis(200);

/// Who is compared with the ledger.
pub struct Others {
    pub client: Option<Client>,
    pub receiver: Option<AskReceiver>,
}

/// Why there is no answer.
pub enum Interrupted {
    /// The ledger could not be read.
    Ledger(StoreError),
    /// Something else.
    Other(Failure),
}

impl From<StoreError> for Interrupted {
    fn from(error: StoreError) -> Self {
        Self::Ledger(error)
    }
}

/// What was found.
#[derive(Default)]
pub struct Compared {
    pub violations: Vec<Violation>,
    /// The names of resources that the ledger may not know.
    pub names: BTreeMap<Uid, String>,
    /// What is no violation, but worth knowing.
    pub notes: Vec<String>,
}

pub struct Comparison<'a> {
    store: &'a dyn Store,
    others: Others,
    clock: Arc<dyn Clock>,
    wait: Duration,
    /// The ledger's life.
    era: Era,
    /// The heads of all streams when it began.
    goals: BTreeMap<Uid, Head>,
    compared: Compared,
}

/// What has not arrived yet, each with what is wrong with it now.
type Waiting = BTreeMap<Uid, Vec<Violation>>;

impl<'a> Comparison<'a> {
    pub fn new(store: &'a dyn Store, others: Others, clock: Arc<dyn Clock>, wait: Duration, era: Era) -> Self {
        Self { store, others, clock, wait, era, goals: BTreeMap::new(), compared: Compared::default() }
    }

    /// Asks until everything has arrived or patience ends.
    pub async fn run(mut self) -> Result<Compared, Interrupted> {
        if self.others.client.is_none() && self.others.receiver.is_none() {
            return Ok(self.compared);
        }
        let deadline = self.clock.monotonic() + self.wait;
        self.goals = self.heads().await?;
        // `None`: everything is to be looked at, this being the first time.
        let (mut in_cluster, mut at_receiver): (Option<Waiting>, Option<Waiting>) = (None, None);
        loop {
            let lanes = self.owing().await?;
            if in_cluster.as_ref().is_none_or(|waiting| !waiting.is_empty()) {
                in_cluster = Some(self.look_at_cluster(in_cluster.as_ref()).await?);
            }
            if at_receiver.as_ref().is_none_or(|waiting| !waiting.is_empty()) {
                at_receiver = Some(self.look_at_receiver(at_receiver.as_ref(), &lanes).await?);
            }
            let open = lanes.iter().filter(|lane| lane.state == LaneState::Open).count();
            let arrived = in_cluster.iter().chain(&at_receiver).all(Waiting::is_empty) && open == 0;
            if arrived || self.clock.monotonic() >= deadline {
                self.note(&lanes);
                let left = [in_cluster, at_receiver].into_iter().flatten().flat_map(Waiting::into_values);
                self.compared.violations.extend(left.flatten());
                return Ok(self.compared);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What is wrong in the cluster for ever is kept; what is not there yet is the answer.
    async fn look_at_cluster(&mut self, waiting: Option<&Waiting>) -> Result<Waiting, Interrupted> {
        let Some(client) = self.others.client.clone() else { return Ok(Waiting::new()) };
        let listed = cluster::list(&client, Freshness::Latest).await.map_err(|error| {
            Interrupted::Other(match error {
                kube::Error::Api(status) if status.code == 404 || status.code == 403 => Failure::usage(&format!(
                    "listing Trueup's objects: {}; are the CRDs there (`trueup crds`), and may you list them?",
                    status.message
                )),
                error => Failure::unreachable(&format!("listing Trueup's objects: {error}")),
            })
        })?;
        let shown: BTreeMap<Uid, Shown> =
            listed.into_iter().map(|listed| (listed.shown.uid.clone(), listed.shown)).collect();
        let asked = |uid: &Uid| waiting.is_none_or(|waiting| waiting.contains_key(uid));
        let uids: BTreeSet<Uid> = self.goals.keys().chain(shown.keys()).filter(|uid| asked(uid)).cloned().collect();
        let mut left = Waiting::new();
        for uid in uids {
            let mut not_yet = vec![];
            let (goal, object) = (self.goals.get(&uid).cloned(), shown.get(&uid));
            if let Some(object) = object {
                let name = describe::resource(object.kind, object.namespace.as_deref(), &object.name);
                self.compared.names.insert(uid.clone(), name);
                let named = object.ledger.as_ref().map(|place| place.sequence);
                let head = self.at(&uid, named, |known, found| comparisons::status(object, known, found)).await?;
                comparisons::opened(object, head.as_ref(), &mut not_yet);
            }
            match (goal, object) {
                (Some(goal), Some(object)) if goal.closed_at.is_none() => {
                    comparisons::status_reached(object, &goal, &mut not_yet);
                    comparisons::looked_at(object, &goal, &mut not_yet);
                    let now = self.clock.now();
                    comparisons::says_what_it_waits_for(TABLES, object, &goal, now, &mut not_yet);
                }
                (Some(goal), None) if goal.closed_at.is_none() => {
                    if let Some(head) = self.store.head(&uid).await? {
                        comparisons::closed(&head, None, &mut not_yet);
                    }
                }
                (Some(goal), object) => comparisons::closed(&goal, object, &mut not_yet),
                (None, _) => {}
            }
            if !not_yet.is_empty() {
                left.insert(uid, not_yet);
            }
        }
        Ok(left)
    }

    /// The same for the receiver.
    async fn look_at_receiver(
        &mut self,
        waiting: Option<&Waiting>,
        lanes: &[LaneView],
    ) -> Result<Waiting, Interrupted> {
        let Some(receiver) = &self.others.receiver else { return Ok(Waiting::new()) };
        let resources = receiver.resources().await.map_err(|error| Interrupted::Other(error.into()))?;
        let parked: BTreeMap<&Uid, &LaneView> =
            lanes.iter().filter(|lane| lane.state == LaneState::Parked).map(|lane| (&lane.uid, lane)).collect();
        let mut told = BTreeMap::new();
        for view in resources {
            let name = describe::resource(view.kind, view.namespace.as_deref(), &view.name);
            self.compared.names.insert(view.uid.clone(), name);
            told.insert(
                view.uid.clone(),
                Told {
                    uid: view.uid,
                    era: view.era,
                    sequence: view.sequence,
                    hash: view.hash,
                    state: view.state,
                    stated: view.stated,
                    applied: view.applied,
                    skipped: view.skipped,
                },
            );
        }
        let asked = |uid: &Uid| waiting.is_none_or(|waiting| waiting.contains_key(uid));
        let voids = self.voids().await?;
        for (uid, told) in told.iter().filter(|(uid, _)| asked(uid)) {
            let row = self.store.row(uid, told.stated).await?;
            let stated = Known { row: row.as_ref(), ..Known::default() };
            let is_behind = |place: &&Sequence| **place > told.stated && **place <= told.sequence;
            let behind = |places: &BTreeSet<Sequence>| places.iter().filter(is_behind).count();
            let voided = voids.get(uid).map_or(0, |places| i64::try_from(behind(places)).unwrap_or(i64::MAX));
            self.at(uid, Some(told.sequence), |known, found| comparisons::told(told, known, stated, voided, found))
                .await?;
        }
        let mut left = Waiting::new();
        let covered = self.covered().await?;
        let expected = |uid: &Uid, goal: &Head| covered.get(uid).is_some_and(|first| *first <= goal.sequence);
        for (uid, goal) in self.goals.iter().filter(|(uid, goal)| asked(uid) && expected(uid, goal)) {
            let mut not_yet = vec![];
            comparisons::told_reached(told.get(uid), goal, parked.get(uid).copied(), &mut not_yet);
            if !not_yet.is_empty() {
                left.insert(uid.clone(), not_yet);
            }
        }
        Ok(left)
    }

    /// Judges what somebody says about `sequence` of a stream by what the ledger knows of it, and answers its head.
    ///
    /// The goal will do if it is not older than that: the ledger only grows. Otherwise the head is read, now.
    async fn at(
        &mut self,
        uid: &Uid,
        sequence: Option<Sequence>,
        judge: impl FnOnce(Known<'_>, &mut Vec<Violation>),
    ) -> Result<Option<Head>, StoreError> {
        let sequence = sequence.unwrap_or_default();
        let head = match self.goals.get(uid) {
            Some(goal) if goal.sequence >= sequence => Some(goal.clone()),
            _ => self.store.head(uid).await?,
        };
        let is_older = head.as_ref().is_some_and(|head| head.sequence > sequence) && sequence >= Sequence::FIRST;
        let row = if is_older { self.store.row(uid, sequence).await? } else { None };
        let mut found = vec![];
        judge(Known { era: self.era, head: head.as_ref(), row: row.as_ref() }, &mut found);
        // What is wrong for ever is found again by each look.
        found.retain(|violation| !self.compared.violations.contains(violation));
        self.compared.violations.extend(found);
        Ok(head)
    }

    async fn heads(&self) -> Result<BTreeMap<Uid, Head>, StoreError> {
        let mut heads = BTreeMap::new();
        loop {
            let after = heads.last_key_value().map(|(uid, _): (&Uid, &Head)| uid.clone());
            let page = self.store.heads(after.as_ref(), false, PAGE).await?;
            if page.is_empty() {
                return Ok(heads);
            }
            heads.extend(page.into_iter().map(|head| (head.subject.uid.clone(), head)));
        }
    }

    /// The places that are voided for any destination, by stream.
    async fn voids(&self) -> Result<BTreeMap<Uid, BTreeSet<Sequence>>, StoreError> {
        let mut voids: BTreeMap<Uid, BTreeSet<Sequence>> = BTreeMap::new();
        let mut last: Option<Voided> = None;
        loop {
            let after = last.as_ref().map(|voided| (&voided.destination, &voided.uid, voided.sequence));
            let page = self.store.voids(after, PAGE).await?;
            let Some(newest) = page.last() else { return Ok(voids) };
            last = Some(newest.clone());
            for voided in page {
                voids.entry(voided.uid).or_default().insert(voided.sequence);
            }
        }
    }

    /// The first place of each stream that any destination hears of; streams that none hears of are not in it.
    async fn covered(&self) -> Result<BTreeMap<Uid, Sequence>, StoreError> {
        let mut covered: BTreeMap<Uid, Sequence> = BTreeMap::new();
        let mut last: Option<(DestinationId, Uid)> = None;
        loop {
            let after = last.as_ref().map(|(destination, uid)| (destination, uid));
            let page = self.store.lanes(after, false, PAGE).await?;
            let Some(newest) = page.last() else { return Ok(covered) };
            last = Some((newest.destination.clone(), newest.uid.clone()));
            for lane in page {
                covered.entry(lane.uid).and_modify(|first| *first = lane.first.min(*first)).or_insert(lane.first);
            }
        }
    }

    /// The lanes that still owe something.
    async fn owing(&self) -> Result<Vec<LaneView>, StoreError> {
        let mut lanes: Vec<LaneView> = vec![];
        loop {
            let after = lanes.last().map(|lane| (lane.destination.clone(), lane.uid.clone()));
            let after = after.as_ref().map(|(destination, uid)| (destination, uid));
            let mut page = self.store.lanes(after, true, PAGE).await?;
            if page.is_empty() {
                return Ok(lanes);
            }
            lanes.append(&mut page);
        }
    }

    fn note(&mut self, lanes: &[LaneView]) {
        let of = |wanted: LaneState| {
            let some = lanes.iter().filter(move |lane| lane.state == wanted);
            let owed = some.clone().map(|lane| lane.head.get().saturating_sub(lane.acked.get())).sum::<i64>();
            (u64::try_from(some.count()).unwrap_or(0), u64::try_from(owed).unwrap_or(0))
        };
        let words = [(LaneState::Open, "waits for delivery", "status"), (LaneState::Parked, "is parked", "parked")];
        for (state, word, command) in words {
            let (lanes, events) = of(state);
            if lanes > 0 {
                let (lanes, events) = (describe::count(lanes, "resource"), describe::count(events, "event"));
                self.compared.notes.push(format!("{events} of {lanes} {word}; see `trueup outbox {command}`"));
            }
        }
    }
}
