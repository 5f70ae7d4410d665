//! BackupRepository: whether artifacts can go there. It has no stream: nothing about it is billed.

use std::time::Duration;

use super::{Finalizer, Object, Plan, Verdict};
use crate::{
    api::{BackupRepositorySpec, BackupRepositoryStatus},
    domain::Timestamp,
};

/// How often something that is missing is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What was read about a repository.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Observed {
    /// What of it is missing, each in words that say what to make.
    pub missing: Vec<String>,
}

/// What a BackupRepository shows next.
pub fn decide(
    repository: &Object<'_, BackupRepositorySpec>,
    seen: &Observed,
    now: Timestamp,
) -> Plan<BackupRepositoryStatus> {
    let verdict = if seen.missing.is_empty() {
        Verdict::ready("Usable", "The key and the place are there.")
    } else {
        Verdict::stalled("NotUsable", seen.missing.join("; "))
    };
    Plan {
        finalizer: Finalizer::Keep,
        delete: vec![],
        apply: vec![],
        gone: vec![],
        transition: None,
        status: BackupRepositoryStatus {
            observed_generation: Some(repository.generation),
            location: Some(super::backup::location(repository.spec)),
            conditions: verdict.conditions(repository, now),
        },
        look_again: (!seen.missing.is_empty()).then_some(LOOK_AGAIN),
    }
}
