//! What becomes of drafts.

use std::{sync::Arc, task::Poll, time::Duration};

use futures::FutureExt as _;

use trueup::{
    domain::{
        DestinationId, Effective, Epoch, Era, Event, Hash, InstallationId, Kind, Position, Sequence, State, TenantName,
        TimeSource, Timestamp, Uid,
    },
    ledger::{AppendError, Draft, Installation, Outcome, RowQuery, StoreError},
};

use crate::lab::{Lab, SHARD, START, appended, draft, installation, nth, subject};

pub async fn rows_are_numbered_chained_and_audited(lab: Lab) {
    let epoch = lab.lead().await;
    let outcomes = lab.append(epoch, &[nth("a", 0, START), nth("b", 0, START)]).await;
    assert_eq!(appended(&outcomes[0]).sequence, Sequence::FIRST);
    let head = appended(&lab.append(epoch, &[nth("a", 1, START)]).await[0]).clone();
    assert_eq!((head.sequence, head.state.as_str(), head.epoch), (Sequence::new(2), "Available", epoch));
    assert_eq!(lab.store.head(&Uid::new("a")).await.unwrap(), Some(head.clone()));
    assert_eq!(lab.store.head(&Uid::new("nobody")).await.unwrap(), None);

    let rows = lab.store.rows(&RowQuery::default()).await.unwrap();
    let places: Vec<_> = rows.iter().map(|row| (row.position.get(), row.uid.as_str(), row.sequence.get())).collect();
    assert_eq!(places, [(1, "a", 1), (2, "b", 1), (3, "a", 2)]);
    assert_eq!((rows[0].prev_hash, rows[2].prev_hash, rows[2].hash), (Hash::ZERO, rows[0].hash, head.hash));
    let event = Event::verify(&rows[2].body).unwrap();
    assert_eq!(event.id.as_str(), "a-0-2");
    assert_eq!(event.source, "/trueup/installation-1/appdeployment/a");
    assert_eq!(event.data.billable.memory_bytes, 1 << 40);

    let shard = lab.store.shard(SHARD).await.unwrap();
    assert_eq!((shard.head, shard.epoch, shard.recorded_at), (Position::new(3), epoch, Some(START)));
    assert_eq!(lab.store.heads(None, true, 1).await.unwrap().len(), 1);
    assert_eq!(lab.store.heads(Some(&Uid::new("a")), false, 9).await.unwrap()[0].subject, subject("b"));
    assert_eq!(lab.store.row(&Uid::new("a"), Sequence::new(2)).await.unwrap().as_ref(), Some(&rows[2]));
    lab.assert_clean().await;
}

pub async fn a_draft_that_knows_too_little_is_stale(lab: Lab) {
    let epoch = lab.lead().await;
    lab.stream(epoch, "a", 2).await;
    let head = lab.store.head(&Uid::new("a")).await.unwrap().unwrap();
    let tries = [nth("a", 0, START), nth("a", 1, START), draft("a", 7, "Degraded", START), nth("b", 3, START)];
    let outcomes = lab.append(epoch, &tries).await;
    for outcome in &outcomes[..3] {
        assert_eq!(*outcome, Outcome::Stale(Some(Arc::new(head.clone()))));
    }
    assert_eq!(outcomes[3], Outcome::Stale(None));
    assert_eq!(lab.store.counts().await.unwrap().transitions, 2);
    lab.assert_clean().await;
}

