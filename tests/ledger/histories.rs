//! Generated histories: writers that lead, are deposed, compete and crash; relays that claim, fail and come late; clocks
//! that jump. Each is played on a store, on a ledger in memory beside it, and on a model that knows nothing of either.
//!
//! A failing seed is a bug report: the panic's message begins with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures::FutureExt;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use trueup::{
    domain::{DestinationId, Effective, Epoch, Sequence, Token, Uid},
    ledger::{AppendError, Claim, ClaimRequest, Draft, Head, LaneView, Outcome, RowQuery, Settlement, Store, lanes},
};

use crate::lab::{Lab, SHARD, START, draft};

const STEPS: usize = 20;
const UIDS: [&str; 5] = ["a", "b", "c", "d", "e"];
const DESTINATIONS: [&str; 2] = ["archive", "billing"];
const STATES: [&str; 6] = ["Pending", "Available", "Degraded", "Failed", "Terminating", "Deleted"];

/// The pairs as a person would list them, to check the table that the ledger reads.
const PAIRS: [(&str, &str); 11] = [
    ("Pending", "Available"),
    ("Pending", "Failed"),
    ("Pending", "Terminating"),
    ("Available", "Degraded"),
    ("Available", "Terminating"),
    ("Degraded", "Available"),
    ("Degraded", "Terminating"),
    ("Failed", "Available"),
    ("Failed", "Terminating"),
    ("Terminating", "Deleted"),
    ("Deleted", "Pending"),
];

type Key = (DestinationId, Uid);

/// What a ledger is, in as few words as possible.
#[derive(Default)]
struct Model {
    epoch: i64,
    streams: BTreeMap<&'static str, Vec<&'static str>>,
    open: BTreeSet<DestinationId>,
    acked: BTreeMap<Key, i64>,
    /// How often each was set back since it last progressed, and how far it had been.
    backs: BTreeMap<Key, (u32, i64)>,
    held: BTreeMap<Key, Token>,
    parked: BTreeSet<Key>,
}

#[derive(PartialEq, Eq, Debug)]
enum Fate {
    Appended(i64),
    Stale,
    Illegal,
}

impl Model {
    fn length(&self, uid: &str) -> i64 {
        self.streams.get(uid).map_or(0, |rows| i64::try_from(rows.len()).unwrap())
    }

    fn append(&mut self, plan: &Plan) -> Fate {
        let length = self.length(plan.uid);
        let last = self.streams.get(plan.uid).and_then(|rows| rows.last().copied());
        if plan.after != length {
            return Fate::Stale;
        }
        let legal = match last {
            None => plan.to == "Pending",
            Some(last) => PAIRS.contains(&(last, plan.to)) || (last == plan.to && last != "Deleted"),
        };
        if !legal {
            return Fate::Illegal;
        }
        self.streams.entry(plan.uid).or_default().push(plan.to);
        Fate::Appended(length + 1)
    }

    fn settle(&mut self, key: &Key, token: &Token, settlement: &Settlement) -> bool {
        if self.held.get(key) != Some(token) {
            return false;
        }
        self.held.remove(key);
        let head = self.length(key.1.as_str());
        let acked = self.acked.entry(key.clone()).or_default();
        match settlement {
            Settlement::Acked { through }
            | Settlement::Retry { through, .. }
            | Settlement::Doubt { through, .. }
            | Settlement::Park { through, .. } => {
                if through.get() > *acked {
                    *acked = through.get().min(head);
                    if self.backs.get(key).is_some_and(|(_, furthest)| *acked > *furthest) {
                        self.backs.remove(key);
                    }
                }
                if matches!(settlement, Settlement::Park { .. }) {
                    self.parked.insert(key.clone());
                }
            }
            Settlement::Rewind { expected, .. } => {
                let (backs, furthest) = self.backs.entry(key.clone()).or_default();
                if expected.get() - 1 <= *acked {
                    *backs += 1;
                    *furthest = (*furthest).max(*acked);
                }
                if expected.get() > head + 1 || *backs == 3 {
                    self.parked.insert(key.clone());
                } else {
                    *acked = expected.get() - 1;
                }
            }
        }
        true
    }
}

