//! One frame of the live view, from what is known to styled lines. Pure.

use std::time::Duration;

use anstyle::{Ansi256Color, AnsiColor, Color, Style};

use super::{
    sources::{Newest, Trouble},
    view::{AtBilling, Everything, InCluster, InLedger, Line, Mark, Readiness, lines},
};
use crate::{
    cli::{
        describe,
        text::{BAD, BOLD, BUSY, CALM, DIM, GOOD, PLAIN, Text},
    },
    domain::{Billable, Kind, State, Timestamp},
};

/// What changed within this time is set off.
const NEW: Duration = Duration::from_secs(2);
/// Between the cluster, the ledger and billing.
const RULE: &str = " │ ";
/// A state's width: `Provisioning`.
const STATE: usize = 12;
/// Pods: `10/10`.
const PARTS: usize = 5;
/// What is charged: `2 × 100m / 128Mi`.
const CHARGE: usize = 17;
/// The narrowest that a resource's name is cut to.
const NARROWEST: usize = 16;
/// Newest transitions that are always shown, if there are as many.
const NEWEST: usize = 5;

const BANNER: Style =
    Style::new().bold().fg_color(Some(Color::Ansi(AnsiColor::Black))).bg_color(Some(Color::Ansi(AnsiColor::Yellow)));
const HEADING: Style = Style::new().bold().fg_color(Some(Color::Ansi256(Ansi256Color(250))));

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
    let columns = Columns::fit(look.width, &all);
    let mut frame = header(known, look, &all, now);
    frame.push(Text::default());
    frame.extend(columns.titles(known));

    let newest = known.ledger.as_ref().map_or(0, |ledger| ledger.value.newest.len());
    // Around the lines: a blank and a title above the newest transitions, a blank and the legend below them.
    let around = frame.len() + if newest > 0 { 2 } else { 0 } + 2;
    let room = look.height.map(|height| height.saturating_sub(around));
    let for_lines = room.map(|room| room.saturating_sub(newest.min(NEWEST)));
    frame.extend(columns.body(&all, for_lines, now));
    if newest > 0 {
        frame.push(Text::default());
        let left = look.height.map_or(NEWEST, |height| height.saturating_sub(frame.len() + 3));
        frame.extend(transitions(known, &columns, left, now));
    }
    frame.push(Text::default());
    frame.push(legend());
    frame.into_iter().map(|line| line.cut(look.width)).collect()
}

