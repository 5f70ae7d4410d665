//! What becomes of streams whose objects are gone although nobody was told: the audit's one decision that writes.
//!
//! Closing is believed only of objects that the API server itself says are gone, in the cluster that the ledger belongs
//! to, of a kind that it serves; and only if they are few. Whoever restores the wrong database, points at the wrong
//! cluster or loses a CRD must find every stream as it was.

use super::{Transition, caution::at_most, reasons, steps::change};
use crate::domain::{Billable, Effective, Head, State, Table, Tables, Timestamp, Uid};

/// What a sweep has seen.
#[derive(Clone, PartialEq, Debug)]
pub struct Swept {
    /// Whether `kube-system` has the UID that the ledger was made for.
    pub same_cluster: bool,
    /// Open streams in all.
    pub open: u64,
    /// Open streams whose objects are in no cache, as far as they were asked for.
    pub missing: Vec<Missing>,
    /// Whether that is all of them. Whoever has found more gone than may be closed asks no further.
    pub asked_all: bool,
}

/// An open stream whose object is in no cache.
#[derive(Clone, PartialEq, Debug)]
pub struct Missing {
    /// The stream.
    pub head: Head,
    /// Whether its kind's CRD was Established, before and after the object was asked for.
    pub served: bool,
    /// What the API server said when it was asked for the object.
    pub answer: Answer,
}

/// What the API server has under an object's name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Nothing: 404.
    Nothing,
    /// An object of this UID.
    Object(Uid),
    /// No answer, or none that says either.
    Unknown,
}

/// What is to be done.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// Close these streams, each with its rows in order. The list may be empty.
    Close(Vec<(Head, Vec<Transition>)>),
    /// Close none: so many would be closed, and no more than so many may.
    Held {
        /// As many seem to be gone.
        gone: u64,
        /// At most so many are believed at once.
        limit: u64,
    },
    /// Close none: this is not the ledger's cluster.
    OtherCluster,
}

/// How many of so many open streams one sweep may close, unless somebody says otherwise.
pub fn limit(open: u64) -> u64 {
    at_most(open)
}

/// Decides what to do about streams whose objects are gone.
pub fn decide(tables: Tables, swept: &Swept, said: Option<u64>, now: Timestamp) -> Verdict {
    if !swept.same_cluster {
        return Verdict::OtherCluster;
    }
    let gone: Vec<&Head> =
        swept.missing.iter().filter(|missing| is_gone(missing)).map(|missing| &missing.head).collect();
    let (count, limit) = (u64::try_from(gone.len()).unwrap_or(u64::MAX), said.unwrap_or_else(|| limit(swept.open)));
    // If not all were asked for, too many were gone at that time, whatever was learned since of those that were.
    if count > limit || !swept.asked_all {
        return Verdict::Held { gone: count, limit };
    }
    let closing = |head: &Head| (head.clone(), close(tables.of(head.subject.kind), head, now));
    Verdict::Close(gone.into_iter().map(closing).collect())
}

fn is_gone(missing: &Missing) -> bool {
    let said_so = match &missing.answer {
        Answer::Nothing => true,
        Answer::Object(uid) => *uid != missing.head.subject.uid,
        Answer::Unknown => false,
    };
    missing.served && said_so && missing.head.closed_at.is_none()
}

