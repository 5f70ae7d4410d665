//! The lines of the view in their columns: cluster, ledger and billing side by side. Pure.

use std::time::Duration;

use anstyle::{Ansi256Color, Color, Style};

use super::view::{AtBilling, Everything, InCluster, InLedger, Line, Mark, Readiness};
use crate::{
    cli::{
        describe,
        text::{BAD, BOLD, BUSY, CALM, DIM, GOOD, PLAIN, Text},
    },
    domain::{Billable, Kind, Timestamp},
};

/// What changed within this time is set off.
pub const NEW: Duration = Duration::from_secs(2);
/// Between the cluster, the ledger and billing.
const RULE: &str = " │ ";
/// A state's width: `Provisioning`.
const STATE: usize = 12;
/// Pods: `10/10`.
const PARTS: usize = 5;
/// A sign, a state and pods.
const CLUSTER: usize = 2 + STATE + 1 + PARTS;
/// What is charged: `2 × 100m / 128Mi`, or `2×100m/128Mi` where there is little room.
pub const CHARGE: usize = 17;
const TIGHT_CHARGE: usize = 13;
/// The narrowest that a resource's name is cut to.
const NARROWEST: usize = 16;

pub const HEADING: Style = Style::new().bold().fg_color(Some(Color::Ansi256(Ansi256Color(250))));

/// How wide the columns are.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    pub name: usize,
    sequence: usize,
    /// Whether billing's own word for the state has room.
    billing_state: bool,
    charge: usize,
    /// Columns stand apart, and words are written out.
    pub wide: bool,
    /// Who does not answer: what it said last is shown dimmed.
    stale: Stale,
}

#[derive(Clone, Copy, Debug, Default)]
struct Stale {
    cluster: bool,
    ledger: bool,
    billing: bool,
}

impl Stale {
    fn of(known: &Everything) -> Self {
        Self {
            cluster: known.cluster.trouble.is_some(),
            ledger: known.ledger.as_ref().is_some_and(|ledger| ledger.trouble.is_some()),
            billing: known.billing.as_ref().is_some_and(|billing| billing.trouble.is_some()),
        }
    }
}

fn dimmed(text: Text, stale: bool) -> Text {
    if stale { text.all(DIM) } else { text }
}

impl Columns {
    pub fn fit(width: usize, all: &[Line], known: &Everything) -> Self {
        let stale = Stale::of(known);
        let sequence = all.iter().map(digits).max().unwrap_or(0).max(3);
        let of = |wide: bool| {
            let longest = all.iter().map(|line| name(line, wide).width()).max().unwrap_or(0).max(NARROWEST);
            let charge = if wide { CHARGE } else { TIGHT_CHARGE };
            Self { name: longest, sequence, billing_state: true, charge, wide, stale }
        };
        let mut columns = of(true);
        if columns.width() > width {
            columns = of(false);
        }
        let longest = columns.name;
        if columns.width() > width {
            // A few characters of the longest name are worth less than a column.
            let short = width.saturating_sub(columns.width() - columns.name);
            columns.billing_state = short + 4 >= longest;
        }
        let others = columns.width() - columns.name;
        columns.name = longest.min(width.saturating_sub(others)).max(NARROWEST);
        // What is left over goes where words may be long: the storage of a backup, say.
        columns.charge += width.saturating_sub(columns.width());
        columns
    }

    /// Between two columns of one group.
    const fn gap(self) -> usize {
        if self.wide { 2 } else { 1 }
    }

    /// The mark and the blanks behind it.
    const fn mark(self) -> usize {
        if self.wide { 4 } else { 3 }
    }

    const fn ledger(self) -> usize {
        self.sequence + self.gap() + STATE
    }

    const fn billing(self) -> usize {
        let state = if self.billing_state { STATE + self.gap() } else { 0 };
        self.sequence + self.gap() + state + self.charge
    }

    const fn width(self) -> usize {
        self.mark() + self.name + 3 + CLUSTER + 3 + self.ledger() + 3 + self.billing()
    }

