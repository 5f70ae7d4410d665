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
    } else if delivery.last_error.is_some() && seen.owed.undelivered > 0 {
        (Verdict::in_progress("Retrying", "Deliveries fail and are tried again."), LOOK_AGAIN)
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
    use serde_json::json;

    use super::*;
    use crate::lifecycle::fixtures::{NOW, object};

    fn finalizer(has_finalizer: bool, seen: &Observed) -> Finalizer {
        let spec = json!({ "destinationId": "billing", "startAt": "Now", "webhook": { "url": "http://x", "secretRef": { "name": "s", "key": "k" } } });
        let spec: BillingSinkSpec = serde_json::from_value(spec).unwrap();
        decide(&Object { has_finalizer, ..object(&spec, "billing", None) }, seen, NOW).finalizer
    }

    #[test]
    fn a_sink_is_let_be_once_every_stream_has_ended_and_it_was_sent_all() {
        let leaving = Observed { leaving: true, ..Observed::default() };
        assert_eq!(finalizer(true, &leaving), Finalizer::Remove);
        assert_eq!(finalizer(false, &leaving), Finalizer::Keep, "it does not come back");
        let open = Observed { open_streams: true, ..leaving.clone() };
        assert_eq!(finalizer(true, &open), Finalizer::Keep, "their ends are still to be told");
        let owed = Owed { undelivered: 1, parked: 0 };
        assert_eq!(finalizer(true, &Observed { owed, ..leaving.clone() }), Finalizer::Keep);
        let owed = Owed { undelivered: 0, parked: 1 };
        assert_eq!(finalizer(true, &Observed { owed, ..leaving }), Finalizer::Keep, "somebody has to decide first");
        assert_eq!(finalizer(true, &Observed::default()), Finalizer::Keep);
        assert_eq!(finalizer(false, &Observed::default()), Finalizer::Add);
    }
}
