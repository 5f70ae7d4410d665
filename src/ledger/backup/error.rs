//! Why a backup was not taken, or not taken back.

use std::{io, path::PathBuf};

use crate::ledger::store::StoreError;

/// Why a backup was not taken, or not taken back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file cannot be read or written.
    #[error("{doing} {}: {source}", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is a file already.
    #[error("{} is there already, and a backup overwrites nothing; give another name, or a directory", .0.display())]
    Exists(PathBuf),
    /// The file is not a whole backup.
    #[error("{} is no backup that can be trusted: {what}; take another one", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The backup was taken by another version of Trueup.
    #[error(
        "the backup has version {theirs} of the ledger's tables, and this Trueup writes version {ours}: \
         restore it with the Trueup that took it, then start this one, which upgrades it"
    )]
    OtherVersion {
        /// The backup's.
        theirs: i64,
        /// This program's.
        ours: i64,
    },
    /// Nothing is restored over anything.
    #[error(
        "the database already has rows in its table {table}, and a backup is restored into an empty database only; \
         name another"
    )]
    NotEmpty {
        /// The first table that is not empty.
        table: String,
    },
}
