//! Batches that are decided while the one before is being written.

use std::sync::Arc;

use trueup::{
    domain::{Clock, DestinationId, ManualClock, Position, Sequence},
    ledger::{AppendError, Appender, AppenderLimits, Draft, Outcome, Settlement},
};

use crate::{
    lab::{Lab, SHARD, START, appended, nth},
    support::flaky::{Fault, Flaky},
};

pub async fn a_batch_decided_ahead_is_written_as_it_was_decided(lab: Lab) {
    let epoch = lab.lead().await;
    lab.append(epoch, &[nth("a", 0, START), nth("b", 0, START)]).await;
    let drafts = [nth("a", 1, START), nth("b", 5, START), nth("a", 2, START)];
    let Some(mut ahead) = lab.store.ahead(SHARD, epoch, START, &drafts) else {
        assert!(lab.is_memory(), "what was just appended is known");
        return;
    };
    for draft in &drafts {
        ahead.take(draft);
    }
    let outcomes = lab.store.append_ahead(SHARD, epoch, START, &drafts, ahead).await.unwrap();
    assert_eq!(appended(&outcomes[0]).sequence, Sequence::new(2));
    assert!(matches!(&outcomes[1], Outcome::Stale(Some(head)) if head.sequence == Sequence::FIRST));
    assert_eq!(appended(&outcomes[2]).sequence, Sequence::new(3));
    assert_eq!(lab.store.shard(SHARD).await.unwrap().head, Position::new(4));
    assert!(lab.store.ahead(SHARD, epoch, START, &[nth("new", 0, START)]).is_none(), "nothing is known of that");
    lab.assert_clean().await;
}

pub async fn the_next_batch_can_be_decided_while_one_is_being_written_and_grows_with_who_comes(lab: Lab) {
    let epoch = lab.lead().await;
    lab.append(epoch, &[nth("a", 0, START), nth("b", 0, START), nth("c", 0, START)]).await;
    let (now, [first, second]) = ([nth("a", 1, START)], [nth("a", 2, START), nth("b", 1, START)]);
    let writing = lab.store.append(SHARD, epoch, START, &now);
    tokio::pin!(writing);
    if futures::poll!(&mut writing).is_ready() {
        assert!(lab.is_memory(), "whoever writes to a disk waits for it");
        return;
    }
    let begin = |draft: &Draft| lab.store.ahead(SHARD, epoch, START, std::slice::from_ref(draft));
    let mut ahead = begin(&first).expect("what is being written is known, as long as it comes");
    ahead.take(&first);
    let mut ahead = ahead.and(begin(&second).unwrap()).expect("both stand on the same");
    ahead.take(&second);
    appended(&writing.await.unwrap()[0]);
    let outcomes = lab.store.append_ahead(SHARD, epoch, START, &[first, second], ahead).await.unwrap();
    assert_eq!(appended(&outcomes[0]).sequence, Sequence::new(3));
    assert_eq!(appended(&outcomes[1]).sequence, Sequence::new(2));

    let one = begin(&nth("a", 3, START)).unwrap();
    lab.append(epoch, &[nth("c", 1, START)]).await;
    assert!(one.and(begin(&nth("b", 2, START)).unwrap()).is_none(), "the ledger has moved in between");
    lab.assert_clean().await;
}

pub async fn a_batch_decided_behind_what_did_not_come_is_decided_anew(lab: Lab) {
    let epoch = lab.lead().await;
    lab.append(epoch, &[nth("a", 0, START), nth("b", 0, START)]).await;
    let drafts = [nth("a", 1, START), nth("b", 1, START)];
    let Some(mut ahead) = lab.store.ahead(SHARD, epoch, START, &drafts) else { return };
    for draft in &drafts {
        ahead.take(draft);
    }
    // The shard ends where it would have, and yet it is another end.
    let other = lab.reopen();
    other.append(SHARD, epoch, START, &[nth("a", 1, START), nth("c", 0, START)]).await.unwrap();
    let outcomes = lab.store.append_ahead(SHARD, epoch, START, &drafts, ahead).await.unwrap();
    assert!(matches!(&outcomes[0], Outcome::Stale(Some(head)) if head.sequence == Sequence::new(2)), "{outcomes:?}");
    assert_eq!(appended(&outcomes[1]).sequence, Sequence::new(2));
    lab.assert_clean().await;
}

