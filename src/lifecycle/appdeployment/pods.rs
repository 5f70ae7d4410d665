//! What pods tell: since when they are ready, and what keeps them from it.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::domain::Timestamp;

/// One pod, as far as decisions care.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PodView {
    /// Its name.
    pub name: String,
    /// Since when it is ready, in whole seconds; `None` if it is not.
    pub ready_since: Option<Timestamp>,
    /// Since when it is not ready, in whole seconds; `None` if it is, or is being deleted.
    pub unready_since: Option<Timestamp>,
    /// What is wrong with it, in words that do not change while the same thing stays wrong.
    pub trouble: Option<String>,
}

impl PodView {
    /// Reads a pod. `None` if it has ended, and so neither serves nor blocks anything.
    pub fn of(pod: &Pod) -> Option<Self> {
        let status = pod.status.clone().unwrap_or_default();
        if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            return None;
        }
        let conditions = status.conditions.unwrap_or_default();
        let condition = |kind: &str| conditions.iter().find(|condition| condition.type_ == kind);
        let ready = condition("Ready");
        let is_ready = ready.is_some_and(|found| found.status == "True");
        let turned = ready.and_then(|found| found.last_transition_time.as_ref()).map(|time| time.0.into());
        // One that its node has not taken yet says nothing of itself: it is not ready since it was made.
        let made = pod.metadata.creation_timestamp.as_ref().map(|time| time.0.into());
        let leaving = pod.metadata.deletion_timestamp.is_some();
        let unschedulable = condition("PodScheduled")
            .filter(|found| found.status == "False")
            .map(|found| format!("cannot be scheduled: {}", found.message.clone().unwrap_or_default()));
        let trouble = status
            .container_statuses
            .unwrap_or_default()
            .iter()
            .filter(|container| !container.ready)
            .find_map(container_trouble)
            .or(unschedulable);
        Some(Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            ready_since: turned.filter(|_| is_ready),
            unready_since: turned.or(made).filter(|_| !is_ready && !leaving),
            trouble,
        })
    }
}

/// The same words whether the container waits for its next start or has just been started again.
fn container_trouble(container: &ContainerStatus) -> Option<String> {
    let state = container.state.clone().unwrap_or_default();
    let ended = state.terminated.or_else(|| container.last_state.clone().unwrap_or_default().terminated);
    if let Some(ended) = ended.filter(|ended| container.restart_count > 0 || ended.exit_code != 0) {
        return Some(format!("container {} keeps ending with exit code {}", container.name, ended.exit_code));
    }
    let waiting = state.waiting?;
    match waiting.reason.as_deref()? {
        "ContainerCreating" | "PodInitializing" => None,
        "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" => {
            Some(format!("image {} cannot be pulled", container.image))
        }
        other => Some(format!("container {}: {other}", container.name)),
    }
}

/// The newest of the times since which the pods are ready.
pub(super) fn last_ready(pods: &[PodView]) -> Option<Timestamp> {
    pods.iter().filter_map(|pod| pod.ready_since).max()
}

/// The first pod with trouble, in the order of their names.
pub(super) fn blocker(pods: &[PodView]) -> Option<String> {
    pods.iter()
        .filter_map(|pod| pod.trouble.as_ref().map(|trouble| (&pod.name, trouble)))
        .min()
        .map(|(name, trouble)| format!("pod {name}: {trouble}"))
}
