//! `trueup crds`: the custom resource definitions, ready for `kubectl apply -f -`.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use super::Failure;
use crate::api::{crds, reference};

/// Options.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write one file per definition into this folder instead.
    #[arg(long, value_name = "FOLDER")]
    pub write: Option<PathBuf>,
    /// Write into this folder, for each definition, a page in Markdown that lists its fields.
    #[arg(long, value_name = "FOLDER", conflicts_with = "write")]
    pub reference: Option<PathBuf>,
}

/// Prints or writes them.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for crd in crds() {
        if let Some(folder) = &args.reference {
            write(&folder.join(format!("{}.md", crd.spec.names.kind.to_lowercase())), &reference(&crd))?;
            continue;
        }
        let text =
            serde_yaml::to_string(&crd).map_err(|error| Failure::usage(&format!("writing a definition: {error}")))?;
        match &args.write {
            Some(folder) => {
                let name = crd.metadata.name.unwrap_or_default();
                write(&folder.join(format!("{name}.yaml")), &text)?;
            }
            // A reader that has seen enough closes the pipe, and that is no failure.
            None => {
                if write!(out, "---\n{text}").is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| Failure::usage(&format!("writing {}: {error}", path.display())))
}
