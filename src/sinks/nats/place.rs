//! Where an event belongs in its subject. Pure.

use crate::domain::Sequence;

/// The last message of a subject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Last {
    /// Its place in the NATS stream.
    pub(super) stored_at: u64,
    /// The era of its event.
    pub(super) era: i64,
    /// The place of its event in its resource.
    pub(super) sequence: Sequence,
}

/// What to do with an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Publish it behind the message that NATS stored there; 0 if the subject is empty.
    Publish {
        /// What NATS is told to expect.
        behind: u64,
    },
    /// The subject has it, and everything up to there.
    Taken {
        /// The last event that it has.
        through: Sequence,
    },
    /// The subject lacks what comes before.
    Rewind {
        /// What it needs next.
        expected: Sequence,
    },
}

/// Places the event `sequence` of `era` in a subject that ends with `last`.
///
/// An empty subject takes any event: a sink may begin in the middle of a resource, and a stream with limits may have
/// dropped what was there.
pub(super) fn place(era: i64, sequence: Sequence, last: Option<Last>) -> Step {
    let Some(last) = last else { return Step::Publish { behind: 0 } };
    // A new era goes on wherever the ledger found itself again, so what the old one said of that place is void.
    if era > last.era && sequence <= last.sequence.next() || sequence == last.sequence.next() {
        Step::Publish { behind: last.stored_at }
    } else if sequence <= last.sequence {
        Step::Taken { through: last.sequence }
    } else {
        Step::Rewind { expected: last.sequence.next() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_message_decides() {
        let n = Sequence::new;
        let last = |era, sequence| Some(Last { stored_at: 70, era, sequence: n(sequence) });
        let cases = [
            ("the first", 0, 1, None, Step::Publish { behind: 0 }),
            ("a snapshot in the middle", 0, 9, None, Step::Publish { behind: 0 }),
            ("the next", 0, 4, last(0, 3), Step::Publish { behind: 70 }),
            ("the last again", 0, 3, last(0, 3), Step::Taken { through: n(3) }),
            ("an older one again", 0, 1, last(0, 3), Step::Taken { through: n(3) }),
            ("one too far", 0, 6, last(0, 3), Step::Rewind { expected: n(4) }),
            ("the next, of a new era", 1, 4, last(0, 3), Step::Publish { behind: 70 }),
            ("a new era from further back", 1, 2, last(0, 3), Step::Publish { behind: 70 }),
            ("a new era too far ahead", 1, 6, last(0, 3), Step::Rewind { expected: n(4) }),
            ("an old era, again", 0, 3, last(1, 3), Step::Taken { through: n(3) }),
        ];
        for (what, era, sequence, last, expected) in cases {
            assert_eq!(place(era, n(sequence), last), expected, "{what}");
        }
    }
}
