//! What was, and what was known of it.

use std::{fmt::Write as _, time::Duration};

use trueup::{
    domain::{Effective, Kind, TenantName, Timestamp, Uid},
    ledger::{Believed, Draft, PastQuery, PastState, pruner},
};

use crate::lab::{Lab, START, draft};

/// So many minutes after the beginning.
fn minute(minutes: u64) -> Timestamp {
    START.plus(Duration::from_mins(minutes))
}

fn asked(at: u64, as_of: u64) -> PastQuery {
    PastQuery { at: minute(at), as_of: minute(as_of), kind: None, tenant: None, ended: false, after: None, limit: 100 }
}

/// `uid: state`, the row it is from, what it was taken for then if that was another row, and what may already be so.
fn told(state: &PastState) -> String {
    let PastState { uid, held, believed, doubt, .. } = state;
    let mut text = match held {
        Some(held) => format!("{uid}: {} {}", held.sequence, held.state),
        None => format!("{uid}: not kept"),
    };
    match (believed, held) {
        (Believed::Nothing, _) => text.push_str(", unknown then"),
        (Believed::NotKept, Some(_)) => text.push_str(", then taken for what is not kept"),
        (Believed::Row { sequence, state }, Some(held)) if *sequence != held.sequence => {
            write!(text, ", then taken for {sequence} {state}").unwrap();
        }
        _ => {}
    }
    if let Some(doubt) = doubt {
        write!(text, ", perhaps {}", doubt.state).unwrap();
    }
    text
}

async fn past(lab: &Lab, query: &PastQuery) -> Vec<String> {
    lab.store.past(query).await.unwrap().iter().map(told).collect()
}

/// Records `draft` at minute `recorded`, as having happened when `effective` says.
async fn record(lab: &Lab, recorded: u64, draft: Draft, effective: Effective) {
    let now = minute(recorded);
    let epoch = lab.store.shard(crate::lab::SHARD).await.unwrap().epoch;
    let outcomes = lab.store.append(crate::lab::SHARD, epoch, now, &[Draft { effective, ..draft }]).await.unwrap();
    crate::lab::appended(&outcomes[0]);
}

fn at(minutes: u64) -> Effective {
    Effective::observed(minute(minutes), minute(minutes))
}

/// "a" is up at 10, and goes down at 20, which is known at 60; "b" is made at 15, known at 25, moved to another tenant at
/// 35, and deleted at 45; "c" goes down at some time from 12 to 50.
async fn story(lab: &Lab) {
    lab.lead().await;
    record(lab, 5, draft("a", 0, "Pending", START), at(5)).await;
    record(lab, 5, draft("c", 0, "Pending", START), at(5)).await;
    record(lab, 10, draft("a", 1, "Available", START), at(10)).await;
    record(lab, 12, draft("c", 1, "Available", START), at(12)).await;
    record(lab, 25, draft("b", 0, "Pending", START), at(15)).await;
    let mut moved = draft("b", 1, "Pending", START);
    moved.subject.tenant = TenantName::new("globex");
    record(lab, 35, moved.clone(), at(35)).await;
    for (after, to) in [(2, "Terminating"), (3, "Deleted")] {
        let subject = moved.subject.clone();
        record(lab, 45, Draft { subject, ..draft("b", after, to, START) }, at(45)).await;
    }
    record(lab, 50, draft("c", 2, "Degraded", START), Effective::inferred(minute(12), minute(50))).await;
    record(lab, 60, draft("a", 2, "Degraded", START), at(20)).await;
}

