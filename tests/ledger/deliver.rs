//! Lanes: claiming, settling, parking.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use trueup::{
    domain::{DestinationId, Sequence, Uid},
    ledger::{Claim, ClaimRequest, LaneState, LaneView, Settlement, lanes},
};

use crate::lab::{Lab, SHARD, START, nth};

fn billing() -> DestinationId {
    DestinationId::new("billing")
}

fn seq(number: i64) -> Sequence {
    Sequence::new(number)
}

fn acked(through: i64) -> Settlement {
    Settlement::Acked { through: seq(through) }
}

fn retry(through: i64, delay: u64) -> Settlement {
    Settlement::Retry { through: seq(through), delay: Duration::from_secs(delay), error: "503".into() }
}

fn uids(claims: &[Claim]) -> BTreeSet<&str> {
    claims.iter().map(|claim| claim.uid.as_str()).collect()
}

async fn claim(lab: &Lab) -> Vec<Claim> {
    lab.store.claim(&lab.request(&billing()), lab.now()).await.unwrap()
}

async fn settle(lab: &Lab, claim: &Claim, settlement: Settlement) -> bool {
    let settled = (claim.destination.clone(), claim.uid.clone(), claim.token.clone(), settlement);
    lab.store.settle(&[settled], lab.now()).await.unwrap()[0]
}

async fn lane(lab: &Lab, uid: &str) -> LaneView {
    let all = lab.store.lanes(None, false, 1_000).await.unwrap();
    all.into_iter().find(|lane| lane.uid == Uid::new(uid)).unwrap()
}

/// A lab with these streams, of so many rows each, and one destination.
async fn with_streams(lab: &Lab, streams: &[(&str, i64)]) {
    let epoch = lab.lead().await;
    lab.store.open_destination(&billing(), lab.now()).await.unwrap();
    for (uid, rows) in streams {
        lab.stream(epoch, uid, *rows).await;
    }
}

pub async fn every_stream_gets_a_lane_to_every_destination(lab: Lab) {
    let epoch = lab.lead().await;
    lab.stream(epoch, "before", 2).await;
    assert!(lab.store.open_destination(&billing(), START).await.unwrap());
    assert!(!lab.store.open_destination(&billing(), START).await.unwrap(), "it was open already");
    lab.stream(epoch, "after", 1).await;
    let second = DestinationId::new("archive");
    lab.store.open_destination(&second, START).await.unwrap();
    assert_eq!(lab.store.destinations().await.unwrap(), [second.clone(), billing()]);
    let lanes = lab.store.lanes(None, false, 10).await.unwrap();
    let names: Vec<_> = lanes.iter().map(|lane| (lane.destination.as_str(), lane.uid.as_str())).collect();
    assert_eq!(names, [("archive", "after"), ("archive", "before"), ("billing", "after"), ("billing", "before")]);
    assert_eq!((lanes[3].acked, lanes[3].head, lanes[3].oldest_undelivered), (seq(0), seq(2), Some(START)));
    let page = lab.store.lanes(Some((&second, &Uid::new("before"))), true, 1).await.unwrap();
    assert_eq!(page, [lanes[2].clone()]);
    let (at, shard, position) = lab.store.oldest_undelivered(&billing()).await.unwrap().unwrap();
    assert_eq!((at, shard, position.get()), (START, SHARD, 1));
    assert_eq!(lab.store.counts().await.unwrap().undelivered, 6);
    lab.assert_clean().await;
}

pub async fn a_claim_holds_its_lanes_until_the_lease_ends(lab: Lab) {
    with_streams(&lab, &[("a", 3), ("b", 1)]).await;
    assert_eq!(lab.store.next_due(&billing(), lab.now()).await.unwrap(), Some(Duration::ZERO));
    let request = ClaimRequest { rows: 2, ..lab.request(&billing()) };
    let claims = lab.store.claim(&request, lab.now()).await.unwrap();
    assert_eq!(uids(&claims), ["a", "b"].into());
    let a = claims.iter().find(|claim| claim.uid == Uid::new("a")).unwrap();
    assert_eq!((a.acked, a.head, a.rows.len(), a.attempts), (seq(0), seq(3), 2, 0));
    let row = lab.store.row(&a.uid, seq(2)).await.unwrap().unwrap();
    assert_eq!((&a.rows[1].body, &a.rows[1].event_id), (&row.body, &row.event_id));
    assert_eq!(claim(&lab).await, []);
    let wait = lab.store.next_due(&billing(), lab.now()).await.unwrap().unwrap();
    assert!(wait > Duration::from_secs(20) && wait <= Duration::from_secs(30), "{wait:?}");

    lab.pass(Duration::from_secs(31)).await;
    let again = claim(&lab).await;
    assert_eq!(uids(&again), ["a", "b"].into(), "what a lost holder left");
    assert_eq!(again.iter().find(|claim| claim.uid == a.uid).unwrap().rows[..2], a.rows, "the same bytes");
}

