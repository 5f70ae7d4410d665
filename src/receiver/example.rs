use std::collections::{BTreeMap, HashMap};

use trueup::{
    domain::{Era, Hash, Sequence, Timestamp, Uid},
    receiver::{
        answer::Answer,
        envelope::{self, Received},
        inbox::{self, Last, Link, Memory, Verdict},
    },
    sinks::signature::SigningKeys,
};

/// Remembers in memory. Whoever charges remembers in a database, in the transaction that charges.
#[derive(Default)]
pub struct Billing {
    last: HashMap<Uid, Last>,
    applied: HashMap<(Uid, Sequence), BTreeMap<Era, Hash>>,
}

impl Billing {
    pub fn take(&mut self, received: &Received<'_>, keys: &SigningKeys, now: Timestamp) -> Answer {
        let contents = match envelope::open(received, keys, now) {
            Ok(contents) => contents,
            Err(fault) => return Answer::refusing(&fault, None),
        };
        let mut placed = Vec::new();
        for event in &contents.events {
            let verdict = inbox::place(&event.link, &self.memory(&event.link));
            if verdict == Verdict::Apply {
                // Charge for `event.message` here.
                self.remember(&event.link);
            }
            placed.push((&event.id, verdict));
            if !verdict.is_taken() {
                break;
            }
        }
        Answer::to(placed, contents.broken)
    }

    fn memory(&self, link: &Link) -> Memory {
        let at = |sequence| self.applied.get(&(link.uid.clone(), sequence));
        Memory {
            last: self.last.get(&link.uid).copied(),
            same: at(link.sequence).and_then(|eras| eras.get(&link.era)).copied(),
            before: at(Sequence::new(link.sequence.get() - 1)).and_then(|eras| eras.values().next_back()).copied(),
            // These books are for one sink alone.
            rehearsal: None,
        }
    }

    fn remember(&mut self, link: &Link) {
        let Link { sequence, hash, era, .. } = *link;
        self.last.insert(link.uid.clone(), Last { sequence, hash, era });
        self.applied.entry((link.uid.clone(), sequence)).or_default().insert(era, hash);
    }
}