/// The rows that close a stream whose object vanished at some time after its last row was recorded.
fn close(table: &Table, head: &Head, now: Timestamp) -> Vec<Transition> {
    let alive = head.recorded_at.max(head.effective_at).min(now);
    let row = |to: State| change(to, reasons::VANISHED, Effective::inferred(alive, now), Billable::ZERO);
    let (ending, over) = (State::of("Terminating"), State::of("Deleted"));
    if table.allows(Some(&head.state), &over) { vec![row(over)] } else { vec![row(ending), row(over)] }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        domain::{Kind, TimeSource},
        lifecycle::{TABLES, fixtures::NOW, fixtures::head},
    };

    fn some_head(n: usize, kind: Kind, state: &str) -> Head {
        let mut head = head(kind, state);
        head.subject.uid = Uid::new(format!("uid-{n}"));
        head
    }

    fn answer(n: usize) -> impl Strategy<Value = Answer> {
        prop_oneof![
            Just(Answer::Nothing),
            Just(Answer::Object(Uid::new("another"))),
            Just(Answer::Object(Uid::new(format!("uid-{n}")))),
            Just(Answer::Unknown),
        ]
    }

    fn missing(n: usize) -> impl Strategy<Value = Missing> {
        let kinds = proptest::sample::select(Kind::ALL.to_vec());
        (kinds, any::<proptest::sample::Index>(), any::<bool>(), answer(n), any::<bool>()).prop_map(
            move |(kind, state, served, answer, closed)| {
                let open: Vec<_> = TABLES.of(kind).states.iter().filter(|row| !row.next.is_empty()).collect();
                let mut head = some_head(n, kind, open[state.index(open.len())].name);
                head.closed_at = closed.then_some(NOW);
                Missing { head, served, answer }
            },
        )
    }

    fn swept() -> impl Strategy<Value = Swept> {
        let missing = (0..40_usize).prop_flat_map(|count| (0..count).map(missing).collect::<Vec<_>>());
        let whole = prop_oneof![9 => Just(true), 1 => Just(false)];
        (any::<bool>(), 0..3_000_u64, missing, whole).prop_map(|(same_cluster, others, missing, asked_all)| Swept {
            same_cluster,
            open: others + u64::try_from(missing.len()).unwrap(),
            missing,
            asked_all,
        })
    }

    proptest! {
        #[test]
        fn only_what_is_certainly_gone_is_closed_and_never_many(swept in swept()) {
            let verdict = decide(TABLES, &swept, None, NOW);
            prop_assert_eq!(&verdict, &decide(TABLES, &swept, None, NOW), "the same view gives the same verdict");
            let gone = swept.missing.iter().filter(|missing| is_gone(missing)).count() as u64;
            match verdict {
                Verdict::OtherCluster => prop_assert!(!swept.same_cluster),
                Verdict::Held { gone: said, limit } => {
                    prop_assert!(swept.same_cluster && said == gone && limit == at_most(swept.open));
                    prop_assert!(gone > limit || !swept.asked_all);
                }
                Verdict::Close(closing) => {
                    prop_assert!(swept.same_cluster && swept.asked_all && gone <= at_most(swept.open));
                    prop_assert_eq!(closing.len() as u64, gone);
                    for (head, rows) in closing {
                        let missing = swept.missing.iter().find(|missing| missing.head == head).unwrap();
                        prop_assert!(missing.served && head.closed_at.is_none());
                        let live = Answer::Object(head.subject.uid.clone());
                        prop_assert!(missing.answer != Answer::Unknown && missing.answer != live);
                        let table = TABLES.of(head.subject.kind);
                        let mut state = head.state.clone();
                        for row in &rows {
                            prop_assert!(table.allows(Some(&state), &row.to), "{} -> {}", state, row.to);
                            prop_assert_eq!(row.effective.source, TimeSource::Inferred);
                            prop_assert!(row.effective.not_before >= head.effective_at || head.effective_at > NOW);
                            prop_assert_eq!((row.effective.not_after, row.billable), (NOW, Billable::ZERO));
                            state = row.to.clone();
                        }
                        prop_assert!(table.is_final(&state));
                    }
                }
            }
        }

        #[test]
        fn one_answer_less_never_closes_more(swept in swept(), which in any::<proptest::sample::Index>()) {
            prop_assume!(!swept.missing.is_empty());
            let mut doubtful = swept.clone();
            let at = which.index(doubtful.missing.len());
            doubtful.missing[at].answer = Answer::Unknown;
            let limit = Some(u64::MAX);
            let closed = |swept: &Swept| match decide(TABLES, swept, limit, NOW) {
                Verdict::Close(closing) => closing.len(),
                _ => 0,
            };
            prop_assert!(closed(&doubtful) <= closed(&swept));
        }
    }

    #[test]
    fn a_fleet_that_vanishes_is_held_and_whoever_means_it_says_how_many() {
        let missing: Vec<Missing> = (0..30)
            .map(|n| Missing {
                head: some_head(n, Kind::AppDeployment, "Available"),
                served: true,
                answer: Answer::Nothing,
            })
            .collect();
        let swept = Swept { same_cluster: true, open: 30, missing, asked_all: true };
        assert_eq!(decide(TABLES, &swept, None, NOW), Verdict::Held { gone: 30, limit: 10 });
        assert!(matches!(decide(TABLES, &swept, Some(30), NOW), Verdict::Close(all) if all.len() == 30));
        let cut_short = Swept { missing: swept.missing[..5].to_vec(), asked_all: false, ..swept.clone() };
        assert_eq!(decide(TABLES, &cut_short, None, NOW), Verdict::Held { gone: 5, limit: 10 }, "not even a few");
        let elsewhere = Swept { same_cluster: false, ..swept };
        assert_eq!(decide(TABLES, &elsewhere, Some(30), NOW), Verdict::OtherCluster);
    }
}
