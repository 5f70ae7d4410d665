//! What people do to lanes: retry, void, amend.

use std::time::Duration;

use trueup::{
    domain::{DestinationId, Event, Message, Sequence, State, Uid},
    ledger::{
        Claim, Draft, LaneState, LaneView, Outcome, Settlement,
        interventions::{Action, Refusal, Request},
    },
};

use crate::lab::{Lab, draft, nth};

pub fn billing() -> DestinationId {
    DestinationId::new("billing")
}

pub fn request(action: Action, sequence: i64) -> Request {
    Request {
        action,
        destination: billing(),
        uid: Uid::new("a"),
        sequence: Sequence::new(sequence),
        who: "ann@desk".into(),
        reason: "the account was merged".into(),
    }
}

pub async fn claim(lab: &Lab) -> Claim {
    lab.store.claim(&lab.request(&billing()), lab.now()).await.unwrap().remove(0)
}

async fn settle(lab: &Lab, claim: &Claim, settlement: Settlement) {
    let settled = (billing(), claim.uid.clone(), claim.token.clone(), settlement);
    assert_eq!(lab.store.settle(&[settled], lab.now()).await.unwrap(), [true]);
}

async fn lane(lab: &Lab) -> LaneView {
    lab.store.lanes(None, false, 1_000).await.unwrap().remove(0)
}

/// A stream with four rows, the second of which was refused.
pub async fn parked(lab: &Lab) {
    let epoch = lab.lead().await;
    lab.store.open_destination(&billing(), lab.now()).await.unwrap();
    lab.stream(epoch, "a", 4).await;
    let refused =
        Settlement::Park { through: Sequence::new(1), reason: "permanent-refusal".into(), error: "422".into() };
    settle(lab, &claim(lab).await, refused).await;
}

pub async fn a_lane_that_is_retried_goes_on_where_it_was(lab: Lab) {
    parked(&lab).await;
    assert_eq!(lab.store.intervene(&request(Action::Retry, 2), lab.now()).await.unwrap(), Ok(()));
    let held = claim(&lab).await;
    assert_eq!((held.rows[0].sequence.get(), held.attempts, held.rows.len()), (2, 0, 3));
    let made = lab.store.interventions(0, 10).await.unwrap();
    assert_eq!(made.len(), 1);
    assert_eq!(
        (&made[0].request, made[0].park_reason.as_deref()),
        (&request(Action::Retry, 2), Some("permanent-refusal"))
    );
    assert_eq!(made[0].last_error.as_deref(), Some("422"), "what the receiver had said is kept");
    assert_eq!(lab.store.interventions(made[0].id, 10).await.unwrap(), []);
    lab.assert_clean().await;
}

pub async fn a_void_goes_in_the_place_of_its_row_and_the_chain_goes_on(lab: Lab) {
    parked(&lab).await;
    assert_eq!(lab.store.intervene(&request(Action::Void, 2), lab.now()).await.unwrap(), Ok(()));
    assert_eq!(lane(&lab).await.state, LaneState::Open);
    let held = claim(&lab).await;
    let row = lab.store.row(&held.uid, Sequence::new(2)).await.unwrap().unwrap();
    let Message::Void(void) = Message::read(&held.rows[0].body).unwrap() else { panic!("a void") };
    assert_eq!((void.data.hash, void.data.prev_hash, void.data.sequence), (row.hash, row.prev_hash, row.sequence));
    assert_eq!((held.rows[0].event_id.as_str(), &void.data.event_id), ("a-0-2-void", &row.event_id));
    assert_eq!(Event::verify(&held.rows[1].body).unwrap().data.prev_hash, void.data.hash);

    // The same bytes again, and to this destination alone.
    lab.pass(Duration::from_mins(1)).await;
    let again = claim(&lab).await;
    assert_eq!(again.rows, held.rows);
    let other = DestinationId::new("other");
    lab.store.open_destination(&other, lab.now()).await.unwrap();
    let elsewhere = lab.store.claim(&lab.request(&other), lab.now()).await.unwrap().remove(0);
    assert!(matches!(Message::read(&elsewhere.rows[1].body).unwrap(), Message::Transition(_)));

    // A receiver that goes back to it gets it again.
    settle(&lab, &again, Settlement::Acked { through: Sequence::new(4) }).await;
    lab.append(trueup::domain::Epoch::new(1), &[nth("a", 4, lab.now())]).await;
    settle(&lab, &claim(&lab).await, Settlement::Rewind { expected: Sequence::new(2), error: "409".into() }).await;
    assert_eq!(claim(&lab).await.rows[0], held.rows[0]);
    let voids = lab.store.voids(None, 10).await.unwrap();
    assert_eq!(
        voids.iter().map(|voided| (voided.sequence.get(), &voided.body)).collect::<Vec<_>>(),
        [(2, &held.rows[0].body)]
    );
    let last = (&voids[0].destination, &voids[0].uid, voids[0].sequence);
    assert_eq!(lab.store.voids(Some(last), 10).await.unwrap(), []);
    lab.assert_clean().await;
}

