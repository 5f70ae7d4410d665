//! Reading the cluster, the ledger and the receiver, again and again, whichever of them answers.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::Client;
use tokio::{sync::watch, time::timeout};

use crate::{
    cli::{
        Failure,
        ask_receiver::{AskError, AskReceiver, cause},
        reading,
    },
    cluster::{self, Freshness, Leadership, Listed},
    domain::{Clock, Epoch, Event, Position, Shard, Timestamp, Uid},
    ledger::{self, Counts, Head, LaneView, Row, RowQuery, Store, StoreError},
    lifecycle::TABLES,
    receiver::ResourceView,
};

/// Whoever takes longer than this does not answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many heads, rows or lanes are asked for at once.
const PAGE: u32 = 500;
/// How many of the newest rows are kept.
const NEWEST: usize = 40;
/// No source is kept busy for more than a fifth of the time.
const REST: u32 = 4;

/// What a source last said, and since when it says nothing more.
#[derive(Clone, Debug, Default)]
pub struct Reading<T> {
    /// The last good answer; blank before the first.
    pub value: T,
    /// Whether there was one.
    pub answered: bool,
    pub trouble: Option<Trouble>,
}

/// A source that does not answer.
#[derive(Clone, Debug)]
pub struct Trouble {
    pub since: Timestamp,
    pub why: String,
}

/// Why a source did not answer.
#[derive(Debug)]
pub struct Problem {
    /// For whoever asked once.
    pub failure: Failure,
    /// In a few words, for whoever keeps looking.
    pub brief: String,
}

impl From<kube::Error> for Problem {
    fn from(error: kube::Error) -> Self {
        let doing = "listing Trueup's objects";
        match error {
            kube::Error::Api(status) if status.code == 404 || status.code == 403 => Self {
                failure: Failure::usage(&format!(
                    "{doing}: {}; are the CRDs there (`trueup crds`), and may you list them?",
                    status.message
                )),
                brief: status.message.clone(),
            },
            error => Self { failure: Failure::unreachable(&format!("{doing}: {error}")), brief: cause(&error) },
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let brief = match &error {
            StoreError::Unavailable { source, .. } => cause(source),
            StoreError::Missing { .. } => "there is no such file yet".to_owned(),
            error => error.to_string(),
        };
        Self { failure: reading::failure(&error), brief }
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        let brief = error.why().to_owned();
        Self { failure: error.into(), brief }
    }
}

/// The cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterSnapshot {
    pub objects: Vec<Listed>,
    pub leader: Option<Leadership>,
    /// Whether the Lease was not renewed for as long as it lasts.
    pub expired: bool,
}

/// The ledger.
#[derive(Clone, Debug, Default)]
pub struct LedgerSnapshot {
    pub heads: BTreeMap<Uid, Head>,
    /// Lanes that owe something, one for each stream: the one that is furthest behind.
    pub owing: BTreeMap<Uid, LaneView>,
    /// The newest rows, newest first.
    pub newest: VecDeque<Newest>,
    pub epoch: Epoch,
    pub position: Position,
    pub counts: Counts,
    pub destinations: usize,
}

/// A row and what it costs.
#[derive(Clone, Debug)]
pub struct Newest {
    pub row: Row,
    pub billable: Option<crate::domain::Billable>,
}

/// The receiver.
#[derive(Clone, Debug, Default)]
pub struct BillingSnapshot {
    pub resources: Vec<ResourceView>,
}

/// Asks `ask` for ever, every `interval` or less often if it is slow, and publishes each answer.
pub async fn poll<T, F>(
    publish: watch::Sender<Reading<T>>,
    clock: Arc<dyn Clock>,
    interval: Duration,
    mut ask: impl FnMut() -> F,
) where
    F: Future<Output = Result<T, Problem>>,
{
    loop {
        let begun = clock.monotonic();
        let answer = timeout(PATIENCE, ask()).await.unwrap_or_else(|_| Err(no_answer()));
        let now = clock.now();
        publish.send_modify(|reading| reading.take_in(answer, now));
        let took = clock.monotonic().saturating_sub(begun);
        tokio::time::sleep(interval.max(took * REST)).await;
    }
}

fn no_answer() -> Problem {
    let brief = format!("no answer within {} s", PATIENCE.as_secs());
    Problem { failure: Failure::unreachable(&brief), brief }
}

impl<T> Reading<T> {
    /// Keeps the last good answer through bad ones.
    pub fn take_in(&mut self, answer: Result<T, Problem>, now: Timestamp) {
        match answer {
            Ok(value) => *self = Self { value, answered: true, trouble: None },
            Err(problem) => self.fails(&problem, now),
        }
    }

    fn fails(&mut self, problem: &Problem, now: Timestamp) {
        let since = self.trouble.as_ref().map_or(now, |trouble| trouble.since);
        self.trouble = Some(Trouble { since, why: problem.brief.clone() });
    }
}

/// A renewal of the Lease, and when this process first saw it.
struct Renewal {
    renewed: Option<Timestamp>,
    first_seen: Duration,
}

/// Asks the cluster.
#[derive(Clone)]
pub struct AskCluster {
    pub client: Client,
    pub namespace: String,
    pub clock: Arc<dyn Clock>,
    seen: Arc<Mutex<Option<Renewal>>>,
}

