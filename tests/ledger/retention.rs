//! Old rows go, and nothing that anybody still needs goes with them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio_util::sync::CancellationToken;
use trueup::{
    domain::{DestinationId, Epoch, Sequence, Shard, Uid},
    ledger::{ClaimRequest, PruneStep, RowQuery, Settlement, pruner},
};

use crate::lab::{Lab, SHARD, draft, nth};

/// How many positions a partition has here.
const PARTITION: i64 = 8;

async fn sequences(lab: &Lab, uid: &str) -> Vec<i64> {
    let query = RowQuery { uid: Some(Uid::new(uid)), ..RowQuery::default() };
    lab.store.rows(&query).await.unwrap().iter().map(|row| row.sequence.get()).collect()
}

/// Acknowledges what the lane of `uid` owes, up to `through`.
async fn acknowledge(lab: &Lab, destination: &DestinationId, uid: &str, through: i64) {
    let claims = lab.store.claim(&lab.request(destination), lab.now()).await.unwrap();
    let ends: Vec<_> = claims
        .into_iter()
        .map(|claim| {
            let through = if claim.uid.as_str() == uid { Sequence::new(through) } else { claim.acked };
            let settlement = Settlement::Retry { through, delay: Duration::ZERO, error: "enough".into() };
            (claim.destination, claim.uid, claim.token, settlement)
        })
        .collect();
    lab.store.settle(&ends, lab.now()).await.unwrap();
}

async fn prune_everything(lab: &Lab) -> u64 {
    pruner::prune(&*lab.store, lab.now()).await.unwrap()
}

async fn pruned(lab: &Lab, uid: &str) -> i64 {
    let found = lab.store.pruned(&[Uid::new(uid)]).await.unwrap();
    found.first().map_or(0, |row| row.sequence.get())
}

pub async fn old_rows_go_and_what_is_needed_stays(lab: Lab) {
    lab.partition_by(PARTITION).await;
    let billing = DestinationId::new("billing");
    let epoch = lab.lead().await;
    lab.store.open_destination(&billing, lab.now()).await.unwrap();
    // 16 positions: two partitions, and none more.
    for (uid, rows) in [("quiet", 4), ("owed", 6), ("closed", 0)] {
        lab.stream(epoch, uid, rows).await;
    }
    for (after, to) in [(0, "Pending"), (1, "Terminating"), (2, "Deleted")] {
        lab.append(epoch, &[draft("closed", after, to, lab.now())]).await;
    }
    lab.stream(epoch, "filler", 3).await;
    acknowledge(&lab, &billing, "quiet", 4).await;
    acknowledge(&lab, &billing, "owed", 3).await;
    acknowledge(&lab, &billing, "closed", 3).await;
    acknowledge(&lab, &billing, "filler", 3).await;
    let heads = lab.store.heads(None, false, 10).await.unwrap();
    lab.pass(Duration::from_hours(1)).await;

    assert_eq!(prune_everything(&lab).await, 3 + 3 + 2 + 2);
    assert_eq!(sequences(&lab, "quiet").await, [4], "its newest row stays");
    assert_eq!(sequences(&lab, "owed").await, [4, 5, 6], "and what billing has not got yet");
    assert_eq!(sequences(&lab, "closed").await, [3]);
    assert_eq!((pruned(&lab, "owed").await, pruned(&lab, "closed").await), (3, 2));
    assert_eq!(lab.store.heads(None, false, 10).await.unwrap(), heads, "no stream forgets who and where it is");
    lab.assert_clean().await;
    assert_eq!(prune_everything(&lab).await, 0, "once is enough");

    // It goes on as if nothing had happened.
    lab.append(epoch, &[nth("quiet", 4, lab.now()), nth("owed", 6, lab.now())]).await;
    let claims = lab.store.claim(&lab.request(&billing), lab.now()).await.unwrap();
    let told: BTreeMap<_, Vec<_>> = claims
        .iter()
        .map(|claim| (claim.uid.as_str(), claim.rows.iter().map(|row| row.sequence.get()).collect()))
        .collect();
    assert_eq!(told, BTreeMap::from([("owed", vec![4, 5, 6, 7]), ("quiet", vec![5])]));
    lab.assert_clean().await;
}

