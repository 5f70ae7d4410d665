//! The newest transitions, and how soon billing had them. Pure.

use std::time::Duration;

use super::{
    columns::{CHARGE, Columns, HEADING, NEW, emphasis, kind},
    sources::Newest,
    view::Everything,
};
use crate::{
    cli::{
        describe,
        text::{BUSY, CALM, DIM, PLAIN, Text},
    },
    domain::{Billable, State, Timestamp},
    ledger::Row,
};

/// A change of state: `Provisioning → Terminating`.
const STATES: usize = 26;
/// The longest reason: `ProgressDeadlineExceeded`.
const REASON: usize = 24;
/// `billed +2 min 10 s`.
const BILLED: usize = 14;

/// The newest transitions, newest first.
pub fn transitions(known: &Everything, columns: &Columns, width: usize, room: usize, now: Timestamp) -> Vec<Text> {
    let Some(ledger) = &known.ledger else { return vec![] };
    let mut lines = vec![Text::new(HEADING, "NEWEST TRANSITIONS")];
    let others = "00:00:00.000".len() + columns.name + STATES + BILLED + 4 * 2;
    let reason = width.saturating_sub(others).clamp(8, REASON);
    for Newest { row, billable } in ledger.value.newest.iter().take(room.max(1)) {
        let resource = ledger.value.heads.get(&row.uid).map_or_else(
            || Text::plain(row.uid.as_str()),
            |head| {
                let subject = &head.subject;
                let name = describe::name(subject.namespace.as_deref(), &subject.name);
                Text::new(DIM, kind(subject.kind, columns.wide)).and(PLAIN, " ").and(PLAIN, name)
            },
        );
        let new = now.since(row.recorded_at) < NEW;
        let from = row.from.as_ref().map(|from| format!("{from} → ")).unwrap_or_default();
        let states = Text::new(DIM, from).and(emphasis(describe::style_of(&row.to), new), State::as_str(&row.to));
        let time = row.recorded_at.to_jiff().strftime("%H:%M:%S.%3f").to_string();
        let gap = || Text::plain("  ");
        let line = Text::new(DIM, time)
            .join(gap())
            .join(resource.left(columns.name))
            .join(gap())
            .join(states.left(STATES))
            .join(gap())
            .join(Text::plain(&row.reason).left(reason));
        let billed = billed(known, row).left(BILLED);
        // What it costs stands above, too: it goes first where there is little room.
        let costs = width.saturating_sub(line.width() + BILLED + 4);
        let line = if costs >= CHARGE {
            let words = billable.filter(|billable| *billable != Billable::ZERO).map(describe::billable);
            line.join(gap()).join(Text::new(CALM, words.unwrap_or_default()).left(CHARGE))
        } else {
            line
        };
        lines.push(line.join(gap()).join(billed));
    }
    lines
}

/// Whether billing has it, and how long that took.
fn billed(known: &Everything, row: &Row) -> Text {
    if known.told().is_none() {
        return Text::default();
    }
    match known.applied.get(&(row.uid.clone(), row.sequence)) {
        Some(Some(at)) if *at >= row.recorded_at => {
            Text::new(DIM, format!("billed +{}", describe::span(coarse(at.since(row.recorded_at)))))
        }
        Some(_) => Text::new(DIM, "billed"),
        None => Text::new(BUSY, "not billed yet"),
    }
}

/// Without the lesser of two units.
fn coarse(span: Duration) -> Duration {
    let unit = match span.as_secs() {
        0..60 => return span,
        60..3_600 => 60,
        3_600..86_400 => 3_600,
        _ => 86_400,
    };
    Duration::from_secs(span.as_secs() / unit * unit)
}
