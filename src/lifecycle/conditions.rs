//! Conditions, by the rules that `kubectl wait` and kstatus read them with.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Object;
use crate::{api::Condition, domain::Timestamp};

/// Longer messages are cut: a condition is a sentence, not a log.
const MESSAGE_LIMIT: usize = 1024;

/// How things stand, in one of the ways that kstatus knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    standing: Standing,
    finished: Option<bool>,
    reason: String,
    message: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    Ready,
    Unknown,
    InProgress,
    Stalled,
    NotReady,
}

impl Verdict {
    /// What was asked is so.
    pub fn ready(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Standing::Ready, reason, message)
    }

    /// Nobody has looked yet.
    pub fn unknown(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Standing::Unknown, reason, message)
    }

    /// Not yet so, and being worked on.
    pub fn in_progress(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Standing::InProgress, reason, message)
    }

    /// Not so, and it will not become so without somebody.
    pub fn stalled(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Standing::Stalled, reason, message)
    }

    /// Not so, by somebody's own wish, and nothing is being done.
    pub fn not_ready(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Standing::NotReady, reason, message)
    }

    /// For finite kinds: whether it has come to its end.
    #[must_use]
    pub fn finished(self, finished: bool) -> Self {
        Self { finished: Some(finished), ..self }
    }

    fn new(standing: Standing, reason: &str, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE_LIMIT {
            let cut = (0..=MESSAGE_LIMIT - 3).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
            message.truncate(cut);
            message.push_str("...");
        }
        Self { standing, finished: None, reason: reason.to_owned(), message }
    }

    /// The conditions that say so. A condition's time moves only when its status does.
    pub fn conditions<S>(&self, object: &Object<'_, S>, now: Timestamp) -> Vec<Condition> {
        let ready = match self.standing {
            Standing::Ready => "True",
            Standing::Unknown => "Unknown",
            Standing::InProgress | Standing::Stalled | Standing::NotReady => "False",
        };
        let is = |yes: bool| if yes { "True" } else { "False" };
        let working = matches!(self.standing, Standing::InProgress | Standing::Unknown);
        let mut wanted =
            vec![("Ready", ready), ("Reconciling", is(working)), ("Stalled", is(self.standing == Standing::Stalled))];
        if let Some(finished) = self.finished {
            wanted.push(("Finished", is(finished)));
        }
        let mut conditions: Vec<_> =
            wanted.into_iter().map(|(kind, status)| self.condition(object, kind, status, now)).collect();
        if object.paused {
            conditions.push(Condition {
                reason: "Disabled".into(),
                message: "Trueup records, and changes nothing in the cluster for this object.".into(),
                ..self.condition(object, "Paused", "True", now)
            });
        }
        conditions
    }

    fn condition<S>(&self, object: &Object<'_, S>, kind: &str, status: &str, now: Timestamp) -> Condition {
        let since = object
            .conditions
            .iter()
            .find(|old| old.type_ == kind && old.status == status)
            .map_or_else(|| whole_second(now), |old| old.last_transition_time.clone());
        Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: self.reason.clone(),
            message: self.message.clone(),
            observed_generation: Some(object.generation),
            last_transition_time: since,
        }
    }
}

/// Kubernetes keeps whole seconds; what is sent with more would come back different.
fn whole_second(now: Timestamp) -> Time {
    Time(Timestamp::from_micros(now.as_micros().div_euclid(1_000_000) * 1_000_000).to_jiff())
}

/// Whether one of `conditions` is of this type and status.
pub fn has_condition(conditions: &[Condition], kind: &str, status: &str) -> bool {
    conditions.iter().any(|condition| condition.type_ == kind && condition.status == status)
}
