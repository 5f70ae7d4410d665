//! A person's ways out of a parked lane, from the command that is typed to what the receiver has in the end.

use std::path::Path;

use tokio::process::Command;
use trueup::{
    domain::{Message, Sequence},
    ledger::LaneState,
    reconcile::{Behind, amendments},
};

use crate::{
    front::{Action, Front},
    rig::{Ledger, TestReceiver, to, uid, until, webhook},
};

/// Types `trueup outbox` and `words` about one of the test's resources.
///
/// The relay goes on meanwhile: it may be in the middle of a transaction, which keeps every other process out of the file.
async fn typed(ledger: &Path, words: &str, name: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_trueup"))
        .arg("outbox")
        .args(words.split(' '))
        .args(["appdeployment", &format!("acme-prod/{name}"), "--destination", "billing", "--yes"])
        .args(["--as", "ann@desk", "--reason", "the account was merged"])
        .env_clear()
        .env("DATABASE_URL", format!("sqlite:{}", ledger.display()))
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

async fn parked(ledger: &Ledger, name: &str) {
    until("the resource is parked", || async { (ledger.lane(name).await.state == LaneState::Parked).then_some(()) })
        .await;
}

#[tokio::test]
async fn what_is_refused_for_ever_is_voided_or_amended_and_the_receiver_misses_no_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    let (ledger, receiver) = (Ledger::at(&path).await, TestReceiver::start().await);
    let front = Front::start(Some(receiver.address)).await;
    front.script(|message| {
        let refused = message.sequence == 3 && message.uid != uid("well");
        let is_void = message.headers["webhook-id"].ends_with("-void");
        if refused && !is_void { Action::Answer(422, "x: y", "acct-1 is closed".into()) } else { Action::Forward }
    });
    let relay = ledger.relay(61);
    relay.put(to(webhook(front.address, &ledger.clock)));
    ledger.append(&["voided", "amended", "well"].map(str::to_owned), 5).await;
    ledger.drained_but(&["voided", "amended"]).await;
    for name in ["voided", "amended"] {
        parked(&ledger, name).await;
    }

    typed(&path, "void --sequence 3", "voided").await;
    typed(&path, "amend", "amended").await;
    ledger.wake();
    ledger.drained_but(&[]).await;
    let due = ledger.store.amendments_due(10).await.unwrap();
    assert_eq!(due.len(), 1, "the row that states anew is the leader's to write");
    let appender = ledger.appender();
    let head = amendments::carry_out(&*ledger.store, &appender, &Behind::default(), &*ledger.clock, &due[0])
        .await
        .unwrap()
        .unwrap();
    assert_eq!((head.subject.uid, head.sequence), (uid("amended"), Sequence::new(6)));
    ledger.wake();
    ledger.drained_but(&[]).await;

    let (rows, resources) = (ledger.rows().await, receiver.resources().await);
    for (name, newest) in [("voided", 5), ("amended", 6), ("well", 5)] {
        let resource = resources.iter().find(|resource| resource.uid == uid(name)).unwrap();
        let last = rows[&uid(name)].last().unwrap();
        assert_eq!((resource.sequence.get(), resource.applied), (newest, newest), "{name}: no place is missing");
        assert_eq!((resource.hash, &resource.state), (last.hash, &last.to), "{name}: the chain goes on");
        for (row, event) in rows[&uid(name)].iter().zip(receiver.events(name).await) {
            assert_eq!((event.sequence, event.hash), (row.sequence, row.hash));
            let sent = Message::read(event.body.as_bytes()).unwrap();
            let is_void = matches!(sent, Message::Void(_));
            assert_eq!(is_void, name != "well" && row.sequence == Sequence::new(3), "{name}: {sent:?}");
        }
    }
    let last = receiver.events("amended").await.pop().unwrap();
    let Message::Transition(event) = Message::read(last.body.as_bytes()).unwrap() else { panic!("{last:?}") };
    assert_eq!(event.data.amends, Some(Sequence::new(3)));
    let before = &rows[&uid("amended")][4];
    assert_eq!((event.data.to, event.data.effective_at), (before.to.clone(), before.effective.at));
    ledger.is_clean().await;
}

#[tokio::test]
async fn what_was_parked_while_the_receiver_was_wrong_is_retried_all_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    let (ledger, receiver) = (Ledger::at(&path).await, TestReceiver::start().await);
    let front = Front::start(Some(receiver.address)).await;
    front.script(|_| Action::Answer(422, "x: y", "no such account".into()));
    let relay = ledger.relay(62);
    relay.put(to(webhook(front.address, &ledger.clock)));
    let apps = crate::rig::names("app", 7);
    ledger.append(&apps, 2).await;
    for name in &apps {
        parked(&ledger, name).await;
    }
    front.script(|_| Action::Forward);
    let output = Command::new(env!("CARGO_BIN_EXE_trueup"))
        .args(["outbox", "retry", "--all", "--parked-for", "permanent-refusal", "--destination", "billing"])
        .args(["--reason", "the accounts are there now", "--as", "ann@desk", "--yes"])
        .env_clear()
        .env("DATABASE_URL", format!("sqlite:{}", path.display()))
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "Retried 7 resources for billing, as ann@desk.\n");
    ledger.wake();
    ledger.drained_but(&[]).await;
    receiver.has_exactly(&ledger, &apps).await;
    ledger.is_clean().await;
}
