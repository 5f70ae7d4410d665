//! Backup: from a request to a sealed artifact, or to a failure that says why.

mod desired;
mod outcome;
mod terminate;

pub(super) use desired::location;
pub use outcome::ContainerEnd;

use std::{collections::BTreeSet, time::Duration};

use self::{
    outcome::{Outcome, outcome},
    terminate::terminate,
};
use super::{
    Child, Finalizer, Membership, Object, Plan, Transition, Verdict,
    children::Owner,
    deadline::{Due, due},
    has_condition, reasons,
    states::states,
    steps, when,
};
use crate::{
    api::{Artifact, BackupRepositorySpec, BackupSpec, BackupStatus, label},
    domain::{Billable, Deadline, Ended, Head, Kind, Manifest, Sequence, Timestamp},
};

const MINUTE: Duration = Duration::from_mins(1);

/// What a Job gets beyond the dump's own time, for pulling images and for storing the rest.
const JOB_GRACE: Duration = Duration::from_mins(2);

states! {
    /// Where a backup stands.
    BackupState of Kind::Backup;
    /// It was asked for.
    Pending => [Running Failed Terminating Detached], Deadline::After(MINUTE.saturating_mul(5)), "nothing";
    /// The dump is being made and stored.
    Running => [Completed Failed Terminating Detached], Deadline::FromSpec, "nothing";
    /// The artifact is sealed.
    Completed => [Terminating Detached], Deadline::Never, "the artifact's bytes";
    /// There is no artifact.
    Failed => [Terminating Detached], Deadline::Never, "nothing";
    /// It is being deleted.
    Terminating => [Deleted Detached], Deadline::After(MINUTE.saturating_mul(30)), "the artifact's bytes";
    /// Nothing of it is left, or only what was to be retained.
    Deleted => [], Deadline::Never, "nothing";
    /// Trueup lets it be, and what was made for it stays.
    Detached => [], Deadline::Never, "nothing";
}

/// What was read about a backup.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Observed {
    /// The tenant that its namespace belongs to, if it does.
    pub member: Option<Membership>,
    /// Whether its namespace is on its way out, whosever it is: nothing can be made in it any more.
    pub ending: bool,
    /// The repository that it names, if it is there.
    pub repository: Option<RepositoryView>,
    /// The image of the mover.
    pub mover_image: String,
    /// Jobs that were made for it.
    pub jobs: Vec<Child>,
    /// What the containers of those Jobs' pods ended with.
    pub ends: Vec<ContainerEnd>,
    /// The sealed manifest, if the ledger has it.
    pub sealed: Option<Manifest>,
    /// Whether it is being deleted and no Job was ever made for it.
    pub never_ran: bool,
    /// Why it ended as it did, by the row that says so: rows that only state things anew have reasons of their own.
    pub ended_for: Option<String>,
    /// What the status shows of the last failure.
    pub failure: Option<String>,
}

/// A repository, as a backup needs it.
#[derive(Clone, PartialEq, Debug)]
pub struct RepositoryView {
    /// Where it is.
    pub spec: BackupRepositorySpec,
    /// What is in its way, if anything.
    pub trouble: Option<String>,
}

/// What a Backup does next. Pure: the same inputs always give the same plan.
pub fn decide(
    backup: &Object<'_, BackupSpec>,
    seen: &Observed,
    head: Option<&Head>,
    now: Timestamp,
) -> Plan<BackupStatus> {
    let blank = Plan {
        finalizer: if backup.has_finalizer { Finalizer::Keep } else { Finalizer::Add },
        delete: vec![],
        apply: vec![],
        gone: vec![],
        transition: None,
        status: BackupStatus::default(),
        look_again: None,
    };
    let Some(head) = head else { return begin(backup, seen, now, blank) };
    let mut plan = if backup.deleting_since.is_some() {
        terminate(backup, seen, head, now, blank)
    } else if let Some(revival) = steps::revive(&TABLE, head, now) {
        let verdict = Verdict::unknown(reasons::RESURRECTED.word, reasons::RESURRECTED.sentence);
        Plan { transition: Some(revival), status: status(backup, seen, Some(head), &verdict, now), ..blank }
    } else {
        match BackupState::named(&head.state) {
            Some(BackupState::Pending) => claim(backup, seen, head, now, blank),
            Some(BackupState::Running) => run(backup, seen, head, now, blank),
            _ => rest(backup, seen, head, now, blank),
        }
    };
    if backup.paused {
        plan.apply.clear();
        plan.delete.clear();
    }
    plan
}

