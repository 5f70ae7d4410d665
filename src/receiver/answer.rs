//! What a receiver answers. Pure.

use serde::Serialize;

use super::{
    envelope::{Broken, EnvelopeFault},
    inbox::Verdict,
};
use crate::domain::{EventId, Sequence};

/// What the sender of a message is told: a status, and a JSON body.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum Answer {
    /// All of it has been applied, now or before.
    Taken {
        /// How many events were applied now.
        applied: usize,
        /// How many had been applied before.
        duplicates: usize,
    },
    /// Something before this event is missing. What stood before it in the message is kept.
    Missing {
        /// The event.
        event_id: EventId,
        /// What should come instead, of the same resource.
        expected_sequence: Sequence,
    },
    /// The message, or one event of it, is not taken as it is. What stood before that event is kept.
    Refused {
        /// The HTTP status.
        #[serde(skip)]
        status: u16,
        /// Why, in one word.
        error: &'static str,
        /// Why, in a sentence.
        message: String,
        /// The event, where it is one's and not the message's.
        #[serde(skip_serializing_if = "Option::is_none")]
        event_id: Option<EventId>,
    },
}

impl Answer {
    /// Answers a message by what became of its events, in their order, and by the one that could not be opened.
    pub fn to<'a>(placed: impl IntoIterator<Item = (&'a EventId, Verdict)>, broken: Option<Broken>) -> Self {
        let (mut applied, mut duplicates) = (0, 0);
        for (id, verdict) in placed {
            match verdict {
                Verdict::Apply => applied += 1,
                Verdict::Duplicate => duplicates += 1,
                Verdict::Expect(expected_sequence) => {
                    return Self::Missing { event_id: id.clone(), expected_sequence };
                }
                Verdict::Refuse(contradiction) => {
                    return Self::Refused {
                        status: 422,
                        error: "contradiction",
                        message: contradiction.to_string(),
                        event_id: Some(id.clone()),
                    };
                }
            }
        }
        match broken {
            None => Self::Taken { applied, duplicates },
            Some(Broken { id, fault }) => Self::refusing(&fault, id),
        }
    }

    /// Answers a message, or the event `event_id` of one, that is not what it should be.
    pub fn refusing(fault: &EnvelopeFault, event_id: Option<EventId>) -> Self {
        let status = match fault {
            EnvelopeFault::MediaType(_) => 415,
            EnvelopeFault::Signature(_) => 401,
            EnvelopeFault::Body(_) | EnvelopeFault::Event(_) | EnvelopeFault::Disagrees { .. } => 400,
        };
        Self::Refused { status, error: fault.code(), message: fault.to_string(), event_id }
    }

    /// Its HTTP status.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Taken { .. } => 200,
            Self::Missing { .. } => 409,
            Self::Refused { status, .. } => *status,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        domain::{Era, Hash},
        receiver::inbox::Contradiction,
        sinks::signature::SignatureFault,
    };

    fn broken() -> Broken {
        Broken { id: Some(EventId::new("c")), fault: EnvelopeFault::MediaType("text/plain".into()) }
    }

    // Status and body for events `a`, `b`, ... that were placed so.
    fn told(verdicts: &[Verdict], broken: Option<Broken>) -> (u16, serde_json::Value) {
        let ids: Vec<EventId> = ["a", "b", "c"].into_iter().map(EventId::new).collect();
        let answer = Answer::to(ids.iter().zip(verdicts.iter().copied()), broken);
        (answer.status(), serde_json::to_value(answer).unwrap())
    }

    #[test]
    fn what_was_taken_is_counted() {
        let taken = told(&[Verdict::Apply, Verdict::Duplicate, Verdict::Apply], None);
        assert_eq!(taken, (200, json!({"applied": 2, "duplicates": 1})));
        assert_eq!(told(&[], None), (200, json!({"applied": 0, "duplicates": 0})));
    }

    #[test]
    fn the_first_event_that_is_not_taken_is_named() {
        let gap = Verdict::Expect(Sequence::new(7));
        assert_eq!(told(&[Verdict::Apply, gap], Some(broken())), (409, json!({"eventId": "b", "expectedSequence": 7})));
        for (contradiction, word) in [
            (Contradiction::Rewritten { remembered: Hash::ZERO }, "rewrote history"),
            (Contradiction::Unchained { remembered: Hash::ZERO }, "does not follow"),
            (Contradiction::Superseded { era: Era::new(0), current: Era::new(1) }, "era 1 has replaced"),
        ] {
            let (status, body) = told(&[Verdict::Refuse(contradiction), Verdict::Apply], None);
            assert_eq!((status, &body["error"], &body["eventId"]), (422, &json!("contradiction"), &json!("a")));
            assert!(body["message"].as_str().unwrap().contains(word), "{body}");
        }
    }

    #[test]
    fn what_could_not_be_opened_is_answered_last_and_by_what_is_wrong_with_it() {
        let (status, body) = told(&[Verdict::Apply, Verdict::Apply], Some(broken()));
        assert_eq!((status, &body["error"], &body["eventId"]), (415, &json!("unsupported-media-type"), &json!("c")));
        let stranger = Answer::refusing(&EnvelopeFault::Signature(SignatureFault::Unknown), None);
        assert_eq!(stranger.status(), 401);
        assert_eq!(serde_json::to_value(stranger).unwrap().get("eventId"), None);
        let torn = serde_json::from_str::<()>("[").unwrap_err();
        assert_eq!(Answer::refusing(&EnvelopeFault::Body(torn), None).status(), 400);
    }
}
