//! Receivers that are wrong in every way, all the time: nobody else feels it, memory is bounded, and it can be seen.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use trueup::{
    domain::{Clock, DestinationId, ManualClock, Sequence},
    ledger::{LaneState, lanes},
    outbox::{Destination, Limits, Relay, RelayStatus},
};

use crate::{
    front::{Action, Front},
    rig::{Ledger, TestReceiver, destination, limits, names, now, to, uid, until, webhook, webhook_within},
    sight::{not_ready, printed, shown, told},
};

const BYTES: &str = "trueup_outbox_in_flight_bytes";

async fn status(relay: &Relay) -> RelayStatus {
    relay.status(&destination()).await.unwrap().unwrap()
}

/// Everything that is sent to one destination is answered with `action`. The other one gets what is its, and of the first
/// a person sees what is wrong, in the BillingSink's status (`reason`) as in `trueup outbox status`.
async fn only_its_own_destination_feels(seed: u64, action: Action, reason: &str, expected: &str) {
    let patience = Duration::from_millis(200);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    let (ledger, receiver, front) = (Ledger::at(&path).await, TestReceiver::start().await, Front::start(None).await);
    front.script(move |_| action.clone());
    let archive = DestinationId::new("archive");
    ledger.store.open_destination(&archive, ledger.clock.now()).await.unwrap();
    let relay = ledger.relay(seed);
    let bounded = Limits { bytes: 64 << 10, ..limits() };
    let hostile = webhook_within(patience, front.address, &ledger.clock);
    relay.put(Destination { limits: bounded, ..to(hostile) });
    relay.put(Destination { id: archive.clone(), ..to(webhook(receiver.address, &ledger.clock)) });
    let apps = names("app", 60);
    ledger.append(&apps, 6).await;

    until("the other destination has everything", || async {
        let held = ledger.gauge(BYTES, &destination());
        assert!(held <= 64 << 10, "{held} bytes are held for a receiver that takes none");
        let lanes = ledger.store.lanes(None, true, 1_000).await.unwrap();
        lanes.iter().all(|lane| lane.destination != archive).then_some(())
    })
    .await;
    receiver.has_exactly(&ledger, &apps).await;

    let seen = until("it can be seen what is wrong", || async {
        Some(shown(&ledger, &relay).await).filter(|status| not_ready(status) == reason)
    })
    .await;
    assert!(seen.last_error.as_ref().unwrap().contains(expected), "{seen:?}");
    assert_eq!((seen.undelivered, seen.parked, &seen.last_ack_at), (Some(360), Some(0), &None));
    assert!(seen.lag_seconds.is_some());
    let told =
        until("the program says so too", || async { Some(told(&path).await).filter(|it| !it["failing"].is_null()) });
    let told = told.await;
    assert!(told["failing"]["error"].as_str().unwrap().contains(expected), "{told}");
    assert_eq!((&told["delivered"], &told["undelivered"], &told["parked"]), (&0.into(), &360.into(), &0.into()));
    assert!(!told["oldestUndelivered"].is_null() && !told["nextTryAt"].is_null(), "{told}");
    assert!(printed(&path, "table").await.contains("in a row failed, the last: sending event uid-app-"));
    let status = status(&relay).await;
    assert_eq!((status.acknowledged, status.parked, status.disabled), (0, 0, None));
    assert_eq!(ledger.gauge("trueup_outbox_held", &archive), 0);
}

#[tokio::test]
async fn a_receiver_that_hangs_is_felt_by_its_own_destination_alone() {
    only_its_own_destination_feels(81, Action::Hang, "Retrying", "no answer within 200ms").await;
}

#[tokio::test]
async fn a_receiver_that_drips_is_felt_by_its_own_destination_alone() {
    only_its_own_destination_feels(82, Action::Drip(Duration::from_millis(20)), "Retrying", "no answer within 200ms")
        .await;
}

#[tokio::test]
async fn a_receiver_that_speaks_no_http_is_felt_by_its_own_destination_alone() {
    only_its_own_destination_feels(
        83,
        Action::Babble(b"220 mail.example ESMTP\r\n"),
        "Retrying",
        "error sending request",
    )
    .await;
}

#[tokio::test]
async fn a_receiver_that_hangs_up_is_felt_by_its_own_destination_alone() {
    only_its_own_destination_feels(84, Action::HangUp, "Retrying", "error sending request").await;
}

#[tokio::test]
async fn a_receiver_that_answers_ten_megabytes_is_felt_by_its_own_destination_alone() {
    only_its_own_destination_feels(85, Action::AnswerAtLength(500, 10 << 20), "Retrying", "answered 500").await;
}

#[tokio::test]
async fn a_receiver_that_redirects_is_felt_by_its_own_destination_alone() {
    let answer = Action::Answer(308, "location: http://127.0.0.1:9/", String::new());
    only_its_own_destination_feels(86, answer, "ReceiverUnavailable", "redirects are not followed").await;
}

