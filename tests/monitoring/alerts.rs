//! The alerts: each asks for what is there, leads to a page, and was tried.

use std::{collections::BTreeSet, fs, process::Command};

use serde_yaml::Value;

use crate::{promtool, query::wrong, root};

const RULES: &str = "charts/trueup/files/alerts.yaml";

fn rules() -> Vec<Value> {
    let text = fs::read_to_string(root().join(RULES)).unwrap();
    let file: Value = serde_yaml::from_str(&text).unwrap();
    let groups = file["groups"].as_sequence().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_sequence().unwrap().clone()).collect()
}

fn names() -> BTreeSet<String> {
    rules().iter().map(|rule| rule["alert"].as_str().unwrap().to_owned()).collect()
}

/// The tests' files.
fn tests() -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(root().join("tests/alerts")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

/// The labels that a text shows, as `{{ $labels.tenant }}` does.
fn shown(text: &str) -> Vec<String> {
    let after = text.split("$labels.").skip(1);
    after.map(|rest| rest.chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect()).collect()
}

#[test]
fn alerts_ask_for_metrics_and_labels_that_there_are() {
    for rule in rules() {
        let annotations = serde_yaml::to_string(&rule["annotations"]).unwrap();
        let found = wrong(rule["expr"].as_str().unwrap(), &shown(&annotations));
        assert!(found.is_empty(), "{}: {found:?}", rule["alert"].as_str().unwrap());
    }
}

#[test]
fn each_alert_says_how_bad_it_is_and_leads_to_a_page_that_speaks_of_it() {
    let mut pages = BTreeSet::new();
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap();
        assert!(["critical", "warning", "info"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
        for part in ["summary", "description"] {
            assert!(rule["annotations"][part].as_str().is_some_and(|text| !text.is_empty()), "{name} has no {part}");
        }
        let page = rule["annotations"]["runbook"].as_str().unwrap();
        let text = fs::read_to_string(root().join(page)).unwrap_or_default();
        assert!(text.contains(&format!("`{name}`")), "{page} says nothing of {name}");
        pages.insert(page.to_owned());
    }
    let folder = fs::read_dir(root().join("docs/runbooks")).unwrap();
    let there = folder.map(|file| format!("docs/runbooks/{}", file.unwrap().file_name().to_str().unwrap()));
    let there: BTreeSet<_> = there.filter(|page| !page.ends_with("/README.md")).collect();
    assert_eq!(there, pages, "each page is some alert's, and each alert has one");
}

#[test]
fn each_alert_is_seen_to_ring_and_to_keep_quiet() {
    for name in names() {
        let tests: Vec<Value> =
            tests().iter().map(|file| serde_yaml::from_str(&fs::read_to_string(file).unwrap()).unwrap()).collect();
        let tried = tests.iter().flat_map(|file| file["tests"].as_sequence().unwrap());
        let tried = tried.flat_map(|test| test["alert_rule_test"].as_sequence().unwrap());
        let (mut rang, mut kept_quiet) = (false, false);
        for test in tried.filter(|test| test["alertname"] == name.as_str()) {
            let expected = test["exp_alerts"].as_sequence().unwrap().len();
            rang |= expected > 0;
            kept_quiet |= expected == 0;
        }
        assert!(rang && kept_quiet, "{name} is tested to ring: {rang}, to keep quiet: {kept_quiet}");
    }
}

#[test]
fn prometheus_agrees_with_the_alerts_and_their_tests() {
    let promtool = promtool();
    let run = |words: &[&str], files: Vec<std::path::PathBuf>| {
        let said = Command::new(&promtool).args(words).args(files).output().unwrap();
        let text = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "{text}");
    };
    run(&["check", "rules", "--lint-fatal"], vec![root().join(RULES)]);
    run(&["test", "rules"], tests());
}
