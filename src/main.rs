//! The `trueup` command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use trueup::cli::mover;

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Mover(mover::MoverArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match Cli::parse().command {
        Command::Mover(arguments) => mover::run(arguments).await,
    }
}
