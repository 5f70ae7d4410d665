//! The campaign: at each point that a life passes, everything that can go wrong there, one thing at a time.
//!
//! A life is told once without faults, and what it passes is noted. What a later life passes too is tried in the first one. What
//! changes nothing (a read, a claim that finds nothing, the renewal of a Lease) is tried only the first time that it happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{against, pasted, workers::each};
use crate::{
    case::{Case, Told},
    faults::{Fault, Plan, Point, Surface},
    step::Step::{self, *},
};

/// The lives.
const LIVES: [&[Step]; 3] = [
    &[CreateTenant(0), Wait(6), SuspendTenant(0, true), Wait(5), DeleteTenant(0), Wait(15)],
    &[
        CreateTenant(0),
        CreateApp(0, 0),
        Wait(12),
        Sicken(0, 0, true),
        Wait(5),
        Sicken(0, 0, false),
        Wait(8),
        DeleteApp(0, 0),
        Wait(15),
    ],
    &[CreateTenant(0), CreateBackup(0, 1, true), Wait(12), DeleteBackup(0, 1), Wait(25)],
];

/// What goes wrong with what changes something.
const OF_EFFECTS: [Fault; 7] = [
    Fault::Refused,
    Fault::Slow(4_000),
    Fault::Lost,
    Fault::Late(4_000),
    Fault::CrashBefore,
    Fault::CrashAfter,
    Fault::CrashLate(4_000),
];
/// And with what does not.
const OF_QUESTIONS: [Fault; 2] = [Fault::Refused, Fault::CrashBefore];
/// And with what watches tell.
const OF_NEWS: [Fault; 3] = [Fault::Held(20_000), Fault::Cut, Fault::Expired];

/// What came of the campaign.
pub struct Campaign {
    pub plans: usize,
    /// Failing cases, as tests.
    pub failed: Vec<String>,
    /// Points that the lives pass, and points at which something went wrong, by surface.
    points: BTreeMap<Surface, (usize, usize)>,
    /// Plans of which nothing came: their point was not passed again.
    missed: Vec<Point>,
}

impl fmt::Display for Campaign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plans, missed, .. } = self;
        writeln!(
            f,
            "{plans} plans: {} of them did not come to their point, such as {:?}",
            missed.len(),
            missed.first()
        )?;
        for (surface, (all, hit)) in &self.points {
            writeln!(f, "{surface:?}: something went wrong at {hit} of {all} points")?;
        }
        Ok(())
    }
}

struct Planned {
    life: usize,
    point: Point,
    fault: Fault,
}

/// Tries every plan of so many.
pub fn run(of: usize) -> Campaign {
    let calm: Vec<Told> = LIVES.iter().map(|life| case(life, Plan::Nothing).tell()).collect();
    let mut planned = plan(&calm);
    let points = |planned: &[Planned]| {
        let all: BTreeSet<Point> = planned.iter().map(|plan| plan.point.clone()).collect();
        all.into_iter().fold(BTreeMap::<Surface, usize>::new(), |mut counts, point| {
            *counts.entry(point.surface).or_insert(0) += 1;
            counts
        })
    };
    let possible = points(&planned);
    planned = planned.into_iter().step_by(of).collect();
    let tried = each(&planned, |Planned { life, point, fault }| {
        let case = case(LIVES[*life], Plan::Exactly(vec![(point.clone(), *fault)]));
        let trial = against(&case, &calm[*life]);
        let failed = (!trial.violations.is_empty()).then(|| pasted(&case, &trial.violations));
        (trial.told.struck.len(), failed)
    });
    let plans = planned.len();
    let mut campaign = Campaign { plans, failed: vec![], points: BTreeMap::new(), missed: vec![] };
    let mut hit = vec![];
    for (planned, tried) in planned.into_iter().zip(tried) {
        match tried {
            Ok((0, failed)) => {
                campaign.missed.push(planned.point);
                campaign.failed.extend(failed);
            }
            Ok((_, failed)) => {
                campaign.failed.extend(failed);
                hit.push(planned);
            }
            Err(panic) => {
                campaign.failed.push(format!("// panicked: {panic} at {:?} {:?}", planned.point, planned.fault));
            }
        }
    }
    let hit = points(&hit);
    campaign.points = possible.into_iter().map(|(it, all)| (it, (all, hit.get(&it).copied().unwrap_or(0)))).collect();
    campaign
}

fn case(life: &[Step], plan: Plan) -> Case {
    Case { seed: 1, steps: life.to_vec(), plan, ledger: super::ledger() }
}

/// Everything that can go wrong.
fn plan(calm: &[Told]) -> Vec<Planned> {
    let mut known = BTreeSet::new();
    let mut asked = BTreeSet::new();
    let mut planned = vec![];
    for (life, told) in calm.iter().enumerate() {
        for (point, effect) in &told.passed {
            let first = asked.insert((point.surface, point.what.clone()));
            if !known.insert(point.clone()) || !(*effect || first) {
                continue;
            }
            let faults: &[Fault] = match point.surface {
                Surface::News if *effect => &OF_NEWS,
                Surface::News => continue,
                _ if *effect => &OF_EFFECTS,
                _ => &OF_QUESTIONS,
            };
            planned.extend(faults.iter().map(|fault| Planned { life, point: point.clone(), fault: *fault }));
        }
    }
    planned
}