/// A draft before it has times.
#[derive(Clone, Copy, Debug)]
struct Plan {
    uid: &'static str,
    after: i64,
    to: &'static str,
}

struct History {
    lab: Lab,
    // Another process on the same database.
    other: Arc<dyn Store>,
    reference: Lab,
    model: Model,
    rng: StdRng,
    // What each of two processes believes its term to be.
    terms: [Epoch; 2],
    claims: Vec<Claim>,
}

pub async fn generated_histories_agree_with_the_model(mut lab: Lab) {
    let (histories, offset) = if lab.is_memory() {
        (800, 0)
    } else if lab.is_postgres() {
        (100, 10_000)
    } else {
        (120, 20_000)
    };
    for seed in offset..offset + histories {
        let play = std::panic::AssertUnwindSafe(play(lab, seed)).catch_unwind().await;
        let played = play.unwrap_or_else(|_| panic!("seed {seed} failed; what it found stands above"));
        lab = played.emptied().await;
    }
}

async fn play(lab: Lab, seed: u64) -> Lab {
    let mut history = History {
        other: lab.reopen(),
        lab,
        reference: Lab::memory().await,
        model: Model::default(),
        rng: StdRng::seed_from_u64(seed),
        terms: [Epoch::default(); 2],
        claims: Vec::new(),
    };
    history.take_over(0).await;
    for _ in 0..STEPS {
        history.step().await;
    }
    history.compare().await;
    history.lab
}

