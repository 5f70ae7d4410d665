//! `trueup reference`: every command with its options, in Markdown, as the docs show it.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

use super::Cli;

const BEGINNING: &str = "# Commands

<!-- Printed by `trueup reference`: `make reference` writes it anew, and a test compares. -->

Also as `kubectl trueup …`, if the program, or a link to it, is called `kubectl-trueup`. Exit codes: 0 fine, 1 something that must
hold does not, 2 usage or configuration, 3 something cannot be reached.
";

/// Prints it.
pub fn run() {
    use std::io::Write as _;
    // A reader that has seen enough closes the pipe, and that is no failure.
    let _ = std::io::stdout().lock().write_all(markdown().as_bytes());
}

fn markdown() -> String {
    let mut root = Cli::command();
    root.build();
    let mut text = BEGINNING.to_owned();
    let everywhere: Vec<&Arg> = root.get_arguments().filter(|arg| arg.is_global_set()).collect();
    text.push_str("\nEvery command takes these, besides `--help`:\n\n");
    options(&everywhere, &mut text);
    for command in root.get_subcommands() {
        describe(command, 2, &mut text);
    }
    text
}

/// One command, and those below it.
fn describe(command: &Command, depth: usize, text: &mut String) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = command.get_bin_name().unwrap_or(command.get_name());
    // Writing to a String does not fail.
    let _ = writeln!(text, "\n{} {name}\n", "#".repeat(depth));
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        let _ = writeln!(text, "{}\n", sentence(&about.to_string()));
    }
    if command.has_subcommands() {
        for below in command.get_subcommands() {
            describe(below, depth + 1, text);
        }
        return;
    }
    let usage = command.clone().render_usage().to_string();
    let _ = writeln!(text, "    {}\n", usage.trim_start_matches("Usage: ").replace('\n', "\n    "));
    let own: Vec<&Arg> = command.get_arguments().filter(|arg| !arg.is_global_set() && !arg.is_hide_set()).collect();
    options(&own, text);
}

fn options(args: &[&Arg], text: &mut String) {
    let shown: Vec<&&Arg> = args.iter().filter(|arg| !["help", "version"].contains(&arg.get_id().as_str())).collect();
    if shown.is_empty() {
        return;
    }
    text.push_str("| option | what it is |\n|---|---|\n");
    for arg in shown {
        let _ = writeln!(text, "| {} | {} |", spelled(arg), meaning(arg));
    }
}

/// As it is typed: `` `-n, --namespace NAMESPACE` ``.
fn spelled(arg: &Arg) -> String {
    let names: Vec<String> = arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
    let takes = arg.get_action().takes_values();
    let value = if takes { names.join(" ") } else { String::new() };
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let flags: Vec<String> = short.into_iter().chain(long).collect();
    let whole = if flags.is_empty() { value } else { format!("{} {value}", flags.join(", ")) };
    format!("`{}`", whole.trim_end())
}

fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).map(|help| sentence(&help.to_string())).unwrap_or_default();
    let mut parts = vec![help.replace('\n', " ").replace('|', "\\|")];
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|_| arg.get_action().takes_values())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !values.is_empty() {
        parts.push(format!("One of {}.", values.join(", ")));
    }
    if let Some(env) = arg.get_env() {
        parts.push(format!("Also `{}`.", env.to_string_lossy()));
    }
    let temporary = std::env::temp_dir();
    let defaults: Vec<String> = arg
        .get_default_values()
        .iter()
        .filter(|_| arg.get_action().takes_values())
        .map(|value| match value {
            // Not the same everywhere.
            value if *value == temporary.as_os_str() => "the system's temporary directory".to_owned(),
            value => format!("`{}`", value.to_string_lossy()),
        })
        .collect();
    if !defaults.is_empty() {
        parts.push(format!("Default: {}.", defaults.join(" ")));
    }
    parts.join(" ")
}

/// With a point at its end, which clap takes off.
fn sentence(text: &str) -> String {
    let text = text.trim_end();
    if text.is_empty() || text.ends_with(['.', '?', '!', ':']) { text.to_owned() } else { format!("{text}.") }
}
