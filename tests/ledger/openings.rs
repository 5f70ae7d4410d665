//! Where lanes begin, and which there are.

use std::time::Duration;

use trueup::{
    domain::{DestinationId, Epoch, Kind, Message, Selector, Sequence, State, TenantName, Uid},
    ledger::{Claim, Draft, LaneView, Opening, OutboxRow, Settlement, Start, Subject},
};

use crate::lab::{Lab, SHARD, START, draft, nth, subject};

fn billing() -> DestinationId {
    DestinationId::new("billing")
}

fn begins(start: Start) -> Opening {
    Opening { start, ..Opening::of_everything(billing()) }
}

async fn claims(lab: &Lab) -> Vec<Claim> {
    let mut claims = lab.store.claim(&lab.request(&billing()), lab.now()).await.unwrap();
    claims.sort_by(|a, b| a.uid.cmp(&b.uid));
    claims
}

async fn settle(lab: &Lab, claim: &Claim, settlement: Settlement) {
    let settled = (billing(), claim.uid.clone(), claim.token.clone(), settlement);
    assert_eq!(lab.store.settle(&[settled], lab.now()).await.unwrap(), [true]);
}

async fn lane(lab: &Lab, uid: &str) -> LaneView {
    let all = lab.store.lanes(None, false, 1_000).await.unwrap();
    all.into_iter().find(|lane| lane.uid == Uid::new(uid)).unwrap()
}

/// What each claim would send: `s3 4 5` is a snapshot at 3 and two rows.
fn sent(claims: &[Claim]) -> Vec<String> {
    let word = |row: &OutboxRow| match Message::read(&row.body).unwrap() {
        Message::Transition(_) => row.sequence.to_string(),
        Message::Snapshot(_) => format!("s{}", row.sequence),
        Message::Void(_) => format!("v{}", row.sequence),
    };
    let line = |claim: &Claim| format!("{}: {}", claim.uid, claim.rows.iter().map(word).collect::<Vec<_>>().join(" "));
    claims.iter().map(line).collect()
}

/// `open` with three rows, a minute apart; `over`, which ended with its third; and `back`, which came back from that.
async fn three_lives(lab: &Lab) -> Epoch {
    let epoch = lab.lead().await;
    for turn in 0..4 {
        let mut drafts = vec![];
        if turn < 3 {
            let now = lab.now();
            drafts.push(nth("open", turn, now));
            for uid in ["over", "back"] {
                drafts.push(draft(
                    uid,
                    turn,
                    ["Pending", "Terminating", "Deleted"][usize::try_from(turn).unwrap()],
                    now,
                ));
            }
        } else {
            drafts.push(draft("back", 3, "Pending", lab.now()));
        }
        lab.append(epoch, &drafts).await;
        lab.pass(Duration::from_mins(1)).await;
    }
    epoch
}

pub async fn now_begins_with_a_snapshot_of_every_open_stream(lab: Lab) {
    let epoch = three_lives(&lab).await;
    assert!(lab.store.open(&begins(Start::Now), lab.now()).await.unwrap());
    let first = claims(&lab).await;
    assert_eq!(sent(&first), ["back: s4", "open: s3"], "what is over is not told");
    let row = lab.store.row(&Uid::new("open"), Sequence::new(3)).await.unwrap().unwrap();
    let Message::Snapshot(snapshot) = Message::read(&first[1].rows[0].body).unwrap() else { panic!("a snapshot") };
    assert_eq!((snapshot.data.hash, snapshot.data.prev_hash, &snapshot.data.state), (row.hash, row.prev_hash, &row.to));
    assert_eq!(first[1].rows[0].event_id.as_str(), format!("{}-snapshot", row.event_id));

    // The same bytes again, also once more has happened.
    lab.append(epoch, &[nth("open", 3, lab.now()), draft("over", 3, "Pending", lab.now())]).await;
    lab.pass(Duration::from_mins(1)).await;
    let again = claims(&lab).await;
    assert_eq!(sent(&again), ["back: s4", "open: s3 4", "over: s4"], "what comes back begins with how it comes back");
    assert_eq!(again[1].rows[0], first[1].rows[0]);
    for claim in &again {
        settle(&lab, claim, Settlement::Acked { through: claim.head }).await;
    }
    assert_eq!((lane(&lab, "open").await.delivered(), lane(&lab, "over").await.delivered()), (2, 1));
    lab.stream(epoch, "new", 1).await;
    assert_eq!(sent(&claims(&lab).await), ["new: 1"]);
    lab.assert_clean().await;
}

