//! The runtime's own paused clock, as Trueup reads it.

use std::time::Duration;

use tokio::time::Instant;
use trueup::domain::{Clock, Timestamp};

/// Both clocks begin here when a simulation does.
const BEGINNING: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// Shows the time of the runtime that it was made in.
#[derive(Debug)]
pub struct SimulatedClock {
    began: Instant,
}

impl SimulatedClock {
    pub fn start() -> Self {
        Self { began: Instant::now() }
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        BEGINNING.plus(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        self.began.elapsed()
    }
}
