//! Answers that are lost, and receivers that remember less or more than they should.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use futures::FutureExt as _;
use trueup::{
    domain::{Sequence, Uid},
    ledger::{LaneState, lanes},
    outbox::PERMANENT_REFUSAL,
};

use crate::{
    front::{Action, Front},
    rig::{Ledger, TestReceiver, names, to, uid, until, webhook},
};

#[tokio::test]
async fn an_event_whose_answer_was_lost_is_sent_again_with_the_same_bytes_and_applied_once() {
    let (ledger, receiver) = (Ledger::new().await, TestReceiver::start().await);
    let front = Front::start(Some(receiver.address)).await;
    // The first answer about every third event of each resource is lost.
    let lost: Mutex<HashSet<(Uid, i64)>> = Mutex::default();
    front.script(move |message| {
        let is_third = message.sequence % 3 == 0;
        let first = is_third && lost.lock().unwrap().insert((message.uid.clone(), message.sequence));
        if first { Action::ForwardAndHangUp } else { Action::Forward }
    });
    let apps = names("app", 10);
    let relay = ledger.relay(11);
    relay.put(to(webhook(front.address, &ledger.clock)));
    ledger.append(&apps, 9).await;
    ledger.drained_but(&[]).await;
    receiver.has_exactly(&ledger, &apps).await;
    for name in &apps {
        let sent = front.seen_of(&uid(name));
        let sequences: Vec<i64> = sent.iter().map(|message| message.sequence).collect();
        assert_eq!(sequences, [1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9, 9]);
        assert_eq!(sent[2].body, sent[3].body);
        assert_eq!(sent[2].headers["webhook-id"], sent[3].headers["webhook-id"]);
    }
}

#[tokio::test]
async fn a_receiver_killed_between_its_commit_and_its_answer_knows_the_event_when_it_comes_again() {
    let (ledger, receiver) = (Ledger::new().await, Arc::new(TestReceiver::start().await));
    let front = Front::start(Some(receiver.address)).await;
    let killed = Arc::clone(&receiver);
    front.restart_with(Arc::new(move || {
        let receiver = Arc::clone(&killed);
        async move {
            receiver.kill();
            receiver.revive().await;
        }
        .boxed()
    }));
    let once = Mutex::new(true);
    front.script(move |message| {
        let now = message.sequence == 4 && std::mem::take(&mut *once.lock().unwrap());
        if now { Action::ForwardAndRestart } else { Action::Forward }
    });
    let apps = names("app", 3);
    let relay = ledger.relay(12);
    relay.put(to(webhook(front.address, &ledger.clock)));
    ledger.append(&apps, 8).await;
    ledger.drained_but(&[]).await;
    receiver.has_exactly(&ledger, &apps).await;
    assert!(front.seen().len() > 24, "at least one event went out twice");
}

#[tokio::test]
async fn a_receiver_restored_from_an_old_copy_is_given_again_what_it_lost() {
    let (ledger, receiver) = (Ledger::new().await, TestReceiver::start().await);
    let apps = names("app", 8);
    let relay = ledger.relay(13);
    relay.put(to(webhook(receiver.address, &ledger.clock)));
    ledger.append(&apps, 3).await;
    ledger.drained_but(&[]).await;
    receiver.stop().await;
    receiver.copy_aside("old");
    receiver.revive().await;

    ledger.append(&apps, 20).await;
    ledger.append(&names("new", 2), 2).await;
    ledger.drained_but(&[]).await;
    receiver.stop().await;
    receiver.restore("old");
    receiver.revive().await;
    assert!(receiver.resources().await.iter().all(|resource| resource.sequence == Sequence::new(3)));

    // The next event of each makes the receiver say what it lacks.
    let all = [apps, names("new", 2)].concat();
    ledger.append(&all, 1).await;
    ledger.drained_but(&[]).await;
    until("everything is there again", || async {
        let resources = receiver.resources().await;
        let complete = |name: &String| {
            let expected = Sequence::new(if name.starts_with("app") { 24 } else { 3 });
            resources.iter().any(|resource| resource.uid == uid(name) && resource.sequence == expected)
        };
        all.iter().all(complete).then_some(())
    })
    .await;
    receiver.has_exactly(&ledger, &all).await;
}

#[tokio::test]
async fn a_receiver_that_knows_rows_the_ledger_lacks_parks_the_resource() {
    let (ledger, receiver) = (Ledger::new().await, TestReceiver::start().await);
    let front = Front::start(Some(receiver.address)).await;
    front.script(|message| {
        let ahead = message.uid == uid("ahead");
        let expected = r#"{"expectedSequence":9}"#.to_owned();
        if ahead { Action::Answer(409, "content-type: application/json", expected) } else { Action::Forward }
    });
    let relay = ledger.relay(14);
    relay.put(to(webhook(front.address, &ledger.clock)));
    ledger.append(&["ahead".to_owned(), "well".to_owned()], 3).await;
    ledger.drained_but(&["ahead"]).await;
    parked(&ledger, "ahead", lanes::RECEIVER_AHEAD).await;
    assert_eq!(front.seen_of(&uid("ahead")).len(), 1, "it is not asked again");
}

#[tokio::test]
async fn a_receiver_that_asks_for_the_same_place_again_and_again_parks_the_resource() {
    let (ledger, receiver) = (Ledger::new().await, TestReceiver::start().await);
    let front = Front::start(Some(receiver.address)).await;
    front.script(|message| {
        let expected = r#"{"expectedSequence":1}"#.to_owned();
        if message.uid == uid("loop") { Action::Answer(409, "x: y", expected) } else { Action::Forward }
    });
    let relay = ledger.relay(15);
    relay.put(to(webhook(front.address, &ledger.clock)));
    ledger.append(&["loop".to_owned(), "well".to_owned()], 3).await;
    ledger.drained_but(&["loop"]).await;
    parked(&ledger, "loop", lanes::REWIND_LOOP).await;
    assert!(front.seen_of(&uid("loop")).len() <= 4, "it was bounded");
}

#[tokio::test]
async fn a_ledger_that_rewrites_history_is_refused_and_parked_with_the_receivers_words() {
    let receiver = TestReceiver::start().await;
    let first = Ledger::new().await;
    let relay = first.relay(16);
    relay.put(to(webhook(receiver.address, &first.clock)));
    first.append(&["app".to_owned()], 5).await;
    first.drained_but(&[]).await;
    relay.stop().await;

    // Another ledger that says other things under the same ids, as after a restore that nobody declared.
    let second = Ledger::new().await;
    let relay = second.relay(17);
    relay.put(to(webhook(receiver.address, &second.clock)));
    second.append(&["app".to_owned(), "well".to_owned()], 3).await;
    second.drained_but(&["app"]).await;
    let error = parked(&second, "app", PERMANENT_REFUSAL).await;
    assert!(error.contains("422") && error.contains("rewrote history"), "{error}");
    receiver.has_exactly(&first, &["app".to_owned()]).await;
}

// Waits until the resource is parked for `reason`, and gives the last error.
async fn parked(ledger: &Ledger, name: &str, reason: &str) -> String {
    let lane = until("the resource is parked", || async {
        Some(ledger.lane(name).await).filter(|lane| lane.state == LaneState::Parked)
    })
    .await;
    assert_eq!(lane.park_reason.as_deref(), Some(reason));
    lane.last_error.unwrap()
}