pub async fn what_cannot_be_done_is_refused_and_leaves_nothing(lab: Lab) {
    parked(&lab).await;
    let refused = async |request: Request| lab.store.intervene(&request, lab.now()).await.unwrap().unwrap_err();
    let next = Sequence::new(2);
    let elsewhere = Refusal::Elsewhere { next, asked: Sequence::new(3) };
    assert_eq!(refused(request(Action::Void, 3)).await, elsewhere);
    assert_eq!(refused(Request { uid: Uid::new("b"), ..request(Action::Void, 2) }).await, Refusal::NoLane);
    lab.store.intervene(&request(Action::Void, 2), lab.now()).await.unwrap().unwrap();
    assert_eq!(refused(request(Action::Void, 2)).await, Refusal::VoidedBefore { next });
    assert_eq!(refused(request(Action::Retry, 2)).await, Refusal::UnderWay { next });
    let held = claim(&lab).await;
    assert_eq!(refused(request(Action::Void, 2)).await, Refusal::BeingDelivered { next });
    settle(&lab, &held, Settlement::Acked { through: held.head }).await;
    assert_eq!(refused(request(Action::Void, 5)).await, Refusal::NothingOwed { acked: Sequence::new(4) });
    assert_eq!(lab.store.interventions(0, 10).await.unwrap().len(), 1);
    assert_eq!(lab.store.voids(None, 10).await.unwrap().len(), 1);
    lab.assert_clean().await;
}

pub async fn an_amendment_waits_for_the_leader_and_is_done_once(lab: Lab) {
    parked(&lab).await;
    lab.store.intervene(&request(Action::Amend, 2), lab.now()).await.unwrap().unwrap();
    let due = lab.store.amendments_due(10).await.unwrap();
    assert_eq!(due.iter().map(|made| &made.request).collect::<Vec<_>>(), [&request(Action::Amend, 2)]);
    let amended = Draft { amends: Some(Sequence::new(2)), ..draft("a", 4, "Available", lab.now()) };
    let outcomes = lab.append(trueup::domain::Epoch::new(1), &[amended]).await;
    assert!(matches!(&outcomes[0], Outcome::Appended(head) if head.state == State::of("Available")), "{outcomes:?}");
    lab.store.conclude_amendment(due[0].id, "sequence 5", lab.now()).await.unwrap();
    lab.store.conclude_amendment(due[0].id, "sequence 6", lab.now()).await.unwrap();
    assert_eq!(lab.store.amendments_due(10).await.unwrap(), []);
    assert_eq!(lab.store.interventions(0, 10).await.unwrap()[0].outcome.as_deref(), Some("sequence 5"));
    let held = claim(&lab).await;
    assert_eq!(Event::verify(&held.rows[3].body).unwrap().data.amends, Some(Sequence::new(2)));
    lab.assert_clean().await;
}