pub async fn whom_a_stream_is_billed_to_may_change_with_any_row(lab: Lab) {
    let epoch = lab.lead().await;
    lab.stream(epoch, "a", 2).await;
    lab.stream(epoch, "b", 2).await;
    let moved = |mut draft: Draft, plan: &str| {
        draft.subject.plan = plan.into();
        draft.subject.account = format!("acct-of-{plan}");
        draft.subject.tenant = TenantName::new(format!("tenant-of-{plan}"));
        draft
    };
    // Among others, twice in one batch, with a new stream, and alone.
    let many = [
        moved(nth("a", 2, START), "large"),
        nth("b", 2, START),
        moved(nth("a", 3, START), "huge"),
        moved(nth("c", 0, START), "tiny"),
    ];
    let alone = [moved(nth("b", 3, START), "large")];
    for drafts in [&many[..], &alone] {
        for outcome in lab.append(epoch, drafts).await {
            appended(&outcome);
        }
    }
    for (uid, plan) in [("a", "huge"), ("b", "large"), ("c", "tiny")] {
        let head = lab.store.head(&Uid::new(uid)).await.unwrap().unwrap();
        assert_eq!(head.subject, moved(nth(uid, 1, START), plan).subject);
    }
    lab.assert_clean().await;
}

pub async fn repeats_of_one_stream_are_chained_within_a_batch(lab: Lab) {
    let epoch = lab.lead().await;
    let batch = [nth("a", 0, START), nth("a", 1, START), nth("a", 1, START), nth("a", 2, START)];
    let outcomes = lab.append(epoch, &batch).await;
    assert_eq!(appended(&outcomes[1]).sequence, Sequence::new(2));
    assert!(matches!(&outcomes[2], Outcome::Stale(Some(head)) if head.sequence == Sequence::new(2)));
    assert_eq!(appended(&outcomes[3]).sequence, Sequence::new(3));
    lab.assert_clean().await;
}

pub async fn what_the_table_forbids_is_illegal_and_the_rest_is_written(lab: Lab) {
    let epoch = lab.lead().await;
    lab.stream(epoch, "a", 2).await;
    let mut other_kind = nth("a", 2, START);
    other_kind.subject.kind = Kind::Backup;
    let mut out_of_bounds = nth("a", 2, START);
    out_of_bounds.effective.not_before = START.plus(Duration::from_secs(1));
    let mut too_much = nth("a", 2, START);
    too_much.billable.storage_bytes = u64::MAX;
    let mut nul = nth("a", 2, START);
    nul.message = "a\0b".into();
    let to_the_unknown = draft("a", 2, "Nowhere", START);
    let back = draft("a", 2, "Pending", START);
    let not_initial = draft("b", 0, "Available", START);
    let bad = [other_kind, out_of_bounds, too_much, nul, to_the_unknown, back, not_initial];
    let mut batch = bad.to_vec();
    batch.push(nth("a", 2, START));
    let outcomes = lab.append(epoch, &batch).await;
    for (outcome, draft) in outcomes.iter().zip(&bad) {
        assert!(matches!(outcome, Outcome::Illegal(_)), "{outcome:?} for {draft:?}");
    }
    assert_eq!(appended(&outcomes[bad.len()]).sequence, Sequence::new(3));
    lab.assert_clean().await;
}

pub async fn a_deposed_leader_cannot_append(lab: Lab) {
    let first = lab.lead().await;
    lab.stream(first, "a", 1).await;
    let second = lab.lead().await;
    assert_eq!(second, first.next());
    let refused = lab.store.append(SHARD, first, START, &[nth("a", 1, START)]).await;
    let Err(AppendError::Fenced { mine, current, .. }) = refused else { panic!("not fenced: {refused:?}") };
    assert_eq!((mine, current), (first, second));
    // Nor can one that has not begun.
    assert!(matches!(
        lab.store.append(SHARD, second.next(), START, &[nth("a", 1, START)]).await,
        Err(AppendError::Fenced { .. })
    ));
    assert_eq!(lab.store.counts().await.unwrap().transitions, 1);
    assert_eq!(appended(&lab.append(second, &[nth("a", 1, START)]).await[0]).epoch, second);
    lab.assert_clean().await;
}

