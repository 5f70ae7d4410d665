//! Receivers that misbehave: what one resource suffers, no other may feel.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use trueup::{domain::Sequence, ledger::LaneState, outbox::PERMANENT_REFUSAL};

use crate::{
    front::{Action, Front},
    rig::{Ledger, TestReceiver, destination, names, to, uid, until, webhook, webhook_within},
};

#[tokio::test]
async fn a_poisonous_resource_is_parked_alone_while_five_hundred_others_flow() {
    let (ledger, receiver) = (Ledger::new().await, TestReceiver::start().await);
    let front = Front::start(Some(receiver.address)).await;
    front.script(|message| {
        let poison = message.uid == uid("poison") && message.sequence == 2;
        if poison { Action::Answer(400, "x: y", "no such account".into()) } else { Action::Forward }
    });
    let others = names("app", 500);
    let all = [others.clone(), vec!["poison".to_owned()]].concat();
    let relay = ledger.relay(21);
    relay.put(to(webhook(front.address, &ledger.clock)));
    ledger.append(&all, 3).await;
    ledger.drained_but(&["poison"]).await;
    receiver.has_exactly(&ledger, &others).await;
    let lane = ledger.lane("poison").await;
    assert_eq!((lane.state, lane.acked), (LaneState::Parked, Sequence::new(1)));
    assert_eq!(lane.park_reason.as_deref(), Some(PERMANENT_REFUSAL));
    assert!(lane.last_error.unwrap().contains("no such account"));
    assert_eq!(front.seen_of(&uid("poison")).len(), 2, "it is not sent again, and nothing behind it is");
}

// One resource gets `action`; the others must not notice, and it must recover once that ends.
async fn others_flow_while_one_meets(seed: u64, action: Action, expected_error: &str) {
    let timeout = if matches!(action, Action::Hang) { Duration::from_millis(300) } else { Duration::from_secs(10) };
    let (ledger, receiver) = (Ledger::new().await, TestReceiver::start().await);
    let front = Front::start(Some(receiver.address)).await;
    let script = Arc::new(Mutex::new(action));
    let followed = Arc::clone(&script);
    front.script(
        move |message| {
            if message.uid == uid("bad") { followed.lock().unwrap().clone() } else { Action::Forward }
        },
    );
    let others = names("app", 30);
    let all = [others.clone(), vec!["bad".to_owned()]].concat();
    let relay = ledger.relay(seed);
    relay.put(to(webhook_within(timeout, front.address, &ledger.clock)));
    ledger.append(&all, 3).await;
    ledger.drained_but(&["bad"]).await;
    let lane = until("the bad one was tried twice", || async {
        Some(ledger.lane("bad").await).filter(|lane| lane.attempts >= 2)
    })
    .await;
    assert_eq!((lane.state, lane.acked), (LaneState::Open, Sequence::new(0)));
    let error = lane.last_error.unwrap();
    assert!(error.contains(expected_error), "{error}");
    assert!(error.contains("sending event uid-bad-0-1 to http://127.0.0.1:"), "{error}");
    receiver.has_exactly(&ledger, &others).await;

    *script.lock().unwrap() = Action::Forward;
    ledger.drained_but(&[]).await;
    receiver.has_exactly(&ledger, &all).await;
}

#[tokio::test]
async fn a_receiver_that_hangs_costs_its_resource_a_time_out_and_the_others_nothing() {
    others_flow_while_one_meets(22, Action::Hang, "no answer within 300ms").await;
}

#[tokio::test]
async fn a_receiver_that_fails_is_asked_again() {
    let answer = Action::Answer(500, "x: y", "out of\r\norder".into());
    others_flow_while_one_meets(23, answer, "answered 500 Internal Server Error: out of order").await;
}

#[tokio::test]
async fn an_endless_answer_is_read_only_so_far() {
    others_flow_while_one_meets(26, Action::AnswerWithoutEnd(503), "answered 503").await;
}

#[tokio::test]
async fn a_connection_that_closes_early_is_tried_again() {
    others_flow_while_one_meets(27, Action::HangUp, "error sending request").await;
}

#[tokio::test]
async fn a_conflict_whose_answer_breaks_off_is_tried_again() {
    others_flow_while_one_meets(28, Action::AnswerWithoutEnd(409), "the answer broke off").await;
}

#[tokio::test]
async fn an_endless_answer_that_begins_with_200_acknowledges_all_the_same() {
    let (ledger, receiver) = (Ledger::new().await, TestReceiver::start().await);
    let front = Front::start(Some(receiver.address)).await;
    front.script(|_| Action::AnswerWithoutEnd(200));
    let relay = ledger.relay(29);
    relay.put(to(webhook(front.address, &ledger.clock)));
    ledger.append(&names("app", 5), 3).await;
    ledger.drained_but(&[]).await;
    assert_eq!(front.seen().len(), 15);
}

#[tokio::test]
async fn a_receiver_that_is_gone_for_good_is_left_alone_until_somebody_enables_the_sink() {
    let (ledger, receiver) = (Ledger::new().await, TestReceiver::start().await);
    let front = Front::start(Some(receiver.address)).await;
    front.script(|_| Action::Answer(410, "x: y", "unsubscribed".into()));
    let relay = ledger.relay(31);
    relay.put(to(webhook(front.address, &ledger.clock)));
    let apps = names("app", 40);
    ledger.append(&apps, 3).await;
    let status = until("the sink is disabled", || async {
        relay.status(&destination()).await.unwrap().filter(|status| status.disabled.is_some())
    })
    .await;
    assert!(status.disabled.unwrap().contains("answered 410 Gone: unsubscribed"));
    assert_eq!(status.parked, 0);

    // The same configuration, put again by whoever reconciles it, changes nothing.
    relay.put(to(webhook(front.address, &ledger.clock)));
    front.script(|_| Action::Forward);
    ledger.append(&apps, 1).await;
    assert!(front.seen().len() <= 16, "only what was under way had been sent: {}", front.seen().len());
    assert_eq!(ledger.store.counts().await.unwrap().deliveries, 0);

    relay.enable(&destination());
    ledger.drained_but(&[]).await;
    receiver.has_exactly(&ledger, &apps).await;
    assert_eq!(relay.status(&destination()).await.unwrap().unwrap().disabled, None);
}
