//! `trueup outbox interventions`: what people did about deliveries, why, and what came of it.

use serde::Serialize;

use super::listing::{Listing, Opened};
use crate::{
    cli::{
        Failure, describe, reading,
        resource::Resource,
        table::{Align, Table},
        text::{BAD, BUSY, DIM, GOOD, PLAIN, Text},
    },
    domain::{DestinationId, Sequence, Timestamp, Uid},
    ledger::{
        LaneState, LaneView, Store,
        interventions::{Action, Intervention},
    },
};

/// How many are read at once.
const PAGE: u32 = 500;
/// What is said of an amendment that the leader has not carried out.
const NOT_YET: &str = "not restated yet";
/// How much of a text is shown.
const TEXT_WIDTH: usize = 110;

/// Options.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    listing: Listing,
}

/// Prints them.
pub async fn run(args: Args) -> Result<(), Failure> {
    let failed = |error| reading::failure(&error);
    let Opened { resource: wanted, destination, store } = args.listing.open().await?;
    let to = |made: &Intervention| destination.as_ref().is_none_or(|to| made.request.destination == *to);
    let mut shown = vec![];
    for made in read(&*store, to).await? {
        let Some(head) = store.head(&made.request.uid).await.map_err(failed)? else { continue };
        if wanted.as_ref().is_some_and(|wanted| !wanted.is(&head)) {
            continue;
        }
        let lane = store.lane(&made.request.destination, &made.request.uid).await.map_err(failed)?;
        let resource = Resource::from(&head).in_words();
        shown.push(Shown { resource, became: Became::of(&made, lane.as_ref()), told: Told::of(&made) });
    }
    args.listing.output.print(&shown, || render(&shown))
}

/// Those that `wanted` chooses, oldest first.
pub async fn read(store: &dyn Store, wanted: impl Fn(&Intervention) -> bool) -> Result<Vec<Intervention>, Failure> {
    let (mut found, mut after) = (vec![], 0);
    loop {
        let page = store.interventions(after, PAGE).await.map_err(|error| reading::failure(&error))?;
        let Some(last) = page.last() else { return Ok(found) };
        after = last.id;
        found.extend(page.into_iter().filter(|made| wanted(made)));
    }
}

/// An intervention, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    action: &'static str,
    destination: DestinationId,
    uid: Uid,
    sequence: Sequence,
    at: Timestamp,
    who: String,
    reason: String,
    parked_for: Option<String>,
    last_error: Option<String>,
    /// What came of an amendment; null until then.
    outcome: Option<String>,
}

impl Told {
    /// What is told of `made`.
    pub fn of(made: &Intervention) -> Self {
        let request = made.request.clone();
        Self {
            action: request.action.as_str(),
            destination: request.destination,
            uid: request.uid,
            sequence: request.sequence,
            at: made.recorded_at,
            who: request.who,
            reason: request.reason,
            parked_for: made.park_reason.clone(),
            last_error: made.last_error.clone(),
            outcome: made.outcome.clone(),
        }
    }
}

/// It in a line, for the history of a resource. A retry is no part of that: it changed nothing that anybody is told.
pub fn in_words(made: &Intervention) -> Option<Text> {
    let request = &made.request;
    let restated = match request.action {
        Action::Retry => return None,
        Action::Void => String::new(),
        Action::Amend => format!(", {}", made.outcome.as_deref().unwrap_or(NOT_YET)),
    };
    let by = format!(" on {} by {}{restated}: ", describe::moment(made.recorded_at), request.who);
    let what = format!("voided for {}", request.destination);
    Some(Text::new(DIM, "│ ").and(BUSY, what).and(DIM, by).and(PLAIN, &request.reason))
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    resource: String,
    became: Became,
    #[serde(flatten)]
    told: Told,
}

/// What has become of an event, or of what goes in its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum Became {
    Delivered,
    Waits,
    Parked,
    DestinationClosed,
}

impl Became {
    fn of(made: &Intervention, lane: Option<&LaneView>) -> Self {
        match lane {
            None => Self::DestinationClosed,
            Some(lane) if lane.acked >= made.request.sequence => Self::Delivered,
            Some(lane) if lane.state == LaneState::Parked => Self::Parked,
            Some(_) => Self::Waits,
        }
    }
}

fn render(shown: &[Shown]) -> Vec<Text> {
    if shown.is_empty() {
        return vec![Text::plain("Nobody has intervened.")];
    }
    let mut table = Table::new(vec![
        ("WHEN (UTC)", Align::Left),
        ("WHO", Align::Left),
        ("WHAT", Align::Left),
        ("RESOURCE", Align::Left),
        ("DESTINATION", Align::Left),
        ("AT", Align::Right),
        ("SINCE THEN", Align::Left),
    ]);
    for Shown { resource, became, told } in shown {
        let mut since_then = match became {
            Became::Delivered => Text::new(GOOD, "delivered"),
            Became::Waits => Text::new(BUSY, "waits to be sent"),
            Became::Parked => Text::new(BAD, "parked again"),
            Became::DestinationClosed => Text::new(DIM, "the destination was closed"),
        };
        if told.action == Action::Amend.as_str() {
            let outcome = told.outcome.as_deref().unwrap_or(NOT_YET);
            since_then = since_then.and(PLAIN, ", ").and(PLAIN, outcome);
        }
        table.row(vec![
            vec![Text::plain(describe::moment(told.at))],
            vec![Text::plain(&told.who)],
            vec![Text::plain(told.action)],
            vec![Text::plain(resource)],
            vec![Text::plain(told.destination.as_str())],
            vec![Text::plain(told.sequence.to_string())],
            vec![since_then],
        ]);
        table.note(Text::new(DIM, "│ why: ").and(PLAIN, &told.reason).cut(TEXT_WIDTH));
        if let Some(reason) = &told.parked_for {
            let error = told.last_error.as_ref().map_or(String::new(), |error| format!(": {error}"));
            table.note(Text::new(DIM, "│ was parked for ").and(PLAIN, format!("{reason}{error}")).cut(TEXT_WIDTH));
        }
    }
    table.lines()
}