pub async fn a_time_begins_with_how_things_stood_then(lab: Lab) {
    three_lives(&lab).await;
    // Between the second rows and the third.
    lab.store.open(&begins(Start::At(START.plus(Duration::from_secs(90)))), lab.now()).await.unwrap();
    assert_eq!(sent(&claims(&lab).await), ["back: s2 3 4", "open: s2 3", "over: s2 3"]);
    lab.store.close_destination(&billing()).await.unwrap();
    // After the third, before `back` is.
    lab.store.open(&begins(Start::At(START.plus(Duration::from_secs(150)))), lab.now()).await.unwrap();
    assert_eq!(sent(&claims(&lab).await), ["back: s4", "open: s3"]);
    lab.store.close_destination(&billing()).await.unwrap();
    // At the very moment of a row, which is the first to be told.
    lab.store.open(&begins(Start::At(START)), lab.now()).await.unwrap();
    assert_eq!(sent(&claims(&lab).await), ["back: 1 2 3 4", "open: 1 2 3", "over: 1 2 3"]);
    lab.assert_clean().await;
}

pub async fn a_receiver_that_knows_nothing_is_taken_back_no_further_than_the_beginning(lab: Lab) {
    three_lives(&lab).await;
    lab.store.open(&begins(Start::Now), lab.now()).await.unwrap();
    let open = claims(&lab).await.pop().unwrap();
    settle(&lab, &open, Settlement::Acked { through: open.head }).await;
    lab.append(Epoch::new(1), &[nth("open", 3, lab.now())]).await;
    let next = claims(&lab).await.pop().unwrap();
    assert_eq!(sent(std::slice::from_ref(&next)), ["open: 4"]);
    settle(&lab, &next, Settlement::Rewind { expected: Sequence::FIRST, error: "it lost its memory".into() }).await;
    assert_eq!(sent(&claims(&lab).await), ["open: s3 4"]);
    lab.assert_clean().await;
}

pub async fn a_destination_that_is_opened_again_goes_on(lab: Lab) {
    let epoch = three_lives(&lab).await;
    lab.store.open(&begins(Start::Beginning), lab.now()).await.unwrap();
    for claim in claims(&lab).await {
        settle(&lab, &claim, Settlement::Acked { through: claim.head }).await;
    }
    // Nobody serves it meanwhile.
    lab.stream(epoch, "meanwhile", 2).await;
    assert!(!lab.store.open(&begins(Start::Now), lab.now()).await.unwrap());
    assert_eq!(sent(&claims(&lab).await), ["meanwhile: 1 2"]);
    lab.assert_clean().await;
}

fn of(tenant: &str, tier: &str, draft: Draft) -> Draft {
    let subject = Subject { tenant: TenantName::new(tenant), ..draft.subject };
    Draft { subject, labels: [("tier".to_owned(), tier.to_owned())].into(), ..draft }
}