pub async fn a_takeover_ends_the_leases_of_the_leader_before(lab: Lab) {
    with_streams(&lab, &[("a", 3), ("b", 1)]).await;
    let before = claim(&lab).await;
    assert_eq!(claim(&lab).await, []);
    lab.lead().await;
    let after = claim(&lab).await;
    assert_eq!(uids(&after), ["a", "b"].into(), "nobody waits for a relay that may be dead");
    assert!(!settle(&lab, &before[0], acked(1)).await, "and one that lives cannot settle any more");
    assert!(settle(&lab, &after[0], acked(1)).await);
    lab.assert_clean().await;
}

pub async fn only_the_holder_of_a_lane_can_settle_it(lab: Lab) {
    with_streams(&lab, &[("a", 3)]).await;
    let first = claim(&lab).await.remove(0);
    lab.pass(Duration::from_secs(31)).await;
    let second = claim(&lab).await.remove(0);
    assert!(!settle(&lab, &first, acked(3)).await, "its lease was lost to another");
    assert_eq!(lane(&lab, "a").await.acked, seq(0));
    assert!(settle(&lab, &second, acked(1)).await);
    assert!(!settle(&lab, &second, acked(2)).await, "the claim has ended");
    let third = claim(&lab).await.remove(0);
    assert_eq!((third.acked, third.rows[0].sequence), (seq(1), seq(2)));
    // The same lane twice at once: the first ends the claim.
    let settled = |to| (billing(), third.uid.clone(), third.token.clone(), acked(to));
    assert_eq!(lab.store.settle(&[settled(3), settled(3)], lab.now()).await.unwrap(), [true, false]);
    assert_eq!(claim(&lab).await, []);
    assert_eq!(lab.store.next_due(&billing(), lab.now()).await.unwrap(), None);
    assert_eq!(lab.store.oldest_undelivered(&billing()).await.unwrap(), None);
    lab.assert_clean().await;
}

pub async fn a_blocked_lane_delays_no_other(lab: Lab) {
    with_streams(&lab, &[("a", 2), ("b", 2)]).await;
    for claim in claim(&lab).await {
        let blocked = claim.uid == Uid::new("a");
        assert!(settle(&lab, &claim, if blocked { retry(0, 3_000) } else { acked(1) }).await);
    }
    assert_eq!(uids(&claim(&lab).await), ["b"].into());
}

pub async fn retries_take_no_more_than_their_share(lab: Lab) {
    let names: Vec<String> = (0..6).map(|n| format!("s{n}")).collect();
    with_streams(&lab, &names.iter().map(|name| (name.as_str(), 1)).collect::<Vec<_>>()).await;
    let failed = ClaimRequest { lanes: 4, ..lab.request(&billing()) };
    let failed = lab.store.claim(&failed, lab.now()).await.unwrap();
    for claim in &failed {
        settle(&lab, claim, retry(0, 1)).await;
    }
    lab.pass(Duration::from_secs(2)).await;
    let failing = uids(&failed);
    let request = ClaimRequest { lanes: 3, retries: 1, ..lab.request(&billing()) };
    let claims = lab.store.claim(&request, lab.now()).await.unwrap();
    assert_eq!(claims.len(), 3);
    assert_eq!(claims.iter().filter(|claim| failing.contains(claim.uid.as_str())).count(), 1);
    let request = ClaimRequest { lanes: 8, retries: 2, ..lab.request(&billing()) };
    let claims = lab.store.claim(&request, lab.now()).await.unwrap();
    assert!(claims.len() == 2 && claims.iter().all(|claim| claim.attempts == 1), "no fresh ones are left: {claims:?}");
    let none = ClaimRequest { retries: 0, ..lab.request(&billing()) };
    assert_eq!(lab.store.claim(&none, lab.now()).await.unwrap(), []);
}

pub async fn a_retry_waits_for_its_time(lab: Lab) {
    with_streams(&lab, &[("a", 3)]).await;
    for attempt in 1..=2 {
        let held = claim(&lab).await.remove(0);
        assert!(settle(&lab, &held, retry(0, 10)).await);
        assert_eq!(lane(&lab, "a").await.attempts, attempt);
        assert_eq!(claim(&lab).await, []);
        let wait = lab.store.next_due(&billing(), lab.now()).await.unwrap().unwrap();
        assert!(wait > Duration::from_secs(5) && wait <= Duration::from_secs(10), "{wait:?}");
        lab.pass(Duration::from_secs(11)).await;
    }
    let held = claim(&lab).await.remove(0);
    assert_eq!(held.attempts, 2);
    settle(&lab, &held, retry(2, 10)).await;
    let view = lane(&lab, "a").await;
    assert_eq!(
        (view.acked, view.attempts, view.last_error.as_deref()),
        (seq(2), 1, Some("503")),
        "progress counts anew"
    );
    lab.pass(Duration::from_secs(11)).await;
    let held = claim(&lab).await.remove(0);
    settle(&lab, &held, acked(3)).await;
    let view = lane(&lab, "a").await;
    assert_eq!((view.acked, view.attempts, view.last_error), (seq(3), 0, None));
}

