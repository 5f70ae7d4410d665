//! BillingSink: whether it is served, and what is shown of it. It has no stream: it is who is told, not what about.

use std::time::Duration;

use super::{Finalizer, Object, Verdict};
use crate::{
    api::{BillingSinkSpec, BillingSinkStatus, SinkMode},
    domain::Timestamp,
};

/// How often the figures are looked at. They are written only if they have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How often something that is missing is looked for, and a drain is watched.
const SOON: Duration = Duration::from_secs(2);

/// The reason of a sink whose receiver wants nothing more.
pub const DISABLED: &str = "DisabledByReceiver";

/// What was read about a sink.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Observed {
    /// What is wrong with its configuration, in words that say what to do.
    pub trouble: Option<String>,
    /// Another sink, older than this one, that names the same destination.
    pub rival: Option<String>,
    /// What its destination was not sent yet.
    pub owed: Owed,
    /// Whether everything is to be let be: the sink too, once all streams have ended and it was sent all of them.
    pub leaving: bool,
    /// Whether there are streams that may yet go on; read only if everything is to be let be.
    pub open_streams: bool,
    /// How its destination does, while it is served.
    pub delivery: Option<DeliveryView>,
}

/// What a destination was not sent yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Owed {
    /// Events that wait in open lanes.
    pub undelivered: u64,
    /// Open lanes that failed several times in a row.
    pub failing: u64,
    /// Lanes that wait for a person.
    pub parked: u64,
}

/// How a destination does.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeliveryView {
    /// When the oldest waiting event was recorded.
    pub oldest: Option<Timestamp>,
    /// When something was last acknowledged.
    pub last_ack: Option<Timestamp>,
    /// The last thing that went wrong, while it lasts.
    pub last_error: Option<String>,
    /// Why nothing is sent for a while, whatever it is.
    pub held: Option<String>,
    /// Whether the receiver asked never to be sent anything again.
    pub disabled: bool,
}

/// What to do about a sink.
#[derive(Clone, PartialEq, Debug)]
pub struct SinkPlan {
    /// Whether the relay sends to it.
    pub serve: bool,
    /// Whether what it is owed is to be forgotten.
    pub forget: bool,
    /// What becomes of the finalizer.
    pub finalizer: Finalizer,
    /// What to show.
    pub status: BillingSinkStatus,
    /// When to look again.
    pub look_again: Duration,
}