pub async fn a_selector_decides_which_streams_get_lanes_when_they_open(lab: Lab) {
    let epoch = lab.lead().await;
    let everything = DestinationId::new("everything");
    lab.store.open_destination(&everything, lab.now()).await.unwrap();
    let backup = |uid: &str| {
        let draft = draft(uid, 0, "Pending", lab.now());
        Draft { subject: Subject { kind: Kind::Backup, ..draft.subject }, ..draft }
    };
    let app = |uid: &str| draft(uid, 0, "Pending", lab.now());
    lab.append(
        epoch,
        &[of("rich", "gold", app("a1")), of("rich", "gold", backup("b1")), of("poor", "tin", backup("c1"))],
    )
    .await;
    let gold = Selector { kinds: [Kind::Backup].into(), tenant_labels: [("tier".into(), "gold".into())].into() };
    let opening = Opening { selector: gold.clone(), tenants: [TenantName::new("rich")].into(), ..begins(Start::Now) };
    assert!(lab.store.open(&opening, lab.now()).await.unwrap());
    assert_eq!(lab.store.selectors().await.unwrap(), [(billing(), gold)]);
    lab.append(
        epoch,
        &[of("rich", "gold", app("a2")), of("rich", "gold", backup("b2")), of("poor", "tin", backup("c2"))],
    )
    .await;
    assert_eq!(sent(&claims(&lab).await), ["b1: 1", "b2: 1"]);

    // The tenant is no longer rich: streams that are there keep their lanes, or have none.
    let next = |uid: &str, kind| {
        let draft = of("rich", "tin", draft(uid, 1, "Available", lab.now()));
        Draft { subject: Subject { kind, ..draft.subject }, ..draft }
    };
    for claim in lab.store.claim(&lab.request(&everything), lab.now()).await.unwrap() {
        let settled = (everything.clone(), claim.uid, claim.token, Settlement::Acked { through: claim.head });
        lab.store.settle(&[settled], lab.now()).await.unwrap();
    }
    lab.pass(Duration::from_mins(1)).await;
    for claim in claims(&lab).await {
        settle(&lab, &claim, Settlement::Acked { through: claim.head }).await;
    }
    lab.append(epoch, &[next("b2", Kind::Backup), next("a2", Kind::AppDeployment)]).await;
    assert_eq!(sent(&claims(&lab).await), ["b2: 2"], "and it wakes");
    let all = lab.store.claim(&lab.request(&everything), lab.now()).await.unwrap();
    assert_eq!(all.len(), 2, "whoever hears of everything hears of both");
    lab.assert_clean().await;

    // From now on it hears of all that opens; what it was not told of stays so, and is no violation.
    assert!(!lab.store.open(&begins(Start::Now), lab.now()).await.unwrap());
    lab.append(epoch, &[of("poor", "tin", app("a3"))]).await;
    assert_eq!(sent(&claims(&lab).await), ["a3: 1"]);
    lab.assert_clean().await;
}

pub async fn a_stream_whose_object_ended_before_is_not_told_to_a_new_destination(lab: Lab) {
    three_lives(&lab).await;
    lab.store.open(&begins(Start::Now), lab.now()).await.unwrap();
    let over = lane(&lab, "over").await;
    assert_eq!((over.acked.get(), over.first.get(), over.delivered()), (3, 4, 0));
    assert_eq!(lab.store.counts().await.unwrap().deliveries, 0);
    let head = lab.store.head(&Uid::new("over")).await.unwrap().unwrap();
    assert_eq!((head.state, head.shard), (State::of("Deleted"), SHARD));
    assert_eq!(subject("over").kind, head.subject.kind);
    lab.assert_clean().await;
}

pub async fn a_lane_that_goes_back_behind_what_was_removed_begins_anew_with_a_snapshot(lab: Lab) {
    lab.partition_by(4).await;
    let epoch = lab.lead().await;
    lab.store.open_destination(&billing(), lab.now()).await.unwrap();
    lab.stream(epoch, "old", 6).await;
    lab.stream(epoch, "filler", 2).await;
    for claim in claims(&lab).await {
        settle(&lab, &claim, Settlement::Acked { through: claim.head }).await;
    }
    lab.pass(Duration::from_hours(1)).await;
    assert!(trueup::ledger::pruner::prune(lab.store.as_ref(), lab.now()).await.unwrap() > 0);
    lab.append(epoch, &[nth("old", 6, lab.now())]).await;
    let next = claims(&lab).await.pop().unwrap();
    assert_eq!(sent(std::slice::from_ref(&next)), ["old: 7"]);
    settle(&lab, &next, Settlement::Rewind { expected: Sequence::FIRST, error: "it lost its memory".into() }).await;
    // The claim that finds nothing sets it right for the next one.
    assert_eq!(sent(&claims(&lab).await), Vec::<String>::new());
    assert_eq!(sent(&claims(&lab).await), ["old: s6 7"]);
    assert_eq!(lane(&lab, "old").await.park_reason, None);
    lab.assert_clean().await;

    // A destination that is new finds the same beginning.
    lab.store.close_destination(&billing()).await.unwrap();
    lab.store.open(&begins(Start::Beginning), lab.now()).await.unwrap();
    assert_eq!(sent(&claims(&lab).await), ["filler: s2", "old: s6 7"]);
    lab.assert_clean().await;
}
