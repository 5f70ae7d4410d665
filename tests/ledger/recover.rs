//! What the ledger lost is taken back from whoever was sent it, as it was, or a new era begins.

use std::time::Duration;

use trueup::{
    domain::{
        DestinationId, Epoch, Era, Event, Hash, InstallationId, Labels, Selector, Sequence, Shard, Uid, Void, VoidData,
    },
    ledger::{
        self, AppendError, Installation, Opening, Outcome, Returned, Row, RowQuery, Settlement,
        interventions::{Action, Request, void_returned},
        pruner,
    },
};

use crate::lab::{Lab, SHARD, TABLES, appended, draft, installation, nth};

/// A ledger with rows that `behind`, a copy of it, lost: all of stream c, and the ends of a and b.
async fn losing(behind: &Lab) -> (Vec<Row>, Epoch) {
    let whole = Lab::memory().await;
    let epoch = whole.lead().await;
    for lab in [&whole, behind] {
        lab.store.open_destination(&DestinationId::new("billing"), lab.now()).await.unwrap();
    }
    let before = behind.lead().await;
    assert_eq!(epoch, before, "both are at the same place");
    for lab in [&whole, behind] {
        lab.stream(epoch, "a", 2).await;
        lab.stream(epoch, "b", 3).await;
    }
    whole.pass(Duration::from_mins(1)).await;
    let later: Vec<_> = [("a", 2), ("b", 3), ("c", 0), ("a", 3), ("c", 1), ("b", 4)]
        .into_iter()
        .map(|(uid, n)| nth(uid, n, whole.now()))
        .collect();
    for outcome in whole.append(epoch, &later).await {
        appended(&outcome);
    }
    let rows = whole.store.rows(&RowQuery::default()).await.unwrap();
    (rows[5..].to_vec(), before)
}

/// How an event is forged.
type Forge = fn(&mut Event);

fn returned(rows: &[Row]) -> Vec<Returned> {
    rows.iter().map(|row| Returned::read(row.body.clone()).unwrap()).collect()
}

pub async fn lost_rows_are_taken_back_as_they_were(lab: Lab) {
    let (rows, _) = losing(&lab).await;
    // Others went on meanwhile, so what comes back was recorded before the newest row.
    lab.pass(Duration::from_mins(10)).await;
    let epoch = lab.lead().await;
    lab.stream(epoch, "meanwhile", 2).await;
    let epoch = lab.lead().await;
    let outcomes = lab.store.reinstate(SHARD, epoch, lab.now(), &returned(&rows)).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Appended(_))), "{outcomes:?}");
    for row in &rows {
        let back = lab.store.row(&row.uid, row.sequence).await.unwrap().unwrap();
        assert_eq!((back.body, back.hash, back.recorded_at), (row.body.clone(), row.hash, row.recorded_at));
    }
    lab.assert_clean().await;

    let again = lab.store.reinstate(SHARD, epoch, lab.now(), &returned(&rows)).await.unwrap();
    assert!(again.iter().all(|outcome| matches!(outcome, Outcome::Stale(Some(_)))), "{again:?}");
    let next = lab.append(epoch, &[nth("a", 4, lab.now()), nth("c", 2, lab.now())]).await;
    assert_eq!(next.iter().map(|outcome| appended(outcome).sequence.get()).collect::<Vec<_>>(), [5, 3]);
    lab.assert_clean().await;
}

