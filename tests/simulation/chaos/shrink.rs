//! Makes a failing case small: fewer steps, and only what has to go wrong.

use std::collections::BTreeSet;

use super::{Trial, UNDISTURBED, try_out};
use crate::{case::Case, faults::Plan, lives::can_be_lived};

/// So many cases are tried at most.
const TRIES: usize = 150;

/// The smallest failing case that was found, and what does not hold in it.
pub fn shrink(case: Case, violations: Vec<String>) -> (Case, Vec<String>) {
    let mut smallest = Smallest { case, violations, left: TRIES };
    smallest.name_the_faults();
    loop {
        let before = smallest.size();
        smallest.leave_out_steps();
        smallest.leave_out_faults();
        if smallest.size() == before || smallest.left == 0 {
            return (smallest.case, smallest.violations);
        }
    }
}

/// What kinds of violations these are: what they begin with, without names and numbers. A case that fails in another way has
/// another cause.
fn kinds(violations: &[String]) -> BTreeSet<String> {
    let is_plain = |word: &&str| word.chars().all(|letter| letter.is_ascii_lowercase() || ":,".contains(letter));
    violations.iter().map(|text| text.split(' ').filter(is_plain).take(7).collect::<Vec<_>>().join(" ")).collect()
}

/// Whether a case fails as another does: in one of the same ways, and not also where nothing goes wrong, unless that one does.
fn fails_alike(violations: &[String], others: &[String]) -> bool {
    let of_its_own = |all: &[String]| all.iter().any(|why| why.starts_with(UNDISTURBED));
    let alike = kinds(violations).intersection(&kinds(others)).next().is_some();
    alike && (of_its_own(others) || !of_its_own(violations))
}

struct Smallest {
    case: Case,
    violations: Vec<String>,
    left: usize,
}

impl Smallest {
    fn size(&self) -> usize {
        self.case.steps.len() + self.faults()
    }

    fn faults(&self) -> usize {
        match &self.case.plan {
            Plan::Exactly(faults) => faults.len(),
            Plan::Nothing | Plan::Seeded(_) => 0,
        }
    }

    /// Keeps `case` if it fails too.
    fn keep_if_it_fails(&mut self, case: Case) -> bool {
        if self.left == 0 || !can_be_lived(&case.steps) {
            return false;
        }
        self.left -= 1;
        let Trial { violations, .. } = try_out(&case);
        let fails = fails_alike(&violations, &self.violations);
        if fails {
            (self.case, self.violations) = (case, violations);
        }
        fails
    }

    /// What goes wrong by chance is what can be left out one by one, once it has a name.
    fn name_the_faults(&mut self) {
        if let Plan::Seeded(_) = self.case.plan {
            let struck = self.case.tell().struck;
            self.keep_if_it_fails(Case { plan: Plan::Exactly(struck), ..self.case.clone() });
        }
    }

    fn leave_out_steps(&mut self) {
        let mut size = self.case.steps.len() / 2;
        while size > 0 {
            let mut at = 0;
            while at < self.case.steps.len() {
                let mut fewer = self.case.clone();
                fewer.steps.drain(at..(at + size).min(fewer.steps.len()));
                if !self.keep_if_it_fails(fewer) {
                    at += size;
                }
            }
            size /= 2;
        }
    }

    fn leave_out_faults(&mut self) {
        let mut size = self.faults() / 2;
        while size > 0 {
            let mut at = 0;
            while let Plan::Exactly(faults) = &self.case.plan
                && at < faults.len()
            {
                let mut fewer = faults.clone();
                fewer.drain(at..(at + size).min(faults.len()));
                if !self.keep_if_it_fails(Case { plan: Plan::Exactly(fewer), ..self.case.clone() }) {
                    at += size;
                }
            }
            size /= 2;
        }
    }
}
