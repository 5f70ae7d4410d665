//! Removing a backup's artifacts from the repository.

use std::time::Duration;

use tracing::info;

use super::{
    repository::{Patience, forget as forget_snapshots, run_patiently, snapshots, uid_tag},
    restic::Restic,
    trouble::Kind,
};
use crate::domain::{Clock, Failure, FailureReason, Uid};

/// Forgets every snapshot of a Backup and frees its space; says how many there were.
///
/// Prunes even when there was none: an earlier run may have been stopped between the two. A repository that is not
/// there holds nothing.
pub async fn forget(uid: &Uid, restic: &Restic, clock: &dyn Clock, lock_wait: Duration) -> Result<u64, Failure> {
    let doing = |what: &str| format!("{what} of the backup with UID {uid}");
    match restic.unlock().await {
        Err(trouble) if trouble.kind == Kind::Missing => {
            info!("there is no repository, so there is nothing to forget");
            return Ok(0);
        }
        other => other.map_err(|it| it.during(&doing("opening the repository"), FailureReason::ForgetFailed))?,
    }
    let found = snapshots(restic, &uid_tag(uid))
        .await
        .map_err(|it| it.during(&doing("listing the artifacts"), FailureReason::ForgetFailed))?;
    let ids: Vec<&str> = found.iter().map(|snapshot| snapshot.id.as_str()).collect();
    forget_snapshots(restic, &ids, Patience::of(clock, lock_wait))
        .await
        .map_err(|it| it.during(&doing("forgetting the artifacts"), FailureReason::ForgetFailed))?;
    run_patiently(restic, &["prune".into()], Patience::of(clock, lock_wait))
        .await
        .map_err(|it| it.during(&doing("pruning the data"), FailureReason::ForgetFailed))?;
    info!(count = ids.len(), "the artifacts are gone");
    Ok(ids.len() as u64)
}
