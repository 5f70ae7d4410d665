//! `trueup history`: what happened to a resource, and when.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    Failure, describe,
    outbox::interventions,
    reading::{self, Ledger, Output},
    resource::{Named, Resource},
    table::{Align, Table},
    text::{BOLD, BUSY, DIM, PLAIN, Text},
    when::{When, Window},
};
use crate::{
    domain::{Clock, Effective, Event, Sequence, Shard, SystemClock, TimeSource, Uid},
    ledger::{Head, Row, RowQuery, Store, interventions::Intervention},
};

/// How many rows are in memory at once, besides those that are shown.
const PAGE: u32 = 500;
/// How much of a row's evidence is shown: the end of a log says most.
const EVIDENCE_LINES: usize = 8;
const EVIDENCE_WIDTH: usize = 112;
/// What is recorded so long after it happened was not watched.
const LATE: Duration = Duration::from_mins(1);

/// Show what happened to a resource: every change of its state, from the ledger.
///
/// Objects that were deleted and created again under the same name have streams of their own, shown one after the
/// other. All times are in UTC.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    resource: Named,
    /// Only what happened then or later: 2026-11-17T09:00:00Z, 2026-11-17 (its beginning, in UTC), or 3d (ago).
    #[arg(long, value_name = "TIME")]
    since: Option<When>,
    /// Only what happened before that.
    #[arg(long, value_name = "TIME")]
    until: Option<When>,
    /// Only what was recorded then or later, whenever it happened.
    #[arg(long, value_name = "TIME")]
    recorded_since: Option<When>,
    /// Only what was recorded before that: what the ledger knew then.
    #[arg(long, value_name = "TIME")]
    recorded_until: Option<When>,
    /// How to write it.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    ledger: Ledger,
}

/// Prints it.
pub async fn run(args: Args) -> Result<(), Failure> {
    let now = SystemClock::default().now();
    let happened = Window::of(args.since, args.until, now).ordered("--since", "--until")?;
    let recorded = Window::of(args.recorded_since, args.recorded_until, now);
    let recorded = recorded.ordered("--recorded-since", "--recorded-until")?;
    let resource = args.resource.resolve()?;
    let (store, _) = args.ledger.open().await?;
    let wanted = Wanted { resource, happened, recorded };
    let streams = read(&store, &wanted).await?;
    if streams.is_empty() {
        return Err(Failure::violated(&wanted.resource.unknown()));
    }
    args.output.print(&to_json(&streams)?, || render(&streams, &wanted))
}

/// What was asked for.
struct Wanted {
    resource: Resource,
    happened: Window,
    recorded: Window,
}

impl Wanted {
    /// The times that are shown, if not all.
    fn window(&self) -> Option<String> {
        let recorded = self.recorded.in_words().map(|words| format!("that was recorded {words}"));
        let parts: Vec<String> = self.happened.in_words().into_iter().chain(recorded).collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    }
}

/// One stream, as far as it is shown.
#[derive(Debug)]
struct Stream {
    head: Head,
    /// The row that held when the time that is shown began.
    before: Option<Row>,
    rows: Vec<Row>,
    /// What people did about its deliveries.
    made: Vec<Intervention>,
}

impl Stream {
    fn made_at(&self, sequence: Sequence) -> impl Iterator<Item = &Intervention> {
        self.made.iter().filter(move |made| made.request.sequence == sequence)
    }
}

/// The streams of that name, oldest first.
async fn read(store: &Arc<dyn Store>, wanted: &Wanted) -> Result<Vec<Stream>, Failure> {
    let failed = |error| reading::failure(&error);
    let mut streams: BTreeMap<Uid, (Option<Row>, Vec<Row>)> = BTreeMap::new();
    let mut query = RowQuery { limit: PAGE, ..wanted.resource.rows() };
    loop {
        let page = store.rows(&query).await.map_err(failed)?;
        let Some((shard, position)): Option<(Shard, _)> = page.last().map(|row| (row.shard, row.position)) else {
            break;
        };
        query.after = Some((shard, position));
        for row in page {
            let (before, rows) = streams.entry(row.uid.clone()).or_default();
            let (happened, recorded) =
                (wanted.happened.place(row.effective.at), wanted.recorded.place(row.recorded_at));
            match (happened, recorded) {
                (Ordering::Equal, Ordering::Equal) => rows.push(row),
                (Ordering::Greater, _) | (_, Ordering::Greater) => {}
                _ => *before = Some(row),
            }
        }
    }
    let mut found = Vec::with_capacity(streams.len());
    let mut made = interventions::read(&**store, |made| streams.contains_key(&made.request.uid)).await?;
    for (uid, (before, rows)) in streams {
        if let Some(head) = store.head(&uid).await.map_err(failed)? {
            let own = made.extract_if(.., |made| made.request.uid == uid).collect();
            found.push(Stream { head, before, rows, made: own });
        }
    }
    found.sort_by(|a, b| (a.head.opened_at, &a.head.subject.uid).cmp(&(b.head.opened_at, &b.head.subject.uid)));
    Ok(found)
}

fn to_json(streams: &[Stream]) -> Result<Value, Failure> {
    let rows = streams.iter().flat_map(|stream| stream.rows.iter().map(move |row| (stream, row)));
    let events = rows.map(|(stream, row)| {
        let mut event: Value = serde_json::from_slice(&row.body).map_err(|error| {
            let (uid, sequence) = (&row.uid, row.sequence);
            Failure::violated(&format!("reading event {sequence} of stream {uid}: {error}; run `trueup audit`"))
        })?;
        event["recordedAt"] = json!(row.recorded_at);
        event["evidence"] = json!(row.evidence);
        event["interventions"] = json!(stream.made_at(row.sequence).map(interventions::Told::of).collect::<Vec<_>>());
        Ok(event)
    });
    events.collect::<Result<Vec<_>, _>>().map(Value::Array)
}

