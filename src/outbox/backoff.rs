//! How long to wait before the next try. Pure: the randomness comes from outside.

use std::time::Duration;

use crate::domain::Random;

/// Waiting that doubles with each failure, of which a random part is taken.
///
/// "Full jitter": a uniform draw from zero up to the ceiling. Lanes that failed together then come back spread
/// over the whole span, not all at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// The ceiling after the first failure.
    pub base: Duration,
    /// The highest ceiling.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_secs(1), cap: Duration::from_mins(5) }
    }
}

impl Backoff {
    /// The longest wait after `failures` failures in a row, the newest included.
    pub fn ceiling(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.base.saturating_mul(1 << doublings).min(self.cap)
    }

    /// The wait after `failures` failures in a row.
    ///
    /// `at_least` is what the receiver asked for: then the jitter comes on top, within `base`, so that nobody
    /// returns early and not everybody at the same moment.
    pub fn delay(&self, failures: u32, at_least: Option<Duration>, random: &dyn Random) -> Duration {
        match at_least {
            None => self.ceiling(failures).mul_f64(random.unit()),
            Some(asked) => asked.saturating_add(self.base.mul_f64(random.unit())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::SeededRandom;

    proptest! {
        #[test]
        fn a_wait_never_exceeds_its_ceiling_and_the_ceiling_never_exceeds_the_cap(
            seed: u64, failures: u32, base in 1_u64..10_000, cap in 1_u64..1_000_000,
        ) {
            let backoff = Backoff { base: Duration::from_millis(base), cap: Duration::from_millis(cap) };
            let ceiling = backoff.ceiling(failures);
            prop_assert!(ceiling <= backoff.cap);
            prop_assert!(ceiling <= backoff.ceiling(failures.saturating_add(1)), "it never shrinks");
            prop_assert!(backoff.delay(failures, None, &SeededRandom::new(seed)) <= ceiling);
        }

        #[test]
        fn what_the_receiver_asked_for_is_a_lower_bound(seed: u64, failures: u32, asked in 0_u64..3_600_000) {
            let backoff = Backoff::default();
            let asked = Duration::from_millis(asked);
            let delay = backoff.delay(failures, Some(asked), &SeededRandom::new(seed));
            prop_assert!(delay >= asked && delay <= asked + backoff.base);
        }
    }

    #[test]
    fn the_ceiling_doubles_until_the_cap() {
        let backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(10) };
        let seconds: Vec<u64> = (0..7).map(|failures| backoff.ceiling(failures).as_secs()).collect();
        assert_eq!(seconds, [1, 1, 2, 4, 8, 10, 10]);
    }

    #[test]
    fn waits_are_spread_over_the_whole_span() {
        let (backoff, random) = (Backoff::default(), SeededRandom::new(7));
        let waits: Vec<Duration> = (0..1_000).map(|_| backoff.delay(4, None, &random)).collect();
        for quarter in 0..4_u32 {
            let (low, high) = (Duration::from_secs(2) * quarter, Duration::from_secs(2) * (quarter + 1));
            let within = waits.iter().filter(|wait| (low..high).contains(*wait)).count();
            assert!((150..350).contains(&within), "{within} of 1000 waits between {low:?} and {high:?}");
        }
    }
}
