//! `trueup man`: the pages for man(1).

use std::{io::Write as _, path::PathBuf};

use clap::CommandFactory as _;

use super::{Cli, Failure};

/// Options.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write one page per command into this folder instead, which must be there.
    #[arg(long, value_name = "FOLDER")]
    write: Option<PathBuf>,
}

/// Prints the first page, or writes them all.
pub fn run(args: &Args) -> Result<(), Failure> {
    if let Some(folder) = &args.write {
        let written = clap_mangen::generate_to(Cli::command(), folder);
        return written.map_err(|error| {
            Failure::usage(&format!("writing pages into {}: {error}; is it a folder?", folder.display()))
        });
    }
    let mut page = vec![];
    clap_mangen::Man::new(Cli::command())
        .render(&mut page)
        .map_err(|error| Failure::usage(&format!("writing the page: {error}")))?;
    // A reader that has seen enough closes the pipe, and that is no failure.
    let _ = std::io::stdout().lock().write_all(&page);
    Ok(())
}
