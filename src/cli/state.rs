//! `trueup state`: what everything's state was at a moment, by what is known now or was known at another moment.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Failure, describe,
    reading::{self, Ledger, Output},
    table::{Align, Table},
    text::{BOLD, BUSY, DIM, PLAIN, Text},
    when::When,
};
use crate::{
    domain::{Clock, Event, EventFault, Kind, SystemClock, TenantName, Timestamp},
    ledger::{Believed, Doubt, Held, PastQuery, PastState, Store},
};

/// How many resources are read at once.
const PAGE: u32 = 1_000;

/// Show what the state of every resource was at a moment in the past, rebuilt from the ledger.
///
/// The ledger has two axes: when something happened, and when it was recorded. --at says for which moment to tell, and
/// --as-of by what was known when; without it, by all that is known now. What was not known at that moment, but is now,
/// is marked. All times are in UTC.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The moment: 2026-11-17T09:00:00Z, 2026-11-17 (its beginning, in UTC), or 3d (ago).
    #[arg(long, value_name = "TIME")]
    at: When,
    /// Only by what was recorded until then: what somebody who asked at that time was told.
    #[arg(long, value_name = "TIME", visible_alias = "known-at")]
    as_of: Option<When>,
    /// Only what belonged to this tenant then.
    #[arg(long)]
    tenant: Option<String>,
    /// Only of this kind: tenant, appdeployment or backup, or as kubectl abbreviates them.
    #[arg(long)]
    kind: Option<Kind>,
    /// Also what had ended by then.
    #[arg(long)]
    ended: bool,
    /// How to write it.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    ledger: Ledger,
}

/// Prints it.
pub async fn run(args: Args) -> Result<(), Failure> {
    let now = SystemClock::default().now();
    let past = |when: When, option: &str| match when.before(now) {
        at if at > now => Err(Failure::usage(&format!(
            "{option} {} lies in the future, of which the ledger knows nothing",
            describe::moment(at)
        ))),
        at => Ok(at),
    };
    let at = past(args.at, "--at")?;
    let as_of = args.as_of.map(|when| past(when, "--as-of")).transpose()?;
    let (store, _) = args.ledger.open().await?;
    let mut query = PastQuery {
        at,
        as_of: as_of.unwrap_or(now),
        kind: args.kind,
        tenant: args.tenant.map(TenantName::new),
        ended: args.ended,
        after: None,
        limit: PAGE,
    };
    let mut found = read(&store, &mut query).await?;
    found.sort_by(|a, b| a.order().cmp(&b.order()));
    let resources: Vec<_> = found.iter().map(Found::to_json).collect();
    let answer = json!({ "at": at, "asOf": query.as_of, "resources": resources });
    args.output.print(&answer, || render(&found, at, as_of))
}

/// A resource as it was, and its event.
struct Found {
    past: PastState,
    held: Option<(Held, Event)>,
}

async fn read(store: &Arc<dyn Store>, query: &mut PastQuery) -> Result<Vec<Found>, Failure> {
    let mut found = vec![];
    loop {
        let page = store.past(query).await.map_err(|error| reading::failure(&error))?;
        let Some(last) = page.last() else { return Ok(found) };
        query.after = Some(last.uid.clone());
        for mut past in page {
            let (uid, held) = (past.uid.clone(), past.held.take());
            let opened = held.map(|held| Event::verify(&held.body).map(|event| (held, event)));
            let held = opened.transpose().map_err(|error: EventFault| {
                Failure::violated(&format!("reading stream {uid}: {error}; run `trueup audit`"))
            })?;
            found.push(Found { past, held });
        }
    }
}

impl Found {
    /// Tenant by tenant, the tenant itself first.
    fn order(&self) -> (&str, Kind, Option<&str>, &str, Option<Timestamp>) {
        let tenant = self.held.as_ref().map_or("", |(_, event)| event.data.tenant.as_str());
        let since = self.held.as_ref().map(|(held, _)| held.effective.at);
        (tenant, self.past.kind, self.past.namespace.as_deref(), &self.past.name, since)
    }

    /// Whether what held was known to hold at that very moment.
    fn was_known(&self) -> bool {
        match (&self.held, &self.past.believed) {
            (Some((held, _)), Believed::Row { sequence, .. }) => *sequence == held.sequence,
            (Some(_), Believed::Nothing | Believed::NotKept) => false,
            (None, _) => true,
        }
    }

