//! Whether what the documents tell people to type can be typed.

use std::fs;

use clap::{CommandFactory as _, error::ErrorKind};
use serde_yaml::Value;
use trueup::cli::Cli;

use crate::{
    pages, root,
    typing::{commands, of_trueup, typed},
};

/// A place for something of the reader's: `NAME`, `TIME`.
fn is_placeholder(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|it| it.is_ascii_uppercase() || it == '_')
}

/// What is wrong with a command line of ours, if anything.
fn wrong(words: &[String], whole: bool) -> Option<String> {
    if words.iter().any(|word| word.contains("...") || word.contains('…') || word == "[OPTIONS]") {
        return None;
    }
    let error = Cli::command().try_get_matches_from(words).err()?;
    let fine = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => !whole,
        // A placeholder is no time and no number.
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => words.iter().any(|word| is_placeholder(word)),
        _ => false,
    };
    (!fine).then(|| error.to_string())
}

#[test]
fn every_command_line_of_ours_can_be_typed() {
    let mut broken = vec![];
    let mut count = 0;
    for typed in pages().iter().flat_map(|page| typed(&page.path, &page.text)) {
        for words in commands(&typed.command) {
            if let Some(words) = of_trueup(&words) {
                count += 1;
                broken
                    .extend(wrong(words, typed.whole).map(|why| format!("{}: {}\n{why}", typed.place, typed.command)));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(count > 100, "only {count} were found");
}

#[test]
fn a_command_line_that_cannot_be_typed_is_found_out() {
    let judge = |line: &str, whole| commands(line).iter().filter_map(|words| wrong(of_trueup(words)?, whole)).count();
    assert_eq!(judge("trueup history appdeployment web -n acme-prod --since 3d | less", true), 0);
    assert_eq!(judge("kubectl -n trueup-system exec -it svc/trueup -- trueup outbox parked", true), 0);
    assert_eq!(judge("trueup state --at TIME", true), 0);
    assert_eq!(judge("trueup outbox void", false), 0);
    assert_eq!(judge("trueup outbox void", true), 1);
    assert_eq!(judge("trueup outbox skip", false), 1);
    assert_eq!(judge("trueup audit --fast", false), 1);
    assert_eq!(judge("sleep 1 && kubectl exec svc/trueup -- trueup audit --fast", false), 1);
}

#[test]
fn files_targets_and_values_in_command_lines_are_there() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let values: Value =
        serde_yaml::from_str(&fs::read_to_string(root().join("charts/trueup/values.yaml")).unwrap()).unwrap();
    let mut broken = vec![];
    for typed in pages().iter().flat_map(|page| typed(&page.path, &page.text)) {
        for words in commands(&typed.command) {
            let mut complain = |why: String| broken.push(format!("{}: {}: {why}", typed.place, typed.command));
            for word in &words {
                let ours =
                    ["charts/", "crds/", "examples/", "hack/", "tests/"].iter().any(|folder| word.starts_with(folder));
                if ours && !word.contains(['*', '$', '{', '…']) && !root().join(word.trim_end_matches(',')).exists() {
                    complain(format!("there is no {word}"));
                }
            }
            if let ["make", target] = words.iter().map(String::as_str).collect::<Vec<_>>()[..]
                && !makefile.lines().any(|line| line.starts_with(&format!("{target}:")))
                && target != "bench-*"
            {
                complain(format!("make knows no {target}"));
            }
            if words[0] == "helm" {
                for pair in words.windows(2).filter(|pair| pair[0] == "--set") {
                    let key = pair[1].split('=').next().unwrap();
                    if key.split('.').try_fold(&values, |at, part| at.get(part)).is_none() {
                        complain(format!("the chart has no value {key}"));
                    }
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
