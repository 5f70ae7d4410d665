//! What holds when nothing is wrong, and how destinations come and go.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::{Semaphore, watch};
use trueup::{
    domain::{Sequence, Uid},
    outbox::Destination,
    sinks::{Batch, Delivery, Ending, Sink},
};

use crate::{
    front::{Action, Front},
    rig::{Ledger, TestReceiver, destination, limits, names, now, to, uid, until, webhook},
};

#[tokio::test]
async fn every_event_is_applied_once_in_order_and_byte_for_byte() {
    let (ledger, receiver) = (Ledger::new().await, TestReceiver::start().await);
    let apps = names("app", 40);
    ledger.append(&apps, 5).await;
    let relay = ledger.relay(1);
    relay.put(to(webhook(receiver.address, &ledger.clock)));
    // More comes while the first are on their way: lanes are woken while they are held.
    ledger.append(&apps, 10).await;
    ledger.drained_but(&[]).await;
    relay.stop().await;
    receiver.has_exactly(&ledger, &apps).await;
}

#[tokio::test]
async fn a_ledger_in_a_file_is_delivered_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::at(&directory.path().join("ledger.db")).await;
    let receiver = TestReceiver::start().await;
    let front = Front::start(Some(receiver.address)).await;
    let fails_at_first = std::sync::Mutex::new(std::collections::HashSet::new());
    front.script(move |message| {
        let fails =
            message.sequence % 4 == 0 && fails_at_first.lock().unwrap().insert(message.headers["webhook-id"].clone());
        if fails { Action::Answer(503, "x: y", String::new()) } else { Action::Forward }
    });
    let apps = names("app", 20);
    ledger.append(&apps, 3).await;
    let relay = ledger.relay(18);
    relay.put(to(webhook(front.address, &ledger.clock)));
    ledger.append(&apps, 6).await;
    ledger.drained_but(&[]).await;
    receiver.has_exactly(&ledger, &apps).await;
}

#[tokio::test]
async fn a_signed_event_carries_the_media_type_its_id_and_the_time_of_the_attempt() {
    let (ledger, receiver) = (Ledger::new().await, TestReceiver::start().await);
    let front = Front::start(Some(receiver.address)).await;
    let before = now().as_micros() / 1_000_000;
    let relay = ledger.relay(2);
    relay.put(to(webhook(front.address, &ledger.clock)));
    ledger.append(&names("app", 1), 1).await;
    ledger.drained_but(&[]).await;
    let sent = front.seen().remove(0);
    assert_eq!(sent.headers["content-type"], "application/cloudevents+json");
    assert_eq!(sent.headers["webhook-id"], "uid-app-0000-0-1");
    let timestamp: i64 = sent.headers["webhook-timestamp"].parse().unwrap();
    assert!((before..=before + 60).contains(&timestamp), "{timestamp}");
    assert!(sent.headers["webhook-signature"].starts_with("v1,"));
}

#[tokio::test]
async fn two_relays_on_one_ledger_share_the_work_and_keep_the_order() {
    let (ledger, receiver) = (Ledger::new().await, TestReceiver::start().await);
    let front = Front::start(Some(receiver.address)).await;
    let apps = names("app", 30);
    let (first, second) = (ledger.relay(3), ledger.relay(4));
    for relay in [&first, &second] {
        relay.put(to(webhook(front.address, &ledger.clock)));
    }
    ledger.append(&apps, 12).await;
    ledger.drained_but(&[]).await;
    receiver.has_exactly(&ledger, &apps).await;
    let mut last: HashMap<Uid, i64> = HashMap::new();
    for message in front.seen() {
        let last = last.entry(message.uid).or_default();
        assert_eq!(message.sequence, *last + 1, "nothing was lost here, so nothing is sent twice");
        *last = message.sequence;
    }
}

