//! The patches of this folder are deliberate mistakes in the code; `make mutations` makes each of them and expects the tests that it
//! names to fail. That takes a build, so here is only checked that the patches still say what is so.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of it is a test")]

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Fewer would not be a check of the tests as a whole.
const AT_LEAST: usize = 50;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The patches by name, in the order in which they are applied; `switch` is what the others need.
fn patches() -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(root().join("tests/mutations"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "patch"))
        .collect();
    paths.sort();
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

fn mistakes() -> impl Iterator<Item = (String, String)> {
    patches().into_iter().filter(|(name, _)| name != "switch")
}

/// What a patch says in its header under `word`.
fn said<'a>(patch: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    let header = patch.split("diff --git").next().unwrap_or_default();
    header.lines().filter_map(move |line| line.strip_prefix(word))
}

fn sources(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.push_str(&sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
    all
}

#[test]
fn all_patches_apply_one_after_another() {
    let mut git = Command::new("git")
        .args(["apply", "--check", "--unidiff-zero"])
        .current_dir(root())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("git is installed");
    let all: String = patches().into_iter().map(|(_, patch)| patch).collect();
    git.stdin.take().unwrap().write_all(all.as_bytes()).unwrap();
    let checked = git.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "write these patches of tests/mutations anew against the code as it is:\n{said}");
}

#[test]
fn each_patch_makes_the_mistake_that_it_is_called_after() {
    let mistakes: Vec<_> = mistakes().collect();
    assert!(mistakes.len() >= AT_LEAST, "there were {AT_LEAST} mistakes, and now there are {}", mistakes.len());
    for (name, patch) in mistakes {
        let asks = format!("crate::mutation::is(\"{name}\")");
        let added = patch.lines().filter(|line| line.starts_with('+') && line.contains("mutation::is"));
        assert!(added.clone().count() > 0, "{name} makes no mistake");
        assert!(added.into_iter().all(|line| line.contains(&asks)), "{name} is made under another name");
        assert_eq!(said(&patch, "Breaks: ").count(), 1, "{name} says in one line what it breaks");
    }
}

#[test]
fn each_patch_names_tests_that_exist() {
    let all = sources(&root().join("src")) + &sources(&root().join("tests"));
    for (name, patch) in mistakes() {
        assert!(said(&patch, "Caught by: ").count() > 0, "{name} says which test catches it");
        for test in said(&patch, "Caught by: ") {
            let (suite, path) = test.split_once(' ').expect("a suite, then a test");
            assert!(suite == "lib" || root().join("tests").join(suite).exists(), "{name}: there is no suite {suite}");
            let function = path.rsplit("::").next().unwrap();
            assert!(all.contains(&format!("fn {function}(")), "{name}: there is no test {function}");
        }
    }
}
