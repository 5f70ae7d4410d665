//! Measuring spans.

use std::{future::Future, time::Duration};

use trueup::domain::{Clock, SystemClock};

/// A clock that only runs forward.
#[derive(Default)]
pub struct Stopwatch(SystemClock);

impl Stopwatch {
    pub fn elapsed(&self) -> Duration {
        self.0.monotonic()
    }
}

/// How long `work` took, and what it gave.
pub async fn timed<T>(work: impl Future<Output = T>) -> (Duration, T) {
    let watch = Stopwatch::default();
    let given = work.await;
    (watch.elapsed(), given)
}

/// Spans of one kind.
#[derive(Default, Clone)]
pub struct Spans(Vec<Duration>);

impl Spans {
    pub fn push(&mut self, span: Duration) {
        self.0.push(span);
    }

    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The span that `share` of them do not exceed, in milliseconds.
    pub fn quantile(&mut self, share: f64) -> f64 {
        self.0.sort_unstable();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let at = ((self.0.len() as f64 * share) as usize).min(self.0.len().saturating_sub(1));
        self.0.get(at).map_or(0.0, |span| span.as_secs_f64() * 1_000.0)
    }

    pub fn median(&mut self) -> f64 {
        self.quantile(0.5)
    }
}
