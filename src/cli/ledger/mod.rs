//! `trueup ledger`: keeping the ledger itself safe.
//!
//! What changes it takes its epoch over first (`take`), so that no controller writes at the same time.

mod adopt;
mod backup;
mod migrate;
mod recover;
mod take;

use super::Failure;

/// What can be asked for.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Write the whole ledger to a file, while it is in use.
    Backup(backup::BackupArgs),
    /// Read a backup completely, and check every invariant of the ledger in it.
    Verify(backup::VerifyArgs),
    /// Write a backup into an empty database, of either kind.
    Restore(backup::RestoreArgs),
    Recover(recover::Args),
    Migrate(migrate::Args),
    Adopt(adopt::Args),
}

/// Does what was asked.
pub async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Backup(args) => backup::backup(args).await,
        Command::Verify(args) => backup::verify(args).await,
        Command::Restore(args) => backup::restore(args).await,
        Command::Recover(args) => recover::run(args).await,
        Command::Migrate(args) => migrate::run(args).await,
        Command::Adopt(args) => adopt::run(args).await,
    }
}
