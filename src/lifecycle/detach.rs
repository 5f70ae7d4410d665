//! Letting an object be: its stream ends, Trueup's finalizer goes, and whatever runs runs on. Pure.
//!
//! The end is a row like any other, so billing hears that nothing more is charged, and the object may be deleted from then
//! on without anybody waiting for Trueup.

use super::{Finalizer, Object, Transition, Verdict, mandate::Mandate, reasons, steps::change, when};
use crate::domain::{Billable, Head, Kind, State, Timestamp};

/// The state of what was let be.
pub const DETACHED: State = State::of("Detached");

/// What to do about an object that is to be let be. In this order: the row, what is shown, the finalizer.
#[derive(Clone, PartialEq, Debug)]
pub struct Leaving {
    /// The row that ends the stream.
    pub transition: Option<Transition>,
    /// What to show.
    pub verdict: Verdict,
    /// What becomes of the finalizer.
    pub finalizer: Finalizer,
}

/// Whether an object with this mandate and this stream is let be. `belongs`: whether it is anybody's now.
///
/// A Backup is something that was done once: one that was let be is not taken in again, which would do it again. Nor is
/// what belongs to nobody: the word of a Tenant that was let be, and then deleted, outlives it.
pub fn is_let_be(mandate: Mandate, head: Option<&Head>, belongs: bool) -> bool {
    let stays = |head: &Head| head.state == DETACHED && (head.subject.kind == Kind::Backup || !belongs);
    mandate == Mandate::Leave || head.is_some_and(stays)
}

/// Decides what becomes of an object that is let be. `by` is who said so, and why.
pub fn decide<S>(object: &Object<'_, S>, head: Option<&Head>, by: Option<&str>, now: Timestamp) -> Leaving {
    let open = head.filter(|head| head.closed_at.is_none());
    let transition = open.map(|_| Transition {
        evidence: by.map(str::to_owned),
        ..change(DETACHED, reasons::DETACHED, when::decided(now), Billable::ZERO)
    });
    let message = match (open, head) {
        (None, Some(head)) if head.subject.kind == Kind::Backup => {
            "Trueup lets this backup be. Its artifact, if it has one, stays in the repository; for another, create another Backup."
        }
        _ => {
            "Trueup lets this object be: nothing is recorded, nothing is charged, and what was made for it stays as it is."
        }
    };
    let held = object.has_finalizer && transition.is_none();
    Leaving {
        transition,
        verdict: Verdict::not_ready(reasons::DETACHED.word, message),
        finalizer: if held { Finalizer::Remove } else { Finalizer::Keep },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::{
        TABLES,
        fixtures::{NOW, head, object},
    };

    #[test]
    fn whatever_state_it_is_in_the_stream_ends_first_and_then_the_finalizer_goes() {
        for table in TABLES.0 {
            for row in table.states.iter().filter(|row| !row.next.is_empty()) {
                let open = Head { billable: Billable { replicas: 2, ..Billable::ZERO }, ..head(table.kind, row.name) };
                let first = decide(&object(&(), "web", None), Some(&open), Some("ann@desk: leaving"), NOW);
                let end = first.transition.expect("a row");
                assert!(table.allows(Some(&open.state), &end.to), "{} -> {} of {}", row.name, end.to, table.kind);
                assert!(table.is_final(&end.to), "nothing follows but taking it in again");
                assert_eq!((end.billable, end.evidence.as_deref()), (Billable::ZERO, Some("ann@desk: leaving")));
                assert_eq!(first.finalizer, Finalizer::Keep, "not before the row is written");
            }
            let closed = Head { closed_at: Some(NOW), ..head(table.kind, "Detached") };
            let then = decide(&object(&(), "web", None), Some(&closed), None, NOW);
            assert_eq!((then.transition, then.finalizer), (None, Finalizer::Remove));
            let free = Object { has_finalizer: false, ..object(&(), "web", None) };
            assert_eq!(decide(&free, Some(&closed), None, NOW).finalizer, Finalizer::Keep, "and then nothing");
        }
    }

    #[test]
    fn what_was_never_taken_in_opens_no_stream() {
        let free = Object { has_finalizer: false, ..object(&(), "web", None) };
        let leaving = decide(&free, None, None, NOW);
        assert_eq!((leaving.transition, leaving.finalizer), (None, Finalizer::Keep));
        assert_eq!(decide(&object(&(), "web", None), None, None, NOW).finalizer, Finalizer::Remove);
    }

    #[test]
    fn a_backup_and_what_is_nobodys_are_not_taken_in_again() {
        let detached = |kind| Head { closed_at: Some(NOW), ..head(kind, "Detached") };
        assert!(is_let_be(Mandate::Act, Some(&detached(Kind::Backup)), true));
        assert!(!is_let_be(Mandate::Act, Some(&detached(Kind::AppDeployment)), true));
        assert!(is_let_be(Mandate::Act, Some(&detached(Kind::AppDeployment)), false));
        assert!(!is_let_be(Mandate::Act, Some(&head(Kind::AppDeployment, "Available")), false));
        assert!(!is_let_be(Mandate::Record, Some(&head(Kind::Backup, "Completed")), true));
        let completed = head(Kind::Backup, "Completed");
        assert!(is_let_be(Mandate::Leave, Some(&completed), true) && is_let_be(Mandate::Leave, None, true));
    }
}