fn header(known: &Everything, look: Look<'_>, all: &[Line], now: Timestamp) -> Vec<Text> {
    let clock = if look.timeless { String::new() } else { format!("{} UTC", now.to_jiff().strftime("%H:%M:%S")) };
    let title = Text::new(BOLD, "trueup").and(DIM, look.title.map(|title| format!("  {title}")).unwrap_or_default());
    let mut lines = vec![spread(title, Text::new(DIM, clock), look.width)];
    lines.push(spread(leader(known), totals(known, all), look.width));
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

/// A holder's name without most of its random part.
fn short(holder: &str) -> &str {
    holder.char_indices().nth(24).map_or(holder, |(end, _)| &holder[..end]).trim_end_matches('-')
}

fn totals(known: &Everything, all: &[Line]) -> Text {
    let Some(ledger) = &known.ledger else {
        let resources = u64::try_from(all.len()).unwrap_or(0);
        return Text::new(DIM, describe::count(resources, "resource"));
    };
    let counts = ledger.value.counts;
    let mut text = Text::plain(describe::count(counts.resources, "resource"))
        .and(DIM, "  ")
        .and(PLAIN, describe::count(counts.transitions, "transition"))
        .and(DIM, "  ")
        .and(PLAIN, format!("{} delivered", describe::grouped(counts.deliveries)));
    if counts.undelivered > 0 {
        text = text.and(BUSY, format!("  {} waiting", describe::grouped(counts.undelivered)));
    }
    if counts.parked > 0 {
        text = text.and(BAD, format!("  {} parked", describe::grouped(counts.parked)));
    }
    text
}

/// One text at each edge.
fn spread(left: Text, right: Text, width: usize) -> Text {
    let room = width.saturating_sub(right.width());
    left.left(room).join(right)
}

/// How wide the columns are.
#[derive(Clone, Copy, Debug)]
struct Columns {
    name: usize,
    sequence: usize,
    /// Whether billing's own word for the state has room.
    billing_state: bool,
    charge: usize,
    long_kinds: bool,
}

impl Columns {
    fn fit(width: usize, all: &[Line]) -> Self {
        let long_kinds = width >= 120;
        let longest = all.iter().map(|line| name(line, long_kinds).width()).max().unwrap_or(0).max(NARROWEST);
        let sequence = all.iter().map(|line| digits(line)).max().unwrap_or(0).max(3);
        let mut columns = Self { name: longest, sequence, billing_state: true, charge: CHARGE, long_kinds };
        if columns.width() > width {
            // One or two characters of a name are worth less than a column.
            let short = width.saturating_sub(columns.width() - columns.name);
            columns.billing_state = short + 3 >= longest;
        }
        let others = columns.width() - columns.name;
        columns.name = longest.min(width.saturating_sub(others)).max(NARROWEST);
        let wanted = all.iter().filter_map(|line| line.billing.as_ref()).map(|billing| charge(billing).width()).max();
        let spare = width.saturating_sub(columns.width());
        columns.charge = wanted.unwrap_or(0).clamp(CHARGE, CHARGE + spare);
        columns
    }

    const fn cluster(self) -> usize {
        2 + STATE + 1 + PARTS
    }

    const fn ledger(self) -> usize {
        self.sequence + 2 + STATE
    }

    const fn billing(self) -> usize {
        let state = if self.billing_state { STATE + 2 } else { 0 };
        self.sequence + 2 + state + self.charge
    }

    const fn width(self) -> usize {
        4 + self.name + 3 + self.cluster() + 3 + self.ledger() + 3 + self.billing()
    }

    fn titles(self, known: &Everything) -> [Text; 3] {
        let ledger = if known.ledger.is_some() { "what happened" } else { "by the status" };
        let billing = if known.billing.is_some() { "what was billed" } else { "what was acknowledged" };
        let group = |title: &str, about: &str, width: usize| {
            Text::new(HEADING, title).and(DIM, format!(" {about}")).left(width)
        };
        let rule = || Text::new(DIM, RULE);
        let first = Text::plain(" ".repeat(4 + self.name))
            .join(rule())
            .join(group("CLUSTER", "what runs", self.cluster()))
            .join(rule())
            .join(group("LEDGER", ledger, self.ledger()))
            .join(rule())
            .join(group("BILLING", billing, self.billing()));
        let dim = |text: &str, width: usize| Text::new(DIM, text).left(width);
        let number = |text: &str| Text::new(DIM, text).right(self.sequence).and(PLAIN, "  ");
        let mut second = dim("    resource", 4 + self.name)
            .join(rule())
            .join(dim("  state", 2 + STATE + 1))
            .join(Text::new(DIM, "pods").right(PARTS))
            .join(rule())
            .join(number("seq"))
            .join(dim("state", STATE))
            .join(rule())
            .join(number("seq"));
        if self.billing_state {
            second = second.join(dim("state", STATE + 2));
        }
        let second = second.join(dim("charged for", self.charge));
        let line = |width: usize| "─".repeat(width);
        let third = Text::new(
            DIM,
            format!(
                "{}┼{}┼{}┼{}",
                line(4 + self.name + 1),
                line(self.cluster() + 2),
                line(self.ledger() + 2),
                line(self.billing() + 1)
            ),
        );
        [first, second, third]
    }

    /// The lines, or as many as there is room for: those that somebody should see first.
    fn body(self, all: &[Line], room: Option<usize>, now: Timestamp) -> Vec<Text> {
        if all.is_empty() {
            return vec![Text::new(DIM, "    nothing yet: create a Tenant, and it appears here")];
        }
        let heights: Vec<usize> = all.iter().map(|line| 1 + usize::from(line.note.is_some())).collect();
        let total: usize = heights.iter().sum();
        let mut shown = vec![true; all.len()];
        if let Some(room) = room.filter(|room| total > *room) {
            let mut order: Vec<usize> = (0..all.len()).collect();
            let urgency = |line: &Line| (line.mark.clone(), !is_new(line, now), line.gone);
            order.sort_by_key(|index| urgency(&all[*index]));
            let mut left = room.saturating_sub(1);
            for index in order {
                shown[index] = heights[index] <= left;
                left = left.saturating_sub(heights[index]);
            }
        }
        let mut texts = vec![];
        for line in all.iter().zip(&shown).filter(|(_, shown)| **shown).map(|(line, _)| line) {
            texts.push(self.line(line, now));
            if let Some(note) = &line.note {
                let style = if line.mark == Mark::Wrong { BAD } else { BUSY };
                texts.push(Text::new(DIM, "    └ ").and(style, note));
            }
        }
        let hidden: Vec<&Line> = all.iter().zip(&shown).filter(|(_, shown)| !**shown).map(|(line, _)| line).collect();
        if !hidden.is_empty() {
            let in_step = hidden.iter().filter(|line| line.mark == Mark::InStep).count();
            texts.push(Text::new(DIM, format!("    … {} more, {in_step} of them in step", hidden.len())));
        }
        texts
    }

    fn line(self, line: &Line, now: Timestamp) -> Text {
        let mark = match line.mark {
            Mark::InStep => Text::new(GOOD, "="),
            Mark::Behind(by) => Text::new(BUSY, format!("…{by}")),
            Mark::Wrong => Text::new(BAD, "!"),
        };
        let rule = || Text::new(DIM, RULE);
        let text = mark
            .left(4)
            .join(name(line, self.long_kinds).left(self.name))
            .join(rule())
            .join(in_cluster(line.cluster.as_ref(), line.gone).left(self.cluster()))
            .join(rule())
            .join(self.in_ledger(line.ledger.as_ref(), now).left(self.ledger()))
            .join(rule())
            .join(self.at_billing(line, now).left(self.billing()));
        if line.gone { text.all(DIM) } else { text }
    }

    fn in_ledger(self, ledger: Option<&InLedger>, now: Timestamp) -> Text {
        let Some(InLedger { sequence, state, recorded_at }) = ledger else {
            return Text::new(DIM, "·").right(self.sequence);
        };
        let new = recorded_at.is_some_and(|at| now.since(at) < NEW);
        Text::new(emphasis(PLAIN, new), sequence.to_string())
            .right(self.sequence)
            .and(PLAIN, "  ")
            .and(emphasis(describe::style_of(state), new), state.as_str())
    }

    fn at_billing(self, line: &Line, now: Timestamp) -> Text {
        let Some(billing) = &line.billing else { return Text::new(DIM, "·").right(self.sequence) };
        let new = billing.applied_at.is_some_and(|at| now.since(at) < NEW);
        let late = line.ledger.as_ref().is_some_and(|ledger| ledger.sequence > billing.sequence);
        let number = if late { BUSY } else { emphasis(PLAIN, new) };
        let mut text = Text::new(number, billing.sequence.to_string()).right(self.sequence).and(PLAIN, "  ");
        if self.billing_state {
            text = text.join(
                match &billing.state {
                    Some(state) => Text::new(emphasis(describe::style_of(state), new), state.as_str()),
                    None => Text::new(DIM, "·"),
                }
                .left(STATE + 2),
            );
        }
        text.join(charge(billing))
    }
}

fn emphasis(style: Style, new: bool) -> Style {
    if new { style.bold() } else { style }
}

fn is_new(line: &Line, now: Timestamp) -> bool {
    let recorded = line.ledger.as_ref().and_then(|ledger| ledger.recorded_at);
    let applied = line.billing.as_ref().and_then(|billing| billing.applied_at);
    recorded.into_iter().chain(applied).any(|at| now.since(at) < NEW)
}

fn digits(line: &Line) -> usize {
    let ledger = line.ledger.as_ref().map_or(0, |ledger| ledger.sequence.get());
    ledger.max(line.billing.as_ref().map_or(0, |billing| billing.sequence.get())).to_string().len()
}

/// A tenant, or something of a tenant's beneath it.
fn name(line: &Line, long_kinds: bool) -> Text {
    let kind = kind(line.kind, long_kinds);
    let (indent, style) = if line.kind == Kind::Tenant { ("", BOLD) } else { ("  ", PLAIN) };
    let name = line.namespace.as_ref().map_or_else(|| line.name.clone(), |space| format!("{space}/{}", line.name));
    Text::new(DIM, format!("{indent}{kind} ")).and(style, name)
}

const fn kind(kind: Kind, long: bool) -> &'static str {
    match kind {
        Kind::AppDeployment if !long => "App",
        kind => kind.as_str(),
    }
}