#[tokio::test]
async fn a_relay_that_stops_ends_what_it_began_and_the_next_one_goes_on() {
    let (ledger, receiver) = (Ledger::new().await, TestReceiver::start().await);
    let apps = names("app", 20);
    ledger.append(&apps, 20).await;
    let front = Front::start(Some(receiver.address)).await;
    let first = ledger.relay(5);
    first.put(to(webhook(front.address, &ledger.clock)));
    until("deliveries are under way", || async { (front.seen().len() > 20).then_some(()) }).await;
    first.stop().await;
    let sent = front.seen().len();
    assert!(sent < 400, "it was stopped half way");
    let settled = ledger.store.counts().await.unwrap().deliveries;
    assert_eq!(settled, u64::try_from(sent).unwrap(), "what was sent is also recorded");

    let second = ledger.relay(6);
    second.put(to(webhook(front.address, &ledger.clock)));
    ledger.drained_but(&[]).await;
    assert_eq!(front.seen().len(), 400, "nothing had to be sent twice");
    receiver.has_exactly(&ledger, &apps).await;
}

#[tokio::test]
async fn a_destination_that_is_removed_gets_nothing_more_and_one_that_is_changed_goes_on_elsewhere() {
    let (ledger, receiver) = (Ledger::new().await, TestReceiver::start().await);
    let (old, new) = (Front::start(Some(receiver.address)).await, Front::start(Some(receiver.address)).await);
    let apps = names("app", 5);
    let relay = ledger.relay(7);
    relay.put(to(webhook(old.address, &ledger.clock)));
    assert!(relay.serves(&destination(), "1") && !relay.serves(&destination(), "2"));
    ledger.append(&apps, 2).await;
    ledger.drained_but(&[]).await;

    relay.put(Destination { revision: "2".into(), ..to(webhook(new.address, &ledger.clock)) });
    ledger.append(&apps, 2).await;
    ledger.drained_but(&[]).await;
    assert_eq!((old.seen().len(), new.seen().len()), (10, 10));

    relay.remove(&destination()).await;
    assert!(relay.destinations().is_empty());
    ledger.append(&apps, 2).await;
    relay.put(Destination { revision: "3".into(), ..to(webhook(old.address, &ledger.clock)) });
    ledger.drained_but(&[]).await;
    assert_eq!((old.seen().len(), new.seen().len()), (20, 10));
    receiver.has_exactly(&ledger, &apps).await;
}

#[tokio::test]
async fn the_status_tells_the_lag_the_parked_and_the_last_acknowledgement() {
    let (ledger, receiver) = (Ledger::new().await, TestReceiver::start().await);
    let front = Front::start(Some(receiver.address)).await;
    front.script(|message| {
        if message.uid == uid("poison") { Action::Answer(400, "x: y", "never".into()) } else { Action::Forward }
    });
    let relay = ledger.relay(8);
    assert_eq!(relay.status(&destination()).await.unwrap(), None);
    ledger.append(&["poison".to_owned(), "app".to_owned()], 3).await;
    relay.put(to(webhook(front.address, &ledger.clock)));
    ledger.drained_but(&["poison"]).await;
    let status = until("the poison is parked", || async {
        relay.status(&destination()).await.unwrap().filter(|status| status.parked == 1)
    })
    .await;
    assert_eq!((status.acknowledged, status.oldest_undelivered, status.lag), (3, None, Duration::ZERO));
    assert!(status.last_ack_at.is_some() && status.disabled.is_none());
    let (_, error) = status.last_error.unwrap();
    assert!(error.contains("event uid-poison-0-1") && error.ends_with("answered 400 Bad Request: never"), "{error}");
}

// Fails each resource whose name begins with `bad` at once on the first try; hangs on every further one.
#[derive(Debug)]
struct HangsOnRetries {
    tries: std::sync::Mutex<HashMap<Uid, usize>>,
    hanging: AtomicUsize,
    most_hanging: AtomicUsize,
    release: Semaphore,
}

