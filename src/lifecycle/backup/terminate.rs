//! The end of a backup: its artifact is removed, or let go of, and its stream is closed.

use std::time::Duration;

use super::{
    BackupState, Observed, RepositoryView, TABLE, desired, job_name, job_of,
    outcome::{Outcome, outcome},
    owner, status,
};
use crate::{
    api::{BackupSpec, BackupStatus, DeletionPolicy},
    domain::{Billable, Head, Sequence, Timestamp},
    lifecycle::{
        Child, ChildKind, Finalizer, Object, ObjectKey, Plan, Verdict,
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
        Some(BackupState::Deleted | BackupState::Detached) => {
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
    // Past its deadline, a deletion says what it waits for.
    let waits_for = |blocker: String| match deadline {
        Due::Past { .. } => Verdict::stalled("DeletionBlocked", blocker),
        Due::Never | Due::In(_) => working.clone(),
    };
    if !makers.is_empty() {
        let delete = makers.iter().filter(|job| !job.is_terminating()).map(|job| job.key.clone()).collect();
        let verdict = waits_for(blockers(backup, &makers));
        return Plan { delete, status: show(&verdict), look_again: deadline.look_again(), ..blank };
    }
    let done = match (remove, removal.map(|job| outcome(job, seen))) {
        (true, None) if seen.never_ran => Ok(Some((reasons::DELETED, None))),
        (false, _) => Ok(Some((reasons::ARTIFACT_RETAINED, None))),
        // Nothing can be made in a namespace that is going: what waits for a Job there waits for ever.
        (true, None | Some(Some(Outcome::Failed { .. }))) if seen.ending => {
            Ok(Some((reasons::ARTIFACT_ABANDONED, None)))
        }
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
            Plan { gone: claimed(backup, seen, head), transition: Some(change), status: show(&working), ..blank }
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
                (Some(repository), None) => (
                    waits_for(unmade(backup, repository, &name)),
                    vec![desired::removal_job(backup, owner(backup), repository, &seen.mover_image, &name)],
                ),
                (_, Some(_)) => {
                    let message = format!(
                        "Job {name}, which removes the artifact, does not end; look at its pod, or set \
                         spec.deletionPolicy to Retain"
                    );
                    (waits_for(message), vec![])
                }
            };
            let gone = if apply.is_empty() { vec![] } else { claimed(backup, seen, head) };
            Plan { status: show(&verdict), apply, gone, look_again: deadline.look_again(), ..blank }
        }
    }
}

/// The Jobs that were ever claimed for it, as far as the ledger's rows go.
fn claimed(backup: &Object<'_, BackupSpec>, seen: &Observed, head: &Head) -> Vec<ObjectKey> {
    let namespace = backup.namespace.clone().unwrap_or_default();
    let rows = if seen.never_ran { 0..0 } else { Sequence::FIRST.get()..head.entered.get() };
    rows.map(|row| ObjectKey::in_namespace(ChildKind::Job, namespace.clone(), job_of(backup, Sequence::new(row))))
        .collect()
}

/// Which Jobs have to go first, and what holds them.
fn blockers(backup: &Object<'_, BackupSpec>, makers: &[&Child]) -> String {
    let named = makers.iter().map(|job| {
        let finalizers: Vec<&str> =
            job.body["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(|it| it.as_str()).collect();
        match finalizers[..] {
            [] => job.key.to_string(),
            _ => format!("{} (finalizers: {})", job.key, finalizers.join(", ")),
        }
    });
    let left = named.collect::<Vec<_>>().join(", ");
    if backup.paused {
        return format!(
            "still there: {left}; Trueup may not delete anything for this backup, so delete it or let it go on"
        );
    }
    format!("still there: {left}; look at their finalizers and pods")
}

/// Why the Job that removes the artifact is not there.
fn unmade(backup: &Object<'_, BackupSpec>, repository: &RepositoryView, job: &str) -> String {
    let why = if backup.paused {
        "Trueup may not start a Job for this backup".to_owned()
    } else if let Some(trouble) = &repository.trouble {
        format!("BackupRepository {}: {trouble}", backup.spec.repository_ref.name)
    } else {
        "look at the namespace's quota and at what its admission webhooks refuse".to_owned()
    };
    format!("Job {job}, which removes the artifact, could not be made: {why}; or set spec.deletionPolicy to Retain")
}