/// Opens the stream, if the backup belongs to anybody.
fn begin(
    backup: &Object<'_, BackupSpec>,
    seen: &Observed,
    now: Timestamp,
    blank: Plan<BackupStatus>,
) -> Plan<BackupStatus> {
    if backup.deleting_since.is_some() && (seen.member.is_none() || !backup.has_finalizer) {
        let finalizer = if backup.has_finalizer { Finalizer::Remove } else { Finalizer::Keep };
        return Plan { finalizer, ..blank };
    }
    if seen.member.is_none() {
        let message = format!(
            "namespace {} belongs to no tenant; create the backup in a namespace that a Tenant lists",
            backup.namespace.as_deref().unwrap_or_default()
        );
        let verdict = Verdict::stalled("NoTenant", message);
        return Plan { finalizer: Finalizer::Keep, status: status(backup, seen, None, &verdict, now), ..blank };
    }
    let verdict = Verdict::unknown(reasons::CREATED.word, "Trueup has seen the backup and begins.");
    Plan {
        transition: Some(steps::open(TABLE.initial(), backup.created, now, None)),
        status: status(backup, seen, None, &verdict, now),
        ..blank
    }
}

/// Waits for the repository, then claims the run: the Job is named after the row that this writes.
fn claim(
    backup: &Object<'_, BackupSpec>,
    seen: &Observed,
    head: &Head,
    now: Timestamp,
    blank: Plan<BackupStatus>,
) -> Plan<BackupStatus> {
    let deadline = due(&TABLE, head, Duration::ZERO, now);
    let waiting = match &seen.repository {
        None => Some(format!(
            "BackupRepository {} does not exist in this namespace; create it",
            backup.spec.repository_ref.name
        )),
        Some(RepositoryView { trouble: Some(trouble), .. }) => {
            Some(format!("BackupRepository {}: {trouble}", backup.spec.repository_ref.name))
        }
        Some(_) if seen.ending => Some("the namespace is being deleted".into()),
        Some(_) if backup.paused => Some("Trueup may not start a Job for this backup".into()),
        Some(_) => None,
    };
    let Some(waiting) = waiting else {
        let verdict = Verdict::in_progress("Running", "The dump is about to begin.");
        return Plan {
            transition: Some(steps::change(
                BackupState::Running,
                reasons::BACKUP_STARTED,
                when::decided(now),
                Billable::ZERO,
            )),
            status: status(backup, seen, Some(head), &verdict, now),
            ..blank
        };
    };
    let verdict = match deadline {
        Due::Past { .. } => Verdict::stalled("RepositoryNotReady", waiting),
        _ => Verdict::in_progress("RepositoryNotReady", waiting),
    };
    Plan {
        transition: restate(backup, seen, head, Billable::ZERO, now),
        status: status(backup, seen, Some(head), &verdict, now),
        look_again: deadline.look_again(),
        ..blank
    }
}

/// Sees to the Job, and seals or fails by how it ended.
fn run(
    backup: &Object<'_, BackupSpec>,
    seen: &Observed,
    head: &Head,
    now: Timestamp,
    blank: Plan<BackupStatus>,
) -> Plan<BackupStatus> {
    let time = Duration::from_secs(u64::try_from(backup.spec.timeout_seconds).unwrap_or(0));
    let name = job_name(backup, head);
    let job = seen.jobs.iter().find(|job| job.key.name == name);
    let deadline = due(&TABLE, head, time + JOB_GRACE, now);
    let ended = job.and_then(|job| outcome(job, seen));
    let transition = match &ended {
        Some(Outcome::Sealed { manifest, at }) => Some(Transition {
            evidence: Some(Ended::Sealed((**manifest).clone()).to_message()),
            ..steps::change(
                BackupState::Completed,
                reasons::BACKUP_SEALED,
                when::reported(*at, backup, head, now),
                Billable { storage_bytes: manifest.size_bytes, ..Billable::ZERO },
            )
        }),
        Some(Outcome::Failed { reason, tail, at }) => Some(Transition {
            evidence: Some(tail.clone()),
            ..steps::change(BackupState::Failed, *reason, when::reported(*at, backup, head, now), Billable::ZERO)
        }),
        Some(Outcome::Removed { at }) => Some(Transition {
            evidence: Some(
                "the mover removed an artifact where it should have stored one; is its image of another version?"
                    .into(),
            ),
            ..steps::change(
                BackupState::Failed,
                reasons::BACKUP_FAILED,
                when::reported(*at, backup, head, now),
                Billable::ZERO,
            )
        }),
        // The Job has a deadline of its own; ours is for a cluster that does not keep it.
        None => match deadline {
            Due::Past { end } => Some(Transition {
                evidence: Some(format!("Job {name} did not end within {} s", (time + JOB_GRACE).as_secs())),
                ..steps::change(
                    BackupState::Failed,
                    reasons::BACKUP_TIMED_OUT,
                    when::passed(end, head, now),
                    Billable::ZERO,
                )
            }),
            _ => restate(backup, seen, head, Billable::ZERO, now),
        },
    };
    let mut apply = vec![];
    if let (None, None, Some(repository), false) = (job, &ended, &seen.repository, seen.ending) {
        apply.push(desired::backup_job(backup, owner(backup), repository, &seen.mover_image, &name, head.entered));
    }
    let verdict = Verdict::in_progress("Running", format!("Job {name} dumps and stores."));
    Plan {
        status: status(backup, seen, Some(head), &verdict, now),
        apply,
        transition,
        look_again: deadline.look_again(),
        ..blank
    }
}

