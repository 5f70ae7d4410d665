//! The pages that the program prints of itself: the docs', man's, and what shells complete.

use std::os::unix::fs::symlink;

use crate::rig::Rig;

#[test]
fn the_reference_in_the_docs_is_what_the_program_prints() {
    let printed = Rig::empty().trueup(&["reference"]);
    assert_eq!(printed.code, 0, "{printed:?}");
    let docs = include_str!("../../docs/reference/cli.md");
    assert!(printed.out == docs, "docs/reference/cli.md is not what the program prints; run `make reference`");
    for command in ["## trueup audit", "### trueup ledger migrate", "## trueup doctor"] {
        assert!(docs.contains(command), "{command} is in it");
    }
}

#[test]
fn every_shell_gets_a_script_that_knows_the_commands() {
    let rig = Rig::empty();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = rig.trueup(&["completions", shell]);
        assert_eq!(script.code, 0, "{script:?}");
        for word in ["doctor", "interventions", "kubeconfig"] {
            assert!(script.out.contains(word), "{shell} does not complete {word}");
        }
    }
    let script = rig.trueup(&["completions", "bash"]).out;
    let path = rig.folder.path().join("trueup.bash");
    std::fs::write(&path, script).unwrap();
    // As a person at a prompt: what does the shell offer behind `trueup ledger mi`?
    let asked = "source ./trueup.bash; COMP_WORDS=(trueup ledger mi); COMP_CWORD=2; _trueup trueup mi ledger; echo ${COMPREPLY[@]}";
    let answer =
        std::process::Command::new("bash").args(["-c", asked]).current_dir(rig.folder.path()).output().unwrap();
    assert_eq!(String::from_utf8(answer.stdout).unwrap().trim(), "migrate");
}

#[test]
fn each_command_has_a_page_for_man() {
    let rig = Rig::empty();
    let page = rig.trueup(&["man"]);
    assert!(page.code == 0 && page.out.contains(".TH trueup 1"), "{page:?}");
    let pages = rig.folder.path().join("man");
    std::fs::create_dir(&pages).unwrap();
    assert_eq!(rig.trueup(&["man", "--write", "man"]).code, 0);
    for name in ["trueup.1", "trueup-doctor.1", "trueup-ledger-migrate.1"] {
        assert!(pages.join(name).is_file(), "{name} is there");
    }
    rig.trueup(&["man", "--write", "nowhere"]).fails(2, &["nowhere", "is it a folder?"]);
}

#[test]
fn a_link_called_kubectl_trueup_is_kubectls_plugin() {
    let rig = Rig::empty();
    let link = rig.folder.path().join("kubectl-trueup");
    symlink(env!("CARGO_BIN_EXE_trueup"), &link).unwrap();
    let said = std::process::Command::new(link).args(["audit", "--help"]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("Usage: kubectl trueup audit [OPTIONS]"), "{said}");
}
