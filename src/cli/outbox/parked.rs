//! `trueup outbox parked`: who waits for a person, why, and what can be done.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    lanes,
    ways::{Way, ways},
};
use crate::{
    cli::{
        Failure, describe,
        reading::{self, Ledger, Output},
        resource::{Named, PerhapsNamed, Resource},
        table::{Align, Table},
        text::{BAD, DIM, PLAIN, Text},
    },
    domain::{DestinationId, Sequence, Timestamp, Uid},
    ledger::{Head, LaneView, Store},
};

/// How much of an error is shown.
const ERROR_WIDTH: usize = 110;

/// Options. Without a resource, all that are parked.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    resource: PerhapsNamed,
    /// Only for this destination.
    #[arg(short, long, value_name = "ID")]
    destination: Option<String>,
    /// How to write it.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    ledger: Ledger,
}

/// Prints them.
pub async fn run(args: Args) -> Result<(), Failure> {
    let resource = args.resource.named().map(Named::resolve).transpose()?;
    let (store, _) = args.ledger.open().await?;
    let parked = read(&*store, resource.as_ref(), args.destination.map(DestinationId::new)).await?;
    match args.output {
        Output::Table => {
            reading::emit(&render(&parked));
            Ok(())
        }
        Output::Json => reading::emit_json(&parked),
    }
}

/// A lane that waits for a person.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Parked {
    destination: DestinationId,
    resource: String,
    uid: Uid,
    /// The event that could not be delivered.
    sequence: Sequence,
    /// That one and those behind it.
    undelivered: i64,
    reason: String,
    error: Option<String>,
    since: Timestamp,
    ways: Vec<Way>,
}

async fn read(
    store: &dyn Store,
    wanted: Option<&Resource>,
    destination: Option<DestinationId>,
) -> Result<Vec<Parked>, Failure> {
    let mut pages = lanes::Parked::of(store, destination).await?;
    let mut found: Vec<(Head, LaneView)> = vec![];
    while let Some(page) = pages.next().await? {
        for lane in page {
            let head = store.head(&lane.uid).await.map_err(|error| reading::failure(&error))?;
            found.extend(head.filter(|head| wanted.is_none_or(|wanted| wanted.is(head))).map(|head| (head, lane)));
        }
    }
    // Objects that had the same name one after the other, and are parked both.
    let mut named: BTreeMap<(String, DestinationId), usize> = BTreeMap::new();
    for (head, lane) in &found {
        *named.entry((Resource::from(head).typed(), lane.destination.clone())).or_default() += 1;
    }
    let parked = |(head, lane): (Head, LaneView)| {
        let resource = Resource::from(&head);
        let alone = named.get(&(resource.typed(), lane.destination.clone())) == Some(&1);
        parked(&resource, if alone { None } else { Some(&head.subject.uid) }, lane)
    };
    Ok(found.into_iter().map(parked).collect())
}

fn parked(resource: &Resource, uid: Option<&Uid>, lane: LaneView) -> Parked {
    let (sequence, reason) = (lane.acked.next(), lane.park_reason.unwrap_or_default());
    let options = uid.map_or_else(String::new, |uid| format!(" --uid {uid}"));
    Parked {
        resource: resource.in_words(),
        sequence,
        undelivered: lane.head.get() - lane.acked.get(),
        ways: ways(&reason, resource, &options, &lane.destination, sequence),
        destination: lane.destination,
        uid: lane.uid,
        reason,
        error: lane.last_error,
        since: lane.next_at,
    }
}

fn render(parked: &[Parked]) -> Vec<Text> {
    if parked.is_empty() {
        return vec![Text::plain("Nothing is parked.")];
    }
    let mut table = Table::new(vec![
        ("PARKED", Align::Left),
        ("DESTINATION", Align::Left),
        ("AT", Align::Right),
        ("UNDELIVERED", Align::Right),
        ("REASON", Align::Left),
        ("SINCE (UTC)", Align::Left),
    ]);
    for lane in parked {
        table.row(vec![
            vec![Text::plain(&lane.resource)],
            vec![Text::plain(lane.destination.as_str())],
            vec![Text::plain(lane.sequence.to_string())],
            vec![Text::plain(lane.undelivered.to_string())],
            vec![Text::new(BAD, &lane.reason)],
            vec![Text::plain(describe::moment(lane.since))],
        ]);
        if let Some(error) = &lane.error {
            table.note(Text::new(DIM, "│ ").and(PLAIN, error).cut(ERROR_WIDTH));
        }
        for Way { when, command } in &lane.ways {
            table.note(Text::new(DIM, format!("▸ {when}:")));
            // Never cut: it is there to be copied.
            table.note(Text::plain(format!("    {command}")));
        }
    }
    table.lines()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::Kind, ledger::LaneState};

    fn lane(destination: &str, reason: &str, error: Option<&str>) -> LaneView {
        LaneView {
            destination: DestinationId::new(destination),
            uid: Uid::new("0b54bd56"),
            acked: Sequence::new(3),
            first: Sequence::FIRST,
            head: Sequence::new(5),
            state: LaneState::Parked,
            park_reason: Some(reason.to_owned()),
            attempts: 0,
            next_at: Timestamp::from_micros(1_795_255_200_000_000),
            last_error: error.map(str::to_owned),
            oldest_undelivered: None,
        }
    }

    #[test]
    fn every_parked_resource_says_why_and_what_to_type() {
        let web = Named::of(Kind::AppDeployment, "acme-prod/web").resolve().unwrap();
        let acme = Named::of(Kind::Tenant, "acme").resolve().unwrap();
        let nightly = Named::of(Kind::Backup, "acme-prod/nightly").resolve().unwrap();
        let parked = [
            parked(
                &web,
                None,
                lane("billing", "permanent-refusal", Some("422 Unprocessable Content: acct-9 is closed")),
            ),
            parked(&web, Some(&Uid::new("0b54bd56")), lane("meter", "ambiguous", Some("no answer within 10 s"))),
            parked(&acme, None, lane("billing", "receiver-ahead", None)),
            parked(&nightly, None, lane("billing", "row-missing", None)),
        ];
        let lines: Vec<String> = render(&parked).iter().map(Text::to_plain).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
