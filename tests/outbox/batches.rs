//! Arrays of events, sent over the wire to the real receiver.

use std::{ops::Range, time::Duration};

use tokio_util::sync::CancellationToken;
use trueup::{
    domain::Sequence,
    sinks::{Batch, Budget, Delivery, Ending},
};

use crate::{
    front::Front,
    rig::{Ledger, TestReceiver, names, to, uid, webhook_in_batches},
};

/// Some of the rows of one stream, as the relay hands them over.
async fn some(ledger: &Ledger, name: &str, range: Range<usize>) -> Batch {
    let budget = Budget::new(ledger.clock.clone(), Duration::MAX, CancellationToken::new());
    Batch { uid: uid(name), rows: ledger.outbox_rows(name).await[range].to_vec(), budget }
}

fn through(delivery: &Delivery) -> Option<i64> {
    delivery.through.map(Sequence::get)
}

#[tokio::test]
async fn a_gap_in_the_middle_of_an_array_stops_its_resource_alone_and_what_came_before_is_kept() {
    let (ledger, receiver) = (Ledger::new().await, TestReceiver::start().await);
    let front = Front::start(Some(receiver.address)).await;
    let apps = ["before", "torn", "behind"].map(str::to_owned);
    ledger.append(&apps, 4).await;
    let sink = webhook_in_batches(front.address, &ledger.clock);
    // One event of the middle resource is already there, and the second one is left out.
    sink.deliver(some(&ledger, "torn", 0..1).await).await;
    let array = vec![
        some(&ledger, "before", 0..4).await,
        some(&ledger, "torn", 2..4).await,
        some(&ledger, "behind", 0..4).await,
    ];
    let deliveries = sink.deliver_together(array).await;
    assert_eq!(deliveries.iter().map(through).collect::<Vec<_>>(), [Some(4), None, Some(4)]);
    assert_eq!((&deliveries[0].ending, &deliveries[2].ending), (&Ending::Accepted, &Ending::Accepted));
    let Ending::Rewind { expected, error } = &deliveries[1].ending else { panic!("{deliveries:?}") };
    assert_eq!(*expected, Sequence::new(2));
    assert!(error.contains("\"eventId\":\"uid-torn-0-3\""), "{error}");
    // The answer names the event, so the array goes once more without it, and nothing is halved.
    let sent: Vec<usize> = front.seen().iter().map(|message| message.events).collect();
    assert_eq!(sent, [1, 10, 8]);
    assert_eq!(receiver.events("torn").await.len(), 1);

    let rest = sink.deliver_together(vec![some(&ledger, "torn", 1..4).await]).await;
    assert_eq!((through(&rest[0]), &rest[0].ending), (Some(4), &Ending::Accepted));
    receiver.has_exactly(&ledger, &apps).await;
}

#[tokio::test]
async fn an_array_that_comes_again_in_part_or_whole_is_applied_once() {
    let (ledger, receiver) = (Ledger::new().await, TestReceiver::start().await);
    let apps = names("app", 3);
    ledger.append(&apps, 5).await;
    let sink = webhook_in_batches(receiver.address, &ledger.clock);
    for range in [0..3, 0..3, 1..5, 0..5] {
        let mut array = vec![];
        for name in &apps {
            array.push(some(&ledger, name, range.clone()).await);
        }
        // The same event twice in one array, too.
        array.push(some(&ledger, &apps[0], range.clone()).await);
        let deliveries = sink.deliver_together(array).await;
        let last = i64::try_from(range.end).unwrap();
        assert!(deliveries.iter().all(|delivery| delivery.ending == Ending::Accepted), "{deliveries:?}");
        assert!(deliveries.iter().all(|delivery| through(delivery) == Some(last)), "{deliveries:?}");
    }
    receiver.has_exactly(&ledger, &apps).await;
}

#[tokio::test]
async fn a_receiver_restored_from_an_old_copy_gets_again_in_arrays_what_it_lost() {
    let (ledger, receiver) = (Ledger::new().await, TestReceiver::start().await);
    let front = Front::start(Some(receiver.address)).await;
    let apps = names("app", 40);
    let relay = ledger.relay(71);
    relay.put(to(webhook_in_batches(front.address, &ledger.clock)));
    ledger.append(&apps, 3).await;
    ledger.drained_but(&[]).await;
    receiver.stop().await;
    receiver.copy_aside("old");
    receiver.revive().await;
    ledger.append(&apps[..20], 4).await;
    ledger.drained_but(&[]).await;
    receiver.stop().await;
    receiver.restore("old");
    receiver.revive().await;
    // Half of the resources have lost events, and arrays hold both halves.
    ledger.append(&apps, 2).await;
    ledger.drained_but(&[]).await;
    receiver.has_exactly(&ledger, &apps).await;
    assert!(front.seen().iter().any(|message| message.events > 20), "events shared messages");
}
