//! `trueup outbox`: what is owed to whom, and what people do about it.

mod every;
pub(super) mod interventions;
mod lanes;
mod listing;
mod mend;
mod parked;
mod refusal;
mod status;
mod stuck;
mod ways;

use super::Failure;
use crate::ledger::interventions::Action;

/// What can be asked for.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show what each destination was sent, what waits, and what is parked.
    Status(status::Args),
    /// Show every resource that waits for a person, why, and what can be done about it.
    Parked(parked::Args),
    /// Send a parked resource's next event once more.
    Retry(mend::RetryArgs),
    /// Do not send a resource's next event: a void goes in its place, and the receiver goes on behind it.
    Void(mend::Args),
    /// Void it, and send behind all that waits an event that states anew what holds.
    Amend(mend::Args),
    /// Show what people did about deliveries, why, and what came of it.
    Interventions(interventions::Args),
}

/// Does what was asked.
pub async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Status(args) => status::run(args).await,
        Command::Parked(args) => parked::run(args).await,
        Command::Retry(args) => mend::retry(args).await,
        Command::Void(args) => mend::run(Action::Void, args).await,
        Command::Amend(args) => mend::run(Action::Amend, args).await,
        Command::Interventions(args) => interventions::run(args).await,
    }
}