    fn to_json(&self) -> Value {
        let PastState { uid, kind, namespace, name, doubt, .. } = &self.past;
        let mut value =
            json!({ "uid": uid, "kind": kind, "namespace": namespace, "name": name, "kept": self.held.is_some() });
        if let Some((held, event)) = &self.held {
            let data = &event.data;
            value["state"] = json!(held.state);
            value["sequence"] = json!(held.sequence);
            value["reason"] = json!(data.reason);
            value["tenant"] = json!(data.tenant);
            value["account"] = json!(data.account);
            value["plan"] = json!(data.plan);
            value["billable"] = json!(data.billable);
            value["effectiveAt"] = json!(held.effective.at);
            value["notBefore"] = json!(held.effective.not_before);
            value["notAfter"] = json!(held.effective.not_after);
            value["timeSource"] = json!(held.effective.source);
            value["recordedAt"] = json!(held.recorded_at);
            value["knownThen"] = json!(self.was_known());
            value["takenFor"] = match &self.past.believed {
                Believed::Row { sequence, state } => json!({ "state": state, "sequence": sequence }),
                Believed::Nothing | Believed::NotKept => Value::Null,
            };
        }
        value["perhaps"] = json!(doubt.as_ref().map(|Doubt { state, effective }| {
            json!({ "state": state, "notBefore": effective.not_before, "notAfter": effective.not_after })
        }));
        value
    }
}

fn render(found: &[Found], at: Timestamp, as_of: Option<Timestamp>) -> Vec<Text> {
    let knowledge = as_of.map_or("by all that is known now".to_owned(), |as_of| {
        format!("by what was known at {}", describe::moment(as_of))
    });
    let mut lines =
        vec![Text::new(BOLD, format!("At {} UTC", describe::moment(at))).and(DIM, format!("   {knowledge}"))];
    if found.is_empty() {
        lines.push(Text::plain("There was nothing."));
        return lines;
    }
    lines.push(Text::default());
    lines.extend(table(found, at).lines());
    lines.push(Text::default());
    lines.push(summary(found));
    lines
}

fn table(found: &[Found], at: Timestamp) -> Table {
    let mut table = Table::new(vec![
        ("TENANT", Align::Left),
        ("RESOURCE", Align::Left),
        ("STATE", Align::Left),
        ("SINCE (UTC)", Align::Left),
        ("BILLABLE", Align::Left),
        ("RECORDED", Align::Left),
    ]);
    for one in found {
        let PastState { kind, namespace, name, .. } = &one.past;
        let name = Text::plain(describe::resource(*kind, namespace.as_deref(), name));
        let Some((held, event)) = &one.held else {
            let gone = Text::new(DIM, "not kept any more");
            table.row(vec![vec![], vec![name], vec![gone], vec![], vec![], vec![]]);
            continue;
        };
        let billable = describe::billable(event.data.billable);
        let late = held.recorded_at > at;
        let recorded = describe::moment_beside(held.recorded_at, held.effective.at);
        table.row(vec![
            vec![Text::new(DIM, event.data.tenant.as_str())],
            vec![name],
            vec![Text::new(describe::style_of(&held.state), held.state.as_str())],
            vec![Text::plain(describe::moment(held.effective.at))],
            vec![Text::new(if billable == "nothing" { DIM } else { PLAIN }, &billable)],
            vec![Text::new(if late { BUSY } else { DIM }, &recorded)],
        ]);
        for note in notes(one) {
            table.note(note);
        }
    }
    table
}

/// What a reader of that one word must know besides.
fn notes(one: &Found) -> Vec<Text> {
    let mut notes = vec![];
    if !one.was_known() {
        let unknown = Text::new(BUSY, "│ not known then: ");
        notes.push(match &one.past.believed {
            Believed::Row { sequence, state } => unknown
                .and(BUSY, "it was taken to be ")
                .and(describe::style_of(state), state.as_str())
                .and(BUSY, format!(" (sequence {sequence})")),
            Believed::Nothing => unknown.and(BUSY, "the ledger had not heard of it yet"),
            Believed::NotKept => unknown.and(BUSY, "what it was taken to be is not kept any more"),
        });
    }
    if let Some(Doubt { state, effective }) = &one.past.doubt {
        let (from, to) = (effective.not_before, effective.not_after);
        let window =
            format!(" already: at some time from {} to {}", describe::moment(from), describe::moment_beside(to, from));
        notes.push(Text::new(DIM, "│ perhaps ").and(describe::style_of(state), state.as_str()).and(DIM, window));
    }
    notes
}

fn summary(found: &[Found]) -> Text {
    let number = |wanted: &dyn Fn(&Found) -> bool| {
        u64::try_from(found.iter().filter(|one| wanted(one)).count()).unwrap_or(u64::MAX)
    };
    let all = describe::count(number(&|_| true), "resource");
    let unknown = number(&|one| !one.was_known());
    let lost = number(&|one| one.held.is_none());
    let mut text = Text::new(DIM, all);
    for (number, style, words) in
        [(unknown, BUSY, "not known then"), (lost, DIM, "of a time that is not kept any more")]
    {
        if number > 0 {
            text = text.and(style, format!(" · {} {words}", describe::grouped(number)));
        }
    }
    text
}
