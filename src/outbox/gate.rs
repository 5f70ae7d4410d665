//! Whether a destination is sent anything at all. Pure: the times come from outside.
//!
//! A receiver that cannot be reached, does not know its sender or asks for time says nothing about one event. Then the
//! whole destination is left alone, longer each time, and a single delivery tries before the others follow.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::Backoff;
use crate::domain::Random;

/// How long a destination is left alone.
pub(super) const BACKOFF: Backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_mins(1) };

/// The gate of one destination. Times are spans on the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<State>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Troubles in a row.
    troubles: u32,
    shut: Option<Shut>,
}

#[derive(Clone, Copy, Debug)]
struct Shut {
    /// Since when: what began before says nothing new.
    since: Duration,
    until: Duration,
    /// Until when a delivery that tries may take; one that never ends does not keep the gate shut.
    trying_until: Option<Duration>,
}

/// What may pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Passage {
    /// Whatever there is.
    Open,
    /// One delivery, whose end decides.
    One,
    /// Nothing before that time.
    Shut(Duration),
}

impl Gate {
    /// What may pass at `now`.
    pub(super) fn passage(&self, now: Duration) -> Passage {
        match self.state().shut {
            None => Passage::Open,
            Some(Shut { until, trying_until, .. }) => {
                let until = trying_until.unwrap_or(until);
                if now < until { Passage::Shut(until) } else { Passage::One }
            }
        }
    }

    /// The one delivery has begun and ends before `until`.
    pub(super) fn try_until(&self, until: Duration) {
        if let Some(shut) = &mut self.state().shut {
            shut.trying_until = Some(until);
        }
    }

    /// A delivery that began at `begun` ended in something that every other would meet. Answers until when the
    /// destination is left alone, if this changes it.
    pub(super) fn shut(
        &self,
        begun: Duration,
        now: Duration,
        after: Option<Duration>,
        random: &dyn Random,
    ) -> Option<Duration> {
        let mut state = self.state();
        if state.shut.is_some_and(|shut| begun < shut.since) {
            return None;
        }
        state.troubles = state.troubles.saturating_add(1);
        // Never nothing: those that are under way end meanwhile.
        let wait = BACKOFF.delay(state.troubles, after, random).max(BACKOFF.ceiling(state.troubles) / 2);
        let until = now.saturating_add(wait);
        state.shut = Some(Shut { since: now, until, trying_until: None });
        Some(until)
    }

    /// A delivery that began at `begun` met the receiver at work, whatever it said of the event. Answers whether the
    /// gate was shut before.
    pub(super) fn open(&self, begun: Duration) -> bool {
        let mut state = self.state();
        let was_shut = state.shut.is_some();
        if state.shut.is_none_or(|shut| begun >= shut.since) {
            *state = State::default();
        }
        was_shut && state.shut.is_none()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SeededRandom;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn one_delivery_tries_before_the_others_follow() {
        let (gate, random) = (Gate::default(), SeededRandom::new(1));
        assert_eq!(gate.passage(at(0)), Passage::Open);
        let until = gate.shut(at(0), at(10), None, &random).unwrap();
        assert!(until >= at(510) && until <= at(1_010), "{until:?}");
        assert_eq!(gate.passage(at(11)), Passage::Shut(until));
        assert_eq!(gate.passage(until), Passage::One);
        gate.try_until(until + at(5_000));
        assert_eq!(gate.passage(until), Passage::Shut(until + at(5_000)));
        assert!(gate.open(until));
        assert_eq!(gate.passage(until), Passage::Open);
        assert!(!gate.open(until), "it was open");
    }

    #[test]
    fn what_was_under_way_neither_lengthens_the_wait_nor_ends_it() {
        let (gate, random) = (Gate::default(), SeededRandom::new(2));
        let until = gate.shut(at(0), at(10), None, &random).unwrap();
        assert_eq!(gate.shut(at(5), at(20), None, &random), None);
        assert!(!gate.open(at(5)));
        assert_eq!(gate.passage(at(30)), Passage::Shut(until));
    }

    #[test]
    fn waits_grow_to_their_cap_and_respect_what_was_asked() {
        let (gate, random) = (Gate::default(), SeededRandom::new(3));
        let mut now = at(0);
        for trouble in 1..12 {
            let until = gate.shut(now, now, None, &random).unwrap();
            let ceiling = BACKOFF.ceiling(trouble);
            let wait = until.saturating_sub(now);
            assert!(wait >= ceiling / 2 && wait <= ceiling, "{trouble}: {wait:?}");
            now = until;
        }
        let until = gate.shut(now, now, Some(at(1_800_000)), &random).unwrap();
        assert!(until.saturating_sub(now) >= at(1_800_000));
    }

    #[test]
    fn a_try_that_never_ends_is_followed_by_another() {
        let (gate, random) = (Gate::default(), SeededRandom::new(4));
        let until = gate.shut(at(0), at(0), None, &random).unwrap();
        gate.try_until(until + at(100));
        assert_eq!(gate.passage(until + at(100)), Passage::One);
    }
}
