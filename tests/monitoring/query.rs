//! What a query names, held against what there is. Prometheus answers a misspelt metric with nothing, and an alert on nothing never
//! rings.

use std::collections::BTreeSet;

use trueup::figures;

/// Labels that whoever scrapes puts on every series.
const SCRAPED: [&str; 4] = ["job", "namespace", "instance", "pod"];

/// Everything that is wrong with the names in `query`; and in `shown`, the labels that are shown with what it answers.
pub fn wrong(query: &str, shown: &[String]) -> Vec<String> {
    let mut wrong = vec![];
    let mut known: BTreeSet<&str> = SCRAPED.into();
    let metrics: Vec<&str> =
        words(query).filter(|(word, _)| word.starts_with("trueup_")).map(|(word, _)| word).collect();
    if metrics.is_empty() {
        wrong.push("it asks for no metric".to_owned());
    }
    for metric in &metrics {
        match figures::all().find(|figure| figure.series().iter().any(|series| series == metric)) {
            Some(figure) => {
                known.extend(figure.labels.iter().map(|label| label.name));
                if metric.ends_with("_bucket") {
                    known.insert("le");
                }
            }
            None => wrong.push(format!("there is no {metric}")),
        }
    }
    let named = matchers(query).into_iter().chain(groups(query)).chain(shown.iter().map(String::as_str));
    wrong.extend(
        named.filter(|label| !known.contains(label)).map(|label| format!("none of its metrics has the label {label}")),
    );
    wrong
}

/// The words of a query, each with what follows it; what stands in quotes is none.
fn words(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let mut quoted = false;
    let mut starts = vec![];
    let mut before = ' ';
    for (at, character) in query.char_indices() {
        quoted ^= character == '"';
        if !quoted && is_word(character) && !is_word(before) && !character.is_ascii_digit() {
            starts.push(at);
        }
        before = character;
    }
    starts.into_iter().map(move |at| {
        let length = query[at..].find(|character| !is_word(character)).unwrap_or(query.len() - at);
        (&query[at..at + length], query[at + length..].trim_start())
    })
}

/// The labels that are matched.
fn matchers(query: &str) -> Vec<&str> {
    words(query).filter(|(_, rest)| rest.starts_with(['=', '!'])).map(|(word, _)| word).collect()
}

/// The labels that are grouped by.
fn groups(query: &str) -> Vec<&str> {
    let lists = words(query).filter(|(word, _)| matches!(*word, "by" | "without" | "on" | "ignoring"));
    let inside = lists.filter_map(|(_, rest)| rest.strip_prefix('(')?.split(')').next());
    inside.flat_map(|list| list.split(',')).map(str::trim).collect()
}

#[test]
fn a_query_that_names_what_is_not_there_is_found_out() {
    let none: [String; 0] = [];
    let right = "sum by (destination) (rate(trueup_outbox_deliveries_total{job=~\"$job\", ending!=\"a, b=c\"}[5m]))";
    assert_eq!(wrong(right, &["destination".to_owned()]), none);
    assert_eq!(wrong("histogram_quantile(0.9, sum by (le) (trueup_reconcile_seconds_bucket))", &[]), none);
    assert_eq!(wrong("max(trueup_outbox_lagg_seconds)", &[]), ["there is no trueup_outbox_lagg_seconds"]);
    assert_eq!(wrong("trueup_reconcile_seconds", &[]), ["there is no trueup_reconcile_seconds"]);
    assert_eq!(wrong("up", &[]), ["it asks for no metric"]);
    let label = |label: &str| vec![format!("none of its metrics has the label {label}")];
    assert_eq!(wrong("trueup_leader{tenant=\"acme\"}", &[]), label("tenant"));
    assert_eq!(wrong("max by (destinations) (trueup_outbox_lag_seconds)", &[]), label("destinations"));
    assert_eq!(wrong("trueup_leader", &["version".to_owned()]), label("version"));
}
