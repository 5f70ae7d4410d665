//! How many events a destination may be sent per second. Pure: the time comes from outside.

use std::time::Duration;

/// A token bucket that holds one second's worth.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    per_second: f64,
    tokens: f64,
    filled_at: Duration,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(per_second: u32, now: Duration) -> Self {
        let per_second = f64::from(per_second.max(1));
        Self { per_second, tokens: per_second, filled_at: now }
    }

    /// How many events may be sent at `now`, or how long until one may.
    pub(super) fn allowance(&mut self, now: Duration) -> Result<u32, Duration> {
        let passed = now.saturating_sub(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_second).min(self.per_second);
        self.filled_at = now;
        if self.tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.tokens) / self.per_second));
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between one and the rate")]
        let whole = self.tokens as u32;
        Ok(whole)
    }

    /// So many are sent.
    pub(super) fn take(&mut self, events: usize) {
        self.tokens -= f64::from(u32::try_from(events).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_span_sees_more_than_its_worth_and_one_second(
            rate in 1_u32..1_000, steps in prop::collection::vec((0_u64..500, 1_u32..100), 1..200),
        ) {
            let mut bucket = Bucket::new(rate, Duration::ZERO);
            let (mut now, mut sent) = (Duration::ZERO, 0_u32);
            for (millis, wanted) in steps {
                now += Duration::from_millis(millis);
                if let Ok(allowed) = bucket.allowance(now) {
                    let taken = wanted.min(allowed);
                    bucket.take(taken as usize);
                    sent += taken;
                }
                let worth = f64::from(rate) * (now.as_secs_f64() + 1.0);
                prop_assert!(f64::from(sent) <= worth + 1e-6, "{sent} events in {now:?} at {rate}/s");
            }
        }
    }

    #[test]
    fn an_empty_one_says_when_it_will_have_something() {
        let mut bucket = Bucket::new(4, Duration::ZERO);
        assert_eq!(bucket.allowance(Duration::ZERO), Ok(4));
        bucket.take(4);
        let wait = bucket.allowance(Duration::ZERO).unwrap_err();
        assert_eq!(wait, Duration::from_millis(250));
        assert_eq!(bucket.allowance(wait), Ok(1));
    }
}
