//! What the documents tell people to type.

use std::fs;

use clap::{CommandFactory as _, error::ErrorKind};
use serde_yaml::Value;
use trueup::cli::Cli;

use crate::{Page, pages, root};

/// Something to type.
struct Typed {
    place: String,
    command: String,
    /// It stands alone, to be copied; otherwise it is a part of a sentence, and need not be whole.
    whole: bool,
}

/// Everything in `page` that looks like a command: lines of code, and what stands between backquotes.
fn typed(page: &Page) -> Vec<Typed> {
    let mut found = vec![];
    let mut fence: Option<String> = None;
    for (number, line) in page.text.lines().enumerate() {
        let mut add = |command: &str, whole| {
            found.push(Typed { place: format!("{}:{}", page.path, number + 1), command: command.to_owned(), whole });
        };
        if let Some(language) = line.trim_start().strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(language.to_owned()) };
        } else if let Some(language) = &fence {
            if matches!(language.as_str(), "" | "sh" | "console") {
                add(line.trim(), true);
            }
        } else if line.starts_with("    ") {
            add(line.trim(), true);
        } else {
            line.split('`').skip(1).step_by(2).for_each(|code| add(code.trim(), false));
        }
    }
    found
}

/// The commands of a line of shell, each as its words; `None` where a word ends in a way that only a shell knows.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![vec![]];
    let (mut word, mut quote, mut started) = (String::new(), None, false);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(mark), _) if character == mark => quote = None,
            (None, '\'' | '"') => (quote, started) = (Some(character), true),
            (None, ' ') => {
                if started {
                    commands.last_mut().unwrap().push(std::mem::take(&mut word));
                }
                started = false;
            }
            // What follows is read by nobody, goes to a file, or is another command.
            (None, '#' | '<' | '>') if !started => break,
            (None, '|' | ';' | '&') if !started => {
                if characters.peek() == Some(&character) {
                    characters.next();
                }
                commands.push(vec![]);
            }
            _ => (word, started) = (word + &character.to_string(), true),
        }
    }
    if started {
        commands.last_mut().unwrap().push(word);
    }
    commands.retain(|words| !words.is_empty());
    commands
}

/// The words from `trueup` on, wherever it is run.
fn of_trueup(words: &[String]) -> Option<&[String]> {
    match words[0].as_str() {
        "trueup" => Some(words),
        "kubectl" => {
            let inside = words.iter().position(|word| word == "--")? + 1;
            (words.contains(&"exec".to_owned()) && words.get(inside).is_some_and(|it| it == "trueup"))
                .then(|| &words[inside..])
        }
        _ => None,
    }
}

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
    for typed in pages().iter().flat_map(typed) {
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
    for typed in pages().iter().flat_map(typed) {
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
