//! Billing: the reference receiver's decisions with a memory of its own, and the way of each process to it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use serde::Deserialize;
use trueup::{
    api::LedgerRef,
    domain::{Era, Hash, Message, Sequence, Uid},
    ledger::OutboxRow,
    receiver::inbox::{self, Last, Link, Memory, Verdict},
    reconcile::Applied,
    sinks::{Batch, Delivery, Ending, Sink},
};

use crate::faults::{Passage, Surface};

/// One event that was applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub sequence: Sequence,
    pub hash: Hash,
    pub body: Vec<u8>,
}

/// What billing knows. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Billing {
    books: Arc<Mutex<Books>>,
}

#[derive(Debug, Default)]
struct Books {
    /// By stream, in the order in which they were applied.
    applied: BTreeMap<Uid, Vec<Entry>>,
    /// What must never come in.
    wrong: Vec<String>,
    down: bool,
}

impl Billing {
    /// Takes nothing any more, or takes what comes.
    pub fn is_down(&self, down: bool) {
        self.books().down = down;
    }

    /// What was applied, by stream.
    pub fn applied(&self) -> BTreeMap<Uid, Vec<Entry>> {
        self.books().applied.clone()
    }

    /// What came in that must never come in.
    pub fn wrong(&self) -> Vec<String> {
        self.books().wrong.clone()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one event, as a receiver does: decides and applies in one step.
    fn take(&self, body: &[u8]) -> Verdict {
        let mut books = self.books();
        let Ok(Message::Transition(event)) = Message::read(body) else {
            books.wrong.push(format!("no genuine event: {}", String::from_utf8_lossy(body)));
            return Verdict::Expect(Sequence::FIRST);
        };
        let data = event.data;
        let hash = data.hash.expect("it was verified");
        let link = Link {
            uid: data.uid.clone(),
            era: Era::new(data.era),
            sequence: data.sequence,
            prev_hash: data.prev_hash,
            hash,
            begins: false,
        };
        let stream = books.applied.entry(data.uid.clone()).or_default();
        let at = |sequence: Sequence| stream.iter().find(|entry| entry.sequence == sequence);
        let memory = Memory {
            last: stream.last().map(|entry| Last { sequence: entry.sequence, hash: entry.hash, era: link.era }),
            same: at(link.sequence).map(|entry| entry.hash),
            before: at(Sequence::new(link.sequence.get() - 1)).map(|entry| entry.hash),
            rehearsal: None,
        };
        let known = at(link.sequence).map(|entry| entry.body.clone());
        let verdict = inbox::place(&link, &memory);
        if verdict == Verdict::Apply {
            stream.push(Entry { sequence: link.sequence, hash, body: body.to_vec() });
        }
        if known.is_some_and(|known| known != body) {
            books.wrong.push(format!("sequence {} of {} came twice, in other bytes", link.sequence, data.uid));
        }
        if let Verdict::Refuse(contradiction) = verdict {
            books.wrong.push(format!("sequence {} of {}: {contradiction}", link.sequence, data.uid));
        }
        verdict
    }
}

#[async_trait]
impl Applied for Billing {
    async fn applied(&self) -> Result<Vec<LedgerRef>, String> {
        let books = self.books();
        if books.down {
            return Err("it is down".to_owned());
        }
        let newest = books.applied.iter().filter_map(|(uid, entries)| Some((uid, entries.last()?)));
        Ok(newest
            .map(|(uid, entry)| LedgerRef {
                uid: uid.to_string(),
                era: 0,
                sequence: entry.sequence.get(),
                hash: entry.hash.to_string(),
                epoch: 0,
            })
            .collect())
    }
}

/// The way of one process to billing.
#[derive(Clone, Debug)]
pub struct Line {
    pub billing: Billing,
    pub passage: Passage,
}

impl Line {
    async fn send(&self, uid: &Uid, row: &OutboxRow) -> Result<(), Ending> {
        if self.billing.books().down {
            return Err(Ending::Unavailable { after: None, error: "billing is down".to_owned() });
        }
        let (billing, body) = (self.billing.clone(), row.body.clone());
        let what = format!("deliver {} {}", name_of(&row.body).unwrap_or_else(|| uid.to_string()), row.sequence);
        let deed = async move { billing.take(&body) };
        match self.passage.pass(Surface::Delivery, what, deed, |verdict| *verdict == Verdict::Apply).await {
            Ok(verdict) if verdict.is_taken() => Ok(()),
            Ok(Verdict::Expect(expected)) => Err(Ending::Rewind { expected, error: "409".to_owned() }),
            Ok(verdict) => Err(Ending::Refused { error: format!("{verdict:?}") }),
            Err(_) => Err(Ending::Retry { after: None, error: "the connection was lost".to_owned() }),
        }
    }
}

/// What an event is about.
fn name_of(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Envelope {
        data: About,
    }
    #[derive(Deserialize)]
    struct About {
        kind: String,
        name: String,
    }
    let Envelope { data: About { kind, name } } = serde_json::from_slice(body).ok()?;
    Some(format!("{kind} {name}"))
}

#[async_trait]
impl Sink for Line {
    async fn deliver(&self, batch: Batch) -> Delivery {
        let mut through = None;
        for (place, row) in batch.rows.iter().enumerate() {
            if place > 0 && batch.budget.is_spent() {
                break;
            }
            match self.send(&batch.uid, row).await {
                Ok(()) => through = Some(row.sequence),
                Err(ending) => return Delivery { through, ending },
            }
        }
        Delivery { through, ending: Ending::Accepted }
    }

    fn longest_attempt(&self) -> Duration {
        Duration::from_secs(10)
    }

    async fn dedupe_horizon(&self) -> Result<Option<Duration>, Ending> {
        Ok(None)
    }
}