#[tokio::test]
async fn ten_megabytes_behind_a_good_answer_cost_nothing() {
    let (ledger, front) = (Ledger::new().await, Front::start(None).await);
    front.script(|_| Action::AnswerAtLength(200, 10 << 20));
    let relay = ledger.relay(87);
    relay.put(to(webhook(front.address, &ledger.clock)));
    ledger.append(&names("app", 5), 3).await;
    ledger.drained_but(&[]).await;
    assert_eq!(front.seen().len(), 15, "the status alone counts");
}

#[tokio::test]
async fn a_receiver_that_takes_events_and_forgets_them_parks_the_resource() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    let (ledger, receiver) = (Ledger::at(&path).await, TestReceiver::start().await);
    let front = Front::start(Some(receiver.address)).await;
    // More than one delivery holds, so that there is something that looks like progress.
    let remembers = i64::from(limits().rows_per_lane) * 2 + 3;
    front.script(move |message| match (message.uid == uid("forgotten"), message.sequence > remembers) {
        (true, true) => Action::Answer(409, "x: y", r#"{"expectedSequence":1}"#.to_owned()),
        (true, false) => Action::Answer(200, "x: y", String::new()),
        (false, _) => Action::Forward,
    });
    let (others, rows) = (names("app", 5), usize::try_from(remembers).unwrap() + 2);
    let all = [others.clone(), vec!["forgotten".to_owned()]].concat();
    ledger.append(&all, rows).await;
    let relay = ledger.relay(88);
    relay.put(to(webhook(front.address, &ledger.clock)));
    ledger.drained_but(&["forgotten"]).await;
    let lane = until("the resource is parked", || async {
        Some(ledger.lane("forgotten").await).filter(|lane| lane.state == LaneState::Parked)
    })
    .await;
    assert_eq!(lane.park_reason.as_deref(), Some(lanes::REWIND_LOOP));
    let sent = front.seen_of(&uid("forgotten")).len();
    assert!(sent <= 3 * rows, "{sent} messages of {rows} events");
    let seen = shown(&ledger, &relay).await;
    assert_eq!((not_ready(&seen), seen.parked), ("Parked", Some(1)));
    assert_eq!(told(&path).await["parked"], 1);
    let table = printed(&path, "table").await;
    assert!(table.contains("AppDeployment acme-prod/forgotten") && table.contains(lanes::REWIND_LOOP), "{table}");
    receiver.has_exactly(&ledger, &others).await;
}

/// Lets the time pass until the next try is due, and waits until whatever was due then has been tried and settled.
/// Answers whether there was one. Time that passed in between would end leases that are still needed.
async fn pass_to_the_next_try(ledger: &Ledger, front: &Front, clock: &ManualClock) -> bool {
    let lanes = ledger.store.lanes(None, true, 1_000).await.unwrap();
    let Some(next) = lanes.iter().map(|lane| lane.next_at).min() else { return false };
    clock.advance(next.since(clock.now()));
    for before in lanes.into_iter().filter(|lane| lane.next_at <= clock.now()) {
        until("what was due is settled", || async {
            let lane = ledger.store.lane(&before.destination, &before.uid).await.unwrap().unwrap();
            let is_settled =
                lane.attempts > before.attempts && lane.attempts as usize == front.seen_of(&lane.uid).len();
            (is_settled || lane.acked == lane.head).then_some(())
        })
        .await;
    }
    true
}

#[tokio::test]
async fn an_hour_of_500_is_waited_out_with_ever_longer_pauses() {
    const HOUR: Duration = Duration::from_hours(1);
    let clock = Arc::new(ManualClock::at(now()));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    let ledger = Ledger::at_with_clock(&path, Arc::clone(&clock) as Arc<dyn Clock>).await;
    let (front, time) = (Front::start(None).await, Arc::clone(&clock));
    front.script(move |_| Action::Answer(if time.monotonic() < HOUR { 500 } else { 204 }, "x: y", String::new()));
    let relay = ledger.relay(89);
    // The pauses are those of production. Only the poll is short, since the clock does not wake anybody.
    let limits = Limits { poll: Duration::from_millis(2), concurrency: 16, ..Limits::default() };
    relay.put(Destination { limits, ..to(webhook(front.address, &ledger.clock)) });
    let apps = names("app", 4);
    ledger.append(&apps, 3).await;
    let (mut looked, mut until_then) = (false, 0);
    while clock.monotonic() < HOUR {
        until_then = front.seen().len();
        assert!(pass_to_the_next_try(&ledger, &front, &clock).await);
        if !looked && clock.monotonic() > HOUR / 2 {
            looked = true;
            let seen = shown(&ledger, &relay).await;
            assert_eq!((not_ready(&seen), seen.undelivered, seen.parked), ("Retrying", Some(12), Some(0)));
            assert!(seen.lag_seconds.unwrap() >= 1_800 && seen.last_error.unwrap().contains("answered 500"));
            let told = told(&path).await;
            assert!(told["failing"]["tries"].as_u64().unwrap() > 5, "{told}");
            assert!(told["failing"]["error"].as_str().unwrap().contains("answered 500"), "{told}");
        }
    }
    assert!(looked);
    for name in &apps {
        let tries = front.seen_of(&uid(name)).len();
        assert!((10..=100).contains(&tries), "{name} was tried {tries} times within an hour");
    }
    while pass_to_the_next_try(&ledger, &front, &clock).await {}
    assert!(clock.monotonic() < HOUR + Duration::from_mins(6), "it took {:?}", clock.monotonic());
    let mut taken: BTreeMap<_, Vec<i64>> = BTreeMap::new();
    for message in front.seen().split_off(until_then) {
        taken.entry(message.uid).or_default().push(message.sequence);
    }
    assert!(taken.len() == 4 && taken.values().all(|sequences| sequences == &[1, 2, 3]), "{taken:?}");
}

