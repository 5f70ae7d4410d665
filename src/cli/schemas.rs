//! `trueup schemas`: the JSON Schemas of what billing receives.

use std::io::Write as _;

use super::Failure;
use crate::domain::published;

/// Options.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write one file per schema into this folder instead.
    #[arg(long, value_name = "FOLDER")]
    pub write: Option<std::path::PathBuf>,
}

/// Prints them, as one JSON array, or writes them.
pub fn run(args: &Args) -> Result<(), Failure> {
    let wrong = |error: &dyn std::fmt::Display, what: &str| Failure::usage(&format!("writing {what}: {error}"));
    let schemas = published();
    let Some(folder) = &args.write else {
        let all: Vec<_> = schemas.into_iter().map(|one| one.schema).collect();
        let text = serde_json::to_string_pretty(&all).map_err(|error| wrong(&error, "the schemas"))?;
        // A reader that has seen enough closes the pipe, and that is no failure.
        let _ = writeln!(std::io::stdout().lock(), "{text}");
        return Ok(());
    };
    for one in schemas {
        let path = folder.join(&one.name);
        let text = serde_json::to_string_pretty(&one.schema).map_err(|error| wrong(&error, &one.name))?;
        std::fs::write(&path, text + "\n").map_err(|error| wrong(&error, &path.display().to_string()))?;
    }
    Ok(())
}
