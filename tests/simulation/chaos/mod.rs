//! Things go wrong, by chance and by a plan that leaves nothing out; in the end everything must be as if they had not.
//!
//! The usual run takes a slice. `make chaos` sets how much it is: `TRUEUP_SEEDS` seeds, the first being `TRUEUP_SEED`, and one
//! plan of each `TRUEUP_PLANS_OF` in the campaign; with `TRUEUP_LEDGER=sqlite` on a ledger in a file.

mod campaign;
mod kept;
mod pace;
mod seeds;
mod shrink;
mod workers;

use std::{env, fmt::Write as _};

use crate::{
    case::{Case, Told},
    faults::Plan,
    ledger::Kind,
    oracles,
};

/// What a case has come to: what does not hold in it, and how it was told.
pub struct Trial {
    pub violations: Vec<String>,
    pub told: Told,
}

/// How violations begin that are there also when nothing goes wrong.
const UNDISTURBED: &str = "undisturbed: ";

/// Tells a case with everything that goes wrong in it and without, and compares.
pub fn try_out(case: &Case) -> Trial {
    against(case, &undisturbed(case))
}

/// The same steps, when nothing goes wrong.
pub fn undisturbed(case: &Case) -> Told {
    let steps = case.steps.iter().copied().filter(|step| !step.is_trouble()).collect();
    Case { seed: case.seed, steps, plan: Plan::Nothing, ledger: case.ledger }.tell()
}

/// Tells a case, and compares it with how it ends undisturbed.
pub fn against(case: &Case, calm: &Told) -> Trial {
    let told = case.tell();
    let mut violations = calm.violations.iter().map(|why| format!("{UNDISTURBED}{why}")).collect::<Vec<_>>();
    violations.extend(told.violations.iter().cloned());
    violations.extend(oracles::differences(&told.end, &calm.end));
    Trial { violations, told }
}

/// A failing case as a test that can be pasted into `kept.rs`.
pub fn pasted(case: &Case, violations: &[String]) -> String {
    let Case { seed, steps, plan, ledger } = case;
    let mut text = String::new();
    for violation in violations.iter().take(8) {
        let _ = writeln!(text, "// {violation}");
    }
    let plan = match plan {
        Plan::Nothing => "Plan::Nothing".to_owned(),
        Plan::Exactly(faults) => format!("Plan::Exactly(vec!{faults:?})"),
        Plan::Seeded(_) => format!("Plan::Seeded(Chances::new({seed}))"),
    };
    let _ = writeln!(
        text,
        "#[test]\nfn what_goes_wrong_here() {{\n    let (plan, ledger) = ({plan}, Kind::{ledger:?});\n    \
         holds(&Case {{ seed: {seed}, steps: vec!{steps:?}, plan, ledger }});\n}}"
    );
    text
}

/// Where nobody says how much: one plan of so many, and so many seeds.
const FEW_PLANS_OF: u64 = 120;
const FEW_SEEDS: u64 = 4;

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// The ledger that lives are told on.
fn ledger() -> Kind {
    match env::var("TRUEUP_LEDGER").as_deref() {
        Err(_) | Ok("memory") => Kind::Memory,
        Ok("sqlite") => Kind::Sqlite,
        Ok(other) => panic!("TRUEUP_LEDGER is neither memory nor sqlite: {other}"),
    }
}

#[test]
fn whatever_goes_wrong_the_end_is_the_same() {
    let base = number("TRUEUP_SEED").unwrap_or(1);
    let of = number("TRUEUP_PLANS_OF").unwrap_or(FEW_PLANS_OF);
    let campaign = campaign::run(usize::try_from(of).unwrap());
    let seeds = seeds::run(base, number("TRUEUP_SEEDS").unwrap_or(FEW_SEEDS));
    print!("{campaign}{seeds}");
    if number("TRUEUP_SEEDS").is_some() {
        println!("nothing happens: {:.0} simulated seconds a second", pace::idle());
    }
    let (plans, count) = (campaign.plans, seeds.count);
    let failed = campaign.failed.len() + seeds.failed.len();
    println!("chaos: {plans} plans, {count} seeds, {failed} violations (TRUEUP_SEED={base})");
    for text in campaign.failed.iter().chain(&seeds.failed) {
        println!("\n{text}");
    }
    assert_eq!(failed, 0, "printed above, each as a test to keep in tests/simulation/chaos/kept.rs");
}
