//! Saying what an audit found.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    cli::{
        Failure, describe,
        reading::{self, Output},
        text::{BAD, BOLD, BUSY, DIM, GOOD, PLAIN, Text},
    },
    domain::Uid,
    ledger::{
        Report, Store,
        invariants::{Place, Violation},
    },
};

/// How many violations a person is shown.
const SHOWN: usize = 50;

/// What resources are called.
#[derive(Default)]
pub struct Names(BTreeMap<Uid, String>);

impl Names {
    /// Asks the ledger what the resources in `report` are called; `known` are called so elsewhere.
    pub async fn look_up(store: &dyn Store, report: &Report, known: BTreeMap<Uid, String>) -> Self {
        let mut names = known;
        for uid in report.violations.iter().filter_map(|violation| violation.place.uid()) {
            // Whoever cannot be named is called by its UID.
            if !names.contains_key(uid)
                && let Ok(Some(head)) = store.head(uid).await
            {
                let subject = head.subject;
                let name = describe::resource(subject.kind, subject.namespace.as_deref(), &subject.name);
                names.insert(uid.clone(), name);
            }
        }
        Self(names)
    }

    fn of(&self, place: &Place) -> Option<&str> {
        self.0.get(place.uid()?).map(String::as_str)
    }
}

/// Writes the answer; a failure if anything is wrong.
pub fn tell(report: &Report, names: &Names, notes: &[String], output: Output) -> Result<(), Failure> {
    let verdict = verdict(report);
    match output {
        Output::Table => {
            let mut lines = violations(report, names);
            lines.extend(notes.iter().map(|note| Text::new(BUSY, "note: ").and(PLAIN, note)));
            lines.push(Text::new(if report.is_clean() { GOOD } else { BAD }, &verdict));
            reading::emit(&lines);
        }
        Output::Json => {
            reading::emit_json(&to_json(report, names, notes))?;
            eprintln!("{verdict}");
        }
    }
    if report.is_clean() { Ok(()) } else { Err(Failure::reported()) }
}

/// The last line, which scripts look for.
fn verdict(report: &Report) -> String {
    let Report { resources, transitions, deliveries, violated, .. } = report;
    let seen = format!("({resources} resources, {transitions} transitions, {deliveries} deliveries)");
    match violated {
        0 => format!("audit: all invariants hold {seen}"),
        _ => format!("audit: {violated} violations {seen}"),
    }
}

fn violations(report: &Report, names: &Names) -> Vec<Text> {
    let mut lines = vec![];
    for Violation { invariant, place, found, expected } in report.violations.iter().take(SHOWN) {
        let title = Text::new(BAD, invariant.as_str());
        lines.push(match (names.of(place), place) {
            (Some(name), Place::Stream(uid, sequence)) => {
                title.and(BOLD, format!("  {name}")).and(DIM, format!("  sequence {sequence}  uid {uid}"))
            }
            (Some(name), Place::Lane(destination, uid)) => {
                title.and(BOLD, format!("  {name}")).and(DIM, format!("  lane to {destination}  uid {uid}"))
            }
            (Some(name), Place::Object(uid)) => title.and(BOLD, format!("  {name}")).and(DIM, format!("  uid {uid}")),
            _ => title.and(BOLD, format!("  {place}")),
        });
        lines.push(Text::new(DIM, "    found     ").and(PLAIN, found));
        lines.push(Text::new(DIM, "    expected  ").and(PLAIN, expected));
    }
    let shown = u64::try_from(report.violations.len().min(SHOWN)).unwrap_or(0);
    if report.violated > shown {
        let more = describe::grouped(report.violated - shown);
        lines.push(Text::new(DIM, format!("… and {more} more; -o json lists up to 1,000")));
    }
    lines
}

fn to_json(report: &Report, names: &Names, notes: &[String]) -> Value {
    let violations: Vec<Value> = report
        .violations
        .iter()
        .map(|violation| {
            let sequence = match &violation.place {
                Place::Stream(_, sequence) => Some(sequence),
                _ => None,
            };
            json!({
                "invariant": violation.invariant.as_str(),
                "resource": names.of(&violation.place),
                "uid": violation.place.uid(),
                "sequence": sequence,
                "place": violation.place.to_string(),
                "found": violation.found,
                "expected": violation.expected,
            })
        })
        .collect();
    json!({
        "holds": report.is_clean(),
        "resources": report.resources,
        "transitions": report.transitions,
        "deliveries": report.deliveries,
        "violated": report.violated,
        "violations": violations,
        "notes": notes,
    })
}
