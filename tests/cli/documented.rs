//! What the documents tell people to type, typed as it stands: all of it that asks for no more than a ledger.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use clap::Parser as _;
use trueup::cli::Cli;

use super::{
    rig::{Answer, Rig},
    typing::{commands, of_trueup, typed},
};

/// What needs a cluster: tests/cluster/typed.rs types those.
const ELSEWHERE: [&str; 9] =
    ["controller", "receiver", "watch", "doctor", "audit", "pause", "resume", "detach", "attach"];
/// Those among `ledger`'s.
const ELSEWHERE_OF_LEDGER: [&str; 2] = ["recover", "adopt"];

fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") && !path.ends_with("reference/cli.md") {
            found.push(path);
        }
    }
}

/// Each command line of ours, with where it stands first.
fn documented() -> BTreeMap<Vec<String>, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = vec![root.join("README.md")];
    pages(&root.join("docs"), &mut paths);
    pages(&root.join("charts"), &mut paths);
    let mut found = BTreeMap::new();
    for path in paths {
        let place = path.strip_prefix(root).unwrap().display().to_string();
        for typed in typed(&place, &fs::read_to_string(&path).unwrap()) {
            for words in commands(&typed.command) {
                if let Some(words) = of_trueup(&words) {
                    found.entry(words.to_vec()).or_insert_with(|| typed.place.clone());
                }
            }
        }
    }
    found
}

/// Whether it asks for more than a ledger.
fn is_elsewhere(words: &[String]) -> bool {
    let at = |place: usize| words.get(place).map_or("", String::as_str);
    ELSEWHERE.contains(&at(1)) || (at(1) == "ledger" && ELSEWHERE_OF_LEDGER.contains(&at(2)))
}

/// The words as a person would type them: in place of what is left to the reader, something of the rig's, and folders in it for
/// those of the machine. `None` if more is left than that.
fn filled(rig: &Rig, words: &[String]) -> Option<Vec<String>> {
    let here = |name: &str| rig.folder.path().join(name).into_os_string().into_string().unwrap();
    let fill = |word: &String| match word.as_str() {
        "DIRECTORY" => Some(here("backups")),
        "FILE" => Some(here("backup.jsonl")),
        "FOLDER" => Some(here("pages")),
        "URL" => Some(format!("sqlite:{}", here("restored.db"))),
        path if path.starts_with('/') => Some(here(path.trim_start_matches('/'))),
        left if left.chars().any(|it| it.is_ascii_uppercase()) && !left.chars().any(|it| it.is_ascii_lowercase()) => {
            None
        }
        word => Some(word.to_owned()),
    };
    words[1..].iter().map(fill).collect()
}

/// Types it. Decisions are kept with who made them, and are asked about on a terminal, which no test has.
fn type_it(rig: &Rig, mut words: Vec<String>) -> Answer {
    for folder in ["backups", "pages", "tmp", "usr/local/share/man/man1"] {
        fs::create_dir_all(rig.folder.path().join(folder)).unwrap();
    }
    if words.iter().any(|word| word.ends_with("backup.jsonl")) {
        assert_eq!(rig.trueup(&["ledger", "backup", "backup.jsonl"]).code, 0);
    }
    if words.get(1).is_some_and(|word| ["retry", "void", "amend"].contains(&word.as_str())) {
        words.extend(["--as", "ann@desk", "--yes"].map(str::to_owned));
    }
    rig.trueup(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn what_the_documents_tell_people_to_type_does_what_it_should() {
    let (mut broken, mut done) = (vec![], BTreeSet::new());
    for (words, place) in documented() {
        // A command that is only named, as in "`trueup outbox retry` sends it again", is none.
        if is_elsewhere(&words) || Cli::try_parse_from(&words).is_err() {
            continue;
        }
        let rig = Rig::new();
        let Some(filled) = filled(&rig, &words) else { continue };
        let answer = type_it(&rig, filled);
        if answer.code != 0 {
            broken.push(format!("{place}: {}: {answer:?}", words.join(" ")));
        }
        done.insert(words[1..].iter().take(2).cloned().collect::<Vec<_>>().join(" "));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    for must in ["outbox retry", "outbox void", "outbox amend", "ledger restore", "state --at", "history appdeployment"]
    {
        assert!(done.contains(must), "{must} was not among those that were typed: {done:?}");
    }
}