pub async fn a_clock_set_back_holds_up_no_lane(lab: Lab) {
    with_streams(&lab, &[("held", 1), ("waiting", 1)]).await;
    for claim in claim(&lab).await {
        if claim.uid == Uid::new("waiting") {
            settle(&lab, &claim, retry(0, 10)).await;
        }
    }
    lab.stream(trueup::domain::Epoch::new(1), "fresh", 1).await;
    lab.step(-86_400_000_000).await;
    assert_eq!(lab.store.next_due(&billing(), lab.now()).await.unwrap(), Some(Duration::ZERO));
    let claims = claim(&lab).await;
    assert_eq!(uids(&claims), ["fresh", "held", "waiting"].into(), "none waits for a day that came and went");
}

pub async fn a_receiver_says_where_it_is(lab: Lab) {
    with_streams(&lab, &[("a", 5), ("ahead", 1)]).await;
    let rewind = |expected| Settlement::Rewind { expected: seq(expected), error: "409".into() };
    for claim in claim(&lab).await {
        let expected = if claim.uid == Uid::new("a") { 6 } else { 3 };
        settle(&lab, &claim, rewind(expected)).await;
    }
    let ahead = lane(&lab, "ahead").await;
    assert_eq!((ahead.acked, ahead.park_reason.as_deref()), (seq(0), Some(lanes::RECEIVER_AHEAD)));
    assert_eq!(lane(&lab, "a").await.acked, seq(5), "it had all of it already");

    lab.append(trueup::domain::Epoch::new(1), &[nth("a", 5, lab.now())]).await;
    for _ in 0..2 {
        let held = claim(&lab).await.remove(0);
        settle(&lab, &held, rewind(2)).await;
        assert_eq!(lane(&lab, "a").await.acked, seq(1));
    }
    let held = claim(&lab).await.remove(0);
    assert_eq!((held.rewinds, held.rows[0].sequence), (2, seq(2)));
    settle(&lab, &held, rewind(2)).await;
    let parked = lane(&lab, "a").await;
    assert_eq!((parked.state, parked.park_reason.as_deref()), (LaneState::Parked, Some(lanes::REWIND_LOOP)));
    lab.assert_clean().await;
}

pub async fn parked_lanes_stay_parked_and_are_counted(lab: Lab) {
    with_streams(&lab, &[("a", 2), ("b", 1)]).await;
    for claim in claim(&lab).await {
        let reason = "permanent-refusal".to_owned();
        let through = if claim.uid == Uid::new("a") { seq(1) } else { seq(0) };
        settle(&lab, &claim, Settlement::Park { through, reason, error: "400\0".into() }).await;
    }
    lab.append(trueup::domain::Epoch::new(1), &[nth("a", 2, lab.now())]).await;
    lab.pass(Duration::from_hours(24)).await;
    assert_eq!(claim(&lab).await, []);
    assert_eq!(lab.store.next_due(&billing(), lab.now()).await.unwrap(), None);
    let counts = lab.store.counts().await.unwrap();
    assert_eq!((counts.parked, counts.undelivered, counts.deliveries), (2, 0, 1));
    assert_eq!(lab.store.oldest_undelivered(&billing()).await.unwrap(), None);
    lab.assert_clean().await;
}

pub async fn a_closed_destination_owes_nothing(lab: Lab) {
    with_streams(&lab, &[("a", 2), ("b", 1), ("c", 1)]).await;
    let claims = claim(&lab).await;
    let c = claims.iter().find(|claim| claim.uid == Uid::new("c")).unwrap();
    settle(&lab, c, acked(1)).await;
    assert_eq!(lab.store.close_destination(&billing()).await.unwrap(), 2);
    assert_eq!(lab.store.close_destination(&billing()).await.unwrap(), 0);
    assert!(!settle(&lab, &claims[0], acked(1)).await);
    assert_eq!(lab.store.lanes(None, false, 10).await.unwrap(), []);
    lab.append(trueup::domain::Epoch::new(1), &[nth("a", 2, lab.now())]).await;
    assert_eq!(lab.store.counts().await.unwrap().undelivered, 0);
    lab.assert_clean().await;
}

