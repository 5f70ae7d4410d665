//! How far a Deployment has come, by what it says itself.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition};

use crate::{domain::Timestamp, lifecycle::Child};

/// How far a rollout is.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Rollout {
    /// Not applied yet, or the Deployment controller has not seen it yet.
    Unknown,
    /// Zero pods were asked for, and there are none.
    Stopped,
    /// All pods that were asked for are available, and none is left of an older revision.
    Complete {
        /// When the Deployment says that it was.
        since: Option<Timestamp>,
    },
    /// Pods are being replaced or added.
    Underway {
        /// Pods that are available.
        available: i32,
        /// Pods that were asked for.
        wanted: i32,
        /// When the Deployment last said that it came further.
        moved: Option<Timestamp>,
    },
    /// It made no progress within its deadline.
    Exceeded {
        /// Pods that are available.
        available: i32,
        /// Pods that were asked for.
        wanted: i32,
        /// When the Deployment says that it was.
        since: Option<Timestamp>,
        /// Why, if the Deployment knows.
        blocker: Option<String>,
    },
    /// It was complete once, and pods have failed since.
    Short {
        /// Pods that are available.
        available: i32,
        /// Pods that were asked for.
        wanted: i32,
        /// When the Deployment says that it became so.
        since: Option<Timestamp>,
        /// Why, if the Deployment knows.
        blocker: Option<String>,
    },
}

impl Rollout {
    /// Pods that are available.
    pub(super) fn available(&self) -> i32 {
        match self {
            Self::Unknown | Self::Stopped => 0,
            Self::Complete { .. } => i32::MAX,
            Self::Underway { available, .. } | Self::Exceeded { available, .. } | Self::Short { available, .. } => {
                *available
            }
        }
    }

    /// Pods that were asked for.
    pub(super) fn wanted(&self) -> i32 {
        match self {
            Self::Unknown | Self::Stopped | Self::Complete { .. } => 0,
            Self::Underway { wanted, .. } | Self::Exceeded { wanted, .. } | Self::Short { wanted, .. } => *wanted,
        }
    }

    /// When the Deployment last said that it came further.
    pub(super) fn moved(&self) -> Option<Timestamp> {
        match self {
            Self::Underway { moved, .. } => *moved,
            _ => None,
        }
    }

    /// What the Deployment says is in the way.
    pub(super) fn blocker(&self) -> Option<String> {
        match self {
            Self::Exceeded { blocker, .. } | Self::Short { blocker, .. } => blocker.clone(),
            _ => None,
        }
    }
}

/// Reads a Deployment that was applied with `wanted` replicas.
pub(super) fn of(child: Option<&Child>, wanted: i32) -> Rollout {
    let Some(deployment) = child.and_then(Child::typed::<Deployment>) else { return Rollout::Unknown };
    let status = deployment.status.unwrap_or_default();
    if status.observed_generation < deployment.metadata.generation {
        return Rollout::Unknown;
    }
    let conditions = status.conditions.unwrap_or_default();
    let condition = |kind: &str| conditions.iter().find(|condition| condition.type_ == kind);
    let progressing = condition("Progressing");
    let available = status.available_replicas.unwrap_or(0);
    let updated = status.updated_replicas.unwrap_or(0);
    let replicas = status.replicas.unwrap_or(0);
    if wanted == 0 {
        return if replicas == 0 { Rollout::Stopped } else { Rollout::Underway { available: 0, wanted, moved: None } };
    }
    if updated == wanted && replicas == updated && available >= wanted {
        return Rollout::Complete {
            since: progressing.filter(|found| is_done(found)).and_then(|found| time(found.last_update_time.as_ref())),
        };
    }
    let blocker =
        condition("ReplicaFailure").filter(|found| found.status == "True").and_then(|found| found.message.clone());
    match progressing {
        Some(found) if found.reason.as_deref() == Some("ProgressDeadlineExceeded") => {
            Rollout::Exceeded { available, wanted, since: time(found.last_transition_time.as_ref()), blocker }
        }
        Some(found) if is_done(found) && available < wanted && updated == wanted => {
            let lost = condition("Available").filter(|found| found.status == "False");
            Rollout::Short {
                available,
                wanted,
                since: lost.and_then(|found| time(found.last_transition_time.as_ref())),
                blocker,
            }
        }
        found => Rollout::Underway {
            available,
            wanted,
            moved: found.and_then(|found| time(found.last_update_time.as_ref())),
        },
    }
}

fn is_done(condition: &DeploymentCondition) -> bool {
    condition.reason.as_deref() == Some("NewReplicaSetAvailable")
}

fn time(time: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>) -> Option<Timestamp> {
    time.map(|time| time.0.into())
}
