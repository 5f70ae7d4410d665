//! `trueup metrics`: what `/metrics` shows, as a page in Markdown.

use std::io::Write as _;

use crate::figures::reference;

/// Prints it.
pub fn run() {
    // A reader that has seen enough closes the pipe, and that is no failure.
    let _ = std::io::stdout().lock().write_all(reference().as_bytes());
}
