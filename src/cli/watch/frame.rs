//! One frame of the live view, from what is known to styled lines. Pure.

use anstyle::{AnsiColor, Color, Style};

use super::{
    columns::Columns,
    newest,
    sources::Trouble,
    view::{Everything, Line, lines},
};
use crate::{
    cli::{
        describe,
        text::{BAD, BOLD, BUSY, DIM, GOOD, PLAIN, Text},
    },
    domain::Timestamp,
};

/// Newest transitions that are always shown, if there are as many.
const NEWEST: usize = 5;

const BANNER: Style =
    Style::new().bold().fg_color(Some(Color::Ansi(AnsiColor::Black))).bg_color(Some(Color::Ansi(AnsiColor::Yellow)));

/// How a frame is to look.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    pub width: usize,
    /// `None`: as high as it needs to be.
    pub height: Option<usize>,
    pub title: Option<&'a str>,
    pub caption: Option<&'a str>,
    /// Leaves out what changes by itself as time passes.
    pub timeless: bool,
}

/// Draws it.
pub fn draw(known: &Everything, look: Look<'_>, now: Timestamp) -> Vec<Text> {
    let all = lines(known, now);
    let columns = Columns::fit(look.width, &all, known);
    let mut frame = header(known, look, &all, now);
    frame.push(Text::default());
    frame.extend(columns.titles(known));

    let rows = known.ledger.as_ref().map_or(0, |ledger| ledger.value.newest.len());
    // Around the lines: a blank and a title above the newest transitions, a blank and the legend below them.
    let around = frame.len() + if rows > 0 { 2 } else { 0 } + 2;
    let room = look.height.map(|height| height.saturating_sub(around));
    let for_lines = room.map(|room| room.saturating_sub(rows.min(NEWEST)));
    frame.extend(columns.body(&all, for_lines, now));
    if rows > 0 {
        frame.push(Text::default());
        let left = look.height.map_or(NEWEST, |height| height.saturating_sub(frame.len() + 3));
        frame.extend(newest::transitions(known, &columns, look.width, left, now));
    }
    frame.push(Text::default());
    frame.push(legend());
    let height = look.height.unwrap_or(usize::MAX);
    frame.into_iter().take(height).map(|line| line.cut(look.width)).collect()
}

fn header(known: &Everything, look: Look<'_>, all: &[Line], now: Timestamp) -> Vec<Text> {
    let clock = if look.timeless { String::new() } else { format!("{} UTC", now.to_jiff().strftime("%H:%M:%S")) };
    let title = Text::new(BOLD, "trueup").and(DIM, look.title.map(|title| format!("  {title}")).unwrap_or_default());
    let mut lines = vec![spread(title, Text::new(DIM, clock), look.width)];
    let leader = leader(known);
    let room = look.width.saturating_sub(leader.width() + 2);
    lines.push(spread(leader, totals(known, all, room), look.width));
    let troubles = [
        ("cluster", known.cluster.trouble.as_ref()),
        ("ledger", known.ledger.as_ref().and_then(|ledger| ledger.trouble.as_ref())),
        ("billing", known.billing.as_ref().and_then(|billing| billing.trouble.as_ref())),
    ];
    for (who, Trouble { since, why }) in troubles.into_iter().filter_map(|(who, trouble)| Some((who, trouble?))) {
        let age = if look.timeless { String::new() } else { format!(" for {}", describe::span(now.since(*since))) };
        lines.push(Text::new(BAD, format!("{who} does not answer{age}")).and(DIM, format!("  {why}")));
    }
    if let Some(caption) = look.caption.filter(|caption| !caption.trim().is_empty()) {
        lines.push(Text::default());
        lines.push(Text::new(BANNER, format!("  {}", caption.trim())).left(look.width).all(BANNER));
    }
    lines
}

fn leader(known: &Everything) -> Text {
    let ledger = known.ledger.as_ref().map(|ledger| ledger.value.epoch);
    let epoch = ledger.filter(|epoch| epoch.get() > 0).map(|epoch| format!("  epoch {epoch}")).unwrap_or_default();
    let Some(leader) = &known.cluster.value.leader else {
        return Text::new(DIM, "leader unknown").and(PLAIN, epoch);
    };
    match &leader.holder {
        None => Text::new(BUSY, "nobody leads").and(PLAIN, epoch),
        Some(holder) if known.cluster.value.expired => {
            Text::new(BAD, "nobody leads").and(PLAIN, epoch).and(DIM, format!("  last {}", short(holder)))
        }
        Some(holder) => Text::new(DIM, "leader ").and(GOOD, short(holder)).and(PLAIN, epoch),
    }
}

/// A holder's name with only the beginning of its random part, which is a UUID.
fn short(holder: &str) -> &str {
    const DROPPED: usize = "-0000-0000-0000-000000000000".len();
    let end = holder.len().saturating_sub(DROPPED);
    holder.get(..end).filter(|kept| kept.len() >= 8).unwrap_or(holder)
}

/// What there is in all; in little room, what matters most of it.
fn totals(known: &Everything, all: &[Line], room: usize) -> Text {
    let Some(ledger) = &known.ledger else {
        let resources = u64::try_from(all.len()).unwrap_or(0);
        return Text::new(DIM, describe::count(resources, "resource"));
    };
    let counts = ledger.value.counts;
    let mut parts = vec![
        Text::plain(describe::count(counts.resources, "resource")),
        Text::plain(describe::count(counts.transitions, "transition")),
        Text::plain(format!("{} delivered", describe::grouped(counts.deliveries))),
    ];
    if counts.undelivered > 0 {
        parts.push(Text::new(BUSY, format!("{} waiting", describe::grouped(counts.undelivered))));
    }
    if counts.parked > 0 {
        parts.push(Text::new(BAD, format!("{} parked", describe::grouped(counts.parked))));
    }
    while parts.len() > 1 && parts.iter().map(|part| part.width() + 2).sum::<usize>() > room + 2 {
        parts.remove(0);
    }
    parts.into_iter().reduce(|text, part| text.and(PLAIN, "  ").join(part)).unwrap_or_default()
}

/// One text at each edge.
fn spread(left: Text, right: Text, width: usize) -> Text {
    let room = width.saturating_sub(right.width() + 2);
    left.left(room).and(PLAIN, "  ").join(right)
}

fn legend() -> Text {
    Text::new(GOOD, "=")
        .and(DIM, " in step   ")
        .and(BUSY, "…")
        .and(DIM, " behind by   ")
        .and(BAD, "!")
        .and(DIM, " look here     ")
        .and(GOOD, "●")
        .and(DIM, " ready   ")
        .and(BUSY, "◌")
        .and(DIM, " not yet   ")
        .and(BAD, "✕")
        .and(DIM, " stalled")
}
