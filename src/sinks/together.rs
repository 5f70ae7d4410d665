//! Events of several resources in one message that is taken or refused as a whole.
//!
//! A receiver may name the event at fault; then the message goes again without it and what is behind it in its
//! resource. If it names none, the message is halved until the guilty one stands alone. Either way only the guilty
//! resource stops, and in each the order holds.

use std::collections::VecDeque;

use async_trait::async_trait;

use super::{Batch, Delivery, Ending};
use crate::{domain::EventId, ledger::OutboxRow};

/// Why a message was not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Blame {
    /// Whatever would have been sent.
    Everything(Ending),
    /// This event.
    Event(EventId, Ending),
    /// Some event of it.
    Someone(Ending),
}

/// Sends one message.
#[async_trait]
pub(super) trait Messenger: Send + Sync {
    /// Sends `rows` as one message, which is taken or refused as a whole.
    async fn send(&self, rows: &[&OutboxRow]) -> Result<(), Blame>;
}

/// Some of the next events of one lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Part {
    lane: usize,
    from: usize,
    to: usize,
}

/// What is known so far.
struct Progress {
    /// How many events of each lane the receiver has taken.
    taken: Vec<usize>,
    /// The event of each lane that is not to be sent, and why.
    stops: Vec<Option<(usize, Ending)>>,
}

/// Delivers `batches`, and answers for each in the same order.
pub(super) async fn deliver(messenger: &dyn Messenger, batches: &[Batch]) -> Vec<Delivery> {
    let mut progress = Progress { taken: vec![0; batches.len()], stops: vec![None; batches.len()] };
    let all = batches.iter().enumerate().map(|(lane, batch)| Part { lane, from: 0, to: batch.rows.len() }).collect();
    let mut messages: VecDeque<Vec<Part>> = VecDeque::from([all]);
    let mut begun = false;
    while let Some(message) = messages.pop_front() {
        let message = progress.clip(message);
        if message.is_empty() {
            continue;
        }
        if begun && batches.iter().any(|batch| batch.budget.is_spent()) {
            progress.stop(&message, &Ending::NotTried);
            continue;
        }
        begun = true;
        let rows: Vec<&OutboxRow> =
            message.iter().flat_map(|part| &batches[part.lane].rows[part.from..part.to]).collect();
        match messenger.send(&rows).await {
            Ok(()) => message.iter().for_each(|part| progress.taken[part.lane] = part.to),
            Err(Blame::Everything(ending)) => {
                progress.stop(&message, &ending);
                for rest in std::mem::take(&mut messages) {
                    let rest = progress.clip(rest);
                    progress.stop(&rest, &ending);
                }
            }
            Err(Blame::Event(id, ending)) => match find(&message, &id, batches) {
                Some(guilty) => {
                    progress.stop(&[guilty], &ending);
                    messages.push_front(message);
                }
                // It names an event that it was not sent.
                None => progress.halve(message, &ending, &mut messages),
            },
            Err(Blame::Someone(ending)) => progress.halve(message, &ending, &mut messages),
        }
    }
    progress.deliveries(batches)
}

impl Progress {
    /// `message` without what is not to be sent.
    fn clip(&self, message: Vec<Part>) -> Vec<Part> {
        let clip = |part: Part| match &self.stops[part.lane] {
            Some((stop, _)) => Part { to: part.to.min(*stop), ..part },
            None => part,
        };
        message.into_iter().map(clip).filter(|part| part.from < part.to).collect()
    }

    /// Ends each lane of `message` before its first event there.
    fn stop(&mut self, message: &[Part], ending: &Ending) {
        for part in message {
            self.stops[part.lane] = Some((part.from, ending.clone()));
        }
    }

    /// Sends both halves of a refused message next, or ends the lane of the one event that it holds.
    fn halve(&mut self, message: Vec<Part>, ending: &Ending, messages: &mut VecDeque<Vec<Part>>) {
        let halves = match message[..] {
            [Part { lane, from, to }] if to - from > 1 => {
                let middle = from + (to - from) / 2;
                [vec![Part { lane, from, to: middle }], vec![Part { lane, from: middle, to }]]
            }
            [part] => return self.stop(&[part], ending),
            _ => {
                let (first, second) = message.split_at(message.len() / 2);
                [first.to_vec(), second.to_vec()]
            }
        };
        halves.into_iter().rev().for_each(|half| messages.push_front(half));
    }

    fn deliveries(self, batches: &[Batch]) -> Vec<Delivery> {
        let ended = self.taken.into_iter().zip(self.stops).zip(batches);
        ended
            .map(|((taken, stop), batch)| Delivery {
                through: batch.rows[..taken].last().map(|row| row.sequence),
                ending: stop.map_or(Ending::Accepted, |(_, ending)| ending),
            })
            .collect()
    }
}

/// Where the event `id` stands in `message`.
fn find(message: &[Part], id: &EventId, batches: &[Batch]) -> Option<Part> {
    message.iter().find_map(|part| {
        let at = batches[part.lane].rows[part.from..part.to].iter().position(|row| row.event_id == *id)?;
        Some(Part { from: part.from + at, ..*part })
    })
}

/// The JSON array of `rows`, whose bytes stay as they are.
pub(super) fn array(rows: &[&OutboxRow]) -> Vec<u8> {
    let size: usize = rows.iter().map(|row| row.body.len() + 1).sum();
    let mut body = Vec::with_capacity(size + 1);
    body.push(b'[');
    for (n, row) in rows.iter().enumerate() {
        if n > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&row.body);
    }
    body.push(b']');
    body
}

