//! The book's table of contents.

use std::collections::BTreeSet;

use crate::{links::links, pages, root};

#[test]
fn every_page_of_the_book_is_in_its_contents_once() {
    let contents = std::fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let listed = links(&contents);
    let once: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(once.len(), listed.len(), "a page is listed twice");
    let there: BTreeSet<_> = pages()
        .iter()
        .filter_map(|page| page.path.strip_prefix("docs/").map(str::to_owned))
        .filter(|path| path != "SUMMARY.md")
        .collect();
    let (missing, gone): (Vec<_>, Vec<_>) = (there.difference(&once).collect(), once.difference(&there).collect());
    assert!(missing.is_empty(), "docs/SUMMARY.md lacks {missing:?}");
    assert!(gone.is_empty(), "docs/SUMMARY.md lists {gone:?}, which are not there");
}

#[test]
fn every_page_begins_with_what_it_is_about() {
    for page in pages().iter().filter(|page| page.path.starts_with("docs/")) {
        assert!(page.text.starts_with("# "), "{} has no heading", page.path);
    }
}
