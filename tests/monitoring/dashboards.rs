//! The dashboards: each panel asks for what is there, in a language that Prometheus understands.

use std::{collections::BTreeSet, fmt::Write as _, fs, process::Command};

use serde_json::Value;

use crate::{promtool, query::wrong, root};

/// Each dashboard with its file's name.
fn dashboards() -> Vec<(String, Value)> {
    let files = fs::read_dir(root().join("charts/trueup/files/dashboards")).unwrap();
    let read = |file: std::io::Result<fs::DirEntry>| {
        let file = file.unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        (file.file_name().into_string().unwrap(), serde_json::from_str(&text).unwrap())
    };
    files.map(read).collect()
}

/// Each query, with where it stands and the labels that its legend shows.
fn queries() -> Vec<(String, String, Vec<String>)> {
    let mut queries = vec![];
    for (file, dashboard) in dashboards() {
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                let legend = target["legendFormat"].as_str().unwrap();
                let shown = legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap().trim().to_owned());
                let place = format!("{file}, {}", panel["title"].as_str().unwrap());
                queries.push((place, target["expr"].as_str().unwrap().to_owned(), shown.collect()));
            }
        }
    }
    queries
}

#[test]
fn panels_ask_for_metrics_and_labels_that_there_are() {
    for (place, query, shown) in queries() {
        let found = wrong(&query, &shown);
        assert!(found.is_empty(), "{place}: {found:?} in {query}");
    }
}

#[test]
fn the_page_of_the_dashboards_has_every_panel_and_what_it_asks() {
    let page = fs::read_to_string(root().join("docs/reference/dashboards.md")).unwrap();
    for (place, query, _) in queries() {
        let title = place.split_once(", ").unwrap().1;
        let row = format!("| {title} | `{}` |", query.replace('|', "\\|"));
        assert!(page.contains(&row), "docs/reference/dashboards.md lacks {row}");
    }
}

#[test]
fn every_metric_is_on_some_dashboard() {
    let queries: String = queries().into_iter().map(|(_, query, _)| query + "\n").collect();
    for figure in trueup::figures::all() {
        assert!(figure.series().iter().any(|series| queries.contains(series.as_str())), "{} is nowhere", figure.name);
    }
}

#[test]
fn dashboards_and_panels_can_be_told_apart() {
    let (mut uids, mut titles) = (BTreeSet::new(), BTreeSet::new());
    for (file, dashboard) in dashboards() {
        assert!(uids.insert(dashboard["uid"].to_string()) && titles.insert(dashboard["title"].to_string()), "{file}");
        let ids: BTreeSet<_> =
            dashboard["panels"].as_array().unwrap().iter().map(|panel| panel["id"].to_string()).collect();
        assert_eq!(ids.len(), dashboard["panels"].as_array().unwrap().len(), "{file}: panels share an id");
    }
}

#[test]
fn panels_do_not_cover_each_other() {
    for (file, dashboard) in dashboards() {
        let mut taken = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
            assert!(side("x") + side("w") <= 24, "{file}, {}: it is wider than the page", panel["title"]);
            for x in side("x")..side("x") + side("w") {
                for y in side("y")..side("y") + side("h") {
                    assert!(taken.insert((x, y)), "{file}, {}: it covers another panel", panel["title"]);
                }
            }
        }
    }
}

#[test]
fn prometheus_understands_every_query() {
    let mut rules = "groups:\n  - name: queries\n    rules:\n".to_owned();
    for (number, (_, query, _)) in queries().into_iter().enumerate() {
        let query = query.replace("$__rate_interval", "5m");
        writeln!(rules, "      - {{ record: 'query:{number}', expr: '{query}' }}").unwrap();
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), rules).unwrap();
    let said = Command::new(promtool()).args(["check", "rules"]).arg(file.path()).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}
