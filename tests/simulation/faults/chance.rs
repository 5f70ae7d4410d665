//! Faults by chance, where the seed is all there is to know.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use trueup::domain::{Random as _, SeededRandom};

use super::{Fault, Point, Surface};

/// How likely is what. A seed makes some things frequent and others absent, so that not every run is the same mixture.
#[derive(Clone, Debug)]
pub struct Chances {
    seed: u64,
    /// Of a thousand, for each surface.
    frequent: [(Surface, u64); 5],
    /// What can happen at requests, calls and deliveries.
    kinds: Vec<Kind>,
    /// What can happen to watches.
    news: Vec<Kind>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Refused,
    Slow,
    Lost,
    Late,
    CrashBefore,
    CrashAfter,
    CrashLate,
    Held,
    Cut,
    Expired,
}

impl Chances {
    pub fn new(seed: u64) -> Self {
        let random = SeededRandom::new(seed);
        let mut rate = |surface| (surface, [0, 5, 20, 60, 150][below(&random, 5)]);
        let frequent = [Surface::Read, Surface::Write, Surface::Store, Surface::Delivery, Surface::News].map(&mut rate);
        let some = |all: &[Kind]| {
            let chosen: Vec<Kind> = all.iter().copied().filter(|_| !random.bits().is_multiple_of(3)).collect();
            if chosen.is_empty() { all.to_vec() } else { chosen }
        };
        let crashes = [Kind::CrashBefore, Kind::CrashAfter, Kind::CrashLate];
        let kinds = some(&[&[Kind::Refused, Kind::Slow, Kind::Lost, Kind::Late], crashes.as_slice()].concat());
        let news = some(&[Kind::Held, Kind::Cut, Kind::Expired]);
        Self { seed, frequent, kinds, news }
    }

    /// What goes wrong at `point`: always the same for the same seed.
    pub fn of(&self, point: &Point) -> Option<Fault> {
        let mut hasher = DefaultHasher::new();
        (self.seed, point).hash(&mut hasher);
        let random = SeededRandom::new(hasher.finish());
        let of_a_thousand = self.frequent.iter().find(|(surface, _)| *surface == point.surface)?.1;
        if random.bits() % 1_000 >= of_a_thousand {
            return None;
        }
        let kinds = if point.surface == Surface::News { &self.news } else { &self.kinds };
        let kind = kinds[below(&random, kinds.len())];
        // A process that dies all the time gets nowhere.
        if matches!(kind, Kind::CrashBefore | Kind::CrashAfter | Kind::CrashLate) && !random.bits().is_multiple_of(4) {
            return None;
        }
        let millis = |least: u64, most: u64| least + random.bits() % (most - least);
        Some(match kind {
            Kind::Refused => Fault::Refused,
            Kind::Slow => Fault::Slow(millis(20, 3_000)),
            Kind::Lost => Fault::Lost,
            Kind::Late => Fault::Late(millis(100, 6_000)),
            Kind::CrashBefore => Fault::CrashBefore,
            Kind::CrashAfter => Fault::CrashAfter,
            Kind::CrashLate => Fault::CrashLate(millis(100, 9_000)),
            Kind::Held => Fault::Held(millis(100, 40_000)),
            Kind::Cut => Fault::Cut,
            Kind::Expired => Fault::Expired,
        })
    }
}

/// A number below `end`.
pub fn below(random: &SeededRandom, end: usize) -> usize {
    usize::try_from(random.bits() % end as u64).expect("it is below a usize")
}
