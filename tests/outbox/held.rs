//! Trouble that is the whole receiver's: it is left alone as a whole, and no resource is to blame.

use std::time::Duration;

use trueup::outbox::Held;

use crate::{
    front::{Action, Front},
    rig::{Ledger, TestReceiver, destination, limits, names, now, to, until, webhook},
};

// Everything is answered with `action`; few messages may find that out, nobody may be parked, and all must flow once it
// ends.
async fn is_held(seed: u64, action: Action, expected_error: &str) {
    let (ledger, receiver) = (Ledger::new().await, TestReceiver::start().await);
    let front = Front::start(Some(receiver.address)).await;
    front.script(move |_| action.clone());
    let apps = names("app", 200);
    ledger.append(&apps, 2).await;
    let relay = ledger.relay(seed);
    relay.put(to(webhook(front.address, &ledger.clock)));
    let held = held(&relay).await;
    assert!(held.error.contains(expected_error), "{}", held.error);
    assert_eq!(relay.status(&destination()).await.unwrap().unwrap().parked, 0);
    let most = usize::try_from(limits().concurrency).unwrap() + 4;
    assert!(front.seen().len() <= most, "{} messages to a receiver that takes none", front.seen().len());
    assert!(front.seen().iter().all(|message| message.path == "/events"), "no redirect was followed");

    front.script(|_| Action::Forward);
    ledger.drained_but(&[]).await;
    receiver.has_exactly(&ledger, &apps).await;
    assert_eq!(relay.status(&destination()).await.unwrap().unwrap().held, None);
}

async fn held(relay: &trueup::outbox::Relay) -> Held {
    until("the receiver is left alone", || async { relay.status(&destination()).await.unwrap().unwrap().held }).await
}

#[tokio::test]
async fn a_wrong_key_is_not_the_events_fault() {
    is_held(51, Action::Answer(401, "x: y", String::new()), "check that the receiver knows the key").await;
}

#[tokio::test]
async fn a_wrong_path_is_not_the_events_fault() {
    is_held(52, Action::Answer(404, "x: y", String::new()), "check the path in the sink's url").await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    is_held(53, Action::Answer(307, "location: /elsewhere", String::new()), "redirects are not followed").await;
}

#[tokio::test]
async fn a_receiver_that_asks_for_time_gets_it_from_all() {
    let (ledger, receiver) = (Ledger::new().await, TestReceiver::start().await);
    let front = Front::start(Some(receiver.address)).await;
    front.script(|_| Action::Answer(503, "retry-after: 1800", String::new()));
    ledger.append(&names("app", 100), 2).await;
    let relay = ledger.relay(54);
    let begun = now();
    relay.put(to(webhook(front.address, &ledger.clock)));
    let wait = held(&relay).await.until.since(begun);
    assert!(wait > Duration::from_secs(1_790) && wait < Duration::from_secs(1_830), "{wait:?}");
    assert!(front.seen().len() <= 16, "only what was under way had been sent: {}", front.seen().len());
}