pub async fn what_does_not_continue_the_chain_is_not_taken_back(lab: Lab) {
    let (rows, _) = losing(&lab).await;
    let epoch = lab.lead().await;
    let why = |outcome: &Outcome| match outcome {
        Outcome::Illegal(why) => why.clone(),
        other => panic!("taken back: {other:?}"),
    };
    let gap = lab.store.reinstate(SHARD, epoch, lab.now(), &returned(&rows[3..4])).await.unwrap();
    assert!(why(&gap[0]).contains("missing"), "{gap:?}");

    let forged = |change: Forge| {
        let mut event: Event = serde_json::from_slice(&rows[0].body).unwrap();
        change(&mut event);
        Returned::read(event.seal().unwrap().body).unwrap()
    };
    let cases: [(Forge, &str); 6] = [
        (|event| event.data.prev_hash = Hash::ZERO, "another chain"),
        (|event| event.source = "/trueup/other/appdeployment/a".into(), "comes from"),
        (|event| event.data.era = 7, "era 7"),
        (|event| event.data.to = trueup::domain::State::of("Deleted"), "state table"),
        (|event| event.data.effective_at = trueup::domain::Timestamp::from_micros(1), "time"),
        (|event| event.recordedtime = trueup::domain::Timestamp::from_micros(1), "time"),
    ];
    for (change, word) in cases {
        let outcomes = lab.store.reinstate(SHARD, epoch, lab.now(), &[forged(change)]).await.unwrap();
        assert!(why(&outcomes[0]).contains(word), "no '{word}' in {outcomes:?}");
    }
    // A hash that follows from bytes which no ledger writes.
    let field = format!("\"hash\":\"{}\",", rows[0].hash);
    let bare = format!("{} ", String::from_utf8(rows[0].body.clone()).unwrap().replace(&field, ""));
    let hash = Hash::chain(rows[0].prev_hash, bare.as_bytes());
    let padded = bare.replace("\"kind\":", &format!("\"hash\":\"{hash}\",\"kind\":"));
    let padded = Returned::read(padded.into_bytes()).unwrap();
    let outcomes = lab.store.reinstate(SHARD, epoch, lab.now(), &[padded]).await.unwrap();
    assert!(why(&outcomes[0]).contains("bytes"), "{outcomes:?}");
    assert!(Returned::read(b"{}".to_vec()).is_err());
    lab.assert_clean().await;
}

pub async fn only_whoever_leads_takes_rows_back_or_begins_an_era(lab: Lab) {
    let (rows, deposed) = losing(&lab).await;
    let current = lab.lead().await;
    let error = lab.store.reinstate(SHARD, deposed, lab.now(), &returned(&rows)).await.unwrap_err();
    assert!(matches!(error, AppendError::Fenced { .. }), "{error}");
    let next = Installation { era: Era::new(1), ..installation() };
    let error = lab.store.replace_installation(SHARD, deposed, &next).await.unwrap_err();
    assert!(matches!(error, AppendError::Fenced { .. }), "{error}");
    assert_eq!(lab.store.stored_installation().await.unwrap(), Some(installation()));
    lab.store.replace_installation(Shard::default(), current, &next).await.unwrap();
    assert_eq!(lab.store.stored_installation().await.unwrap(), Some(next));
}

pub async fn a_new_era_goes_on_where_the_ledger_ends(lab: Lab) {
    let (rows, _) = losing(&lab).await;
    let epoch = lab.lead().await;
    let next = Installation { era: Era::new(1), ..installation() };
    lab.store.replace_installation(SHARD, epoch, &next).await.unwrap();
    let outcomes = lab.append(epoch, &[nth("a", 2, lab.now()), draft("new", 0, "Pending", lab.now())]).await;
    let head = appended(&outcomes[0]);
    assert_eq!((head.era, head.sequence), (Era::new(1), Sequence::new(3)));
    let row = lab.store.row(&Uid::new("a"), Sequence::new(3)).await.unwrap().unwrap();
    assert_eq!(row.event_id.as_str(), "a-1-3");
    assert_ne!(row.hash, rows[0].hash, "the same place in another life");
    let late = lab.store.reinstate(SHARD, epoch, lab.now(), &returned(&rows[..1])).await.unwrap();
    assert!(matches!(&late[0], Outcome::Stale(_)), "{late:?}");
    lab.assert_clean().await;
}

pub async fn a_ledger_is_given_another_name_only_as_a_whole(lab: Lab) {
    let epoch = lab.lead().await;
    let other = Installation {
        id: InstallationId::new("installation-2"),
        cluster_uid: Uid::new("elsewhere"),
        era: Era::new(3),
    };
    lab.store.replace_installation(SHARD, epoch, &other).await.unwrap();
    assert_eq!(lab.store.installation(&installation()).await.unwrap(), other, "proposing another changes nothing");
    lab.stream(epoch, "a", 2).await;
    let report = ledger::audit(lab.store.as_ref(), TABLES).await.unwrap();
    assert!(report.is_clean(), "{:?}", report.violations);
}