pub async fn an_amendment_of_what_is_over_leaves_it_over(lab: Lab) {
    let epoch = lab.lead().await;
    let life = ["Pending", "Terminating", "Deleted"];
    let drafts: Vec<_> = life.iter().zip(0..).map(|(to, after)| draft("a", after, to, lab.now())).collect();
    lab.append(epoch, &drafts).await;
    let amends = |to| Draft { amends: Some(Sequence::new(2)), ..draft("a", 3, to, lab.now()) };
    let outcomes = lab.append(epoch, &[amends("Pending"), amends("Deleted")]).await;
    assert!(matches!(&outcomes[0], Outcome::Illegal(_)), "an amendment is no way back: {outcomes:?}");
    assert!(matches!(&outcomes[1], Outcome::Appended(head) if head.closed_at.is_some()), "{outcomes:?}");
    lab.assert_clean().await;
}

pub async fn a_lane_that_begins_with_a_snapshot_begins_later_when_that_is_voided(lab: Lab) {
    let epoch = lab.lead().await;
    lab.stream(epoch, "a", 3).await;
    let opening = trueup::ledger::Opening {
        start: trueup::ledger::Start::Now,
        ..trueup::ledger::Opening::of_everything(billing())
    };
    lab.store.open(&opening, lab.now()).await.unwrap();
    lab.store.intervene(&request(Action::Void, 3), lab.now()).await.unwrap().unwrap();
    let view = lane(&lab).await;
    assert_eq!((view.first.get(), view.acked.get()), (4, 3));
    lab.append(epoch, &[nth("a", 3, lab.now())]).await;
    let held = claim(&lab).await;
    assert!(matches!(Message::read(&held.rows[0].body).unwrap(), Message::Snapshot(_)));
    assert_eq!(held.rows[0].sequence.get(), 4);
    lab.assert_clean().await;
}

pub async fn what_is_not_known_to_have_arrived_is_remembered_since_it_was_first_sent(lab: Lab) {
    let epoch = lab.lead().await;
    lab.store.open_destination(&billing(), lab.now()).await.unwrap();
    lab.stream(epoch, "a", 2).await;
    let doubt = |age| Settlement::Doubt {
        through: Sequence::new(0),
        delay: Duration::ZERO,
        age: Duration::from_secs(age),
        error: "no answer".into(),
    };
    let near = |held: &Claim, seconds: u64| {
        let doubt = held.doubt.unwrap().as_secs();
        assert!((seconds..seconds + 20).contains(&doubt), "{doubt} s, not {seconds} s");
    };
    let first = claim(&lab).await;
    assert_eq!(first.doubt, None);
    settle(&lab, &first, doubt(30)).await;
    lab.pass(Duration::from_mins(10)).await;
    let second = claim(&lab).await;
    near(&second, 630);
    // Surely not taken this time, which says nothing of the time before.
    let error = "connection refused".to_owned();
    let refused =
        |through| Settlement::Retry { through: Sequence::new(through), delay: Duration::ZERO, error: error.clone() };
    settle(&lab, &second, refused(0)).await;
    lab.pass(Duration::from_secs(1)).await;
    let third = claim(&lab).await;
    near(&third, 631);
    settle(&lab, &third, refused(1)).await;
    lab.pass(Duration::from_secs(1)).await;
    let fourth = claim(&lab).await;
    assert_eq!(fourth.doubt, None, "progress ends the doubt, and what comes next was not sent yet");
    // Its holder is gone without a word.
    lab.pass(Duration::from_mins(2)).await;
    let fifth = claim(&lab).await;
    near(&fifth, 120);
    settle(
        &lab,
        &fifth,
        Settlement::Park { through: Sequence::new(1), reason: "ambiguous".into(), error: String::new() },
    )
    .await;
    lab.store.intervene(&request(Action::Retry, 2), lab.now()).await.unwrap().unwrap();
    assert_eq!(claim(&lab).await.doubt, None, "a person has decided to send it again");
    lab.assert_clean().await;
}
