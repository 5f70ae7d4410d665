//! Time as an injected part: nothing in Trueup reads the system clock on its own.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use super::Timestamp;

/// What time it is, and how much of it has passed.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock, which may jump either way.
    fn now(&self) -> Timestamp;

    /// Time since some fixed point, which never runs backwards. Leases are judged by it.
    fn monotonic(&self) -> Duration;
}

/// The machine's own clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl Default for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn default() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

#[allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        jiff::Timestamp::now().into()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that stands still until it is told to move. For tests and the simulator.
#[derive(Debug)]
pub struct ManualClock {
    micros: AtomicI64,
    elapsed: AtomicI64,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub fn at(start: Timestamp) -> Self {
        Self { micros: AtomicI64::new(start.as_micros()), elapsed: AtomicI64::new(0) }
    }

    /// Lets `span` pass on both clocks.
    pub fn advance(&self, span: Duration) {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        self.micros.fetch_add(micros, Ordering::SeqCst);
        self.elapsed.fetch_add(micros, Ordering::SeqCst);
    }

    /// Steps the wall clock alone, as a time server would; `micros` may be negative.
    pub fn step(&self, micros: i64) {
        self.micros.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.micros.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.elapsed.load(Ordering::SeqCst)).unwrap_or(0))
    }
}