/// What is remembered of a stream since its last append is no reason to go on in an era that has ended.
pub async fn a_row_is_of_the_era_that_has_begun_by_then(lab: Lab) {
    let epoch = lab.lead().await;
    lab.stream(epoch, "a", 1).await;
    for n in 1..4 {
        let next = Installation { era: Era::new(n), ..installation() };
        lab.reopen().replace_installation(SHARD, epoch, &next).await.unwrap();
        assert_eq!(appended(&lab.append(epoch, &[nth("a", n, START)]).await[0]).era, next.era);
    }
    lab.assert_clean().await;
}

pub async fn nothing_is_appended_before_somebody_leads_or_owns_the_ledger(lab: Lab) {
    let never_led = lab.store.append(SHARD, Epoch::new(1), START, &[nth("a", 0, START)]).await;
    assert!(matches!(never_led, Err(AppendError::Fenced { .. })), "{never_led:?}");
    let nobodys = lab.another_empty().await;
    let epoch = nobodys.lead().await;
    let refused = nobodys.store.append(SHARD, epoch, START, &[nth("a", 0, START)]).await;
    assert!(matches!(refused, Err(AppendError::NotCommitted(StoreError::NoInstallation { .. }))), "{refused:?}");
}

pub async fn recorded_time_never_runs_backwards_when_the_clock_does(lab: Lab) {
    let epoch = lab.lead().await;
    lab.append(epoch, &[nth("a", 0, START)]).await;
    let earlier = Timestamp::from_micros(START.as_micros() - 60_000_000);
    lab.store.append(SHARD, epoch, earlier, &[nth("b", 0, earlier)]).await.unwrap();
    let rows = lab.store.rows(&RowQuery::default()).await.unwrap();
    assert_eq!((rows[1].recorded_at, rows[1].effective.at), (START, earlier));
    let later = START.plus(Duration::from_secs(5));
    lab.store.append(SHARD, epoch, later, &[nth("c", 0, later)]).await.unwrap();
    assert_eq!(lab.store.shard(SHARD).await.unwrap().recorded_at, Some(later));
    lab.assert_clean().await;
}

pub async fn an_effective_time_before_the_last_is_clamped(lab: Lab) {
    let epoch = lab.lead().await;
    let mut reported = nth("a", 0, START);
    reported.effective = Effective::reported(START, START.plus(Duration::from_secs(9)));
    let mut before = nth("a", 1, START);
    let earlier = Timestamp::from_micros(START.as_micros() - 1);
    before.effective = Effective::reported(earlier, earlier);
    lab.append(epoch, &[reported, before]).await;
    let row = lab.store.row(&Uid::new("a"), Sequence::new(2)).await.unwrap().unwrap();
    assert_eq!(
        (row.effective.at, row.effective.not_before, row.effective.source),
        (START, earlier, TimeSource::Clamped)
    );
    lab.assert_clean().await;
}

pub async fn a_final_state_closes_and_a_resurrection_opens_again(lab: Lab) {
    let epoch = lab.lead().await;
    let at = |seconds| START.plus(Duration::from_secs(seconds));
    let mut opening = draft("a", 0, "Pending", at(0));
    opening.subject.previous_uid = Some(Uid::new("older"));
    // Only what is said at the opening counts.
    let mut still = draft("a", 1, "Pending", at(1));
    still.subject.previous_uid = Some(Uid::new("another"));
    let mut end = draft("a", 3, "Deleted", at(3));
    end.evidence = Some("gone".into());
    let outcomes = lab.append(epoch, &[opening, still, draft("a", 2, "Terminating", at(2)), end]).await;
    assert_eq!(appended(&outcomes[1]).entered_at, at(0), "a self-transition does not enter the state again");
    let head = appended(&outcomes[3]);
    assert_eq!((head.opened_at, head.entered_at, head.closed_at), (at(0), at(3), Some(at(3))));
    assert_eq!(head.subject.previous_uid, Some(Uid::new("older")));
    assert_eq!(lab.store.heads(None, true, 9).await.unwrap(), []);
    let row = lab.store.row(&Uid::new("a"), Sequence::new(4)).await.unwrap().unwrap();
    assert_eq!(row.evidence.as_deref(), Some("gone"));

    let again = [draft("a", 4, "Deleted", at(4)), draft("a", 4, "Pending", at(4))];
    let outcomes = lab.append(epoch, &again).await;
    assert!(matches!(outcomes[0], Outcome::Illegal(_)), "a final state does not follow itself");
    assert_eq!((appended(&outcomes[1]).closed_at, appended(&outcomes[1]).opened_at), (None, at(0)));
    assert_eq!(lab.store.head(&Uid::new("a")).await.unwrap().as_ref(), Some(appended(&outcomes[1])));
    lab.assert_clean().await;
}