fn render(streams: &[Stream], wanted: &Wanted) -> Vec<Text> {
    let mut lines = vec![];
    for (index, stream) in streams.iter().enumerate() {
        if index > 0 {
            lines.push(Text::default());
        }
        lines.extend(header(stream, wanted, (index + 1, streams.len())));
        lines.push(Text::default());
        if stream.rows.is_empty() {
            lines.push(nothing(stream, wanted));
        } else {
            lines.extend(table(stream).lines());
        }
    }
    lines
}

fn header(stream: &Stream, wanted: &Wanted, (place, streams): (usize, usize)) -> [Text; 2] {
    let Head { subject, opened_at, entered_at, closed_at, state, .. } = &stream.head;
    let which = if streams > 1 { format!("   object {place} of {streams} under this name") } else { String::new() };
    let owner = format!("   tenant {} · account {} · plan {}", subject.tenant, subject.account, subject.plan);
    let first = Text::new(BOLD, wanted.resource.in_words()).and(DIM, owner).and(DIM, which);
    let life = match closed_at {
        Some(closed) => format!("   {} – {}, ", describe::moment(*opened_at), describe::moment(*closed)),
        None => format!("   since {}, now ", describe::moment(*opened_at)),
    };
    let entered = if closed_at.is_some() || entered_at == opened_at {
        String::new()
    } else {
        format!(" since {}", describe::moment_beside(*entered_at, *opened_at))
    };
    let second = Text::new(DIM, format!("uid {}{life}", subject.uid))
        .and(describe::style_of(state), state.as_str())
        .and(DIM, entered);
    [first, second]
}

/// What to say of a stream of which nothing is shown.
fn nothing(stream: &Stream, wanted: &Wanted) -> Text {
    let window = wanted.window().unwrap_or_else(|| "ever".to_owned());
    match &stream.before {
        None => Text::plain(format!("Nothing happened {window}: it was not there yet.")),
        Some(row) => Text::plain(format!("Nothing happened {window}: it was "))
            .and(describe::style_of(&row.to), row.to.as_str())
            .and(PLAIN, format!(" since {} (sequence {}).", describe::moment(row.effective.at), row.sequence)),
    }
}

fn table(stream: &Stream) -> Table {
    let mut table = Table::new(vec![
        ("SEQ", Align::Right),
        ("WHEN (UTC)", Align::Left),
        ("FROM → TO", Align::Left),
        ("REASON", Align::Left),
        ("BILLABLE", Align::Left),
        ("RECORDED", Align::Left),
    ]);
    for row in &stream.rows {
        let mut states = Text::default();
        if let Some(from) = &row.from {
            states = states.and(DIM, format!("{from} → "));
        }
        let billable = match Event::verify(&row.body) {
            Ok(event) => describe::billable(event.data.billable),
            Err(_) => "damaged, run `trueup audit`".to_owned(),
        };
        table.row(vec![
            vec![Text::plain(row.sequence.to_string())],
            when(row.effective),
            vec![states.and(describe::style_of(&row.to), row.to.as_str())],
            vec![Text::plain(&row.reason)],
            vec![Text::new(if billable == "nothing" { DIM } else { PLAIN }, &billable)],
            recorded(row),
        ]);
        for line in row.evidence.iter().flat_map(|text| evidence(text)) {
            table.note(line);
        }
        for made in stream.made_at(row.sequence) {
            if let Some(line) = interventions::in_words(made) {
                table.note(line.cut(EVIDENCE_WIDTH));
            }
        }
    }
    table
}

/// The effective time; below it where it came from, if it was not reported, and its bounds, if they are wide.
fn when(effective: Effective) -> Vec<Text> {
    const TIGHT: u128 = 1_000_000;
    let Effective { at, not_before, not_after, source } = effective;
    let mut lines = vec![Text::plain(describe::moment(at))];
    let mut notes = vec![];
    if source != TimeSource::Reported {
        notes.push(source.as_str().to_owned());
    }
    if not_after.since(not_before).as_micros() > TIGHT {
        if not_before < at {
            notes.push(format!("≥ {}", describe::moment_beside(not_before, at)));
        }
        if not_after > at {
            notes.push(format!("≤ {}", describe::moment_beside(not_after, at)));
        }
    }
    if !notes.is_empty() {
        lines.push(Text::new(DIM, notes.join(" ")));
    }
    lines
}

/// The recorded time; below it how much later that was, if it was much.
fn recorded(row: &Row) -> Vec<Text> {
    let mut lines = vec![Text::new(DIM, describe::moment_beside(row.recorded_at, row.effective.at))];
    let delay = row.recorded_at.since(row.effective.at);
    if delay >= LATE {
        lines.push(Text::new(BUSY, format!("{} later", describe::span(delay))));
    }
    lines
}

/// The end of what was kept beside a row.
fn evidence(text: &str) -> Vec<Text> {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let hidden = lines.len().saturating_sub(EVIDENCE_LINES);
    let mut shown = vec![];
    if hidden > 0 {
        let noun = if hidden == 1 { "line" } else { "lines" };
        shown.push(Text::new(DIM, format!("│ … {hidden} {noun} before; -o json shows all")));
    }
    shown.extend(
        lines[hidden..].iter().map(|line| Text::new(DIM, "│ ").and(PLAIN, line.trim_end()).cut(EVIDENCE_WIDTH)),
    );
    shown
}
