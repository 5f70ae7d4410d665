//! The page that lists every figure, for people.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{Descriptor, SECTIONS, Shape, ShownBy, Unit, all};

const OPENING: &str = "# Metrics

<!-- Printed by `trueup metrics`; a test compares it. -->

Every replica serves them at `/metrics`, port 8080. Some are the leader's alone: a standby shows them without series or at zero, so
take `max` over the replicas, as the [alerts](../runbooks/README.md) do. Counters begin at zero with the process. The tables below are printed by
the program itself: `trueup metrics`.
";

/// The reference in Markdown.
pub fn reference() -> String {
    let mut page = OPENING.to_owned();
    for section in SECTIONS {
        let shown_by = match section.shown_by {
            ShownBy::Leader => "The leader's.",
            ShownBy::Everyone => "Of each replica.",
        };
        let _ =
            write!(page, "\n## {}\n\n{shown_by}\n\n| metric | type | labels | |\n|---|---|---|---|\n", section.title);
        for figure in section.figures {
            let labels: Vec<_> = figure.labels.iter().map(|label| format!("`{}`", label.name)).collect();
            let (name, kind) = (figure.name, kind(figure));
            let _ = writeln!(page, "| `{name}` | {kind} | {} | {} |", labels.join(", "), figure.help);
        }
    }
    page.push_str("\n## Labels\n\n| label | values | at most |\n|---|---|---|\n");
    let labels: BTreeSet<_> = all().flat_map(|figure| figure.labels).collect();
    for label in labels {
        let _ = writeln!(page, "| `{}` | {} | {} |", label.name, label.values, label.bound);
    }
    page
}

fn kind(figure: &Descriptor) -> &'static str {
    match (figure.shape, figure.unit) {
        (Shape::Counter, _) => "counter",
        (Shape::Gauge, Unit::Seconds) => "gauge, seconds",
        (Shape::Gauge, Unit::Bytes) => "gauge, bytes",
        (Shape::Gauge, Unit::Flag) => "gauge, 1 or 0",
        (Shape::Gauge, Unit::Count) => "gauge",
        (Shape::Histogram(_), Unit::Seconds) => "histogram, seconds",
        (Shape::Histogram(_), _) => "histogram",
    }
}