/// What a BillingSink does next. Pure.
pub fn decide(sink: &Object<'_, BillingSinkSpec>, seen: &Observed, now: Timestamp) -> SinkPlan {
    let usable = seen.trouble.is_none() && seen.rival.is_none();
    let delivery = seen.delivery.clone().unwrap_or_default();
    let show = |verdict: &Verdict| status(sink, seen, verdict, now);
    let free = seen.leaving && !seen.open_streams && seen.owed == Owed::default();
    let plan = SinkPlan {
        serve: usable && !sink.spec.suspend,
        forget: false,
        finalizer: match (sink.has_finalizer, seen.leaving) {
            (true, true) if free => Finalizer::Remove,
            (true, _) | (false, true) => Finalizer::Keep,
            (false, false) => Finalizer::Add,
        },
        status: BillingSinkStatus::default(),
        look_again: LOOK_AGAIN,
    };
    if sink.deleting_since.is_some() {
        let finalizer = if sink.has_finalizer { Finalizer::Remove } else { Finalizer::Keep };
        // A rival keeps serving the destination; nothing of it ends with this object.
        if seen.rival.is_some() {
            return SinkPlan { serve: false, finalizer, ..plan };
        }
        if sink.spec.abandon_undelivered {
            return SinkPlan { serve: false, forget: true, finalizer, ..plan };
        }
        if seen.owed == Owed::default() {
            return SinkPlan { serve: false, finalizer, ..plan };
        }
        let message = format!(
            "{} events wait and {} resources are parked; deliver them, or set spec.abandonUndelivered to true to forget them",
            seen.owed.undelivered, seen.owed.parked
        );
        let verdict = Verdict::in_progress("Draining", message);
        return SinkPlan { finalizer: Finalizer::Keep, status: show(&verdict), look_again: SOON, ..plan };
    }
    let (verdict, look_again) = if let Some(rival) = &seen.rival {
        let message = format!(
            "BillingSink {rival} already delivers to destination {}; give this one another spec.destinationId",
            sink.spec.destination_id
        );
        (Verdict::stalled("DestinationTaken", message), LOOK_AGAIN)
    } else if let Some(trouble) = &seen.trouble {
        (Verdict::stalled("NotUsable", trouble.clone()), SOON)
    } else if sink.spec.suspend {
        (Verdict::ready("Suspended", "Nothing is sent, as was asked; everything is kept."), LOOK_AGAIN)
    } else if delivery.disabled {
        let message =
            "The receiver answered 410: it wants nothing any more. Suspend the sink and take that back to try again.";
        (Verdict::stalled(DISABLED, message), LOOK_AGAIN)
    } else if let Some(error) = &delivery.held {
        let message = format!("Nothing is sent for a while, and then tried again with one message: {error}");
        (Verdict::in_progress("ReceiverUnavailable", message), SOON)
    } else if seen.owed.parked > 0 {
        let message = format!(
            "{} resources are parked until somebody decides; see `trueup outbox parked --destination {}`",
            seen.owed.parked, sink.spec.destination_id
        );
        (Verdict::stalled("Parked", message), LOOK_AGAIN)
    } else if seen.delivery.is_none() {
        (Verdict::in_progress("Starting", "Deliveries are about to begin."), SOON)
    } else if seen.owed.failing > 0 {
        let message = format!(
            "Deliveries of {} resources fail and are tried again; status.lastError and `trueup outbox status` say why",
            seen.owed.failing
        );
        (Verdict::in_progress("Retrying", message), LOOK_AGAIN)
    } else if delivery.last_error.is_some() && seen.owed.undelivered > 0 {
        (Verdict::in_progress("Retrying", "Deliveries fail and are tried again; status.lastError says why"), LOOK_AGAIN)
    } else if sink.spec.mode == SinkMode::Shadow {
        (
            Verdict::ready(
                "Rehearsing",
                "Every transition is delivered as it is recorded, and nobody is to be charged.",
            ),
            LOOK_AGAIN,
        )
    } else {
        (Verdict::ready("Delivering", "Every transition is delivered as it is recorded."), LOOK_AGAIN)
    };
    let look_again = if seen.leaving { SOON } else { look_again };
    SinkPlan { status: show(&verdict), look_again, ..plan }
}

