//! `trueup ledger`: keeping the ledger itself safe.

mod backup;

use super::Failure;

/// Keep the ledger safe: back it up, verify and restore a backup.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write the whole ledger to a file, while it is in use.
    Backup(backup::BackupArgs),
    /// Read a backup completely, and check every invariant of the ledger in it.
    Verify(backup::VerifyArgs),
    /// Write a backup into an empty database, of either kind.
    Restore(backup::RestoreArgs),
}

/// Does what was asked.
pub async fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Backup(args) => backup::backup(args).await,
        Command::Verify(args) => backup::verify(args).await,
        Command::Restore(args) => backup::restore(args).await,
    }
}
