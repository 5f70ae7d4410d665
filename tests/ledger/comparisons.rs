//! What somebody was shown or told, against a ledger that lost rows and began a new life.

use trueup::{
    domain::{Era, Event, Hash, Sequence, Snapshot, State, Uid, Void},
    ledger::{
        Head, Installation, Row,
        comparisons::{self, Applied, Known, Shown, ShownPlace, Told},
        invariants::Violation,
    },
};

use crate::lab::{Lab, SHARD, installation, nth, subject};

/// Two rows in era 0 and one in era 1.
async fn two_lives() -> (Vec<Row>, Head) {
    let lab = Lab::memory().await;
    let epoch = lab.lead().await;
    lab.stream(epoch, "a", 2).await;
    let next = Installation { era: Era::new(1), ..installation() };
    lab.store.replace_installation(SHARD, epoch, &next).await.unwrap();
    lab.append(epoch, &[nth("a", 2, lab.now())]).await;
    let rows = lab.store.stream_rows(None, 10).await.unwrap();
    (rows, lab.store.head(&Uid::new("a")).await.unwrap().unwrap())
}

fn shown(era: i64, sequence: i64, hash: Hash, state: &State) -> Shown {
    let subject = subject("a");
    Shown {
        uid: subject.uid.clone(),
        kind: subject.kind,
        namespace: subject.namespace,
        name: subject.name,
        has_finalizer: true,
        state: Some(state.clone()),
        ledger: Some(ShownPlace {
            uid: subject.uid,
            era: Era::new(era),
            sequence: Sequence::new(sequence),
            hash: hash.to_string(),
        }),
        generation: Some(1),
        observed: Some(1),
        waits_for: None,
    }
}

fn told(era: i64, sequence: i64, hash: Hash, state: &State, applied: i64) -> Told {
    Told {
        uid: Uid::new("a"),
        era: Era::new(era),
        sequence: Sequence::new(sequence),
        hash,
        state: state.clone(),
        stated: Sequence::new(sequence),
        applied,
        skipped: 0,
    }
}

fn said(judge: impl FnOnce(&mut Vec<Violation>)) -> Vec<String> {
    let mut found = vec![];
    judge(&mut found);
    found.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn what_was_shown_or_told_of_a_life_that_ended_is_no_violation_but_must_be_made_good() {
    let (rows, head) = two_lives().await;
    let known = |row| Known { era: Era::new(1), head: Some(&head), row };
    let lost = Hash::chain(Hash::ZERO, b"lost");
    let ahead = shown(0, 5, lost, &State::of("Failed"));
    assert_eq!(said(|found| comparisons::status(&ahead, known(None), found)), [""; 0]);
    let late = said(|found| comparisons::status_reached(&ahead, &head, found));
    assert!(late.len() == 1 && late[0].contains("still in era 0"), "{late:?}");
    let ahead = told(0, 5, lost, &State::of("Failed"), 5);
    assert_eq!(said(|found| comparisons::told(&ahead, known(None), Known::default(), 0, found)), [""; 0]);
    let late = said(|found| comparisons::told_reached(Some(&ahead), &head, None, found));
    assert!(late.len() == 1 && late[0].contains("of era 0 at the receiver"), "{late:?}");

    let made_good = shown(1, 3, rows[2].hash, &rows[2].to);
    assert_eq!(said(|found| comparisons::status(&made_good, known(None), found)), [""; 0]);
    assert_eq!(said(|found| comparisons::status_reached(&made_good, &head, found)), [""; 0]);
    for (applied, wrong) in [(2, 1), (3, 0), (6, 0)] {
        let told = told(1, 3, rows[2].hash, &rows[2].to, applied);
        let found = said(|found| comparisons::told(&told, known(None), Known::default(), 0, found));
        assert_eq!(found.len(), wrong, "the life that ended may have been longer, not shorter: {found:?}");
    }

    // A stream that nothing was said of since: what was told of its old life is judged by that.
    let closed = Head { era: Era::new(0), sequence: Sequence::new(2), hash: rows[1].hash, ..head.clone() };
    let known = Known { era: Era::new(1), head: Some(&closed), row: None };
    let wrong = said(|found| comparisons::status(&shown(0, 2, lost, &closed.state), known, found));
    assert!(wrong.iter().any(|wrong| wrong.contains("hash")), "{wrong:?}");
}

#[tokio::test]
async fn an_applied_event_is_a_row_or_its_void_or_its_snapshot_in_its_turn() {
    let (rows, _) = two_lives().await;
    let event = |n: usize| Event::verify(&rows[n].body).unwrap();
    let void = Void::of(event(1), rows[1].recorded_at).unwrap().body().unwrap();
    let snapshot = Snapshot::of(event(1)).unwrap().body().unwrap();
    let judge = |era: i64, n: usize, body: &[u8], previous: Option<i64>, voids: &[Vec<u8>]| {
        let applied = Applied { sequence: rows[n].sequence, era: Era::new(era), body };
        let mut found = vec![];
        let next = comparisons::applied(applied, previous.map(Sequence::new), &rows[n], voids, &mut found);
        (next.map(Sequence::get), found.len())
    };
    assert_eq!(judge(0, 0, &rows[0].body, None, &[]), (Some(1), 0));
    assert_eq!(judge(0, 1, &rows[1].body, Some(1), &[]), (Some(2), 0));
    assert_eq!(judge(0, 1, &void, Some(1), std::slice::from_ref(&void)), (Some(2), 0));
    assert_eq!(judge(0, 1, &void, Some(1), &[]), (Some(2), 1), "nobody voided it");
    assert_eq!(judge(0, 1, &snapshot, None, &[]), (Some(2), 0), "a stream may begin with it");
    assert_eq!(judge(0, 1, &rows[1].body, None, &[]), (Some(2), 1), "but with no other");
    assert_eq!(judge(0, 1, &rows[1].body, Some(2), &[]), (Some(2), 1), "it was there before");
    assert_eq!(judge(0, 2, b"lost", Some(2), &[]), (Some(2), 0), "another life's, which was given up");
    assert_eq!(judge(1, 2, &rows[2].body, Some(2), &[]), (Some(3), 0));
    assert_eq!(judge(1, 2, b"forged", Some(2), &[]), (Some(3), 1));
}
