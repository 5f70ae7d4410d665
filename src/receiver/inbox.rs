//! What a receiver decides about an event. Pure: this is the part that a billing team copies.
//!
//! It rests on one remembered line per resource, its last sequence, hash and era, and on the hashes of the events
//! that were applied. With them each event is applied exactly once, in order, and none can be missing unnoticed.

use crate::domain::{Era, Hash, Sequence, Uid};

/// The place of an event in its resource's chain. Every type of event has one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// The resource.
    pub uid: Uid,
    /// The ledger's life.
    pub era: Era,
    /// The place in the stream.
    pub sequence: Sequence,
    /// The hash of the event before.
    pub prev_hash: Hash,
    /// The event's own hash.
    pub hash: Hash,
    /// Whether it is a snapshot: a stream may begin with it, wherever it stands.
    pub begins: bool,
}

/// The last event of a resource that was applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Last {
    /// Its place.
    pub sequence: Sequence,
    /// Its hash.
    pub hash: Hash,
    /// Its era.
    pub era: Era,
}

/// What is remembered about the place of one event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// The resource's last event; `None` if it is unknown.
    pub last: Option<Last>,
    /// The hash of the event that was applied at the very same place and era, if one was.
    pub same: Option<Hash>,
    /// The hash of the event that was applied right before that place, of the newest era that has one.
    pub before: Option<Hash>,
    /// Whether what was applied of the resource was a rehearsal; `None` if it is unknown.
    pub rehearsal: Option<bool>,
}

/// What to do with an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is the next one: apply it and remember it, in one transaction, then answer 2xx.
    Apply,
    /// It was applied before: change nothing and answer 2xx.
    Duplicate,
    /// Something before it is missing: answer 409 with this sequence.
    Expect(Sequence),
    /// It contradicts what was applied: answer 4xx and call a person.
    Refuse(Contradiction),
}

/// How an event contradicts what is remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Contradiction {
    /// Another event was applied at this place: the sender rewrote history.
    #[error("another event (hash {remembered}) was applied at this place before; the sender rewrote history")]
    Rewritten {
        /// The hash of the one that was applied.
        remembered: Hash,
    },
    /// It says another event came before it than the one that did.
    #[error("it does not follow the event that was applied before it (hash {remembered})")]
    Unchained {
        /// The hash of the one that did.
        remembered: Hash,
    },
    /// It comes from a life of the ledger that has ended, and was never applied while that lasted.
    #[error("it belongs to era {era}, which era {current} has replaced")]
    Superseded {
        /// Its era.
        era: Era,
        /// The resource's.
        current: Era,
    },
    /// The books hold a rehearsal of its resource, and it is meant, or the other way round.
    #[error(
        "these books hold {} of this resource, and the event is {}: taken for a repeat, it would charge nobody; give \
         the two sinks a receiver each",
        word(!rehearsal), word(*rehearsal)
    )]
    OtherBooks {
        /// Whether the event is part of a rehearsal.
        rehearsal: bool,
    },
}

fn word(rehearsal: bool) -> &'static str {
    if rehearsal { "a rehearsal" } else { "the real thing" }
}

impl Verdict {
    /// Whether the sender is told that the event has arrived. What comes behind any other is not looked at.
    pub const fn is_taken(self) -> bool {
        matches!(self, Self::Apply | Self::Duplicate)
    }
}

/// What speaks against applying an event, whose sink rehearses or not, beside what was applied: the two have the same
/// places, so that each would pass for a repeat of the other.
pub fn mixed(rehearsal: bool, memory: &Memory) -> Option<Contradiction> {
    memory.rehearsal.filter(|before| *before != rehearsal).map(|_| Contradiction::OtherBooks { rehearsal })
}

