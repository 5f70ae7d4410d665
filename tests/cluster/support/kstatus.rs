//! What tools that know nothing of Trueup make of an object, by the published rules of kstatus.

use kube::core::DynamicObject;

/// What kstatus says of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading {
    /// On its way to what was asked.
    InProgress,
    /// It will not get there by itself.
    Failed,
    /// It is as was asked.
    Current,
    /// On its way out.
    Terminating,
}

/// Reads `object` in the order in which kstatus does.
pub fn reading(object: &DynamicObject) -> Reading {
    let status = &object.data["status"];
    if object.metadata.deletion_timestamp.is_some() {
        return Reading::Terminating;
    }
    if let Some(observed) = status["observedGeneration"].as_i64()
        && Some(observed) != object.metadata.generation
    {
        return Reading::InProgress;
    }
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let is =
        |kind: &str, wanted: &str| conditions.iter().any(|found| found["type"] == kind && found["status"] == wanted);
    let has = |kind: &str| conditions.iter().any(|found| found["type"] == kind);
    if is("Reconciling", "True") {
        Reading::InProgress
    } else if is("Stalled", "True") {
        Reading::Failed
    } else if !has("Ready") || is("Ready", "True") {
        Reading::Current
    } else {
        Reading::InProgress
    }
}