pub async fn what_was_is_told_by_what_is_known_now_and_by_what_was_known_then(lab: Lab) {
    story(&lab).await;
    assert_eq!(past(&lab, &asked(4, 90)).await, [""; 0], "before anything was");
    assert_eq!(
        past(&lab, &asked(11, 90)).await,
        ["a: 2 Available", "c: 1 Pending"],
        "a moment before the earliest that it may have been"
    );
    assert_eq!(
        past(&lab, &asked(22, 90)).await,
        ["a: 3 Degraded, then taken for 2 Available", "b: 1 Pending, unknown then", "c: 2 Available, perhaps Degraded"]
    );
    assert_eq!(past(&lab, &asked(22, 22)).await, ["a: 2 Available", "c: 2 Available"], "as it was taken to be");
    assert_eq!(
        past(&lab, &asked(22, 30)).await,
        ["a: 2 Available", "b: 1 Pending, unknown then", "c: 2 Available"],
        "as it was known a little later"
    );
    assert_eq!(past(&lab, &asked(22, 5)).await, ["a: 1 Pending", "c: 1 Pending"], "long before, it was the future");
    assert_eq!(past(&lab, &asked(50, 90)).await, ["a: 3 Degraded, then taken for 2 Available", "c: 3 Degraded"]);
    lab.assert_clean().await;
}

pub async fn what_had_ended_is_told_only_to_who_asks_or_if_it_was_not_known_to_have(lab: Lab) {
    story(&lab).await;
    let ended = PastQuery { ended: true, ..asked(46, 90) };
    assert_eq!(past(&lab, &ended).await[1], "b: 4 Deleted");
    assert_eq!(past(&lab, &asked(46, 90)).await.len(), 2);
    lab.lead().await;
    record(&lab, 70, draft("d", 0, "Pending", START), at(61)).await;
    record(&lab, 71, draft("d", 1, "Terminating", START), at(62)).await;
    record(&lab, 80, draft("d", 2, "Deleted", START), at(63)).await;
    assert_eq!(past(&lab, &asked(75, 90)).await[1], "c: 3 Degraded");
    assert_eq!(past(&lab, &asked(75, 90)).await[2], "d: 3 Deleted, then taken for 2 Terminating");
    assert_eq!(past(&lab, &asked(85, 90)).await.len(), 2);
}

pub async fn the_past_can_be_asked_for_by_kind_and_by_the_tenant_of_that_time_page_by_page(lab: Lab) {
    story(&lab).await;
    let of = |at, tenant| PastQuery { tenant: Some(TenantName::new(tenant)), ..asked(at, 90) };
    assert_eq!(past(&lab, &of(30, "acme")).await.len(), 3);
    assert_eq!(past(&lab, &of(30, "globex")).await, [""; 0]);
    assert_eq!(past(&lab, &of(40, "globex")).await, ["b: 2 Pending"]);
    assert_eq!(past(&lab, &PastQuery { kind: Some(Kind::Backup), ..asked(30, 90) }).await, [""; 0]);
    assert_eq!(past(&lab, &PastQuery { kind: Some(Kind::AppDeployment), ..asked(30, 90) }).await.len(), 3);
    let mut page = PastQuery { limit: 2, ..asked(30, 90) };
    assert_eq!(past(&lab, &page).await.len(), 2);
    page.after = Some(Uid::new("b"));
    assert_eq!(past(&lab, &page).await, ["c: 2 Available, perhaps Degraded"]);
    let whole = lab.store.past(&asked(30, 90)).await.unwrap();
    assert_eq!((whole[0].kind, whole[0].namespace.as_deref()), (Kind::AppDeployment, Some("acme-prod")));
    assert_eq!(whole[0].name, "app-a");
}

pub async fn a_time_whose_rows_are_gone_is_said_not_to_be_kept(lab: Lab) {
    const PARTITION: i64 = 8;
    lab.partition_by(PARTITION).await;
    lab.lead().await;
    for n in 0..2 * PARTITION {
        let now = u64::try_from(n).unwrap();
        record(&lab, now, crate::lab::nth("a", n, START), at(now)).await;
    }
    // The newest row happened long before it was recorded.
    record(&lab, 60, crate::lab::nth("a", 2 * PARTITION, START), at(20)).await;
    let newest = past(&lab, &asked(30, 90)).await;
    assert_eq!(newest, ["a: 17 Degraded, then taken for 16 Available"]);
    pruner::prune(&*lab.store, minute(59)).await.unwrap();
    assert_eq!(past(&lab, &asked(10, 90)).await, ["a: not kept"]);
    let newest = past(&lab, &asked(30, 90)).await;
    assert_eq!(newest, ["a: 17 Degraded, then taken for what is not kept"]);
    assert_eq!(past(&lab, &asked(70, 90)).await, ["a: 17 Degraded"]);
}