/// Places an event.
///
/// A void is placed like the event whose place it takes: it has the same links. A snapshot says how things stand, so it
/// may begin a stream, an era, or what follows a gap that the sender can no longer fill.
pub fn place(link: &Link, memory: &Memory) -> Verdict {
    if let Some(remembered) = memory.same {
        let same = remembered == link.hash;
        return if same { Verdict::Duplicate } else { Verdict::Refuse(Contradiction::Rewritten { remembered }) };
    }
    let (next, reborn) = match memory.last {
        None => (Sequence::FIRST, false),
        Some(last) if link.era < last.era => {
            return Verdict::Refuse(Contradiction::Superseded { era: link.era, current: last.era });
        }
        Some(last) => (last.sequence.next(), link.era > last.era),
    };
    if link.begins && (reborn || link.sequence > next) {
        return Verdict::Apply;
    }
    // A snapshot of a place that a later one passed over tells nothing new: go on behind what was applied.
    if link.sequence > next || link.begins && link.sequence < next {
        return Verdict::Expect(next);
    }
    let before = if link.sequence == Sequence::FIRST {
        Some(Hash::ZERO)
    } else if link.sequence == next {
        memory.last.map(|last| last.hash)
    } else {
        memory.before
    };
    let remembered = before.unwrap_or(Hash::ZERO);
    let follows = before == Some(link.prev_hash);
    // The ledger lost its newest rows for good and began a new life before the place that was reached here. What
    // was applied since is void; the new era goes on from the last event that both know.
    if reborn && !follows && link.sequence > Sequence::FIRST {
        return Verdict::Expect(Sequence::new(link.sequence.get() - 1));
    }
    if link.sequence < next && !reborn {
        return Verdict::Refuse(Contradiction::Rewritten { remembered });
    }
    if follows { Verdict::Apply } else { Verdict::Refuse(Contradiction::Unchained { remembered }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u8) -> Hash {
        if n == 0 { Hash::ZERO } else { Hash::chain(Hash::ZERO, &[n]) }
    }

    // The event at `sequence`, with `hash(after)` before it.
    fn link(era: i64, sequence: i64, after: u8, own: u8) -> Link {
        Link {
            uid: Uid::new("u"),
            era: Era::new(era),
            sequence: Sequence::new(sequence),
            prev_hash: hash(after),
            hash: hash(own),
            begins: false,
        }
    }

    fn last(era: i64, sequence: i64, own: u8) -> Last {
        Last { sequence: Sequence::new(sequence), hash: hash(own), era: Era::new(era) }
    }

    #[test]
    fn the_table_of_decisions() {
        let expect = |n| Verdict::Expect(Sequence::new(n));
        let rewritten = |n| Verdict::Refuse(Contradiction::Rewritten { remembered: hash(n) });
        let unchained = |n| Verdict::Refuse(Contradiction::Unchained { remembered: hash(n) });
        let superseded = Verdict::Refuse(Contradiction::Superseded { era: Era::new(0), current: Era::new(1) });
        let remember = |last, same: Option<u8>, before: Option<u8>| Memory {
            last: Some(last),
            same: same.map(hash),
            before: before.map(hash),
            rehearsal: None,
        };
        let nothing = Memory::default();
        let at_three = remember(last(0, 3, 3), None, None);
        let cases = [
            ("the first of an unknown resource", link(0, 1, 0, 1), nothing, Verdict::Apply),
            ("a first that follows something", link(0, 1, 9, 1), nothing, unchained(0)),
            ("a later one of an unknown resource", link(0, 5, 4, 5), nothing, expect(1)),
            ("the next", link(0, 4, 3, 4), at_three, Verdict::Apply),
            ("the next, on another chain", link(0, 4, 9, 4), at_three, unchained(3)),
            ("one too far", link(0, 5, 4, 5), at_three, expect(4)),
            ("the last again", link(0, 3, 2, 3), remember(last(0, 3, 3), Some(3), Some(2)), Verdict::Duplicate),
            ("an older one again", link(0, 1, 0, 1), remember(last(0, 3, 3), Some(1), None), Verdict::Duplicate),
            ("the last, rewritten", link(0, 3, 2, 9), remember(last(0, 3, 3), Some(3), Some(2)), rewritten(3)),
            ("an older one, rewritten", link(0, 2, 1, 9), remember(last(0, 3, 3), Some(2), Some(1)), rewritten(2)),
            ("the next, in a new era", link(1, 4, 3, 14), at_three, Verdict::Apply),
            ("a new era from further back", link(1, 3, 2, 13), remember(last(0, 3, 3), None, Some(2)), Verdict::Apply),
            ("a new era from the very start", link(1, 1, 0, 11), at_three, Verdict::Apply),
            ("a new era begun before", link(1, 3, 12, 13), remember(last(0, 3, 3), None, Some(2)), expect(2)),
            ("a new era too far ahead", link(1, 6, 5, 16), at_three, expect(4)),
            ("an old era, never seen", link(0, 4, 3, 4), remember(last(1, 3, 13), None, None), superseded),
            ("an old era, again", link(0, 3, 2, 3), remember(last(1, 3, 13), Some(3), Some(2)), Verdict::Duplicate),
            (
                "an old era, again, beyond the new one",
                link(0, 5, 4, 5),
                remember(last(1, 3, 13), Some(5), Some(4)),
                Verdict::Duplicate,
            ),
            ("an old era, never seen, far ahead", link(0, 9, 8, 9), remember(last(1, 3, 13), None, None), superseded),
            ("before the era began", link(1, 2, 1, 9), remember(last(1, 3, 13), None, Some(1)), rewritten(1)),
        ];
        for (what, link, memory, expected) in cases {
            assert_eq!(place(&link, &memory), expected, "{what}");
        }
    }

    #[test]
    fn the_table_of_decisions_about_snapshots() {
        let at = |era, sequence, after, own| Link { begins: true, ..link(era, sequence, after, own) };
        let known = |same: Option<u8>| Memory { last: Some(last(1, 5, 5)), same: same.map(hash), ..Memory::default() };
        let cases = [
            ("nothing is known", at(0, 7, 6, 7), Memory::default(), Verdict::Apply),
            ("of a stream's first event", at(0, 1, 0, 1), Memory::default(), Verdict::Apply),
            ("the next", at(1, 6, 5, 6), known(None), Verdict::Apply),
            (
                "the next, on another chain",
                at(1, 6, 9, 6),
                known(None),
                Verdict::Refuse(Contradiction::Unchained { remembered: hash(5) }),
            ),
            ("further on", at(1, 9, 8, 9), known(None), Verdict::Apply),
            ("of the last event", at(1, 5, 4, 5), known(Some(5)), Verdict::Duplicate),
            ("of an older event", at(1, 3, 2, 3), known(Some(3)), Verdict::Duplicate),
            (
                "of another event at this place",
                at(1, 3, 2, 9),
                known(Some(3)),
                Verdict::Refuse(Contradiction::Rewritten { remembered: hash(3) }),
            ),
            ("of a place that was passed over", at(1, 3, 2, 3), known(None), Verdict::Expect(Sequence::new(6))),
            ("of a new era, further back", at(2, 3, 2, 13), known(None), Verdict::Apply),
            (
                "of an era that ended",
                at(0, 9, 8, 9),
                known(None),
                Verdict::Refuse(Contradiction::Superseded { era: Era::new(0), current: Era::new(1) }),
            ),
        ];
        for (what, link, memory, expected) in cases {
            assert_eq!(place(&link, &memory), expected, "{what}");
        }
    }
}