/// How a message is called in an error.
pub(super) fn described(rows: &[&OutboxRow]) -> String {
    match rows {
        [] => "nothing".to_owned(),
        [only] => format!("event {}", only.event_id),
        [first, rest @ ..] => format!("event {} and {} more", first.event_id, rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{HashMap, HashSet},
        sync::{Arc, Mutex},
        time::Duration,
    };

    use proptest::prelude::*;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        domain::{Sequence, SystemClock, Timestamp, Uid},
        sinks::Budget,
    };

    /// Takes a message unless an event of it is guilty, and checks that each lane comes in its order.
    struct Receiver {
        guilty: HashSet<EventId>,
        names_it: bool,
        taken: Mutex<HashMap<String, i64>>,
        messages: Mutex<usize>,
    }

    #[async_trait]
    impl Messenger for Receiver {
        async fn send(&self, rows: &[&OutboxRow]) -> Result<(), Blame> {
            *self.messages.lock().unwrap() += 1;
            assert!(!rows.is_empty());
            if let Some(row) = rows.iter().find(|row| self.guilty.contains(&row.event_id)) {
                let ending = Ending::Refused { error: row.event_id.to_string() };
                let id = row.event_id.clone();
                return Err(if self.names_it { Blame::Event(id, ending) } else { Blame::Someone(ending) });
            }
            let mut taken = self.taken.lock().unwrap();
            for row in rows {
                let lane = row.event_id.as_str().split('-').next().unwrap().to_owned();
                let last = taken.entry(lane).or_default();
                assert_eq!(row.sequence.get(), *last + 1, "{}", row.event_id);
                *last += 1;
            }
            Ok(())
        }
    }

    fn batch(lane: usize, events: i64) -> Batch {
        let row = |n| OutboxRow {
            sequence: Sequence::new(n),
            event_id: EventId::new(format!("{lane}-{n}")),
            body: b"{}".to_vec(),
            recorded_at: Timestamp::from_micros(0),
        };
        let clock = Arc::new(SystemClock::default());
        let budget = Budget::new(clock, Duration::from_hours(1), CancellationToken::new());
        Batch { uid: Uid::new(lane.to_string()), rows: (1..=events).map(row).collect(), budget }
    }

    proptest! {
        #[test]
        fn only_the_guilty_stop_and_everybody_else_arrives_in_order(
            lanes in prop::collection::vec((1_i64..6, prop::option::weighted(0.3, 1_i64..6)), 1..12), names_it: bool,
        ) {
            let batches: Vec<Batch> = lanes.iter().enumerate().map(|(n, (events, _))| batch(n, *events)).collect();
            let guilty = lanes.iter().enumerate().filter_map(|(n, (_, guilty))| guilty.map(|k| EventId::new(format!("{n}-{k}"))));
            let receiver = Receiver {
                guilty: guilty.collect(), names_it, taken: Mutex::default(), messages: Mutex::default(),
            };
            let deliveries = futures::executor::block_on(deliver(&receiver, &batches));
            for ((n, (events, guilty)), delivery) in lanes.iter().enumerate().zip(deliveries) {
                let stop = guilty.filter(|guilty| guilty <= events);
                let expected = stop.map_or(*events, |stop| stop - 1);
                prop_assert_eq!(delivery.through.map_or(0, Sequence::get), expected);
                let ending = stop.map_or(Ending::Accepted, |k| Ending::Refused { error: format!("{n}-{k}") });
                prop_assert_eq!(delivery.ending, ending);
            }
            let events: i64 = lanes.iter().map(|(events, _)| events).sum();
            prop_assert!(*receiver.messages.lock().unwrap() <= usize::try_from(events).unwrap() * 2);
        }
    }

    #[tokio::test]
    async fn trouble_of_the_receiver_ends_all_lanes_at_once() {
        struct Down(Mutex<usize>);
        #[async_trait]
        impl Messenger for Down {
            async fn send(&self, _: &[&OutboxRow]) -> Result<(), Blame> {
                *self.0.lock().unwrap() += 1;
                Err(Blame::Everything(Ending::Unavailable { after: None, error: "down".into() }))
            }
        }
        let down = Down(Mutex::default());
        let deliveries = deliver(&down, &[batch(0, 3), batch(1, 1)]).await;
        let unavailable = Ending::Unavailable { after: None, error: "down".into() };
        assert!(deliveries.iter().all(|delivery| *delivery == Delivery { through: None, ending: unavailable.clone() }));
        assert_eq!(*down.0.lock().unwrap(), 1);
    }

    #[tokio::test]
    async fn an_event_that_was_never_sent_is_not_believed_to_be_at_fault() {
        struct Confused;
        #[async_trait]
        impl Messenger for Confused {
            async fn send(&self, rows: &[&OutboxRow]) -> Result<(), Blame> {
                let ending = Ending::Refused { error: "no".into() };
                if rows.len() > 1 { Err(Blame::Event(EventId::new("x"), ending)) } else { Ok(()) }
            }
        }
        let deliveries = deliver(&Confused, &[batch(0, 2), batch(1, 1)]).await;
        assert!(deliveries.iter().all(|delivery| delivery.ending == Ending::Accepted), "{deliveries:?}");
    }

    #[test]
    fn an_array_keeps_the_bytes_of_its_events() {
        let batch = batch(0, 2);
        assert_eq!(array(&batch.rows.iter().collect::<Vec<_>>()), b"[{},{}]");
    }
}
