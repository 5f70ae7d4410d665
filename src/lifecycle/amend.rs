//! Amendments: behind an event that some receiver was not sent comes a row that states anew what holds. Pure.

use super::{Transition, reasons};
use crate::domain::{Effective, Head, Sequence};

/// What the ledger says of a stream in which a row is to be amended.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// The place of the row that was voided.
    pub voided: Sequence,
    /// The stream's newest row.
    pub head: &'a Head,
    /// When that happened.
    pub effective: Effective,
    /// Where what holds was stated anew since, if it was.
    pub restated: Option<Sequence>,
}

/// What to do about an amendment.
#[derive(Clone, PartialEq, Debug)]
pub enum Next {
    /// Write this row.
    Append(Transition),
    /// It is done with, and this came of it.
    Conclude(String),
}

/// What came of an amendment that has its row, at `sequence`.
pub fn restated(sequence: Sequence) -> String {
    format!("restated at sequence {sequence}")
}

/// What becomes of an amendment. `evidence` is who asked for it, and why.
///
/// The row says once more what the newest one says, since when included: a receiver that lacks the newest row itself has
/// its time then, and for any other it says nothing new.
pub fn decide(standing: Standing<'_>, evidence: &str) -> Next {
    let Standing { voided, head, effective, restated } = standing;
    if let Some(sequence) = restated {
        // Written by a process that died before it could say so, or for another receiver that lacks the same row.
        return Next::Conclude(self::restated(sequence));
    }
    if head.sequence < voided {
        return Next::Conclude(format!("not restated: the stream ends at sequence {}", head.sequence));
    }
    Next::Append(Transition {
        to: head.state.clone(),
        reason: reasons::AMENDED,
        effective,
        billable: head.billable,
        evidence: Some(evidence.to_owned()),
        previous_uid: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{Billable, Kind, Timestamp},
        lifecycle::fixtures::{self, NOW},
    };

    fn decided(voided: i64, newest: i64, restated: Option<i64>) -> Next {
        let standing = Standing {
            voided: Sequence::new(voided),
            head: &head(newest),
            effective: effective(),
            restated: restated.map(Sequence::new),
        };
        decide(standing, "ann@desk: why")
    }

    fn head(sequence: i64) -> Head {
        let billable = Billable { replicas: 2, ..Billable::ZERO };
        Head { sequence: Sequence::new(sequence), billable, ..fixtures::head(Kind::AppDeployment, "Available") }
    }

    fn effective() -> Effective {
        Effective::inferred(Timestamp::from_micros(NOW.as_micros() - 1), NOW)
    }

    #[test]
    fn an_amendment_says_what_the_newest_row_says_and_since_when() {
        let Next::Append(transition) = decided(4, 4, None) else { panic!("nothing is appended") };
        assert_eq!((&transition.to, transition.billable), (&head(4).state, head(4).billable));
        assert_eq!((transition.effective, transition.reason), (effective(), reasons::AMENDED));
        assert_eq!(transition.evidence.as_deref(), Some("ann@desk: why"));
        assert_eq!(decided(2, 4, None), Next::Append(transition), "wherever the voided row stands");
    }

    #[test]
    fn what_was_stated_anew_is_not_stated_again() {
        assert_eq!(decided(4, 7, Some(5)), Next::Conclude("restated at sequence 5".into()));
    }

    #[test]
    fn a_stream_that_lost_the_row_has_nothing_to_amend() {
        let conclusion = decided(4, 3, None);
        assert!(matches!(&conclusion, Next::Conclude(said) if said.contains("ends at sequence 3")), "{conclusion:?}");
    }
}
