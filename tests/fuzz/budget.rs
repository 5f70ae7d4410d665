//! Tries inputs for a span of time.

use std::{env, fmt::Debug, time::Duration};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner},
};
use trueup::domain::{Clock as _, SystemClock};

/// What becomes of one input.
pub type Checked = Result<(), TestCaseError>;

/// Between two looks at the time.
const ROUND: u32 = 64;

fn span() -> Duration {
    let seconds =
        env::var("TRUEUP_FUZZ_SECONDS").map_or(1, |value| value.parse().expect("TRUEUP_FUZZ_SECONDS is a number"));
    Duration::from_secs(seconds)
}

/// Tries inputs until the time is over, those first that failed before. One that fails is made small and shown.
pub fn fuzz<S: Strategy<Value: Debug>>(name: &str, inputs: S, check: impl Fn(S::Value) -> Checked) {
    let seeds: &'static str =
        Box::leak(format!("{}/tests/fuzz/seeds/{name}.txt", env!("CARGO_MANIFEST_DIR")).into_boxed_str());
    let (clock, span) = (SystemClock::default(), span());
    let mut tried = 0;
    loop {
        let config = Config {
            cases: ROUND,
            failure_persistence: Some(Box::new(FileFailurePersistence::Direct(seeds))),
            ..Config::default()
        };
        if let Err(failure) = TestRunner::new(config).run(&inputs, &check) {
            panic!("{name}, after {tried} inputs: {failure}");
        }
        tried += ROUND;
        if clock.monotonic() >= span {
            break println!("fuzz: {name}: {tried} inputs");
        }
    }
}
