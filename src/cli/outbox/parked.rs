//! `trueup outbox parked`: who waits for a person, why, and what can be done.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    lanes,
    listing::{Listing, Opened},
    stuck::{COLUMNS, Stuck},
    ways::{Way, ways},
};
use crate::{
    cli::{
        Failure, describe, reading,
        resource::Resource,
        table::{Align, Table},
        text::{DIM, Text},
    },
    domain::{DestinationId, Timestamp, Uid},
    ledger::{Head, LaneView, Store},
};

/// Options.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    listing: Listing,
}

/// Prints them.
pub async fn run(args: Args) -> Result<(), Failure> {
    let Opened { resource, destination, store } = args.listing.open().await?;
    let parked = read(&*store, resource.as_ref(), destination).await?;
    args.listing.output.print(&parked, || render(&parked))
}

/// A lane that waits for a person, and what that person can do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Parked {
    #[serde(flatten)]
    stuck: Stuck,
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
    let options = uid.map_or_else(String::new, |uid| format!(" --uid {uid}"));
    let since = lane.next_at;
    let stuck = Stuck::of(resource.in_words(), lane);
    let ways = ways(&stuck.reason, resource, &options, &stuck.destination, stuck.sequence);
    Parked { stuck, since, ways }
}

fn render(parked: &[Parked]) -> Vec<Text> {
    if parked.is_empty() {
        return vec![Text::plain("Nothing is parked.")];
    }
    let mut columns = COLUMNS.to_vec();
    columns.push(("SINCE (UTC)", Align::Left));
    let mut table = Table::new(columns);
    for Parked { stuck, since, ways } in parked {
        let mut cells = stuck.cells();
        cells.push(vec![Text::plain(describe::moment(*since))]);
        table.row(cells);
        stuck.note().into_iter().for_each(|note| table.note(note));
        for Way { when, command } in ways {
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
    use crate::{
        cli::resource::Named,
        domain::{Kind, Sequence},
        ledger::LaneState,
    };

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
