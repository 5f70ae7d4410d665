//! The command line as a whole: what it is called, how it completes, and its pages.

use std::{ffi::OsStr, path::Path};

use clap::{Command, CommandFactory as _, FromArgMatches as _};

use super::Cli;

/// What kubectl calls a program that adds `kubectl trueup`.
const PLUGIN: &str = "kubectl-trueup";

/// Parses what was typed. Ends the process, as clap does, where that makes no sense or asks for help.
pub fn parse() -> Cli {
    let mut typed = std::env::args_os();
    let command = called(Cli::command(), typed.next().as_deref());
    let mut matches = command.get_matches();
    match Cli::from_arg_matches_mut(&mut matches) {
        Ok(cli) => cli,
        Err(error) => error.format(&mut Cli::command()).exit(),
    }
}

/// `command`, called as people type it: `kubectl trueup`, if it was started as kubectl's plugin.
fn called(command: Command, program: Option<&OsStr>) -> Command {
    let stem = program.map(Path::new).and_then(Path::file_stem);
    if stem == Some(OsStr::new(PLUGIN)) { command.bin_name("kubectl trueup") } else { command }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_types_kubectl_trueup_is_told_to_type_that() {
        let usage = |program: &str| {
            let mut command = called(Cli::command(), Some(OsStr::new(program)));
            command.build();
            command.find_subcommand_mut("audit").unwrap().render_usage().to_string()
        };
        assert!(usage("/usr/local/bin/kubectl-trueup").contains("kubectl trueup audit "));
        assert!(usage("./kubectl-trueup.exe").contains("kubectl trueup audit "));
        assert!(usage("/bin/trueup").starts_with("Usage: trueup audit "));
    }

    #[test]
    fn the_command_line_is_one_that_clap_accepts() {
        Cli::command().debug_assert();
    }
}
