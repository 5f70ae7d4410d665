//! `trueup crds`: the custom resource definitions, ready for `kubectl apply -f -`.

use std::io::Write as _;

use super::Failure;
use crate::api::crds;

/// Options.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write one file per definition into this folder instead.
    #[arg(long, value_name = "FOLDER")]
    pub write: Option<std::path::PathBuf>,
}

/// Prints or writes them.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for crd in crds() {
        let text =
            serde_yaml::to_string(&crd).map_err(|error| Failure::usage(&format!("writing a definition: {error}")))?;
        match &args.write {
            Some(folder) => {
                let name = format!("{}.yaml", crd.metadata.name.unwrap_or_default());
                let path = folder.join(name);
                std::fs::write(&path, text)
                    .map_err(|error| Failure::usage(&format!("writing {}: {error}", path.display())))?;
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