#[tokio::test]
async fn no_more_bytes_are_held_than_may_be() {
    const MOST: usize = 48 << 10;
    let (ledger, front) = (Ledger::new().await, Front::start(None).await);
    front.script(|_| Action::Hang);
    let bounded = Limits { bytes: MOST, rows_per_lane: 32, ..limits() };
    ledger.append(&names("app", 40), 32).await;
    let relay = ledger.relay(90);
    let hangs = webhook_within(Duration::from_millis(100), front.address, &ledger.clock);
    relay.put(Destination { limits: bounded, ..to(hangs) });
    let event = ledger.outbox_rows("app-0000").await[0].body.len();
    until("they are used, once it is known how large events are", || async {
        let held = usize::try_from(ledger.gauge(BYTES, &destination())).unwrap();
        assert!(held <= MOST, "{held} bytes are held");
        (held > MOST / 2 && held > 16 * event).then_some(())
    })
    .await;
}

#[tokio::test]
async fn no_more_events_are_sent_in_a_second_than_may_be() {
    const RATE: u32 = 20;
    let clock = Arc::new(ManualClock::at(now()));
    let (ledger, front) = (Ledger::with_clock(Arc::clone(&clock) as Arc<dyn Clock>).await, Front::start(None).await);
    front.script(|_| Action::Answer(204, "x: y", String::new()));
    let limits = Limits { events_per_second: Some(RATE), poll: Duration::from_millis(2), ..limits() };
    ledger.append(&names("app", 10), 12).await;
    let relay = ledger.relay(91);
    relay.put(Destination { limits, ..to(webhook(front.address, &ledger.clock)) });
    for second in 1..=6 {
        let most = usize::try_from(RATE).unwrap() * second;
        until("this second's worth was sent", || async {
            let sent = front.seen().len();
            assert!(sent <= most, "{sent} events within {} seconds", second - 1);
            (sent == most).then_some(())
        })
        .await;
        clock.advance(Duration::from_secs(1));
    }
    ledger.drained_but(&[]).await;
    assert_eq!(front.seen().len(), 120, "each event once");
}

#[tokio::test]
async fn a_receiver_that_is_gone_for_good_stays_gone_when_the_process_starts_again() {
    let (ledger, receiver) = (Ledger::new().await, TestReceiver::start().await);
    let front = Front::start(Some(receiver.address)).await;
    front.script(|_| Action::Answer(410, "x: y", "unsubscribed".into()));
    let first = ledger.relay(92);
    first.put(to(webhook(front.address, &ledger.clock)));
    ledger.append(&names("app", 3), 1).await;
    let said = until("the sink is disabled", || async { status(&first).await.disabled }).await;
    first.stop().await;

    front.script(|_| Action::Forward);
    let sent = front.seen().len();
    let next = ledger.relay(93);
    next.put_disabled(to(webhook(front.address, &ledger.clock)), said.clone());
    ledger.append(&names("app", 3), 1).await;
    let shown = status(&next).await;
    assert_eq!((shown.disabled, shown.last_error.unwrap().1), (Some(said.clone()), said));
    assert_eq!(ledger.gauge("trueup_outbox_disabled", &destination()), 1);
    next.put(to(webhook(front.address, &ledger.clock)));
    assert_eq!(front.seen().len(), sent, "the same configuration changes nothing");
    assert_eq!(ledger.lane("app-0000").await.acked, Sequence::new(0));

    next.put(Destination { revision: "2".into(), ..to(webhook(front.address, &ledger.clock)) });
    ledger.drained_but(&[]).await;
    receiver.has_exactly(&ledger, &names("app", 3)).await;
    assert_eq!(ledger.gauge("trueup_outbox_disabled", &destination()), 0);
}
