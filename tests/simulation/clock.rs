//! The runtime's own paused clock, as Trueup reads it.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use tokio::time::Instant;
use trueup::domain::{Clock, Timestamp};

/// Both clocks begin here when a simulation does.
const BEGINNING: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// Shows the time of the runtime that it was made in. Each machine has one of its own, which may be set.
#[derive(Debug)]
pub struct SimulatedClock {
    began: Instant,
    /// How far the wall clock was set forward, in microseconds.
    set_by: AtomicI64,
}

impl SimulatedClock {
    pub fn start() -> Self {
        Self { began: Instant::now(), set_by: AtomicI64::new(0) }
    }

    /// The clock of another machine, which is right so far.
    pub fn another(&self) -> Self {
        Self { began: self.began, set_by: AtomicI64::new(0) }
    }

    /// Sets the wall clock to so many seconds beside the right time. What measures spans does not notice.
    pub fn set(&self, seconds: i64) {
        self.set_by.store(seconds * 1_000_000, Ordering::Relaxed);
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        let right = BEGINNING.plus(self.monotonic());
        Timestamp::from_micros(right.as_micros() + self.set_by.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        self.began.elapsed()
    }
}