/// Shows what came of it.
fn rest(
    backup: &Object<'_, BackupSpec>,
    seen: &Observed,
    head: &Head,
    now: Timestamp,
    blank: Plan<BackupStatus>,
) -> Plan<BackupStatus> {
    let verdict = match BackupState::named(&head.state) {
        Some(BackupState::Completed) => Verdict::ready(reasons::BACKUP_SEALED.word, reasons::BACKUP_SEALED.sentence),
        Some(BackupState::Failed) => {
            let tail = seen.failure.as_deref().map_or(String::new(), |tail| format!(" {tail}"));
            let reason = if seen.ended_for.as_ref().unwrap_or(&head.reason) == reasons::BACKUP_TIMED_OUT.word {
                reasons::BACKUP_TIMED_OUT
            } else {
                reasons::BACKUP_FAILED
            };
            Verdict::stalled(reason.word, format!("{}{tail}", reason.sentence))
        }
        _ => Verdict::stalled(
            "UnknownState",
            format!("the ledger says {}, which this version does not know; upgrade Trueup", head.state),
        ),
    };
    Plan {
        status: status(backup, seen, Some(head), &verdict, now),
        transition: restate(backup, seen, head, head.billable, now),
        ..blank
    }
}

/// The row for another payer. What a backup costs changes only with its state.
fn restate(
    backup: &Object<'_, BackupSpec>,
    seen: &Observed,
    head: &Head,
    billable: Billable,
    now: Timestamp,
) -> Option<Transition> {
    steps::restate(backup, head, seen.member.as_ref(), (billable, when::seen(backup, head, now)), now)
}

/// The Job of the action that is claimed: another claim gives another name, so that none runs twice.
fn job_name(backup: &Object<'_, BackupSpec>, head: &Head) -> String {
    job_of(backup, head.entered)
}

/// The Job that a claim in this row gives.
fn job_of(backup: &Object<'_, BackupSpec>, sequence: Sequence) -> String {
    let stem: String = backup.name.chars().take(40).collect();
    let uid: String = backup.uid.as_str().chars().take(8).collect();
    format!("{}-{uid}-{sequence}", stem.trim_end_matches(['-', '.']).replace('.', "-"))
}

fn owner<'a>(backup: &'a Object<'_, BackupSpec>) -> Owner<'a> {
    // Jobs are named after the UID, so no other backup's can be taken for one of these.
    Owner { label: label::BACKUP, name: &backup.name, uid: &backup.uid, others: const { &BTreeSet::new() } }
}

fn status(
    backup: &Object<'_, BackupSpec>,
    seen: &Observed,
    head: Option<&Head>,
    verdict: &Verdict,
    now: Timestamp,
) -> BackupStatus {
    let state = head.and_then(|head| BackupState::named(&head.state));
    let finished = matches!(state, Some(BackupState::Completed | BackupState::Failed))
        || has_condition(backup.conditions, "Finished", "True");
    BackupStatus {
        observed_generation: Some(backup.generation),
        state: head.map(|head| head.state.as_str().to_owned()),
        ledger: head.map(steps::ledger_ref),
        job: head.filter(|_| matches!(state, Some(BackupState::Running))).map(|head| job_name(backup, head)),
        artifact: seen.sealed.as_ref().map(artifact),
        failure: seen.failure.clone().filter(|_| state == Some(BackupState::Failed)),
        conditions: verdict.clone().finished(finished).conditions(backup, now),
    }
}

fn artifact(manifest: &Manifest) -> Artifact {
    Artifact {
        snapshot_id: manifest.snapshot_id.clone(),
        short_id: manifest.short_id().to_owned(),
        file: manifest.file.clone(),
        size_bytes: i64::try_from(manifest.size_bytes).unwrap_or(i64::MAX),
        size: for_people(manifest.size_bytes),
        sha256: manifest.sha256.to_string(),
        dump_tool: manifest.dump_tool.clone(),
        repository_tool: manifest.repository_tool.clone(),
        completed_at: manifest.completed_at.to_string(),
    }
}

/// A length as people write it: `12.3 MiB`.
fn for_people(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut tenths, mut unit) = (u128::from(bytes) * 10, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths = (tenths + 512) / 1024;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]) }
}

#[cfg(test)]
pub(super) mod tests;
