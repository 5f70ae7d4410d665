//! How fast simulated time passes.

use std::time::Duration;

use trueup::domain::{Clock as _, SystemClock};

use crate::{
    case::Case,
    faults::Plan,
    ledger,
    step::Step::{CreateApp, CreateTenant, Wait},
};

/// Simulated seconds for each real one, in which a tenant and its application stand still for more than an hour.
pub fn idle() -> f64 {
    let clock = SystemClock::default();
    let mut steps = vec![CreateTenant(0), CreateApp(0, 0)];
    steps.extend([Wait(250); 16]);
    let told = Case { seed: 1, steps, plan: Plan::Nothing, ledger: ledger::Kind::Memory }.tell();
    rate(told.lasted, clock.monotonic())
}

/// So many seconds for each second.
pub fn rate(simulated: Duration, real: Duration) -> f64 {
    simulated.as_secs_f64() / real.as_secs_f64().max(0.001)
}