pub async fn rows_that_are_not_old_stay(lab: Lab) {
    lab.partition_by(PARTITION).await;
    let epoch = lab.lead().await;
    lab.stream(epoch, "a", 2 * PARTITION).await;
    let then = lab.now();
    lab.pass(Duration::from_hours(1)).await;
    lab.append(epoch, &[nth("a", 2 * PARTITION, lab.now())]).await;
    assert_eq!(pruner::prune(&*lab.store, then).await.unwrap(), 0, "nothing was recorded before that");
    lab.assert_clean().await;
    // The last of them was recorded an hour ago, the newest is not old.
    pruner::prune(&*lab.store, lab.now()).await.unwrap();
    assert_eq!(sequences(&lab, "a").await, [2 * PARTITION + 1]);
    lab.assert_clean().await;
}

pub async fn what_is_left_of_a_stream_is_its_end_whatever_happens(lab: Lab) {
    let seed = 20_261_121;
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    lab.partition_by(PARTITION).await;
    let destinations = ["billing", "warehouse"].map(DestinationId::new);
    let epoch = lab.lead().await;
    for destination in &destinations {
        lab.store.open_destination(destination, lab.now()).await.unwrap();
    }
    let mut rows: BTreeMap<String, i64> = BTreeMap::new();
    let mut removed = 0;
    for _ in 0..60 {
        append_some(&lab, epoch, &mut random, &mut rows).await;
        for destination in &destinations {
            acknowledge_some(&lab, destination, &mut random).await;
        }
        lab.pass(Duration::from_secs(1)).await;
        let step = PruneStep { before: lab.now(), after: None, limit: random.random_range(1..40) };
        removed += lab.store.prune(&step).await.unwrap().removed;
        lab.assert_clean().await;
    }
    assert!(removed > 50, "{removed} rows are few");
    for (uid, rows) in &rows {
        let left = sequences(&lab, uid).await;
        let first = pruned(&lab, uid).await + 1;
        assert_eq!(left, (first..=*rows).collect::<Vec<_>>(), "{uid} has lost more than its beginning");
    }
    assert!(lab.store.pruned_until(SHARD).await.unwrap().get() > 0);
    assert_eq!(lab.store.pruned_until(Shard::new(7)).await.unwrap().get(), 0);
}

async fn append_some(lab: &Lab, epoch: Epoch, random: &mut StdRng, rows: &mut BTreeMap<String, i64>) {
    let drafts: Vec<_> = (0..random.random_range(1..6))
        .map(|_| {
            let uid = format!("s{}", random.random_range(0..9));
            let n = rows.entry(uid.clone()).or_insert(0);
            *n += 1;
            nth(&uid, *n - 1, lab.now())
        })
        .collect();
    lab.append(epoch, &drafts).await;
}

async fn acknowledge_some(lab: &Lab, destination: &DestinationId, random: &mut StdRng) {
    let request = ClaimRequest { lanes: random.random_range(1..9), ..lab.request(destination) };
    let claims = lab.store.claim(&request, lab.now()).await.unwrap();
    let ends: Vec<_> = claims
        .into_iter()
        .map(|claim| {
            let through = Sequence::new(random.random_range(claim.acked.get()..=claim.head.get()));
            (claim.destination, claim.uid, claim.token, Settlement::Acked { through })
        })
        .collect();
    lab.store.settle(&ends, lab.now()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_a_horizon_everything_stays_until_there_is_one() {
    let lab = Lab::memory().await;
    let epoch = lab.lead().await;
    lab.stream(epoch, "a", 4).await;
    lab.pass(Duration::from_secs(1)).await;
    let (asked, stop) = (AtomicUsize::new(0), CancellationToken::new());
    let horizon = || (asked.fetch_add(1, Ordering::SeqCst) > 0).then(|| lab.now());
    let watching = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((asked.load(Ordering::SeqCst), sequences(&lab, "a").await), (1, vec![1, 2, 3, 4]));
        while asked.load(Ordering::SeqCst) < 3 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(sequences(&lab, "a").await, [4]);
        stop.cancel();
    };
    tokio::join!(pruner::run(Arc::clone(&lab.store), horizon, stop.clone()), watching);
}