#[async_trait]
impl Sink for HangsOnRetries {
    async fn deliver(&self, batch: Batch) -> Delivery {
        let through = batch.rows.last().map(|row| row.sequence);
        if !batch.uid.as_str().starts_with("uid-bad") {
            return Delivery { through, ending: Ending::Accepted };
        }
        let tries = {
            let mut tries = self.tries.lock().unwrap();
            let tries = tries.entry(batch.uid).or_default();
            *tries += 1;
            *tries
        };
        if tries == 1 {
            return Delivery { through: None, ending: Ending::Retry { after: None, error: "at first".into() } };
        }
        let hanging = self.hanging.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_hanging.fetch_max(hanging, Ordering::SeqCst);
        self.release.acquire().await.unwrap().forget();
        self.hanging.fetch_sub(1, Ordering::SeqCst);
        Delivery { through, ending: Ending::Accepted }
    }

    fn longest_attempt(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn dedupe_horizon(&self) -> Result<Option<Duration>, Ending> {
        Ok(None)
    }
}

#[tokio::test]
async fn retries_take_at_most_half_of_the_places_and_the_rest_keeps_flowing() {
    let ledger = Ledger::new().await;
    let sink = Arc::new(HangsOnRetries {
        tries: std::sync::Mutex::default(),
        hanging: AtomicUsize::new(0),
        most_hanging: AtomicUsize::new(0),
        release: Semaphore::new(0),
    });
    let relay = ledger.relay(9);
    let mut destination = to(Arc::clone(&sink) as Arc<dyn Sink>);
    destination.limits = trueup::outbox::Limits { concurrency: 4, lease: Duration::from_mins(1), ..limits() };
    relay.put(destination);
    let (bad, good) = (names("bad", 20), names("good", 20));
    ledger.append(&bad, 1).await;
    until("retries hang", || async { (sink.hanging.load(Ordering::SeqCst) == 2).then_some(()) }).await;
    ledger.append(&good, 5).await;
    let bad_names: Vec<&str> = bad.iter().map(String::as_str).collect();
    ledger.drained_but(&bad_names).await;
    assert_eq!(sink.most_hanging.load(Ordering::SeqCst), 2);

    // A place that a retry leaves goes to the next one, though nothing else happens.
    sink.release.add_permits(bad.len());
    ledger.drained_but(&[]).await;
    assert_eq!(sink.most_hanging.load(Ordering::SeqCst), 2);
}

// Lets the test hold a delivery, and records what came.
#[derive(Debug)]
struct Gate {
    open: watch::Sender<bool>,
    entered: watch::Sender<usize>,
}

#[async_trait]
impl Sink for Gate {
    async fn deliver(&self, batch: Batch) -> Delivery {
        self.entered.send_modify(|entered| *entered += 1);
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
        let through: Option<Sequence> = batch.rows.last().map(|row| row.sequence);
        Delivery { through, ending: Ending::Accepted }
    }

    fn longest_attempt(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn dedupe_horizon(&self) -> Result<Option<Duration>, Ending> {
        Ok(None)
    }
}

#[tokio::test]
async fn a_row_committed_while_its_lane_is_held_needs_no_poll_to_be_sent() {
    let ledger = Ledger::new().await;
    let gate = Arc::new(Gate { open: watch::channel(false).0, entered: watch::channel(0).0 });
    let relay = ledger.relay(10);
    let mut destination = to(Arc::clone(&gate) as Arc<dyn Sink>);
    // Nor the end of the lease.
    destination.limits.lease = Duration::from_mins(10);
    relay.put(destination);
    ledger.append(&names("app", 1), 1).await;
    gate.entered.subscribe().wait_for(|entered| *entered == 1).await.unwrap();
    ledger.append(&names("app", 1), 1).await;
    gate.open.send_replace(true);
    ledger.drained_but(&[]).await;
    assert_eq!(*gate.entered.borrow(), 2);
}