impl AskCluster {
    pub fn new(client: Client, namespace: String, clock: Arc<dyn Clock>) -> Self {
        Self { client, namespace, clock, seen: Arc::default() }
    }

    pub async fn ask(&self) -> Result<ClusterSnapshot, Problem> {
        let (objects, leader) = tokio::join!(
            cluster::list(&self.client, Freshness::Cached),
            cluster::leadership(&self.client, &self.namespace)
        );
        let objects = objects?;
        // Not everybody who may look at resources may look at the Lease.
        let leader = leader.ok().flatten();
        let expired = leader.as_ref().is_some_and(|leader| self.expired(leader));
        Ok(ClusterSnapshot { objects, leader, expired })
    }

    /// Judged by this machine's clock alone, from when the renewal was first seen; the first one by the holder's.
    fn expired(&self, leader: &Leadership) -> bool {
        let (now, wall) = (self.clock.monotonic(), self.clock.now());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let age = leader.renewed.map_or(Duration::ZERO, |renewed| wall.since(renewed));
        let first_seen = match &*seen {
            Some(last) if last.renewed == leader.renewed => last.first_seen,
            Some(_) => now,
            None => now.saturating_sub(age),
        };
        *seen = Some(Renewal { renewed: leader.renewed, first_seen });
        now.saturating_sub(first_seen) > leader.duration
    }
}

/// Asks the receiver.
pub async fn ask_billing(receiver: &AskReceiver) -> Result<BillingSnapshot, Problem> {
    Ok(BillingSnapshot { resources: receiver.resources().await? })
}

/// Reads the ledger: all of it once, and then only what is new.
pub struct ReadLedger {
    url: String,
    store: Option<Arc<dyn Store>>,
}

impl ReadLedger {
    pub fn new(url: String) -> Self {
        Self { url, store: None }
    }

    /// Brings `reading` up to date, as far as that goes. A ledger that is not there yet may come.
    pub async fn refresh(&mut self, reading: &mut Reading<LedgerSnapshot>, now: Timestamp) -> Result<(), Problem> {
        let answer = match timeout(PATIENCE, self.bring(&mut reading.value)).await {
            Ok(answer) => answer,
            Err(_) => Err(no_answer()),
        };
        match &answer {
            Ok(()) => (reading.answered, reading.trouble) = (true, None),
            Err(problem) => reading.fails(problem, now),
        }
        answer
    }

    async fn bring(&mut self, known: &mut LedgerSnapshot) -> Result<(), Problem> {
        let store = match &self.store {
            Some(store) => store.clone(),
            None => ledger::open_existing(&self.url, TABLES).await?.0,
        };
        bring(&*store, known).await?;
        self.store = Some(store);
        Ok(())
    }
}

async fn bring(store: &dyn Store, known: &mut LedgerSnapshot) -> Result<(), StoreError> {
    let shard = Shard::default();
    let row = store.shard(shard).await?;
    if row.head < known.position {
        // Another ledger than a moment ago.
        *known = LedgerSnapshot::default();
    }
    known.epoch = row.epoch;
    if known.position == Position::default() {
        known.heads = all_heads(store).await?;
        let kept = i64::try_from(NEWEST).unwrap_or(0);
        known.position = Position::new((row.head.get() - kept).max(0));
    }
    loop {
        let query = RowQuery { after: Some((shard, known.position)), limit: PAGE, ..RowQuery::default() };
        let page = store.rows(&query).await?;
        if page.is_empty() {
            break;
        }
        for row in page {
            if known.heads.get(&row.uid).is_none_or(|head| head.sequence < row.sequence)
                && let Some(head) = store.head(&row.uid).await?
            {
                known.heads.insert(row.uid.clone(), head);
            }
            // Whatever interrupts this, what was taken in is taken in.
            known.position = row.position;
            let billable = Event::verify(&row.body).ok().map(|event| event.data.billable);
            known.newest.push_front(Newest { row, billable });
            known.newest.truncate(NEWEST);
        }
    }
    known.counts = store.counts().await?;
    known.destinations = store.destinations().await?.len();
    known.owing = owing(store).await?;
    Ok(())
}

async fn all_heads(store: &dyn Store) -> Result<BTreeMap<Uid, Head>, StoreError> {
    let mut heads = BTreeMap::new();
    loop {
        let after = heads.last_key_value().map(|(uid, _): (&Uid, &Head)| uid.clone());
        let page = store.heads(after.as_ref(), false, PAGE).await?;
        if page.is_empty() {
            return Ok(heads);
        }
        heads.extend(page.into_iter().map(|head| (head.subject.uid.clone(), head)));
    }
}

async fn owing(store: &dyn Store) -> Result<BTreeMap<Uid, LaneView>, StoreError> {
    let mut owing: BTreeMap<Uid, LaneView> = BTreeMap::new();
    let mut after = None;
    loop {
        let place = after.as_ref().map(|(destination, uid)| (destination, uid));
        let page = store.lanes(place, true, PAGE).await?;
        let Some(last) = page.last() else { return Ok(owing) };
        after = Some((last.destination.clone(), last.uid.clone()));
        for lane in page {
            if owing.get(&lane.uid).is_none_or(|other| other.acked > lane.acked) {
                owing.insert(lane.uid.clone(), lane);
            }
        }
    }
}
