//! Why something happened: the whole catalogue of words and sentences that a receiver can be sent.
//!
//! Nothing free-form ever leaves for billing; logs and errors stay beside the ledger as evidence.

use std::fmt;

/// A word for machines and a sentence for people.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// CamelCase, at most 128 characters: also the reason of conditions and Events.
    pub word: &'static str,
    /// One sentence.
    pub sentence: &'static str,
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word)
    }
}

macro_rules! reasons {
    ($($name:ident = $word:literal, $sentence:literal;)+) => {
        $(
            #[doc = $sentence]
            pub const $name: Reason = Reason { word: $word, sentence: $sentence };
        )+

        /// All of them, for the docs and for tests.
        pub const ALL: &[Reason] = &[$($name),+];
    };
}

reasons! {
    CREATED = "Created", "The resource was created.";
    RESURRECTED = "Resurrected", "A resource that was recorded as deleted was seen alive again.";
    RESIZED = "Resized", "What is billed changed while the state stayed.";
    REASSIGNED = "Reassigned", "The tenant, its billing account or its plan changed.";
    AMENDED = "Amended", "An earlier event was voided for some receiver; this one states anew what holds.";
    DELETION_REQUESTED = "DeletionRequested", "Somebody asked for the resource to be deleted.";
    VANISHED = "Vanished", "The resource is gone, and nobody saw when; the audit found out.";
    ERA_BEGUN = "EraBegun", "The ledger lost rows for good and began a new era; this is what holds from here on.";
    DETACHED = "Detached", "Somebody asked Trueup to let the resource be; what was made for it stays.";
    ATTACHED = "Attached", "A resource that had been detached was taken in again.";
    DELETED = "Deleted", "Everything that belonged to the resource is gone.";

    PROVISIONED = "Provisioned", "All namespaces of the tenant are as they should be.";
    NAMESPACE_LOST = "NamespaceLost", "A namespace of the tenant was deleted by somebody else and is being made again.";
    NAMESPACE_TAKEN = "NamespaceTaken", "A namespace of the tenant exists already and belongs to somebody else.";
    RECOVERED = "Recovered", "What was wrong is right again.";
    SUSPENDED = "Suspended", "It stands still, as was asked.";
    RESUMED = "Resumed", "It was asked to run again.";

    ROLLOUT_STARTED = "RolloutStarted", "The first rollout began.";
    SPEC_CHANGED = "SpecChanged", "The spec changed and a rollout began.";
    ROLLED_OUT = "RolledOut", "All pods that were asked for are available.";
    PODS_UNAVAILABLE = "PodsUnavailable", "Fewer pods are available than were asked for.";
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded", "The rollout made no progress within its deadline.";

    BACKUP_STARTED = "BackupStarted", "The dump began.";
    BACKUP_SEALED = "BackupSealed", "The dump ended well and the repository holds all of it.";
    BACKUP_FAILED = "BackupFailed", "The backup failed and left no artifact.";
    BACKUP_TIMED_OUT = "BackupTimedOut", "The backup did not end within its time and left no artifact.";
    ARTIFACT_RETAINED = "ArtifactRetained", "The backup is gone; its artifact stays in the repository, as was asked.";
    ARTIFACT_ABANDONED = "ArtifactAbandoned", "The backup went with its namespace, so its artifact could not be removed from the repository.";
    ARTIFACT_REMOVED = "ArtifactRemoved", "The backup is gone, and its artifact was removed from the repository.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_a_word_of_its_own_with_a_sentence() {
        for (index, reason) in ALL.iter().enumerate() {
            assert!(reason.word.chars().all(char::is_alphanumeric) && reason.word.len() <= 128, "{reason:?}");
            assert!(reason.sentence.ends_with('.'), "{reason:?}");
            assert!(ALL[..index].iter().all(|other| other.word != reason.word), "{reason:?} stands twice");
        }
    }
}
