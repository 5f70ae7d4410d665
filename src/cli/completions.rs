//! `trueup completions`: what a shell needs to complete words.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;

/// Options.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// For which shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub fn run(args: &Args) {
    let mut script = vec![];
    clap_complete::generate(args.shell, &mut Cli::command(), "trueup", &mut script);
    // A reader that has seen enough closes the pipe, and that is no failure.
    let _ = std::io::stdout().lock().write_all(&script);
}