pub async fn a_nul_in_evidence_harms_nobody(lab: Lab) {
    let epoch = lab.lead().await;
    let mut said = nth("a", 0, START);
    said.evidence = Some("binary\0junk".into());
    lab.append(epoch, &[said, nth("b", 0, START)]).await;
    let row = lab.store.row(&Uid::new("a"), Sequence::FIRST).await.unwrap().unwrap();
    assert_eq!(row.evidence.as_deref(), Some("binary\u{fffd}junk"));
}

pub async fn rows_can_be_asked_for_by_stream_name_time_and_place(lab: Lab) {
    let epoch = lab.lead().await;
    let at = |seconds| START.plus(Duration::from_secs(seconds));
    let mut cluster_wide = nth("t", 0, at(3));
    cluster_wide.subject.kind = Kind::Tenant;
    cluster_wide.subject.namespace = None;
    cluster_wide.subject.name = "acme".into();
    lab.append(epoch, &[nth("a", 0, at(0)), nth("b", 0, at(1)), nth("a", 1, at(2)), cluster_wide]).await;
    let positions = async |query: RowQuery| -> Vec<i64> {
        lab.store.rows(&query).await.unwrap().iter().map(|row| row.position.get()).collect()
    };
    let all = RowQuery::default();
    assert_eq!(positions(all.clone()).await, [1, 2, 3, 4]);
    assert_eq!(positions(RowQuery { uid: Some(Uid::new("a")), ..all.clone() }).await, [1, 3]);
    let named = Some((Kind::AppDeployment, Some("acme-prod".into()), "app-b".into()));
    assert_eq!(positions(RowQuery { named, ..all.clone() }).await, [2]);
    let named = Some((Kind::Tenant, None, "acme".into()));
    assert_eq!(positions(RowQuery { named, ..all.clone() }).await, [4]);
    let named = Some((Kind::AppDeployment, None, "app-b".into()));
    assert_eq!(positions(RowQuery { named, ..all.clone() }).await, [0; 0]);
    let (since, until) = (Some(at(1)), Some(at(3)));
    assert_eq!(positions(RowQuery { since, until, ..all.clone() }).await, [2, 3]);
    assert_eq!(positions(RowQuery { after: Some((SHARD, Position::new(2))), limit: 1, ..all }).await, [3]);

    let streams = lab.store.stream_rows(Some((&Uid::new("a"), Sequence::FIRST)), 2).await.unwrap();
    let places: Vec<_> = streams.iter().map(|row| (row.uid.as_str(), row.sequence.get())).collect();
    assert_eq!(places, [("a", 2), ("b", 1)]);
}

pub async fn a_large_batch_is_written_whole(lab: Lab) {
    let epoch = lab.lead().await;
    lab.store.open_destination(&DestinationId::new("billing"), START).await.unwrap();
    // Sizes that no driver handles as one special case.
    let mut batch: Vec<_> = (0..337).map(|n| nth(&format!("uid-{n}"), 0, START)).collect();
    batch.extend((0..163).map(|n| nth(&format!("uid-{n}"), 1, START)));
    let outcomes = lab.append(epoch, &batch).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Appended(_))));
    let counts = lab.store.counts().await.unwrap();
    assert_eq!((counts.resources, counts.transitions, counts.undelivered), (337, 500, 500));
    lab.assert_clean().await;
}

