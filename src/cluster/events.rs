//! Kubernetes Events: a note for people who run `kubectl describe`. Never a record; that is the ledger.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource,
    core::{ApiResource, DynamicObject},
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tracing::debug;

use crate::{api::MANAGER, lifecycle::Reason};

/// Longer notes are cut; the API server refuses more than 1 kB.
const NOTE_LIMIT: usize = 1000;

/// Publishes Events in the background.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// Events reported by this process.
    pub fn new(client: Client, instance: &str) -> Self {
        let reporter = Reporter { controller: MANAGER.into(), instance: Some(instance.to_owned()) };
        Self { recorder: Recorder::new(client, reporter) }
    }

    /// Warns of something that is about no transition.
    pub fn warn(&self, about: ObjectReference, reason: &str, action: &str, note: &str) {
        let event = Event {
            type_: EventType::Warning,
            reason: reason.to_owned(),
            note: Some(shortened(note.to_owned())),
            action: action.to_owned(),
            secondary: None,
        };
        self.publish(event, about);
    }

    /// Tells of a transition of `object`. Does not wait, and losing it loses nothing but a note.
    pub fn tell(
        &self,
        object: &DynamicObject,
        resource: &ApiResource,
        reason: Reason,
        to: &str,
        evidence: Option<&str>,
    ) {
        let reference: ObjectReference = object.object_ref(resource);
        let mut note = format!("{to}: {}", reason.sentence);
        if let Some(evidence) = evidence.filter(|text| !text.starts_with('{')) {
            note = format!("{note} {evidence}");
        }
        let troubling = matches!(to, "Failed" | "Degraded");
        let event = Event {
            type_: if troubling { EventType::Warning } else { EventType::Normal },
            reason: reason.word.to_owned(),
            note: Some(shortened(note)),
            action: "Transition".to_owned(),
            secondary: None,
        };
        self.publish(event, reference);
    }

    fn publish(&self, event: Event, reference: ObjectReference) {
        let recorder = self.recorder.clone();
        tokio::spawn(async move {
            let published = tokio::time::timeout(Duration::from_secs(5), recorder.publish(&event, &reference)).await;
            if let Ok(Err(error)) = published {
                debug!(%error, "an Event was not published");
            }
        });
    }
}

fn shortened(mut note: String) -> String {
    let cut = (0..=note.len().min(NOTE_LIMIT)).rev().find(|at| note.is_char_boundary(*at)).unwrap_or(0);
    note.truncate(cut);
    note
}
