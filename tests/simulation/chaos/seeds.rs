//! Lives by seed, in which things go wrong by the same seed.

use std::{fmt, time::Duration};

use trueup::domain::{Clock as _, SystemClock};

use super::{against, pace::rate, pasted, shrink::shrink, undisturbed, workers::each};
use crate::{
    case::Case,
    faults::{Chances, Plan},
    lives::generate,
};

/// So many failing cases are made small; the others only say their seeds.
const SHRUNK: usize = 3;

/// What came of the seeds.
pub struct Seeds {
    pub count: u64,
    /// Failing cases, as tests.
    pub failed: Vec<String>,
    /// What went wrong in all of them together.
    struck: usize,
    /// How long they were told for, in their own time and in ours.
    lasted: Duration,
    took: Duration,
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, struck, lasted, took, .. } = self;
        let (hours, pace) = (lasted.as_secs() / 3_600, rate(*lasted, *took));
        writeln!(
            f,
            "{count} seeds: {struck} things went wrong in {hours} simulated hours, {pace:.0} seconds of them a second"
        )
    }
}

/// The case that a seed names.
pub fn case(seed: u64) -> Case {
    Case { seed, steps: generate(seed), plan: Plan::Seeded(Chances::new(seed)), ledger: super::ledger() }
}

/// Tries `count` seeds, the first being `base`.
pub fn run(base: u64, count: u64) -> Seeds {
    let clock = SystemClock::default();
    let all: Vec<u64> = (base..base + count).collect();
    let tried = each(&all, |seed| {
        let case = case(*seed);
        let calm = undisturbed(&case);
        let trial = against(&case, &calm);
        (trial.violations, trial.told.struck.len(), calm.lasted + trial.told.lasted)
    });
    let mut seeds = Seeds { count, failed: vec![], struck: 0, lasted: Duration::ZERO, took: clock.monotonic() };
    for (seed, tried) in all.into_iter().zip(tried) {
        let violations = match tried {
            Ok((violations, struck, lasted)) => {
                seeds.struck += struck;
                seeds.lasted += lasted;
                violations
            }
            Err(panic) => vec![format!("panicked: {panic}")],
        };
        if violations.is_empty() {
            continue;
        }
        let text = if seeds.failed.len() < SHRUNK {
            let (case, violations) = shrink(case(seed), violations);
            pasted(&case, &violations)
        } else {
            pasted(&case(seed), &violations)
        };
        seeds.failed.push(format!("// seed {seed}, before it was made small: {:?}\n{text}", generate(seed)));
    }
    seeds
}