/// In one statement, a claim could take a lane that another relay drained and an append woke since the statement began,
/// and not see that append's row. The lane would then be held for nothing until its lease ends.
pub async fn a_claim_never_misses_the_row_that_woke_it(lab: Lab) {
    const STREAMS: i64 = 60;
    const ROUNDS: i64 = 25;
    with_streams(&lab, &[]).await;
    let lab = Arc::new(lab);
    let relays: Vec<_> = (0..3)
        .map(|_| {
            let lab = Arc::clone(&lab);
            tokio::spawn(async move {
                let mut delivered = 0;
                while lab.store.counts().await.unwrap().deliveries < STREAMS.cast_unsigned() * ROUNDS.cast_unsigned() {
                    let acks: Vec<_> = claim(&lab)
                        .await
                        .into_iter()
                        .map(|claim| {
                            let through = claim.rows.last().unwrap().sequence;
                            delivered += claim.rows.len();
                            (claim.destination, claim.uid, claim.token, Settlement::Acked { through })
                        })
                        .collect();
                    assert!(lab.store.settle(&acks, lab.now()).await.unwrap().into_iter().all(|held| held));
                    tokio::task::yield_now().await;
                }
                delivered
            })
        })
        .collect();
    for n in 0..ROUNDS {
        // Few at a time, so that lanes are drained and woken again and again.
        for part in 0..10 {
            let of = |s: i64| nth(&format!("s{s}"), n, START);
            let batch: Vec<_> = (0..STREAMS).filter(|s| s % 10 == part).map(of).collect();
            lab.append(trueup::domain::Epoch::new(1), &batch).await;
        }
    }
    let mut delivered = 0;
    for relay in relays {
        delivered +=
            tokio::time::timeout(Duration::from_secs(20), relay).await.expect("no lane is held for nothing").unwrap();
    }
    assert_eq!(i64::try_from(delivered).unwrap(), STREAMS * ROUNDS, "each row once, as nobody's lease ended");
    assert_eq!(lab.store.counts().await.unwrap().parked, 0);
    lab.assert_clean().await;
}

/// Several relays and a writer at once, some of whose work is lost: each sees every stream in order, and nothing sleeps
/// through its last row.
pub async fn competing_relays_deliver_everything_in_order(lab: Lab) {
    const STREAMS: i64 = 12;
    const ROWS: i64 = 20;
    with_streams(&lab, &[]).await;
    let lab = Arc::new(lab);
    let writer = tokio::spawn({
        let lab = Arc::clone(&lab);
        async move {
            for n in 0..ROWS {
                let batch: Vec<_> = (0..STREAMS).map(|s| nth(&format!("s{s}"), n, START)).collect();
                lab.append(trueup::domain::Epoch::new(1), &batch).await;
            }
        }
    });
    let relay = |lab: Arc<Lab>, number: usize| async move {
        let store = lab.reopen();
        let mut turns = 0_usize;
        loop {
            let request = ClaimRequest { lanes: 5, rows: 3, ..lab.request(&billing()) };
            let token = trueup::domain::Token::new(format!("{number}-{turns}"));
            let claims = store.claim(&ClaimRequest { token, ..request }, lab.now()).await.unwrap();
            let ends: Vec<_> = claims
                .into_iter()
                .map(|claim| {
                    turns += 1;
                    for (row, expected) in claim.rows.iter().zip(claim.acked.get() + 1..) {
                        assert_eq!(row.sequence, seq(expected));
                    }
                    let last = claim.rows.last().unwrap().sequence;
                    let end = if turns % 7 == 3 {
                        Settlement::Retry {
                            through: claim.rows[0].sequence,
                            delay: Duration::ZERO,
                            error: "503".into(),
                        }
                    } else {
                        Settlement::Acked { through: last }
                    };
                    (claim.destination, claim.uid, claim.token, end)
                })
                .collect();
            turns += 1;
            assert!(store.settle(&ends, lab.now()).await.unwrap().into_iter().all(|held| held));
            let lanes = store.lanes(None, false, 100).await.unwrap();
            let done: BTreeMap<_, _> = lanes.iter().map(|lane| (&lane.uid, lane.acked)).collect();
            if i64::try_from(done.len()).unwrap() == STREAMS && done.values().all(|acked| *acked == seq(ROWS)) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let relays: Vec<_> = (0..3).map(|number| tokio::spawn(relay(Arc::clone(&lab), number))).collect();
    writer.await.unwrap();
    for relay in relays {
        tokio::time::timeout(Duration::from_secs(30), relay).await.expect("every row is delivered").unwrap();
    }
    assert_eq!(lab.store.next_due(&billing(), lab.now()).await.unwrap(), None);
    lab.assert_clean().await;
}
