//! The command line: one file per subcommand.

mod ask_receiver;
mod audit;
mod confirm;
mod controller;
mod crds;
mod describe;
mod failure;
mod history;
mod ledger;
mod metrics;
mod mover;
mod outbox;
mod reading;
pub mod receiver;
mod resource;
mod schemas;
mod state;
mod table;
mod text;
mod watch;
mod when;
mod who;

pub use failure::Failure;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::telemetry::{LogFormat, init_logs};

/// Keeps what runs, what users see and what billing was told the same.
#[derive(Debug, Parser)]
#[command(name = "trueup", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// How log lines are written.
    #[arg(long, env = "TRUEUP_LOG_FORMAT", value_enum, default_value = "text", global = true)]
    pub log_format: LogFormat,
    /// What is logged: a level, or a filter such as `trueup=debug`. Servers say `info` by default, others nothing.
    #[arg(long, env = "TRUEUP_LOG", global = true)]
    pub log: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the controller.
    Controller(controller::Args),
    /// Print the custom resource definitions.
    Crds(crds::Args),
    /// Print the JSON Schemas of what billing receives.
    Schemas(schemas::Args),
    /// Print what the metrics are called, what they count and how they are labelled.
    Metrics,
    /// Store a dump, or remove one. Runs within a backup's Job.
    Mover(mover::MoverArgs),
    /// Run the reference billing receiver.
    Receiver(receiver::Args),
    /// Show what happened to a resource.
    History(history::Args),
    /// Show what everything's state was at a moment in the past.
    State(state::Args),
    /// Check that every invariant holds.
    Audit(audit::Args),
    /// Keep the ledger safe: back it up, verify and restore a backup, recover what was lost, move it.
    Ledger(ledger::Args),
    /// Show what billing was sent, what waits and what is parked, and mend it.
    Outbox(outbox::Args),
    /// Watch the cluster, the ledger and billing side by side.
    Watch(watch::Args),
}

impl Command {
    /// What is logged when nobody says: whoever asks a question wants the answer alone.
    const fn default_log(&self) -> &'static str {
        match self {
            Self::Controller(_) | Self::Mover(_) | Self::Receiver(_) => "info",
            _ => "off",
        }
    }
}

impl Cli {
    /// Does what was asked, until it is done or `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) -> Result<ExitCode, Failure> {
        init_logs(self.log_format, self.log.as_deref().unwrap_or(self.command.default_log()));
        match self.command {
            Command::Controller(args) => controller::run(args, stop).await?,
            Command::Crds(args) => crds::run(&args)?,
            Command::Schemas(args) => schemas::run(&args)?,
            Command::Metrics => metrics::run(),
            Command::Mover(args) => return Ok(mover::run(args).await),
            Command::Receiver(args) => {
                receiver::run(args, stop).await.map_err(|error| Failure::new(&error, error.exit_code()))?;
            }
            Command::History(args) => history::run(args).await?,
            Command::State(args) => state::run(args).await?,
            Command::Audit(args) => audit::run(args).await?,
            Command::Ledger(args) => ledger::run(args).await?,
            Command::Outbox(args) => outbox::run(args).await?,
            Command::Watch(args) => watch::run(args, stop).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
