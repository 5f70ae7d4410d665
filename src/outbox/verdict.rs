//! What the ledger is told of a delivery. Pure.

use std::time::Duration;

use crate::{
    domain::{Random, Sequence},
    ledger::{AMBIGUOUS, Settlement},
    sinks::{Delivery, Ending},
};

use super::Backoff;

/// The reason of a lane whose next event the receiver will never take.
pub const PERMANENT_REFUSAL: &str = "permanent-refusal";

/// What must be known of a claim to judge its delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Held {
    /// The last event acknowledged before.
    pub(super) acked: Sequence,
    /// The last event that was handed to the sink.
    pub(super) last: Sequence,
    /// Failed tries since the last success.
    pub(super) attempts: u32,
}

/// What ends a delivery before anything is sent, of an event that was first sent `doubt` ago with nobody knowing what
/// came of that; `None` if it may be sent again. `horizon` is what the sink says of its receiver's memory, and
/// `attempt` how long this try may still take to get there.
pub(super) fn in_doubt(
    doubt: Duration,
    horizon: &Result<Option<Duration>, Ending>,
    attempt: Duration,
) -> Option<Ending> {
    match horizon {
        Ok(None) => None,
        Ok(Some(horizon)) if doubt + attempt < *horizon => None,
        Ok(Some(horizon)) => Some(Ending::Ambiguous {
            error: format!(
                "it was first sent {} s ago and it is not known whether it arrived; the receiver recognises an event for \
                 {} s only, so sending it again could count it twice: look there, then retry or void it",
                doubt.as_secs(),
                horizon.as_secs()
            ),
        }),
        Err(ending) => Some(ending.clone()),
    }
}

