//! What a mover says when it ends, in the few bytes that a container may leave behind.

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// A sealed artifact: the dump ended well and the repository has all of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The repository's full snapshot id.
    pub snapshot_id: String,
    /// The file within it.
    pub file: String,
    /// The dump's length in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the dump, in hexadecimal.
    pub sha256: String,
    /// What wrote the dump.
    pub dump_tool: String,
    /// What stored it.
    pub repository_tool: String,
    /// When storing began.
    pub started_at: Timestamp,
    /// When it was complete.
    pub completed_at: Timestamp,
}

/// How a mover ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The artifact is sealed.
    Stored(Manifest),
    /// The artifact is gone.
    Removed,
    /// There is no artifact.
    Failed {
        /// Why, in one word.
        reason: String,
        /// Why, for people.
        message: String,
    },
}

/// A text that no mover left.
#[derive(Debug, thiserror::Error)]
#[error("the mover left no manifest that can be read ({0}); its log may say more")]
pub struct ManifestFault(String);

impl Manifest {
    /// Reads what a mover left.
    pub fn parse(_text: &str) -> Result<Ended, ManifestFault> {
        Err(ManifestFault("x".into()))
    }

    /// Writes it the way `parse` reads it.
    pub fn to_text(&self) -> String {
        String::new()
    }
}

impl Ended {
    /// Writes it the way `Manifest::parse` reads it.
    pub fn to_text(&self) -> String {
        String::new()
    }
}