fn in_cluster(cluster: Option<&InCluster>, gone: bool) -> Text {
    let Some(InCluster { state, readiness, parts }) = cluster else {
        return Text::new(DIM, if gone { "  gone" } else { "  not there" });
    };
    let sign = match readiness {
        Readiness::Ready => Text::new(GOOD, "● "),
        Readiness::NotYet => Text::new(BUSY, "◌ "),
        Readiness::Stalled => Text::new(BAD, "✕ "),
    };
    let word = match state {
        Some(state) => Text::new(describe::style_of(state), state.as_str()),
        None => Text::new(DIM, "no state yet"),
    };
    let parts = match parts {
        Some((good, wanted)) => {
            let style = if good >= wanted { PLAIN } else { BUSY };
            Text::new(style, format!("{good}/{wanted}"))
        }
        None => Text::default(),
    };
    sign.join(word.left(STATE + 1)).join(parts.right(PARTS))
}

fn charge(billing: &AtBilling) -> Text {
    match billing.billable {
        None => Text::new(DIM, "·"),
        Some(Billable::ZERO) => Text::new(DIM, "nothing"),
        Some(billable) => Text::new(CALM, describe::billable(billable)),
    }
}

/// The newest transitions, newest first.
fn transitions(known: &Everything, columns: &Columns, room: usize, now: Timestamp) -> Vec<Text> {
    let Some(ledger) = &known.ledger else { return vec![] };
    let mut lines = vec![Text::new(HEADING, "NEWEST TRANSITIONS").and(DIM, "  in the ledger")];
    for Newest { row, billable } in ledger.value.newest.iter().take(room.max(1)) {
        let resource = ledger.value.heads.get(&row.uid).map_or_else(
            || row.uid.to_string(),
            |head| {
                let subject = &head.subject;
                let name = match &subject.namespace {
                    Some(namespace) => format!("{namespace}/{}", subject.name),
                    None => subject.name.clone(),
                };
                format!("{} {name}", kind(subject.kind, columns.long_kinds))
            },
        );
        let told = known.billing.iter().flat_map(|billing| &billing.value.resources);
        let told = told.filter(|view| view.uid == row.uid && view.sequence == row.sequence);
        let after = told.map(|view| view.applied_at).find(|at| *at >= row.recorded_at);
        let after = after.map(|at| format!("billed after {}", describe::span(at.since(row.recorded_at))));
        let new = now.since(row.recorded_at) < NEW;
        let from = row.from.as_ref().map(|from| format!("{from} → ")).unwrap_or_default();
        let states = Text::new(DIM, from).and(emphasis(describe::style_of(&row.to), new), State::as_str(&row.to));
        let reason = row.reason.as_str();
        let costs = billable.map_or_else(String::new, |billable| match billable {
            Billable::ZERO => String::new(),
            billable => describe::billable(billable),
        });
        let time = row.recorded_at.to_jiff().strftime("%H:%M:%S.%3f").to_string();
        lines.push(
            Text::new(DIM, format!("{time}  "))
                .join(Text::new(emphasis(PLAIN, new), resource).left(columns.name))
                .and(PLAIN, "  ")
                .join(states.left(26))
                .and(PLAIN, "  ")
                .join(Text::plain(reason).left(18))
                .and(PLAIN, "  ")
                .join(Text::new(CALM, costs).left(columns.charge))
                .and(DIM, after.map(|after| format!("  {after}")).unwrap_or_default()),
        );
    }
    lines
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
