//! A clock that somebody sets, by hours, both ways, while everything goes on.

use std::{collections::BTreeSet, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use trueup::{
    domain::{DestinationId, Uid},
    ledger::{Claim, LaneState, Outcome, RowQuery, Settlement, lanes::MAX_DELAY},
};

use crate::lab::{Lab, SHARD, nth};

const STREAMS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const SEED: u64 = 4;
const HOURS: i64 = 3_600 * 1_000_000;

pub async fn a_clock_that_is_set_by_hours_holds_up_no_lane_and_starts_no_storm(lab: Lab) {
    let (mut rng, billing) = (StdRng::seed_from_u64(SEED), DestinationId::new("billing"));
    let epoch = lab.lead().await;
    lab.store.open_destination(&billing, lab.now()).await.unwrap();
    let mut written = [0; STREAMS.len()];
    for _ in 0..40 {
        lab.step(rng.random_range(-6 * HOURS..=6 * HOURS)).await;
        for (stream, written) in STREAMS.iter().zip(&mut written) {
            if rng.random() {
                let outcomes = lab.append(epoch, &[nth(stream, *written, lab.now())]).await;
                assert!(matches!(outcomes[0], Outcome::Appended(_)), "{outcomes:?}");
                *written += 1;
            }
        }
        let wait = lab.store.next_due(&billing, lab.now()).await.unwrap();
        assert!(wait.is_none_or(|wait| wait <= MAX_DELAY), "a lane waits {wait:?}");
        deliver_what_is_due(&lab, &billing, &mut rng).await;
    }

    lab.pass(MAX_DELAY).await;
    loop {
        let claims = lab.store.claim(&lab.request(&billing), lab.now()).await.unwrap();
        if claims.is_empty() {
            break;
        }
        settle(&lab, claims, |claim| Settlement::Acked { through: claim.rows.last().unwrap().sequence }).await;
    }
    for lane in lab.store.lanes(None, false, 100).await.unwrap() {
        assert_eq!((lane.state, lane.acked), (LaneState::Open, lane.head), "{lane:?}");
    }
    let rows = lab.store.rows(&RowQuery::default()).await.unwrap();
    assert!(rows.is_sorted_by_key(|row| row.recorded_at), "recorded time never goes back");
    assert_eq!(lab.store.shard(SHARD).await.unwrap().recorded_at, rows.last().map(|row| row.recorded_at));
    lab.assert_clean().await;
}

/// Claims until nothing is due. No lane comes twice, since no time passes; some claims are left to their leases.
async fn deliver_what_is_due(lab: &Lab, billing: &DestinationId, rng: &mut StdRng) {
    let mut failed: BTreeSet<Uid> = BTreeSet::new();
    loop {
        let claims = lab.store.claim(&lab.request(billing), lab.now()).await.unwrap();
        if claims.is_empty() {
            return;
        }
        let again: Vec<_> = claims.iter().filter(|claim| failed.contains(&claim.uid)).collect();
        assert!(again.is_empty(), "tried again at once: {again:?}");
        failed.extend(claims.iter().map(|claim| claim.uid.clone()));
        let claims = claims.into_iter().filter(|_| rng.random_ratio(3, 4)).collect();
        settle(lab, claims, |claim| {
            if rng.random() {
                return Settlement::Acked { through: claim.rows.last().unwrap().sequence };
            }
            let delay = Duration::from_secs(rng.random_range(60..3_600));
            Settlement::Retry { through: claim.acked, delay, error: "503".into() }
        })
        .await;
    }
}

async fn settle(lab: &Lab, claims: Vec<Claim>, mut how: impl FnMut(&Claim) -> Settlement) {
    let ends: Vec<_> = claims
        .iter()
        .map(|claim| (claim.destination.clone(), claim.uid.clone(), claim.token.clone(), how(claim)))
        .collect();
    let held = lab.store.settle(&ends, lab.now()).await.unwrap();
    assert!(held.iter().all(|held| *held), "nobody else holds them");
}
