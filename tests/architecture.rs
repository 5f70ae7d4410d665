//! The rules between the modules, held by reading the source: who may use whom, and how long a file may be.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// For each module, the modules of this crate that it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("figures", &[]),
    ("api", &["domain"]),
    // The heart stays pure: plain data in, plain data out.
    ("lifecycle", &["api", "domain"]),
    ("ledger", &["domain"]),
    ("sinks", &["domain", "ledger"]),
    // Of Kubernetes, the outbox knows nothing.
    ("outbox", &["domain", "figures", "ledger", "sinks"]),
    ("receiver", &["domain", "sinks"]),
    ("backup", &["domain"]),
    ("cluster", &["api", "domain", "figures", "ledger", "lifecycle"]),
    ("telemetry", &["domain", "figures", "ledger", "outbox"]),
    // The only place where cluster, lifecycle and ledger meet.
    ("reconcile", &["api", "cluster", "domain", "ledger", "lifecycle", "outbox", "sinks", "telemetry"]),
];

/// Names of libraries that do I/O or read clocks: nothing that decides may see them.
const IMPURE: &[&str] =
    &["kube::Client", "kube::Api", "sqlx", "reqwest", "tokio", "tracing", "std::time::Instant", "SystemTime"];

/// What decides: folders and files of src/.
const PURE: &[&str] = &["lifecycle", "receiver/answer.rs", "receiver/envelope.rs", "receiver/inbox.rs"];

/// Of a source and of a test, in lines.
const LONGEST_FILE: usize = 500;

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The modules of this crate that a source names, wherever it does: in `use crate::{a, b::c}` or as `crate::a`.
fn used(source: &str) -> Vec<String> {
    let code: String =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut modules = vec![];
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => modules.push(word(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut start = true;
                for (at, character) in group.char_indices() {
                    match character {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        _ if start && !character.is_whitespace() => {
                            modules.push(word(&group[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    modules
}

fn word(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

#[test]
fn each_module_uses_only_what_it_may() {
    let mut broken = vec![];
    for (module, allowed) in MAY_USE {
        for path in sources(&src().join(module)) {
            let source = fs::read_to_string(&path).unwrap();
            for other in used(&source) {
                if other != *module
                    && MAY_USE.iter().any(|(known, _)| *known == other)
                    && !allowed.contains(&other.as_str())
                {
                    broken.push(format!("{} uses crate::{other}", path.strip_prefix(src()).unwrap().display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "the import rules are broken:\n{}", broken.join("\n"));
}

#[test]
fn every_module_has_a_rule() {
    let mut folders: Vec<String> = fs::read_dir(src())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name != "cli")
        .collect();
    folders.sort();
    let mut ruled: Vec<String> = MAY_USE.iter().map(|(name, _)| (*name).to_owned()).collect();
    ruled.sort();
    assert_eq!(folders, ruled, "cli uses everything; every other folder of src/ needs a rule here");
}

#[test]
fn nothing_that_decides_does_io_or_reads_a_clock() {
    let mut broken = vec![];
    let sources = PURE.iter().flat_map(|pure| match src().join(pure) {
        folder if folder.is_dir() => sources(&folder),
        file => vec![file],
    });
    for path in sources {
        let source = fs::read_to_string(&path).unwrap();
        for (number, line) in source.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            broken.extend(
                IMPURE
                    .iter()
                    .filter(|name| line.contains(**name))
                    .map(|name| format!("{}:{}: {name}", path.strip_prefix(src()).unwrap().display(), number + 1)),
            );
        }
    }
    assert!(broken.is_empty(), "what decides must stay pure:\n{}", broken.join("\n"));
}

#[test]
fn files_hold_one_idea() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let long: BTreeMap<_, _> = ["src", "tests", "benches"]
        .iter()
        .flat_map(|folder| sources(&root.join(folder)))
        .map(|path| (path.strip_prefix(root).unwrap().to_owned(), fs::read_to_string(&path).unwrap().lines().count()))
        .filter(|(_, lines)| *lines > LONGEST_FILE)
        .collect();
    assert!(long.is_empty(), "split by verb: {long:?}");
}

#[test]
fn the_crds_in_the_repository_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    for crd in trueup::api::crds() {
        let path = folder.join(format!("{}.yaml", crd.metadata.name.clone().unwrap()));
        let committed = fs::read_to_string(&path).unwrap_or_default();
        let wanted = serde_yaml::to_string(&crd).unwrap();
        assert!(committed == wanted, "{} differs from the types; run `make crds`", path.display());
    }
    assert_eq!(fs::read_dir(folder).unwrap().count(), trueup::api::crds().len());
}
