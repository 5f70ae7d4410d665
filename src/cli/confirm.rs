//! Asking before something is done that cannot be taken back.

use std::io::{BufRead, IsTerminal as _, Write as _};

use super::Failure;

/// Asks for `word` on the terminal, unless `yes` was said on the command line. `what` is what is about to be done.
pub fn confirm(yes: bool, word: &str, what: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(&format!(
            "nothing was changed: there is no terminal to ask at; give --yes to {what}"
        )));
    }
    eprint!("Type '{word}' to {what}: ");
    // A question that cannot be shown is answered by nobody.
    let _ = std::io::stderr().flush();
    answered(&mut std::io::stdin().lock(), word)
}

fn answered(input: &mut impl BufRead, word: &str) -> Result<(), Failure> {
    let mut typed = String::new();
    let read = input.read_line(&mut typed);
    if read.is_ok() && typed.trim() == word {
        return Ok(());
    }
    Err(Failure::usage(&format!("nothing was changed: '{word}' was not typed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_itself_is_a_yes() {
        for (typed, expected) in [("yes\n", true), (" yes ", true), ("y\n", false), ("no\n", false), ("", false)] {
            assert_eq!(answered(&mut typed.as_bytes(), "yes").is_ok(), expected, "{typed:?}");
        }
    }
}
