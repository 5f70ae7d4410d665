//! What becomes of each operation while the ledger grows, in turn with the same on a ledger of next to nothing.

use std::time::Duration;

use trueup::{
    domain::{Kind, Random, SeededRandom, SystemRandom, Uid},
    ledger::{ClaimRequest, Outcome, RowQuery, Settlement},
};

use crate::{
    fill::{Lanes, fill},
    fleet::Stream,
    place::{Lab, Ledger, SHARD, billing},
    plan::Plan,
    report::Report,
    timing::{Spans, timed},
};

const SIZES: [(u64, &str); 4] = [(10_000, "10k"), (100_000, "100k"), (1_000_000, "1m"), (10_000_000, "10m")];
/// Rows of one stream.
const DEPTH: u64 = 20;
/// What stands in the ledger that the others are compared with.
const NEXT_TO_NOTHING: u64 = 500;
const SAMPLE: usize = 1_500;
const BATCH: usize = 500;
const LANES: u32 = 64;

pub async fn run(plan: &Plan, lab: &Lab, report: &mut Report) {
    for kind in &plan.kinds {
        let (empty, grown) = (lab.ledger(*kind).await, lab.ledger(*kind).await);
        fill(&empty, "standing", NEXT_TO_NOTHING, DEPTH, Lanes::Idle).await;
        let mut standing = 0;
        for (size, label) in SIZES.into_iter().filter(|(size, _)| *size <= plan.curve) {
            fill(&grown, label, (size - standing) / DEPTH, DEPTH, Lanes::Idle).await;
            standing = size;
            // By processes that know no stream yet: one that remembers its streams' heads need not read them.
            let (empty, grown) = (empty.again().await, grown.again().await);
            let mut pair = [Side::of(&empty).await, Side::of(&grown).await];
            for n in 0..plan.scale(300) {
                for side in &mut pair {
                    side.lone(n).await;
                    side.history(n).await;
                }
            }
            for n in 0..plan.scale(60) {
                for side in &mut pair {
                    side.claim(n).await;
                }
            }
            for _ in 0..plan.scale(20) {
                for side in &mut pair {
                    side.batch().await;
                }
            }
            let [mut before, mut after] = pair;
            for (what, before, after) in [
                ("lone", &mut before.lone, &mut after.lone),
                ("batch", &mut before.batch, &mut after.batch),
                ("claim", &mut before.claim, &mut after.claim),
                ("history", &mut before.history, &mut after.history),
            ] {
                let name = format!("curve.{}.{what}.{label}", kind.name());
                report.put(format!("{name}.p50"), after.median(), "ms");
                report.put(format!("{name}.ratio"), after.median() / before.median(), "x of empty");
            }
        }
        // The next store needs the room.
        grown.execute("DROP TABLE transition").await;
        if let crate::place::Place::Sqlite(_) = grown.place {
            grown.execute("VACUUM").await;
        }
    }
}

/// One of the two ledgers, and what was measured on it.
struct Side<'a> {
    ledger: &'a Ledger,
    streams: Vec<Stream>,
    lone: Spans,
    batch: Spans,
    claim: Spans,
    history: Spans,
}

impl<'a> Side<'a> {
    async fn of(ledger: &'a Ledger) -> Self {
        let (lone, batch, claim, history) = Default::default();
        Self { ledger, streams: sample(ledger).await, lone, batch, claim, history }
    }

    async fn lone(&mut self, n: usize) {
        let at = n % self.streams.len();
        let draft = self.streams[at].next(self.ledger.clock.now());
        let now = self.ledger.clock.now();
        let (took, outcomes) = timed(self.ledger.store.append(SHARD, self.ledger.epoch, now, &[draft])).await;
        assert!(matches!(outcomes.unwrap()[0], Outcome::Appended(_)));
        self.lone.push(took);
    }

    /// As `trueup history` asks.
    async fn history(&mut self, n: usize) {
        let stream = &self.streams[self.streams.len() - 1 - n % self.streams.len()];
        let named = (Kind::AppDeployment, Some("acme-production".to_owned()), stream.name.clone());
        let query = RowQuery { named: Some(named), limit: 15, ..RowQuery::default() };
        let (took, rows) = timed(self.ledger.store.rows(&query)).await;
        assert_eq!(rows.unwrap().len(), 15);
        self.history.push(took);
    }

    /// A claim of lanes that appends woke, and the end of it.
    async fn claim(&mut self, n: usize) {
        let (store, now) = (&self.ledger.store, self.ledger.clock.now());
        let lanes = usize::try_from(LANES).unwrap();
        let count = self.streams.len();
        let drafts: Vec<_> = (0..lanes).map(|of| self.streams[(n * lanes + of) % count].next(now)).collect();
        store.append(SHARD, self.ledger.epoch, now, &drafts).await.unwrap();
        let request = ClaimRequest {
            destination: billing(),
            lanes: LANES,
            retries: LANES,
            rows: 32,
            lease: Duration::from_mins(1),
            token: SystemRandom.token(),
        };
        let (took, claims) = timed(store.claim(&request, now)).await;
        let claims = claims.unwrap();
        assert!(!claims.is_empty());
        self.claim.push(took);
        let ends: Vec<_> = claims
            .into_iter()
            .map(|claim| (claim.destination, claim.uid, claim.token, Settlement::Acked { through: claim.head }))
            .collect();
        store.settle(&ends, now).await.unwrap();
    }

    async fn batch(&mut self) {
        let now = self.ledger.clock.now();
        let count = self.streams.len();
        let drafts: Vec<_> = (0..BATCH).map(|n| self.streams[n % count].next(now)).collect();
        let (took, outcomes) = timed(self.ledger.store.append(SHARD, self.ledger.epoch, now, &drafts)).await;
        assert!(outcomes.unwrap().iter().all(|outcome| matches!(outcome, Outcome::Appended(_))));
        self.batch.push(took);
    }
}

/// Some of the ledger's streams, from all over it.
async fn sample(ledger: &Ledger) -> Vec<Stream> {
    let random = SeededRandom::new(11);
    let mut found = std::collections::BTreeMap::new();
    for _ in 0..SAMPLE {
        let somewhere = Uid::new(format!("{:08x}", random.bits() >> 32));
        for head in ledger.store.heads(Some(&somewhere), false, 1).await.unwrap() {
            let (uid, sequence) = (head.subject.uid.as_str().to_owned(), head.sequence.get());
            found.insert(uid.clone(), Stream { uid, name: head.subject.name, sequence });
        }
    }
    let mut streams: Vec<_> = found.into_values().collect();
    // In no order, so that neighbours in an index are not asked for one after the other.
    streams.sort_by_key(|stream| stream.name.bytes().rev().collect::<Vec<_>>());
    streams
}