/// What becomes of the lane. `age` is how long ago the delivery began.
///
/// Whether a rewind is granted is for the ledger to decide: it knows the stream's newest row, and how often it was
/// asked before.
pub(super) fn settlement(
    held: Held,
    delivery: Delivery,
    age: Duration,
    backoff: &Backoff,
    random: &dyn Random,
) -> Settlement {
    // A sink cannot acknowledge what it was not given.
    let through = delivery.through.map_or(held.acked, |through| through.clamp(held.acked, held.last));
    let failures = if through > held.acked { 1 } else { held.attempts.saturating_add(1) };
    let retry = |after, error| {
        let delay = backoff.delay(failures, after, random);
        Settlement::Retry { through, delay, error }
    };
    match delivery.ending {
        Ending::Accepted if through > held.acked => Settlement::Acked { through },
        // Without this, a sink that does nothing and calls it good would be asked again at once, for ever.
        Ending::Accepted => retry(None, "the sink delivered nothing and named no reason".to_owned()),
        // Even an answer that says no says nothing sure of what was done before it was given.
        Ending::Retry { after, error } => {
            Settlement::Doubt { through, delay: backoff.delay(failures, after, random), age, error }
        }
        Ending::Ambiguous { error } => Settlement::Park { through, reason: AMBIGUOUS.to_owned(), error },
        // The lane itself is well; it goes on when somebody enables the sink again, or when the destination's gate opens,
        // which also keeps the receiver's wish, for all lanes.
        Ending::Disabled { error } | Ending::Unavailable { error, .. } => retry(None, error),
        // Nobody is to blame. One that failed before waits again all the same, lest it come back at once for ever.
        Ending::NotTried if through > held.acked || held.attempts == 0 => Settlement::Acked { through },
        Ending::NotTried => retry(None, "there was no time left to send it".to_owned()),
        Ending::Refused { error } => Settlement::Park { through, reason: PERMANENT_REFUSAL.to_owned(), error },
        Ending::Rewind { expected, error } => Settlement::Rewind { expected, error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SeededRandom;

    const HELD: Held = Held { acked: Sequence::new(4), last: Sequence::new(9), attempts: 3 };
    const AGE: Duration = Duration::from_secs(7);

    fn judged(through: Option<i64>, ending: Ending) -> Settlement {
        let delivery = Delivery { through: through.map(Sequence::new), ending };
        let backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_mins(1) };
        settlement(HELD, delivery, AGE, &backoff, &SeededRandom::new(1))
    }

    #[test]
    fn each_ending_settles_the_lane_in_its_own_way() {
        let error = || "e".to_owned();
        assert_eq!(judged(Some(9), Ending::Accepted), Settlement::Acked { through: Sequence::new(9) });
        assert_eq!(
            judged(Some(6), Ending::Refused { error: error() }),
            Settlement::Park { through: Sequence::new(6), reason: PERMANENT_REFUSAL.into(), error: error() }
        );
        assert_eq!(
            judged(None, Ending::Rewind { expected: Sequence::new(2), error: error() }),
            Settlement::Rewind { expected: Sequence::new(2), error: error() }
        );
        let after = Some(Duration::from_mins(2));
        let Settlement::Doubt { through, delay, age, .. } = judged(None, Ending::Retry { after, error: error() })
        else {
            panic!("nobody knows whether it arrived")
        };
        assert_eq!((through, age), (HELD.acked, AGE));
        assert!(delay >= Duration::from_mins(2));
        let Settlement::Retry { delay, .. } = judged(None, Ending::Unavailable { after, error: error() }) else {
            panic!("a lane is tried again")
        };
        assert!(delay <= Duration::from_mins(1), "the gate waits, not the lane: {delay:?}");
        assert!(matches!(judged(None, Ending::NotTried), Settlement::Retry { .. }));
        let fresh = Held { attempts: 0, ..HELD };
        let delivery = Delivery { through: None, ending: Ending::NotTried };
        let given_back = settlement(fresh, delivery, AGE, &Backoff::default(), &SeededRandom::new(1));
        assert_eq!(given_back, Settlement::Acked { through: HELD.acked });
        let disabled = judged(Some(5), Ending::Disabled { error: error() });
        assert!(matches!(disabled, Settlement::Retry { through, .. } if through == Sequence::new(5)), "{disabled:?}");
    }

    #[test]
    fn what_may_have_arrived_is_sent_again_only_while_the_receiver_is_sure_to_recognise_it() {
        let (attempt, hour) = (Duration::from_secs(10), Duration::from_hours(1));
        let fate = |doubt, horizon| in_doubt(doubt, &horizon, attempt);
        assert_eq!(fate(hour * 24 * 365, Ok(None)), None);
        let latest = hour.saturating_sub(attempt);
        assert_eq!(fate(latest.saturating_sub(Duration::from_micros(1)), Ok(Some(hour))), None);
        let late = fate(latest, Ok(Some(hour))).unwrap();
        assert!(matches!(&late, Ending::Ambiguous { error } if error.contains("first sent 3590 s ago")), "{late:?}");
        let parked = judged(None, late);
        assert!(matches!(parked, Settlement::Park { reason, .. } if reason == AMBIGUOUS));
        let unreachable = Ending::Unavailable { after: None, error: "no connection".into() };
        assert_eq!(fate(Duration::ZERO, Err(unreachable.clone())), Some(unreachable));
    }

    #[test]
    fn progress_makes_a_failure_the_first_one_again() {
        let delays = |through| {
            let retries = (0..200).map(|seed| {
                let delivery = Delivery { through, ending: Ending::Retry { after: None, error: String::new() } };
                match settlement(HELD, delivery, AGE, &Backoff::default(), &SeededRandom::new(seed)) {
                    Settlement::Doubt { delay, .. } => delay,
                    other => panic!("{other:?}"),
                }
            });
            retries.max().unwrap()
        };
        assert!(delays(Some(Sequence::new(5))) <= Duration::from_secs(1));
        assert!(delays(None) > Duration::from_secs(4));
    }

    #[test]
    fn a_sink_that_claims_too_much_or_nothing_is_not_believed() {
        assert_eq!(judged(Some(99), Ending::Accepted), Settlement::Acked { through: HELD.last });
        assert!(matches!(judged(None, Ending::Accepted), Settlement::Retry { .. }));
        assert!(matches!(judged(Some(1), Ending::Accepted), Settlement::Retry { .. }));
    }
}
