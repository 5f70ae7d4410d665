//! `trueup outbox status`: what is owed to whom.

use std::sync::Arc;

use serde::Serialize;

use super::stuck::{COLUMNS, Stuck};
use crate::{
    cli::{
        Failure, describe,
        reading::{self, Ledger, Output},
        table::{Align, Table},
        text::{BAD, BUSY, DIM, GOOD, PLAIN, Text},
    },
    domain::{Clock, DestinationId, SystemClock, Timestamp, Uid},
    ledger::{LaneState, LaneView, Store},
};

/// How many lanes are in memory at once.
const PAGE: u32 = 500;
/// How many parked lanes are listed.
const LISTED: usize = 20;
/// How much of an error is shown.
const ERROR_WIDTH: usize = 110;

/// Options.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to write it.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    ledger: Ledger,
}

/// Prints it.
pub async fn run(args: Args) -> Result<(), Failure> {
    let (store, _) = args.ledger.open().await?;
    let now = SystemClock::default().now();
    let status = read(&store, now).await?;
    args.output.print(&status, || render(&status, now))
}

/// Everything that is owed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    destinations: Vec<Destination>,
    /// The first parked lanes.
    parked: Vec<Stuck>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Destination {
    id: DestinationId,
    /// Lanes that nothing stands in the way of.
    open: u64,
    /// Those of them that are behind their stream.
    behind: u64,
    /// Events that open lanes still owe.
    undelivered: u64,
    /// Lanes that wait for a person.
    parked: u64,
    /// Acknowledged events.
    delivered: u64,
    /// When the oldest event was recorded that an open lane owes.
    oldest_undelivered: Option<Timestamp>,
    /// When the next lane falls due; now or earlier if one is.
    next_try_at: Option<Timestamp>,
    /// The open lane that failed most often since it last succeeded.
    failing: Option<Failing>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failing {
    tries: u32,
    error: String,
}

async fn read(store: &Arc<dyn Store>, now: Timestamp) -> Result<Status, Failure> {
    let failed = |error| reading::failure(&error);
    let mut status = Status { destinations: vec![], parked: vec![] };
    for id in store.destinations().await.map_err(failed)? {
        let next_due = store.next_due(&id, now).await.map_err(failed)?;
        status.destinations.push(Destination {
            id,
            open: 0,
            behind: 0,
            undelivered: 0,
            parked: 0,
            delivered: 0,
            oldest_undelivered: None,
            next_try_at: next_due.map(|wait| now.plus(wait)),
            failing: None,
        });
    }
    let mut after: Option<(DestinationId, Uid)> = None;
    loop {
        let place = after.as_ref().map(|(destination, uid)| (destination, uid));
        let page = store.lanes(place, false, PAGE).await.map_err(failed)?;
        let Some(last) = page.last() else { break };
        after = Some((last.destination.clone(), last.uid.clone()));
        for lane in page {
            let Some(destination) = status.destinations.iter_mut().find(|found| found.id == lane.destination) else {
                continue;
            };
            destination.count(&lane);
            if lane.state == LaneState::Parked && status.parked.len() < LISTED {
                status.parked.push(parked(store, lane).await?);
            }
        }
    }
    Ok(status)
}

async fn parked(store: &Arc<dyn Store>, lane: LaneView) -> Result<Stuck, Failure> {
    let head = store.head(&lane.uid).await.map_err(|error| reading::failure(&error))?;
    let resource = head.map_or_else(
        || format!("uid {}", lane.uid),
        |head| describe::resource(head.subject.kind, head.subject.namespace.as_deref(), &head.subject.name),
    );
    Ok(Stuck::of(resource, lane))
}

impl Destination {
    fn count(&mut self, lane: &LaneView) {
        self.delivered += lane.delivered();
        if lane.state == LaneState::Parked {
            self.parked += 1;
            return;
        }
        self.open += 1;
        let owed = u64::try_from(lane.head.get() - lane.acked.get()).unwrap_or(0);
        if owed > 0 {
            self.behind += 1;
            self.undelivered += owed;
            self.oldest_undelivered = match (self.oldest_undelivered, lane.oldest_undelivered) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        if let Some(error) = &lane.last_error
            && lane.attempts > self.failing.as_ref().map_or(0, |failing| failing.tries)
        {
            self.failing = Some(Failing { tries: lane.attempts, error: error.clone() });
        }
    }
}

fn render(status: &Status, now: Timestamp) -> Vec<Text> {
    if status.destinations.is_empty() {
        return vec![Text::plain("The ledger has no destinations: no BillingSink was served yet.")];
    }
    let mut lines = destinations(&status.destinations, now).lines();
    if !status.parked.is_empty() {
        lines.push(Text::default());
        lines.extend(parked_lanes(&status.parked).lines());
        let all: u64 = status.destinations.iter().map(|destination| destination.parked).sum();
        let more = all.saturating_sub(u64::try_from(status.parked.len()).unwrap_or(u64::MAX));
        if more > 0 {
            lines.push(Text::new(DIM, format!("… and {} more parked", describe::grouped(more))));
        }
        lines.push(Text::default());
        lines.push(Text::plain("Parked resources wait for a person: `trueup outbox parked` says what can be done."));
    }
    lines
}

fn destinations(destinations: &[Destination], now: Timestamp) -> Table {
    let mut table = Table::new(vec![
        ("DESTINATION", Align::Left),
        ("DELIVERED", Align::Right),
        ("OPEN LANES", Align::Right),
        ("BEHIND", Align::Right),
        ("UNDELIVERED", Align::Right),
        ("PARKED", Align::Right),
        ("OLDEST WAITS", Align::Left),
        ("NEXT TRY", Align::Left),
    ]);
    for destination in destinations {
        let number =
            |number: u64, style| vec![Text::new(if number == 0 { PLAIN } else { style }, describe::grouped(number))];
        let oldest = destination.oldest_undelivered.map(|at| describe::span(now.since(at)));
        let next = destination
            .next_try_at
            .map(|at| if at > now { format!("in {}", describe::span(at.since(now))) } else { "now".to_owned() });
        table.row(vec![
            vec![Text::plain(destination.id.as_str())],
            number(destination.delivered, GOOD),
            number(destination.open, PLAIN),
            number(destination.behind, BUSY),
            number(destination.undelivered, BUSY),
            number(destination.parked, BAD),
            vec![Text::plain(oldest.as_deref().unwrap_or("-"))],
            vec![Text::plain(next.as_deref().unwrap_or("-"))],
        ]);
        if let Some(Failing { tries, error }) = &destination.failing {
            let failed = format!("│ {} in a row failed, the last: ", describe::count(u64::from(*tries), "attempt"));
            table.note(Text::new(DIM, failed).and(PLAIN, error).cut(ERROR_WIDTH));
        }
    }
    table
}

fn parked_lanes(parked: &[Stuck]) -> Table {
    let mut table = Table::new(COLUMNS.to_vec());
    for lane in parked {
        table.row(lane.cells());
        lane.note().into_iter().for_each(|note| table.note(note));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Sequence;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(1_795_255_200_000_000 + seconds * 1_000_000)
    }

    fn plain(lines: &[Text]) -> String {
        lines.iter().map(Text::to_plain).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_person_sees_what_waits_and_why_at_a_glance() {
        let status = Status {
            destinations: vec![
                Destination {
                    id: DestinationId::new("billing"),
                    open: 12_004,
                    behind: 3,
                    undelivered: 7,
                    parked: 21,
                    delivered: 1_204_233,
                    oldest_undelivered: Some(at(-75)),
                    next_try_at: Some(at(4)),
                    failing: Some(Failing { tries: 4, error: "503 Service Unavailable: try\nlater".into() }),
                },
                Destination {
                    id: DestinationId::new("warehouse"),
                    open: 12_025,
                    behind: 0,
                    undelivered: 0,
                    parked: 0,
                    delivered: 1_204_511,
                    oldest_undelivered: None,
                    next_try_at: None,
                    failing: None,
                },
            ],
            parked: vec![Stuck {
                destination: DestinationId::new("billing"),
                resource: "AppDeployment acme-prod/web".into(),
                uid: Uid::new("u"),
                sequence: Sequence::new(4),
                undelivered: 2,
                reason: "permanent-refusal".into(),
                error: Some("422 Unprocessable Content: the account acct-9 is closed".into()),
            }],
        };
        insta::assert_snapshot!(plain(&render(&status, at(0))));
    }

    #[test]
    fn a_ledger_without_destinations_says_so() {
        let status = Status { destinations: vec![], parked: vec![] };
        assert!(plain(&render(&status, at(0))).contains("no BillingSink"));
    }
}