fn status(sink: &Object<'_, BillingSinkSpec>, seen: &Observed, verdict: &Verdict, now: Timestamp) -> BillingSinkStatus {
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let delivery = seen.delivery.as_ref();
    BillingSinkStatus {
        observed_generation: Some(sink.generation),
        undelivered: Some(count(seen.owed.undelivered)),
        parked: Some(count(seen.owed.parked)),
        lag_seconds: delivery.map(|delivery| delivery.oldest.map_or(0, |oldest| count(now.since(oldest).as_secs()))),
        last_ack_at: delivery.and_then(|delivery| delivery.last_ack).map(|at| at.to_string()),
        last_error: delivery.filter(|_| seen.owed.undelivered > 0).and_then(|delivery| delivery.last_error.clone()),
        conditions: verdict.conditions(sink, now),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::lifecycle::fixtures::{NOW, object};

    fn spec(over: Value) -> BillingSinkSpec {
        let mut spec = json!({
            "destinationId": "billing", "startAt": "Beginning",
            "webhook": { "url": "https://billing.example", "secretRef": { "name": "billing", "key": "keys" } },
        });
        spec.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
        serde_json::from_value(spec).unwrap()
    }

    fn served(owed: Owed, delivery: DeliveryView) -> Observed {
        Observed { owed, delivery: Some(delivery), ..Observed::default() }
    }

    fn failed(error: &str) -> DeliveryView {
        DeliveryView { last_error: Some(error.into()), ..DeliveryView::default() }
    }

    /// Ready, its reason, and the last error that is shown.
    fn shown(spec: &BillingSinkSpec, seen: &Observed) -> (String, String, Option<String>) {
        let status = decide(&object(spec, "billing", None), seen, NOW).status;
        let ready = status.conditions.into_iter().find(|condition| condition.type_ == "Ready").unwrap();
        (ready.status, ready.reason, status.last_error)
    }

    #[test]
    fn whatever_is_wrong_with_a_receiver_its_sink_says_so() {
        let waiting = Owed { undelivered: 3, ..Owed::default() };
        let held = DeliveryView { held: Some("no route".into()), ..failed("no route") };
        let gone = DeliveryView { disabled: true, ..failed("410 Gone") };
        let cases = [
            (served(Owed::default(), DeliveryView::default()), "True", "Delivering", None),
            (served(waiting, DeliveryView::default()), "True", "Delivering", None),
            (Observed { owed: waiting, ..Observed::default() }, "False", "Starting", None),
            (served(waiting, failed("no answer within 10 s")), "False", "Retrying", Some("no answer within 10 s")),
            (served(Owed { failing: 1, ..waiting }, failed("500")), "False", "Retrying", Some("500")),
            (served(Owed::default(), failed("a try that came to nothing")), "True", "Delivering", None),
            (served(Owed { parked: 1, ..Owed::default() }, failed("422")), "False", "Parked", None),
            (served(Owed { parked: 1, failing: 1, ..waiting }, failed("500")), "False", "Parked", Some("500")),
            (served(waiting, held), "False", "ReceiverUnavailable", Some("no route")),
            (served(waiting, gone), "False", "DisabledByReceiver", Some("410 Gone")),
            (Observed { trouble: Some("no Secret".into()), ..Observed::default() }, "False", "NotUsable", None),
            (Observed { rival: Some("older".into()), ..Observed::default() }, "False", "DestinationTaken", None),
        ];
        for (seen, ready, reason, error) in cases {
            let wanted = (ready.to_owned(), reason.to_owned(), error.map(str::to_owned));
            assert_eq!(shown(&spec(json!({})), &seen), wanted, "{seen:?}");
        }
        let well = served(Owed::default(), DeliveryView::default());
        assert_eq!(shown(&spec(json!({ "suspend": true })), &well).1, "Suspended");
        assert_eq!(shown(&spec(json!({ "mode": "Shadow" })), &well).1, "Rehearsing");
    }

    #[test]
    fn how_far_a_sink_is_behind_is_the_age_of_what_waits_longest() {
        let oldest = Some(Timestamp::from_micros(NOW.as_micros() - 1_800_000_000));
        let seen = served(Owed { undelivered: 7, ..Owed::default() }, DeliveryView { oldest, ..failed("500") });
        let status = decide(&object(&spec(json!({})), "billing", None), &seen, NOW).status;
        assert_eq!((status.lag_seconds, status.undelivered, status.parked), (Some(1_800), Some(7), Some(0)));
    }

    #[test]
    fn a_sink_that_is_deleted_delivers_what_it_owes_first_unless_it_is_told_to_forget_it() {
        let owing = served(Owed { undelivered: 1, ..Owed::default() }, DeliveryView::default());
        let decided = |over: Value, seen: &Observed| {
            let spec = spec(over);
            let mut sink = object(&spec, "billing", None);
            sink.deleting_since = Some(NOW);
            let plan = decide(&sink, seen, NOW);
            (plan.serve, plan.forget, plan.finalizer)
        };
        assert_eq!(decided(json!({}), &owing), (true, false, Finalizer::Keep));
        assert_eq!(decided(json!({ "abandonUndelivered": true }), &owing), (false, true, Finalizer::Remove));
        let done = served(Owed::default(), DeliveryView::default());
        assert_eq!(decided(json!({}), &done), (false, false, Finalizer::Remove));
        let rival = Observed { rival: Some("older".into()), ..owing };
        assert_eq!(decided(json!({ "abandonUndelivered": true }), &rival), (false, false, Finalizer::Remove));
    }

    fn finalizer(has_finalizer: bool, seen: &Observed) -> Finalizer {
        decide(&Object { has_finalizer, ..object(&spec(json!({})), "billing", None) }, seen, NOW).finalizer
    }

    #[test]
    fn a_sink_is_let_be_once_every_stream_has_ended_and_it_was_sent_all() {
        let leaving = Observed { leaving: true, ..Observed::default() };
        assert_eq!(finalizer(true, &leaving), Finalizer::Remove);
        assert_eq!(finalizer(false, &leaving), Finalizer::Keep, "it does not come back");
        let open = Observed { open_streams: true, ..leaving.clone() };
        assert_eq!(finalizer(true, &open), Finalizer::Keep, "their ends are still to be told");
        let owed = Owed { undelivered: 1, ..Owed::default() };
        assert_eq!(finalizer(true, &Observed { owed, ..leaving.clone() }), Finalizer::Keep);
        let owed = Owed { parked: 1, ..Owed::default() };
        assert_eq!(finalizer(true, &Observed { owed, ..leaving }), Finalizer::Keep, "somebody has to decide first");
        assert_eq!(finalizer(true, &Observed::default()), Finalizer::Keep);
        assert_eq!(finalizer(false, &Observed::default()), Finalizer::Add);
    }
}
