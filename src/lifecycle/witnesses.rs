//! Where the time of each transition comes from: the one table that the docs print and the property tests hold.

use std::fmt::Write as _;

use super::{Reason, reasons};
use crate::domain::{Kind, TimeSource};

/// Whose word is taken for when a transition happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Witness {
    /// Kubernetes or the workload: a whole second, which means the second from then on. If it says nothing, or speaks of
    /// something before the stream's last row, then as `Seen`.
    Kubernetes,
    /// Nobody but Trueup's own looks: at the look that found it, after the stream's last row. `observed` if this process
    /// had looked before, and `inferred` if it happened while nobody watched.
    Seen,
    /// Trueup did it then. Recorded by another process than the one that did it, as `Kubernetes`.
    Own,
    /// The row itself makes it so.
    Decided,
    /// The row before it: nothing has happened since.
    Before,
    /// The moment when the deadline passed, exactly, whether or not anybody watched.
    Deadline,
}

impl Witness {
    /// The time sources that a draft of such a transition may carry. The ledger may make `clamped` of each.
    pub const fn sources(self) -> &'static [TimeSource] {
        match self {
            Self::Kubernetes | Self::Own => &[TimeSource::Reported, TimeSource::Observed, TimeSource::Inferred],
            Self::Seen => &[TimeSource::Observed, TimeSource::Inferred],
            Self::Decided => &[TimeSource::Observed],
            Self::Before => &[TimeSource::Reported, TimeSource::Observed, TimeSource::Inferred, TimeSource::Clamped],
            Self::Deadline => &[TimeSource::Inferred],
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Kubernetes => "Kubernetes",
            Self::Seen => "looks",
            Self::Own => "Trueup's act",
            Self::Decided => "Trueup's row",
            Self::Before => "the row before",
            Self::Deadline => "deadline",
        }
    }
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Testimony {
    /// The kinds that it holds for.
    pub kinds: &'static [Kind],
    /// Why the transition happens.
    pub reason: Reason,
    /// Whose word is taken.
    pub witness: Witness,
    /// What exactly is read.
    pub from: &'static str,
}

const ALL: &[Kind] = &Kind::ALL;
const TENANT: &[Kind] = &[Kind::Tenant];
const APP: &[Kind] = &[Kind::AppDeployment];
const BACKUP: &[Kind] = &[Kind::Backup];

macro_rules! table {
    ($($kinds:ident $reason:ident: $witness:ident, $from:literal;)+) => {
        &[$(Testimony {
            kinds: $kinds, reason: reasons::$reason, witness: Witness::$witness, from: $from,
        }),+]
    };
}

/// The table. A reason that has several ways to come about stands here once for each.
pub const TABLE: &[Testimony] = table! {
    ALL CREATED: Kubernetes, "the object's `creationTimestamp`";
    ALL DELETION_REQUESTED: Kubernetes, "the object's `deletionTimestamp`";
    ALL RESURRECTED: Seen, "always `inferred`: between the row that ended it and the look that found it alive";
    ALL REASSIGNED: Seen, "the look that found another tenant, account or plan";
    ALL RESIZED: Seen, "the look that found other quantities";
    ALL VANISHED: Seen, "always `inferred`: between the stream's last row and the sweep that found it gone";
    ALL ERA_BEGUN: Seen, "always `inferred`: between the stream's last row and the beginning of the era";
    ALL AMENDED: Before, "what the row before it says, bounds and source included";
    ALL DETACHED: Decided, "the look that carried it out";
    ALL ATTACHED: Decided, "the look that took it in again";
    TENANT PROVISIONED: Own, "the newest `creationTimestamp` of what was made";
    TENANT RECOVERED: Own, "the newest `creationTimestamp` of what was made again";
    TENANT NAMESPACE_LOST: Kubernetes, "the namespace's `deletionTimestamp`; one that is gone without a trace, by looks";
    TENANT NAMESPACE_TAKEN: Seen, "the look that found it";
    TENANT SUSPENDED: Seen, "the look that found it asked for and everything there";
    TENANT RESUMED: Seen, "the look that found it asked for and everything there";
    TENANT DELETED: Seen, "the look that found no namespace left";
    APP ROLLOUT_STARTED: Own, "the Deployment's `creationTimestamp`";
    APP SPEC_CHANGED: Seen, "the look that applied the change";
    APP RESUMED: Seen, "the look that applied the change";
    APP ROLLED_OUT: Kubernetes, "the later of the Deployment's `Progressing` condition (its `lastUpdateTime`, reason `NewReplicaSetAvailable`) and the newest pod's `Ready`; with no pods asked for, by looks";
    APP RECOVERED: Kubernetes, "as for `RolledOut`; from `Degraded`, the newest pod's `Ready` alone";
    APP PODS_UNAVAILABLE: Kubernetes, "the earliest of the Deployment's `Available` condition turning false and the pods' `Ready` turning false since the last row";
    APP PROGRESS_DEADLINE_EXCEEDED: Kubernetes, "the Deployment's `Progressing` condition turning `ProgressDeadlineExceeded`";
    APP PROGRESS_DEADLINE_EXCEEDED: Deadline, "the last progress, the deadline and 30 s, where the Deployment controller does not answer";
    APP RESIZED: Kubernetes, "with more pods, the newest pod's `Ready`";
    APP SUSPENDED: Seen, "the look that found no pod left";
    APP DELETED: Seen, "the look that found nothing left";
    BACKUP BACKUP_STARTED: Decided, "the claim: the Job is made after it and named after it";
    BACKUP BACKUP_SEALED: Kubernetes, "the mover container's `finishedAt`, or else the Job's `Complete` condition";
    BACKUP BACKUP_FAILED: Kubernetes, "the failed container's `finishedAt`, or else the Job's `Failed` condition";
    BACKUP BACKUP_TIMED_OUT: Kubernetes, "the Job's `Failed` condition, reason `DeadlineExceeded`";
    BACKUP BACKUP_TIMED_OUT: Deadline, "the claim, `timeoutSeconds` and 2 min, where the Job controller does not answer";
    BACKUP ARTIFACT_REMOVED: Kubernetes, "the `finishedAt` of the removal's container, or else its Job's `Complete` condition";
    BACKUP ARTIFACT_RETAINED: Seen, "the look that found no Job left";
    BACKUP ARTIFACT_ABANDONED: Seen, "the look that found the namespace going";
    BACKUP DELETED: Seen, "the look that found nothing left";
};

/// Those lines of the table that may tell the time of a transition of `kind` with `reason`.
pub fn of(kind: Kind, reason: Reason) -> impl Iterator<Item = &'static Testimony> {
    TABLE.iter().filter(move |line| line.reason == reason && line.kinds.contains(&kind))
}

/// The table in Markdown, as `docs/time.md` shows it.
pub fn to_markdown() -> String {
    let mut text = String::from("| kind | reason | whose word | what is read |\n|---|---|---|---|\n");
    for Testimony { kinds, reason, witness, from } in TABLE {
        let kind = match kinds {
            [one] => one.as_str(),
            _ => "all",
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, "| {kind} | `{}` | {} | {from} |", reason.word, witness.as_str());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_of_the_catalogue_has_a_witness() {
        for reason in reasons::ALL {
            assert!(TABLE.iter().any(|line| line.reason == *reason), "{reason:?} has none");
        }
    }

    #[test]
    fn the_docs_show_this_table() {
        let docs = include_str!("../../docs/time.md");
        let table = to_markdown();
        assert!(docs.contains(&table), "docs/time.md should hold this table:\n\n{table}");
    }
}
