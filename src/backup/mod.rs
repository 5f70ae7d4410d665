//! The mover: what runs in a backup Job's pod and puts a dump into a restic repository.
//!
//! Two containers share a folder. The dump container, in the database's own image, writes the dump into a FIFO and
//! then its exit code into a file; the mover reads the FIFO, feeds restic, and lets it save only once that code is 0:
//!
//! ```text
//! dump:   pg_dump --version >tool; pg_dump ... >pipe; echo $? >exit.tmp; mv exit.tmp exit
//! mover:  pipe --count, hash--> restic backup --stdin;  exit is 0?  seal : kill
//! ```
//!
//! What became of it is the container's termination message (see [`crate::domain::Manifest`]).
//!
//! # Locks
//!
//! restic keeps locks in the repository. A backup shares its lock with other backups; forget and prune need the
//! repository to themselves. A mover that dies leaves its lock behind, and nothing removes it by itself
//! (k8up-io/k8up#456), so every mover begins with `restic unlock`, which removes the locks of the dead alone: those of
//! this pod whose process is gone, and any that was not renewed for half an hour. A mover that finds the repository
//! locked waits for it, removing dead locks in between, for 35 minutes unless told otherwise: longer than a dead lock
//! can last. `unlock --remove-all` is never used: it would also remove the lock of a living prune.

mod dump;
mod feed;
mod forget;
mod mover;
mod repository;
mod restic;
mod secrets;
mod trouble;

pub use dump::Meeting;
pub use forget::forget;
pub use mover::{BackupRequest, backup};
pub use repository::Tags;
pub use restic::Restic;
pub use secrets::Secrets;

pub use crate::domain::{Ended, Failure, FailureReason, Manifest, ManifestFault};