    pub fn titles(self, known: &Everything) -> [Text; 3] {
        let ledger = if known.ledger.is_some() { "recorded" } else { "by status" };
        let billing = if known.told().is_some() { "applied" } else { "acknowledged" };
        let group = |title: &str, about: &str, width: usize| {
            Text::new(HEADING, title).and(DIM, format!(" {about}")).left(width)
        };
        let rule = || Text::new(DIM, RULE);
        let first = Text::plain(" ".repeat(self.mark() + self.name))
            .join(rule())
            .join(group("CLUSTER", "shows", CLUSTER))
            .join(rule())
            .join(group("LEDGER", ledger, self.ledger()))
            .join(rule())
            .join(group("BILLING", billing, self.billing()));
        let dim = |text: &str, width: usize| Text::new(DIM, text).left(width);
        let gap = " ".repeat(self.gap());
        let number = |text: &str| Text::new(DIM, text).right(self.sequence).and(PLAIN, &gap);
        let mut second = Text::plain(" ".repeat(self.mark()))
            .join(dim("resource", self.name))
            .join(rule())
            .join(dim("  state", 2 + STATE + 1))
            .join(Text::new(DIM, "pods").right(PARTS))
            .join(rule())
            .join(number("seq"))
            .join(dim("state", STATE))
            .join(rule())
            .join(number("seq"));
        if self.billing_state {
            second = second.join(dim("state", STATE + self.gap()));
        }
        let second = second.join(dim("charged for", self.charge));
        let line = |width: usize| "─".repeat(width);
        let third = Text::new(
            DIM,
            format!(
                "{}┼{}┼{}┼{}",
                line(self.mark() + self.name + 1),
                line(CLUSTER + 2),
                line(self.ledger() + 2),
                line(self.billing() + 1)
            ),
        );
        [first, second, third]
    }

    /// The lines, or as many as there is room for: those that somebody should see first.
    pub fn body(self, all: &[Line], room: Option<usize>, now: Timestamp) -> Vec<Text> {
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
            .left(self.mark())
            .join(name(line, self.wide).left(self.name))
            .join(rule())
            .join(dimmed(in_cluster(line.cluster.as_ref(), line.gone), self.stale.cluster).left(CLUSTER))
            .join(rule())
            .join(dimmed(self.in_ledger(line.ledger.as_ref(), now), self.stale.ledger).left(self.ledger()))
            .join(rule())
            .join(dimmed(self.at_billing(line, now), self.stale.billing).left(self.billing()));
        if line.gone && line.mark == Mark::InStep { text.all(DIM) } else { text }
    }

    fn in_ledger(self, ledger: Option<&InLedger>, now: Timestamp) -> Text {
        let Some(InLedger { sequence, state, recorded_at }) = ledger else {
            return Text::new(DIM, "·").right(self.sequence);
        };
        let new = recorded_at.is_some_and(|at| now.since(at) < NEW);
        Text::new(emphasis(PLAIN, new), sequence.to_string())
            .right(self.sequence)
            .and(PLAIN, " ".repeat(self.gap()))
            .and(emphasis(describe::style_of(state), new), state.as_str())
    }

    fn at_billing(self, line: &Line, now: Timestamp) -> Text {
        let Some(billing) = &line.billing else { return Text::new(DIM, "·").right(self.sequence) };
        let new = billing.applied_at.is_some_and(|at| now.since(at) < NEW);
        let late = line.ledger.as_ref().is_some_and(|ledger| ledger.sequence > billing.sequence);
        let number = if late { BUSY } else { emphasis(PLAIN, new) };
        let mut text = Text::new(number, billing.sequence.to_string()).right(self.sequence);
        text = text.and(PLAIN, " ".repeat(self.gap()));
        if self.billing_state {
            text = text.join(
                match &billing.state {
                    Some(state) => Text::new(emphasis(describe::style_of(state), new), state.as_str()),
                    None => Text::new(DIM, "·"),
                }
                .left(STATE + self.gap()),
            );
        }
        text.join(charge(billing, self.wide))
    }
}

pub fn emphasis(style: Style, new: bool) -> Style {
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
fn name(line: &Line, wide: bool) -> Text {
    let kind = kind(line.kind, wide);
    let indent = if wide { "  " } else { " " };
    let (indent, style) = if line.kind == Kind::Tenant { ("", BOLD) } else { (indent, PLAIN) };
    let name = describe::name(line.namespace.as_deref(), &line.name);
    Text::new(DIM, format!("{indent}{kind} ")).and(style, name)
}

pub const fn kind(kind: Kind, long: bool) -> &'static str {
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

fn charge(billing: &AtBilling, wide: bool) -> Text {
    match billing.billable {
        None => Text::new(DIM, "·"),
        Some(Billable::ZERO) => Text::new(DIM, "nothing"),
        Some(billable) if wide => Text::new(CALM, describe::billable(billable)),
        Some(billable) => Text::new(CALM, describe::billable_tightly(billable)),
    }
}
