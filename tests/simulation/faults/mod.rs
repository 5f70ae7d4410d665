//! What goes wrong, where, and who decides that.
//!
//! Everything that a process does to the world outside passes a point with a name: a request to the API server, a call of the
//! ledger's database, an event that is delivered, a watch that tells of something. A plan decides there, by that name and by how
//! often it was passed before. So a plan strikes at the same place also when other things happen in another order.

pub mod api;
mod chance;
mod life;
mod passage;
pub mod store;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use self::{
    chance::{Chances, below},
    life::Life,
    passage::Passage,
};

/// What is passed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Surface {
    /// The API server is asked for something.
    Read,
    /// The API server is told to change something.
    Write,
    /// The ledger's database.
    Store,
    /// A receiver.
    Delivery,
    /// What a watch tells.
    News,
}

/// One moment at which something can go wrong: the `nth` time that `what` happens, counted from 0.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point {
    pub surface: Surface,
    pub what: String,
    pub nth: u32,
}

impl Point {
    /// Whether it is one of those that are passed again and again, in the same way.
    fn is_routine(&self) -> bool {
        self.nth > 1 && self.what.contains(" leases ")
    }
}

/// A point, as failing cases print it.
pub fn at(surface: Surface, what: &str, nth: u32) -> Point {
    Point { surface, what: what.to_owned(), nth }
}

impl fmt::Debug for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at({:?}, {:?}, {})", self.surface, self.what, self.nth)
    }
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fault {
    /// Nothing is done, and whoever asked hears of it.
    Refused,
    /// It is done after so many milliseconds.
    Slow(u64),
    /// It is done, and whoever asked hears that the connection was lost.
    Lost,
    /// Whoever asked hears that the connection was lost; it is done so many milliseconds later all the same.
    Late(u64),
    /// The process dies first.
    CrashBefore,
    /// It is done, and the process dies.
    CrashAfter,
    /// The process dies, and what it had sent is done so many milliseconds later.
    CrashLate(u64),
    /// A watch tells nothing for so many milliseconds; then it goes on where it was.
    Held(u64),
    /// A watch ends.
    Cut,
    /// A watch ends, and the API server does not remember any more where it was.
    Expired,
}

/// Who decides.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Nothing goes wrong.
    Nothing,
    /// These things go wrong, each once.
    Exactly(Vec<(Point, Fault)>),
    /// Chance, by a seed.
    Seeded(Chances),
}

/// The points that were passed, and whether that changed anything: the database took a row, the API server wrote another
/// version. What changed nothing is there as it was passed first, and what is routine not each time: a life may be long.
pub type Passed = BTreeMap<Point, bool>;

/// The plan of a simulation, and what came of it.
#[derive(Debug)]
pub struct Faults {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    plan: Plan,
    counts: BTreeMap<Surface, HashMap<String, u32>>,
    /// What cannot be reached at all.
    down: BTreeSet<Surface>,
    passed: Passed,
    struck: Vec<(Point, Fault)>,
}

impl Faults {
    pub fn new(plan: Plan) -> Arc<Self> {
        let inner =
            Inner { plan, counts: BTreeMap::new(), down: BTreeSet::new(), passed: Passed::new(), struck: vec![] };
        Arc::new(Self { inner: Mutex::new(inner) })
    }

    /// From now on nothing goes wrong any more.
    pub fn end(&self) {
        self.inner().plan = Plan::Nothing;
    }

    /// Nothing reaches these any more, or everything does again.
    pub fn cut_off(&self, surfaces: &[Surface], down: bool) {
        let mut inner = self.inner();
        for surface in surfaces {
            if down {
                inner.down.insert(*surface);
            } else {
                inner.down.remove(surface);
            }
        }
    }

    /// What was passed.
    pub fn passed(&self) -> Passed {
        self.inner().passed.clone()
    }

    /// What went wrong, in order.
    pub fn struck(&self) -> Vec<(Point, Fault)> {
        self.inner().struck.clone()
    }

    /// Something is about to happen: where is that, and what goes wrong with it?
    fn meet(&self, surface: Surface, what: String) -> (Point, Option<Fault>) {
        let mut inner = self.inner();
        let counts = inner.counts.entry(surface).or_default();
        let nth = if let Some(count) = counts.get_mut(&what) {
            std::mem::replace(count, *count + 1)
        } else {
            counts.insert(what.clone(), 1);
            0
        };
        let point = Point { surface, what, nth };
        let fault = match &inner.plan {
            _ if inner.down.contains(&surface) => Some(Fault::Refused),
            Plan::Nothing => None,
            Plan::Exactly(all) => all.iter().find(|(at, _)| *at == point).map(|(_, fault)| *fault),
            Plan::Seeded(chances) => chances.of(&point),
        };
        if let Some(fault) = fault {
            inner.struck.push((point.clone(), fault));
        }
        if nth == 0 {
            inner.passed.insert(point.clone(), false);
        }
        (point, fault)
    }

    /// What happened there changed something.
    fn changed(&self, point: Point) {
        if !point.is_routine() {
            self.inner().passed.insert(point, true);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
