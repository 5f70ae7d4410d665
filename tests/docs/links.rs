//! Links.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{Page, pages, root};

/// What a page links to, as it is written; code is left out.
pub fn links(text: &str) -> Vec<String> {
    let mut found = vec![];
    let mut fenced = false;
    let mut prose = String::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if !fenced && !line.starts_with("    ") {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    // Between backquotes is code.
    let prose: String = prose.split('`').step_by(2).collect::<Vec<_>>().join("code");
    for (at, _) in prose.match_indices("](") {
        if let Some(target) = prose[at + 2..].split(')').next() {
            found.push(target.to_owned());
        }
    }
    found
}

/// What a heading is linked to by.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if !fenced && line.starts_with('#') {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|it| it.is_alphanumeric() || [' ', '-', '_'].contains(it));
            anchors.insert(kept.map(|it| if it == ' ' { '-' } else { it }).collect());
        }
    }
    anchors
}

/// What is wrong with the links of `page`.
fn broken(page: &Page) -> Vec<String> {
    let folder = Path::new(&page.path).parent().unwrap();
    let mut broken = vec![];
    for link in links(&page.text) {
        if link.contains("://") || link.starts_with("mailto:") {
            continue;
        }
        let (file, anchor) = link.split_once('#').map_or((link.as_str(), None), |(file, anchor)| (file, Some(anchor)));
        let target = if file.is_empty() { root().join(&page.path) } else { root().join(folder).join(file) };
        if !target.exists() {
            broken.push(format!("{}: {link} leads nowhere", page.path));
        } else if let Some(anchor) = anchor
            && !anchors(&if file.is_empty() { page.text.clone() } else { fs::read_to_string(target).unwrap() })
                .contains(anchor)
        {
            broken.push(format!("{}: {link} has no such heading", page.path));
        }
    }
    broken
}

#[test]
fn no_link_leads_nowhere() {
    let broken: Vec<_> = pages().iter().flat_map(broken).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn a_link_that_leads_nowhere_is_found_out() {
    let page = |text: &str| Page { path: "docs/sinks.md".into(), text: text.into() };
    assert_eq!(broken(&page("[a](receiving.md), [b](https://example.com), `[c](d)`")), [""; 0]);
    assert_eq!(broken(&page("[a](receive.md)")), ["docs/sinks.md: receive.md leads nowhere"]);
    assert_eq!(broken(&page("[a](receiving.md#nothing)")), ["docs/sinks.md: receiving.md#nothing has no such heading"]);
    assert_eq!(broken(&page("## One & all\n[a](#one--all)")), [""; 0]);
}