pub async fn a_stream_that_comes_back_is_heard_of_where_its_tenants_labels_choose(lab: Lab) {
    let gold = Labels::from([("tier".into(), "gold".into())]);
    let selector = Selector { tenant_labels: gold.clone(), ..Selector::default() };
    let choosy = DestinationId::new("choosy");
    let opening = Opening { selector, ..Opening::of_everything(choosy.clone()) };
    let (rows, _) = losing(&lab).await;
    lab.store.open(&opening, lab.now()).await.unwrap();
    let epoch = lab.lead().await;
    let labelled = |event: Returned, labels: &Labels| event.of_tenant_with(labels.clone());
    let other = Lab::memory().await;
    let elsewhere = other.lead().await;
    other.stream(elsewhere, "d", 1).await;
    let row = other.store.row(&Uid::new("d"), Sequence::FIRST).await.unwrap().unwrap();
    let mut events: Vec<_> = returned(&rows).into_iter().map(|event| labelled(event, &gold)).collect();
    events.extend(returned(&[row]).into_iter().map(|event| labelled(event, &Labels::default())));
    for outcome in lab.store.reinstate(SHARD, epoch, lab.now(), &events).await.unwrap() {
        appended(&outcome);
    }
    let lanes = lab.store.lanes(None, false, 100).await.unwrap();
    let heard: Vec<_> = lanes.iter().filter(|lane| lane.destination == choosy).map(|lane| lane.uid.as_str()).collect();
    assert_eq!(heard, ["c"], "a and b were there before it chose, and d is of somebody else");
    assert_eq!(lanes.len(), 4 + 1, "and billing hears of all");
}

pub async fn a_young_row_stays_although_older_ones_came_back_behind_it(lab: Lab) {
    lab.partition_by(8).await;
    let (rows, _) = losing(&lab).await;
    lab.pass(Duration::from_hours(1)).await;
    let epoch = lab.lead().await;
    lab.stream(epoch, "young", 2).await;
    let epoch = lab.lead().await;
    for outcome in lab.store.reinstate(SHARD, epoch, lab.now(), &returned(&rows)).await.unwrap() {
        appended(&outcome);
    }
    let billing = DestinationId::new("billing");
    let claims = lab.store.claim(&lab.request(&billing), lab.now()).await.unwrap();
    let acked =
        |claim: ledger::Claim| (claim.destination, claim.uid, claim.token, Settlement::Acked { through: claim.head });
    lab.store.settle(&claims.into_iter().map(acked).collect::<Vec<_>>(), lab.now()).await.unwrap();
    let half_an_hour_ago = lab.now().minus(Duration::from_mins(30));
    pruner::prune(&*lab.store, half_an_hour_ago).await.unwrap();
    let young = RowQuery { uid: Some(Uid::new("young")), ..RowQuery::default() };
    assert_eq!(lab.store.rows(&young).await.unwrap().len(), 2);
    lab.assert_clean().await;
    pruner::prune(&*lab.store, lab.now().plus(Duration::from_secs(1))).await.unwrap();
    assert_eq!(lab.store.rows(&young).await.unwrap().len(), 1, "later, it goes as any other");
    lab.assert_clean().await;
}

pub async fn a_void_is_taken_back_once_and_only_where_it_stands_in_for_its_row(lab: Lab) {
    let (epoch, billing) = (lab.lead().await, DestinationId::new("billing"));
    lab.store.open_destination(&billing, lab.now()).await.unwrap();
    lab.stream(epoch, "a", 3).await;
    let row = lab.store.row(&Uid::new("a"), Sequence::new(2)).await.unwrap().unwrap();
    let void = Void::of(Event::verify(&row.body).unwrap(), lab.now()).unwrap();
    let body = void.body().unwrap();
    let other = lab.store.row(&Uid::new("a"), Sequence::new(3)).await.unwrap().unwrap();
    let forged = Void { data: VoidData { account: "acct-9".into(), ..void.data.clone() }, ..void };
    for (row, body) in [(&other, &body), (&row, &forged.body().unwrap()), (&row, &row.body), (&row, &vec![])] {
        assert_eq!(void_returned(row, &billing, body), None);
    }

    let voided = void_returned(&row, &billing, &body).unwrap();
    let request = Request {
        action: Action::Void,
        destination: billing.clone(),
        uid: row.uid.clone(),
        sequence: row.sequence,
        who: "ann@desk".into(),
        reason: "the receiver has it".into(),
    };
    assert!(lab.store.reinstate_void(&request, &voided).await.unwrap());
    assert!(!lab.store.reinstate_void(&request, &voided).await.unwrap(), "it is there");
    assert_eq!(lab.store.voids(None, 10).await.unwrap(), [voided]);
    let made = lab.store.interventions(0, 10).await.unwrap();
    assert_eq!(made.iter().map(|made| &made.request).collect::<Vec<_>>(), [&request]);
    let claim = lab.store.claim(&lab.request(&billing), lab.now()).await.unwrap().remove(0);
    assert_eq!(claim.rows[1].body, body, "it is what a receiver that goes back is sent");
    lab.assert_clean().await;
}