pub async fn a_batch_decided_ahead_by_a_leader_that_is_deposed_meanwhile_is_fenced(lab: Lab) {
    let epoch = lab.lead().await;
    lab.append(epoch, &[nth("a", 0, START)]).await;
    let drafts = [nth("a", 1, START)];
    let Some(mut ahead) = lab.store.ahead(SHARD, epoch, START, &drafts) else { return };
    ahead.take(&drafts[0]);
    let current = lab.lead().await;
    let refused = lab.store.append_ahead(SHARD, epoch, START, &drafts, ahead).await;
    assert!(matches!(refused, Err(AppendError::Fenced { current: said, .. }) if said == current), "{refused:?}");
    assert_eq!(lab.store.counts().await.unwrap().transitions, 1);
}

/// A writer that appends the rows of its own stream one after the other.
async fn writer(appender: Appender, uid: String, rows: i64) {
    for n in 0..rows {
        let outcome = appender.append(nth(&uid, n, START)).await.unwrap();
        assert_eq!(appended(&outcome).sequence, Sequence::new(n + 1), "{uid}");
    }
}

pub async fn many_writers_are_told_the_truth_while_batches_overlap_and_answers_are_lost(lab: Lab) {
    const WRITERS: i64 = 400;
    const ROWS: i64 = 6;
    use Fault::{LostAfter, LostBefore, None, NotCommitted};
    let epoch = lab.lead().await;
    let plan = [None, None, None, None, LostAfter, None, None, LostBefore, None, NotCommitted, None, None, LostAfter];
    let flaky = Flaky::new(Arc::clone(&lab.store), plan, None);
    // Far less than the writers: most of them wait at any moment.
    let limits = AppenderLimits { batch: 100, ..AppenderLimits::default() };
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(START));
    let (appender, _) = Appender::start(flaky.clone(), SHARD, epoch, clock, limits, Arc::default());
    let writers = (0..WRITERS).map(|n| tokio::spawn(writer(appender.clone(), format!("s{n:03}"), ROWS)));
    for ended in futures::future::join_all(writers).await {
        ended.unwrap();
    }
    assert_eq!(i64::try_from(lab.store.counts().await.unwrap().transitions).unwrap(), WRITERS * ROWS);
    assert!(lab.is_memory() || flaky.aheads() > 0, "nothing was decided ahead: {:?}", appender.stats().view());
    lab.assert_clean().await;
}

/// A lane knows where its rows begin in the ledger only while it does not go back.
pub async fn a_lane_finds_its_rows_wherever_they_lie(lab: Lab) {
    lab.partition_by(4).await;
    let (epoch, billing) = (lab.lead().await, DestinationId::new("billing"));
    lab.store.open_destination(&billing, START).await.unwrap();
    let uids: Vec<String> = (0..3).map(|n| format!("s{n}")).collect();
    let claimed = async || {
        let claims = lab.store.claim(&lab.request(&billing), lab.now()).await.unwrap();
        let told: Vec<_> = claims.iter().map(|claim| (claim.uid.as_str().to_owned(), claim.rows.len())).collect();
        (claims, told)
    };
    let settle = async |claims: Vec<trueup::ledger::Claim>, settlement: fn(Sequence) -> Settlement| {
        let ends: Vec<_> = claims
            .into_iter()
            .map(|claim| (claim.destination, claim.uid, claim.token, settlement(claim.head)))
            .collect();
        assert!(lab.store.settle(&ends, lab.now()).await.unwrap().into_iter().all(|held| held));
    };
    for n in 0..6 {
        let drafts: Vec<Draft> = uids.iter().map(|uid| nth(uid, n, START)).collect();
        lab.append(epoch, &drafts).await;
        let (claims, told) = claimed().await;
        assert!(told.len() == 3 && told.iter().all(|(_, rows)| *rows == 1), "{told:?}");
        settle(claims, |head| Settlement::Acked { through: head }).await;
    }
    // Far on in the ledger, the receiver asks for everything again.
    lab.append(epoch, &[nth("s1", 6, START)]).await;
    let (claims, told) = claimed().await;
    assert_eq!(told, [("s1".to_owned(), 1)]);
    settle(claims, |_| Settlement::Rewind { expected: Sequence::FIRST, error: "409".into() }).await;
    let (claims, told) = claimed().await;
    assert_eq!(told, [("s1".to_owned(), 7)]);
    settle(claims, |head| Settlement::Acked { through: head }).await;
    // Two appends while nobody listens: the first of them is where the lane goes on.
    for n in [7, 8] {
        lab.append(epoch, &[nth("s1", n, START), nth("s0", n - 1, START)]).await;
    }
    let (_, mut told) = claimed().await;
    told.sort();
    assert_eq!(told, [("s0".to_owned(), 2), ("s1".to_owned(), 2)]);
    lab.assert_clean().await;
}