pub async fn two_stores_on_one_database_see_each_other(lab: Lab) {
    let other = lab.reopen();
    other.migrate().await.unwrap();
    let first = lab.lead().await;
    lab.stream(first, "a", 1).await;
    let second = other.take_over(SHARD, "other").await.unwrap();
    other.append(SHARD, second, START, &[nth("a", 1, START)]).await.unwrap();
    assert!(lab.store.append(SHARD, first, START, &[nth("a", 2, START)]).await.is_err());
    let head = lab.store.head(&Uid::new("a")).await.unwrap().unwrap();
    assert_eq!((head.state, head.epoch), (State::of("Available"), second));
    assert_eq!(lab.store.shard(SHARD).await.unwrap().holder.as_deref(), Some("other"));
    lab.assert_clean().await;
}

/// A store may remember what it wrote last; nobody must notice, whoever else writes.
pub async fn what_a_store_wrote_last_is_not_believed_to_be_the_last(lab: Lab) {
    let other = lab.reopen();
    let epoch = lab.lead().await;
    lab.stream(epoch, "a", 2).await;
    lab.stream(epoch, "b", 1).await;
    let elsewhere = other.append(SHARD, epoch, START, &[nth("a", 2, START)]).await.unwrap();
    assert_eq!(appended(&elsewhere[0]).sequence, Sequence::new(3));
    // It stood at 2 when this store wrote it.
    let said = lab.append(epoch, &[nth("a", 2, START), nth("b", 1, START)]).await;
    assert!(matches!(&said[0], Outcome::Stale(Some(head)) if head.sequence == Sequence::new(3)), "{said:?}");
    assert_eq!(appended(&said[1]).sequence, Sequence::new(2));
    other.append(SHARD, epoch, START, &[nth("b", 2, START)]).await.unwrap();
    // This store would call it stale by what it knows, and nothing would have to be written.
    let said = lab.append(epoch, &[nth("b", 3, START)]).await;
    assert_eq!(appended(&said[0]).sequence, Sequence::new(4));
    let next = other.take_over(SHARD, "other").await.unwrap();
    let refused = lab.store.append(SHARD, epoch, START, &[nth("b", 9, START)]).await;
    assert!(matches!(refused, Err(AppendError::Fenced { current, .. }) if current == next), "{refused:?}");
    lab.assert_clean().await;
}

pub async fn the_installation_is_written_once(lab: Lab) {
    let lab = lab.another_empty().await;
    assert_eq!(lab.store.stored_installation().await.unwrap(), None);
    assert_eq!(lab.store.installation(&installation()).await.unwrap(), installation());
    let other = Installation { id: InstallationId::new("copy"), ..installation() };
    assert_eq!(lab.reopen().installation(&other).await.unwrap(), installation());
    assert_eq!(lab.store.stored_installation().await.unwrap(), Some(installation()));
}

/// A caller may go away at any await. Where that leaves a pooled session inside a transaction, the store answers its next
/// caller, and undoes what it answered.
pub async fn an_abandoned_call_leaves_no_transaction_behind(lab: Lab) {
    let (id, mut epoch) = (DestinationId::new("billing"), lab.lead().await);
    for polls in 1..40 {
        let mut abandoned = lab.store.open_destination(&id, lab.now());
        for _ in 0..polls {
            if std::future::poll_fn(|context| Poll::Ready(abandoned.poll_unpin(context))).await.is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(abandoned);
        for _ in 0..2 {
            let next = lab.store.take_over(SHARD, "next").await.unwrap();
            assert_eq!(next, epoch.next(), "after {polls} polls");
            assert_eq!(lab.reopen().shard(SHARD).await.unwrap().epoch, next, "after {polls} polls");
            epoch = next;
        }
    }
}
