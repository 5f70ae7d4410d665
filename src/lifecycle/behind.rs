//! Whether somebody was shown or told more of a stream than the ledger holds: then the ledger lost rows.
//!
//! A ledger that was restored from a backup, say, ends earlier than what was sent from it. Appending there would give
//! places to rows that others know filled, so nothing is appended until the rows are back or a new era begins.

use std::fmt;

use super::caution::at_most;
use crate::{
    api::LedgerRef,
    domain::{Era, Hash, Sequence},
};

/// How the ledger lacks what somebody else knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Gap {
    /// The stream is known to have come further.
    Ahead {
        /// As far as this.
        known: Sequence,
        /// The ledger's newest; 0 if it has no such stream.
        newest: Sequence,
    },
    /// Another row is known to stand at this place.
    Differs {
        /// The place.
        at: Sequence,
    },
    /// It was told in a life of the ledger that this one has not come to.
    LaterEra {
        /// That life.
        known: Era,
        /// This one.
        ours: Era,
    },
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ahead { known, newest } => write!(f, "sequence {known} is known, and the ledger ends at {newest}"),
            Self::Differs { at } => write!(f, "at sequence {at} another row is known than the ledger's"),
            Self::LaterEra { known, ours } => write!(f, "era {known} is known, and the ledger is in era {ours}"),
        }
    }
}

/// What people are told where a stream waits.
pub fn message(gap: &Gap) -> String {
    format!(
        "the ledger lost rows of this resource: {gap}. Nothing is recorded for it until `trueup ledger recover` has \
         fetched them back from a receiver, or has begun a new era"
    )
}

/// Compares what is `known` of a stream elsewhere with a ledger that is in `era` and whose newest row there is `newest`.
///
/// `hash` is the ledger's own at the place that is known, if it was looked up.
pub fn gap(era: Era, known: &LedgerRef, newest: Option<Sequence>, hash: Option<Hash>) -> Option<Gap> {
    let newest = newest.unwrap_or_default();
    let (life, at) = (Era::new(known.era), Sequence::new(known.sequence));
    if life < era {
        // It was told in a life that has ended: what was lost with it was given up when this one began.
        return None;
    }
    if life > era {
        return Some(Gap::LaterEra { known: life, ours: era });
    }
    if at > newest {
        return Some(Gap::Ahead { known: at, newest });
    }
    hash.is_some_and(|hash| hash.to_string() != known.hash).then_some(Gap::Differs { at })
}

/// Whether so many streams with gaps say that the ledger as a whole is not the one it should be.
pub fn holds_everything(gaps: u64, streams: u64) -> bool {
    gaps > at_most(streams)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(n: u8) -> Hash {
        Hash::chain(Hash::ZERO, &[n])
    }

    fn known(era: i64, sequence: i64, n: u8) -> LedgerRef {
        LedgerRef { uid: "u".into(), era, sequence, hash: hash(n).to_string(), epoch: 1 }
    }

    #[test]
    fn the_table_of_gaps() {
        let at = |n| Some(Sequence::new(n));
        let ahead = |known, newest| Some(Gap::Ahead { known: Sequence::new(known), newest: Sequence::new(newest) });
        let cases = [
            ("the same place", known(0, 3, 3), at(3), Some(hash(3)), None),
            ("an older place", known(0, 2, 2), at(3), Some(hash(2)), None),
            ("an older place, not looked up", known(0, 2, 2), at(3), None, None),
            ("further", known(0, 4, 4), at(3), None, ahead(4, 3)),
            ("a stream that the ledger has not", known(0, 1, 1), None, None, ahead(1, 0)),
            ("another row", known(0, 3, 9), at(3), Some(hash(3)), Some(Gap::Differs { at: Sequence::new(3) })),
        ];
        for (what, known, newest, own, expected) in cases {
            assert_eq!(gap(Era::new(0), &known, newest, own), expected, "{what}");
            // The same in a later life, where what an ended one told counts no more.
            assert_eq!(gap(Era::new(1), &known, newest, own), None, "{what}, since given up");
            let later = Gap::LaterEra { known: Era::new(2), ours: Era::new(1) };
            assert_eq!(gap(Era::new(1), &LedgerRef { era: 2, ..known }, newest, own), Some(later), "{what}");
        }
    }

    #[test]
    fn one_forged_status_does_not_stop_everyone() {
        assert!(!holds_everything(1, 1));
        assert!(!holds_everything(10, 20));
        assert!(holds_everything(11, 20));
        assert!(!holds_everything(100, 10_000));
        assert!(holds_everything(101, 10_000));
    }

    proptest! {
        #[test]
        fn a_ledger_that_only_grows_has_no_gap(newest in 1..50_i64, behind in 0..50_i64, era in 0..3_i64) {
            let place = (newest - behind).max(1);
            let told = known(era, place, u8::try_from(place).unwrap());
            let own = hash(u8::try_from(place).unwrap());
            prop_assert_eq!(gap(Era::new(era), &told, Some(Sequence::new(newest)), Some(own)), None);
        }
    }
}
