//! The command line: one file per subcommand.

mod ask_receiver;
mod audit;
mod command;
mod completions;
mod confirm;
pub mod controller;
mod crds;
mod describe;
mod doctor;
mod failure;
mod history;
mod ledger;
mod man;
mod mandate;
mod metrics;
mod mover;
mod outbox;
mod reading;
pub mod receiver;
mod reference;
mod resource;
mod schemas;
mod start;
mod state;
mod table;
mod text;
mod watch;
mod when;
mod who;

pub use command::parse;
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
    /// Check an installation, and say what is wrong with it and what to do.
    ///
    /// One line for each thing that was looked at: definitions, rights, clocks, the leader, the database, the sinks. Nothing
    /// is changed. Exit code 1 if something is broken, 3 if something cannot be reached. Run it in the controller's pod to see
    /// what the controller sees.
    Doctor(doctor::Args),
    /// Keep the ledger safe: back it up, verify and restore a backup, recover what was lost, move it.
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// Show what billing was sent, what waits and what is parked, and mend it.
    #[command(subcommand)]
    Outbox(outbox::Command),
    /// Let the ledger record on, and change nothing in the cluster: for one resource, or everything.
    ///
    /// What is said of a Tenant holds for all that is in its namespaces. The condition Paused shows it, and deliveries go on.
    Pause(mandate::Args),
    /// Take a pause back.
    Resume(mandate::Args),
    /// Let a resource be, or everything: its stream ends, Trueup's finalizer goes, and what runs runs on.
    ///
    /// Meant for leaving Trueup, and for handing a resource to somebody else. What is said of a Tenant holds for all that is
    /// in its namespaces. With --all, BillingSinks are let be too, once they were sent everything.
    Detach(mandate::AskingArgs),
    /// Take in again what was detached.
    Attach(mandate::Args),
    /// Watch the cluster, the ledger and billing side by side.
    Watch(watch::Args),
    /// Print what a shell needs to complete commands and options.
    Completions(completions::Args),
    /// Print the page for man, or write one for each command.
    Man(man::Args),
    /// Print the reference of all commands in Markdown, as the docs show it.
    #[command(hide = true)]
    Reference,
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
            Command::Ledger(command) => ledger::run(command).await?,
            Command::Outbox(command) => outbox::run(command).await?,
            Command::Doctor(args) => doctor::run(args).await?,
            Command::Pause(args) => mandate::pause(args).await?,
            Command::Resume(args) => mandate::resume(args).await?,
            Command::Detach(args) => mandate::detach(args).await?,
            Command::Attach(args) => mandate::attach(args).await?,
            Command::Completions(args) => completions::run(&args),
            Command::Man(args) => man::run(&args)?,
            Command::Reference => reference::run(),
            Command::Watch(args) => watch::run(args, stop).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
