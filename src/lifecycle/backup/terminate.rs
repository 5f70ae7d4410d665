//! The end of a backup: its artifact is removed, or let go of, and its stream is closed.

use std::time::Duration;

use super::{
    BackupState, Observed, TABLE, desired, job_name,
    outcome::{Outcome, outcome},
    owner, status,
};
use crate::{
    api::{BackupSpec, BackupStatus, DeletionPolicy},
    domain::{Billable, Head, Timestamp},
    lifecycle::{
        Child, Finalizer, Object, Plan, Verdict,
        deadline::{Due, due},
        reasons, steps, when,
    },
};

/// Removes what is to be removed, closes the stream, lets go.
pub(super) fn terminate(
    backup: &Object<'_, BackupSpec>,
    seen: &Observed,
    head: &Head,
    now: Timestamp,
    blank: Plan<BackupStatus>,
) -> Plan<BackupStatus> {
    let show = |verdict: &Verdict| status(backup, seen, Some(head), verdict, now);
    let working = Verdict::in_progress("Terminating", "The backup is being deleted.");
    let blank = Plan { finalizer: Finalizer::Keep, ..blank };
    match BackupState::named(&head.state) {
        Some(BackupState::Deleted) => {
            let finalizer = if backup.has_finalizer { Finalizer::Remove } else { Finalizer::Keep };
            return Plan { finalizer, ..blank };
        }
        Some(BackupState::Terminating) => {}
        _ => {
            let effective = when::reported(backup.deleting_since, backup, head, now);
            let change = steps::change(BackupState::Terminating, reasons::DELETION_REQUESTED, effective, head.billable);
            return Plan { transition: Some(change), status: show(&working), ..blank };
        }
    }
    let name = job_name(backup, head);
    let removal = seen.jobs.iter().find(|job| job.key.name == name);
    let remove = backup.spec.deletion_policy == DeletionPolicy::Delete;
    // The Job that made the artifact goes first: it must not store one after the removal.
    let makers: Vec<&Child> = seen.jobs.iter().filter(|job| job.key.name != name).collect();
    let deadline = due(&TABLE, head, Duration::ZERO, now);
    if !makers.is_empty() {
        let delete = makers.iter().filter(|job| !job.is_terminating()).map(|job| job.key.clone()).collect();
        return Plan { delete, status: show(&working), look_again: deadline.look_again(), ..blank };
    }
    // Nothing can be made in a namespace that is going: what waits for a Job there waits for ever.
    let ending = seen.member.as_ref().is_some_and(|member| member.ending);
    let done = match (remove, removal.map(|job| outcome(job, seen))) {
        (true, None) if seen.never_ran => Ok(Some((reasons::DELETED, None))),
        (false, _) => Ok(Some((reasons::ARTIFACT_RETAINED, None))),
        (true, None | Some(Some(Outcome::Failed { .. }))) if ending => Ok(Some((reasons::ARTIFACT_ABANDONED, None))),
        (true, None | Some(None)) => Ok(None),
        (true, Some(Some(Outcome::Removed { at } | Outcome::Sealed { at, .. }))) => {
            Ok(Some((reasons::ARTIFACT_REMOVED, at)))
        }
        (true, Some(Some(Outcome::Failed { tail, .. }))) => Err(tail),
    };
    match done {
        Ok(Some((reason, at))) => {
            // What is retained is no longer billed: nothing of Trueup's points to it any more.
            let change =
                steps::change(BackupState::Deleted, reason, when::reported(at, backup, head, now), Billable::ZERO);
            Plan { transition: Some(change), status: show(&working), ..blank }
        }
        Err(tail) => {
            let message = format!(
                "the artifact could not be removed: {tail}; delete Job {name} to try again, or set spec.deletionPolicy to Retain"
            );
            Plan { status: show(&Verdict::stalled("ArtifactNotRemoved", message)), ..blank }
        }
        Ok(None) => {
            let (verdict, apply) = match (&seen.repository, removal) {
                (None, None) => (
                    Verdict::stalled(
                        "RepositoryGone",
                        format!(
                            "BackupRepository {} is gone, so the artifact cannot be removed; create it again, or set spec.deletionPolicy to Retain",
                            backup.spec.repository_ref.name
                        ),
                    ),
                    vec![],
                ),
                (Some(repository), None) => {
                    (working, vec![desired::removal_job(backup, owner(backup), repository, &seen.mover_image, &name)])
                }
                _ if matches!(deadline, Due::Past { .. }) => {
                    (Verdict::stalled("DeletionBlocked", format!("Job {name} does not end; look at its pod")), vec![])
                }
                _ => (working, vec![]),
            };
            Plan { status: show(&verdict), apply, look_again: deadline.look_again(), ..blank }
        }
    }
}
