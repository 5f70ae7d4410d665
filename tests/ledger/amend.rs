//! Carrying out the amendments that people asked for: once, by whoever leads, whatever dies in between.

use std::{collections::BTreeMap, sync::Arc};

use trueup::{
    domain::{DestinationId, Event, ManualClock, Sequence, Uid},
    ledger::{
        Appender, AppenderError, Head, Settlement, Store,
        interventions::{Action, Request},
    },
    lifecycle::behind::Gap,
    reconcile::{Behind, ReconcileError, amendments::carry_out},
};

use crate::{
    appender::start,
    lab::{Lab, START},
    mend::{claim, parked, request},
    support::flaky::{Fault, Flaky},
};

/// Carries out the one amendment that is due.
async fn carried_out(store: &dyn Store, appender: &Appender) -> Result<Option<Head>, ReconcileError> {
    let due = store.amendments_due(10).await.unwrap();
    assert_eq!(due.len(), 1);
    carry_out(store, appender, &Behind::default(), &ManualClock::at(START), &due[0]).await
}

/// The stream that `parked` left, with an amendment asked for, and an appender of the epoch that leads.
async fn asked(lab: &Lab) -> Appender {
    parked(lab).await;
    lab.store.intervene(&request(Action::Amend, 2), lab.now()).await.unwrap().unwrap();
    start(Arc::clone(&lab.store), lab.lead().await)
}

/// That the stream has one row that amends, at the place 5, and that this is what came of everything asked for.
async fn is_restated_once(lab: &Lab) {
    assert_eq!(lab.store.amendments_due(10).await.unwrap(), []);
    for made in lab.store.interventions(0, 10).await.unwrap() {
        assert_eq!(made.outcome.as_deref(), Some("restated at sequence 5"));
    }
    let rows = lab.store.stream_rows(None, 100).await.unwrap();
    let amends: Vec<_> = rows.iter().map(|row| Event::verify(&row.body).unwrap().data.amends).collect();
    assert_eq!(amends, [None, None, None, None, Some(Sequence::new(2))]);
    lab.assert_clean().await;
}

pub async fn whoever_leads_states_anew_what_holds(lab: Lab) {
    let appender = asked(&lab).await;
    let head = carried_out(&*lab.store, &appender).await.unwrap().expect("a new head");
    let before = lab.store.row(&head.subject.uid, Sequence::new(4)).await.unwrap().unwrap();
    let row = lab.store.row(&head.subject.uid, head.sequence).await.unwrap().unwrap();
    assert_eq!((row.from.as_ref(), &row.to, row.reason.as_str()), (Some(&before.to), &before.to, "Amended"));
    assert_eq!(row.effective, before.effective, "nothing happened since");
    let said = "ann@desk amended sequence 2 for billing: the account was merged";
    assert_eq!(row.evidence.as_deref(), Some(said), "who and why stays beside the ledger");
    let (event, told) = (Event::verify(&row.body).unwrap().data, Event::verify(&before.body).unwrap().data);
    assert_eq!((event.billable, event.generation, event.account), (told.billable, told.generation, told.account));
    assert_eq!(claim(&lab).await.rows[3].body, row.body, "it goes to the receiver behind what it lacks");
    is_restated_once(&lab).await;
}

pub async fn a_leader_that_dies_before_it_says_so_leaves_nothing_to_be_written_twice(lab: Lab) {
    let appender = asked(&lab).await;
    let dying = Flaky::new(Arc::clone(&lab.store), [], Fault::None);
    dying.fail_conclusions();
    let error = carried_out(&*dying, &appender).await.unwrap_err();
    assert!(matches!(error, ReconcileError::Ledger(_)), "{error}");
    let successor = start(Arc::clone(&lab.store), lab.lead().await);
    assert_eq!(carried_out(&*lab.store, &successor).await.unwrap(), None, "the row was there");
    is_restated_once(&lab).await;
}

pub async fn an_answer_that_is_lost_leaves_nothing_to_be_written_twice(lab: Lab) {
    asked(&lab).await;
    let lost = Flaky::new(Arc::clone(&lab.store), [Fault::LostAfter], Fault::NotCommitted);
    let error = carried_out(&*lab.store, &start(lost, lab.lead().await)).await.unwrap_err();
    assert!(matches!(error, ReconcileError::Append(AppenderError::Unresolved { .. })), "{error}");
    let successor = start(Arc::clone(&lab.store), lab.lead().await);
    assert_eq!(carried_out(&*lab.store, &successor).await.unwrap(), None, "the row was there");
    is_restated_once(&lab).await;
}

pub async fn a_deposed_leader_amends_nothing(lab: Lab) {
    let deposed = asked(&lab).await;
    let successor = start(Arc::clone(&lab.store), lab.lead().await);
    let error = carried_out(&*lab.store, &deposed).await.unwrap_err();
    assert!(matches!(error, ReconcileError::Append(AppenderError::Fenced { .. })), "{error}");
    assert!(carried_out(&*lab.store, &successor).await.unwrap().is_some());
    is_restated_once(&lab).await;
}

pub async fn a_row_that_two_receivers_lack_is_stated_anew_once(lab: Lab) {
    let appender = asked(&lab).await;
    carried_out(&*lab.store, &appender).await.unwrap();
    let other = DestinationId::new("other");
    lab.store.open_destination(&other, lab.now()).await.unwrap();
    let held = lab.store.claim(&lab.request(&other), lab.now()).await.unwrap().remove(0);
    let first = Settlement::Acked { through: Sequence::new(1) };
    lab.store.settle(&[(other.clone(), held.uid, held.token, first)], lab.now()).await.unwrap();
    let lacks_it_too = Request { destination: other, ..request(Action::Amend, 2) };
    lab.store.intervene(&lacks_it_too, lab.now()).await.unwrap().unwrap();
    assert_eq!(carried_out(&*lab.store, &appender).await.unwrap(), None, "the row goes to both");
    is_restated_once(&lab).await;
}

pub async fn an_amendment_waits_while_the_ledger_is_behind(lab: Lab) {
    let appender = asked(&lab).await;
    let due = lab.store.amendments_due(10).await.unwrap().remove(0);
    let before = lab.store.counts().await.unwrap().transitions;
    let (behind, clock) = (Behind::default(), ManualClock::at(START));
    let gap = || Gap::Ahead { known: Sequence::new(7), newest: Sequence::new(4) };
    let own = BTreeMap::from([(due.request.uid.clone(), gap())]);
    // So many others that the ledger as a whole is held.
    let many: BTreeMap<Uid, Gap> = (0..20).map(|n| (Uid::new(format!("other-{n}")), gap())).collect();
    for (gaps, whole) in [(own, false), (many, true)] {
        assert!(behind.replace(&gaps, 20));
        assert_eq!(behind.holds_everything(), whole);
        assert_eq!(carry_out(&*lab.store, &appender, &behind, &clock, &due).await.unwrap(), None);
        assert_eq!(lab.store.amendments_due(10).await.unwrap(), std::slice::from_ref(&due), "it is still asked for");
        assert_eq!(lab.store.counts().await.unwrap().transitions, before, "nothing was appended");
    }
    assert!(behind.replace(&BTreeMap::new(), 20));
    assert!(carry_out(&*lab.store, &appender, &behind, &clock, &due).await.unwrap().is_some());
    is_restated_once(&lab).await;
}