impl History {
    async fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..35 => self.append().await,
            35..41 => self.compete().await,
            41..45 => self.crash().await,
            45..49 => {
                let who = self.rng.random_range(0..2);
                self.take_over(who).await;
            }
            49..55 => self.open_or_close().await,
            55..72 => self.claim().await,
            72..90 => self.settle().await,
            90..96 => self.pass().await,
            96..98 => self.other = self.lab.reopen(),
            _ => std::mem::swap(&mut self.lab.store, &mut self.other),
        }
    }

    fn plan(&mut self) -> Plan {
        let uid = *UIDS.choose(&mut self.rng).unwrap();
        let length = self.model.length(uid);
        let last = self.model.streams.get(uid).and_then(|rows| rows.last().copied());
        // Mostly sensible, so that histories get somewhere.
        let next: Vec<_> = PAIRS.iter().filter(|(from, _)| Some(*from) == last).map(|(_, to)| *to).collect();
        let to = match (last, self.rng.random_range(0..10)) {
            (_, 0) => *STATES.choose(&mut self.rng).unwrap(),
            (None, _) => "Pending",
            (Some(last), 1..3) => last,
            (Some(_), _) => *next.choose(&mut self.rng).unwrap(),
        };
        let after = if self.rng.random_ratio(1, 8) { self.rng.random_range(0..=length + 1) } else { length };
        Plan { uid, after, to }
    }

    /// Drafts that, one after the other, mostly fit.
    fn plans(&mut self, uids: Option<&[&'static str]>) -> Vec<Plan> {
        let count = self.rng.random_range(1..6);
        let mut ahead: BTreeMap<&str, i64> = BTreeMap::new();
        let mut plans = Vec::new();
        while plans.len() < count {
            let mut plan = self.plan();
            if uids.is_some_and(|uids| !uids.contains(&plan.uid)) {
                continue;
            }
            plan.after += ahead.get(plan.uid).copied().unwrap_or(0);
            *ahead.entry(plan.uid).or_default() += 1;
            plans.push(plan);
        }
        plans
    }

    fn drafts(&mut self, plans: &[Plan]) -> Vec<Draft> {
        let now = self.lab.now();
        plans
            .iter()
            .map(|plan| {
                let mut draft = draft(plan.uid, plan.after, plan.to, now);
                let ago = Duration::from_micros(self.rng.random_range(0..5_000_000));
                let then =
                    trueup::domain::Timestamp::from_micros(now.as_micros() - i64::try_from(ago.as_micros()).unwrap());
                draft.effective = match self.rng.random_range(0..3) {
                    0 => Effective::reported(then, now),
                    1 => Effective::observed(then, now),
                    _ => Effective::inferred(then, now),
                };
                draft.billable.replicas = self.rng.random_range(0..4);
                draft.evidence = self.rng.random_ratio(1, 5).then(|| "seen\0there".to_owned());
                draft
            })
            .collect()
    }

    fn term(&mut self) -> Epoch {
        // Mostly the one that leads.
        let current = Epoch::new(self.model.epoch);
        if self.rng.random_ratio(1, 10) { *self.terms.choose(&mut self.rng).unwrap() } else { current }
    }

    /// Plays what the store answered on the reference and on the model.
    async fn follow(
        &mut self,
        epoch: Epoch,
        plans: &[Plan],
        drafts: &[Draft],
        said: Result<Vec<Outcome>, AppendError>,
    ) {
        let reference = self.reference.store.append(SHARD, epoch, self.lab.now(), drafts).await;
        if epoch.get() != self.model.epoch {
            assert!(matches!(said, Err(AppendError::Fenced { .. })), "epoch {epoch}: {said:?}");
            assert!(matches!(reference, Err(AppendError::Fenced { .. })), "epoch {epoch}: {reference:?}");
            return;
        }
        let (said, reference) = (said.unwrap(), reference.unwrap());
        for ((plan, said), reference) in plans.iter().zip(&said).zip(&reference) {
            let fate = match said {
                Outcome::Appended(head) => Fate::Appended(head.sequence.get()),
                Outcome::Stale(_) => Fate::Stale,
                Outcome::Illegal(_) => Fate::Illegal,
            };
            assert_eq!(fate, self.model.append(plan), "{plan:?}");
            assert_eq!(said, reference, "{plan:?}");
        }
    }

    async fn append(&mut self) {
        let plans = self.plans(None);
        let drafts = self.drafts(&plans);
        let epoch = self.term();
        let said = self.lab.store.append(SHARD, epoch, self.lab.now(), &drafts).await;
        self.follow(epoch, &plans, &drafts, said).await;
    }

    /// Two processes at once, on streams of their own. Which came first is read from the positions.
    async fn compete(&mut self) {
        let (left, right) = UIDS.split_at(self.rng.random_range(1..UIDS.len()));
        let plans = [self.plans(Some(left)), self.plans(Some(right))];
        let drafts = [self.drafts(&plans[0]), self.drafts(&plans[1])];
        let epochs = [self.term(), self.term()];
        let before = self.lab.store.shard(SHARD).await.unwrap().head;
        let now = self.lab.now();
        let (first, second) = tokio::join!(
            self.lab.store.append(SHARD, epochs[0], now, &drafts[0]),
            self.other.append(SHARD, epochs[1], now, &drafts[1])
        );
        let query = RowQuery { after: Some((SHARD, before)), limit: 1, ..RowQuery::default() };
        let next = self.lab.store.rows(&query).await.unwrap().pop();
        let first_came_first = next.is_none_or(|row| left.contains(&row.uid.as_str()));
        let mut said = [Some(first), Some(second)];
        for turn in if first_came_first { [0, 1] } else { [1, 0] } {
            self.follow(epochs[turn], &plans[turn], &drafts[turn], said[turn].take().unwrap()).await;
        }
    }

    /// A process dies somewhere within an append. Afterwards all of it is there or nothing.
    async fn crash(&mut self) {
        let plans = self.plans(None);
        let drafts = self.drafts(&plans);
        let epoch = Epoch::new(self.model.epoch);
        let store = Arc::clone(if self.rng.random_ratio(1, 2) { &self.other } else { &self.lab.store });
        let before = self.lab.store.shard(SHARD).await.unwrap().head;
        let polls = self.rng.random_range(1..80);
        let now = self.lab.now();
        let mut appending = store.append(SHARD, epoch, now, &drafts);
        for _ in 0..polls {
            let polled = std::future::poll_fn(|context| Poll::Ready(appending.poll_unpin(context))).await;
            if polled.is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(appending);
        // What the dead process has sent may be carried out only now: the takeover that follows it is before or after that.
        let successor = self.rng.random_range(0..2);
        let name = format!("process {successor}");
        self.lab.store.take_over(SHARD, &name).await.unwrap();
        if self.lab.store.shard(SHARD).await.unwrap().head > before {
            self.reference.store.append(SHARD, epoch, now, &drafts).await.unwrap();
            for plan in &plans {
                self.model.append(plan);
            }
        }
        self.reference.store.take_over(SHARD, &name).await.unwrap();
        self.model.epoch += 1;
        self.terms[successor] = Epoch::new(self.model.epoch);
        assert_eq!(self.heads(&self.lab).await, self.heads(&self.reference).await, "all of it or nothing");
    }

    async fn take_over(&mut self, who: usize) {
        self.model.epoch += 1;
        let name = format!("process {who}");
        for lab in [&self.lab, &self.reference] {
            assert_eq!(lab.store.take_over(SHARD, &name).await.unwrap().get(), self.model.epoch);
        }
        self.terms[who] = Epoch::new(self.model.epoch);
    }

    async fn open_or_close(&mut self) {
        let id = DestinationId::new(*DESTINATIONS.choose(&mut self.rng).unwrap());
        if self.rng.random_ratio(3, 4) {
            let new = self.model.open.insert(id.clone());
            for lab in [&self.lab, &self.reference] {
                assert_eq!(lab.store.open_destination(&id, self.lab.now()).await.unwrap(), new);
            }
            return;
        }
        self.model.open.remove(&id);
        self.model.acked.retain(|key, _| key.0 != id);
        self.model.backs.retain(|key, _| key.0 != id);
        self.model.held.retain(|key, _| key.0 != id);
        self.model.parked.retain(|key| key.0 != id);
        let owed = self.reference.store.close_destination(&id).await.unwrap();
        assert_eq!(self.lab.store.close_destination(&id).await.unwrap(), owed);
    }

    async fn claim(&mut self) {
        let destination = DestinationId::new(*DESTINATIONS.choose(&mut self.rng).unwrap());
        let request = ClaimRequest {
            rows: self.rng.random_range(1..4),
            retries: if self.rng.random_ratio(1, 4) { 0 } else { 100 },
            lease: Duration::from_mins(10),
            ..self.lab.request(&destination)
        };
        let mut said = self.lab.store.claim(&request, self.lab.now()).await.unwrap();
        let mut reference = self.reference.store.claim(&request, self.lab.now()).await.unwrap();
        // How long ago something was, and in which order they fell due, is for the store's own clock.
        for claim in said.iter_mut().chain(&mut reference) {
            claim.doubt = claim.doubt.map(|_| Duration::ZERO);
        }
        said.sort_by(|a, b| a.uid.cmp(&b.uid));
        reference.sort_by(|a, b| a.uid.cmp(&b.uid));
        assert_eq!(said, reference);
        for claim in said {
            let key = (claim.destination.clone(), claim.uid.clone());
            assert!(!self.model.parked.contains(&key) && self.model.open.contains(&key.0), "{key:?}");
            let acked = self.model.acked.get(&key).copied().unwrap_or(0);
            assert_eq!((claim.acked.get(), claim.head.get()), (acked, self.model.length(key.1.as_str())));
            for (row, expected) in claim.rows.iter().zip(acked + 1..) {
                assert_eq!(row.sequence.get(), expected);
            }
            self.model.held.insert(key, claim.token.clone());
            self.claims.push(claim);
        }
    }

    async fn settle(&mut self) {
        let count = self.rng.random_range(1..4).min(self.claims.len());
        let mut settled = Vec::new();
        for _ in 0..count {
            let claim = self.claims[self.rng.random_range(0..self.claims.len())].clone();
            // Late ones stay, to be settled again by a holder that does not know.
            if self.rng.random_ratio(3, 4) {
                self.claims.retain(|other| other != &claim);
            }
            let settlement = self.settlement(&claim);
            settled.push((claim.destination, claim.uid, claim.token, settlement));
            if self.claims.is_empty() {
                break;
            }
        }
        let said = self.lab.store.settle(&settled, self.lab.now()).await.unwrap();
        assert_eq!(said, self.reference.store.settle(&settled, self.lab.now()).await.unwrap());
        for ((destination, uid, token, settlement), said) in settled.into_iter().zip(said) {
            assert_eq!(said, self.model.settle(&(destination, uid), &token, &settlement), "{settlement:?}");
        }
    }

    fn settlement(&mut self, claim: &Claim) -> Settlement {
        let sent = i64::try_from(claim.rows.len()).unwrap();
        let through = Sequence::new(claim.acked.get() + self.rng.random_range(0..=sent));
        let error = "what the receiver said".to_owned();
        match self.rng.random_range(0..10) {
            0..5 => Settlement::Acked { through },
            5..8 => {
                let delay = Duration::from_secs(if self.rng.random() { 0 } else { 1_000 });
                if self.rng.random() {
                    Settlement::Retry { through, delay, error }
                } else {
                    Settlement::Doubt { through, delay, age: Duration::from_secs(1), error }
                }
            }
            8 => {
                let expected = Sequence::new(self.rng.random_range(1..=claim.head.get() + 2));
                Settlement::Rewind { expected, error }
            }
            _ if self.rng.random_ratio(1, 4) => Settlement::Park { through, reason: "permanent-refusal".into(), error },
            _ => Settlement::Rewind { expected: claim.acked.next(), error },
        }
    }

    async fn pass(&mut self) {
        let seconds: i64 = *[1, 700, 1_100, -86_400].choose(&mut self.rng).unwrap();
        self.lab.step(seconds * 1_000_000).await;
    }

    async fn heads(&self, lab: &Lab) -> Vec<Head> {
        lab.store.heads(None, false, 100).await.unwrap()
    }

    async fn compare(&self) {
        let (lab, reference) = (&self.lab.store, &self.reference.store);
        assert_eq!(self.heads(&self.lab).await, self.heads(&self.reference).await);
        let all = RowQuery::default();
        assert_eq!(lab.rows(&all).await.unwrap(), reference.rows(&all).await.unwrap(), "to the byte");
        assert_eq!(lab.stream_rows(None, 1_000).await.unwrap(), reference.stream_rows(None, 1_000).await.unwrap());
        assert_eq!(lab.shard(SHARD).await.unwrap(), reference.shard(SHARD).await.unwrap());
        assert_eq!(lab.counts().await.unwrap(), reference.counts().await.unwrap());
        assert_eq!(lab.destinations().await.unwrap(), self.model.open.iter().cloned().collect::<Vec<_>>());
        for owing in [false, true] {
            let plain = |lane: LaneView| LaneView { next_at: START, ..lane };
            let said: Vec<_> = lab.lanes(None, owing, 100).await.unwrap().into_iter().map(plain).collect();
            let reference: Vec<_> = reference.lanes(None, owing, 100).await.unwrap().into_iter().map(plain).collect();
            assert_eq!(said, reference);
        }
        for id in DESTINATIONS.map(DestinationId::new) {
            let said = lab.oldest_undelivered(&id).await.unwrap();
            assert_eq!(said, reference.oldest_undelivered(&id).await.unwrap());
            let due = lab.next_due(&id, self.lab.now()).await.unwrap();
            let expected = reference.next_due(&id, self.lab.now()).await.unwrap();
            let apart = due.zip(expected).map(|(due, expected)| due.abs_diff(expected));
            assert_eq!(due.is_some(), expected.is_some());
            assert!(apart.is_none_or(|apart| apart < lanes::MAX_LEASE / 30), "{due:?} is not {expected:?}");
        }
        for (uid, states) in &self.model.streams {
            let query = RowQuery { uid: Some(Uid::new(*uid)), ..RowQuery::default() };
            let rows = lab.rows(&query).await.unwrap();
            assert_eq!(rows.iter().map(|row| row.to.as_str()).collect::<Vec<_>>(), *states);
        }
        self.lab.assert_clean().await;
    }
}
