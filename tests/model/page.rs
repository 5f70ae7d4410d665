//! docs/reliability/model.md says what is checked, and what each step stands for. It must not say what is no longer so.

use std::{fs, path::Path};

use stateright::Model;

use super::{ALL_AT_ONCE, protocol::Protocol};

fn read(path: &str) -> String {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&whole).unwrap_or_else(|why| panic!("docs/reliability/model.md names {path}: {why}"))
}

/// The page.
pub fn page() -> String {
    read("docs/reliability/model.md")
}

/// What stands between backticks in the rows of tables, row by row.
fn quoted(page: &str) -> Vec<Vec<&str>> {
    page.lines().filter(|line| line.starts_with('|')).map(|line| line.split('`').skip(1).step_by(2).collect()).collect()
}

/// A number as people read it.
pub fn grouped(number: usize) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1_000), number % 1_000),
    }
}

#[test]
fn every_step_stands_for_functions_that_exist() {
    let page = page();
    let mut missing = vec![];
    for row in quoted(&page).iter().filter(|row| row.len() > 1) {
        for place in row[1..].chunks(2) {
            let [path, function] = place else { panic!("a path, then a function: {place:?}") };
            let source = read(path);
            let is_there = ["(", "<"].iter().any(|next| source.contains(&format!("fn {function}{next}")));
            missing.extend((!is_there).then(|| format!("{path} has no function {function}")));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn the_page_names_every_step_and_no_other() {
    let source = read("tests/model/protocol.rs");
    let after = source.split("pub enum Action {").nth(1).unwrap();
    let steps = after.split('}').next().unwrap().lines();
    let mut steps: Vec<_> =
        steps.filter_map(|line| line.trim().split(['(', ',']).next()).filter(|it| !it.is_empty()).collect();
    let page = page();
    let mut named: Vec<_> = quoted(&page).into_iter().filter_map(|row| row.first().copied()).collect();
    steps.sort_unstable();
    named.sort_unstable();
    assert_eq!(named, steps);
}

#[test]
fn the_page_names_every_property() {
    let page = page();
    for property in Protocol::new(None, ALL_AT_ONCE).properties() {
        let Some((name, _)) = property.name.split_once(':') else { continue };
        assert!(page.contains(&format!("| {name} |")), "the page does not tell of {}", property.name);
    }
}
