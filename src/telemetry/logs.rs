//! Logs, as text for people or as JSON for machines.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, fmt};

/// How log lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Begins logging to standard error. `filter` is a `tracing` filter such as `info` or `trueup=debug`.
pub fn init_logs(format: LogFormat, filter: &str) {
    // The client logs every failed request as an error of its own, before anybody has judged it.
    let quiet = if filter.contains("kube_client") { String::new() } else { ",kube_client::client::builder=off".into() };
    let filter = EnvFilter::try_new(format!("{filter}{quiet}")).unwrap_or_else(|_| EnvFilter::new("info"));
    // A file or a pipe is read by programs and by people without a terminal.
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).with_target(false);
    // A second call finds a subscriber in place and leaves it.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
}
